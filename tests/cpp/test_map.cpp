// Loops over contiguous floats, on every ISA this CPU has.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "kernel_tests.h"

TEST_CASE("add and clamp: every count, in place too") {
  std::mt19937 random(5);
  for (const Kernels* k : tables()) {
    INFO("isa ", k->isa);
    for (int64_t count = 0; count <= 70; ++count) {
      CAPTURE(count);
      for (const Limits& l : {Limits(), Limits{0, kInfinity}, Limits{-0.25f, 0.5f}}) {
        const auto limited = [&](float v) { return std::min(std::max(v, l.low), l.high); };
        Buffer a(count), b(count), y(count);
        a.fill(random);
        b.fill(random);
        k->add(a.get(), b.get(), y.get(), count, l);
        bool same = true;
        for (int64_t i = 0; i < count; ++i)
          same = same && y.get()[i] == limited(a.get()[i] + b.get()[i]);
        CHECK(same);
        CHECK(y.guards_intact());
        const std::vector<float> sum(y.get(), y.get() + count);
        k->add(a.get(), b.get(), b.get(), count, l);
        CHECK(std::equal(sum.begin(), sum.end(), b.get()));

        k->clamp(a.get(), y.get(), count, l);
        same = true;
        for (int64_t i = 0; i < count; ++i) same = same && y.get()[i] == limited(a.get()[i]);
        CHECK(same);
        CHECK(y.guards_intact());
        k->clamp(a.get(), a.get(), count, l);
        CHECK(std::equal(a.get(), a.get() + count, y.get()));
        CHECK(a.guards_intact());
      }
    }
    Buffer nan(40), y(40);
    nan.fill(std::numeric_limits<float>::quiet_NaN());
    for (const Limits& l : {Limits{0, kInfinity}, Limits{-1, 1}}) {
      k->clamp(nan.get(), y.get(), 40, l);
      CHECK(std::all_of(y.get(), y.get() + 40, [](float v) { return std::isnan(v); }));
    }
  }
}

namespace {

// Distance in units of the last place of `want` as a float.
double ulps(float got, double want) {
  const double unit = std::ldexp(1.0, std::max(std::ilogb(want), -126) - 23);
  return std::fabs(got - want) / unit;
}

}  // namespace

TEST_CASE("sigmoid: within 4 ulp where results are normal numbers, in rows of any length") {
  for (const Kernels* k : tables()) {
    INFO("isa ", k->isa);
    const auto sigmoid = k->map[static_cast<int>(linnet::MapCode::kSigmoid)];
    constexpr int64_t kCount = 40001;
    Buffer x(kCount), y(kCount);
    for (int64_t i = 0; i < kCount; ++i)
      x.get()[i] = static_cast<float>(-100 + 200.0 * i / (kCount - 1));
    sigmoid(x.get(), y.get(), 1, 0, kCount);
    double worst = 0;
    int wrong = 0;
    for (int64_t i = 0; i < kCount; ++i) {
      const double want = 1 / (1 + std::exp(-static_cast<double>(x.get()[i])));
      if (want >= static_cast<double>(std::numeric_limits<float>::min())) {
        worst = std::max(worst, ulps(y.get()[i], want));
      } else {  // subnormal: zero on some
        wrong += !(y.get()[i] >= 0 && y.get()[i] < std::numeric_limits<float>::min());
      }
    }
    CHECK(worst <= 4);
    CHECK(wrong == 0);
    CHECK(y.guards_intact());

    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float cases[][2] = {{0, 0.5f}, {kInfinity, 1}, {-kInfinity, 0}, {3e38f, 1}, {-3e38f, 0}};
    for (const auto& c : cases) {
      x.fill(c[0]);
      sigmoid(x.get(), y.get(), 1, 0, 17);
      CHECK(y.get()[0] == c[1]);
      CHECK(y.get()[16] == c[1]);
    }
    x.fill(nan);
    sigmoid(x.get(), y.get(), 1, 0, 17);
    CHECK(std::all_of(y.get(), y.get() + 17, [](float v) { return std::isnan(v); }));

    std::mt19937 random(11);
    for (int64_t count = 1; count <= 40; ++count) {
      Buffer rows(3 * count + 10), one(count);
      rows.fill(random);
      const std::vector<float> before(rows.get(), rows.get() + rows.count());
      sigmoid(rows.get(), rows.get(), 3, count + 5, count);
      CHECK(rows.guards_intact());
      int differ = 0;
      for (int64_t row = 0; row < 3; ++row) {
        const float* from = before.data() + row * (count + 5);
        sigmoid(from, one.get(), 1, 0, count);
        differ += !std::equal(one.get(), one.get() + count, rows.get() + row * (count + 5));
        if (row < 2) {
          differ +=
              !std::equal(from + count, from + count + 5, rows.get() + row * (count + 5) + count);
        }
      }
      CHECK(differ == 0);
      CHECK(one.guards_intact());
    }
  }
}

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
        k->softmax(x.get(), y.get(), count);
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
        k->softmax(x.get(), x.get(), count);
        CHECK(std::equal(y.get(), y.get() + count, x.get()));
      }
    }
    Buffer x(3), y(3);
    x.get()[0] = -kInfinity;
    x.get()[1] = 0;
    x.get()[2] = 0;
    k->softmax(x.get(), y.get(), 3);
    CHECK(y.get()[0] == 0);
    CHECK(y.get()[2] == doctest::Approx(0.5));
    x.get()[1] = std::numeric_limits<float>::quiet_NaN();
    k->softmax(x.get(), y.get(), 3);
    CHECK(std::isnan(y.get()[2]));
  }
}
