#include "graph/builder.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>

#include "graph/resolve.h"
#include "ops/op.h"

namespace linnet {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::invalid_argument(what); }

// What two examples have in common: sizes that differ are free (0).
std::vector<TensorType> common_types(std::vector<TensorType> a, const std::vector<TensorType>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    Shape& shape = a[i].shape;
    if (i >= b.size() || b[i].shape.size() != shape.size()) shape.clear();
    for (size_t axis = 1; axis < shape.size(); ++axis) {
      if (shape[axis] != b[i].shape[axis]) shape[axis] = 0;
    }
  }
  return a;
}

// Integers of 8 bits that stand for themselves.
bool is_plain(const Weight& weight) { return is_byte(weight.type) && weight.scales.empty(); }

// Whether a node multiplies integers with integers.
bool multiplies_integers(const Graph& graph, const Node& node, size_t input) {
  return node.op->quantized && node.op->role(input) == Role::kWeight && node.weight(input) >= 0 &&
         is_byte(graph.weights[node.weight(input)].type) && graph.integers_of(node.value(0)) >= 0;
}

}  // namespace

std::shared_ptr<const Graph> with_weights(const Graph& graph, std::optional<DType> type,
                                          std::string* note) {
  auto changed = std::make_shared<Graph>(graph);
  const auto small = [&](const Node& node, size_t input) {
    return node.weight(input) >= 0 && node.op->keeps_small_weights(node.params, input) &&
           !multiplies_integers(graph, node, input);
  };
  std::vector<bool> fixed(graph.weights.size());  // used where only float32 will do
  for (const Node& node : graph.nodes) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.weight(i) >= 0 && !small(node, i)) fixed[node.weight(i)] = true;
    }
  }
  std::map<std::pair<const void*, Shape>, Weight> known;  // tensors of the same bytes share them
  int layers = 0, kept = 0;
  for (Node& node : changed->nodes) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!small(node, i)) continue;
      int& index = node.inputs[i].weight;
      const Weight& from = graph.weights[index];
      Weight& to = known[{from.bytes(), from.shape}];
      if (!to.bytes()) {
        const DType own = type ? *type : from.is_half() ? DType::kF16 : from.type;
        to = from.as(own);
        ++layers, kept += own == DType::kF16;
      }
      if (fixed[index]) {
        index = static_cast<int>(changed->weights.size());
        changed->weights.push_back(to);
      } else {
        const std::string name = from.name;
        changed->weights[index] = to;
        changed->weights[index].name = name;
      }
    }
  }
  if (note)
    *note = std::to_string(kept) + " of " + std::to_string(layers) +
            " weights that can be float16 are, losing nothing";
  return changed;
}

GraphBuilder::GraphBuilder(std::string name) { graph_.name = std::move(name); }

void GraphBuilder::claim(const std::string& name, const std::string& what) const {
  if (name.empty()) fail(what + " without a name");
  if (has(name)) fail(what + " '" + name + "': the name is taken");
}

bool GraphBuilder::has(const std::string& name) const {
  return values_.count(name) || weights_.count(name);
}

void GraphBuilder::input(const std::string& name, Shape shape, DType type) {
  claim(name, "input");
  if (shape.empty()) fail("input '" + name + "' has no axes, not even one of the batch");
  if (shape.size() > 8) fail("input '" + name + "' has more than 8 axes");
  if (shape[0] < 0) fail("input '" + name + "' has a batch of " + std::to_string(shape[0]));
  declared_.push_back(std::max<int64_t>(1, shape[0]));
  shape[0] = graph_.fixed ? declared_.back() : 0;
  const bool open = std::count(shape.begin() + 1, shape.end(), 0) != 0;
  if (open && !graph_.nodes.empty()) fail("input '" + name + "' of open size after nodes");
  // Even numbers that many layers can halve; rows and columns differ, as do the examples.
  Shape examples[2] = {shape, shape};
  for (size_t axis = 1; axis < shape.size(); ++axis) {
    if (shape[axis]) continue;
    examples[0][axis] = axis % 2 ? 256 : 320;
    examples[1][axis] = axis % 2 ? 448 : 384;
  }
  try {
    for (const Shape& example : examples) checked_count(example, 1);
  } catch (const std::invalid_argument& e) {
    fail("input '" + name + "': " + e.what());
  }
  graph_.open |= open;
  for (int i = 0; i < 2; ++i) examples_[i].push_back({type, examples[i]});
  values_[name] = static_cast<int>(graph_.values.size());
  graph_.inputs.push_back(static_cast<int>(graph_.values.size()));
  graph_.values.push_back({name, {type, std::move(shape)}, -1});
}

void GraphBuilder::initializer(const std::string& name, Shape shape, const float* data,
                               std::shared_ptr<const void> owner) {
  claim(name, "initializer");
  try {
    checked_count(shape, 0);
  } catch (const std::invalid_argument& e) {
    fail("initializer '" + name + "': " + e.what());
  }
  Weight w;
  w.name = name, w.shape = std::move(shape), w.data = data, w.owner = std::move(owner);
  add(std::move(w));
}

void GraphBuilder::initializer(const std::string& name, Weight weight) {
  claim(name, "initializer");
  try {
    checked_count(weight.shape, 0);
  } catch (const std::invalid_argument& e) {
    fail("initializer '" + name + "': " + e.what());
  }
  weight.name = name;
  add(std::move(weight));
}

void GraphBuilder::add(Weight weight) {
  weights_[weight.name] = static_cast<int>(graph_.weights.size());
  graph_.weights.push_back(std::move(weight));
}

void GraphBuilder::make_float(Weight& weight) {
  if (weight.type == DType::kF32 || is_plain(weight)) return;
  Weight& floats = floats_[weight.bytes()];
  if (!floats.bytes()) floats = weight.as(DType::kF32);
  floats.name = weight.name;
  weight = floats;
}

// Weights of int8 or uint8, with scales and zero points for each index of axis 0, or one for all.
void GraphBuilder::dequantize(const std::vector<std::string>& inputs,
                              const std::vector<std::string>& outputs,
                              const Attributes& attributes) {
  if ((inputs.size() != 2 && inputs.size() != 3) || outputs.size() != 1)
    fail("has not two or three inputs and one output");
  const Weight *q = weight(inputs[0]), *given = weight(inputs[1]);
  if (!is_plain(*q) || !given || !given->bytes() || given->type != DType::kF32)
    fail("only initializers of int8 or uint8 may be dequantized, with a float32 scale");
  // The same bytes under many scales would make much of little.
  if (!dequantized_.insert(inputs[0]).second) fail("'" + inputs[0] + "' is dequantized twice");
  Weight made = *q;
  const Weight scale = given->loaded();
  int64_t axis = 1;
  for (const auto& [name, value] : attributes) {
    const auto* i = std::get_if<int64_t>(&value);
    if (name != "axis" || !i) fail("attribute '" + name + "' is not supported");
    axis = *i < 0 ? *i + static_cast<int64_t>(made.shape.size()) : *i;
  }
  const bool whole = scale.shape.empty();
  if (made.shape.empty() || (!whole && (axis != 0 || scale.shape != Shape{made.shape[0]})))
    fail("scale " + to_string(scale.shape) + " is not one for each index of axis 0 of " +
         to_string(made.shape));
  const int64_t count = scale.count();
  if (!std::all_of(scale.data, scale.data + count, [](float s) { return std::isfinite(s); }))
    fail("scale '" + inputs[1] + "' has infinities or NaN");
  const auto rows = static_cast<size_t>(made.shape[0]);
  made.scales.assign(rows, scale.data[0]);
  if (!whole) made.scales.assign(scale.data, scale.data + count);
  if (inputs.size() == 3 && !inputs[2].empty()) {
    const Weight* zero = weight(inputs[2]);
    if (!zero || zero->type != q->type || zero->shape != scale.shape)
      fail("zero point '" + inputs[2] + "' is not " + to_string(q->type) + " of the scale's shape");
    const Weight zeros = zero->loaded();
    bool any = false;
    for (size_t i = 0; i < rows; ++i) {
      made.zeros.push_back(zeros.integer(0, whole ? 0 : static_cast<int64_t>(i)));
      any |= made.zeros.back() != 0;
    }
    if (!any) made.zeros.clear();
  }
  initializer(outputs[0], std::move(made));
}

void GraphBuilder::initializer(const std::string& name, Shape shape,
                               std::vector<int64_t> integers) {
  claim(name, "initializer");
  Weight w;
  w.name = name, w.shape = std::move(shape), w.integers = std::move(integers);
  add(std::move(w));
}

// The value or weight of that name, as the operator takes it at that place.
Input GraphBuilder::find(const OpDef& op, size_t place, const std::string& name) const {
  const Role role = op.role(place);
  if (name.empty() && place < op.inputs.size() && op.inputs[place].optional) return {};
  const auto value = values_.find(name);
  const auto weight = weights_.find(name);
  const bool activation = role == Role::kActivation || role == Role::kEither;
  if (value != values_.end() && activation) return {value->second, -1};
  if (weight != weights_.end() && role != Role::kActivation) {
    const Weight& constant = graph_.weights[weight->second];
    const bool integers = role == Role::kEither && !constant.integers.empty();
    if (role != Role::kConstant && !constant.bytes() && !integers)
      fail("input '" + name + "' is not float32");
    if (is_plain(constant) && (role != Role::kConstant || !(op.bytes || op.quantized)))
      fail("input '" + name + "' is " + to_string(constant.type) + " without a DequantizeLinear");
    return {-1, weight->second};
  }
  if (value == values_.end() && weight == weights_.end())
    fail("input '" + name + "' is not defined before the node");
  fail("input '" + name + "' must be " +
       (weight != weights_.end() ? "an activation" : "an initializer"));
}

// Checks the names of all outputs before any is added.
void GraphBuilder::check_outputs(const std::vector<std::string>& names, size_t count) const {
  size_t used = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) continue;
    ++used;
    claim(names[i], "output");
    if (std::count(names.begin(), names.end(), names[i]) > 1)
      fail("output '" + names[i] + "': the name is taken");
  }
  if (used == 0 || names[0].empty() || names.size() > count)
    fail("has " + std::to_string(used) + " outputs, expected " + std::to_string(count));
}

// The types of a node's outputs for an example; without shapes where the example does not fit,
// since the sizes that will come may.
std::vector<TensorType> GraphBuilder::example_types(const std::vector<TensorType>& example,
                                                    const Node& node, size_t outputs) const {
  try {
    return node_types(graph_, node, [&](int value) -> const TensorType& {
      if (example[value].shape.empty()) fail("not known");
      return example[value];
    });
  } catch (const std::invalid_argument&) {
    return std::vector<TensorType>(outputs);
  }
}

// Makes axis 0 an axis like others.
void GraphBuilder::fix() {
  std::vector<Shape> inputs;
  for (size_t i = 0; i < graph_.inputs.size(); ++i) {
    inputs.push_back(graph_.values[graph_.inputs[i]].shape());
    inputs.back()[0] = declared_[i];
  }
  graph_.fixed = true;
  graph_ = *resolve(graph_, inputs);
}

// The types of a node's outputs. The batch is free until an operator does not keep it apart.
std::vector<TensorType> GraphBuilder::types(const Node& node) {
  const auto known = [&] {
    return node_types(graph_, node,
                      [&](int value) -> const TensorType& { return graph_.values[value].type; });
  };
  try {
    return known();
  } catch (const std::invalid_argument&) {
    if (graph_.fixed) throw;
    Graph free = graph_;
    try {
      fix();
      return known();
    } catch (const std::invalid_argument&) {  // the first reason says more
      graph_ = std::move(free);
    }
    throw;
  }
}

void GraphBuilder::node(const std::string& op_name, const std::string& name,
                        const std::vector<std::string>& inputs,
                        const std::vector<std::string>& outputs, const Attributes& attributes) {
  try {
    if (op_name == "DequantizeLinear" && !inputs.empty() && weights_.count(inputs[0]))
      return dequantize(inputs, outputs, attributes);
    const OpDef* op = find_op(op_name);
    if (!op) fail("operator is not part of the canonical form");
    size_t count = inputs.size();
    while (count && inputs[count - 1].empty()) --count;
    expect_inputs(*op, count);

    Node node;
    node.op = op;
    std::vector<const Weight*> constants;
    for (size_t i = 0; i < count; ++i) {
      const Input input = find(*op, i, inputs[i]);
      // Weights keep their types until it is known what the node makes of them.
      if (input.weight >= 0 && op->role(i) != Role::kWeight)
        make_float(graph_.weights[input.weight]);
      node.inputs.push_back(input);
      constants.push_back(graph_.weight(input.weight));
    }
    NodeReader reader(attributes, constants);
    node.params = op->read(reader);
    reader.finish();
    std::vector<TensorType> results, examples[2];
    if (graph_.open) {
      for (int i = 0; i < 2; ++i) examples[i] = example_types(examples_[i], node, outputs.size());
      results = common_types(examples[0], examples[1]);
    } else {
      results = types(node);
    }
    check_outputs(outputs, results.size());
    node.name = name.empty() ? outputs[0] : name;
    for (size_t i = 0; i < count; ++i) {
      const int used = node.weight(i);
      if (used >= 0 && !op->keeps_small_weights(node.params, i) &&
          !multiplies_integers(graph_, node, i))
        make_float(graph_.weights[used]);
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      node.outputs.push_back(outputs[i].empty() ? -1 : static_cast<int>(graph_.values.size()));
      if (outputs[i].empty()) continue;
      values_[outputs[i]] = node.outputs[i];
      graph_.values.push_back({outputs[i], results[i], static_cast<int>(graph_.nodes.size())});
      for (int k = 0; k < 2 && graph_.open; ++k) examples_[k].push_back(examples[k][i]);
    }
    graph_.nodes.push_back(std::move(node));
  } catch (const std::invalid_argument& e) {
    throw std::invalid_argument("node '" + name + "' (" + op_name + "): " + e.what());
  }
}

const Weight* GraphBuilder::weight(const std::string& name) const {
  const auto w = weights_.find(name);
  return w == weights_.end() ? nullptr : &graph_.weights[w->second];
}

void GraphBuilder::output(const std::string& name) {
  const auto value = values_.find(name);
  if (value == values_.end()) fail("output '" + name + "' is not defined");
  if (std::find(graph_.outputs.begin(), graph_.outputs.end(), value->second) !=
      graph_.outputs.end()) {
    fail("output '" + name + "' is listed twice");
  }
  graph_.outputs.push_back(value->second);
}

const Shape& GraphBuilder::shape(const std::string& value) const {
  const auto v = values_.find(value);
  if (v != values_.end()) return graph_.values[v->second].shape();
  const auto w = weights_.find(value);
  if (w != weights_.end()) return graph_.weights[w->second].shape;
  fail("value '" + value + "' is not defined");
}

DType GraphBuilder::type(const std::string& value) const {
  const auto v = values_.find(value);
  if (v == values_.end()) fail("value '" + value + "' is not defined");
  return graph_.values[v->second].type.dtype;
}

std::shared_ptr<const Graph> GraphBuilder::build() const {
  if (graph_.inputs.empty()) fail("the graph has no input");
  if (graph_.outputs.empty()) fail("the graph has no output");
  return std::make_shared<const Graph>(graph_);
}

}  // namespace linnet
