// Operators that move nothing: the same numbers under another shape.
#include <optional>

#include "ops/op.h"

namespace linnet {
namespace {

void lower(const Node& node, Lowering& lowering) { lowering.alias(node.value(0), node.output()); }

Params read_flatten(NodeReader& node) {
  if (node.integer("axis", 1) != 1) refuse("only axis 1 is supported");
  return {};
}

std::vector<TensorType> flatten_types(const Params&, const std::vector<TensorType>& inputs) {
  const Shape& x = inputs[0].shape;
  return {{inputs[0].dtype, {x.at(0), checked_count(x, 1)}}};
}

Params read_reshape(NodeReader& node) {
  const Weight* target = node.constant(1);
  if (!target || target->bytes()) refuse("the target shape is not an integer initializer");
  ReshapeParams p{target->integers};
  if (p.target.empty() || p.target.size() > 8) refuse("target must have 1 to 8 axes");
  return p;
}

std::vector<TensorType> reshape_types(const Params& params, const std::vector<TensorType>& inputs) {
  const std::vector<int64_t>& target = std::get<ReshapeParams>(params).target;
  const Shape& x = inputs[0].shape;
  const bool fixed = x[0] != 0;  // else the batch, which has to stay apart
  if (!fixed && target[0] != 0) refuse("target must begin with 0 (the batch)");
  const int64_t count = checked_count(x, fixed ? 0 : 1);
  Shape y;
  int64_t known = 1;
  std::optional<size_t> free_axis;
  if (!fixed) y.push_back(0);
  for (size_t i = y.size(); i < target.size(); ++i) {
    int64_t axis = target[i];
    if (axis == 0) {
      if (i >= x.size())
        refuse("target copies axis " + std::to_string(i) + ", which " + to_string(x) + " lacks");
      axis = x[i];
    }
    if (axis == -1) {
      if (free_axis) refuse("target has more than one -1");
      free_axis = i;
      axis = 1;
    }
    if (axis < 1 || known > count / axis) refuse("target does not fit the input " + to_string(x));
    known *= axis;
    y.push_back(axis);
  }
  if (free_axis) y[*free_axis] = count / known;
  if (free_axis ? count % known != 0 : count != known)
    refuse("target " + to_string(y) + " does not fit the input " + to_string(x));
  return {{inputs[0].dtype, y}};
}

OpDef view(const char* name, std::vector<InputSpec> inputs, Params (*read)(NodeReader&),
           std::vector<TensorType> (*types)(const Params&, const std::vector<TensorType>&)) {
  OpDef op{name, std::move(inputs)};
  op.read = read, op.types = types, op.lower = lower;
  op.any_type = true;
  return op;
}

const RegisterOps kRegistered({
    view("Flatten", {{Role::kActivation}}, read_flatten, flatten_types),
    view("Reshape", {{Role::kActivation}, {Role::kConstant}}, read_reshape, reshape_types),
});

}  // namespace
}  // namespace linnet
