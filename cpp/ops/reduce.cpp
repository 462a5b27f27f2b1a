// Axes that become one number each.
#include "ops/op.h"

namespace linnet {
namespace {

template <ReduceCode kCode>
Params read(NodeReader& node) {
  ReduceParams p;
  p.code = kCode;
  const Weight* axes = node.constant(1);
  if (!axes || axes->bytes() || axes->integers.empty())
    refuse("its axes are not an integer initializer");
  p.axes = axes->integers;
  if (node.integer("keepdims", 1) != 1) refuse("only keepdims=1 is supported");
  return p;
}

template <ReduceCode kFirst, ReduceCode kLast>
Params read_place(NodeReader& node) {
  ReduceParams p;
  p.code = node.integer("select_last_index", 0) ? kLast : kFirst;
  p.axes = {node.integer("axis", 0)};
  if (node.integer("keepdims", 1) != 1) refuse("only keepdims=1 is supported");
  return p;
}

Params read_top(NodeReader& node) {
  ReduceParams p;
  p.code = node.flag("smallest") ? ReduceCode::kFirstMin : ReduceCode::kFirstMax;
  p.axes = {node.integer("axis", 0)};
  p.top = node.integer("top", 1);
  if (p.top < 1) refuse("top is not positive");
  return p;
}

// Whether each axis after the batch is reduced.
std::vector<bool> reduced(const Params& params, const Shape& x) {
  require_rank_of_image(x);
  std::vector<bool> flags(x.size());
  for (const int64_t axis : std::get<ReduceParams>(params).axes) {
    if (axis < 1 || axis >= static_cast<int64_t>(x.size()) || flags[static_cast<size_t>(axis)])
      refuse("axis " + std::to_string(axis) + " of " + to_string(x));
    flags[static_cast<size_t>(axis)] = true;
  }
  return flags;
}

std::vector<TensorType> types(const Params& params, const std::vector<TensorType>& inputs) {
  Shape y = inputs[0].shape;
  const std::vector<bool> flags = reduced(params, y);
  const auto& p = std::get<ReduceParams>(params);
  for (size_t axis = 1; axis < y.size(); ++axis) {
    if (flags[axis] && y[axis] < p.top)
      refuse("top " + std::to_string(p.top) + " of " + to_string(y));
    if (flags[axis]) y[axis] = p.top;
  }
  const bool place = is_place(p.code);
  return {{place ? DType::kI64 : DType::kF32, y}};
}

Problem problem(const Graph& graph, const Node& node) {
  const std::vector<bool> flags = reduced(node.params, graph.values[node.value(0)].shape());
  family::Reduce r;
  r.code = std::get<ReduceParams>(node.params).code;
  r.top = std::get<ReduceParams>(node.params).top;
  for (size_t axis = 1; axis < flags.size(); ++axis) {
    const bool width = flags.size() == 3 && axis == 2;  // of [N, C, W]
    r.axes[width ? 2 : axis - 1] = flags[axis];
  }
  Problem p;
  p.params = r;
  return p;
}

template <ReduceCode kCode>
OpDef reduce(const char* name) {
  OpDef op{name, {{Role::kActivation}, {Role::kConstant}}};
  op.read = read<kCode>, op.types = types, op.problem = problem;
  return op;
}

template <ReduceCode kFirst, ReduceCode kLast>
OpDef place(const char* name) {
  OpDef op{name, {{Role::kActivation}}};
  op.read = read_place<kFirst, kLast>, op.types = types, op.problem = problem;
  return op;
}

OpDef top() {
  OpDef op{"TopPlaces", {{Role::kActivation}}};
  op.read = read_top, op.types = types, op.problem = problem;
  return op;
}

const RegisterOps kRegistered({
    top(),
    place<ReduceCode::kFirstMax, ReduceCode::kLastMax>("ArgMax"),
    place<ReduceCode::kFirstMin, ReduceCode::kLastMin>("ArgMin"),
    reduce<ReduceCode::kMean>("ReduceMean"),
    reduce<ReduceCode::kSum>("ReduceSum"),
    reduce<ReduceCode::kMax>("ReduceMax"),
    reduce<ReduceCode::kMin>("ReduceMin"),
    reduce<ReduceCode::kProduct>("ReduceProd"),
    reduce<ReduceCode::kSumOfMagnitudes>("ReduceL1"),
    reduce<ReduceCode::kSumOfSquares>("ReduceSumSquare"),
});

}  // namespace
}  // namespace linnet
