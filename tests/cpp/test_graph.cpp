#include <doctest/doctest.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "graph.h"

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
  b.output("r");
  CHECK(b.build()->nodes.size() == 4);
}

TEST_CASE("what does not fit is named with its node") {
  GraphBuilder b;
  b.input("x", {1, 3, 9, 8});
  b.initializer("w", {4, 5, 3, 3}, kFloats.data(), nullptr);
  const auto node = [&](const std::string& op, const std::vector<std::string>& inputs,
                        const Attributes& attributes) {
    return message([&] { b.node(op, "the_node", inputs, {"y"}, attributes); });
  };
  CHECK(contains(node("Conv", {"x", "w"}, {}), "the_node"));
  CHECK(contains(node("Conv", {"x", "missing"}, {}), "'missing' is not defined"));
  CHECK(contains(node("Conv", {"x", "x"}, {}), "must be an initializer"));
  CHECK(contains(node("Relu", {"w"}, {}), "must be an activation"));
  CHECK(contains(node("Sigmoid", {"x"}, {}), "canonical form"));
  CHECK(contains(node("Relu", {"x"}, {{"alpha", 1.0}}), "attribute alpha"));
  CHECK(contains(node("Softmax", {"x"}, {{"axis", int64_t{0}}}), "batch"));
  CHECK(contains(node("MaxPool", {"x"}, {{"kernel_shape", std::vector<int64_t>{10, 2}}}),
                 "does not fit"));
  CHECK(contains(node("MaxPool", {"x"}, {{"kernel_shape", std::vector<int64_t>{2}}}), "2-D"));
  CHECK(contains(node("MaxPool", {"x"},
                      {{"kernel_shape", std::vector<int64_t>{2, 2}},
                       {"pads", std::vector<int64_t>{2, 0, 0, 0}}}),
                 "padding"));
  // A failed node leaves the builder as it was.
  b.node("Relu", "ok", {"x"}, {"y"}, {});
  CHECK(contains(node("Relu", {"x"}, {}), "'y': the name is taken"));
}

TEST_CASE("absurd sizes are refused before any arithmetic overflows") {
  GraphBuilder b;
  CHECK(contains(message([&] { b.input("x", {1, int64_t{1} << 30, int64_t{1} << 30}); }),
                 "too large"));
  CHECK(contains(message([&] { b.input("x", {1, -3}); }), "axis of -3"));
  CHECK(contains(message([&] { b.input("x", {1}); }), "expected a batch axis"));
  b.input("x", {1, 1, 8, 8});
  CHECK(contains(message([&] {
                   b.node("MaxPool", "p", {"x"}, {"p"},
                          {{"kernel_shape", std::vector<int64_t>{2, 2}},
                           {"strides", std::vector<int64_t>{1, int64_t{1} << 62}}});
                 }),
                 "strides"));
  CHECK_THROWS_AS(b.build(), std::invalid_argument);
}
