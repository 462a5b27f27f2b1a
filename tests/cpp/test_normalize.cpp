// Normalisations, on every ISA this CPU has.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "kernel_tests.h"

namespace {

linnet::NormalizeRows one_row(const float* x, float* y, int64_t count) {
  linnet::NormalizeRows r{};
  r.x = x, r.y = y, r.rows = 1, r.count = count;
  return r;
}

void softmax(const Kernels* k, const float* x, float* y, int64_t count) {
  k->normalize[static_cast<int>(linnet::NormalizeCode::kSoftmax)](one_row(x, y, count));
}

}  // namespace

TEST_CASE("softmax: every count, large and far apart logits, in place") {
  std::mt19937 random(6);
  for (const Kernels* k : tables()) {
    INFO("isa ", k->isa);
    for (const float spread : {1.0f, 30.0f, 1000.0f}) {
      for (int64_t count : {1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 100, 848}) {
        CAPTURE(count);
        Buffer x(count), y(count);
        x.fill(random);
        for (int64_t i = 0; i < count; ++i) x.get()[i] = x.get()[i] * spread + spread;
        softmax(k, x.get(), y.get(), count);
        const float largest = *std::max_element(x.get(), x.get() + count);
        double total = 0, worst = 0;
        for (int64_t i = 0; i < count; ++i)
          total += std::exp(static_cast<double>(x.get()[i] - largest));
        for (int64_t i = 0; i < count; ++i) {
          const double expected = std::exp(static_cast<double>(x.get()[i] - largest)) / total;
          const double error = std::fabs(y.get()[i] - expected);
          worst = std::max(
              worst,
              error - 1e-6 * expected);  // relative, and 1e-37 where results are flushed to zero
        }
        CHECK(worst <= 1e-37);
        CHECK(y.guards_intact());
        softmax(k, x.get(), x.get(), count);
        CHECK(std::equal(y.get(), y.get() + count, x.get()));
      }
    }
    Buffer x(3), y(3);
    x.get()[0] = -kInfinity;
    x.get()[1] = 0;
    x.get()[2] = 0;
    softmax(k, x.get(), y.get(), 3);
    CHECK(y.get()[0] == 0);
    CHECK(y.get()[2] == doctest::Approx(0.5));
    x.get()[1] = std::numeric_limits<float>::quiet_NaN();
    softmax(k, x.get(), y.get(), 3);
    CHECK(std::isnan(y.get()[2]));
  }
}
