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

class ReorderPlan final : public PlanObject {
 public:
  ReorderPlan(const Problem& problem, const Context& context)
      : p_(problem),
        width_(context.kernels.width),
        pixels_(p_.x.dims.h * p_.x.dims.w),
        x_pixel_(p_.x.pixel(width_)),
        y_pixel_(p_.y.pixel(width_)),
        // What a pixel gets: behind the last channel the zeros of the padding, too.
        lanes_(p_.move().first + p_.x.dims.c < p_.y.dims.c
                   ? p_.x.dims.c
                   : round_up(p_.y.dims.c, width_) - p_.move().first) {}

  void run(const Operands& o) const override {
    switch (size_of(p_.y.dtype)) {
      case 1:
        return move(static_cast<const uint8_t*>(o.x), static_cast<uint8_t*>(o.y), o.pool);
      case 2:
        return move(static_cast<const uint16_t*>(o.x), static_cast<uint16_t*>(o.y), o.pool);
      case 4:
        return move(static_cast<const float*>(o.x), static_cast<float*>(o.y), o.pool);
      default:
        return move(static_cast<const uint64_t*>(o.x), static_cast<uint64_t*>(o.y), o.pool);
    }
  }

 private:
  template <typename T>
  void move(const T* images, T* results, ThreadPool& pool) const {
    const int64_t blocks = ceil_div(pixels_, kBlock);
    const int64_t from = p_.x.image(width_), to = p_.y.image(width_),
                  first = p_.move().first * (p_.y.layout == Layout::kNchw ? pixels_ : 1);
    pool.parallel_for(p_.n * blocks, [&](int64_t task, int) {
      const int64_t image = task / blocks, begin = task % blocks * kBlock,
                    end = std::min(pixels_, begin + kBlock);
      const T* x = images + image * from;
      T* y = results + image * to + first;
      if (p_.x.layout == Layout::kNchw && p_.y.layout == Layout::kNchw) {
        copy(x + begin * p_.x.dims.c, y + begin * p_.x.dims.c,
             (end - begin) * p_.x.dims.c);  // its share
      } else if (p_.x.layout == p_.y.layout) {
        for (int64_t i = begin; i < end; ++i) {
          for (int64_t c = 0; c < p_.x.dims.c; c += kAlignment / sizeof(T))
            __builtin_prefetch(y + (i + kAhead) * y_pixel_ + c, 1);
          copy(x + i * x_pixel_, y + i * y_pixel_, p_.x.dims.c);
          zero(y + i * y_pixel_);
        }
      } else if (p_.y.layout == Layout::kNhwc) {
        for (int64_t i = begin; i < end; ++i) {
          for (int64_t c = 0; c < p_.x.dims.c; ++c) y[i * y_pixel_ + c] = x[c * pixels_ + i];
          zero(y + i * y_pixel_);
        }
      } else {
        for (int64_t c = 0; c < p_.x.dims.c; ++c) {
          for (int64_t i = begin; i < end; ++i) y[c * pixels_ + i] = x[i * x_pixel_ + c];
        }
      }
    });
  }

  template <typename T>
  static void copy(const T* x, T* y, int64_t count) {
    std::memcpy(y, x, static_cast<size_t>(count) * sizeof(T));
  }
  template <typename T>
  void zero(T* pixel) const {
    for (int64_t c = p_.x.dims.c; c < lanes_; ++c) pixel[c] = 0;
  }

  const Problem p_;
  const int width_;
  const int64_t pixels_, x_pixel_, y_pixel_, lanes_;
};

class Reorder final : public Algorithm {
 public:
  const char* name() const override { return "reorder"; }
  Kinds kinds() const override { return {Kind::kMove}; }
  std::string objection(const Problem& p, const Context&) const override {
    return p.move().atoms.empty() ? "" : "the input is no image";
  }
  bool uses_kernels() const override { return false; }
  bool any_types() const override { return true; }
  double cost(const Problem& p, const Context& context) const override {
    const double dense = static_cast<double>(p.n * p.x.dims.count());
    const double padded =
        static_cast<double>(p.n * image_stride(p.x.dims, Layout::kNhwc, context.kernels.width));
    const bool same = p.x.layout == p.y.layout;
    const double moved = same ? 2 * (p.x.layout == Layout::kNhwc ? padded : dense) : dense + padded;
    const double bytes = moved * static_cast<double>(size_of(p.y.dtype));
    // Without a change of layout, whole vectors at a time, and a call for each pixel.
    const double cycles = same ? moved / context.kernels.width +
                                     10.0 * static_cast<double>(p.n * p.x.dims.h * p.x.dims.w)
                               : dense + 0.6 * padded;
    return parallel_cycles(cycles + stream_cycles(bytes, bytes),
                           static_cast<double>(p.n * ceil_div(p.x.dims.h * p.x.dims.w, kBlock)),
                           p.threads) +
           100;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    return plan_of(std::make_unique<ReorderPlan>(p, context), context);
  }
};

const Reorder kReorder;
const RegisterAlgorithm kRegistered(&kReorder);

}  // namespace
}  // namespace linnet
