// A trained network as a list of nodes in execution order, every value with its type.
//
// A graph holds canonical operators only (docs/architecture.md lists them, ops/ says what each
// means); rewriting other forms into them is the importers' and passes' work. builder.h makes one.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "core/activation.h"
#include "graph/weight.h"
#include "problem/problem.h"

namespace linnet {

struct OpDef;

// What an operator's attributes and constants come to: a struct for each kind of operator.
struct ConvParams {
  Window window;
  int64_t groups = 1;
};
struct PoolParams {
  Window window;
  bool max = true;
  bool global = false;  // the window is the whole image
};
struct AxisParams {
  int64_t axis = 1;  // as given: negative ones count from the last
};
struct ReshapeParams {
  std::vector<int64_t> target;
};
struct MapParams {
  Function function;
  Limits limits;
  DType integers = DType::kF32;  // of QuantizeLinear's result, of DequantizeLinear's input
};
struct NormalizeParams {
  NormalizeCode code = NormalizeCode::kSoftmax;
  int64_t axis = 1;  // as given: negative ones count from the last
  int64_t size = 0;  // the rest as family::Normalize has it
  float a = 0, b = 0, c = 0;
};
struct TransposeParams {
  std::vector<int64_t> axes;  // the input's, in the order of the output
};
// What a slice keeps of an axis after the batch: `count` numbers, every `step`th from `first` on.
struct Section {
  size_t axis = 1;
  int64_t first = 0, step = 1, count = 0;
};
struct SliceParams {
  std::vector<int64_t> starts, ends, axes, steps;  // as given
};
struct ReduceParams {
  ReduceCode code = ReduceCode::kSum;
  std::vector<int64_t> axes;
  int64_t top = 1;  // numbers that stay of an axis, of places
};
struct GatherParams {
  bool elements = false;
};
struct RegionsParams {
  family::Regions regions;
};
struct DetectParams {
  family::Detect detect;
  int64_t rows = 0;
  bool places = false;
};
struct SampleParams {
  family::Sample sample;
};
struct ResizeParams {
  enum class Fit : uint8_t { kStretch, kNotLarger, kNotSmaller } fit = Fit::kStretch;
  family::Resize resize;
  int64_t sizes[2] = {0, 0};  // of height and width; not where there are scales
};
struct CastParams {
  DType to = DType::kF32;
};
using Params =
    std::variant<std::monostate, ConvParams, PoolParams, AxisParams, ReshapeParams, MapParams,
                 NormalizeParams, TransposeParams, SliceParams, ResizeParams, ReduceParams,
                 CastParams, GatherParams, DetectParams, RegionsParams, SampleParams>;

struct Value {
  std::string name;
  // Axis 0 of the shape is 0: any batch, unless that of the graph is fixed. Of an open graph others
  // may be 0 too, and a value whose number of axes is not known has no shape.
  TensorType type;
  int producer = -1;  // node index; -1 for a graph input
  const Shape& shape() const { return type.shape; }
  Dims dims() const { return dims_of(type.shape); }  // of one image
};

// An input of a node: the index of a value or of a weight; neither where an optional one is absent.
struct Input {
  int value = -1;
  int weight = -1;
};

struct Node {
  const OpDef* op = nullptr;
  std::string name;
  std::vector<Input> inputs;
  std::vector<int> outputs;  // values; -1 where an optional one is absent
  Params params;

  int value(size_t input) const { return input < inputs.size() ? inputs[input].value : -1; }
  int weight(size_t input) const { return input < inputs.size() ? inputs[input].weight : -1; }
  int output() const { return outputs[0]; }
};

struct Graph {
  std::string name;
  std::vector<Node> nodes;
  std::vector<Value> values;
  std::vector<Weight> weights;
  std::vector<int> inputs, outputs;  // values
  bool open = false;                 // an input leaves more sizes open than the batch
  // Some operator takes axis 0 for an axis like others: all shapes say how long it is, and the
  // batch is that of the inputs.
  bool fixed = false;

  // Images of a value in a run, where axis 0 is their number: of a fixed graph 1.
  int64_t own_images(int value) const { return fixed ? values[value].shape()[0] : 1; }
  // The integers that a value is made of by a DequantizeLinear; -1 where it is no such.
  int integers_of(int value) const;
  int find_value(const std::string& name) const;  // -1 if there is none
  const Weight* weight(int index) const { return index < 0 ? nullptr : &weights[index]; }
};

}  // namespace linnet
