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
        out_(problem.out()),
        channels_(round_up(p_.in.c, kernels_.width)) {}

  void run(const Operands& o) const override {
    const Window& w = p_.window;
    const bool max = p_.kind == Kind::kMaxPool;
    o.pool.parallel_for(p_.n * out_.h, [&](int64_t task, int) {
      const int64_t image = task / out_.h, oh = task % out_.h;
      const int64_t top = oh * w.stride[0] - w.pad[0];
      const int64_t d = w.dilation[0];
      const int64_t first = top < 0 ? ceil_div(-top, d) : 0;
      const int64_t last = std::min(w.kernel[0], ceil_div(p_.in.h - top, d));
      PoolRow row{};
      row.x_col = channels_, row.x_row = p_.in.w * channels_ * d;
      row.x = o.x + (image * p_.in.h + top + first * d) * p_.in.w * channels_;
      row.rows = static_cast<int>(last - first);
      row.w = p_.in.w;
      row.kernel_w = static_cast<int>(w.kernel[1]), row.stride_w = static_cast<int>(w.stride[1]);
      row.dilation_w = static_cast<int>(w.dilation[1]);
      row.pad_l = static_cast<int>(w.pad[1]), row.pad_r = static_cast<int>(w.pad[3]);
      row.channels = channels_;
      row.y = o.y + task * out_.w * channels_, row.y_col = channels_;
      row.out_w = out_.w;
      row.include_pad = w.include_pad;
      row.divisor_rows =
          w.include_pad ? static_cast<int>(std::min(top + w.kernel[0], p_.in.h + w.pad[2]) - top)
                        : row.rows;
      (max ? kernels_.max_pool_row : kernels_.average_pool_row)(row);
    });
  }

 private:
  const Problem p_;
  const Kernels& kernels_;
  const Dims out_;
  const int64_t channels_;
};

class Pool final : public Algorithm {
 public:
  const char* name() const override { return "pool"; }
  std::string refuse(const Problem& p, const Context&) const override {
    if (p.kind != Kind::kMaxPool && p.kind != Kind::kAveragePool) return "not a pool";
    if (p.in_layout != Layout::kNhwc || p.out_layout != Layout::kNhwc)
      return "works on channels-last only";
    // Taps further apart than the image is long may all miss it; the maximum of none is -infinity,
    // which must not reach the padding lanes. Closer ones cannot, since padding is smaller than the
    // window.
    if (p.window.dilation[0] > p.in.h || p.window.dilation[1] > p.in.w)
      return "a window may cover padding only";
    return "";
  }
  double cost(const Problem& p, const Context& context) const override {
    const double vectors =
        static_cast<double>(p.n * p.out().h * p.out().w * ceil_div(p.in.c, context.kernels.width));
    const double bytes =
        static_cast<double>(p.n * (image_stride(p.in, p.in_layout, context.kernels.width) +
                                   image_stride(p.out(), p.out_layout, context.kernels.width))) *
        sizeof(float);
    const double cycles =
        vectors * static_cast<double>(p.window.kernel[0] * p.window.kernel[1] + 2) +
        stream_cycles(bytes, bytes);
    return parallel_cycles(cycles, static_cast<double>(p.n * p.out().h), p.threads) + 200;
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
