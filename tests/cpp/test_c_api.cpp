#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "backends/dynlib.h"
#include "include/linnet.h"

namespace {

const char kDigits[] = LINNET_TEST_DATA "/../../src/linnet/models/digits.onnx";

linnet_options defaults() {
  linnet_options options = {};
  options.size = sizeof options;
  return options;
}

// A loaded session that ends with its scope.
struct Loaded {
  explicit Loaded(const linnet_options* options = nullptr) {
    REQUIRE_MESSAGE(linnet_load(kDigits, options, &net) == LINNET_OK, linnet_error());
  }
  ~Loaded() { linnet_free(net); }
  linnet_session* net = nullptr;
};

std::vector<float> images(size_t floats) {
  std::vector<float> x(floats);
  for (size_t i = 0; i < floats; ++i) x[i] = static_cast<float>(i * 2654435761u % 1024) / 1024.0f;
  return x;
}

}  // namespace

TEST_CASE("C: a session describes the model's inputs and outputs") {
  const Loaded s;
  REQUIRE(linnet_input_count(s.net) == 1);
  REQUIRE(linnet_output_count(s.net) == 1);
  const linnet_tensor &x = *linnet_input(s.net, 0), &y = *linnet_output(s.net, 0);
  CHECK(linnet_input(s.net, 1) == nullptr);
  CHECK(linnet_output(s.net, 1) == nullptr);
  CHECK(x.dtype == LINNET_FLOAT32);
  REQUIRE(x.rank == 4);
  CHECK(x.shape[0] == 0);
  CHECK(x.count == static_cast<size_t>(x.shape[1] * x.shape[2] * x.shape[3]));
  REQUIRE(y.rank == 2);
  CHECK(y.count == static_cast<size_t>(y.shape[1]));
  CHECK(std::strlen(x.name) > 0);
  CHECK(linnet_threads(s.net) >= 1);
  CHECK(std::strlen(linnet_isa(s.net)) > 0);
  int major = -1;
  CHECK(std::sscanf(linnet_version(), "%d.", &major) == 1);
}

TEST_CASE("C: a batch gives what its images give one by one, within the caller's arrays") {
  linnet_options options = defaults();
  options.threads = 2;
  const Loaded s(&options);
  CHECK(linnet_threads(s.net) == 2);
  const size_t in = linnet_input(s.net, 0)->count, out = linnet_output(s.net, 0)->count;
  const std::vector<float> x = images(3 * in);
  std::vector<float> together(3 * out + 1, -7.0f), alone(out);
  const void* from[] = {x.data()};
  void* to[] = {together.data()};
  REQUIRE(linnet_run(s.net, 3, from, to) == LINNET_OK);
  CHECK(together.back() == -7.0f);
  for (int i = 0; i < 3; ++i) {
    const void* one_from[] = {x.data() + i * in};
    void* one_to[] = {alone.data()};
    REQUIRE(linnet_run(s.net, 1, one_from, one_to) == LINNET_OK);
    double sum = 0;
    for (size_t k = 0; k < out; ++k) {
      CHECK(together[i * out + k] == doctest::Approx(alone[k]).epsilon(1e-4));
      sum += alone[k];
    }
    CHECK(sum == doctest::Approx(1.0));  // the model ends in a softmax
  }
}

TEST_CASE("C: options reach the session") {
  linnet_options options = defaults();
  options.isa = "scalar";
  options.algorithm = "direct";
  options.threads = 1;
  const Loaded s(&options);
  CHECK(std::string(linnet_isa(s.net)) == "scalar");
}

TEST_CASE("C: a program compiled with another header sets what both know") {
  CHECK(linnet_abi() == LINNET_ABI);
  linnet_session* net = nullptr;
  const auto load = [&](const void* options) {
    linnet_free(net);
    return linnet_load(kDigits, static_cast<const linnet_options*>(options), &net);
  };
  // An older one: what follows its last option is not read.
  linnet_options older = defaults();
  older.size = offsetof(linnet_options, isa);
  older.threads = 1;
  older.isa = "none";
  REQUIRE_MESSAGE(load(&older) == LINNET_OK, linnet_error());
  CHECK(linnet_threads(net) == 1);
  // A newer one: what is not known has its default, or is refused.
  struct {
    linnet_options known;
    const char* unknown;
  } newer = {defaults(), nullptr};
  newer.known.size = sizeof newer;
  newer.known.threads = 1;
  CHECK(load(&newer) == LINNET_OK);
  newer.unknown = "set";
  CHECK(load(&newer) == LINNET_INVALID);
  CHECK(std::string(linnet_error()).find("does not know") != std::string::npos);
  linnet_free(net);
  // One that forgot the size.
  linnet_options none = {};
  CHECK(load(&none) == LINNET_INVALID);
  CHECK(std::string(linnet_error()).find("sizeof(linnet_options)") != std::string::npos);
}

TEST_CASE("C: weights are kept as asked for") {
  // The model's file holds float16.
  const std::vector<float> x = images(88 * 88);
  const auto run = [&](const char* dtype) {
    linnet_options options = defaults();
    options.threads = 1;
    options.weights_dtype = dtype;
    const Loaded s(&options);
    std::vector<float> y(linnet_output(s.net, 0)->count);
    const void* from[] = {x.data()};
    void* to[] = {y.data()};
    REQUIRE(linnet_run(s.net, 1, from, to) == LINNET_OK);
    return y;
  };
  const auto difference = [](const std::vector<float>& a, const std::vector<float>& b) {
    float most = 0;
    for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::fabs(a[i] - b[i]));
    return most;
  };
  const std::vector<float> stored = run(nullptr);
  CHECK(difference(run("f16"), stored) == 0);
  CHECK(difference(run("f32"), stored) < 1e-5f);
  const float rounded = difference(run("int8"), stored);
  CHECK(rounded > 1e-5f);
  CHECK(rounded < 0.05f);
}

TEST_CASE("C: the NNPACK library named is used, and done without if it is none") {
  std::string why;
  const auto pools =
      linnet::DynLib::open(LINNET_NNPACK_STANDIN, &why).symbol<size_t()>("standin_pools");
  const size_t before = pools();
  linnet_options options = defaults();
  options.threads = 2;
  options.algorithm = "nnpack";
  options.nnpack = LINNET_NNPACK_STANDIN;
  {
    const Loaded s(&options);
    CHECK(pools() > before);
  }
  CHECK(pools() == before);
  options.nnpack = "/no/such/libnnpack.so";
  const Loaded s(&options);
  CHECK(pools() == before);
}

TEST_CASE("C: every failure has a status and a message, and no session") {
  linnet_session* net = reinterpret_cast<linnet_session*>(1);
  CHECK(linnet_load("/no/such/model.onnx", nullptr, &net) != LINNET_OK);
  CHECK(net == nullptr);
  CHECK(std::string(linnet_error()).find("/no/such/model.onnx") != std::string::npos);
  CHECK(linnet_load(nullptr, nullptr, &net) == LINNET_INVALID);
  CHECK(linnet_load(kDigits, nullptr, nullptr) == LINNET_INVALID);

  linnet_options options = defaults();
  options.threads = -1;
  CHECK(linnet_load(kDigits, &options, &net) == LINNET_INVALID);
  CHECK(std::string(linnet_error()).find("-1") != std::string::npos);
  options = defaults();
  options.isa = "none";
  CHECK(linnet_load(kDigits, &options, &net) == LINNET_INVALID);
  CHECK(std::string(linnet_error()).find("none") != std::string::npos);
  options = defaults();
  options.algorithm = "none";
  CHECK(linnet_load(kDigits, &options, &net) == LINNET_INVALID);
  options = defaults();
  options.weights_dtype = "f8";
  CHECK(linnet_load(kDigits, &options, &net) == LINNET_INVALID);
  CHECK(std::string(linnet_error()).find("f8") != std::string::npos);
  options = defaults();
  options.blas = "/no/such/libopenblas.so";
  CHECK(linnet_load(kDigits, &options, &net) == LINNET_FAILED);
  CHECK(std::string(linnet_error()).find("/no/such/libopenblas.so") != std::string::npos);
  options = defaults();
  options.memory_limit = 1000;
  CHECK(linnet_load(kDigits, &options, &net) == LINNET_NO_MEMORY);
  CHECK(std::string(linnet_error()).find("1000") != std::string::npos);

  const Loaded s;
  void* none[] = {nullptr};
  const void* nothing[] = {nullptr};
  CHECK(linnet_run(s.net, 1, nothing, none) == LINNET_INVALID);
  CHECK(linnet_run(s.net, 1, nullptr, none) == LINNET_INVALID);
  const std::vector<float> x = images(linnet_input(s.net, 0)->count);
  std::vector<float> y(linnet_output(s.net, 0)->count);
  const void* from[] = {x.data()};
  void* to[] = {y.data()};
  CHECK(linnet_run(s.net, 0, from, to) == LINNET_INVALID);
  CHECK(linnet_run(s.net, 1, from, to) == LINNET_OK);
  linnet_free(nullptr);
}

TEST_CASE("C: shapes say how large the inputs are, and give those of the outputs") {
  const Loaded s;
  const linnet_tensor &x = *linnet_input(s.net, 0), &y = *linnet_output(s.net, 0);
  std::vector<int64_t> shape(x.shape, x.shape + x.rank), result(y.rank);
  shape[0] = 2;
  const int64_t* const shapes[] = {shape.data()};
  int64_t* const results[] = {result.data()};
  REQUIRE(linnet_output_shapes(s.net, shapes, results) == LINNET_OK);
  CHECK(result == std::vector<int64_t>{2, y.shape[1]});
  const std::vector<float> in = images(2 * x.count);
  std::vector<float> plain(2 * y.count), shaped(2 * y.count);
  const void* inputs[] = {in.data()};
  void* outputs[] = {plain.data()};
  REQUIRE(linnet_run(s.net, 2, inputs, outputs) == LINNET_OK);
  outputs[0] = shaped.data();
  REQUIRE(linnet_run_shaped(s.net, shapes, inputs, outputs) == LINNET_OK);
  CHECK(shaped == plain);
  ++shape[2];
  CHECK(linnet_run_shaped(s.net, shapes, inputs, outputs) == LINNET_INVALID);
  CHECK(std::string(linnet_error()).find(x.name) != std::string::npos);
}
