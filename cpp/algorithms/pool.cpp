// Max and average pooling, a row of windows at a time, of channels-last data or of planes, which
// few channels are faster in and take less memory.

#include <algorithm>
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

// The window rows of output row `out` that lie inside the image, and how many count in a divisor.
struct WindowRows {
  int64_t first, count;  // of the image
  int64_t divisor;

  WindowRows(const Problem& p, int64_t out) {
    const Window& w = p.pool().window;
    const int64_t top = out * w.stride[0] - w.pad[0], d = w.dilation[0], height = p.x.dims.h;
    const int64_t above = top < 0 ? ceil_div(-top, d) : 0;
    first = top + above * d;
    count = std::max<int64_t>(0, std::min(w.kernel[0], ceil_div(height - top, d)) - above);
    divisor = w.include_pad ? std::min(w.kernel[0], height + w.pad[2] - top) : count;
  }
};

class PoolPlan final : public PlanObject {
 public:
  PoolPlan(const Problem& problem, const Context& context)
      : p_(problem),
        kernels_(context.kernels),
        channels_(round_up(p_.x.dims.c, kernels_.width)),
        x_pixel_(p_.x.pixel(kernels_.width)),
        y_pixel_(p_.y.pixel(kernels_.width)) {}

  void run(const Operands& operands) const override {
    const FloatOperands o(operands);
    const Window& w = p_.pool().window;
    const Dims &in = p_.x.dims, &out = p_.y.dims;
    const auto pool =
        p_.pool().code == PoolCode::kMax ? kernels_.max_pool_row : kernels_.average_pool_row;
    o.pool.parallel_for(p_.n * out.h, [&](int64_t task, int) {
      const int64_t image = task / out.h;
      const WindowRows rows(p_, task % out.h);
      PoolRow row{};
      row.x_col = x_pixel_, row.x_row = in.w * x_pixel_ * w.dilation[0];
      row.x = o.x + (image * in.h + rows.first) * in.w * x_pixel_;
      row.rows = static_cast<int>(rows.count);
      row.w = in.w;
      row.kernel_w = static_cast<int>(w.kernel[1]), row.stride_w = static_cast<int>(w.stride[1]);
      row.dilation_w = static_cast<int>(w.dilation[1]);
      row.pad_l = static_cast<int>(w.pad[1]), row.pad_r = static_cast<int>(w.pad[3]);
      row.channels = channels_;
      row.y = o.y + task * out.w * y_pixel_, row.y_col = y_pixel_;
      row.out_w = out.w;
      row.include_pad = w.include_pad;
      row.divisor_rows = static_cast<int>(rows.divisor);
      pool(row);
    });
  }

 private:
  const Problem p_;
  const Kernels& kernels_;
  const int64_t channels_;  // padded
  const int64_t x_pixel_, y_pixel_;
};

// Columns of the padded image that the windows of a row reach; in double, since they may be any
// numbers.
double columns_reached(const Problem& p) {
  const Window& w = p.pool().window;
  return static_cast<double>(p.y.dims.w - 1) * static_cast<double>(w.stride[1]) +
         static_cast<double>(w.kernel[1] - 1) * static_cast<double>(w.dilation[1]) + 1;
}
constexpr double kMostColumns = 1 << 22;

class PlanePoolPlan final : public PlanObject {
 public:
  PlanePoolPlan(const Problem& problem, const Context& context)
      : p_(problem),
        kernels_(context.kernels),
        columns_(static_cast<int64_t>(columns_reached(p_))),
        stride_(p_.y.dims.w == 1 ? 1 : p_.pool().window.stride[1]),
        length_(ceil_div(columns_, stride_) + 2 * kernels_.width) {
    const Window& w = p_.pool().window;
    for (int64_t t = 0; t < w.kernel[1]; ++t) {
      const int64_t column = t * w.dilation[1];
      taps_.push_back(column % stride_ * length_ + column / stride_);
    }
    if (p_.pool().code != PoolCode::kAverage) return;
    scales_.assign(static_cast<size_t>(round_up(p_.y.dims.w, kernels_.width)), 0.0f);
    for (int64_t o = 0; o < p_.y.dims.w; ++o) {
      const int64_t left = o * w.stride[1] - w.pad[1], width = p_.x.dims.w;
      const int64_t first = w.include_pad ? left : std::max<int64_t>(0, left);
      const int64_t last = std::min(left + w.kernel[1], w.include_pad ? width + w.pad[3] : width);
      scales_[static_cast<size_t>(o)] = 1.0f / static_cast<float>(last - first);
    }
  }

  size_t workspace() const override { return float_bytes(p_.threads * thread_floats()); }

  void run(const Operands& operands) const override {
    const FloatOperands o(operands);
    const Window& w = p_.pool().window;
    const Dims &in = p_.x.dims, &out = p_.y.dims;
    const auto pool =
        p_.pool().code == PoolCode::kMax ? kernels_.max_pool_plane : kernels_.average_pool_plane;
    o.pool.parallel_for(p_.n * out.c * out.h, [&](int64_t task, int thread) {
      const int64_t plane = task / out.h, image = plane / out.c, channel = plane % out.c;
      const WindowRows rows(p_, task % out.h);
      PoolPlane row{};
      row.x = o.x + image * p_.x.image(kernels_.width) + (channel * in.h + rows.first) * in.w;
      row.x_row = in.w * w.dilation[0];
      row.rows = rows.count;
      row.w = std::min(in.w, columns_ - w.pad[1]);
      row.pad_l = w.pad[1];
      row.columns = columns_;
      row.stride = stride_;
      row.line = o.workspace + thread * thread_floats();
      row.lines = row.line + line_floats(), row.length = length_;
      row.taps = taps_.data(), row.kernel = w.kernel[1];
      row.y = o.y + image * p_.y.image(kernels_.width) + (channel * out.h + task % out.h) * out.w;
      row.out_w = out.w;
      row.scales = scales_.data(), row.divisor_rows = rows.divisor;
      pool(row);
    });
  }

 private:
  int64_t line_floats() const { return columns_ + 4 * kernels_.width; }
  int64_t thread_floats() const {
    return round_up(line_floats() + (stride_ > 1 ? stride_ * length_ : 0), 64);
  }

  const Problem p_;
  const Kernels& kernels_;
  const int64_t columns_, stride_, length_;
  std::vector<ptrdiff_t> taps_;
  std::vector<float> scales_;
};

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
    if (p.x.layout == Layout::kNchw)
      return plan_of(std::make_unique<PlanePoolPlan>(p, context), context);
    return plan_of(std::make_unique<PoolPlan>(p, context), context);
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
