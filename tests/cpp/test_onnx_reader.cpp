#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <numeric>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "formats/onnx_reader.h"
#include "ops/op.h"

using linnet::Graph;
using linnet::GraphBuilder;
using linnet::read_onnx;
using linnet::Shape;
using linnet::Weight;

namespace {

// A protobuf writer of a few lines. Field numbers are those of onnx.proto.
std::string varint(uint64_t value) {
  std::string s;
  for (; value >= 0x80; value >>= 7) s += static_cast<char>(value | 0x80);
  return s + static_cast<char>(value);
}
std::string number(int field, int64_t value) {
  return varint(field << 3) + varint(static_cast<uint64_t>(value));
}
std::string bytes(int field, const std::string& value) {
  return varint(field << 3 | 2) + varint(value.size()) + value;
}
template <typename T>
std::string raw(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

constexpr int kFloat = 1, kInt8 = 3, kInt64 = 7, kHalf = 10;

std::string tensor(const std::string& name, int type, const Shape& shape, const std::string& data,
                   int data_field = 9) {
  std::string dims;
  for (int64_t axis : shape) dims += varint(static_cast<uint64_t>(axis));
  return bytes(1, dims) + number(2, type) + bytes(8, name) + bytes(data_field, data);
}
std::string int_attribute(const std::string& name, int64_t value) {
  return bytes(5, bytes(1, name) + number(3, value) + number(20, 2));
}
std::string ints_attribute(const std::string& name, const std::vector<int64_t>& values) {
  std::string list;
  for (int64_t v : values) list += number(8, v);
  return bytes(5, bytes(1, name) + list + number(20, 7));
}
std::string node(const std::string& op, const std::string& name,
                 const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                 const std::string& rest = "") {
  std::string s;
  for (const std::string& i : inputs) s += bytes(1, i);
  for (const std::string& o : outputs) s += bytes(2, o);
  return s + bytes(3, name) + bytes(4, op) + rest;
}
std::string value_info(const std::string& name, const Shape& shape, int type = kFloat) {
  std::string dims;
  for (int64_t axis : shape) dims += bytes(1, axis ? number(1, axis) : bytes(2, "N"));
  return bytes(1, name) + bytes(2, bytes(1, number(1, type) + bytes(2, dims)));
}

struct File {
  std::vector<std::string> nodes, initializers, inputs = {value_info("x", {0, 2, 4, 4})},
                                                outputs = {value_info("y", {})};
  int64_t opset = 13;
  std::string graph_extra, model_extra;

  std::string str() const {
    std::string graph;
    for (const std::string& n : nodes) graph += bytes(1, n);
    graph += bytes(2, "test");
    for (const std::string& t : initializers) graph += bytes(5, t);
    for (const std::string& i : inputs) graph += bytes(11, i);
    for (const std::string& o : outputs) graph += bytes(12, o);
    return number(1, 8) + bytes(8, number(2, opset)) + model_extra + bytes(7, graph + graph_extra);
  }
};

std::vector<float> ramp(size_t n, float first = 0.5f) {
  std::vector<float> v(n);
  std::iota(v.begin(), v.end(), first);
  return v;
}

// Convolution, ReLU, flatten, fully connected: every way of storing a float32 weight.
File small_network() {
  File f;
  f.nodes = {node("Conv", "conv", {"x", "w", "b"}, {"c"},
                  ints_attribute("kernel_shape", {3, 3}) + ints_attribute("pads", {1, 0, 1, 0}) +
                      int_attribute("group", 1)),
             node("Relu", "", {"c"}, {"r"}),
             node("Flatten", "flat", {"r"}, {"f"}, int_attribute("axis", 1)),
             node("Gemm", "fc", {"f", "v"}, {"y"}, int_attribute("transB", 1))};
  f.initializers = {tensor("w", kFloat, {3, 2, 3, 3}, raw(ramp(54))),
                    tensor("b", kFloat, {3}, raw(ramp(3)), 4),
                    tensor("v", kFloat, {5, 24}, raw(ramp(120, -7)))};
  return f;
}

// Reads from memory at an address that is `shift` bytes past alignment; the buffer has no spare
// byte at its end.
std::shared_ptr<GraphBuilder> read_memory(const std::string& file, size_t shift = 0) {
  const size_t size = file.size() + shift;
  std::shared_ptr<char> buffer(static_cast<char*>(std::malloc(size ? size : 1)), std::free);
  std::memcpy(buffer.get() + shift, file.data(), file.size());
  return read_onnx(buffer.get() + shift, file.size(), buffer, "test.onnx");
}

std::string error_of(const std::string& file) {
  try {
    read_memory(file);
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

const Weight& weight(const Graph& graph, const std::string& name) {
  for (const Weight& w : graph.weights)
    if (w.name == name) return w;
  throw std::logic_error("no weight " + name);
}

std::vector<float> values(const Weight& w) {
  const Weight loaded = w.loaded();
  return std::vector<float>(loaded.data, loaded.data + w.count());
}

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content) {
    const int file = mkstemp(path);
    REQUIRE(file >= 0);
    close(file);
    std::ofstream(path, std::ios::binary) << content;
  }
  ~TemporaryFile() { unlink(path); }
  char path[32] = "/tmp/linnet-onnx-XXXXXX";
};

}  // namespace

TEST_CASE("attributes may be lists of reals and of strings, and are bounded") {
  const auto complaint = [](const std::string& attribute) {
    File f = small_network();
    f.nodes[1] = node("Relu", "act", {"c"}, {"r"}, bytes(5, bytes(1, "list") + attribute));
    try {
      read_memory(f.str(), 0);
    } catch (const std::invalid_argument& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  const std::string reals = raw(ramp(3)), unpacked = varint(7 << 3 | 5) + raw(ramp(1));
  for (const std::string& list : {bytes(7, reals) + number(20, 6), unpacked + unpacked,
                                  bytes(9, "one") + bytes(9, "two") + number(20, 8)})
    CHECK(contains(complaint(list), "attribute list is not supported"));
  CHECK(contains(complaint(bytes(7, raw(ramp(9))) + number(20, 6)), "has more than 8 items"));
  std::string strings;
  for (int i = 0; i < 9; ++i) strings += bytes(9, "s");
  CHECK(contains(complaint(strings + number(20, 8)), "has more than 8 items"));
  CHECK(contains(complaint(bytes(7, "12345") + number(20, 6)), "not a readable ONNX file"));
}

TEST_CASE("a canonical network is read with its weights, wherever they lie in memory") {
  const std::string file = small_network().str();
  for (size_t shift = 0; shift < 4; ++shift) {
    CAPTURE(shift);
    const std::shared_ptr<const Graph> graph = read_memory(file, shift)->build();
    CHECK(graph->name == "test");
    REQUIRE(graph->nodes.size() == 4);
    CHECK(graph->nodes[0].op->name == std::string("Conv"));
    const auto& conv = std::get<linnet::ConvParams>(graph->nodes[0].params);
    CHECK(conv.window.pad[0] == 1);
    CHECK(conv.window.pad[1] == 0);
    CHECK(graph->nodes[1].name == "r");
    CHECK(graph->values[graph->outputs.at(0)].shape() == Shape{0, 5});
    CHECK(graph->values[graph->inputs.at(0)].shape() == Shape{0, 2, 4, 4});
    CHECK(values(weight(*graph, "w")) == ramp(54));
    CHECK(values(weight(*graph, "b")) == ramp(3));
    CHECK(values(weight(*graph, "v")) == ramp(120, -7));
    for (const Weight& w : graph->weights)
      CHECK(reinterpret_cast<uintptr_t>(w.data) % alignof(float) == 0);
  }
}

TEST_CASE("aligned weights are borrowed from the file, misaligned ones copied") {
  const std::string file = small_network().str();
  int borrowed = 0, copied = 0;
  for (size_t shift = 0; shift < 4; ++shift) {
    std::vector<char> buffer(file.size() + shift);
    std::memcpy(buffer.data() + shift, file.data(), file.size());
    const auto graph = read_onnx(buffer.data() + shift, file.size(), nullptr, "test.onnx")->build();
    const char* data = reinterpret_cast<const char*>(weight(*graph, "w").data);
    (data > buffer.data() && data < buffer.data() + buffer.size() ? borrowed : copied) += 1;
  }
  CHECK(borrowed == 1);
  CHECK(copied == 3);
}

TEST_CASE("weights of a file are read when they are wanted, and take no memory meanwhile") {
  const size_t n = 2 << 20;
  File f;
  f.nodes = {node("Add", "", {"x", "big"}, {"t"}), node("Add", "", {"t", "small"}, {"y"})};
  f.inputs = {value_info("x", {0, static_cast<int64_t>(n)})};
  const auto resident_kb = [] {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
      if (line.compare(0, 6, "VmRSS:") == 0) return std::atol(line.c_str() + line.find(':') + 1);
    return 0L;
  };
  for (const char* padding : {"", "1", "12", "123"}) {  // aligned or not
    f.initializers = {bytes(12, padding) + tensor("big", kFloat, {static_cast<int64_t>(n)},
                                                  raw(std::vector<float>(n, 2))),
                      tensor("small", kFloat, {1}, raw(ramp(1)))};
    const TemporaryFile file(f.str());
    const long before = resident_kb();
    const auto graph = read_onnx(file.path)->build();
    CHECK(resident_kb() - before < 4 << 10);
    for (int pass = 0; pass < 2; ++pass)
      CHECK(values(weight(*graph, "big")) == std::vector<float>(n, 2));
    CHECK(weight(*graph, "small").data[0] == 0.5f);
#ifndef __SANITIZE_ADDRESS__  // which keeps what is freed for a while
    CHECK(resident_kb() - before < 4 << 10);
#endif
  }
}

TEST_CASE("a weight whose file has changed is an error that names both") {
  const auto network = [](float first) {
    File f;
    f.inputs = {value_info("x", {0, 3000})};
    f.nodes = {node("Gemm", "fc", {"x", "w"}, {"y"}, int_attribute("transB", 1)),
               node("Cast", "", {"h"}, {"v"}, int_attribute("to", 1)),
               node("Gemm", "", {"x", "v"}, {"z"}, int_attribute("transB", 1))};
    f.outputs.push_back(value_info("z", {}));
    f.initializers = {tensor("w", kFloat, {1, 3000}, raw(ramp(3000, first))),
                      tensor("h", kHalf, {1, 3000}, raw(std::vector<uint16_t>(3000, 0x3c00)))};
    return f.str();
  };
  const std::string content = network(0);
  const auto write = [](const char* path, const std::string& text) {  // in place
    std::fstream(path, std::ios::in | std::ios::out | std::ios::binary) << text;
  };
  // A change, and whether weights w and v can still be had.
  const std::pair<std::function<void(const char*)>, std::array<bool, 2>> changes[] = {
      {[](const char*) {}, {true, true}},
      {[](const char* path) { CHECK(truncate(path, 0) == 0); }, {false, false}},
      {[&](const char* path) { CHECK(truncate(path, off_t(content.size() - 4000)) == 0); },
       {true, false}},
      {[&](const char* path) { write(path, std::string(content.size(), '\0')); }, {false, false}},
      {[&](const char* path) { write(path, network(1)); }, {false, true}},
      {[](const char* path) { CHECK(unlink(path) == 0); }, {true, true}},
  };
  for (const auto& [change, readable] : changes) {
    const TemporaryFile file(content);
    const auto graph = read_onnx(file.path)->build();
    const char* const names[] = {"w", "v"};
    for (const char* name : names) weight(*graph, name).loaded();
    change(file.path);
    for (int i = 0; i < 2; ++i) {
      std::string error;
      try {
        weight(*graph, names[i]).loaded();
      } catch (const std::runtime_error& e) {
        error = e.what();
      }
      CHECK(error.empty() == readable[static_cast<size_t>(i)]);
      if (error.empty()) continue;
      CHECK(contains(error, file.path));
      CHECK(contains(error, std::string("'") + names[i] + "'"));
    }
  }
}

TEST_CASE("the sum of a tensor's bytes changes with every byte, place and length") {
  std::vector<unsigned char> data(100);
  std::iota(data.begin(), data.end(), static_cast<unsigned char>(1));
  std::set<uint64_t> sums;
  for (size_t n = 0; n <= data.size(); ++n) sums.insert(linnet::sum_of(data.data(), n));
  for (unsigned char& byte : data) {
    byte ^= 0x40;
    sums.insert(linnet::sum_of(data.data(), data.size()));
    byte ^= 0x40;
  }
  std::swap(data[0], data[32]);
  sums.insert(linnet::sum_of(data.data(), data.size()));
  CHECK(sums.size() == 202);
}

TEST_CASE("the sum of pieces is that of the whole") {
  std::vector<unsigned char> data(200);
  std::iota(data.begin(), data.end(), static_cast<unsigned char>(7));
  for (size_t piece = 1; piece < 70; ++piece) {
    linnet::Sum sum;
    for (size_t at = 0; at < data.size(); at += piece)
      sum.add(data.data() + at, std::min(piece, data.size() - at));
    CHECK(sum.value() == linnet::sum_of(data.data(), data.size()));
  }
}

TEST_CASE("rows of a tensor that stays in its file are read some at a time") {
  const int64_t rows = 1500, row = 1024;  // more than is read at once
  std::vector<float> numbers(static_cast<size_t>(rows * row));
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i % 2048) / 4;
  File f;
  f.inputs = {value_info("x", {0, row})};
  f.initializers = {tensor("w", kFloat, {rows, row}, raw(numbers))};
  f.nodes = {node("Gemm", "fc", {"x", "w"}, {"y"}, int_attribute("transB", 1))};
  const TemporaryFile file(f.str());
  const auto graph = linnet::read_onnx(file.path)->build();
  const Weight& w = weight(*graph, "w");
  CHECK(w.is_half());
  const Weight half = w.as(linnet::DType::kF16);
  CHECK(half.type == linnet::DType::kF16);
  CHECK(half.stored == nullptr);
  const auto read = [&](const Weight& from) {
    linnet::Rows all(from);
    std::string bytes;
    const size_t each = static_cast<size_t>(row * size_of(from.type));
    for (int64_t first = 0; first < rows; first += 7) {
      const int64_t count = std::min<int64_t>(7, rows - first);
      bytes.append(all.at(first, count), static_cast<size_t>(count) * each);
    }
    all.check();
    return bytes;
  };
  CHECK(read(w) == raw(numbers));
  CHECK(read(half) == read(half.loaded()));
  CHECK(read(half).size() == numbers.size() * 2);
  // One number of the last row, between its first and its second reading.
  std::fstream(file.path, std::ios::in | std::ios::out | std::ios::binary)
      .seekp(static_cast<std::streamoff>(f.str().find(raw(numbers)) + numbers.size() * 4 - 1))
      .put('!');
  CHECK_THROWS_WITH_AS(read(w), doctest::Contains("has changed since it was loaded"),
                       std::runtime_error);
}

TEST_CASE("float16 weights under a Cast become float32, every value of them") {
  std::vector<uint16_t> halves(65536);
  std::iota(halves.begin(), halves.end(), uint16_t{0});
  File f;
  f.inputs = {value_info("x", {0, 65536})};
  f.initializers = {tensor("h", kHalf, {65536}, raw(halves))};
  f.nodes = {node("Cast", "", {"h"}, {"w"}, int_attribute("to", 1)),
             node("Add", "", {"x", "w"}, {"t"}),
             node("Cast", "", {"h"}, {"again"}, int_attribute("to", 1)),
             node("Add", "", {"t", "again"}, {"y"})};
  const auto graph = read_memory(f.str())->build();
  const Weight& w = weight(*graph, "w");
  CHECK(w.data == weight(*graph, "again").data);  // converted once
  int wrong = 0;
  for (int i = 0; i < 65536; ++i) {
    const int exponent = i >> 10 & 31, fraction = i & 1023;
    double expected = exponent == 0   ? std::ldexp(fraction, -24)
                      : exponent < 31 ? std::ldexp(1024 + fraction, exponent - 25)
                      : fraction == 0 ? std::numeric_limits<double>::infinity()
                                      : std::numeric_limits<double>::quiet_NaN();
    if (i >> 15) expected = -expected;
    if (std::isnan(expected)) {
      wrong += !std::isnan(w.data[i]);
    } else {
      wrong += w.data[i] != expected || std::signbit(w.data[i]) != std::signbit(expected);
    }
  }
  CHECK(wrong == 0);
}

namespace {

// x [N, 2] -> fully connected [3, 2] with int8 weights -> y.
File int8_network() {
  File f;
  f.inputs = {value_info("x", {0, 2})};
  f.initializers = {tensor("q", kInt8, {3, 2}, raw(std::vector<int8_t>{1, -2, 127, -128, 0, 5})),
                    tensor("s", kFloat, {3}, raw(std::vector<float>{0.5f, 2, 0.25f}))};
  f.nodes = {node("DequantizeLinear", "dq", {"q", "s"}, {"w"}, int_attribute("axis", 0)),
             node("Gemm", "fc", {"x", "w"}, {"y"}, int_attribute("transB", 1))};
  return f;
}

}  // namespace

TEST_CASE("weights of fewer bits stay so where the layer takes them, and are floats elsewhere") {
  const std::vector<float> expected = {0.5f, -1, 254, -256, 0, 1.25f};
  {
    const auto graph = read_memory(int8_network().str())->build();
    const Weight& w = weight(*graph, "w");
    CHECK(w.type == linnet::DType::kI8);
    CHECK(w.data == nullptr);
    CHECK(values(w.as(linnet::DType::kF32)) == expected);
    const auto floats = linnet::with_weights(*graph, linnet::DType::kF32);
    CHECK(values(weight(*floats, "w")) == expected);
  }
  {
    // One scale for all, a zero point of zeros, an axis counted from behind.
    File f = int8_network();
    f.initializers[1] = tensor("s", kFloat, {}, raw(std::vector<float>{2}));
    f.initializers.push_back(tensor("z", kInt8, {}, raw(std::vector<int8_t>{0})));
    f.nodes[0] = node("DequantizeLinear", "dq", {"q", "s", "z"}, {"w"}, int_attribute("axis", -2));
    const auto graph = read_memory(f.str())->build();
    CHECK(values(weight(*graph, "w").as(linnet::DType::kF32)) ==
          std::vector<float>{2, -4, 254, -256, 0, 10});
  }
  {
    File f = int8_network();
    f.initializers.push_back(tensor("z", kInt8, {3}, raw(std::vector<int8_t>{0, 1, 0})));
    f.nodes[0] = node("DequantizeLinear", "dq", {"q", "s", "z"}, {"w"}, int_attribute("axis", 0));
    const auto graph = read_memory(f.str())->build();
    const std::vector<float> shifted = values(weight(*graph, "w").as(linnet::DType::kF32));
    for (size_t i = 0; i < shifted.size(); ++i) {
      const float scale = weight(*graph, "w").scales[1];
      CHECK(shifted[i] == (i / 2 == 1 ? expected[i] - scale : expected[i]));
    }
  }
  {
    File f = int8_network();
    f.nodes[1] = node("Add", "add", {"x2", "w"}, {"y"});
    f.inputs = {value_info("x2", {0, 3, 2})};
    const auto graph = read_memory(f.str())->build();
    CHECK(values(weight(*graph, "w")) == expected);
  }
  {
    // float16: a fully connected layer, a 1x1 and a 3x3 convolution.
    File f;
    f.inputs = {value_info("x", {0, 2, 3, 3})};
    const std::string one(8, '\x3c'), nine(72, '\x3c');  // 1.058...
    f.initializers = {tensor("a", kHalf, {2, 2, 1, 1}, one), tensor("b", kHalf, {2, 2, 3, 3}, nine),
                      tensor("c", kHalf, {2, 2}, one)};
    for (const char* name : {"a", "b", "c"})
      f.nodes.push_back(
          node("Cast", "", {name}, {std::string(name) + "32"}, int_attribute("to", 1)));
    f.nodes.push_back(node("Conv", "", {"x", "a32"}, {"x1"}));
    f.nodes.push_back(node("Conv", "", {"x1", "b32"}, {"x2"}));
    f.nodes.push_back(node("Flatten", "", {"x2"}, {"x3"}));
    f.nodes.push_back(node("Gemm", "", {"x3", "c32"}, {"y"}, int_attribute("transB", 1)));
    const auto graph = read_memory(f.str())->build();
    CHECK(weight(*graph, "a32").type == linnet::DType::kF16);
    CHECK(weight(*graph, "b32").type == linnet::DType::kF32);
    CHECK(weight(*graph, "c32").type == linnet::DType::kF16);
    CHECK(weight(*graph, "b32").data[17] == weight(*graph, "c32").as(linnet::DType::kF32).data[3]);
  }
}

TEST_CASE("a concatenation has any number of parts") {
  const auto join = [](const std::vector<std::string>& inputs, int64_t axis = 1) {
    File f;
    f.inputs.push_back(value_info("z", {0, 3, 4, 4}));
    f.inputs.push_back(value_info("small", {0, 3, 4, 3}));
    f.inputs.push_back(value_info("wide", {0, (int64_t{1} << 31) - 1}));
    f.initializers = {tensor("w", kFloat, {1, 2, 4, 4}, raw(ramp(32)))};
    f.nodes = {node("Concat", "join", inputs, {"y"}, int_attribute("axis", axis))};
    return f.str();
  };
  const auto channels = [&](const std::vector<std::string>& inputs, int64_t axis = 1) {
    return read_memory(join(inputs, axis))->shape("y");
  };
  CHECK(channels({"x", "z", "x"}) == Shape{0, 7, 4, 4});
  CHECK(channels({"z"}, -3) == Shape{0, 3, 4, 4});
  CHECK(channels(std::vector<std::string>(5000, "x")) == Shape{0, 10000, 4, 4});
  const auto refused = [&](const std::vector<std::string>& inputs, const std::string& part,
                           int64_t axis = 1) {
    const std::string error = error_of(join(inputs, axis));
    CAPTURE(error);
    CHECK(contains(error, "node 'join' (Concat): "));
    CHECK(contains(error, part));
  };
  refused({}, "has no inputs");
  refused({"", ""}, "has no inputs");
  refused({"", "x"}, "'' is not defined");
  refused({"x", "w"}, "'w' must be an activation");
  refused({"x", "small"}, "Nx2x4x4 and Nx3x4x3 differ");
  refused({"x", "wide"}, "differ");
  refused({"wide", "wide"}, "too many");
  for (const int64_t axis : {int64_t{0}, int64_t{2}, int64_t{-4}, int64_t{1} << 62, INT64_MIN})
    refused({"x", "z"}, "only channels (axis 1)", axis);
  CHECK(contains(error_of(join(std::vector<std::string>((1 << 16) + 1, "x"))), "65536 inputs"));
}

TEST_CASE("int8 weights that are not canonical are refused") {
  const auto refused = [](const File& f, const std::string& part) {
    const std::string error = error_of(f.str());
    CAPTURE(error);
    CAPTURE(part);
    CHECK(contains(error, part));
  };
  const auto dequantize = [](const std::vector<std::string>& inputs, int64_t axis) {
    return node("DequantizeLinear", "dq", inputs, {"w"}, int_attribute("axis", axis));
  };
  const File good = int8_network();
  REQUIRE(error_of(good.str()) == "");
  File f;
  (f = good).nodes[0] = dequantize({"q", "s"}, 1);
  refused(f, "axis 0");
  (f = good).nodes[0] = node("DequantizeLinear", "dq", {"q", "s"}, {"w"});  // axis 1 by default
  refused(f, "axis 0");
  (f = good).nodes[0] = dequantize({"q"}, 0);
  refused(f, "two or three inputs");
  (f = good).nodes[0] = dequantize({"q", "q"}, 0);
  refused(f, "scale");
  (f = good).nodes[0] = dequantize({"x", "s"}, 0);
  refused(f, "single number");
  (f = good).nodes[0] = dequantize({"s", "s"}, 0);
  refused(f, "initializers of int8");
  (f = good).nodes[0] = node("DequantizeLinear", "dq", {"q", "s"}, {"w"},
                             int_attribute("axis", 0) + int_attribute("block_size", 2));
  refused(f, "block_size");
  (f = good).initializers[1] = tensor("s", kFloat, {2}, raw(std::vector<float>{1, 1}));
  refused(f, "scale 2");
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    (f = good).initializers[1] = tensor("s", kFloat, {3}, raw(std::vector<float>{1, bad, 1}));
    refused(f, "NaN");
  }
  (f = good).initializers.push_back(tensor("z", kInt8, {2}, raw(std::vector<int8_t>(2))));
  f.nodes[0] = dequantize({"q", "s", "z"}, 0);
  refused(f, "zero point");
  (f = good).initializers[0] = tensor("q", kInt8, {3, 3}, raw(std::vector<int8_t>(6)));
  refused(f, "fill the shape");
  (f = good).initializers[0] = tensor("q", kInt8, {3, 2}, raw(std::vector<int8_t>(6)), 5);
  refused(f, "'q'");
  (f = good).nodes.push_back(
      node("DequantizeLinear", "again", {"q", "s"}, {"v"}, int_attribute("axis", 0)));
  refused(f, "twice");
  (f = good).nodes[1] = node("Gemm", "fc", {"x", "q"}, {"y"}, int_attribute("transB", 1));
  refused(f, "without a DequantizeLinear");
  (f = good).nodes[0] = node("Cast", "dq", {"q"}, {"w"}, int_attribute("to", 1));
  refused(f, "cast");
}

TEST_CASE("a Reshape's target is read from either integer form") {
  const std::vector<int64_t> target = {0, 8, -1};
  std::string packed;
  for (int64_t axis : target) packed += varint(static_cast<uint64_t>(axis));
  for (const std::string& t :
       {tensor("s", kInt64, {3}, raw(target)), tensor("s", kInt64, {3}, packed, 7)}) {
    File f;
    f.initializers = {t};
    f.nodes = {node("Reshape", "", {"x", "s"}, {"y"})};
    CHECK(read_memory(f.str())->shape("y") == Shape{0, 8, 4});
  }
}

TEST_CASE("what is not canonical is refused with its name, its operator and the remedy") {
  const auto refused = [](const File& f, const std::vector<std::string>& parts) {
    const std::string error = error_of(f.str());
    CAPTURE(error);
    CHECK(contains(error, "test.onnx"));
    CHECK(contains(error, "linnet convert"));
    for (const std::string& part : parts) {
      CAPTURE(part);
      CHECK(contains(error, part));
    }
  };
  const File good = small_network();
  REQUIRE(error_of(good.str()) == "");
  File f;

  (f = good).nodes[1] = node("Sinh", "act", {"c"}, {"r"});
  refused(f, {"act", "Sinh", "canonical"});
  (f = good).nodes[1] = node("Relu", "act", {"c"}, {"r"}, bytes(7, "com.example"));
  refused(f, {"act", "Relu", "com.example"});
  (f = good).nodes[1] = node("Relu", "act", {"nowhere"}, {"r"});
  refused(f, {"act", "Relu", "nowhere"});
  (f = good).nodes[1] = node("Relu", "act", {"c"}, {"r"},
                             bytes(5, bytes(1, "alpha") + bytes(7, "aaaa") + number(20, 6)));
  refused(f, {"act", "Relu", "alpha"});
  (f = good).nodes[1] =
      node("Relu", "act", {"c"}, {"r"}, int_attribute("twice", 1) + int_attribute("twice", 1));
  refused(f, {"act", "twice"});
  (f = good).nodes[1] = node("Relu", "act", std::vector<std::string>(9, "c"), {"r"});
  refused(f, {"act", "9 inputs"});
  (f = good).nodes[3] = node("Gemm", "fc", {"f", "v"}, {"y"});
  refused(f, {"fc", "Gemm", "transB"});
  (f = good).nodes[1] = node("Relu", "act", {"r"}, {"r"});  // a cycle
  refused(f, {"act", "Relu"});
  (f = good).nodes.push_back(node("Relu", "again", {"c"}, {"r"}));
  refused(f, {"again", "Relu", "taken"});
  (f = good).opset = 12;
  refused(f, {"operator set 12"});
  (f = good).opset = 19;
  refused(f, {"operator set 19"});
  (f = good).model_extra = bytes(25, "");
  refused(f, {"functions"});
  (f = good).graph_extra = bytes(15, "");
  refused(f, {"sparse"});
  (f = good).outputs = {};
  refused(f, {"no output"});
  (f = good).outputs = {value_info("z", {})};
  refused(f, {"'z'"});
  (f = good).inputs = {value_info("x", {0, 2, 4, 4}, kInt64)};
  refused(f, {"conv", "int64", "float32"});
  (f = good).inputs = {value_info("x", {0, 2, 4, 4}, 8)};
  refused(f, {"'x'", "type 8"});
  (f = good).inputs = {value_info("x", Shape(9, 1))};
  refused(f, {"'x'", "8"});
  (f = good).inputs.push_back(value_info("w", {3, 2, 3, 3}));
  refused(f, {"'w'", "taken"});

  (f = good).initializers[0] = tensor("w", kFloat, {3, 2, 3, 4}, raw(ramp(54)));
  refused(f, {"'w'", "216", "3x2x3x4"});
  (f = good).initializers[0] = tensor("w", kFloat, {3, 2, 3, int64_t{1} << 62}, raw(ramp(54)));
  refused(f, {"'w'"});
  (f = good).initializers[0] = tensor("w", kFloat, {3, 2, 3, -3}, raw(ramp(54)));
  refused(f, {"'w'"});
  (f = good).initializers[0] = tensor("w", kFloat, {0, 2, 3, 3}, "");
  refused(f, {"'w'"});
  (f = good).initializers[0] = tensor("w", 11, {3, 2, 3, 3}, raw(std::vector<double>(54)));
  refused(f, {"'w'", "data type 11"});
  (f = good).initializers[0] += number(14, 1);
  refused(f, {"'w'", "external data"});
  (f = good).initializers[0] += bytes(13, "");
  refused(f, {"'w'", "external data"});
  (f = good).initializers[0] += bytes(9, raw(ramp(54)));
  refused(f, {"'w'", "pieces"});
  (f = good).initializers[0] = tensor("w", kHalf, {3, 2, 3, 3}, raw(std::vector<uint16_t>(54)));
  refused(f, {"conv", "'w'", "float16"});
  (f = good).initializers.push_back(tensor("w", kHalf, {1}, raw(std::vector<uint16_t>(1))));
  refused(f, {"'w'", "taken"});
  (f = good).initializers.push_back(tensor("i", kInt64, {2}, raw(std::vector<int64_t>(3))));
  refused(f, {"'i'"});
  (f = good).nodes.push_back(node("Cast", "cast", {"w"}, {"w2"}, int_attribute("to", 1)));
  refused(f, {"cast", "Cast", "float16"});
  (f = good).nodes[1] = node("Relu", std::string(2000, 'n'), {"c"}, {"r"});
  refused(f, {"longer"});
  for (const char* bad :
       {"a\nb", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82"}) {
    (f = good).nodes[1] = node("Relu", bad, {"c"}, {"r"});
    refused(f, {"UTF-8"});
  }
  (f = good).nodes[1] = node("Relu", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xa6", {"c"}, {"r"});
  CHECK(error_of(f.str()) == "");
}

TEST_CASE("all problems are reported at once, without those that merely follow") {
  File f = small_network();
  f.nodes[0] = node("Einsum", "first", {"x"}, {"c"});
  f.nodes.push_back(node("Sinh", "second", {"x"}, {"s"}));
  f.initializers[1] = tensor("b", 6, {3}, raw(ramp(3)));
  const std::string error = error_of(f.str());
  CAPTURE(error);
  CHECK(contains(error, "first"));
  CHECK(contains(error, "second"));
  CHECK(contains(error, "'b'"));
  CHECK_FALSE(contains(error, "'fc'"));
  CHECK_FALSE(contains(error, "'y'"));
  for (int i = 0; i < 1000; ++i)
    f.nodes.push_back(node("Sinh", "more", {"x"}, {"m" + std::to_string(i)}));
  CHECK(error_of(f.str()).size() < 4000);
}

TEST_CASE("a file cut off anywhere is refused") {
  const std::string file = small_network().str();
  for (size_t size = 0; size < file.size(); ++size) {
    CAPTURE(size);
    CHECK(error_of(file.substr(0, size)) != "");
  }
}

TEST_CASE("no changed byte does harm") {
  int accepted = 0, refused = 0;
  for (const std::string& file : {small_network().str(), int8_network().str()}) {
    for (size_t i = 0; i < file.size(); ++i)
      for (int flip : {0x01, 0x04, 0x80, 0xff}) {
        std::string changed = file;
        changed[i] = static_cast<char>(changed[i] ^ flip);
        try {
          const auto graph = read_memory(changed)->build();
          float sum = 0;
          for (const Weight& w : graph->weights) {
            if (!w.bytes()) continue;
            if (linnet::is_byte(w.type) && w.scales.empty()) continue;
            for (const float value : values(w.as(linnet::DType::kF32))) sum += value;
          }
          accepted += !std::isnan(sum);
        } catch (const std::invalid_argument&) {
          ++refused;
        }
      }
  }
  CHECK(accepted > 0);  // changed weights
  CHECK(refused > 0);   // changed structure
}

TEST_CASE("small files cannot ask for much memory") {
  // 70,000 nodes of two bytes each.
  std::string nodes;
  for (int i = 0; i < 70000; ++i) nodes += bytes(1, "");
  CHECK(contains(error_of(number(1, 8) + bytes(8, number(2, 13)) + bytes(7, nodes)), "65536"));
  // Lengths beyond the file, up to the largest number.
  for (uint64_t length : {uint64_t{1} << 31, uint64_t{1} << 40, ~uint64_t{0}})
    CHECK(contains(error_of(varint(7 << 3 | 2) + varint(length) + "abc"), "truncated"));
  CHECK(contains(error_of(std::string(12, '\xff')), "invalid integer"));
  CHECK(contains(error_of("this is no model at all"), "not a readable ONNX file"));
  CHECK(contains(error_of(""), "no graph"));
}

TEST_CASE("a path that cannot be read gives the system's reason") {
  const auto error = [](const std::string& path) {
    try {
      read_onnx(path);
    } catch (const std::invalid_argument& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(contains(error("/no/such/model.onnx"), "/no/such/model.onnx"));
  CHECK(contains(error("/no/such/model.onnx"), "No such file"));
  CHECK(contains(error("/tmp"), "not a file"));
  const TemporaryFile empty("");
  CHECK(contains(error(empty.path), "empty"));
}
