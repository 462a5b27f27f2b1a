#include "algorithms/integer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "algorithms/epilogue.h"

namespace linnet {

float quotient(double a, double b) { return static_cast<float>(a / b); }

StepLimits::StepLimits(DType type, float scale, int32_t zero, const Limits& limits) {
  const ByteRange range(type);
  const auto steps = [&](float real) {
    return std::nearbyint(std::clamp<double>(static_cast<double>(real) / scale, -1e4, 1e4));
  };
  low = static_cast<float>(range.low - zero), high = static_cast<float>(range.high - zero);
  if (limits.low > -kInfinity) low = std::max(low, static_cast<float>(steps(limits.low)));
  if (limits.high < kInfinity) high = std::min(high, static_cast<float>(steps(limits.high)));
  low = std::min(low, static_cast<float>(range.high - zero));
  high = std::max(high, low);
}

double sums_to(const Problem& p) {
  if (!is_byte(p.y.dtype)) return 1;
  return static_cast<double>(p.end.between.scale > 0 ? p.end.between.scale : p.y.scale);
}

Requantization requantization(const Problem& p) {
  Requantization r{};
  if (!is_byte(p.y.dtype)) {
    r.real = true, r.low = p.end.limits.low, r.high = p.end.limits.high;
    return r;
  }
  const StepLimits limits(p.y.dtype, p.y.scale, p.y.zero, p.end.limits);
  r.low = limits.low, r.high = limits.high, r.zero = p.y.zero;
  const Between& between = p.end.between;
  r.between = between.scale > 0;
  if (r.between) {
    const StepLimits first(between.dtype, between.scale, between.zero, between.limits);
    r.between_low = first.low, r.between_high = first.high;
    r.factor = quotient(between.scale, p.y.scale);
  }
  if (!p.end.residual) return r;
  r.z_factor = quotient(p.z.scale, p.y.scale);
  r.z_zero = static_cast<float>(unsigned_zero(p.z)), r.flip = flip_of(p.z.dtype);
  return r;
}

IntegerTables integer_tables(const Problem& p, const Weight& given, const Weight* bias,
                             int64_t groups, int width, int32_t zero) {
  const Weight weight = given.loaded(), first_sums = bias ? bias->loaded() : Weight();
  const int64_t k = p.y.dims.c, each = k / groups, padded = round_up(each, width);
  const int64_t taps = p.taps();
  const auto* q = static_cast<const int8_t*>(weight.stored);
  IntegerTables tables;
  tables.scales.resize(static_cast<size_t>(groups * padded));
  tables.bias.resize(static_cast<size_t>(groups * padded));
  for (int64_t c = 0; c < k; ++c) {
    const auto at = static_cast<size_t>(c / each * padded + c % each);
    const double step = static_cast<double>(p.x.scale) * weight.scales[static_cast<size_t>(c)];
    tables.scales[at] = quotient(step, sums_to(p));
    constexpr double kMost = std::numeric_limits<int32_t>::max();
    double first = bias ? std::nearbyint(static_cast<double>(first_sums.data[c]) / step) : 0;
    if (!(std::fabs(first) <= kMost)) first = first > 0 ? kMost : first < 0 ? -kMost : 0;
    // Sums may go round on their way: only where they end counts.
    auto sum = static_cast<uint32_t>(static_cast<int32_t>(first));
    if (zero) {
      uint32_t weights = 0;
      for (int64_t t = 0; t < taps; ++t)
        weights += static_cast<uint32_t>(static_cast<int32_t>(q[c * taps + t]));
      sum -= static_cast<uint32_t>(zero) * weights;
    }
    tables.bias[at] = static_cast<int32_t>(sum);
  }
  return tables;
}

uint8_t mapped_byte(const Problem& p, uint8_t x) {
  const bool is_signed = p.x.dtype == DType::kI8;
  const int32_t q = is_signed ? static_cast<int8_t>(x) : static_cast<int32_t>(x);
  const float real = static_cast<float>(q - p.x.zero) * p.x.scale;
  const double result = limited(mapped(p.map(), static_cast<double>(real), 0), p.end.limits);
  const StepLimits range(p.y.dtype, p.y.scale, p.y.zero, {});
  double steps = static_cast<double>(static_cast<float>(result) / p.y.scale);
  if (steps != steps) steps = 0;
  steps = std::clamp(steps, static_cast<double>(range.low), static_cast<double>(range.high));
  return static_cast<uint8_t>(static_cast<int32_t>(std::nearbyint(steps)) + p.y.zero);
}

}  // namespace linnet
