// Fully connected layers, and products of two activations.
#include "ops/op.h"

namespace linnet {
namespace {

Params read(NodeReader& node) {
  if (node.integer("transB", 0) != 1 || node.integer("transA", 0) != 0 ||
      node.real("alpha", 1) != 1 || node.real("beta", 1) != 1) {
    refuse("canonical form has transB=1, transA=0, alpha=beta=1");
  }
  require_rank(node.constant(1)->shape, 2, "weight");
  checked_count(node.constant(1)->shape, 0);
  return {};
}

std::vector<TensorType> types(const Params&, const std::vector<TensorType>& inputs) {
  const Shape &x = inputs[0].shape, &w = inputs[1].shape;
  require_rank(x, 2, "input");
  if (w[1] != x[1]) refuse("weight " + to_string(w) + " does not fit the input " + to_string(x));
  if (inputs.size() == 3 && inputs[2].shape != Shape{w[0]}) {
    refuse("bias " + to_string(inputs[2].shape) + " does not match " + std::to_string(w[0]) +
           " outputs");
  }
  return {{DType::kF32, {x[0], w[0]}}};
}

Problem problem(const Graph& graph, const Node& node) {
  const Weight& weight = graph.weights[node.weight(1)];
  Problem p;
  p.params = family::Matmul{weight.weight_type()};
  return p;
}

OpDef gemm() {
  OpDef op{"Gemm", {{Role::kActivation}, {Role::kWeight}, {Role::kBias, true}}};
  op.read = read, op.types = types, op.problem = problem;
  op.small_weights = [](const Params&) { return true; };
  op.takes = {Fuse::kResidual, Fuse::kActivation, Fuse::kFunction};
  op.quantized = true;
  return op;
}

// [N, matrices, rows, terms] times [N, matrices, terms, columns].
std::vector<TensorType> product_types(const Params&, const std::vector<TensorType>& inputs) {
  const Shape &x = inputs[0].shape, &z = inputs[1].shape;
  require_rank(x, 4, "first factor");
  require_rank(z, 4, "second factor");
  if (z[1] != x[1] || z[2] != x[3])
    refuse("matrices " + to_string(z) + " do not fit the input " + to_string(x));
  return {{DType::kF32, {x[0], x[1], x[2], z[3]}}};
}

Problem product_problem(const Graph& graph, const Node& node) {
  Problem p;
  p.params = family::Product{};
  p.z.dims = graph.values[node.value(1)].dims();
  return p;
}

OpDef product() {
  OpDef op{"MatMul", {{Role::kActivation}, {Role::kActivation}}};
  op.read = no_params, op.types = product_types, op.problem = product_problem, op.planar = true;
  return op;
}

const RegisterOps kRegistered({gemm(), product()});

}  // namespace
}  // namespace linnet
