#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "graph/builder.h"

using namespace linnet;

namespace {

const std::vector<float> kFloats(4096, 0.5f);

std::string message(const std::function<void()>& f) {
  try {
    f();
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("shapes follow the nodes") {
  GraphBuilder b("net");
  b.input("x", {1, 3, 9, 8});
  b.input("x2", {1, 1, 4, 8});
  b.initializer("w", {4, 3, 3, 2}, kFloats.data(), nullptr);
  b.initializer("bias", {4}, kFloats.data(), nullptr);
  b.node("Conv", "c", {"x", "w", "bias"}, {"c"},
         {{"strides", std::vector<int64_t>{2, 1}}, {"pads", std::vector<int64_t>{1, 0, 0, 1}}});
  CHECK(b.shape("c") == Shape{0, 4, 4, 8});
  b.node("MaxPool", "p", {"c"}, {"p"},
         {{"kernel_shape", std::vector<int64_t>{3, 3}},
          {"strides", std::vector<int64_t>{2, 2}},
          {"ceil_mode", int64_t{1}}});
  CHECK(b.shape("p") == Shape{0, 4, 2, 4});
  b.node("Flatten", "f", {"p"}, {"f"}, {});
  CHECK(b.shape("f") == Shape{0, 32});
  b.initializer("target", {3}, std::vector<int64_t>{0, -1, 8});
  b.node("Reshape", "r", {"f", "target"}, {"r"}, {});
  CHECK(b.shape("r") == Shape{0, 4, 8});
  b.node("Concat", "join", {"c", "c", "x2", "c"}, {"j"}, {{"axis", int64_t{1}}});
  CHECK(b.shape("j") == Shape{0, 13, 4, 8});
  b.node("Concat", "vectors", {"f", "f"}, {"v"}, {{"axis", int64_t{-1}}});
  CHECK(b.shape("v") == Shape{0, 64});
  b.node("Concat", "one", {"r"}, {"o"}, {{"axis", int64_t{-2}}});
  CHECK(b.shape("o") == Shape{0, 4, 8});
  b.output("r");
  CHECK(b.build()->nodes.size() == 7);
}

TEST_CASE("what does not fit is named with its node") {
  GraphBuilder b;
  b.input("x", {1, 3, 9, 8});
  b.input("tall", {1, 3, 10, 8});
  b.input("rows", {1, 3, 9});
  b.input("deep", {1, 3, 9, 8, 1});
  b.initializer("w", {4, 5, 3, 3}, kFloats.data(), nullptr);
  const auto node = [&](const std::string& op, const std::vector<std::string>& inputs,
                        const Attributes& attributes) {
    return message([&] { b.node(op, "the_node", inputs, {"y"}, attributes); });
  };
  CHECK(contains(node("Conv", {"x", "w"}, {}), "the_node"));
  CHECK(contains(node("Conv", {"x", "missing"}, {}), "'missing' is not defined"));
  CHECK(contains(node("Conv", {"x", "x"}, {}), "must be an initializer"));
  CHECK(contains(node("Relu", {"w"}, {}), "must be an activation"));
  CHECK(contains(node("Sinh", {"x"}, {}), "canonical form"));
  CHECK(contains(node("Relu", {"x"}, {{"alpha", 1.0}}), "attribute alpha"));
  CHECK(contains(node("Softmax", {"x"}, {{"axis", int64_t{0}}}), "batch"));
  CHECK(contains(node("MaxPool", {"x"}, {{"kernel_shape", std::vector<int64_t>{10, 2}}}),
                 "does not fit"));
  CHECK(contains(node("MaxPool", {"x"}, {{"kernel_shape", std::vector<int64_t>{2}}}), "2-D"));
  CHECK(contains(node("MaxPool", {"x"},
                      {{"kernel_shape", std::vector<int64_t>{2, 2}},
                       {"pads", std::vector<int64_t>{2, 0, 0, 0}}}),
                 "padding"));
  const Attributes channels = {{"axis", int64_t{1}}};
  CHECK(contains(node("Concat", {}, channels), "has no inputs"));
  CHECK(contains(node("Concat", {"x", "tall"}, channels), "Nx3x9x8 and Nx3x10x8 differ"));
  CHECK(contains(node("Concat", {"x", "rows"}, channels), "differ"));
  CHECK(contains(node("Concat", {"deep", "deep"}, channels), "2 to 4 axes"));
  CHECK(contains(node("Concat", {"x", "w"}, channels), "'w' must be an activation"));
  CHECK(contains(node("Concat", {"x", "", "x"}, channels), "'' is not defined"));
  for (const int64_t axis : {0, 2, -1, -4, 9})
    CHECK(contains(node("Concat", {"x", "x"}, {{"axis", axis}}), "only channels (axis 1)"));
  CHECK(contains(node("Concat", {"x", "x"}, {}), "only channels (axis 1)"));
  // A failed node leaves the builder as it was.
  b.node("Relu", "ok", {"x"}, {"y"}, {});
  CHECK(contains(node("Relu", {"x"}, {}), "'y': the name is taken"));
}

TEST_CASE("absurd sizes are refused before any arithmetic overflows") {
  GraphBuilder b;
  CHECK(contains(message([&] { b.input("x", {1, int64_t{1} << 30, int64_t{1} << 30}); }),
                 "too large"));
  CHECK(contains(message([&] { b.input("x", {1, -3}); }), "axis of -3"));
  CHECK(contains(message([&] { b.input("x", {}); }), "has no axes"));
  b.input("x", {1, 1, 8, 8});
  CHECK(contains(message([&] {
                   b.node("MaxPool", "p", {"x"}, {"p"},
                          {{"kernel_shape", std::vector<int64_t>{2, 2}},
                           {"strides", std::vector<int64_t>{1, int64_t{1} << 62}}});
                 }),
                 "strides"));
  CHECK_THROWS_AS(b.build(), std::invalid_argument);
  b.input("wide", {1, (int64_t{1} << 31) - 1});
  CHECK(contains(
      message([&] { b.node("Concat", "join", {"wide", "wide"}, {"j"}, {{"axis", int64_t{1}}}); }),
      "'join' (Concat): the channels"));
  b.input("large", {1, 1 << 16, 1 << 12, 1 << 12});
  CHECK(contains(
      message([&] { b.node("Concat", "join", {"large", "large"}, {"j"}, {{"axis", int64_t{1}}}); }),
      "too large"));
}

TEST_CASE("weights are rounded to float16 and int8 to nearest even, or refused") {
  const auto as = [](const std::vector<float>& values, Shape shape, DType type) {
    Weight w;
    w.name = "w", w.shape = std::move(shape), w.data = values.data();
    return w.as(type);
  };
  const auto back = [&](const std::vector<float>& values, DType type) {
    const Weight w = as(values, {static_cast<int64_t>(values.size())}, type).as(DType::kF32);
    return std::vector<float>(w.data, w.data + w.count());
  };
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(back({0, -0.0f, 1, 2048, 2049, 2051, 65504, 65519, inf, -inf}, DType::kF16) ==
        std::vector<float>{0, -0.0f, 1, 2048, 2048, 2052, 65504, 65504, inf, -inf});
  CHECK(back({0x1p-24f, 0x1p-25f, 0x1.8p-24f, 0x1p-14f, -0x1.ff8p-15f, 1e-30f}, DType::kF16) ==
        std::vector<float>{0x1p-24f, 0, 0x1p-23f, 0x1p-14f, -0x1.ff8p-15f, 0});
  CHECK(std::isnan(back({std::nanf("")}, DType::kF16)[0]));
  CHECK(contains(message([&] { back({65520}, DType::kF16); }), "'w' is beyond"));
  CHECK(contains(message([&] { back({1, inf}, DType::kI8); }), "'w' has infinities"));

  const Weight q = as({127, -63.5f, 1.5f, 2.5f, 0, 0, 0, 0, 1e-44f, 0, 0, 0}, {3, 4}, DType::kI8);
  CHECK(q.scales == std::vector<float>{1, 1, 1});
  const auto* bytes = static_cast<const int8_t*>(q.stored);
  CHECK(std::vector<int>(bytes, bytes + 12) ==
        std::vector<int>{127, -64, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0});
  CHECK(weight_type("int8") == DType::kI8);
  CHECK(contains(message([] { weight_type("i8"); }), "expected f32, f16, int8 or auto"));
}

TEST_CASE("with_weights changes the layers that take any type and no others") {
  GraphBuilder b("net");
  b.input("x", {1, 2, 4, 4});
  const auto weights = [&](const std::string& name, Shape shape) {
    b.initializer(name, std::move(shape), kFloats.data(), nullptr);
  };
  weights("one", {2, 2, 1, 1});
  weights("grouped", {2, 1, 1, 1});
  weights("three", {2, 2, 3, 3});
  weights("shared", {3, 8});
  weights("again", {3, 8});
  b.node("Conv", "one", {"x", "one"}, {"a"}, {});
  b.node("Conv", "grouped", {"a", "grouped"}, {"b"}, {{"group", int64_t{2}}});
  b.node("Conv", "three", {"b", "three"}, {"c"}, {});
  b.node("Flatten", "flat", {"c"}, {"f"}, {});
  const Attributes transposed = {{"transB", int64_t{1}}};
  b.node("Gemm", "fc", {"f", "shared"}, {"y"}, transposed);
  b.node("Gemm", "fc2", {"f", "again"}, {"y2"}, transposed);
  b.input("z", {1, 3, 8});
  b.node("Add", "add", {"z", "shared"}, {"s"}, {});
  for (const char* name : {"y", "y2", "s"}) b.output(name);
  const auto graph = b.build();
  for (const DType type : {DType::kF16, DType::kI8}) {
    const auto changed = with_weights(*graph, type);
    const auto weight = [&](int node) -> const Weight& {
      return changed
          ->weights[static_cast<size_t>(changed->nodes[static_cast<size_t>(node)].weight(1))];
    };
    CHECK(weight(0).type == type);
    CHECK(weight(1).type == DType::kF32);
    CHECK(weight(2).type == DType::kF32);
    CHECK(weight(4).type == type);
    CHECK(weight(4).stored == weight(5).stored);  // of the same bytes
    CHECK(weight(6).data == kFloats.data());
    CHECK(with_weights(*changed, DType::kF32)->weights[0].data[3] == 0.5f);
  }
}
