// Operators that copy numbers to other places.
#include "ops/op.h"

namespace linnet {
namespace {

Params read_concat(NodeReader& node) { return AxisParams{node.integer("axis", 0)}; }

std::vector<TensorType> concat_types(const Params& params, const std::vector<TensorType>& inputs) {
  Shape y = inputs[0].shape;
  if (y.size() < 2 || y.size() > 4)
    refuse("inputs of 2 to 4 axes are supported, not " + to_string(y));
  if (axis_of(params, y.size()) != 1) {
    refuse("axis " + std::to_string(std::get<AxisParams>(params).axis) + " of " + to_string(y) +
           ": only channels (axis 1) can be concatenated");
  }
  for (size_t i = 1; i < inputs.size(); ++i) {
    const Shape& x = inputs[i].shape;
    if (inputs[i].dtype != inputs[0].dtype) refuse("inputs are of several types");
    if (x.size() != y.size() || x[0] != y[0] ||
        !std::equal(y.begin() + 2, y.end(), x.begin() + 2)) {
      refuse("inputs " + to_string(inputs[0].shape) + " and " + to_string(x) +
             " differ in more than their channels");
    }
    // Within the bound after each step, a sum of two sizes cannot overflow.
    if (x[1] >= kMaxAxis - y[1]) refuse("the channels of its inputs are too many");
    y[1] += x[1];
  }
  return {{inputs[0].dtype, y}};
}

void lower_concat(const Node& node, Lowering& lowering) {
  std::vector<int> parts;
  for (const Input& input : node.inputs) parts.push_back(input.value);
  lowering.join(node, parts, node.output());
}

OpDef concat() {
  OpDef op{"Concat", {{Role::kActivation}}, true};
  op.read = read_concat, op.types = concat_types, op.lower = lower_concat;
  op.any_type = true;
  return op;
}

std::vector<int64_t> axes_of(const Params& params) {
  return std::get<TransposeParams>(params).axes;
}

Params read_transpose(NodeReader& node) {
  TransposeParams p;
  if (const auto* axes = node.list("perm")) p.axes = *axes;
  std::vector<int64_t> sorted = p.axes;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (sorted[i] != static_cast<int64_t>(i)) refuse("perm is no order of the axes");
  }
  if (p.axes.empty()) refuse("perm must be given");
  return p;
}

std::vector<TensorType> transpose_types(const Params& params,
                                        const std::vector<TensorType>& inputs) {
  const std::vector<int64_t> axes = axes_of(params);
  const Shape& x = inputs[0].shape;
  require_rank(x, axes.size(), "input");
  if (axes[0] != 0 && x[0] == 0) refuse("perm must begin with 0, the batch");
  Shape y;
  for (const int64_t axis : axes) y.push_back(x[static_cast<size_t>(axis)]);
  return {{inputs[0].dtype, y}};
}

void lower_transpose(const Node& node, Lowering& lowering) {
  lowering.permute(node.value(0), node.output(), axes_of(node.params));
}

OpDef transpose() {
  OpDef op{"Transpose", {{Role::kActivation}}};
  op.read = read_transpose, op.types = transpose_types, op.lower = lower_transpose;
  op.any_type = true;
  return op;
}

Params read_slice(NodeReader& node) {
  const auto list = [&](size_t input) {
    const Weight* w = node.constant(input);
    if (!w || w->bytes()) refuse("starts, ends, axes and steps are not all integer initializers");
    return w->integers;
  };
  SliceParams p{list(1), list(2), list(3), list(4)};
  const size_t count = p.axes.size();
  if (p.starts.size() != count || p.ends.size() != count || p.steps.size() != count)
    refuse("starts, ends, axes and steps differ in length");
  return p;
}

// Ends and starts beyond the axis are its ends, and count from there if they are negative.
std::vector<Section> sections_of(const Params& params, const Shape& x) {
  const auto& p = std::get<SliceParams>(params);
  const auto rank = static_cast<int64_t>(x.size());
  std::vector<Section> sections;
  for (size_t i = 0; i < p.axes.size(); ++i) {
    const int64_t axis = p.axes[i] < 0 ? p.axes[i] + rank : p.axes[i];
    if (axis < (x[0] ? 0 : 1) || axis >= rank)
      refuse("axis " + std::to_string(p.axes[i]) + " of " + to_string(x));
    for (const Section& s : sections) {
      if (s.axis == static_cast<size_t>(axis)) refuse("an axis is sliced twice");
    }
    if (p.steps[i] < 1) refuse("only positive steps are supported");
    const int64_t size = x[static_cast<size_t>(axis)];
    const auto inside = [&](int64_t at) {
      return std::clamp<int64_t>(at < 0 ? std::max(at, -size) + size : at, 0, size);
    };
    const int64_t first = inside(p.starts[i]), end = inside(p.ends[i]);
    const int64_t step = std::min(p.steps[i], size);
    if (end <= first)
      refuse("nothing is left of axis " + std::to_string(axis) + " of " + to_string(x));
    sections.push_back({static_cast<size_t>(axis), first, step, ceil_div(end - first, step)});
  }
  return sections;
}

std::vector<TensorType> slice_types(const Params& params, const std::vector<TensorType>& inputs) {
  Shape y = inputs[0].shape;
  for (const Section& s : sections_of(params, y)) y[s.axis] = s.count;
  return {{inputs[0].dtype, y}};
}

void lower_slice(const Node& node, Lowering& lowering) {
  const int x = node.value(0);
  lowering.slice(x, node.output(), sections_of(node.params, lowering.shape(x)));
}

OpDef slice() {
  const InputSpec integers{Role::kConstant};
  OpDef op{"Slice", {{Role::kActivation}, integers, integers, integers, integers}};
  op.read = read_slice, op.types = slice_types, op.lower = lower_slice;
  op.any_type = true;
  return op;
}

const RegisterOps kRegistered({concat(), slice(), transpose()});

}  // namespace
}  // namespace linnet
