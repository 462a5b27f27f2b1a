// What becomes of a layer's results before they are stored, for the plans.
#pragma once

#include <algorithm>
#include <cmath>

#include "algorithms/algorithm.h"
#include "kernels/kernels.h"

namespace linnet {

// One result of a plan that calls no kernels. The conditions leave a loop over results.
template <typename Float>
Float limited(Float value, Limits l) {
  if (l.low > -kInfinity) value = std::max<Float>(value, l.low);
  if (l.high < kInfinity) value = std::min<Float>(value, l.high);
  return value;
}

// NaN if either is.
inline float larger(float a, float b) { return a > b || a != a ? a : b; }

// What a map means, for the same plans; z where it has two inputs.
inline double mapped(const Function& f, double x, double z) {
  const auto less = [](double a, double b) { return a < b || a != a ? a : b; };
  switch (f.code) {
    case MapCode::kCopy:
      return x;
    case MapCode::kAdd:
      return x + z;
    case MapCode::kSub:
      return x - z;
    case MapCode::kMul:
      return x * z;
    case MapCode::kDiv:
      return x / z;
    case MapCode::kMax:
      return -less(-x, -z);
    case MapCode::kMin:
      return less(x, z);
    case MapCode::kPRelu:
      return x < 0 ? x * z : x;
    case MapCode::kPow:
      return std::pow(x, z);
    case MapCode::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case MapCode::kTanh:
      return std::tanh(x);
    case MapCode::kExp:
      return std::exp(x);
    case MapCode::kLog:
      return std::log(x);
    case MapCode::kSqrt:
      return std::sqrt(x);
    case MapCode::kReciprocal:
      return 1 / x;
    case MapCode::kNeg:
      return -x;
    case MapCode::kAbs:
      return std::fabs(x);
    case MapCode::kSign:
      return x > 0 ? 1 : x < 0 ? -1 : x;
    case MapCode::kFloor:
      return std::floor(x);
    case MapCode::kCeil:
      return std::ceil(x);
    case MapCode::kRound:
      return std::nearbyint(x);
    case MapCode::kSoftplus:
      return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
    case MapCode::kSoftsign:
      return x / (1 + std::fabs(x));
    case MapCode::kSwish:
      return x / (1 + std::exp(-x));
    case MapCode::kHardSwish:
      return x * std::min(1.0, std::max(0.0, x / 6 + 0.5));
    case MapCode::kMish:
      return x * std::tanh(std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))));
    case MapCode::kErf:
      return std::erf(x);
    case MapCode::kGelu:
      return x * 0.5 * std::erfc(-x * 0.70710678118654752440);
    case MapCode::kLeaky:
      return x < 0 ? f.a * x : x;
    case MapCode::kElu:
      return x < 0 ? f.a * std::expm1(x) : f.b * x;
    case MapCode::kHardSigmoid:
      return std::min(1.0, std::max(0.0, f.a * x + f.b));
    case MapCode::kQuantize:
    case MapCode::kDequantize:
      return x;  // the integers stand for the same reals
  }
  return x;
}

// What map_results() does with a function that is one.
inline void map_some(const Kernels& kernels, const Function& then, float* y, int64_t pixels,
                     ptrdiff_t step, int64_t channels) {
  const auto map = kernels.map[static_cast<int>(then.code)];
  MapRows rows{};
  rows.function = then;
  if (2 * channels > kernels.width || step == channels) {
    rows.x = rows.y = y, rows.rows = pixels, rows.count = channels;
    rows.x_row = rows.y_row = step;
    rows.padded = step % kernels.width == 0;
    map(rows);
    return;
  }
  // Vectors of such pixels would be padding for the most part.
  constexpr int64_t kDense = 512;
  float dense[kDense + kCopied];
  rows.x = rows.y = dense, rows.rows = 1;
  const int64_t most = kDense / channels;
  for (int64_t first = 0; first < pixels; first += most, y += most * step) {
    const int64_t some = std::min(most, pixels - first);
    copy_narrow(y, step, dense, channels, some);
    rows.count = some * channels;
    map(rows);
    for (int64_t i = 0; i < some; ++i) {
      for (int64_t c = 0; c < channels; ++c) y[i * step + c] = dense[i * channels + c];
    }
  }
}

// Applies the map that ends a layer to results just stored, while they are in the first-level
// cache: `channels` neighbours of each of `pixels` pixels that lie `step` floats apart. The
// channels do not include padding, which stays zero.
inline void map_results(const Kernels& kernels, const Function& then, float* y, int64_t pixels,
                        ptrdiff_t step, int64_t channels) {
  if (then.code != MapCode::kCopy) map_some(kernels, then, y, pixels, step, channels);
}

}  // namespace linnet
