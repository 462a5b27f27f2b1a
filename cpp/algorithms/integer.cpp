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

Between between_of(const Problem& p) {
  if (p.end.between.scale > 0) return p.end.between;
  return {p.y.scale, p.y.zero, p.y.dtype, p.end.limits};
}

float sums_to(const Problem& p) { return is_byte(p.y.dtype) ? between_of(p).scale : 1; }

Rounding rounding(const Problem& p) {
  Rounding r{};
  if (!is_byte(p.y.dtype)) {
    r.real = true, r.low = p.end.limits.low, r.high = p.end.limits.high;
    return r;
  }
  const Between between = between_of(p);
  const StepLimits first(between.dtype, between.scale, between.zero, between.limits);
  if (p.end.then.code != MapCode::kCopy) {  // y holds the integers between, until they are mapped
    r.low = first.low, r.high = first.high, r.zero = between.zero;
    return r;
  }
  const StepLimits limits(p.y.dtype, p.y.scale, p.y.zero, p.end.limits);
  r.low = limits.low, r.high = limits.high, r.zero = p.y.zero;
  r.between = p.end.between.scale > 0;
  if (r.between) {
    r.between_low = first.low, r.between_high = first.high;
    r.factor = quotient(between.scale, p.y.scale);
  }
  if (!p.end.residual) return r;
  r.z_factor = quotient(p.z.scale, p.y.scale);
  r.z_zero = static_cast<float>(unsigned_zero(p.z)), r.flip = flip_of(p.z.dtype);
  return r;
}

void look_up(const Operands& o, void* y, int64_t pixels, int64_t y_pixel, int64_t channels) {
  IntegerRows rows{};
  rows.table = static_cast<const uint8_t*>(o.weights[kIntegerTable]);
  if (!rows.table) return;
  const bool whole = channels == y_pixel;
  rows.count = whole ? pixels * y_pixel : channels;
  auto* at = static_cast<uint8_t*>(y);
  for (int64_t i = 0; i < (whole ? 1 : pixels); ++i, at += y_pixel) {
    rows.x = rows.y = at;
    o.kernels->look_up(rows);
  }
}

IntegerTables integer_tables(const Problem& p, const Weight& given, const Weight* bias,
                             int64_t groups, int width, int32_t zero) {
  const Weight weight = given.loaded(), added = bias ? bias->loaded() : Weight();
  const int64_t k = p.y.dims.c, each = k / groups, padded = round_up(each, width);
  const int64_t taps = p.taps();
  IntegerTables tables;
  tables.scales.resize(static_cast<size_t>(groups * padded));
  tables.bias.resize(static_cast<size_t>(groups * padded));
  for (int64_t c = 0; c < k; ++c) {
    const auto at = static_cast<size_t>(c / each * padded + c % each);
    // In float32, as XNNPACK and ONNX Runtime have it: then their roundings are ours.
    const float step = p.x.scale * weight.scales[static_cast<size_t>(c)];
    tables.scales[at] = step / sums_to(p);
    constexpr double kMost = std::numeric_limits<int32_t>::max();
    double first = bias ? std::nearbyint(static_cast<double>(added.data[c]) / step) : 0;
    if (!(std::fabs(first) <= kMost)) first = first > 0 ? kMost : first < 0 ? -kMost : 0;
    // Sums may go round on their way: only where they end counts.
    auto sum = static_cast<uint32_t>(static_cast<int32_t>(first));
    if (zero) {
      uint32_t weights = 0;
      for (int64_t t = 0; t < taps; ++t)
        weights += static_cast<uint32_t>(weight.integer(c, c * taps + t));
      sum -= static_cast<uint32_t>(zero) * weights;
    }
    tables.bias[at] = static_cast<int32_t>(sum);
  }
  return tables;
}

namespace {

int32_t nearest(double real, float scale, int32_t zero, const StepLimits& range) {
  double steps = static_cast<double>(static_cast<float>(real) / scale);
  if (steps != steps) steps = 0;
  steps = std::clamp(steps, static_cast<double>(range.low), static_cast<double>(range.high));
  return static_cast<int32_t>(std::nearbyint(steps)) + zero;
}

}  // namespace

std::vector<uint8_t> table_of(const Function& f, const Limits& limits, const Between& gate,
                              const Operand& x, const Operand& y) {
  const StepLimits range(y.dtype, y.scale, y.zero, {});
  std::vector<uint8_t> table;
  for (int i = 0; i < 256; ++i) {
    const int32_t q = (x.dtype == DType::kI8 ? static_cast<int8_t>(i) : i) - x.zero;
    const float real = static_cast<float>(q) * x.scale;
    double result = limited(mapped(f, static_cast<double>(real), 0), limits);
    if (gate.scale > 0) {
      // As integer_multiply has it.
      const StepLimits between(gate.dtype, gate.scale, gate.zero, {});
      const int32_t factor = nearest(result, gate.scale, gate.zero, between) - gate.zero;
      const float scale = quotient(static_cast<double>(x.scale) * gate.scale, y.scale);
      const float v = static_cast<float>(q) * static_cast<float>(factor) * scale;
      const float steps = std::clamp(v, range.low, range.high);
      table.push_back(static_cast<uint8_t>(static_cast<int32_t>(std::nearbyint(steps)) + y.zero));
    } else {
      table.push_back(static_cast<uint8_t>(nearest(result, y.scale, y.zero, range)));
    }
  }
  return table;
}

std::vector<uint8_t> table_after(const Problem& p) {
  if (p.end.then.code == MapCode::kCopy) return {};
  const Between between = between_of(p);
  Operand x = p.y;
  x.dtype = between.dtype, x.scale = between.scale, x.zero = between.zero;
  return table_of(p.end.then, {}, p.end.gate, x, p.y);
}

}  // namespace linnet
