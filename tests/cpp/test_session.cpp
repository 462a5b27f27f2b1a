#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "graph/builder.h"
#include "session.h"

using namespace linnet;

namespace {

// Uniform, scaled so that a sum of `taps` products keeps its size.
std::vector<float> random_floats(size_t count, unsigned seed, float taps = 1) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1 / std::sqrt(taps), 1 / std::sqrt(taps));
  std::vector<float> v(count);
  for (float& x : v) x = uniform(generator);
  return v;
}

// Convolutions with a residual, a fused and an overlapping pool, a concatenation, a fully connected
// layer and a softmax.
struct Net {
  std::vector<float> w1 = random_floats(24 * 3 * 3 * 3, 1, 27), b1 = random_floats(24, 2);
  std::vector<float> w2 = random_floats(24 * 24 * 3 * 3, 3, 216), b2 = random_floats(24, 4);
  std::vector<float> w3 = random_floats(40 * 27 * 5 * 5, 5, 675);
  std::vector<float> w4 = random_floats(10 * 40 * 2 * 2, 6, 160), b4 = random_floats(10, 7);

  std::shared_ptr<const Graph> build() const {
    const std::vector<int64_t> ones = {1, 1, 1, 1};
    GraphBuilder b("net");
    b.input("x", {1, 3, 14, 14});
    b.initializer("w1", {24, 3, 3, 3}, w1.data(), nullptr);
    b.initializer("b1", {24}, b1.data(), nullptr);
    b.initializer("w2", {24, 24, 3, 3}, w2.data(), nullptr);
    b.initializer("b2", {24}, b2.data(), nullptr);
    b.initializer("w3", {40, 27, 5, 5}, w3.data(), nullptr);
    b.initializer("w4", {10, 160}, w4.data(), nullptr);
    b.initializer("b4", {10}, b4.data(), nullptr);
    b.node("Conv", "conv1", {"x", "w1", "b1"}, {"c1"}, {{"pads", ones}});
    b.node("Relu", "relu1", {"c1"}, {"r1"}, {});
    b.node("Conv", "conv2", {"r1", "w2", "b2"}, {"c2"}, {{"pads", ones}});
    b.node("Add", "add", {"c2", "r1"}, {"a"}, {});
    b.node("Relu", "relu2", {"a"}, {"r2"}, {});
    b.node("Concat", "join", {"r2", "x"}, {"j"}, {{"axis", int64_t{1}}});
    b.node("Conv", "conv3", {"j", "w3"}, {"c3"}, {});
    b.node("MaxPool", "pool3", {"c3"}, {"p3"},
           {{"kernel_shape", std::vector<int64_t>{5, 5}}, {"strides", std::vector<int64_t>{5, 5}}});
    b.node("Flatten", "flat", {"p3"}, {"f"}, {});
    b.node("Gemm", "fc", {"f", "w4", "b4"}, {"logits"}, {{"transB", int64_t{1}}});
    b.node("Softmax", "prob", {"logits"}, {"y"}, {{"axis", int64_t{1}}});
    b.output("y");
    return b.build();
  }
};

constexpr int64_t kInput = 3 * 14 * 14, kOutput = 10;

SessionOptions options(int threads, const char* algorithm = "") {
  SessionOptions o;
  o.threads = threads;
  o.algorithm = algorithm;
  return o;
}

std::vector<float> run(Session& session, int64_t batch, const std::vector<float>& x) {
  std::vector<float> y(static_cast<size_t>(batch * kOutput));
  session.run(batch, {x.data()}, session.graph().outputs, {y.data()});
  return y;
}

}  // namespace

TEST_CASE("all algorithms and thread numbers agree with the reference, image by image") {
  const Net net;
  const auto graph = net.build();
  Session reference(graph, options(1, "direct-ref"));
  const std::vector<float> x = random_floats(37 * kInput, 9);
  const std::vector<float> want = run(reference, 37, x);
  for (const char* algorithm : {"", "direct"}) {
    for (int threads : {1, 3}) {
      Session session(graph, options(threads, algorithm));
      for (int64_t batch : {1, 2, 16, 37}) {
        CAPTURE(algorithm);
        CAPTURE(threads);
        CAPTURE(batch);
        const std::vector<float> y = run(session, batch, x);
        float worst = 0;
        for (size_t i = 0; i < y.size(); ++i) worst = std::max(worst, std::abs(y[i] - want[i]));
        CHECK(worst < 1e-4f);
      }
    }
  }
}

TEST_CASE("a session serves many threads at once") {
  const Net net;
  Session session(net.build(), options(2));
  const std::vector<float> x = random_floats(8 * kInput, 11);
  const std::vector<float> want = run(session, 8, x);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const int64_t batch = 1 + (t + i) % 8;
        const std::vector<float> y = run(session, batch, x);
        for (size_t j = 0; j < y.size(); ++j) wrong += std::abs(y[j] - want[j]) > 1e-4f;
      }
    });
  }
  for (std::thread& c : callers) c.join();
  CHECK(wrong == 0);
}

TEST_CASE("values inside the network can be asked for") {
  const Net net;
  Session session(net.build(), options(1)), plain(net.build(), options(1, "direct-ref"));
  const std::vector<float> x = random_floats(2 * kInput, 12);
  // Fused away in the usual program: before the ReLU, between Add and ReLU, and a flattened image.
  for (const char* name : {"c1", "a", "j", "f", "p3", "logits"}) {
    CAPTURE(name);
    const int value = session.graph().find_value(name);
    int64_t count = 2;
    for (size_t i = 1; i < session.graph().values[value].shape().size(); ++i)
      count *= session.graph().values[value].shape()[i];
    std::vector<float> got(count), want(count), y(2 * kOutput);
    session.run(2, {x.data()}, {value, session.graph().outputs[0]}, {got.data(), y.data()});
    plain.run(2, {x.data()}, {value}, {want.data()});
    float worst = 0, rms = 0;
    for (int64_t i = 0; i < count; ++i)
      worst = std::max(worst, std::abs(got[i] - want[i])), rms += want[i] * want[i];
    CHECK(worst < 1e-4f * std::sqrt(rms / static_cast<float>(count)));
  }
}

TEST_CASE("the memory limit holds or is refused with what would do") {
  const Net net;
  Session free_session(net.build(), options(1));
  SessionOptions o = options(1);
  o.memory_limit = 1000;
  CHECK_THROWS_AS(Session(net.build(), o), MemoryLimit);
  const std::vector<float> x = random_floats(64 * kInput, 13);
  const std::vector<float> want = run(free_session, 64, x);
  // Enough for single images, not for large chunks.
  Session one(net.build(), options(1));
  run(one, 1, x);
  o.memory_limit = one.weight_bytes() + one.arena_bytes() * 3;
  Session tight(net.build(), o);
  const std::vector<float> y = run(tight, 64, x);
  CHECK(tight.weight_bytes() + tight.arena_bytes() <= o.memory_limit);
  for (size_t i = 0; i < y.size(); ++i) CHECK(y[i] == doctest::Approx(want[i]).epsilon(1e-3));
}

TEST_CASE("a model beyond the memory limit is refused before its weights are touched") {
  // 1 GiB of weights which are not there: reading them would end the process.
  const int64_t in = 1 << 16, out = 1 << 12;
  GraphBuilder b("large");
  b.input("x", {1, in});
  b.initializer("w", {out, in}, reinterpret_cast<const float*>(uintptr_t{4096}), nullptr);
  b.node("Gemm", "fc", {"x", "w"}, {"y"}, {{"transB", int64_t{1}}});
  b.output("y");
  SessionOptions o = options(1);
  o.memory_limit = 5 << 20;
  std::string message;
  try {
    Session(b.build(), o);
  } catch (const MemoryLimit& e) {
    message = e.what();
  }
  const std::string start = "memory_limit is 5242880 bytes, but a batch of 1 needs ";
  REQUIRE(message.substr(0, start.size()) == start);
  CHECK(std::stoll(message.substr(start.size())) >= in * out * 4);
}

TEST_CASE("transformed weights take what a limit leaves for them") {
  // Sixteen such layers would take 9 MB each, transformed 67 MB; none of them are there.
  const int64_t channels = 512;
  GraphBuilder b("wide");
  b.input("x", {1, channels, 28, 28});
  std::string from = "x";
  for (int i = 0; i < 16; ++i) {
    const std::string name = "w" + std::to_string(i), to = "y" + std::to_string(i);
    b.initializer(name, {channels, channels, 3, 3},
                  reinterpret_cast<const float*>(uintptr_t{4096} << i), nullptr);
    b.node(
        "Conv", to, {from, name}, {to},
        {{"kernel_shape", std::vector<int64_t>{3, 3}}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}});
    from = to;
  }
  b.output(from);
  const auto graph = b.build();
  const size_t plain = 16 * channels * channels * 9 * 4;
  Session session(graph, options(1), true);
  const Needs one = session.needs(1);
  CHECK(one.plain == plain);
  CHECK(session.weight_bytes() == 0);
  SessionOptions o = options(1);
  o.memory_limit = size_t{4} << 30;  // who names a limit may have it
  CHECK(Session(graph, o, true).needs(1).weights >= one.weights);
  o.memory_limit = plain + plain / 2;
  const Needs tight = Session(graph, o, true).needs(1);
  CHECK(tight.weights + tight.arena <= o.memory_limit);
}

TEST_CASE("a store that counts allocates and packs nothing, then all of it") {
  const std::vector<float> data = random_floats(6, 1);
  Weight weight;
  weight.shape = {6};
  weight.data = data.data();
  WeightStore store;
  int packed = 0;
  const auto get = [&](const char* packing) {
    return store.get(&weight, packing, 6, [&](const Weight&, float* out) {
      std::copy(data.begin(), data.end(), out);
      ++packed;
    });
  };
  const auto kept = get("a");
  store.set_counting(true);
  CHECK(get("a").get() == kept.get());
  auto counted = get("b");
  CHECK(counted->size() == 0);
  CHECK(packed == 1);
  CHECK(store.bytes() == 12 * sizeof(float));
  store.set_counting(false);
  const auto real = get("b");
  CHECK(real->floats()[5] == data[5]);
  CHECK(get("b").get() == real.get());
  CHECK(packed == 2);
  CHECK(store.bytes() == 12 * sizeof(float));
}

TEST_CASE("unknown algorithms and empty batches are errors") {
  const Net net;
  CHECK_THROWS_AS(Session(net.build(), options(1, "no-such")), std::invalid_argument);
  Session session(net.build(), options(1));
  float nothing = 0;
  CHECK_THROWS_AS(session.run(0, {&nothing}, session.graph().outputs, {&nothing}),
                  std::invalid_argument);
}
