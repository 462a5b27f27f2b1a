// A trained network as a list of nodes in execution order, every value with its shape.
//
// GraphBuilder is the core's one entry: the Python bindings and the ONNX reader both feed it, node
// by node, and it checks each node as it comes. It holds canonical operators only
// (docs/architecture.md lists them); rewriting other forms into them is the importers' and passes'
// work.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "core/types.h"
#include "kernels/kernels.h"

namespace linnet {

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>>;
using Attributes = std::map<std::string, Attribute>;

enum class Op {
  kConv,
  kMaxPool,
  kAveragePool,
  kGemm,
  kRelu,
  kAdd,
  kConcat,
  kSoftmax,
  kFlatten,
  kReshape
};

const char* to_string(Op op);

// Height-first geometry of a convolution or pooling window.
struct Window {
  int64_t kernel[2] = {1, 1};
  int64_t stride[2] = {1, 1};
  int64_t pad[4] = {0, 0, 0, 0};  // top, left, bottom, right
  int64_t dilation[2] = {1, 1};
  bool ceil = false;         // pooling: a last, partial window counts
  bool include_pad = false;  // average pooling: padding counts in the divisor

  // Output size along axis 0 (height) or 1 (width); < 1 where no window fits.
  int64_t output(int axis, int64_t input) const;
  int64_t extent(int axis) const { return (kernel[axis] - 1) * dilation[axis] + 1; }
};

// A constant tensor, borrowed: `owner` keeps whatever holds `data` or `stored` alive (a mapped
// file, a NumPy array).
struct Weight {
  std::string name;
  Shape shape;
  const float* data = nullptr;    // float32, dense; null for an integer tensor and for other types
  std::vector<int64_t> integers;  // value of an int64 tensor (a Reshape's shape)
  std::shared_ptr<const void> owner;
  DType type = DType::kF32;
  const void* stored = nullptr;  // float16 or int8 in place of `data`, dense, of any alignment
  std::vector<float> scales;     // int8: one for each index of axis 0

  int64_t count() const;
  const void* bytes() const { return data ? static_cast<const void*>(data) : stored; }
  // The same tensor as another type, in memory of its own. To float16 by rounding to nearest even,
  // to int8 with the scale of a row its largest magnitude / 127; throws std::invalid_argument for
  // what float16 (or, of infinities and NaN, int8) cannot hold.
  Weight as(DType wanted) const;
};

// "f32", "f16" and "int8", as callers name them; throws std::invalid_argument for other names.
const char* to_string(DType type);
DType weight_type(const std::string& name);

struct Value {
  std::string name;
  Shape shape;        // axis 0 is 0: any batch
  int producer = -1;  // node index; -1 for a graph input
  Dims dims() const;  // of one image; rank at most 4
};

// Inputs are indices of values; weights are indices of weights, -1 where an optional one is absent.
struct Node {
  Op op;
  std::string name;
  std::vector<int> inputs;
  int output = -1;
  int weight = -1, bias = -1;  // Conv, Gemm; an Add's constant operand is `weight`
  Window window;               // Conv and pools
  int64_t groups = 1;          // Conv
  bool global = false;         // global pooling
  int axis = 1;                // Softmax
};

struct Graph {
  std::string name;
  std::vector<Node> nodes;
  std::vector<Value> values;
  std::vector<Weight> weights;
  std::vector<int> inputs, outputs;  // values

  int find_value(const std::string& name) const;  // -1 if there is none
};

// The layers whose weights may be kept as float16 or int8 are the fully connected ones and the
// pointwise convolutions: 1x1 and ungrouped.
inline bool is_pointwise(const Window& window, int64_t groups) {
  return window.kernel[0] == 1 && window.kernel[1] == 1 && groups == 1;
}

// The graph with all weights that may be kept as any type kept as this one.
std::shared_ptr<const Graph> with_weights(const Graph& graph, DType type);

// The shape rule of one operator: shapes[i] belongs to input i (weights included); axis 0 of the
// first passes through. A Reshape's target is the attribute "shape". Throws std::invalid_argument
// saying what does not fit.
Shape infer_shape(const std::string& op, const Attributes& attributes,
                  const std::vector<Shape>& shapes);

// Builds a Graph; every method throws std::invalid_argument naming the node (or tensor), the
// operator and the problem.
class GraphBuilder {
 public:
  explicit GraphBuilder(std::string name = "");

  void input(const std::string& name, Shape shape);  // shape[0] is the batch and ignored
  // `data` is float32, dense, 4-byte aligned, and lives as long as `owner`.
  void initializer(const std::string& name, Shape shape, const float* data,
                   std::shared_ptr<const void> owner);
  void initializer(const std::string& name, Shape shape, std::vector<int64_t> integers);
  // A float16 or int8 tensor, all fields but the name. It stays what it is where it is used as
  // weights that may be kept as any type, and becomes float32 elsewhere.
  void initializer(const std::string& name, Weight weight);
  // An empty name in `inputs` is an absent optional input.
  void node(const std::string& op, const std::string& name, const std::vector<std::string>& inputs,
            const std::vector<std::string>& outputs, const Attributes& attributes);
  void output(const std::string& name);

  const Shape& shape(const std::string& value) const;
  bool has(const std::string& name) const;  // a value or an initializer of this name exists
  const Weight* weight(const std::string& name) const;  // null if there is none

  // The finished graph, shared with the sessions made from it. Throws if it has no input or no
  // output.
  std::shared_ptr<const Graph> build() const;

 private:
  void claim(const std::string& name, const std::string& what);
  void add(Weight weight);
  void make_float(Weight& weight);

  Graph graph_;
  std::unordered_map<std::string, int> values_, weights_;
  // By `stored`: the float32 form, which tensors of the same bytes share.
  std::unordered_map<const void*, Weight> floats_;
};

}  // namespace linnet
