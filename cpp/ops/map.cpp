// Element-wise operators.
#include "ops/op.h"

namespace linnet {
namespace {

// Operators of one input.
Problem map_problem(const Graph&, const Node& node) {
  const auto& m = std::get<MapParams>(node.params);
  Problem p;
  p.params = family::Map{m.code};
  p.end.limits = m.limits;
  return p;
}

OpDef function(const char* name, Params (*read)(NodeReader&)) {
  OpDef op{name, {{Role::kActivation}}};
  op.read = read, op.types = same_type, op.problem = map_problem;
  op.becomes = Fuse::kFunction;
  return op;
}

OpDef limits(const char* name, Params (*read)(NodeReader&)) {
  OpDef op{name, {{Role::kActivation}}};
  op.read = read, op.types = same_type, op.problem = map_problem;
  op.becomes = Fuse::kActivation;
  return op;
}

Params read_relu(NodeReader&) { return MapParams{MapCode::kCopy, {0, kInfinity}}; }
Params read_sigmoid(NodeReader&) { return MapParams{MapCode::kSigmoid, {}}; }

// Where the limits cross, the upper one counts.
Params read_clip(NodeReader& node) {
  Limits limits;
  limits.high = node.number(2).value_or(kInfinity);
  limits.low = std::min(node.number(1).value_or(-kInfinity), limits.high);
  if (!(limits.low <= limits.high)) refuse("a limit is NaN");
  return MapParams{MapCode::kCopy, limits};
}

OpDef clip() {
  OpDef op = limits("Clip", read_clip);
  op.inputs.resize(3, {Role::kConstant, true});
  return op;
}

std::vector<TensorType> add_types(const Params&, const std::vector<TensorType>& inputs) {
  const Shape& a = inputs[0].shape;
  Shape b = inputs[1].shape;
  require_rank_of_image(a);
  if (b.size() > a.size()) {
    refuse("second input " + to_string(b) + " has more axes than the first " + to_string(a));
  }
  b.insert(b.begin(), a.size() - b.size(), 1);
  for (size_t i = 1; i < a.size(); ++i) {
    if (b[i] != a[i] && b[i] != 1) {
      refuse("second input " + to_string(inputs[1].shape) + " does not broadcast to the first " +
             to_string(a));
    }
  }
  return {inputs[0]};
}

Problem add_problem(const Graph& graph, const Node& node) {
  Problem p;
  p.params = family::Map{MapCode::kAdd, node.weight(1) >= 0};
  if (node.weight(1) >= 0) {
    Shape operand = graph.weights[node.weight(1)].shape;
    const size_t rank = graph.values[node.value(0)].shape().size();
    operand.insert(operand.begin(), rank - operand.size(), 1);
    p.z.dims = dims_of(operand);
  } else {
    p.z.dims = graph.values[node.value(1)].dims();
  }
  return p;
}

OpDef add() {
  OpDef op{"Add", {{Role::kActivation}, {Role::kEither}}};
  op.read = no_params, op.types = add_types, op.problem = add_problem;
  op.becomes = Fuse::kResidual;
  op.takes = {Fuse::kActivation};
  return op;
}

Params read_cast(NodeReader& node) { return CastParams{node.type("to")}; }

std::vector<TensorType> cast_types(const Params& params, const std::vector<TensorType>& inputs) {
  return {{std::get<CastParams>(params).to, inputs[0].shape}};
}

// A copy whose operands differ in their types.
Problem cast_problem(const Graph&, const Node&) {
  Problem p;
  p.params = family::Map();
  return p;
}

OpDef cast() {
  OpDef op{"Cast", {{Role::kActivation}}};
  op.read = read_cast, op.types = cast_types, op.problem = cast_problem, op.any_type = true;
  return op;
}

const RegisterOps kRegistered({add(), cast(), clip(), limits("Relu", read_relu),
                               function("Sigmoid", read_sigmoid)});

}  // namespace
}  // namespace linnet
