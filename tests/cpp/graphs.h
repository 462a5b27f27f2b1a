// Small graphs for tests of what works on graphs. Weights are borrowed from one block of numbers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/builder.h"

namespace linnet {

class Sketch {
 public:
  explicit Sketch(Shape input = {1, 8, 12, 12}) { builder_.input("x", std::move(input)); }

  Sketch& conv(const std::string& name, const std::string& x, int64_t k, int64_t kernel = 3) {
    const int64_t c = builder_.shape(x)[1];
    builder_.initializer(name + ".w", {k, c, kernel, kernel}, numbers().data(), nullptr);
    return node("Conv", name, {x, name + ".w"},
                {{"pads", std::vector<int64_t>(4, (kernel - 1) / 2)}});
  }
  Sketch& depthwise(const std::string& name, const std::string& x, int64_t kernel, int64_t stride,
                    int64_t dilation = 1) {
    const int64_t c = builder_.shape(x)[1];
    builder_.initializer(name + ".w", {c, 1, kernel, kernel}, numbers().data(), nullptr);
    return node("Conv", name, {x, name + ".w"},
                {{"pads", std::vector<int64_t>(4, (kernel - 1) / 2)},
                 {"group", c},
                 {"strides", std::vector<int64_t>{stride, stride}},
                 {"dilations", std::vector<int64_t>{dilation, dilation}}});
  }
  Sketch& fc(const std::string& name, const std::string& x, int64_t k) {
    builder_.initializer(name + ".w", {k, builder_.shape(x)[1]}, numbers().data(), nullptr);
    return node("Gemm", name, {x, name + ".w"}, {{"transB", int64_t{1}}});
  }
  Sketch& pool(const std::string& name, const std::string& x, int64_t side, int64_t stride) {
    return node("MaxPool", name, {x},
                {{"kernel_shape", std::vector<int64_t>{side, side}},
                 {"strides", std::vector<int64_t>{stride, stride}}});
  }
  Sketch& concat(const std::string& name, const std::vector<std::string>& parts) {
    return node("Concat", name, parts, {{"axis", int64_t{1}}});
  }
  Sketch& reshape(const std::string& name, const std::string& x, const Shape& shape) {
    builder_.initializer(name + ".shape", {static_cast<int64_t>(shape.size())},
                         std::vector<int64_t>(shape));
    return node("Reshape", name, {x, name + ".shape"});
  }
  Sketch& number(const std::string& name, float value) {
    const auto owner = std::make_shared<float>(value);
    builder_.initializer(name, {}, owner.get(), owner);
    return *this;
  }
  Sketch& node(const std::string& op, const std::string& name,
               const std::vector<std::string>& inputs, const Attributes& attributes = {}) {
    builder_.node(op, name, inputs, {name}, attributes);
    return *this;
  }
  std::shared_ptr<const Graph> output(const std::string& name) {
    builder_.output(name);
    return builder_.build();
  }

 private:
  static const std::vector<float>& numbers() {
    static const std::vector<float> all = [] {
      std::vector<float> some(1 << 20);
      uint32_t state = 1;
      for (float& number : some) {
        state = state * 1664525u + 1013904223u;
        number = static_cast<float>(state >> 8) / (1 << 24) - 0.5f;
      }
      return some;
    }();
    return all;
  }

  GraphBuilder builder_;
};

}  // namespace linnet
