#include "graph/resolve.h"

#include <stdexcept>

#include "ops/op.h"

namespace linnet {
namespace {

TensorType input_type(const Value& input, const Shape& given, bool fixed) {
  TensorType type = input.type;
  bool fits = given.size() == type.shape.size();
  for (size_t axis = 0; axis < type.shape.size() && fits; ++axis) {
    if (axis == 0 && !fixed) continue;
    fits = type.shape[axis] == 0 || type.shape[axis] == given[axis];
    type.shape[axis] = given[axis];
  }
  if (!fits)
    refuse("input '" + input.name + "' has shape " + to_string(given) + ", expected " +
           to_string(input.type.shape));
  if (!fixed) type.shape[0] = 0;
  checked_count(type.shape, fixed ? 0 : 1);
  return type;
}

std::shared_ptr<const Graph> resolve(const Graph& graph, const std::vector<Shape>& inputs,
                                     bool fixed) {
  auto resolved = std::make_shared<Graph>(graph);
  resolved->open = false, resolved->fixed = fixed;
  std::vector<Value>& values = resolved->values;
  for (size_t i = 0; i < graph.inputs.size(); ++i)
    values[graph.inputs[i]].type = input_type(graph.values[graph.inputs[i]], inputs.at(i), fixed);
  const auto type_of = [&](int value) -> const TensorType& { return values[value].type; };
  for (const Node& node : resolved->nodes) {
    try {
      const std::vector<TensorType> results = node_types(*resolved, node, type_of);
      for (size_t i = 0; i < node.outputs.size(); ++i) {
        if (node.outputs[i] >= 0) values[node.outputs[i]].type = results.at(i);
      }
    } catch (const std::invalid_argument& e) {
      throw std::invalid_argument("node '" + node.name + "' (" + node.op->name +
                                  "), for inputs of these sizes: " + e.what());
    }
  }
  return resolved;
}

}  // namespace

std::vector<TensorType> node_types(const Graph& graph, const Node& node,
                                   const std::function<const TensorType&(int)>& type_of) {
  std::vector<TensorType> types;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const int value = node.value(i), weight = node.weight(i);
    types.push_back(value >= 0   ? type_of(value)
                    : weight < 0 ? TensorType{}
                    : node.op->role(i) == Role::kEither
                        ? graph.weights[weight].tensor_type()
                        : TensorType{DType::kF32, graph.weights[weight].shape});
    if (node.op->role(i) != Role::kEither || node.op->planar) continue;
    // A constant has no batch of its own, so an axis 0 it may have must be 1.
    const Shape& s = types.back().shape;
    if (weight >= 0 && !s.empty() && s.size() == types[0].shape.size() && s[0] != 1)
      refuse("constant " + to_string(s) + " has a batch axis");
    if (value >= 0 && s.size() != types[0].shape.size())
      refuse("activations of " + to_string(types[0].shape) + " and " + to_string(s) +
             " differ in their number of axes");
    if (value >= 0 && s[0] != types[0].shape[0])
      refuse("activations of " + to_string(types[0].shape) + " and " + to_string(s) +
             " differ in axis 0");
  }
  std::vector<TensorType> results = types_of(*node.op, node.params, types);
  for (const TensorType& type : results) {
    if (type.shape.empty()) refuse("a result has no axes");
    checked_count(type.shape, type.shape[0] ? 0 : 1);
  }
  return results;
}

std::shared_ptr<const Graph> resolve(const Graph& graph, const std::vector<Shape>& inputs) {
  if (graph.fixed) return resolve(graph, inputs, true);
  try {
    return resolve(graph, inputs, false);
  } catch (const std::invalid_argument& first) {
    try {
      return resolve(graph, inputs, true);
    } catch (const std::invalid_argument&) {
      throw std::invalid_argument(first.what());  // which says more
    }
  }
}

}  // namespace linnet
