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
    if (x.size() != y.size() || !std::equal(y.begin() + 2, y.end(), x.begin() + 2)) {
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

const RegisterOps kRegistered({concat(), transpose()});

}  // namespace
}  // namespace linnet
