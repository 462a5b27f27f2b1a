// GraphBuilder is the core's one entry: the Python bindings and the ONNX reader both feed it, node
// by node, and it checks each node as it comes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "graph/attributes.h"
#include "graph/graph.h"

namespace linnet {

// The graph with all weights that may be kept as any type kept as this one; without one as float16
// where that holds their numbers, else as they are. `note` becomes how many that is.
std::shared_ptr<const Graph> with_weights(const Graph& graph, std::optional<DType> type,
                                          std::string* note = nullptr);

// Builds a Graph; every method throws std::invalid_argument naming the node (or tensor), the
// operator and the problem.
class GraphBuilder {
 public:
  explicit GraphBuilder(std::string name = "");

  // shape[0] is the batch the file declares, 0 where it is open. It counts where an operator takes
  // it for an axis like others, 1 if it is open. Another axis of 0 makes the graph open: it runs at
  // any size.
  void input(const std::string& name, Shape shape, DType type = DType::kF32);
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
  DType type(const std::string& value) const;
  bool has(const std::string& name) const;  // a value or an initializer of this name exists
  const Weight* weight(const std::string& name) const;  // null if there is none

  // The finished graph, shared with the sessions made from it. Throws if it has no input or no
  // output.
  std::shared_ptr<const Graph> build() const;

 private:
  void claim(const std::string& name, const std::string& what) const;
  void check_outputs(const std::vector<std::string>& names, size_t count) const;
  void add(Weight weight);
  void make_float(Weight& weight);
  void dequantize(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                  const Attributes& attributes);
  std::vector<TensorType> example_types(const std::vector<TensorType>& example, const Node& node,
                                        size_t outputs) const;
  Input find(const OpDef& op, size_t place, const std::string& name) const;

  std::vector<TensorType> types(const Node& node);
  void fix();

  Graph graph_;
  std::vector<int64_t> declared_;  // batch of each input
  // Of an open graph, the types of all values for two examples of sizes: what differs is free.
  std::vector<TensorType> examples_[2];
  std::unordered_map<std::string, int> values_, weights_;
  std::unordered_set<std::string> dequantized_;  // initializers
  // By `bytes()`: the float32 form, which tensors of the same bytes share.
  std::unordered_map<const void*, Weight> floats_;
};

}  // namespace linnet
