// Functions and pools of integers of 8 bits that stand for reals, and the way from reals to them
// and back. A function of one input is a table of 256.

#include <algorithm>
#include <utility>

#include "algorithms/cost.h"
#include "algorithms/integer.h"

namespace linnet {
namespace {

constexpr int64_t kPiece = 4096;       // numbers of a task
constexpr double kMostTaps = 1 << 23;  // of a window, whose sum of bytes int32 holds

// Numbers side by side, in runs that lie some numbers apart in each operand.
struct IntegerMapArgs {
  MapCode code;
  bool real_x, real_y;
  int64_t runs, run;
  int64_t zeros;  // of reals behind each run
  int64_t x_step, z_step, y_step;
  int64_t pieces;  // of a run
  IntegerSteps steps;
};

void run_integer_map(const IntegerMapArgs& a, const Operands& o) {
  const Kernels& kernels = *o.kernels;
  const int64_t x_size = a.real_x ? sizeof(float) : 1, y_size = a.real_y ? sizeof(float) : 1;
  const auto kernel = a.real_x                  ? kernels.quantize
                      : a.real_y                ? kernels.dequantize
                      : a.code == MapCode::kAdd ? kernels.integer_add
                      : a.code == MapCode::kMul ? kernels.integer_multiply
                                                : kernels.look_up;
  const int64_t bands = std::max<int64_t>(1, std::min(a.runs, a.runs * a.run / kPiece));
  o.pool.parallel_for(bands * a.pieces, [&](int64_t task, int) {
    const int64_t band = task / a.pieces, piece = task % a.pieces;
    const int64_t begin = a.run * piece / a.pieces;
    IntegerRows rows{};
    static_cast<IntegerSteps&>(rows) = a.steps;
    rows.count = a.run * (piece + 1) / a.pieces - begin;
    rows.table = static_cast<const uint8_t*>(o.weights[0]);
    for (int64_t i = a.runs * band / bands; i < a.runs * (band + 1) / bands; ++i) {
      rows.x = static_cast<const char*>(o.x) + (i * a.x_step + begin) * x_size;
      if (o.operand) rows.z = static_cast<const char*>(o.operand) + i * a.z_step + begin;
      rows.y = static_cast<char*>(o.y) + (i * a.y_step + begin) * y_size;
      kernel(rows);
      auto* end = static_cast<float*>(o.y) + i * a.y_step + a.run;
      if (a.zeros > 0) std::fill(end, end + a.zeros, 0.0f);
    }
  });
}

constexpr auto kMapCode = plan_code<&run_integer_map>("integer_map");

// Runs of the numbers of images: all where nothing lies between them.
void set_runs(const Problem& p, int width, IntegerMapArgs* a) {
  const bool last = p.y.layout == Layout::kNhwc;
  const bool slices = p.x.pitch || p.y.pitch || (p.binary() && p.z.pitch);
  // Behind channels of floats there are zeros, which the integers there need not stand for.
  const bool pads = last && a->real_y && p.y.dims.c % width != 0;
  const int64_t pixels = p.y.dims.h * p.y.dims.w;
  if (last && (slices || pads)) {
    a->runs = p.n * pixels, a->run = pads ? p.y.dims.c : round_up(p.y.dims.c, width);
    a->zeros = pads ? round_up(p.y.dims.c, width) - p.y.dims.c : 0;
    a->x_step = p.x.pixel(width), a->y_step = p.y.pixel(width), a->z_step = p.z.pixel(width);
  } else {
    a->runs = p.n, a->run = last ? pixels * round_up(p.y.dims.c, width) : p.y.dims.count();
    a->x_step = p.x.image(width), a->y_step = p.y.image(width), a->z_step = p.z.image(width);
    if (!slices) a->run *= a->runs, a->runs = 1;
  }
  a->pieces = p.threads > 1 && a->runs == 1 ? std::max<int64_t>(1, a->run / kPiece) : 1;
}

class IntegerMap final : public Algorithm {
 public:
  const char* name() const override { return "integer-map"; }
  Kinds kinds() const override { return {Kind::kMap}; }
  bool any_types() const override { return true; }
  double cost(const Problem& p, const Context& context) const override {
    const double numbers = static_cast<double>(p.n * p.y.image(context.kernels.width));
    const double vectors = numbers / context.kernels.width;
    const double bytes = numbers * static_cast<double>(size_of(p.x.dtype) + size_of(p.y.dtype));
    const bool table = is_byte(p.x.dtype) && is_byte(p.y.dtype) && !p.binary();
    return parallel_cycles((table ? numbers : 6 * vectors) + stream_cycles(bytes, bytes),
                           numbers / kPiece, p.threads) +
           100;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    IntegerMapArgs a{};
    a.code = p.map().code, a.real_x = p.x.dtype == DType::kF32, a.real_y = p.y.dtype == DType::kF32;
    set_runs(p, context.kernels.width, &a);
    IntegerSteps& steps = a.steps;
    const Function& f = p.map();
    if (a.real_y) {
      steps.scale = f.a, steps.x_flip = static_cast<uint8_t>(flip_of(p.x.dtype));
      steps.x_zero = f.b + (p.x.dtype == DType::kI8 ? 128.0f : 0.0f);
      return make_plan(kMapCode, a, context, 0, {{nullptr, 0}});
    }
    if (a.real_x) {
      const StepLimits limits(p.y.dtype, f.a, static_cast<int32_t>(f.b), p.end.limits);
      steps.scale = f.a, steps.zero = static_cast<int32_t>(f.b);
      steps.low = limits.low, steps.high = limits.high;
      return make_plan(kMapCode, a, context, 0, {{nullptr, 0}});
    }
    if (p.binary()) {
      const StepLimits limits(p.y.dtype, p.y.scale, p.y.zero, p.end.limits);
      steps.low = limits.low, steps.high = limits.high, steps.zero = p.y.zero;
      steps.x_flip = static_cast<uint8_t>(flip_of(p.x.dtype));
      steps.z_flip = static_cast<uint8_t>(flip_of(p.z.dtype));
      steps.x_zero = static_cast<float>(unsigned_zero(p.x));
      steps.z_zero = static_cast<float>(unsigned_zero(p.z));
      steps.scale = quotient(p.x.scale, p.y.scale), steps.z_scale = quotient(p.z.scale, p.y.scale);
      if (a.code == MapCode::kMul)
        steps.scale = quotient(static_cast<double>(p.x.scale) * p.z.scale, p.y.scale);
      return make_plan(kMapCode, a, context, 0, {{nullptr, 0}});
    }
    const auto table = table_of(p.map(), p.end.limits, p.end.gate, p.x, p.y);
    return make_plan(kMapCode, a, context, 0, {plan_table(table)});
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    const MapCode code = p.map().code;
    if (!p.quantized() && code != MapCode::kQuantize) return "for integers that stand for reals";
    if (!is_byte(p.y.dtype) && code != MapCode::kDequantize) return "gives integers of 8 bits";
    if (p.x.layout != p.y.layout) return "does not change the layout";
    if (!p.binary()) return "";
    if (code != MapCode::kAdd && code != MapCode::kMul) return "adds and multiplies only";
    if (!is_byte(p.z.dtype) || p.map().z_constant || p.z.dims != p.x.dims)
      return "both operands are integers of one shape";
    return "";
  }
};

struct IntegerPoolArgs {
  PoolCode code;
  Window window;
  int64_t n;
  Operand x, y;
  StepLimits limits;
  int64_t channels;
};

void run_integer_pool(const IntegerPoolArgs& a, const Operands& o) {
  const Kernels& kernels = *o.kernels;
  const int width = kernels.width;
  const Window& w = a.window;
  const int64_t x_pixel = a.x.pixel(width), y_pixel = a.y.pixel(width);
  const auto clipped = [](int64_t start, int64_t step, int64_t kernel, int64_t size) {
    const int64_t first = start < 0 ? ceil_div(-start, step) : 0;
    const int64_t stop = std::min(kernel, ceil_div(size - start, step));
    return std::pair<int64_t, int64_t>(first, std::max<int64_t>(0, stop - first));
  };
  o.pool.parallel_for(a.n * a.y.dims.h, [&](int64_t task, int) {
    const int64_t image = task / a.y.dims.h, row = task % a.y.dims.h;
    const int64_t top = row * w.stride[0] - w.pad[0];
    const auto [first_row, rows] = clipped(top, w.dilation[0], w.kernel[0], a.x.dims.h);
    const auto* x = static_cast<const uint8_t*>(o.x) + image * a.x.image(width) +
                    (top + first_row * w.dilation[0]) * a.x.dims.w * x_pixel;
    auto* y = static_cast<uint8_t*>(o.y) + image * a.y.image(width) + row * a.y.dims.w * y_pixel;
    IntegerPool pool{};
    pool.flip = static_cast<uint8_t>(flip_of(a.x.dtype));
    pool.x_row = w.dilation[0] * a.x.dims.w * x_pixel, pool.x_col = w.dilation[1] * x_pixel;
    pool.rows = rows, pool.channels = a.channels;
    pool.low = a.limits.low, pool.high = a.limits.high, pool.zero = a.y.zero;
    const int64_t padded_rows = std::min(w.kernel[0], a.x.dims.h + w.pad[2] - top);
    for (int64_t i = 0; i < a.y.dims.w; ++i) {
      const int64_t left = i * w.stride[1] - w.pad[1];
      const auto [first, cols] = clipped(left, w.dilation[1], w.kernel[1], a.x.dims.w);
      pool.x = x + (left + first * w.dilation[1]) * x_pixel;
      pool.y = y + i * y_pixel, pool.cols = cols;
      if (a.code == PoolCode::kMax) {
        kernels.integer_max(pool);
        continue;
      }
      const int64_t padded_cols = std::min(w.kernel[1], a.x.dims.w + w.pad[3] - left);
      const int64_t divisor = w.include_pad ? padded_rows * padded_cols : rows * cols;
      pool.scale =
          quotient(a.x.scale, static_cast<double>(a.y.scale) * static_cast<double>(divisor));
      pool.bias = static_cast<int32_t>(-rows * cols * unsigned_zero(a.x));
      kernels.integer_average(pool);
    }
  });
}

constexpr auto kPoolCode = plan_code<&run_integer_pool>("integer_pool");

class IntegerPools final : public Algorithm {
 public:
  const char* name() const override { return "integer-pool"; }
  Kinds kinds() const override { return {Kind::kPool}; }
  bool any_types() const override { return true; }
  double cost(const Problem& p, const Context& context) const override {
    const Window& w = p.pool().window;
    const double taps = static_cast<double>(w.kernel[0]) * static_cast<double>(w.kernel[1]);
    const double numbers = static_cast<double>(p.n * p.y.image(context.kernels.width));
    return parallel_cycles(numbers / context.kernels.width * (taps + 4),
                           static_cast<double>(p.n * p.y.dims.h), p.threads) +
           200;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    const IntegerPoolArgs a{p.pool().code,
                            p.pool().window,
                            p.n,
                            p.x,
                            p.y,
                            StepLimits(p.y.dtype, p.y.scale, p.y.zero, {}),
                            round_up(p.x.dims.c, context.kernels.width)};
    return make_plan(kPoolCode, a, context);
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    if (!p.quantized() || !is_byte(p.y.dtype)) return "for integers of 8 bits only";
    if (p.pool().code == PoolCode::kMax && p.x.dtype != p.y.dtype)
      return "a maximum keeps its type";
    if (p.x.layout != Layout::kNhwc || p.y.layout != Layout::kNhwc) return "channels last only";
    const Window& w = p.pool().window;
    if (w.dilation[0] > p.x.dims.h || w.dilation[1] > p.x.dims.w)
      return "a window may cover padding only";
    const double taps = static_cast<double>(std::min(w.kernel[0], p.x.dims.h)) *
                        static_cast<double>(std::min(w.kernel[1], p.x.dims.w));
    if (taps > kMostTaps) return "a sum may not fit int32";
    return "";
  }
};

const IntegerMap kIntegerMap;
const IntegerPools kIntegerPools;
const RegisterAlgorithm kRegistered[] = {RegisterAlgorithm(&kIntegerMap),
                                         RegisterAlgorithm(&kIntegerPools)};

}  // namespace
}  // namespace linnet
