// Max and average pooling on channels-last data, a row of windows at a time.

#include <algorithm>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

class PoolPlan final : public Plan {
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
      const int64_t image = task / out.h, oh = task % out.h;
      const int64_t top = oh * w.stride[0] - w.pad[0];
      const int64_t d = w.dilation[0];
      const int64_t first = top < 0 ? ceil_div(-top, d) : 0;
      const int64_t last = std::min(w.kernel[0], ceil_div(in.h - top, d));
      PoolRow row{};
      row.x_col = x_pixel_, row.x_row = in.w * x_pixel_ * d;
      row.x = o.x + (image * in.h + top + first * d) * in.w * x_pixel_;
      row.rows = static_cast<int>(last - first);
      row.w = in.w;
      row.kernel_w = static_cast<int>(w.kernel[1]), row.stride_w = static_cast<int>(w.stride[1]);
      row.dilation_w = static_cast<int>(w.dilation[1]);
      row.pad_l = static_cast<int>(w.pad[1]), row.pad_r = static_cast<int>(w.pad[3]);
      row.channels = channels_;
      row.y = o.y + task * out.w * y_pixel_, row.y_col = y_pixel_;
      row.out_w = out.w;
      row.include_pad = w.include_pad;
      row.divisor_rows = w.include_pad
                             ? static_cast<int>(std::min(top + w.kernel[0], in.h + w.pad[2]) - top)
                             : row.rows;
      pool(row);
    });
  }

 private:
  const Problem p_;
  const Kernels& kernels_;
  const int64_t channels_;  // padded
  const int64_t x_pixel_, y_pixel_;
};

class Pool final : public Algorithm {
 public:
  const char* name() const override { return "pool"; }
  Kinds kinds() const override { return {Kind::kPool}; }
  std::string objection(const Problem& p, const Context&) const override {
    if (p.x.layout != Layout::kNhwc || p.y.layout != Layout::kNhwc)
      return "works on channels-last only";
    // Taps further apart than the image is long may all miss it; the maximum of none is -infinity,
    // which must not reach the padding lanes. Closer ones cannot, since padding is smaller than the
    // window.
    if (p.pool().window.dilation[0] > p.x.dims.h || p.pool().window.dilation[1] > p.x.dims.w)
      return "a window may cover padding only";
    return "";
  }
  double cost(const Problem& p, const Context& context) const override {
    const double vectors = static_cast<double>(p.n * p.y.dims.h * p.y.dims.w *
                                               ceil_div(p.x.dims.c, context.kernels.width));
    const double bytes =
        static_cast<double>(p.n * (image_stride(p.x.dims, p.x.layout, context.kernels.width) +
                                   image_stride(p.y.dims, p.y.layout, context.kernels.width))) *
        sizeof(float);
    const double cycles =
        vectors * static_cast<double>(p.pool().window.kernel[0] * p.pool().window.kernel[1] + 2) +
        stream_cycles(bytes, bytes);
    return parallel_cycles(cycles, static_cast<double>(p.n * p.y.dims.h), p.threads) + 200;
  }
  std::unique_ptr<Plan> prepare(const Problem& p, const Weight*, const Weight*,
                                const Context& context) const override {
    return std::make_unique<PoolPlan>(p, context);
  }
};

const Pool kPool;
const RegisterAlgorithm kRegistered(&kPool);

}  // namespace
}  // namespace linnet
