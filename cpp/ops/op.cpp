#include "ops/op.h"

#include <algorithm>
#include <list>
#include <stdexcept>

namespace linnet {
namespace {

// A function's static, because registrations run before main in no defined order; never destroyed,
// because threads may outlive main.
std::vector<const OpDef*>& table() {
  static auto& all = *new std::vector<const OpDef*>;
  return all;
}

bool before(const OpDef* op, const std::string& name) { return op->name < name; }

}  // namespace

RegisterOps::RegisterOps(std::vector<OpDef> family) {
  // Never destroyed either: graphs refer to operators.
  static auto& definitions = *new std::list<OpDef>;
  auto& all = table();
  for (OpDef& op : family) {
    definitions.push_back(std::move(op));
    const OpDef& kept = definitions.back();
    all.insert(std::lower_bound(all.begin(), all.end(), kept.name, before), &kept);
  }
}

const std::vector<const OpDef*>& ops() { return table(); }

const OpDef* find_op(const std::string& name) {
  const auto& all = table();
  const auto found = std::lower_bound(all.begin(), all.end(), name, before);
  return found == all.end() || (*found)->name != name ? nullptr : *found;
}

void refuse(const std::string& what) { throw std::invalid_argument(what); }

Params no_params(NodeReader&) { return {}; }

std::vector<TensorType> same_type(const Params&, const std::vector<TensorType>& inputs) {
  require_rank_of_image(inputs[0].shape);
  return {inputs[0]};
}

int64_t axis_of(const Params& params, size_t rank) {
  const int64_t axis = std::get<AxisParams>(params).axis;
  return axis < 0 ? axis + static_cast<int64_t>(rank) : axis;
}

void require_rank(const Shape& shape, size_t rank, const char* what) {
  if (shape.size() != rank) {
    refuse(std::string(what) + " has shape " + to_string(shape) + ", expected " +
           std::to_string(rank) + " axes");
  }
}

void require_rank_of_image(const Shape& shape) {
  if (shape.size() > 4) refuse("inputs of more than 4 axes are not supported: " + to_string(shape));
}

Window read_window(NodeReader& node) {
  Window w;
  node.integers("strides", w.stride, 2, 1);
  node.integers("pads", w.pad, 4, 0);
  node.integers("dilations", w.dilation, 2, 1);
  return w;
}

Shape window_output(const Window& w, const Shape& x, int64_t channels) {
  Shape y = {x[0], channels, 0, 0};
  for (int axis = 0; axis < 2; ++axis) {
    y[2 + axis] = w.output(axis, x[2 + axis]);
    if (y[2 + axis] < 1) {
      refuse("window " + std::to_string(w.extent(0)) + "x" + std::to_string(w.extent(1)) +
             " does not fit the input " + to_string(x) + " with its padding");
    }
  }
  return y;
}

std::vector<TensorType> types_of(const OpDef& op, const Params& params,
                                 const std::vector<TensorType>& inputs) {
  for (size_t i = 0; i < inputs.size() && !op.any_type; ++i) {
    const bool activation = op.role(i) == Role::kActivation || op.role(i) == Role::kEither;
    const bool integers =
        (op.integers && inputs[i].dtype == DType::kI64) || (op.bytes && is_byte(inputs[i].dtype));
    if (activation && inputs[i].dtype != DType::kF32 && !integers) {
      refuse(std::string("an input is ") + to_string(inputs[i].dtype) +
             ", only float32 is supported; cast it");
    }
  }
  return op.types(params, inputs);
}

TensorType infer_type(const std::string& name, const Attributes& attributes,
                      const std::vector<Weight>& inputs) {
  try {
    const OpDef* op = find_op(name);
    if (!op) refuse("operator is not part of the canonical form");
    expect_inputs(*op, inputs.size());
    std::vector<const Weight*> constants(inputs.size());
    std::vector<TensorType> types;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (i == 0 && inputs[i].shape.empty()) refuse("an input has no axes");
      types.push_back(inputs[i].tensor_type());
      const bool weight = op->role(i) == Role::kWeight || op->role(i) == Role::kBias;
      if (inputs[i].bytes() || !inputs[i].integers.empty() || (weight && !inputs[i].shape.empty()))
        constants[i] = &inputs[i];
    }
    NodeReader reader(attributes, constants);
    const Params params = op->read(reader);
    reader.finish();
    const TensorType type = types_of(*op, params, types).at(0);
    checked_count(type.shape, 1);
    return type;
  } catch (const std::invalid_argument& e) {
    throw std::invalid_argument(name + ": " + e.what());
  }
}

void expect_inputs(const OpDef& op, size_t count) {
  size_t least = 0;
  while (least < op.inputs.size() && !op.inputs[least].optional) ++least;
  const size_t most = op.variadic ? SIZE_MAX : op.inputs.size();
  if (op.variadic && count == 0) refuse("has no inputs");
  if (count < least || count > most) {
    refuse("has " + std::to_string(count) + " inputs, expected " + std::to_string(least) +
           (least == most ? "" : " to " + std::to_string(most)));
  }
}

}  // namespace linnet
