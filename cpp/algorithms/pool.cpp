// Max and average pooling, a row of windows at a time, of channels-last data or of planes, which
// few channels are faster in and take less memory.

#include <algorithm>
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

struct PoolArgs {
  PoolCode code;
  Window window;
  int64_t n;
  Dims in, out;
  int64_t channels;          // of a pixel's own, padded
  int64_t x_pixel, y_pixel;  // from one to the next
};

// The window rows of output row `out` that lie inside the image, and how many count in a divisor.
struct WindowRows {
  int64_t first, count;  // of the image
  int64_t divisor;

  WindowRows(const Window& w, int64_t height, int64_t out) {
    const int64_t top = out * w.stride[0] - w.pad[0], d = w.dilation[0];
    const int64_t above = top < 0 ? ceil_div(-top, d) : 0;
    first = top + above * d;
    count = std::max<int64_t>(0, std::min(w.kernel[0], ceil_div(height - top, d)) - above);
    divisor = w.include_pad ? std::min(w.kernel[0], height + w.pad[2] - top) : count;
  }
};

// A row of the result, of the image that `x` and `y` begin with, from those rows of it on.
void run_row(const PoolArgs& a, const FloatOperands& o, const float* x, float* y,
             const RowRange& begin, int64_t out) {
  const Window& w = a.window;
  const WindowRows rows(w, a.in.h, out);
  PoolRow row{};
  row.x_col = a.x_pixel, row.x_row = a.in.w * a.x_pixel * w.dilation[0];
  row.x = x + (rows.first - begin.x_first) * a.in.w * a.x_pixel;
  row.rows = static_cast<int>(rows.count);
  row.w = a.in.w;
  row.kernel_w = static_cast<int>(w.kernel[1]), row.stride_w = static_cast<int>(w.stride[1]);
  row.dilation_w = static_cast<int>(w.dilation[1]);
  row.pad_l = static_cast<int>(w.pad[1]), row.pad_r = static_cast<int>(w.pad[3]);
  row.channels = a.channels;
  row.y = y + (out - begin.y_first) * a.out.w * a.y_pixel, row.y_col = a.y_pixel;
  row.out_w = a.out.w;
  row.include_pad = w.include_pad;
  row.divisor_rows = static_cast<int>(rows.divisor);
  const auto pool = a.code == PoolCode::kMax ? o.kernels.max_pool_row : o.kernels.average_pool_row;
  pool(row);
}

void run_pool(const PoolArgs& a, const FloatOperands& o) {
  o.pool.parallel_for(a.n * a.out.h, [&](int64_t task, int) {
    const int64_t image = task / a.out.h;
    run_row(a, o, o.x + image * a.in.h * a.in.w * a.x_pixel,
            o.y + image * a.out.h * a.out.w * a.y_pixel, {}, task % a.out.h);
  });
}

void run_pool_rows(const PoolArgs& a, const FloatOperands& o, const RowRange& rows) {
  o.pool.parallel_for(rows.last - rows.first,
                      [&](int64_t task, int) { run_row(a, o, o.x, o.y, rows, rows.first + task); });
}

constexpr auto kRowsCode = plan_code<&run_pool, &run_pool_rows>("pool_rows");

// Columns of the padded image that the windows of a row reach; in double, since they may be any
// numbers.
double columns_reached(const Problem& p) {
  const Window& w = p.pool().window;
  return static_cast<double>(p.y.dims.w - 1) * static_cast<double>(w.stride[1]) +
         static_cast<double>(w.kernel[1] - 1) * static_cast<double>(w.dilation[1]) + 1;
}
constexpr double kMostColumns = 1 << 22;

struct PlanePoolArgs {
  PoolCode code;
  Window window;
  int64_t n;
  Dims in, out;
  int64_t x_image, y_image;         // from one to the next
  int64_t columns, stride, length;  // as PoolPlane has them
  int64_t line_floats, thread_floats;
};
// Of its weights: where the taps of a window begin, and one over the divisors of an average.
enum : uint8_t { kTaps, kScales };

void run_plane_pool(const PlanePoolArgs& a, const FloatOperands& o) {
  const Window& w = a.window;
  const auto pool =
      a.code == PoolCode::kMax ? o.kernels.max_pool_plane : o.kernels.average_pool_plane;
  o.pool.parallel_for(a.n * a.out.c * a.out.h, [&](int64_t task, int thread) {
    const int64_t plane = task / a.out.h, image = plane / a.out.c, channel = plane % a.out.c;
    const WindowRows rows(w, a.in.h, task % a.out.h);
    PoolPlane row{};
    row.x = o.x + image * a.x_image + (channel * a.in.h + rows.first) * a.in.w;
    row.x_row = a.in.w * w.dilation[0];
    row.rows = rows.count;
    row.w = std::min(a.in.w, a.columns - w.pad[1]);
    row.pad_l = w.pad[1];
    row.columns = a.columns;
    row.stride = a.stride;
    row.line = o.workspace + thread * a.thread_floats;
    row.lines = row.line + a.line_floats, row.length = a.length;
    row.taps = static_cast<const int32_t*>(o.weights[kTaps]), row.kernel = w.kernel[1];
    row.y = o.y + image * a.y_image + (channel * a.out.h + task % a.out.h) * a.out.w;
    row.out_w = a.out.w;
    row.scales = o.floats(kScales), row.divisor_rows = rows.divisor;
    pool(row);
  });
}

constexpr auto kPlanesCode = plan_code<&run_plane_pool>("pool_planes");

Plan prepare_plane_pool(const Problem& p, const Context& context) {
  const Window& w = p.pool().window;
  const int width = context.kernels.width;
  PlanePoolArgs a{};
  a.code = p.pool().code, a.window = w, a.n = p.n, a.in = p.x.dims, a.out = p.y.dims;
  a.x_image = p.x.image(width), a.y_image = p.y.image(width);
  a.columns = static_cast<int64_t>(columns_reached(p));
  a.stride = a.out.w == 1 ? 1 : w.stride[1];
  a.length = ceil_div(a.columns, a.stride) + 2 * width;
  a.line_floats = a.columns + 4 * width;
  a.thread_floats = round_up(a.line_floats + (a.stride > 1 ? a.stride * a.length : 0), 64);
  std::vector<int32_t> taps;
  for (int64_t t = 0; t < w.kernel[1]; ++t) {
    const int64_t column = t * w.dilation[1];
    taps.push_back(static_cast<int32_t>(column % a.stride * a.length + column / a.stride));
  }
  std::vector<float> scales;
  if (a.code == PoolCode::kAverage) scales.resize(static_cast<size_t>(round_up(a.out.w, width)));
  for (int64_t o = 0; !scales.empty() && o < a.out.w; ++o) {
    const int64_t left = o * w.stride[1] - w.pad[1];
    const int64_t first = w.include_pad ? left : std::max<int64_t>(0, left);
    const int64_t last = std::min(left + w.kernel[1], w.include_pad ? a.in.w + w.pad[3] : a.in.w);
    scales[static_cast<size_t>(o)] = 1.0f / static_cast<float>(last - first);
  }
  return make_plan(kPlanesCode, a, context, float_bytes(p.threads * a.thread_floats),
                   {plan_table(taps), plan_table(scales)});
}

class Pool final : public Algorithm {
 public:
  const char* name() const override { return "pool"; }
  Kinds kinds() const override { return {Kind::kPool}; }
  std::string objection(const Problem& p, const Context&) const override {
    if (p.x.layout != p.y.layout) return "reads and writes the same layout only";
    // Taps further apart than the image is long may all miss it; the maximum of none is -infinity,
    // which must not reach the padding lanes. Closer ones cannot, since padding is smaller than the
    // window.
    if (p.pool().window.dilation[0] > p.x.dims.h || p.pool().window.dilation[1] > p.x.dims.w)
      return "a window may cover padding only";
    if (p.x.layout == Layout::kNchw && columns_reached(p) > kMostColumns)
      return "the padded window is too large";
    return "";
  }
  double cost(const Problem& p, const Context& context) const override {
    const int width = context.kernels.width;
    const double bytes = static_cast<double>(p.n * (image_stride(p.x.dims, p.x.layout, width) +
                                                    image_stride(p.y.dims, p.y.layout, width))) *
                         sizeof(float);
    const auto rows = static_cast<double>(p.n * p.y.dims.h);
    const double cycles =
        p.x.layout == Layout::kNhwc ? rows * row_cycles(p, width) : rows * plane_cycles(p, width);
    const double tasks = p.x.layout == Layout::kNhwc ? rows : rows * p.y.dims.c;
    return parallel_cycles(cycles + stream_cycles(bytes, bytes), tasks, p.threads) + 200;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    if (p.x.layout == Layout::kNchw) return prepare_plane_pool(p, context);
    const int width = context.kernels.width;
    const PoolArgs a{p.pool().code,    p.pool().window, p.n,
                     p.x.dims,         p.y.dims,        round_up(p.x.dims.c, width),
                     p.x.pixel(width), p.y.pixel(width)};
    return make_plan(kRowsCode, a, context);
  }

 private:
  // Of a row of windows, all channels.
  static double row_cycles(const Problem& p, int width) {
    const Window& w = p.pool().window;
    return static_cast<double>(p.y.dims.w * ceil_div(p.x.dims.c, width)) *
           (static_cast<double>(w.kernel[0]) * static_cast<double>(w.kernel[1]) + 2);
  }
  static double plane_cycles(const Problem& p, int width) {
    const Window& w = p.pool().window;
    const double columns = columns_reached(p);
    const double reduced = columns / width * (static_cast<double>(w.kernel[0]) + 2);
    const double divided = w.stride[1] == 1 || p.y.dims.w == 1 ? 0
                           : w.stride[1] == 2                  ? 2 * columns / width
                                                               : 1.5 * columns;
    const double combined =
        static_cast<double>(ceil_div(p.y.dims.w, width)) * (static_cast<double>(w.kernel[1]) + 3);
    return static_cast<double>(p.y.dims.c) * (reduced + divided + combined + 60);
  }
};

const Pool kPool;
const RegisterAlgorithm kRegistered(&kPool);

}  // namespace
}  // namespace linnet
