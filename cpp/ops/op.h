// The table of operators: what each accepts, what comes out, and how it becomes steps of a program.
//
// An operator is one OpDef in the file of its family; its meaning in NumPy lies beside the lowering
// rule in src/linnet/ops. Many operators come down to few kinds of problem (problem/problem.h):
// kernels, algorithms and the planner know only those.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "graph/attributes.h"
#include "graph/graph.h"
#include "problem/problem.h"

namespace linnet {

// How operators that are no single problem become steps; compile/lower.h does it.
class Lowering {
 public:
  virtual const Shape& shape(int value) const = 0;
  // `to` is `from` under another shape.
  virtual void alias(int from, int to) = 0;
  // `to` is `from` with its axes in this order, axis 0 first.
  virtual void permute(int from, int to, const std::vector<int64_t>& axes) = 0;
  // `to` is what the sections, of axes of their own, leave of `from`.
  virtual void slice(int from, int to, const std::vector<Section>& sections) = 0;
  // `to` is the channels of `parts`, one after the other.
  virtual void join(const Node& node, const std::vector<int>& parts, int to) = 0;

 protected:
  ~Lowering() = default;
};

// What an input may be.
enum class Role : uint8_t {
  kActivation,
  kWeight,    // an initializer of floats; some layers keep float16 and int8 as they are
  kBias,      // an initializer of floats
  kConstant,  // an integer initializer that says what the node does
  kEither     // an activation or an initializer of floats
};

struct InputSpec {
  Role role;
  bool optional = false;
};

// What may be done within the step of the operator before, if nobody else wants the value between.
enum class Fuse : uint8_t {
  kNothing,
  kResidual,    // a sum with another activation of the same shape
  kActivation,  // limits on every number
  kFunction,    // any other function of every number
  kPool         // a max pool whose windows do not overlap
};

struct OpDef {
  const char* name;               // ONNX's
  std::vector<InputSpec> inputs;  // of a variadic operator the last one repeats
  bool variadic = false;
  // Attributes and constants, checked as far as no activation's shape is needed.
  Params (*read)(NodeReader& node) = nullptr;
  // The outputs' types. `inputs` has weights too, and an empty shape where one is absent. Throws
  // std::invalid_argument saying what does not fit.
  std::vector<TensorType> (*types)(const Params& params,
                                   const std::vector<TensorType>& inputs) = nullptr;
  bool any_type = false;  // activations need not be float32
  bool integers = false;  // they may be int64 instead, all of them
  bool bytes = false;     // they may be int8 or uint8 instead
  // Its step computes with integers of 8 bits where its inputs come from a DequantizeLinear.
  bool quantized = false;
  bool finds = false;   // its results are rows, of which those that begin with -1 are none
  bool planar = false;  // reads and writes whole images only, channel by channel
  // The problem that one step solves: kind, dims and parameters, for one image; null for operators
  // that have a `lower` of their own.
  Problem (*problem)(const Graph& graph, const Node& node) = nullptr;
  // Adds the steps of a node that is no single problem, and says where its outputs lie.
  void (*lower)(const Node& node, Lowering& lowering) = nullptr;
  Fuse becomes = Fuse::kNothing;  // in the step of the operator before
  std::vector<Fuse> takes = {};   // what its own step does besides, in this order
  // Whether the weight at a place may be kept as float16 or int8.
  bool (*small_weights)(const Params& params) = nullptr;

  Role role(size_t input) const { return inputs[std::min(input, inputs.size() - 1)].role; }
  bool keeps_small_weights(const Params& params, size_t input) const {
    return role(input) == Role::kWeight && small_weights && small_weights(params);
  }
  bool does(Fuse fuse) const { return std::count(takes.begin(), takes.end(), fuse) != 0; }
};

// The operator of that name; null if it is not part of the canonical form.
const OpDef* find_op(const std::string& name);
// All operators, in order of their names.
const std::vector<const OpDef*>& ops();

// Puts a family's operators into the table.
struct RegisterOps {
  explicit RegisterOps(std::vector<OpDef> family);
};

// What families share.
Params no_params(NodeReader& node);
std::vector<TensorType> same_type(const Params& params, const std::vector<TensorType>& inputs);
// `axis` of an AxisParams counted from the first; may lie outside the rank.
int64_t axis_of(const Params& params, size_t rank);
// Throws std::invalid_argument if a node of that operator cannot have so many inputs.
void expect_inputs(const OpDef& op, size_t count);
[[noreturn]] void refuse(const std::string& what);  // std::invalid_argument
void require_rank(const Shape& shape, size_t rank, const char* what);
void require_rank_of_image(const Shape& shape);  // at most 4 axes
// Of a convolution or pool; the kernel is read elsewhere.
Window read_window(NodeReader& node);
Shape window_output(const Window& window, const Shape& x, int64_t channels);

// op.types(), and that the operator takes activations of these types.
std::vector<TensorType> types_of(const OpDef& op, const Params& params,
                                 const std::vector<TensorType>& inputs);

// The type of an operator's first output by name and attributes, without a graph. Each input is a
// constant, or an activation, of which only shape and type are there; one without axes or numbers
// is absent. Axis 0 of the first passes through.
TensorType infer_type(const std::string& op, const Attributes& attributes,
                      const std::vector<Weight>& inputs);

}  // namespace linnet
