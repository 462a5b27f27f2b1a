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
