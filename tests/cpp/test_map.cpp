// Loops over contiguous floats, on every ISA this CPU has.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "algorithms/epilogue.h"
#include "kernel_tests.h"

using linnet::Function;
using linnet::MapCode;

namespace {

void map(const Kernels* k, const Function& f, const float* x, const float* z, float* y,
         int64_t count, Limits limits = {}) {
  linnet::MapRows r{};
  r.x = x, r.z = z, r.y = y, r.rows = 1, r.count = count, r.function = f, r.limits = limits;
  k->map[static_cast<int>(f.code)](r);
}

}  // namespace

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
        map(k, {MapCode::kAdd}, a.get(), b.get(), y.get(), count, l);
        bool same = true;
        for (int64_t i = 0; i < count; ++i)
          same = same && y.get()[i] == limited(a.get()[i] + b.get()[i]);
        CHECK(same);
        CHECK(y.guards_intact());
        const std::vector<float> sum(y.get(), y.get() + count);
        map(k, {MapCode::kAdd}, a.get(), b.get(), b.get(), count, l);
        CHECK(std::equal(sum.begin(), sum.end(), b.get()));

        map(k, {}, a.get(), nullptr, y.get(), count, l);
        same = true;
        for (int64_t i = 0; i < count; ++i) same = same && y.get()[i] == limited(a.get()[i]);
        CHECK(same);
        CHECK(y.guards_intact());
        map(k, {}, a.get(), nullptr, a.get(), count, l);
        CHECK(std::equal(a.get(), a.get() + count, y.get()));
        CHECK(a.guards_intact());
      }
    }
    Buffer nan(40), y(40);
    nan.fill(std::numeric_limits<float>::quiet_NaN());
    for (const Limits& l : {Limits{0, kInfinity}, Limits{-1, 1}}) {
      map(k, {}, nan.get(), nullptr, y.get(), 40, l);
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

TEST_CASE("functions of one input: within 4 ulp where results are beyond 2^-119, NaN stays") {
  const Function functions[] = {
      {MapCode::kSigmoid},     {MapCode::kTanh},         {MapCode::kExp},
      {MapCode::kLog},         {MapCode::kSqrt},         {MapCode::kReciprocal},
      {MapCode::kNeg},         {MapCode::kAbs},          {MapCode::kSign},
      {MapCode::kFloor},       {MapCode::kCeil},         {MapCode::kRound},
      {MapCode::kSoftplus},    {MapCode::kSoftsign},     {MapCode::kSwish},
      {MapCode::kMish},        {MapCode::kErf},          {MapCode::kGelu},
      {MapCode::kLeaky, 0.1f}, {MapCode::kElu, 1.5f, 2},
  };
  constexpr int64_t kCount = 60001;
  Buffer x(kCount), y(kCount);
  // Evenly, and closer and closer to zero, on both sides of it.
  for (int64_t i = 0; i < kCount; ++i) {
    const double even = -100 + 200.0 * static_cast<double>(i) / (kCount - 1);
    const double small = std::exp(-static_cast<double>(i % 80)) * (i % 160 < 80 ? 1 : -1);
    x.get()[i] = static_cast<float>(i % 2 ? even : even * small);
  }
  for (const Kernels* k : tables()) {
    for (const Function& f : functions) {
      INFO("isa ", k->isa, ", ", linnet::info(f.code).word);
      map(k, f, x.get(), nullptr, y.get(), kCount);
      double worst = 0;
      float at = 0;
      int wrong = 0;
      for (int64_t i = 0; i < kCount; ++i) {
        const double want = linnet::mapped(f, x.get()[i], 0);
        const float got = y.get()[i];
        if (want != want || std::fabs(want) > std::numeric_limits<float>::max()) {
          wrong += want != want ? got == got : got != static_cast<float>(want);
        } else if (std::fabs(want) >= 0x1p-119) {
          if (ulps(got, want) > worst) worst = ulps(got, want), at = x.get()[i];
        } else {  // next to nothing: zero on some, and where a factor is subnormal
          wrong += !(std::fabs(got) <= 0x1p-119);
        }
      }
      CAPTURE(at);
      // A32 divides by way of a reciprocal.
      const double most = std::strstr(k->isa, "vfpv4") ? 4.5 : 4;
      CHECK(worst <= (f.code == MapCode::kGelu ? 6 : most));  // which is a product of two
      CHECK(wrong == 0);
      CHECK(y.guards_intact());
      float nan = std::numeric_limits<float>::quiet_NaN();
      map(k, f, &nan, nullptr, &nan, 1);
      CHECK(nan != nan);
    }
  }
}

TEST_CASE("functions of two inputs: every count, rows, one number for a row, in place") {
  std::mt19937 random(8);
  for (const MapCode code : {MapCode::kAdd, MapCode::kSub, MapCode::kMul, MapCode::kDiv,
                             MapCode::kMax, MapCode::kMin, MapCode::kPRelu}) {
    for (const Kernels* k : tables()) {
      INFO("isa ", k->isa, ", ", linnet::info(code).word);
      for (const int64_t count : {1, 3, 8, 17, 40}) {
        for (const bool one : {false, true}) {
          constexpr int64_t kRows = 3;
          const int64_t step = count + 5;
          Buffer x(kRows * step), z(kRows * step), y(kRows * step);
          x.fill(random);
          z.fill(random);
          y.fill(kGuard);
          linnet::MapRows r{};
          r.x = x.get(), r.z = z.get(), r.y = y.get(), r.rows = kRows, r.count = count;
          r.x_row = r.y_row = step, r.z_row = one ? 1 : step, r.z_one = one;
          k->map[static_cast<int>(code)](r);
          double worst = 0;
          bool kept = true;
          for (int64_t row = 0; row < kRows; ++row) {
            for (int64_t i = 0; i < step; ++i) {
              const float got = y.get()[row * step + i];
              if (i >= count) {
                kept = kept && got == kGuard;
                continue;
              }
              const float b = one ? z.get()[row] : z.get()[row * step + i];
              const double want = linnet::mapped({code}, x.get()[row * step + i], b);
              worst = std::max(worst, ulps(got, want));
            }
          }
          CHECK(kept);
          CHECK(worst <= (std::strstr(k->isa, "vfpv4") ? 2.5 : 2));
        }
      }
    }
  }
}

TEST_CASE("powers: as exact as their logarithm, and what has no logarithm") {
  const float numbers[] = {0, 1e-30f, 0.03f, 0.5f, 1, 1.7f, 3, 250, 1e20f, -0.5f, -1, -3, -1e9f};
  const float powers[] = {0, 1, 2, 3, -1, -2, -3, 0.5f, -0.5f, 2.4f, 1 / 3.0f, 17, 64};
  for (const Kernels* k : tables()) {
    for (const float z : powers) {
      for (const float x : numbers) {
        INFO("isa ", k->isa, ", ", x, " to the power ", z);
        float y;
        map(k, {MapCode::kPow}, &x, &z, &y, 1);
        const double want = std::pow(static_cast<double>(x), z);
        if (std::isnan(want) || std::fabs(want) > std::numeric_limits<float>::max() || want == 0) {
          CHECK((std::isnan(want) ? std::isnan(y) : y == static_cast<float>(want)));
        } else if (std::fabs(want) >= 0x1p-119) {
          const double exponent = z == 0 ? 0 : z * std::log(std::fabs(x));
          CHECK(ulps(y, want) <= 4 + 2 * std::fabs(exponent));
        } else {
          CHECK(std::fabs(y) <= 0x1p-119);
        }
      }
    }
  }
}

TEST_CASE("rows with room for whole vectors end in zeros") {
  std::mt19937 random(11);
  constexpr int64_t kRows = 4;
  for (const Kernels* k : tables()) {
    INFO("isa ", k->isa);
    for (const MapCode code : {MapCode::kSigmoid, MapCode::kExp, MapCode::kDiv, MapCode::kMax}) {
      for (const int64_t count : {1, 3, 8, 13, 16, 21}) {
        for (const bool one : {false, true}) {
          const int64_t step = (count + k->width - 1) / k->width * k->width + k->width;
          Buffer x(kRows * step), z(kRows * step);
          x.fill(random);
          z.fill(random);
          std::vector<float> before(x.get(), x.get() + kRows * step);
          linnet::MapRows r{};
          r.x = r.y = x.get(), r.z = z.get(), r.rows = kRows, r.count = count;
          r.x_row = r.y_row = step, r.z_row = one ? 1 : step, r.z_one = one;
          r.padded = true, r.function = {code};
          k->map[static_cast<int>(code)](r);
          for (int64_t row = 0; row < kRows; ++row) {
            CAPTURE(row);
            for (int64_t i = 0; i < step; ++i) {
              const float got = x.get()[row * step + i], was = before[row * step + i];
              const float b = one ? z.get()[row] : z.get()[row * step + i];
              const int64_t whole = step - k->width;
              if (i < count) CHECK(ulps(got, linnet::mapped({code}, was, b)) <= 4);
              if (i >= count && i < whole) CHECK(got == 0);
              if (i >= whole) CHECK(got == was);
            }
          }
        }
      }
    }
  }
}
