// Operators that divide numbers by what others of the same image come to.
#include <cmath>

#include "ops/op.h"

namespace linnet {
namespace {

// Counted from the first; may lie outside the rank.
int64_t normalized_axis(const Params& params, size_t rank) {
  const int64_t axis = std::get<NormalizeParams>(params).axis;
  return axis < 0 ? axis + static_cast<int64_t>(rank) : axis;
}

std::vector<TensorType> types(const Params& params, const std::vector<TensorType>& inputs) {
  const Shape& x = inputs[0].shape;
  const int64_t axis = normalized_axis(params, x.size());
  if (axis < 1 || axis >= static_cast<int64_t>(x.size())) {
    refuse("axis " + std::to_string(axis) + " of " + to_string(x) +
           " is the batch or does not exist");
  }
  return same_type(params, inputs);
}

Problem problem(const Graph& graph, const Node& node) {
  const auto& n = std::get<NormalizeParams>(node.params);
  const size_t rank = graph.values[node.value(0)].shape().size();
  int axis = static_cast<int>(normalized_axis(node.params, rank));
  if (rank == 3 && axis == 2) axis = 3;  // of [N, C, W], axis 2 is the width
  Problem p;
  p.params = family::Normalize{n.code, axis, n.size, n.a, n.b, n.c};
  return p;
}

OpDef normalization(const char* name, Params (*read)(NodeReader&)) {
  OpDef op{name, {{Role::kActivation}}};
  op.read = read, op.types = types, op.problem = problem;
  return op;
}

Params read_softmax(NodeReader& node) {
  NormalizeParams n;
  n.axis = node.integer("axis", -1);
  return n;
}

Params read_lrn(NodeReader& node) {
  NormalizeParams n;
  n.code = NormalizeCode::kLrn;
  n.size = node.integer("size", 0);
  n.a = static_cast<float>(node.real("alpha", 1e-4)),
  n.b = static_cast<float>(node.real("beta", 0.75));
  n.c = static_cast<float>(node.real("bias", 1));
  if (n.size < 1 || n.size >= kMaxAxis) refuse("size is " + std::to_string(n.size));
  if (!(n.a >= 0 && n.c > 0 && n.a < kInfinity && n.c < kInfinity && std::abs(n.b) < kInfinity))
    refuse("alpha is negative, bias is not positive, or a number is not finite");
  return n;
}

const RegisterOps kRegistered({normalization("LRN", read_lrn),
                               normalization("Softmax", read_softmax)});

}  // namespace
}  // namespace linnet
