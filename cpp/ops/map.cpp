// Element-wise operators.
#include <algorithm>
#include <limits>

#include "ops/op.h"

namespace linnet {
namespace {

// Operators of one input.

Problem map_problem(const Graph&, const Node& node) {
  const auto& m = std::get<MapParams>(node.params);
  Problem p;
  p.params = family::Map{m.function};
  p.end.limits = m.limits;
  return p;
}

OpDef one_input(const char* name, Params (*read)(NodeReader&), Fuse becomes) {
  OpDef op{name, {{Role::kActivation}}};
  op.read = read, op.types = same_type, op.problem = map_problem, op.becomes = becomes;
  op.quantized = true;
  return op;
}

template <MapCode kCode>
OpDef function(const char* name) {
  const auto read = [](NodeReader&) -> Params { return MapParams{{kCode}, {}}; };
  return one_input(name, read, Fuse::kFunction);
}

float real(NodeReader& node, const char* name, double fallback) {
  return static_cast<float>(node.real(name, fallback));
}

Params read_leaky(NodeReader& node) {
  return MapParams{{MapCode::kLeaky, real(node, "alpha", 0.01)}, {}};
}
Params read_elu(NodeReader& node) {
  return MapParams{{MapCode::kElu, real(node, "alpha", 1), 1}, {}};
}
Params read_selu(NodeReader& node) {
  const float gamma = real(node, "gamma", 1.05070102214813232421875);
  return MapParams{{MapCode::kElu, gamma * real(node, "alpha", 1.67326319217681884765625), gamma},
                   {}};
}
Params read_hard_sigmoid(NodeReader& node) {
  const float alpha = real(node, "alpha", 0.2);
  return MapParams{{MapCode::kHardSigmoid, alpha, real(node, "beta", 0.5)}, {}};
}

Params read_relu(NodeReader&) { return MapParams{{}, {0, kInfinity}}; }

// Where the limits cross, the upper one counts.
Params read_clip(NodeReader& node) {
  Limits limits;
  limits.high = node.number(2).value_or(kInfinity);
  limits.low = std::min(node.number(1).value_or(-kInfinity), limits.high);
  if (!(limits.low <= limits.high)) refuse("a limit is NaN");
  return MapParams{{}, limits};
}

OpDef clip() {
  OpDef op = one_input("Clip", read_clip, Fuse::kActivation);
  op.inputs.resize(3, {Role::kConstant, true});
  return op;
}

// Operators of two inputs.

std::vector<TensorType> two_types(const Params&, const std::vector<TensorType>& inputs) {
  const Shape& a = inputs[0].shape;
  Shape b = inputs[1].shape;
  require_rank_of_image(a);
  if (inputs[1].dtype != inputs[0].dtype)
    refuse(std::string("inputs are ") + to_string(inputs[0].dtype) + " and " +
           to_string(inputs[1].dtype) + "; cast one");
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

template <MapCode kCode>
Problem two_problem(const Graph& graph, const Node& node) {
  Problem p;
  p.params = family::Map{{kCode}, node.weight(1) >= 0};
  if (node.weight(1) >= 0) {
    Shape operand = graph.weights[node.weight(1)].shape;
    const size_t rank = graph.values[node.value(0)].shape().size();
    operand.insert(operand.begin(), rank - operand.size(), 1);
    p.z.dims = dims_of(operand);
    p.z.dtype = graph.values[node.value(0)].type.dtype;
  } else {
    p.z.dims = graph.values[node.value(1)].dims();
  }
  return p;
}

template <MapCode kCode>
OpDef two_inputs(const char* name) {
  OpDef op{name, {{Role::kActivation}, {Role::kEither}}};
  op.read = no_params, op.types = two_types, op.problem = two_problem<kCode>;
  op.takes = {Fuse::kActivation};
  op.integers = kCode != MapCode::kPRelu;
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

OpDef add() {
  OpDef op = two_inputs<MapCode::kAdd>("Add");
  op.becomes = Fuse::kResidual, op.quantized = true;
  return op;
}
OpDef multiply() {
  OpDef op = two_inputs<MapCode::kMul>("Mul");
  op.quantized = true;
  return op;
}

// The reals that integers stand for: one scale and zero point for all.
template <MapCode kCode>
Params read_scale(NodeReader& node) {
  MapParams p{{kCode, node.number(1).value_or(0), 0}, {}, DType::kU8};
  if (!(p.function.a >= std::numeric_limits<float>::min() && p.function.a < kInfinity))
    refuse("the scale is not a positive number");
  const Weight* zero = node.constant(2);
  if (!zero) return p;
  if (!is_byte(zero->type) || !zero->stored || zero->count() != 1)
    refuse("the zero point is not a single number of int8 or uint8");
  p.integers = zero->type;
  p.function.b = zero->type == DType::kI8
                     ? static_cast<float>(*static_cast<const int8_t*>(zero->stored))
                     : static_cast<float>(*static_cast<const uint8_t*>(zero->stored));
  return p;
}

std::vector<TensorType> quantize_types(const Params& params,
                                       const std::vector<TensorType>& inputs) {
  require_rank_of_image(inputs[0].shape);
  return {{std::get<MapParams>(params).integers, inputs[0].shape}};
}

std::vector<TensorType> dequantize_types(const Params& params,
                                         const std::vector<TensorType>& inputs) {
  const DType type = std::get<MapParams>(params).integers;
  require_rank_of_image(inputs[0].shape);
  if (inputs[0].dtype != type)
    refuse(std::string("input is ") + to_string(inputs[0].dtype) + ", its zero point " +
           to_string(type));
  return {{DType::kF32, inputs[0].shape}};
}

template <MapCode kCode>
OpDef scaled(const char* name) {
  OpDef op{name, {{Role::kActivation}, {Role::kConstant}, {Role::kConstant, true}}};
  op.read = read_scale<kCode>, op.problem = map_problem;
  op.types = kCode == MapCode::kQuantize ? quantize_types : dequantize_types;
  op.bytes = kCode == MapCode::kDequantize, op.quantized = kCode == MapCode::kQuantize;
  return op;
}

// Of integers too.
template <MapCode kCode>
OpDef signs(const char* name) {
  OpDef op = function<kCode>(name);
  op.integers = true;
  return op;
}

const RegisterOps kRegistered({
    add(),
    two_inputs<MapCode::kSub>("Sub"),
    multiply(),
    two_inputs<MapCode::kDiv>("Div"),
    two_inputs<MapCode::kMax>("Max"),
    two_inputs<MapCode::kMin>("Min"),
    two_inputs<MapCode::kPRelu>("PRelu"),
    two_inputs<MapCode::kPow>("Pow"),
    one_input("Relu", read_relu, Fuse::kActivation),
    cast(),
    clip(),
    scaled<MapCode::kQuantize>("QuantizeLinear"),
    scaled<MapCode::kDequantize>("DequantizeLinear"),
    function<MapCode::kSigmoid>("Sigmoid"),
    function<MapCode::kTanh>("Tanh"),
    function<MapCode::kExp>("Exp"),
    function<MapCode::kLog>("Log"),
    function<MapCode::kSqrt>("Sqrt"),
    function<MapCode::kReciprocal>("Reciprocal"),
    signs<MapCode::kNeg>("Neg"),
    signs<MapCode::kAbs>("Abs"),
    signs<MapCode::kSign>("Sign"),
    function<MapCode::kFloor>("Floor"),
    function<MapCode::kCeil>("Ceil"),
    function<MapCode::kRound>("Round"),
    function<MapCode::kSoftplus>("Softplus"),
    function<MapCode::kSoftsign>("Softsign"),
    function<MapCode::kHardSwish>("HardSwish"),
    function<MapCode::kMish>("Mish"),
    function<MapCode::kErf>("Erf"),
    function<MapCode::kGelu>("Gelu"),
    one_input("LeakyRelu", read_leaky, Fuse::kFunction),
    one_input("Elu", read_elu, Fuse::kFunction),
    one_input("Selu", read_selu, Fuse::kFunction),
    one_input("HardSigmoid", read_hard_sigmoid, Fuse::kFunction),
});

}  // namespace
}  // namespace linnet
