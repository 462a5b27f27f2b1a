// Rows that another value names.
#include "ops/op.h"

namespace linnet {
namespace {

// Of x [N, A, rows, B] those that z names: [N, count], or of elements [N, A, count, B]; N is 1
// where z is constant.
std::vector<TensorType> types(const Params& params, const std::vector<TensorType>& inputs) {
  const Shape &x = inputs[0].shape, &z = inputs[1].shape;
  const bool elements = std::get<GatherParams>(params).elements;
  require_rank(x, 4, "input");
  require_rank(z, elements ? 4 : 2, "second input");
  if (inputs[1].dtype != DType::kI64 && inputs[1].dtype != DType::kI32)
    refuse("places are integers, not " + std::string(to_string(inputs[1].dtype)));
  if (elements && (z[1] != x[1] || z[3] != x[3]))
    refuse("places " + to_string(z) + " do not fit the input " + to_string(x));
  return {{inputs[0].dtype, {x[0], x[1], z[elements ? 2 : 1], x[3]}}};
}

Problem problem(const Graph& graph, const Node& node) {
  Problem p;
  const bool constant = node.weight(1) >= 0;
  p.params = family::Gather{std::get<GatherParams>(node.params).elements, constant};
  p.z.dims =
      constant ? dims_of(graph.weights[node.weight(1)].shape) : graph.values[node.value(1)].dims();
  if (constant) p.z.dtype = DType::kI64;
  if (!p.gather().elements) p.z.dims = {1, p.z.dims.c, 1};
  return p;
}

OpDef gather(const char* name, Params (*read)(NodeReader&)) {
  OpDef op{name, {{Role::kActivation}, {Role::kEither}}};
  op.read = read, op.types = types, op.problem = problem, op.any_type = op.planar = true;
  return op;
}

OpDef rows() {
  return gather("GatherRows", [](NodeReader&) -> Params { return GatherParams{false}; });
}
OpDef elements() {
  return gather("GatherElements", [](NodeReader& node) -> Params {
    if (node.integer("axis", 0) != 2) refuse("only axis 2 is supported");
    return GatherParams{true};
  });
}

const RegisterOps kRegistered({rows(), elements()});

}  // namespace
}  // namespace linnet
