// Copies an activation from one layout to the other.

#include <algorithm>
#include <cstring>

#include "../algorithm.h"
#include "../cost.h"

namespace linnet {
namespace {

// Pixels of one block: its strided side stays in the first-level cache.
constexpr int64_t kBlock = 64;

class ReorderPlan final : public Plan {
 public:
  ReorderPlan(const Problem& problem, const Context& context)
      : p_(problem),
        width_(context.kernels.width),
        pixels_(p_.in.h * p_.in.w),
        padded_(round_up(p_.in.c, width_)) {}

  void run(const Operands& o) const override {
    const int64_t blocks = ceil_div(pixels_, kBlock);
    const int64_t from = image_stride(p_.in, p_.in_layout, width_),
                  to = image_stride(p_.in, p_.out_layout, width_);
    o.pool.parallel_for(p_.n * blocks, [&](int64_t task, int) {
      const int64_t image = task / blocks, begin = task % blocks * kBlock,
                    end = std::min(pixels_, begin + kBlock);
      const float* x = o.x + image * from;
      float* y = o.y + image * to;
      if (p_.in_layout == p_.out_layout) {
        const int64_t pixel = to / pixels_;
        std::memcpy(y + begin * pixel, x + begin * pixel,
                    static_cast<size_t>((end - begin) * pixel) * sizeof(float));
      } else if (p_.out_layout == Layout::kNhwc) {
        for (int64_t i = begin; i < end; ++i) {
          for (int64_t c = 0; c < p_.in.c; ++c) y[i * padded_ + c] = x[c * pixels_ + i];
          for (int64_t c = p_.in.c; c < padded_; ++c) y[i * padded_ + c] = 0;
        }
      } else {
        for (int64_t c = 0; c < p_.in.c; ++c) {
          for (int64_t i = begin; i < end; ++i) y[c * pixels_ + i] = x[i * padded_ + c];
        }
      }
    });
  }

 private:
  const Problem p_;
  const int width_;
  const int64_t pixels_, padded_;
};

class Reorder final : public Algorithm {
 public:
  const char* name() const override { return "reorder"; }
  std::string refuse(const Problem& p, const Context&) const override {
    return p.kind == Kind::kReorder ? "" : "not a change of layout";
  }
  bool uses_kernels() const override { return false; }
  double cost(const Problem& p, const Context& context) const override {
    const double dense = static_cast<double>(p.n * p.in.count());
    const double padded =
        static_cast<double>(p.n * image_stride(p.in, Layout::kNhwc, context.kernels.width));
    const double bytes = (dense + padded) * sizeof(float);
    return parallel_cycles(dense + 0.6 * padded + stream_cycles(bytes, bytes),
                           static_cast<double>(p.n * ceil_div(p.in.h * p.in.w, kBlock)),
                           p.threads) +
           100;
  }
  std::unique_ptr<Plan> prepare(const Problem& p, const Weight*, const Weight*,
                                const Context& context) const override {
    return std::make_unique<ReorderPlan>(p, context);
  }
};

const Reorder kReorder;
const RegisterAlgorithm kRegistered(&kReorder);

}  // namespace
}  // namespace linnet
