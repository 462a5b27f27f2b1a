// Convolutions.
#include "ops/op.h"

namespace linnet {
namespace {

Params read(NodeReader& node) {
  ConvParams p;
  p.window = read_window(node);
  p.groups = node.integer("group", 1);
  const Shape& w = node.constant(1)->shape;
  require_rank(w, 4, "weight");
  checked_count(w, 0);
  int64_t kernel[2] = {w[2], w[3]};
  node.integers("kernel_shape", kernel, 2, 1);
  if (kernel[0] != w[2] || kernel[1] != w[3])
    refuse("kernel_shape does not match the weight " + to_string(w));
  p.window.kernel[0] = w[2], p.window.kernel[1] = w[3];
  if (p.groups < 1 || w[0] % p.groups != 0) {
    refuse("group " + std::to_string(p.groups) + " does not divide " + std::to_string(w[0]) +
           " output channels");
  }
  return p;
}

std::vector<TensorType> types(const Params& params, const std::vector<TensorType>& inputs) {
  const auto& p = std::get<ConvParams>(params);
  const Shape &x = inputs[0].shape, &w = inputs[1].shape;
  require_rank(x, 4, "input");
  if (p.groups > x[1] || w[1] != x[1] / p.groups || x[1] % p.groups != 0) {
    refuse("weight " + to_string(w) + " with group " + std::to_string(p.groups) +
           " does not fit the input " + to_string(x));
  }
  if (inputs.size() == 3 && inputs[2].shape != Shape{w[0]}) {
    refuse("bias " + to_string(inputs[2].shape) + " does not match " + std::to_string(w[0]) +
           " output channels");
  }
  return {{DType::kF32, window_output(p.window, x, w[0])}};
}

Problem problem(const Graph& graph, const Node& node) {
  const auto& params = std::get<ConvParams>(node.params);
  const Weight& weight = graph.weights[node.weight(1)];
  Problem p;
  p.params = family::Conv{params.window, params.groups, weight.weight_type()};
  return p;
}

bool small_weights(const Params& params) {
  const auto& p = std::get<ConvParams>(params);
  return is_pointwise(p.window, p.groups);
}

OpDef conv() {
  OpDef op{"Conv", {{Role::kActivation}, {Role::kWeight}, {Role::kBias, true}}};
  op.read = read, op.types = types, op.problem = problem, op.small_weights = small_weights;
  op.takes = {Fuse::kResidual, Fuse::kActivation, Fuse::kPool, Fuse::kFunction};
  op.quantized = true;
  return op;
}

const RegisterOps kRegistered({conv()});

}  // namespace
}  // namespace linnet
