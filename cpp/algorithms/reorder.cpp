// Copies an activation to a layout, or to a range of the channels of an image that has more.

#include <algorithm>
#include <cstring>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

// Pixels of one block: its strided side stays in the first-level cache.
constexpr int64_t kBlock = 64;
// A part of wide pixels is written in pieces too far apart for the processor to fetch ahead itself.
constexpr int64_t kAhead = 4;  // pixels

class ReorderPlan final : public Plan {
 public:
  ReorderPlan(const Problem& problem, const Context& context)
      : p_(problem),
        width_(context.kernels.width),
        pixels_(p_.in.h * p_.in.w),
        padded_in_(round_up(p_.in.c, width_)),
        padded_out_(round_up(p_.out().c, width_)),
        // What a pixel gets: behind the last channel the zeros of the padding, too.
        lanes_(p_.first + p_.in.c < p_.out().c ? p_.in.c : padded_out_ - p_.first) {}

  void run(const Operands& o) const override {
    const int64_t blocks = ceil_div(pixels_, kBlock);
    const int64_t from = image_stride(p_.in, p_.in_layout, width_),
                  to = image_stride(p_.out(), p_.out_layout, width_),
                  first = p_.first * (p_.out_layout == Layout::kNchw ? pixels_ : 1);
    o.pool.parallel_for(p_.n * blocks, [&](int64_t task, int) {
      const int64_t image = task / blocks, begin = task % blocks * kBlock,
                    end = std::min(pixels_, begin + kBlock);
      const float* x = o.x + image * from;
      float* y = o.y + image * to + first;
      if (p_.in_layout == Layout::kNchw && p_.out_layout == Layout::kNchw) {
        copy(x + begin * p_.in.c, y + begin * p_.in.c, (end - begin) * p_.in.c);  // its share
      } else if (p_.in_layout == p_.out_layout) {
        for (int64_t i = begin; i < end; ++i) {
          for (int64_t c = 0; c < p_.in.c; c += kAlignment / sizeof(float))
            __builtin_prefetch(y + (i + kAhead) * padded_out_ + c, 1);
          copy(x + i * padded_in_, y + i * padded_out_, p_.in.c);
          zero(y + i * padded_out_);
        }
      } else if (p_.out_layout == Layout::kNhwc) {
        for (int64_t i = begin; i < end; ++i) {
          for (int64_t c = 0; c < p_.in.c; ++c) y[i * padded_out_ + c] = x[c * pixels_ + i];
          zero(y + i * padded_out_);
        }
      } else {
        for (int64_t c = 0; c < p_.in.c; ++c) {
          for (int64_t i = begin; i < end; ++i) y[c * pixels_ + i] = x[i * padded_in_ + c];
        }
      }
    });
  }

 private:
  static void copy(const float* x, float* y, int64_t count) {
    std::memcpy(y, x, static_cast<size_t>(count) * sizeof(float));
  }
  void zero(float* pixel) const {
    for (int64_t c = p_.in.c; c < lanes_; ++c) pixel[c] = 0;
  }

  const Problem p_;
  const int width_;
  const int64_t pixels_, padded_in_, padded_out_, lanes_;
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
    const bool same = p.in_layout == p.out_layout;
    const double moved =
        same ? 2 * (p.in_layout == Layout::kNhwc ? padded : dense) : dense + padded;
    const double bytes = moved * sizeof(float);
    // Without a change of layout, whole vectors at a time, and a call for each pixel.
    const double cycles =
        same ? moved / context.kernels.width + 10.0 * static_cast<double>(p.n * p.in.h * p.in.w)
             : dense + 0.6 * padded;
    return parallel_cycles(cycles + stream_cycles(bytes, bytes),
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
