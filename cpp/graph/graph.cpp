#include "graph/graph.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <stdexcept>

namespace linnet {
namespace {

// Sizes stay far below overflow in every later product of a few of them.
constexpr int64_t kMaxAxis = int64_t{1} << 31;
constexpr int64_t kMaxCount = int64_t{1} << 40;

[[noreturn]] void fail(const std::string& what) { throw std::invalid_argument(what); }

// Reads attributes by name and remembers which were asked for, so that a misspelt or unsupported
// one is an error instead of being silently ignored.
class AttributeReader {
 public:
  explicit AttributeReader(const Attributes& attributes) : attributes_(attributes) {}

  int64_t integer(const char* name, int64_t fallback) {
    const Attribute* a = find(name);
    if (!a) return fallback;
    if (const auto* i = std::get_if<int64_t>(a)) return *i;
    fail(std::string("attribute ") + name + " is not an integer");
  }
  double real(const char* name, double fallback) {
    const Attribute* a = find(name);
    if (!a) return fallback;
    if (const auto* d = std::get_if<double>(a)) return *d;
    if (const auto* i = std::get_if<int64_t>(a)) return static_cast<double>(*i);
    fail(std::string("attribute ") + name + " is not a number");
  }
  bool flag(const char* name) {
    const int64_t i = integer(name, 0);
    if (i != 0 && i != 1)
      fail(std::string("attribute ") + name + " is " + std::to_string(i) + ", not 0 or 1");
    return i != 0;
  }
  // Exactly `size` integers, each within [low, kMaxAxis).
  bool integers(const char* name, int64_t* out, size_t size, int64_t low) {
    const Attribute* a = find(name);
    if (!a) return false;
    const auto* v = std::get_if<std::vector<int64_t>>(a);
    if (!v || v->size() != size) {
      fail(std::string("attribute ") + name + " is not a list of " + std::to_string(size) +
           " integers (only 2-D windows are supported)");
    }
    for (size_t i = 0; i < size; ++i) {
      if ((*v)[i] < low || (*v)[i] >= kMaxAxis) {
        fail(std::string("attribute ") + name + " holds " + std::to_string((*v)[i]));
      }
      out[i] = (*v)[i];
    }
    return true;
  }
  const std::vector<int64_t>* list(const char* name) {
    const Attribute* a = find(name);
    if (!a) return nullptr;
    const auto* v = std::get_if<std::vector<int64_t>>(a);
    if (!v) fail(std::string("attribute ") + name + " is not a list of integers");
    return v;
  }
  void finish() const {
    for (const auto& [name, value] : attributes_) {
      if (!seen_.count(name)) fail("attribute " + name + " is not supported in canonical form");
    }
  }

 private:
  const Attribute* find(const char* name) {
    seen_.insert(name);
    const auto it = attributes_.find(name);
    return it == attributes_.end() ? nullptr : &it->second;
  }

  const Attributes& attributes_;
  std::set<std::string> seen_;
};

int64_t checked_count(const Shape& shape, size_t first_axis) {
  int64_t count = 1;
  for (size_t i = first_axis; i < shape.size(); ++i) {
    if (shape[i] < 1 || shape[i] >= kMaxAxis)
      fail("shape " + to_string(shape) + " has an axis of " + std::to_string(shape[i]));
    if (count > kMaxCount / shape[i]) fail("shape " + to_string(shape) + " is too large");
    count *= shape[i];
  }
  return count;
}

void require_rank(const Shape& shape, size_t rank, const char* what) {
  if (shape.size() != rank) {
    fail(std::string(what) + " has shape " + to_string(shape) + ", expected " +
         std::to_string(rank) + " axes");
  }
}

float half_to_float(uint16_t half) {
  const uint32_t magnitude = half & 0x7fff;
  // Rebias the exponent from 15 to 127, or from the all-ones of infinity and NaN to all ones.
  uint32_t bits = (magnitude << 13) + ((magnitude < 0x7c00 ? 127u - 15u : 255u - 31u) << 23);
  if (magnitude < 0x400) {  // zero or subnormal: a multiple of 2^-24
    const float f = static_cast<float>(magnitude) * 0x1p-24f;
    std::memcpy(&bits, &f, sizeof bits);
  }
  bits |= static_cast<uint32_t>(half & 0x8000) << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

// To nearest, ties to even.
uint16_t float_to_half(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  uint32_t half;
  if (magnitude > 0x7f800000) {
    half = 0x7e00;  // NaN
  } else if (magnitude < 0x38800000) {
    // Subnormal: the addition leaves a multiple of 2^-24 in the low bits, rounded.
    const float shifted = std::fabs(value) + 0.5f;
    std::memcpy(&half, &shifted, sizeof half);
    half -= 0x3f000000;
  } else {
    half = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
    half = std::min<uint32_t>(half, 0x7c00);
  }
  return static_cast<uint16_t>(sign | half);
}

bool takes_any_type(const Node& node) {
  return node.op == Op::kGemm || (node.op == Op::kConv && is_pointwise(node.window, node.groups));
}

// An operator's checked parameters and output shape; what node() stores and infer_shape() returns.
struct Checked {
  Op op;
  Shape shape;
  Window window;
  int64_t groups = 1;
  bool global = false;
  int axis = 1;
};

Window read_window(AttributeReader& attributes, bool pool) {
  Window w;
  attributes.integers("strides", w.stride, 2, 1);
  attributes.integers("pads", w.pad, 4, 0);
  attributes.integers("dilations", w.dilation, 2, 1);
  if (pool) w.ceil = attributes.flag("ceil_mode");
  return w;
}

Shape window_output(const Window& w, const Shape& x, int64_t channels) {
  Shape y = {x[0], channels, 0, 0};
  for (int axis = 0; axis < 2; ++axis) {
    y[2 + axis] = w.output(axis, x[2 + axis]);
    if (y[2 + axis] < 1) {
      fail("window " + std::to_string(w.extent(0)) + "x" + std::to_string(w.extent(1)) +
           " does not fit the input " + to_string(x) + " with its padding");
    }
  }
  return y;
}

void expect_inputs(const std::vector<Shape>& shapes, size_t least, size_t most) {
  if (shapes.size() < least || shapes.size() > most) {
    fail("has " + std::to_string(shapes.size()) + " inputs, expected " + std::to_string(least) +
         (least == most ? "" : " to " + std::to_string(most)));
  }
}

Checked check_conv(AttributeReader& attributes, const std::vector<Shape>& shapes) {
  expect_inputs(shapes, 2, 3);
  const Shape &x = shapes[0], &w = shapes[1];
  require_rank(x, 4, "input");
  require_rank(w, 4, "weight");
  Checked c{Op::kConv, {}, read_window(attributes, false)};
  c.groups = attributes.integer("group", 1);
  checked_count(w, 0);
  int64_t kernel[2] = {w[2], w[3]};
  attributes.integers("kernel_shape", kernel, 2, 1);
  if (kernel[0] != w[2] || kernel[1] != w[3])
    fail("kernel_shape does not match the weight " + to_string(w));
  c.window.kernel[0] = w[2], c.window.kernel[1] = w[3];
  if (c.groups < 1 || w[0] % c.groups != 0) {
    fail("group " + std::to_string(c.groups) + " does not divide " + std::to_string(w[0]) +
         " output channels");
  }
  if (c.groups > x[1] || w[1] != x[1] / c.groups || x[1] % c.groups != 0) {
    fail("weight " + to_string(w) + " with group " + std::to_string(c.groups) +
         " does not fit the input " + to_string(x));
  }
  if (shapes.size() == 3 && shapes[2] != Shape{w[0]}) {
    fail("bias " + to_string(shapes[2]) + " does not match " + std::to_string(w[0]) +
         " output channels");
  }
  c.shape = window_output(c.window, x, w[0]);
  return c;
}

Checked check_pool(AttributeReader& attributes, const std::vector<Shape>& shapes, Op op,
                   bool global) {
  expect_inputs(shapes, 1, 1);
  const Shape& x = shapes[0];
  require_rank(x, 4, "input");
  Checked c{op, {}, {}};
  c.global = global;
  if (global) {
    c.window.kernel[0] = x[2], c.window.kernel[1] = x[3];
  } else {
    c.window = read_window(attributes, true);
    if (!attributes.integers("kernel_shape", c.window.kernel, 2, 1))
      fail("kernel_shape is missing");
    if (op == Op::kAveragePool) c.window.include_pad = attributes.flag("count_include_pad");
    if (op == Op::kMaxPool && attributes.integer("storage_order", 0) != 0)
      fail("storage_order is not supported");
    const Window& w = c.window;
    for (int axis = 0; axis < 2; ++axis) {
      // A window lying in padding alone would have no value to take.
      if (w.pad[axis] >= w.extent(axis) || w.pad[axis + 2] >= w.extent(axis))
        fail("padding is not smaller than the window");
      if (op == Op::kAveragePool && w.dilation[axis] != 1)
        fail("dilated average pooling is not supported");
    }
  }
  c.shape = window_output(c.window, x, x[1]);
  return c;
}

Checked check_gemm(AttributeReader& attributes, const std::vector<Shape>& shapes) {
  expect_inputs(shapes, 2, 3);
  require_rank(shapes[0], 2, "input");
  require_rank(shapes[1], 2, "weight");
  if (attributes.integer("transB", 0) != 1 || attributes.integer("transA", 0) != 0 ||
      attributes.real("alpha", 1) != 1 || attributes.real("beta", 1) != 1) {
    fail("canonical form has transB=1, transA=0, alpha=beta=1");
  }
  checked_count(shapes[1], 0);
  if (shapes[1][1] != shapes[0][1])
    fail("weight " + to_string(shapes[1]) + " does not fit the input " + to_string(shapes[0]));
  if (shapes.size() == 3 && shapes[2] != Shape{shapes[1][0]}) {
    fail("bias " + to_string(shapes[2]) + " does not match " + std::to_string(shapes[1][0]) +
         " outputs");
  }
  return {Op::kGemm, {shapes[0][0], shapes[1][0]}, {}};
}

Checked check_add(const std::vector<Shape>& shapes) {
  expect_inputs(shapes, 2, 2);
  Shape a = shapes[0], b = shapes[1];
  if (a.size() > 4) fail("inputs of more than 4 axes are not supported: " + to_string(a));
  if (b.size() > a.size())
    fail("second input " + to_string(b) + " has more axes than the first " + to_string(a));
  b.insert(b.begin(), a.size() - b.size(), 1);
  for (size_t i = 1; i < a.size(); ++i) {
    if (b[i] != a[i] && b[i] != 1)
      fail("second input " + to_string(shapes[1]) + " does not broadcast to the first " +
           to_string(a));
  }
  return {Op::kAdd, a, {}};
}

Checked check_concat(AttributeReader& attributes, const std::vector<Shape>& shapes) {
  if (shapes.empty()) fail("has no inputs");
  Shape y = shapes[0];
  const int64_t rank = static_cast<int64_t>(y.size());
  if (rank < 2 || rank > 4) fail("inputs of 2 to 4 axes are supported, not " + to_string(y));
  const int64_t axis = attributes.integer("axis", 0);
  if (axis != 1 && axis != 1 - rank)
    fail("axis " + std::to_string(axis) + " of " + to_string(y) +
         ": only channels (axis 1) can be concatenated");
  for (size_t i = 1; i < shapes.size(); ++i) {
    const Shape& x = shapes[i];
    if (x.size() != y.size() || !std::equal(y.begin() + 2, y.end(), x.begin() + 2))
      fail("inputs " + to_string(shapes[0]) + " and " + to_string(x) +
           " differ in more than their channels");
    // Within the bound after each step, a sum of two sizes cannot overflow.
    if (x[1] >= kMaxAxis - y[1]) fail("the channels of its inputs are too many");
    y[1] += x[1];
  }
  return {Op::kConcat, y, {}};
}

Checked check_softmax(AttributeReader& attributes, const std::vector<Shape>& shapes) {
  expect_inputs(shapes, 1, 1);
  const int64_t rank = static_cast<int64_t>(shapes[0].size());
  int64_t axis = attributes.integer("axis", -1);
  if (axis < 0) axis += rank;
  if (axis < 1 || axis >= rank)
    fail("axis " + std::to_string(axis) + " of " + to_string(shapes[0]) +
         " is the batch or does not exist");
  if (rank > 4) fail("inputs of more than 4 axes are not supported: " + to_string(shapes[0]));
  Checked c{Op::kSoftmax, shapes[0], {}};
  c.axis = static_cast<int>(axis);
  return c;
}

Checked check_reshape(const std::vector<int64_t>& target, const Shape& x) {
  const int64_t count = checked_count(x, 1);
  if (target.empty() || target.size() > 8 || target[0] != 0)
    fail("target must begin with 0 (the batch) and have at most 8 axes");
  Shape y = {x[0]};
  int64_t known = 1;
  size_t free_axis = 0;
  for (size_t i = 1; i < target.size(); ++i) {
    int64_t axis = target[i];
    if (axis == 0) {
      if (i >= x.size())
        fail("target copies axis " + std::to_string(i) + ", which " + to_string(x) + " lacks");
      axis = x[i];
    }
    if (axis == -1) {
      if (free_axis) fail("target has more than one -1");
      free_axis = i;
      axis = 1;
    }
    if (axis < 1 || known > count / axis) fail("target does not fit the input " + to_string(x));
    known *= axis;
    y.push_back(axis);
  }
  if (free_axis) y[free_axis] = count / known;
  if (free_axis ? count % known != 0 : count != known)
    fail("target " + to_string(y) + " does not fit the input " + to_string(x));
  return {Op::kReshape, y, {}};
}

Checked check(const std::string& op, const Attributes& given, const std::vector<Shape>& shapes) {
  AttributeReader attributes(given);
  Checked c{};
  if (op == "Conv") {
    c = check_conv(attributes, shapes);
  } else if (op == "MaxPool" || op == "GlobalMaxPool") {
    c = check_pool(attributes, shapes, Op::kMaxPool, op[0] == 'G');
  } else if (op == "AveragePool" || op == "GlobalAveragePool") {
    c = check_pool(attributes, shapes, Op::kAveragePool, op[0] == 'G');
  } else if (op == "Gemm") {
    c = check_gemm(attributes, shapes);
  } else if (op == "Relu") {
    expect_inputs(shapes, 1, 1);
    if (shapes[0].size() > 4)
      fail("inputs of more than 4 axes are not supported: " + to_string(shapes[0]));
    c = {Op::kRelu, shapes[0], {}};
  } else if (op == "Add") {
    c = check_add(shapes);
  } else if (op == "Concat") {
    c = check_concat(attributes, shapes);
  } else if (op == "Softmax") {
    c = check_softmax(attributes, shapes);
  } else if (op == "Flatten") {
    expect_inputs(shapes, 1, 1);
    if (attributes.integer("axis", 1) != 1) fail("only axis 1 is supported");
    c = {Op::kFlatten, {shapes[0].at(0), checked_count(shapes[0], 1)}, {}};
  } else if (op == "Reshape") {
    expect_inputs(shapes, 1, 1);
    const std::vector<int64_t>* target = attributes.list("shape");
    if (!target) fail("the target shape is missing");
    c = check_reshape(*target, shapes[0]);
  } else {
    fail("operator is not part of the canonical form");
  }
  attributes.finish();
  checked_count(c.shape, 1);
  return c;
}

}  // namespace

std::string to_string(const Shape& shape) {
  std::string s;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i) s += 'x';
    s += i == 0 && shape[i] == 0 ? "N" : std::to_string(shape[i]);
  }
  return s.empty() ? "scalar" : s;
}

const char* to_string(Op op) {
  static const char* const kNames[] = {"Conv", "MaxPool", "AveragePool", "Gemm",    "Relu",
                                       "Add",  "Concat",  "Softmax",     "Flatten", "Reshape"};
  return kNames[static_cast<int>(op)];
}

int64_t Window::output(int axis, int64_t input) const {
  const int64_t padded = input + pad[axis] + pad[axis + 2];
  const int64_t room = padded - extent(axis);
  if (room < 0) return 0;
  int64_t size = (ceil ? ceil_div(room, stride[axis]) : room / stride[axis]) + 1;
  // A window that would start in the far padding covers no input; Caffe and ONNX both drop it.
  if (ceil && (size - 1) * stride[axis] >= input + pad[axis]) --size;
  return size;
}

const char* to_string(DType type) {
  static const char* const kNames[] = {"f32", "f16", "int8"};
  return kNames[static_cast<int>(type)];
}

DType weight_type(const std::string& name) {
  for (int i = 0; i < kWeightTypes; ++i) {
    if (name == to_string(static_cast<DType>(i))) return static_cast<DType>(i);
  }
  fail("weights_dtype is '" + name + "', expected f32, f16 or int8");
}

Weight Weight::as(DType wanted) const {
  Weight w = *this;
  if (wanted == type) return w;
  const auto n = static_cast<size_t>(count());
  const size_t row = n / std::max<size_t>(1, static_cast<size_t>(shape.empty() ? 1 : shape[0]));
  w.type = wanted, w.data = nullptr, w.stored = nullptr, w.scales.clear();
  if (wanted == DType::kF32) {
    auto floats = std::make_shared<std::vector<float>>(n);
    const auto* from = static_cast<const char*>(stored);
    for (size_t i = 0; i < n; ++i) {
      if (type == DType::kF16) {
        uint16_t half;
        std::memcpy(&half, from + i * sizeof half, sizeof half);
        (*floats)[i] = half_to_float(half);
      } else {
        (*floats)[i] = static_cast<float>(static_cast<const int8_t*>(stored)[i]) * scales[i / row];
      }
    }
    w.data = floats->data(), w.owner = std::move(floats);
    return w;
  }
  if (type != DType::kF32) return as(DType::kF32).as(wanted);
  if (wanted == DType::kF16) {
    auto halves = std::make_shared<std::vector<uint16_t>>(n);
    for (size_t i = 0; i < n; ++i) {
      (*halves)[i] = float_to_half(data[i]);
      if (((*halves)[i] & 0x7fff) == 0x7c00 && std::isfinite(data[i]))
        fail("weight '" + name + "' is beyond float16's range of +-65504");
    }
    w.stored = halves->data(), w.owner = std::move(halves);
    return w;
  }
  auto bytes = std::make_shared<std::vector<int8_t>>(n);
  for (size_t first = 0; first < n; first += row) {
    float most = 0;
    for (size_t i = first; i < first + row; ++i) {
      if (!std::isfinite(data[i])) fail("weight '" + name + "' has infinities or NaN");
      most = std::max(most, std::fabs(data[i]));
    }
    // A row of zeros, or of next to nothing, has no scale of its own.
    float scale = most / 127;
    if (scale < std::numeric_limits<float>::min()) scale = 1;
    w.scales.push_back(scale);
    for (size_t i = first; i < first + row; ++i)
      (*bytes)[i] = static_cast<int8_t>(std::nearbyint(data[i] / scale));
  }
  w.stored = bytes->data(), w.owner = std::move(bytes);
  return w;
}

int64_t Weight::count() const {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

Dims Value::dims() const {
  if (shape.size() == 3) return {shape[1], 1, shape[2]};
  Dims d;
  if (shape.size() > 1) d.c = shape[1];
  if (shape.size() > 2) d.h = shape[2];
  for (size_t i = 3; i < shape.size(); ++i) d.w *= shape[i];
  return d;
}

int Graph::find_value(const std::string& wanted) const {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].name == wanted) return static_cast<int>(i);
  }
  return -1;
}

std::shared_ptr<const Graph> with_weights(const Graph& graph, DType type) {
  auto changed = std::make_shared<Graph>(graph);
  std::vector<bool> fixed(graph.weights.size());  // used where only float32 will do
  for (const Node& node : graph.nodes) {
    if (node.bias >= 0) fixed[node.bias] = true;
    if (node.weight >= 0 && !takes_any_type(node)) fixed[node.weight] = true;
  }
  std::map<std::pair<const void*, Shape>, Weight> known;  // tensors of the same bytes share them
  for (Node& node : changed->nodes) {
    if (!takes_any_type(node)) continue;
    const Weight& from = graph.weights[node.weight];
    Weight& to = known[{from.bytes(), from.shape}];
    if (!to.bytes()) to = from.as(type);
    if (fixed[node.weight]) {
      node.weight = static_cast<int>(changed->weights.size());
      changed->weights.push_back(to);
    } else {
      const std::string name = from.name;
      changed->weights[node.weight] = to;
      changed->weights[node.weight].name = name;
    }
  }
  return changed;
}

Shape infer_shape(const std::string& op, const Attributes& attributes,
                  const std::vector<Shape>& shapes) {
  try {
    for (const Shape& s : shapes) {
      if (s.empty() && op != "Add") fail("an input has no axes");
    }
    return check(op, attributes, shapes).shape;
  } catch (const std::invalid_argument& e) {
    throw std::invalid_argument(op + ": " + e.what());
  }
}

GraphBuilder::GraphBuilder(std::string name) { graph_.name = std::move(name); }

void GraphBuilder::claim(const std::string& name, const std::string& what) {
  if (name.empty()) fail(what + " without a name");
  if (has(name)) fail(what + " '" + name + "': the name is taken");
}

bool GraphBuilder::has(const std::string& name) const {
  return values_.count(name) || weights_.count(name);
}

void GraphBuilder::input(const std::string& name, Shape shape) {
  claim(name, "input");
  if (shape.size() < 2)
    fail("input '" + name + "' has shape " + to_string(shape) +
         ", expected a batch axis and at least one other");
  if (shape.size() > 8) fail("input '" + name + "' has more than 8 axes");
  shape[0] = 0;
  try {
    checked_count(shape, 1);
  } catch (const std::invalid_argument& e) {
    fail("input '" + name + "': " + e.what());
  }
  values_[name] = static_cast<int>(graph_.values.size());
  graph_.inputs.push_back(static_cast<int>(graph_.values.size()));
  graph_.values.push_back({name, std::move(shape), -1});
}

void GraphBuilder::initializer(const std::string& name, Shape shape, const float* data,
                               std::shared_ptr<const void> owner) {
  claim(name, "initializer");
  try {
    checked_count(shape, 0);
  } catch (const std::invalid_argument& e) {
    fail("initializer '" + name + "': " + e.what());
  }
  Weight w;
  w.name = name, w.shape = std::move(shape), w.data = data, w.owner = std::move(owner);
  add(std::move(w));
}

void GraphBuilder::initializer(const std::string& name, Weight weight) {
  claim(name, "initializer");
  try {
    checked_count(weight.shape, 0);
  } catch (const std::invalid_argument& e) {
    fail("initializer '" + name + "': " + e.what());
  }
  weight.name = name;
  add(std::move(weight));
}

void GraphBuilder::add(Weight weight) {
  weights_[weight.name] = static_cast<int>(graph_.weights.size());
  graph_.weights.push_back(std::move(weight));
}

void GraphBuilder::make_float(Weight& weight) {
  Weight& floats = floats_[weight.stored];
  if (!floats.data) floats = weight.as(DType::kF32);
  floats.name = weight.name;
  weight = floats;
}

void GraphBuilder::initializer(const std::string& name, Shape shape,
                               std::vector<int64_t> integers) {
  claim(name, "initializer");
  Weight w;
  w.name = name, w.shape = std::move(shape), w.integers = std::move(integers);
  add(std::move(w));
}

void GraphBuilder::node(const std::string& op, const std::string& name,
                        const std::vector<std::string>& inputs,
                        const std::vector<std::string>& outputs, const Attributes& given) {
  try {
    size_t used_outputs = 0;
    for (const std::string& o : outputs) used_outputs += !o.empty();
    if (used_outputs != 1 || outputs[0].empty())
      fail("has " + std::to_string(used_outputs) + " outputs, expected 1");
    std::vector<std::string> names = inputs;
    while (!names.empty() && names.back().empty()) names.pop_back();
    Attributes attributes = given;
    if (op == "Reshape" && names.size() == 2 && !attributes.count("shape")) {
      const auto target = weights_.find(names[1]);
      if (target == weights_.end() || graph_.weights[target->second].bytes())
        fail("the target shape is not an integer initializer");
      attributes["shape"] = graph_.weights[target->second].integers;
      names.pop_back();
    }
    const bool weighted = op == "Conv" || op == "Gemm";
    Node node{};
    std::vector<Shape> shapes;
    for (size_t i = 0; i < names.size(); ++i) {
      const auto value = values_.find(names[i]);
      const auto weight = weights_.find(names[i]);
      if (value != values_.end() && !(weighted && i > 0)) {
        node.inputs.push_back(value->second);
        shapes.push_back(graph_.values[value->second].shape);
      } else if (weight != weights_.end() && i > 0 && (weighted || op == "Add")) {
        const Weight& w = graph_.weights[weight->second];
        if (!w.bytes()) fail("input '" + w.name + "' is not float32");
        (i == 1 ? node.weight : node.bias) = weight->second;
        shapes.push_back(w.shape);
        if (op == "Add") {
          const Shape& s = w.shape;
          // A constant has no batch of its own, so an axis 0 it may have must be 1.
          if (!shapes[0].empty() && s.size() == shapes[0].size() && s[0] != 1)
            fail("constant " + to_string(s) + " has a batch axis");
        }
      } else if (value != values_.end() || weight != weights_.end()) {
        fail("input '" + names[i] + "' must be " +
             (weight != weights_.end() ? "an activation" : "an initializer"));
      } else {
        fail("input '" + names[i] + "' is not defined before the node");
      }
    }
    if (op == "Add" && node.inputs.size() == 2 && shapes[0].size() != shapes[1].size()) {
      fail("activations of " + to_string(shapes[0]) + " and " + to_string(shapes[1]) +
           " differ in their number of axes");
    }
    const Checked c = check(op, attributes, shapes);
    node.op = c.op, node.name = name.empty() ? outputs[0] : name, node.window = c.window,
    node.groups = c.groups;
    node.global = c.global, node.axis = c.axis;
    claim(outputs[0], "output");
    for (const int used : {node.weight, node.bias}) {
      if (used < 0 || graph_.weights[used].type == DType::kF32) continue;
      if (used == node.bias || !takes_any_type(node)) make_float(graph_.weights[used]);
    }
    node.output = static_cast<int>(graph_.values.size());
    values_[outputs[0]] = node.output;
    graph_.values.push_back({outputs[0], c.shape, static_cast<int>(graph_.nodes.size())});
    graph_.nodes.push_back(std::move(node));
  } catch (const std::invalid_argument& e) {
    throw std::invalid_argument("node '" + name + "' (" + op + "): " + e.what());
  }
}

const Weight* GraphBuilder::weight(const std::string& name) const {
  const auto w = weights_.find(name);
  return w == weights_.end() ? nullptr : &graph_.weights[w->second];
}

void GraphBuilder::output(const std::string& name) {
  const auto value = values_.find(name);
  if (value == values_.end()) fail("output '" + name + "' is not defined");
  if (std::find(graph_.outputs.begin(), graph_.outputs.end(), value->second) !=
      graph_.outputs.end()) {
    fail("output '" + name + "' is listed twice");
  }
  graph_.outputs.push_back(value->second);
}

const Shape& GraphBuilder::shape(const std::string& value) const {
  const auto v = values_.find(value);
  if (v != values_.end()) return graph_.values[v->second].shape;
  const auto w = weights_.find(value);
  if (w != weights_.end()) return graph_.weights[w->second].shape;
  fail("value '" + value + "' is not defined");
}

std::shared_ptr<const Graph> GraphBuilder::build() const {
  if (graph_.inputs.empty()) fail("the graph has no input");
  if (graph_.outputs.empty()) fail("the graph has no output");
  return std::make_shared<const Graph>(graph_);
}

}  // namespace linnet
