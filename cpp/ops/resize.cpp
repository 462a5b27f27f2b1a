// Images of other sizes.
#include <algorithm>
#include <cmath>

#include "ops/op.h"

namespace linnet {
namespace {

// Tables of an axis are as long as the axis, and made before memory is counted.
constexpr int64_t kLongestAxis = int64_t{1} << 20;

template <typename E>
struct Name {
  const char* name;
  E value;
};

template <typename E, size_t kCount>
E choose(NodeReader& node, const char* attribute, const char* fallback,
         const Name<E> (&names)[kCount]) {
  const std::string text = node.text(attribute, fallback);
  for (const Name<E>& each : names) {
    if (text == each.name) return each.value;
  }
  refuse(std::string("attribute ") + attribute + " is not supported: " + text.substr(0, 40));
}

constexpr Name<ResizeCode> kModes[] = {{"nearest", ResizeCode::kNearest},
                                       {"linear", ResizeCode::kLinear},
                                       {"cubic", ResizeCode::kCubic}};
constexpr Name<Coordinates> kCoordinates[] = {
    {"half_pixel", Coordinates::kHalfPixel},
    {"half_pixel_symmetric", Coordinates::kHalfPixelSymmetric},
    {"pytorch_half_pixel", Coordinates::kPytorchHalfPixel},
    {"align_corners", Coordinates::kAlignCorners},
    {"asymmetric", Coordinates::kAsymmetric},
    {"tf_half_pixel_for_nn", Coordinates::kTfHalfPixelForNn},
    {"tf_crop_and_resize", Coordinates::kTfCropAndResize}};
constexpr Name<Nearest> kNearest[] = {{"round_prefer_floor", Nearest::kRoundPreferFloor},
                                      {"round_prefer_ceil", Nearest::kRoundPreferCeil},
                                      {"floor", Nearest::kFloor},
                                      {"ceil", Nearest::kCeil}};
constexpr Name<ResizeParams::Fit> kFits[] = {{"stretch", ResizeParams::Fit::kStretch},
                                             {"not_larger", ResizeParams::Fit::kNotLarger},
                                             {"not_smaller", ResizeParams::Fit::kNotSmaller}};

// `count` reals of a constant input; false if there is none.
bool reals(const NodeReader& node, size_t input, float* out, int64_t count, const char* what) {
  const Weight* w = node.constant(input);
  if (!w || w->count() == 0) return false;
  if (!w->data || w->count() != count)
    refuse(std::string(what) + " are not " + std::to_string(count) + " numbers");
  std::copy(w->data, w->data + count, out);
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(out[i])) refuse(std::string(what) + " are not finite");
  }
  return true;
}

Params read(NodeReader& node) {
  ResizeParams p;
  family::Resize& r = p.resize;
  r.code = choose(node, "mode", "nearest", kModes);
  r.coordinates = choose(node, "coordinate_transformation_mode", "half_pixel", kCoordinates);
  r.nearest = choose(node, "nearest_mode", "round_prefer_floor", kNearest);
  p.fit = choose(node, "keep_aspect_ratio_policy", "stretch", kFits);
  r.cubic = static_cast<float>(node.real("cubic_coeff_a", -0.75));
  r.outside = static_cast<float>(node.real("extrapolation_value", 0));
  r.antialias = node.flag("antialias");
  r.exclude_outside = node.flag("exclude_outside");
  if (!std::isfinite(r.cubic)) refuse("cubic_coeff_a is not finite");
  // What makes no difference is not part of the problem either.
  if (r.code != ResizeCode::kNearest) r.nearest = Nearest::kRoundPreferFloor;
  if (r.code != ResizeCode::kCubic) r.cubic = family::Resize().cubic;
  if (r.code == ResizeCode::kNearest) r.antialias = r.exclude_outside = false;
  const bool crop = r.coordinates == Coordinates::kTfCropAndResize;
  if (!crop) r.outside = 0;
  if (crop && r.antialias) refuse("antialias of a crop is not supported");

  const std::vector<int64_t>* axes = node.list("axes");
  if (!axes || *axes != std::vector<int64_t>{2, 3}) refuse("axes are not [2, 3]");
  float roi[4];
  if (crop && reals(node, 1, roi, 4, "the crop's corners")) std::copy(roi, roi + 4, r.roi);
  const bool scaled = reals(node, 2, r.scale, 2, "scales");
  const Weight* sizes = node.constant(3);
  if (scaled == (sizes != nullptr)) refuse("needs either scales or sizes");
  if (scaled && p.fit != ResizeParams::Fit::kStretch) refuse("scales leave nothing to fit");
  if (scaled && !(r.scale[0] > 0 && r.scale[1] > 0)) refuse("scales are not positive");
  if (sizes) {
    if (sizes->integers.size() != 2) refuse("sizes are not two integers");
    for (int axis = 0; axis < 2; ++axis) p.sizes[axis] = sizes->integers[axis];
  }
  return p;
}

// The sizes and scales that the parameters come to for an input.
ResizeParams settled(ResizeParams p, const Shape& x) {
  family::Resize& r = p.resize;
  for (int axis = 0; axis < 2 && r.scale[0] > 0; ++axis) {
    const double part = static_cast<double>(r.roi[2 + axis]) - static_cast<double>(r.roi[axis]);
    const double size =
        std::floor(static_cast<double>(x[2 + axis]) * part * static_cast<double>(r.scale[axis]));
    p.sizes[axis] =
        size >= 1 && size <= static_cast<double>(kLongestAxis) ? static_cast<int64_t>(size) : 0;
  }
  if (p.fit != ResizeParams::Fit::kStretch) {
    const double h = static_cast<double>(p.sizes[0]) / static_cast<double>(x[2]);
    const double w = static_cast<double>(p.sizes[1]) / static_cast<double>(x[3]);
    const double scale = p.fit == ResizeParams::Fit::kNotLarger ? std::min(h, w) : std::max(h, w);
    for (int axis = 0; axis < 2; ++axis) {
      r.scale[axis] = static_cast<float>(scale);
      const double size = std::floor(scale * static_cast<double>(x[2 + axis]) + 0.5);
      p.sizes[axis] = std::max<int64_t>(1, static_cast<int64_t>(size));
    }
  }
  for (int axis = 0; axis < 2; ++axis) {
    if (p.sizes[axis] < 1 || p.sizes[axis] > kLongestAxis || x[2 + axis] > kLongestAxis)
      refuse("the size of an axis is not 1 to " + std::to_string(kLongestAxis));
  }
  return p;
}

std::vector<TensorType> types(const Params& params, const std::vector<TensorType>& inputs) {
  const Shape& x = inputs[0].shape;
  require_rank(x, 4, "input");
  const ResizeParams p = settled(std::get<ResizeParams>(params), x);
  if (is_byte(inputs[0].dtype) && !p.resize.of_bytes())
    refuse("integers are resized by the nearest or linearly, whole and without antialias");
  return {{inputs[0].dtype, {x[0], x[1], p.sizes[0], p.sizes[1]}}};
}

Problem problem(const Graph& graph, const Node& node) {
  Problem p;
  p.params =
      settled(std::get<ResizeParams>(node.params), graph.values[node.value(0)].shape()).resize;
  return p;
}

OpDef resize() {
  OpDef op{
      "Resize",
      {{Role::kActivation}, {Role::kBias, true}, {Role::kBias, true}, {Role::kConstant, true}}};
  op.read = read, op.types = types, op.problem = problem, op.bytes = true;
  return op;
}

Params read_sample(NodeReader& node) {
  family::Sample s;
  const auto choose = [&](const char* name, const std::string& given,
                          std::initializer_list<const char*> words) {
    int i = 0;
    for (const char* word : words) {
      if (given == word) return i;
      ++i;
    }
    refuse(name + (" '" + given + "' is not supported"));
  };
  s.code = static_cast<ResizeCode>(
      choose("mode", node.text("mode", "linear"), {"nearest", "linear", "cubic"}));
  s.beyond = static_cast<Beyond>(choose("padding_mode", node.text("padding_mode", "zeros"),
                                        {"zeros", "border", "reflection"}));
  s.corners = node.integer("align_corners", 0) != 0;
  return SampleParams{s};
}

// Of x [N, C, H, W] at the places [N, rows, columns, 2].
std::vector<TensorType> sample_types(const Params&, const std::vector<TensorType>& inputs) {
  const Shape &x = inputs[0].shape, &places = inputs[1].shape;
  require_rank(x, 4, "input");
  require_rank(places, 4, "second input");
  if (places[3] != 2) refuse("places have shape " + to_string(places));
  return {{DType::kF32, {x[0], x[1], places[1], places[2]}}};
}

Problem sample_problem(const Graph& graph, const Node& node) {
  Problem p;
  p.params = std::get<SampleParams>(node.params).sample;
  p.z.dims = graph.values[node.value(1)].dims();
  return p;
}

OpDef grid_sample() {
  OpDef op{"GridSample", {{Role::kActivation}, {Role::kActivation}}};
  op.read = read_sample, op.types = sample_types, op.problem = sample_problem, op.planar = true;
  return op;
}

const RegisterOps kRegistered({grid_sample(), resize()});

}  // namespace
}  // namespace linnet
