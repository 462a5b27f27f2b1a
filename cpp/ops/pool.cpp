// Max and average pooling, over windows or whole images.
#include "ops/op.h"

namespace linnet {
namespace {

Params read_pool(NodeReader& node, bool max) {
  PoolParams p;
  p.max = max;
  p.window = read_window(node);
  p.window.ceil = node.flag("ceil_mode");
  if (!node.integers("kernel_shape", p.window.kernel, 2, 1)) refuse("kernel_shape is missing");
  if (max && node.integer("storage_order", 0) != 0) refuse("storage_order is not supported");
  if (!max) p.window.include_pad = node.flag("count_include_pad");
  for (int axis = 0; axis < 2; ++axis) {
    if (!p.window.pads_below_extent(axis)) refuse("padding is not smaller than the window");
    if (!max && p.window.dilation[axis] != 1) refuse("dilated average pooling is not supported");
  }
  return p;
}

Params read_global(NodeReader&, bool max) {
  PoolParams p;
  p.max = max, p.global = true;
  return p;
}

Window window_of(const PoolParams& p, const Shape& x) {
  Window w = p.window;
  if (p.global) w.kernel[0] = x[2], w.kernel[1] = x[3];
  return w;
}

std::vector<TensorType> types(const Params& params, const std::vector<TensorType>& inputs) {
  const Shape& x = inputs[0].shape;
  require_rank(x, 4, "input");
  return {{inputs[0].dtype, window_output(window_of(std::get<PoolParams>(params), x), x, x[1])}};
}

Problem problem(const Graph& graph, const Node& node) {
  const auto& params = std::get<PoolParams>(node.params);
  Problem p;
  p.params = family::Pool{params.max ? PoolCode::kMax : PoolCode::kAverage,
                          window_of(params, graph.values[node.value(0)].shape())};
  return p;
}

OpDef pool(const char* name, Params (*read)(NodeReader&)) {
  OpDef op{name, {{Role::kActivation}}};
  op.read = read, op.types = types, op.problem = problem;
  return op;
}

OpDef max_pool() {
  OpDef op = pool("MaxPool", [](NodeReader& node) { return read_pool(node, true); });
  op.becomes = Fuse::kPool, op.bytes = true;
  return op;
}
OpDef global_max_pool() {
  OpDef op = pool("GlobalMaxPool", [](NodeReader& node) { return read_global(node, true); });
  op.bytes = true;
  return op;
}
OpDef average(const char* name, Params (*read)(NodeReader&)) {
  OpDef op = pool(name, read);
  op.quantized = true;
  return op;
}

const RegisterOps kRegistered({
    max_pool(),
    average("AveragePool", [](NodeReader& node) { return read_pool(node, false); }),
    global_max_pool(),
    average("GlobalAveragePool", [](NodeReader& node) { return read_global(node, false); }),
});

}  // namespace
}  // namespace linnet
