// NNPACK's calling convention and what happens without a good NNPACK, by the stand-in of
// tests/nnpack_standin. The real library's results are tested from Python (tests/test_nnpack.py),
// where it is easier to come by.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "backends/dynlib.h"
#include "layer.h"

using namespace linnet;

namespace {

// Sets an environment variable while it lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    const char* before = std::getenv(name);
    if (before) before_ = std::make_unique<std::string>(before);
    setenv(name, value.c_str(), 1);
  }
  ~Environment() {
    if (before_) {
      setenv(name_, before_->c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::unique_ptr<std::string> before_;
};

std::vector<float> numbers(int64_t count, int seed) {
  std::vector<float> v(static_cast<size_t>(count));
  for (size_t i = 0; i < v.size(); ++i)
    v[i] = std::sin(static_cast<float>(i * 37 % 1013) + static_cast<float>(seed));
  return v;
}

size_t ask(const char* symbol) {
  std::string why;
  return DynLib::open(LINNET_NNPACK_STANDIN, &why).symbol<size_t()>(symbol)();
}

std::vector<float> run(const std::string& key, const char* algorithm) {
  const Problem p = Problem::parse(key);
  const int64_t k = p.y.dims.c;
  const std::vector<float> w = numbers(k * p.taps(), 1), b = numbers(k, 2);
  Weight weight, bias;
  weight.shape = {k, p.taps()};
  weight.data = w.data();
  bias.shape = {k};
  bias.data = b.data();
  Layer layer(p, algorithm, "", &weight, &bias);
  const std::vector<float> x = numbers(layer.x_count(), 3),
                           operand = numbers(layer.operand_count(), 4);
  std::vector<float> y(static_cast<size_t>(layer.y_count()), NAN);
  layer.run(x.data(), operand.data(), y.data(), 2);
  return y;
}

}  // namespace

TEST_CASE("every argument reaches NNPACK as it was meant") {
  const Environment library("LINNET_NNPACK", LINNET_NNPACK_STANDIN);
  const struct {
    const char *key, *algorithm;
  } layers[] = {
      {"conv f32 n1 c3h9w7 k5r4x2p3,1,2,0 relu nchw t1", "nnpack-auto"},
      {"conv f32 n3 c2h8w11 k4r3x3p1,0,2,1 nchw t1", "nnpack-wt8x8"},
      {"conv f32 n2 c3h12w9 k4r5x3 add relu nchw t4", "nnpack-ft8x8"},
      {"conv f32 n1 c2h20w18 k3r11x9p5,4,5,4 add nchw t4", "nnpack-ft16x16"},
      {"conv f32 n2 c3h11w13 k5r3x2s2x3p1,1,0,0 relu nchw t2", "nnpack-implicit-gemm"},
      {"conv f32 n2 c5h3w4 k6r1x1 relu nchw t1", "nnpack-direct"},
  };
  for (const auto& l : layers) {
    CAPTURE(l.key);
    const std::vector<float> got = run(l.key, l.algorithm), want = run(l.key, "direct-ref");
    REQUIRE(got.size() == want.size());
    for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-5));
    CHECK(ask("standin_threads") == static_cast<size_t>(Problem::parse(l.key).threads));
  }
  CHECK(ask("standin_pools") == 0);  // they end with the last plan that uses them
}

TEST_CASE("what NNPACK refuses is a sentence") {
  const Environment library("LINNET_NNPACK", LINNET_NNPACK_STANDIN);
  const auto why = [](const char* key, const char* name) {
    return refusal(Problem::parse(key), name, "");
  };
  CHECK(why("conv f32 n1 c3h9w9 k5r3x3p3,3,3,3 nchw t1", "nnpack-auto") ==
        "NNPACK: padding is not smaller than the kernel (status 12)");
  CHECK(why("conv f32 n1 c3h9w9 k5r3x3s2 nchw t1", "nnpack-ft8x8") ==
        "NNPACK: the algorithm does not support this kernel and stride (status 26)");
  CHECK(why("conv f32 n1 c4h9w9 k4r3x3 g2 nchw t1", "nnpack-auto") == "the convolution is grouped");
  CHECK(why("conv f32 n1 c4h9w9 k4r3x3d2 nchw t1", "nnpack-auto") == "the kernel is dilated");
  CHECK(why("conv f32 n1 c4h9w9 k4r3x3 nhwc t1", "nnpack-auto") == "works on nchw only");
  CHECK(why("conv f32 n1 c4h9w9 k4r2x2 maxpool2x2 nchw t1", "nnpack-auto") ==
        "a following pool cannot be fused");
  const Environment memory("NNPACK_STANDIN", "memory");
  CHECK_THROWS_AS(run("conv f32 n1 c3h9w9 k5r3x3 nchw t1", "nnpack-auto"), std::bad_alloc);
}

TEST_CASE("without a good NNPACK there is a reason, and no NNPACK") {
  std::string why;
  const auto refused = [&](const std::string& request, const std::string& reason) {
    CAPTURE(request);
    CHECK_FALSE(find_nnpack(request, &why));
    CHECK_MESSAGE(why.find(reason) != std::string::npos, why);
    CHECK(why.find(request) != std::string::npos);
  };
  refused("/no/such/libnnpack.so", "No such file");
  refused("libm.so.6", "has no symbol nnp_initialize");
  // Cut short anywhere, or not a library at all.
  std::ifstream file(LINNET_NNPACK_STANDIN, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  char folder[] = "/tmp/linnet-nnpack-XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  // The stand-in by another name: by its own it has been found.
  const std::string link = std::string(folder) + "/nnpack_standin.so";
  std::filesystem::create_symlink(LINNET_NNPACK_STANDIN, link);
  const auto refused_as = [&](const char* what, const std::string& reason) {
    const Environment how("NNPACK_STANDIN", what);
    CHECK_FALSE(find_nnpack(link, &why));
    CHECK_MESSAGE(why.find("nnpack_standin.so: " + reason) != std::string::npos, why);
  };
  refused_as("cpu", "cannot be initialized, it does not support this CPU (status 51)");
  refused_as("old", "does not take transformed kernels, it is an old NNPACK");
  // Each its own file: one that loaded after all must not change under the loader.
  for (size_t size :
       {size_t{0}, size_t{10}, size_t{70}, size_t{1000}, bytes.size() / 4, bytes.size() / 2}) {
    CAPTURE(size);
    const std::string path = std::string(folder) + "/libnnpack." + std::to_string(size) + ".so";
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes.substr(0, size);
    CHECK_FALSE(find_nnpack(path, &why));
    CHECK_MESSAGE(why.find(path) != std::string::npos, why);
  }
  const std::string path = std::string(folder) + "/libnnpack.so";
  std::ofstream(path, std::ios::binary | std::ios::trunc) << "this is no library";
  refused(path, "libnnpack.so");
  std::filesystem::remove_all(folder);

  const Environment library("LINNET_NNPACK", "/no/such/libnnpack.so");
  CHECK(refusal(Problem::parse("conv f32 n1 c3h9w9 k5r3x3 nchw t1"), "nnpack-auto", "")
            .find("no NNPACK: /no/such") == 0);
}
