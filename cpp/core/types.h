// Shapes, types and memory layouts of tensors; windows that slide over them. Plain values, owned by
// nobody.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace linnet {

// Axis 0 of an activation is the batch; a graph knows it only as 0 (free), a compiled program knows
// its number.
using Shape = std::vector<int64_t>;

std::string to_string(const Shape& shape);  // "Nx3x224x224"; "?" for an open size

// "f32", "f16", "int8", "uint8", "int16", "int32", "int64" and "bool".
const char* to_string(DType type);

struct TensorType {
  DType dtype = DType::kF32;
  Shape shape;
};

// kNchw is dense in the order of the logical axes. kNhwc has channels last, each pixel's channels
// padded with zeros to a multiple of the vector width, so that kernels never need a channel tail.
enum class Layout : uint8_t { kNchw, kNhwc };

const char* to_string(Layout layout);  // "nchw", "nhwc"

// One image of a batch, whatever the rank: [N,C] is 1x1 pixels, [N,C,W] one row.
struct Dims {
  int64_t c = 1, h = 1, w = 1;
  int64_t count() const { return c * h * w; }
  bool operator==(const Dims& o) const { return c == o.c && h == o.h && w == o.w; }
  bool operator!=(const Dims& o) const { return !(*this == o); }
};

// The dims of one image of that shape. Axes beyond the fourth count as width.
Dims dims_of(const Shape& shape);

constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Floats of one image in a layout, for vectors of `width` floats.
inline int64_t image_stride(const Dims& d, Layout layout, int width) {
  return layout == Layout::kNchw ? d.count() : d.h * d.w * round_up(d.c, width);
}

// Height-first geometry of a convolution or pooling window.
struct Window {
  int64_t kernel[2] = {1, 1};
  int64_t stride[2] = {1, 1};
  int64_t pad[4] = {0, 0, 0, 0};  // top, left, bottom, right
  int64_t dilation[2] = {1, 1};
  bool ceil = false;         // pooling: a last, partial window counts
  bool include_pad = false;  // average pooling: padding counts in the divisor

  // Output size along axis 0 (height) or 1 (width); < 1 where no window fits.
  int64_t output(int axis, int64_t input) const;
  int64_t extent(int axis) const { return (kernel[axis] - 1) * dilation[axis] + 1; }
  // A pool's window lying in padding alone would have no number to take.
  bool pads_below_extent(int axis) const {
    return pad[axis] < extent(axis) && pad[axis + 2] < extent(axis);
  }
  bool padded() const { return pad[0] || pad[1] || pad[2] || pad[3]; }
  bool unit_stride() const { return stride[0] == 1 && stride[1] == 1; }
  bool dilated() const { return dilation[0] != 1 || dilation[1] != 1; }
};

// The layers whose weights may be kept as float16 or int8 are the fully connected ones and the
// pointwise convolutions: 1x1 and ungrouped.
inline bool is_pointwise(const Window& window, int64_t groups) {
  return window.kernel[0] == 1 && window.kernel[1] == 1 && groups == 1;
}

}  // namespace linnet
