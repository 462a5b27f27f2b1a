#include "formats/onnx_reader.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/buffer.h"
#include "core/log.h"
#include "formats/mapping.h"
#include "formats/protobuf.h"

namespace linnet {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "tensors are borrowed in the file's byte order");

// What a canonical model may hold at most. A few bytes of the file become a few hundred of graph,
// so that without these bounds a small file could ask for much memory.
constexpr size_t kMaxItems = 1 << 16;   // nodes, initializers, inputs, outputs together
constexpr size_t kMaxName = 1024;       // bytes
constexpr size_t kMaxList = 8;          // axes, an attribute's integers, a node's outputs
constexpr size_t kMaxInputs = 1 << 16;  // of all nodes together: each part of a Concat is a step
constexpr size_t kMaxAttributes = 16;   // of a node
constexpr size_t kMaxProblems = 20;     // listed in one message
constexpr size_t kMaxCopied = 4096;     // bytes of a tensor that is not left in the file

constexpr int64_t kOldestOpset = 13, kNewestOpset = 18;

// It is ONNX, but this piece of it is not in canonical form.
struct NotCanonical : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// Printable UTF-8 of bounded length, so that it can appear in messages.
std::string text(const Wire& wire) {
  const Bytes b = wire.bytes();
  if (b.size() > kMaxName)
    throw NotCanonical("a name is longer than " + std::to_string(kMaxName) + " bytes");
  for (const uint8_t* p = b.begin; p < b.end;) {
    const int length = *p < 0x80   ? 1
                       : *p < 0xc2 ? 0
                       : *p < 0xe0 ? 2
                       : *p < 0xf0 ? 3
                       : *p < 0xf5 ? 4
                                   : 0;
    bool ok = length > 0 && length <= b.end - p && *p >= 0x20 && *p != 0x7f;
    for (int i = 1; ok && i < length; ++i) ok = (p[i] & 0xc0) == 0x80;
    if (ok && length == 3) ok = !(*p == 0xe0 && p[1] < 0xa0) && !(*p == 0xed && p[1] > 0x9f);
    if (ok && length == 4) ok = !(*p == 0xf0 && p[1] < 0x90) && !(*p == 0xf4 && p[1] > 0x8f);
    if (!ok) throw NotCanonical("a name is not printable UTF-8");
    p += length;
  }
  return std::string(reinterpret_cast<const char*>(b.begin), b.size());
}

// Appends a repeated field of integers.
void read_integers(const Wire& wire, std::vector<int64_t>* list) {
  if (!wire.integers(list, kMaxList))
    throw NotCanonical("a list of more than " + std::to_string(kMaxList) + " integers");
}

// One pass over a model. Field numbers are those of onnx.proto.
class Reader {
 public:
  // Tensors are borrowed from the bytes, which `owner` keeps; or, if these are those of a file,
  // copied if they are small and else read when they are wanted.
  Reader(std::shared_ptr<const void> owner, std::shared_ptr<const File> file)
      : owner_(std::move(owner)), file_(std::move(file)) {}

  std::shared_ptr<GraphBuilder> read(Bytes file) {
    begin_ = file.begin;
    Bytes graph;
    int64_t opset = 0;
    bool functions = false;
    for (Wire model(file); model.next();) {
      switch (model.field()) {
        case 7:
          if (graph.begin) throw Malformed("has two graphs");
          graph = model.bytes();
          break;
        case 8:
          read_opset(model.bytes(), &opset);
          break;
        case 25:
          functions = true;
          break;
      }
    }
    if (!graph.begin) throw Malformed("has no graph");
    if (opset < kOldestOpset || opset > kNewestOpset)
      problem("operator set " + std::to_string(opset) + ", expected " +
              std::to_string(kOldestOpset) + " to " + std::to_string(kNewestOpset));
    if (functions) problem("has functions");
    read_graph(graph);
    if (!has_output_) problem("the graph has no output");
    return builder_;
  }

  void problem(const std::string& what) {
    if (++problem_count_ < kMaxProblems) {
      problems_ += "\n  " + what;
    } else if (problem_count_ == kMaxProblems) {
      problems_ += "\n  ...";
    }
  }

  // All problems found, one per line; empty if none.
  const std::string& problems() const { return problems_; }

 private:
  struct Tensor {
    std::string name;
    int64_t type = 0;
    Shape shape;
    std::vector<int64_t> integers;  // int64_data
    Bytes data;                     // raw_data, or packed float_data, which has the same bytes
    uint32_t data_field = 0;        // which of them
  };

  // TensorProto.DataType
  static constexpr int64_t kFloat = 1, kUint8 = 2, kInt8 = 3, kInt64 = 7, kFloat16 = 10;

  // Runs `f`, noting what is not canonical. The builder's messages name the node or tensor already.
  template <typename F>
  bool checked(const std::string& where, F&& f) {
    try {
      f();
      return true;
    } catch (const Malformed&) {
      throw;
    } catch (const NotCanonical& e) {
      problem(where + ": " + e.what());
    } catch (const std::invalid_argument& e) {
      problem(e.what());
    }
    return false;
  }

  static void read_opset(Bytes message, int64_t* opset) {
    std::string domain;
    int64_t version = 0;
    for (Wire wire(message); wire.next();) {
      if (wire.field() == 1) domain = text(wire);
      if (wire.field() == 2) version = wire.integer();
    }
    if (domain.empty() || domain == "ai.onnx") *opset = version;
  }

  // Fields may come in any order (nodes usually come first), hence a pass over the graph for each
  // kind.
  void read_graph(Bytes graph) {
    std::string name;
    size_t items = 0;
    for (Wire wire(graph); wire.next();) {
      const uint32_t field = wire.field();
      if (field == 2) name = text(wire);
      if (field == 15) problem("has sparse initializers");
      items += field == 1 || field == 5 || field == 11 || field == 12;
    }
    if (items > kMaxItems)
      throw NotCanonical("more than " + std::to_string(kMaxItems) + " nodes and tensors");
    builder_ = std::make_shared<GraphBuilder>(name);
    for (Wire wire(graph); wire.next();)
      if (wire.field() == 11) read_input(wire.bytes());
    for (Wire wire(graph); wire.next();)
      if (wire.field() == 5) read_initializer(wire.bytes());
    for (Wire wire(graph); wire.next();)
      if (wire.field() == 1) read_node(wire.bytes());
    for (Wire wire(graph); wire.next();)
      if (wire.field() == 12) read_output(wire.bytes());
  }

  void read_input(Bytes message) {
    const std::string name = read_name(message, 1);
    if (!checked("input '" + name + "'", [&] {
          Shape shape;
          int64_t type = 0;
          read_value_type(message, &type, &shape);
          const auto known = onnx_type(type);
          if (!known) throw NotCanonical("has elements of type " + std::to_string(type));
          // Some exporters write -1 for a size that is left open.
          for (int64_t& size : shape) size = std::max<int64_t>(size, 0);
          builder_->input(name, shape, *known);
        }))
      poison(name);
  }

  static std::string read_name(Bytes message, uint32_t field) {
    std::string name;
    for (Wire wire(message); wire.next();)
      if (wire.field() == field) name = text(wire);
    return name;
  }

  // ValueInfoProto.type.tensor_type; `*type` stays 0 if there is none.
  static void read_value_type(Bytes message, int64_t* type, Shape* shape) {
    for (Wire info(message); info.next();) {
      if (info.field() != 2) continue;
      for (Wire any(info.bytes()); any.next();) {
        if (any.field() != 1) continue;
        for (Wire tensor(any.bytes()); tensor.next();) {
          if (tensor.field() == 1) *type = tensor.integer();
          if (tensor.field() == 2) read_dims(tensor.bytes(), shape);
        }
      }
    }
  }

  // A symbolic axis is 0 here; the builder accepts that for the batch only.
  static void read_dims(Bytes message, Shape* shape) {
    for (Wire wire(message); wire.next();) {
      if (wire.field() != 1) continue;
      int64_t value = 0;
      for (Wire dim(wire.bytes()); dim.next();)
        if (dim.field() == 1) value = dim.integer();
      if (shape->size() == kMaxList)
        throw NotCanonical("has more than " + std::to_string(kMaxList) + " axes");
      shape->push_back(value);
    }
  }

  void read_output(Bytes message) {
    const std::string name = read_name(message, 1);
    has_output_ = true;
    if (!poisoned_.count(name)) checked("output '" + name + "'", [&] { builder_->output(name); });
  }

  void read_initializer(Bytes message) {
    Tensor tensor;
    tensor.name = read_name(message, 8);
    if (!checked("initializer '" + tensor.name + "'", [&] {
          read_tensor(message, &tensor);
          add_initializer(tensor);
        }))
      poison(tensor.name);
  }

  static void read_tensor(Bytes message, Tensor* tensor) {
    for (Wire wire(message); wire.next();) {
      switch (wire.field()) {
        case 1:
          read_integers(wire, &tensor->shape);
          break;
        case 2:
          tensor->type = wire.integer();
          break;
        case 3:
          throw NotCanonical("is stored in segments");
        case 4:  // float_data
        case 9:  // raw_data
          if (!wire.is_bytes()) throw NotCanonical("has unpacked float_data");
          if (tensor->data_field) throw NotCanonical("has its data in pieces");
          tensor->data_field = wire.field();
          tensor->data = wire.bytes();
          break;
        case 7:
          read_integers(wire, &tensor->integers);
          break;
        case 13:
          throw NotCanonical("has external data");
        case 14:
          if (wire.integer() != 0) throw NotCanonical("has external data");
          break;
      }
    }
  }

  void add_initializer(const Tensor& tensor) {
    const bool raw = tensor.data_field != 4;
    if (stored_.count(tensor.name)) throw NotCanonical("the name is taken");
    if (tensor.type == kFloat) {
      expect_bytes(tensor, sizeof(float));
      builder_->initializer(tensor.name, weight_of(tensor, DType::kF32));
    } else if (tensor.type == kFloat16 && raw) {
      expect_bytes(tensor, sizeof(uint16_t));
      if (tensor.name.empty() || builder_->has(tensor.name))
        throw NotCanonical("the name is empty or taken");
      stored_[tensor.name] = weight_of(tensor, DType::kF16);
    } else if ((tensor.type == kInt8 || tensor.type == kUint8) && raw) {
      expect_bytes(tensor, 1);
      builder_->initializer(tensor.name,
                            weight_of(tensor, tensor.type == kInt8 ? DType::kI8 : DType::kU8));
    } else if (tensor.type == kInt64 && raw) {
      std::vector<int64_t> integers = tensor.integers;
      if (tensor.data_field) {
        expect_bytes(tensor, sizeof(int64_t));
        if (!integers.empty()) throw NotCanonical("has its data in pieces");
        integers.resize(tensor.data.size() / sizeof(int64_t));
        if (!integers.empty()) std::memcpy(integers.data(), tensor.data.begin, tensor.data.size());
      }
      if (!tensor.data_field && tensor.shape != Shape{static_cast<int64_t>(integers.size())})
        throw NotCanonical("holds " + std::to_string(integers.size()) +
                           " integers, but has shape " + to_string(tensor.shape));
      builder_->initializer(tensor.name, tensor.shape, std::move(integers));
    } else {
      throw NotCanonical("has data type " + std::to_string(tensor.type) +
                         "; expected float32, float16, int8 or uint8 in raw_data, or int64");
    }
  }

  static void expect_bytes(const Tensor& tensor, size_t element) {
    const size_t elements = tensor.data.size() / element;
    size_t count = 1;
    bool fits = tensor.data.size() % element == 0;
    for (const int64_t axis : tensor.shape) {
      fits = fits && axis > 0 && static_cast<uint64_t>(axis) <= elements / count;
      if (!fits) break;
      count *= static_cast<size_t>(axis);
    }
    if (!fits || count != elements)
      throw NotCanonical("has " + std::to_string(tensor.data.size()) +
                         " bytes of data, which do not fill the shape " + to_string(tensor.shape));
  }

  void read_node(Bytes message) {
    std::string name, op, domain;
    std::vector<std::string> inputs, outputs;
    bool too_many = false;
    for (Wire wire(message); wire.next();) {
      switch (wire.field()) {
        case 1:
          if (++node_inputs_ > kMaxInputs)
            throw NotCanonical("more than " + std::to_string(kMaxInputs) + " inputs of nodes");
          inputs.push_back(text(wire));
          break;
        case 2:
          too_many = outputs.size() == kMaxList;
          if (!too_many) outputs.push_back(text(wire));
          break;
        case 3:
          name = text(wire);
          break;
        case 4:
          op = text(wire);
          break;
        case 7:
          domain = text(wire);
          break;
      }
    }
    if (name.empty() && !outputs.empty()) name = outputs[0];
    // What follows from another node's problem is not worth a message.
    const bool ok =
        std::none_of(inputs.begin(), inputs.end(),
                     [&](const std::string& i) { return poisoned_.count(i) != 0; }) &&
        checked("node '" + name + "' (" + op + ")", [&] {
          if (!domain.empty() && domain != "ai.onnx" && domain != "linnet")
            throw NotCanonical("operator of domain '" + domain + "'");
          if (too_many)
            throw NotCanonical("has more than " + std::to_string(kMaxList) + " outputs");
          for (const std::string& output : outputs)
            if (stored_.count(output))
              throw NotCanonical("output '" + output + "': the name is taken");
          const Attributes attributes = read_attributes(message);
          const bool value =
              inputs.size() == 1 && builder_->has(inputs[0]) && !builder_->weight(inputs[0]);
          if (op == "Cast" && !value) return cast(inputs, outputs, attributes);
          for (const std::string& input : inputs)
            if (stored_.count(input))
              throw NotCanonical("input '" + input + "' is float16 without a Cast");
          builder_->node(op, name, inputs, outputs, attributes);
        });
    if (!ok)
      for (const std::string& output : outputs) poison(output);
  }

  void cast(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
            const Attributes& attributes) {
    const auto half =
        inputs.size() == 1 && outputs.size() == 1 ? stored_.find(inputs[0]) : stored_.end();
    if (half == stored_.end() || attributes != Attributes{{"to", kFloat}})
      throw NotCanonical("only a float16 initializer may be cast, and only to float32");
    builder_->initializer(outputs[0], half->second);
  }

  static Attributes read_attributes(Bytes node) {
    Attributes attributes;
    for (Wire wire(node); wire.next();) {
      if (wire.field() != 5) continue;
      if (attributes.size() == kMaxAttributes)
        throw NotCanonical("has more than " + std::to_string(kMaxAttributes) + " attributes");
      const std::string name = read_name(wire.bytes(), 1);
      if (!attributes.emplace(name, read_attribute(wire.bytes(), name)).second)
        throw NotCanonical("has attribute '" + name + "' twice");
    }
    return attributes;
  }

  static Attribute read_attribute(Bytes message, const std::string& name) {
    // AttributeProto.type, and the fields that hold the value for each.
    constexpr int kKinds = 6;
    constexpr int64_t kTypes[kKinds] = {1, 2, 3, 6, 7, 8};  // FLOAT, INT, STRING, FLOATS ...
    constexpr uint32_t kFields[kKinds] = {2, 3, 4, 7, 8, 9};
    Attribute values[kKinds] = {0.0,
                                int64_t{0},
                                std::string(),
                                std::vector<double>(),
                                std::vector<int64_t>(),
                                std::vector<std::string>()};
    auto& reals = std::get<std::vector<double>>(values[3]);
    auto& integers = std::get<std::vector<int64_t>>(values[4]);
    auto& strings = std::get<std::vector<std::string>>(values[5]);
    int64_t type = 0;
    bool present[kKinds] = {}, other = false;
    for (Wire wire(message); wire.next();) {
      const uint32_t field = wire.field();
      if (field == 20) type = wire.integer();
      // A tensor, graph or type, one or several.
      other |= field == 5 || field == 6 || field == 10 || field == 11 || field == 14 ||
               (field >= 21 && field <= 23);
      for (int k = 0; k < kKinds; ++k) present[k] |= field == kFields[k];
      if (field == 2) values[0] = static_cast<double>(wire.real());
      if (field == 3) values[1] = wire.integer();
      if (field == 4) values[2] = text(wire);
      if (field == 8) read_integers(wire, &integers);
      const bool fits =
          (field != 7 || wire.reals(&reals, kMaxList)) && (field != 9 || strings.size() < kMaxList);
      if (!fits)
        throw NotCanonical("attribute '" + name + "' has more than " + std::to_string(kMaxList) +
                           " items");
      if (field == 9) strings.push_back(text(wire));
    }
    for (int k = 0; k < kKinds; ++k) {
      // A file written before types were stored tells them by the field alone.
      if (type != kTypes[k] && !(type == 0 && present[k])) continue;
      for (int j = 0; j < kKinds; ++j) other |= j != k && present[j];
      if (!other) return values[k];
    }
    throw NotCanonical("attribute '" + name + "' is not a number, a string or a list of them");
  }

  Weight weight_of(const Tensor& tensor, DType type) const {
    Weight w;
    w.name = tensor.name, w.shape = tensor.shape, w.type = w.part_type = type;
    const size_t bytes = tensor.data.size();
    if (file_ && bytes > kMaxCopied) {
      const auto offset = static_cast<uint64_t>(tensor.data.begin - begin_);
      w.part = std::make_shared<const FilePart>(file_, offset, bytes);
      return w;
    }
    const void* data = tensor.data.begin;
    w.owner = owner_;
    const bool aligned = reinterpret_cast<uintptr_t>(data) % alignof(float) == 0;
    if (file_ || (type == DType::kF32 && !aligned)) {
      auto copy = std::make_shared<AlignedBuffer>(bytes);
      std::memcpy(copy->data(), data, bytes);
      data = copy->data(), w.owner = std::move(copy);
    }
    if (type == DType::kF32) {
      w.data = static_cast<const float*>(data);
    } else {
      w.stored = data;
    }
    return w;
  }

  void poison(const std::string& value) {
    if (!value.empty()) poisoned_.insert(value);
  }

  const std::shared_ptr<const void> owner_;
  const std::shared_ptr<const File> file_;
  const uint8_t* begin_ = nullptr;
  std::shared_ptr<GraphBuilder> builder_;
  // FLOAT16 initializers, which a Cast makes weights of.
  std::unordered_map<std::string, Weight> stored_;
  std::unordered_set<std::string> poisoned_;  // values that a problem has left undefined
  bool has_output_ = false;
  size_t node_inputs_ = 0;
  size_t problem_count_ = 0;
  std::string problems_;
};

std::shared_ptr<GraphBuilder> read(Bytes bytes, std::shared_ptr<const void> owner,
                                   std::shared_ptr<const File> file, const std::string& name) {
  Reader reader(std::move(owner), std::move(file));
  std::shared_ptr<GraphBuilder> builder;
  try {
    builder = reader.read(bytes);
  } catch (const NotCanonical& e) {
    reader.problem(e.what());
  } catch (const Malformed& e) {
    throw std::invalid_argument("'" + name + "' is not a readable ONNX file: " + e.what());
  }
  if (!reader.problems().empty())
    throw std::invalid_argument(
        "'" + name +
        "' is not in canonical form; rewrite it with `linnet convert`:" + reader.problems());
  return builder;
}

}  // namespace

std::shared_ptr<GraphBuilder> read_onnx(const void* data, size_t size,
                                        std::shared_ptr<const void> owner,
                                        const std::string& name) {
  const uint8_t* begin = static_cast<const uint8_t*>(data);
  return read({begin, begin + size}, std::move(owner), nullptr, name);
}

std::shared_ptr<GraphBuilder> read_onnx(const std::string& path) {
  LogTimer timer(Topic::kLoad);
  const Mapping file = map_file(path);
  auto builder = read(file.bytes, file.owner, file.file, path);
  timer.log("read %s, %zu bytes", path.c_str(), file.bytes.size());
  return builder;
}

}  // namespace linnet
