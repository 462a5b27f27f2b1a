// Quantized layers in plain loops, in every layout: what the other algorithms of integers must
// equal to the last bit, and what runs where they all refuse. Compiled without contraction of
// products and sums to one rounding.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "algorithms/integer.h"

namespace linnet {
namespace {

struct IntegerRefArgs {
  Kind kind;
  Window window;
  int64_t groups;
  MapCode code;
  bool average;
  int64_t n;
  Operand x, y, z;
  Strides x_steps, y_steps, z_steps;
  Rounding end;
  StepLimits limits;
  float low, high;  // of reals
  float scale, z_scale;
};

struct Place {
  int64_t image, c, h, w;
  int64_t in(const Strides& s) const { return image * s.n + c * s.c + h * s.h + w * s.w; }
};

int32_t byte_at(const void* data, DType type, int64_t at) {
  return type == DType::kI8 ? static_cast<const int8_t*>(data)[at]
                            : static_cast<const uint8_t*>(data)[at];
}

void put(const IntegerRefArgs& a, void* y, int64_t at, float v) {
  v = std::min(std::max(v, a.limits.low), a.limits.high);
  const auto q = static_cast<int32_t>(std::nearbyint(v)) + a.y.zero;
  static_cast<uint8_t*>(y)[at] = static_cast<uint8_t>(q);
}

int32_t sum_of(const IntegerRefArgs& a, const Operands& o, const Place& at) {
  const Window& w = a.window;
  const int64_t channels = a.x.dims.c / a.groups, rows = w.kernel[0], cols = w.kernel[1];
  const int64_t first = at.c / (a.y.dims.c / a.groups) * channels;
  const auto* weight =
      static_cast<const int16_t*>(o.weights[kIntegerWeights]) + at.c * channels * rows * cols;
  auto sum = static_cast<uint32_t>(static_cast<const int32_t*>(o.weights[kIntegerBias])[at.c]);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t h = at.h * w.stride[0] - w.pad[0] + r * w.dilation[0];
      for (int64_t s = 0; s < cols; ++s, ++weight) {
        const int64_t i = at.w * w.stride[1] - w.pad[1] + s * w.dilation[1];
        if (h < 0 || h >= a.x.dims.h || i < 0 || i >= a.x.dims.w) continue;
        const int32_t x = byte_at(o.x, a.x.dtype, Place{at.image, first + c, h, i}.in(a.x_steps));
        sum += static_cast<uint32_t>((x - a.x.zero) * *weight);
      }
    }
  }
  return static_cast<int32_t>(sum);
}

void product(const IntegerRefArgs& a, const Operands& o, const Place& at) {
  const float scale = static_cast<const float*>(o.weights[kIntegerScales])[at.c];
  float v = static_cast<float>(sum_of(a, o, at)) * scale;
  const int64_t to = at.in(a.y_steps);
  if (a.end.real) {
    static_cast<float*>(o.y)[to] = std::min(std::max(v, a.low), a.high);
    return;
  }
  if (a.end.between) {
    v = std::min(std::max(v, a.end.between_low), a.end.between_high);
    v = std::nearbyint(v) * a.end.factor;
  }
  if (o.operand) {
    const int32_t z = byte_at(o.operand, a.z.dtype, at.in(a.z_steps)) - a.z.zero;
    const float other = static_cast<float>(z) * a.end.z_factor;
    v = v + other;
  }
  put(a, o.y, to, v);
  look_up(o, static_cast<uint8_t*>(o.y) + to, 1, 1, 1);
}

// The taps of a window that lie inside the image along an axis: a window may be any larger than it.
struct Taps {
  int64_t first, last;
  Taps(const Window& w, int axis, int64_t start, int64_t size) {
    const int64_t step = w.dilation[axis];
    first = start < 0 ? ceil_div(-start, step) : 0;
    last = std::min(w.kernel[axis], start < size ? ceil_div(size - start, step) : 0);
  }
};

void pool(const IntegerRefArgs& a, const Operands& o, const Place& at) {
  const Window& w = a.window;
  const Dims& in = a.x.dims;
  const int64_t top = at.h * w.stride[0] - w.pad[0], left = at.w * w.stride[1] - w.pad[1];
  const Taps rows(w, 0, top, in.h), cols(w, 1, left, in.w);
  int32_t most = std::numeric_limits<int32_t>::min();
  int64_t sum = 0, inside = 0;
  for (int64_t r = rows.first; r < rows.last; ++r) {
    for (int64_t s = cols.first; s < cols.last; ++s, ++inside) {
      const Place tap{at.image, at.c, top + r * w.dilation[0], left + s * w.dilation[1]};
      const int32_t x = byte_at(o.x, a.x.dtype, tap.in(a.x_steps));
      most = std::max(most, x), sum += x - a.x.zero;
    }
  }
  int64_t divisor =
      std::min(w.kernel[0], in.h + w.pad[2] - top) * std::min(w.kernel[1], in.w + w.pad[3] - left);
  const int64_t to = at.in(a.y_steps);
  if (!a.average) {
    if (!inside) most = ByteRange(a.x.dtype).low;
    static_cast<uint8_t*>(o.y)[to] = static_cast<uint8_t>(most);
    return;
  }
  if (!w.include_pad) divisor = inside;
  put(a, o.y, to,
      static_cast<float>(sum) *
          quotient(a.x.scale, static_cast<double>(a.y.scale) * static_cast<double>(divisor)));
}

void map(const IntegerRefArgs& a, const Operands& o, const Place& at) {
  const int64_t from = at.in(a.x_steps), to = at.in(a.y_steps);
  if (a.code == MapCode::kDequantize) {
    const auto q = static_cast<float>(byte_at(o.x, a.x.dtype, from) - a.x.zero);
    static_cast<float*>(o.y)[to] = q * a.scale;
  } else if (a.x.dtype == DType::kF32) {
    const float x = static_cast<const float*>(o.x)[from];
    put(a, o.y, to, x == x ? x / a.scale : 0);
  } else if (o.operand) {
    const auto x = static_cast<float>(byte_at(o.x, a.x.dtype, from) - a.x.zero);
    const auto z = static_cast<float>(byte_at(o.operand, a.z.dtype, at.in(a.z_steps)) - a.z.zero);
    if (a.code == MapCode::kMul) return put(a, o.y, to, x * z * a.scale);
    const float first = x * a.scale, second = z * a.z_scale;
    put(a, o.y, to, first + second);
  } else {
    const auto* table = static_cast<const uint8_t*>(o.weights[0]);
    static_cast<uint8_t*>(o.y)[to] = table[static_cast<const uint8_t*>(o.x)[from]];
  }
}

void run_integer_ref(const IntegerRefArgs& a, const Operands& o) {
  const Dims& d = a.y.dims;
  o.pool.parallel_for(a.n * d.c, [&](int64_t task, int) {
    Place at{task / d.c, task % d.c, 0, 0};
    for (at.h = 0; at.h < d.h; ++at.h) {
      for (at.w = 0; at.w < d.w; ++at.w) {
        if (a.kind == Kind::kPool) {
          pool(a, o, at);
        } else if (a.kind == Kind::kMap) {
          map(a, o, at);
        } else {
          product(a, o, at);
        }
      }
    }
    // Behind the last channel of a float32 image are zeros.
    if (a.y.dtype != DType::kF32 || a.y.layout != Layout::kNhwc || at.c + 1 < d.c) return;
    const int64_t lanes = a.y.pitch ? d.c : a.y_steps.w;
    for (int64_t pixel = 0; pixel < d.h * d.w; ++pixel) {
      float* y = static_cast<float*>(o.y) + at.image * a.y_steps.n + pixel * a.y_steps.w;
      for (int64_t c = d.c; c < lanes; ++c) y[c] = 0;
    }
  });
}

constexpr auto kCode = plan_code<&run_integer_ref>("integer_ref");

class IntegerRef final : public Algorithm {
 public:
  const char* name() const override { return "integer-ref"; }
  Kinds kinds() const override { return {Kind::kConv, Kind::kMatmul, Kind::kPool, Kind::kMap}; }
  bool any_weights() const override { return true; }
  bool any_types() const override { return true; }
  bool uses_kernels() const override { return false; }
  double cost(const Problem& p, const Context&) const override {
    return 1e6 + 20 * (p.macs() + static_cast<double>(p.n * p.y.dims.count()));
  }
  Plan prepare(const Problem& p, const Weight* weight, const Weight* bias,
               const Context& context) const override {
    const int width = context.kernels.width;
    IntegerRefArgs a{p.kind(),
                     {},
                     1,
                     MapCode::kCopy,
                     false,
                     p.n,
                     p.x,
                     p.y,
                     p.z,
                     Strides(p.x, width),
                     Strides(p.y, width),
                     Strides(p.z, width),
                     {},
                     StepLimits(p.y.dtype, p.y.scale, p.y.zero, p.end.limits),
                     p.end.limits.low,
                     p.end.limits.high,
                     1,
                     1};
    if (p.kind() == Kind::kPool) {
      a.window = p.pool().window, a.average = p.pool().code == PoolCode::kAverage;
      return make_plan(kCode, a, context);
    }
    if (p.kind() == Kind::kMap) return prepare_map(p, a, context);
    a.end = rounding(p);
    if (p.end.then.code != MapCode::kCopy) {  // y holds the integers between, until they are mapped
      const Between between = between_of(p);
      a.limits = StepLimits(between.dtype, between.scale, between.zero, between.limits);
      a.y.zero = between.zero;
    }
    if (p.kind() == Kind::kConv) {
      a.window = p.conv().window, a.groups = p.conv().groups;
    } else {
      a.window.kernel[0] = p.x.dims.h, a.window.kernel[1] = p.x.dims.w;
    }
    const Weight loaded = weight->loaded();
    auto weights = context.weights.get_bytes(
        weight, "integers", static_cast<size_t>(loaded.count()) * sizeof(int16_t),
        [&](const Weight& w, void* out) {
          const int64_t taps = p.taps();
          for (int64_t i = 0; i < w.count(); ++i)
            static_cast<int16_t*>(out)[i] = static_cast<int16_t>(w.integer(i / taps, i));
        });
    const IntegerTables tables = integer_tables(p, loaded, bias, 1, 1, 0);
    return make_plan(
        kCode, a, context, 0,
        {weights, plan_table(tables.bias), plan_table(tables.scales), plan_table(table_after(p))});
  }

 private:
  static Plan prepare_map(const Problem& p, IntegerRefArgs a, const Context& context) {
    a.code = p.map().code;
    const bool quantizes = p.x.dtype == DType::kF32;
    if (quantizes || a.code == MapCode::kDequantize) {
      a.scale = p.map().a;
      (quantizes ? a.y : a.x).zero = static_cast<int32_t>(p.map().b);
      if (quantizes) a.limits = StepLimits(p.y.dtype, a.scale, a.y.zero, p.end.limits);
      return make_plan(kCode, a, context);
    }
    if (p.binary()) {
      a.scale = quotient(p.x.scale, p.y.scale), a.z_scale = quotient(p.z.scale, p.y.scale);
      if (a.code == MapCode::kMul)
        a.scale = quotient(static_cast<double>(p.x.scale) * p.z.scale, p.y.scale);
      a.z_steps.c *= p.z.dims.c > 1, a.z_steps.h *= p.z.dims.h > 1, a.z_steps.w *= p.z.dims.w > 1;
      return make_plan(kCode, a, context);
    }
    const auto table = table_of(p.map(), p.end.limits, p.end.gate, p.x, p.y);
    return make_plan(kCode, a, context, 0, {plan_table(table)});
  }
  std::string objection(const Problem& p, const Context&) const override {
    const bool quantizes = p.kind() == Kind::kMap && p.map().code == MapCode::kQuantize;
    if (!p.quantized() && !quantizes) return "for integers of 8 bits that stand for reals";
    if (p.kind() == Kind::kPool && !is_byte(p.y.dtype)) return "gives integers of 8 bits";
    if (p.kind() == Kind::kPool && p.pool().code == PoolCode::kMax && p.x.dtype != p.y.dtype)
      return "a maximum keeps its type";
    if (p.kind() != Kind::kMap) return "";
    if (!is_byte(p.y.dtype) && p.map().code != MapCode::kDequantize)
      return "gives integers of 8 bits";
    if (!p.binary()) return "";
    if (p.map().code != MapCode::kAdd && p.map().code != MapCode::kMul)
      return "adds and multiplies only";
    if (!is_byte(p.z.dtype) || p.map().z_constant) return "both operands are integers";
    return "";
  }
};

const IntegerRef kIntegerRef;
const RegisterAlgorithm kRegistered(&kIntegerRef);

}  // namespace
}  // namespace linnet
