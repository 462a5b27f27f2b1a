// Operators that divide numbers by what others of the same image come to.
#include "ops/op.h"

namespace linnet {
namespace {

Params read_softmax(NodeReader& node) { return AxisParams{node.integer("axis", -1)}; }

std::vector<TensorType> softmax_types(const Params& params, const std::vector<TensorType>& inputs) {
  const Shape& x = inputs[0].shape;
  const int64_t axis = axis_of(params, x.size());
  if (axis < 1 || axis >= static_cast<int64_t>(x.size())) {
    refuse("axis " + std::to_string(axis) + " of " + to_string(x) +
           " is the batch or does not exist");
  }
  return same_type(params, inputs);
}

Problem softmax_problem(const Graph& graph, const Node& node) {
  Problem p;
  const size_t rank = graph.values[node.value(0)].shape().size();
  int axis = static_cast<int>(axis_of(node.params, rank));
  if (rank == 3 && axis == 2) axis = 3;  // of [N, C, W], axis 2 is the width
  p.params = family::Normalize{NormalizeCode::kSoftmax, axis};
  return p;
}

OpDef softmax() {
  OpDef op{"Softmax", {{Role::kActivation}}};
  op.read = read_softmax, op.types = softmax_types, op.problem = softmax_problem;
  return op;
}

const RegisterOps kRegistered({softmax()});

}  // namespace
}  // namespace linnet
