// Attributes of a node: what a file says, and reading them by name and type.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "graph/weight.h"

namespace linnet {

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>,
                               std::vector<double>, std::vector<std::string>>;
using Attributes = std::map<std::string, Attribute>;

// Sizes stay far below overflow in every later product of a few of them.
constexpr int64_t kMaxAxis = int64_t{1} << 31;
constexpr int64_t kMaxCount = int64_t{1} << 40;

// Numbers of a shape from `first_axis` on; throws std::invalid_argument for axes that are not
// positive or too large.
int64_t checked_count(const Shape& shape, size_t first_axis);

// The type with that number in ONNX (TensorProto.DataType); nothing for others.
std::optional<DType> onnx_type(int64_t number);

// A node's attributes and constant inputs, read by name and place. Remembers which attributes were
// asked for, so that a misspelt or unsupported one is an error instead of being silently ignored.
// Every method throws std::invalid_argument saying what does not fit.
class NodeReader {
 public:
  // `constants`: by place of the input, null where it is none. Both are borrowed.
  NodeReader(const Attributes& attributes, const std::vector<const Weight*>& constants)
      : attributes_(attributes), constants_(constants) {}

  int64_t integer(const char* name, int64_t fallback);
  double real(const char* name, double fallback);
  bool flag(const char* name);
  std::string text(const char* name, const char* fallback);
  // One of ONNX's numbers of types, which must be there.
  DType type(const char* name);
  // Exactly `size` integers, each within [low, kMaxAxis); false and untouched if there are none.
  bool integers(const char* name, int64_t* out, size_t size, int64_t low);
  // Any number of integers; null if there are none.
  const std::vector<int64_t>* list(const char* name);
  // The one number of a constant input; nothing where the input is absent.
  std::optional<float> number(size_t input) const;
  // The constant at that place; null if the input is none.
  const Weight* constant(size_t input) const;
  // Complains of attributes that nobody asked for.
  void finish() const;

 private:
  const Attribute* find(const char* name);

  const Attributes& attributes_;
  const std::vector<const Weight*>& constants_;
  std::vector<const char*> seen_;
};

}  // namespace linnet
