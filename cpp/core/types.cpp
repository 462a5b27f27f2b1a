#include "core/types.h"

namespace linnet {

std::string to_string(const Shape& shape) {
  std::string s;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i) s += 'x';
    s += shape[i] ? std::to_string(shape[i]) : i ? "?" : "N";
  }
  return s.empty() ? "scalar" : s;
}

const char* to_string(DType type) {
  static const char* const kNames[kDTypes] = {"f32",   "f16",   "int8",  "uint8",
                                              "int16", "int32", "int64", "bool"};
  return kNames[static_cast<int>(type)];
}

const char* to_string(Layout layout) { return layout == Layout::kNchw ? "nchw" : "nhwc"; }

Dims dims_of(const Shape& shape) {
  if (shape.size() == 3) return {shape[1], 1, shape[2]};
  Dims d;
  if (shape.size() > 1) d.c = shape[1];
  if (shape.size() > 2) d.h = shape[2];
  for (size_t i = 3; i < shape.size(); ++i) d.w *= shape[i];
  return d;
}

int64_t Window::output(int axis, int64_t input) const {
  const int64_t room = input + pad[axis] + pad[axis + 2] - extent(axis);
  if (room < 0) return 0;
  int64_t size = (ceil ? ceil_div(room, stride[axis]) : room / stride[axis]) + 1;
  // A window that would start in the far padding covers no input; Caffe and ONNX both drop it.
  if (ceil && (size - 1) * stride[axis] >= input + pad[axis]) --size;
  return size;
}

}  // namespace linnet
