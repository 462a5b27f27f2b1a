// Numbers of one type become another, where they lie side by side in memory.

#include <algorithm>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

constexpr int64_t kPiece = 4096;  // numbers of a task

class CastPlan final : public PlanObject {
 public:
  CastPlan(const Problem& problem, const Context& context)
      : kernels_(context.kernels),
        n_(problem.n),
        x_(problem.x),
        y_(problem.y),
        x_image_(x_.image(kernels_.width)),
        y_image_(y_.image(kernels_.width)) {
    // The padding behind a pixel's channels stays zero. Slices are whole images in planes; of
    // channels that come last, a row of vectors for each pixel.
    Operand own = x_;
    own.pitch = 0;
    const bool sliced = x_.pitch || y_.pitch;
    run_ = own.image(kernels_.width);
    if (sliced && x_.layout == Layout::kNhwc) {
      runs_ = x_.dims.h * x_.dims.w;
      run_ /= runs_;
      x_step_ = x_.pixel(kernels_.width), y_step_ = y_.pixel(kernels_.width);
    }
    pieces_ = problem.threads > 1 ? ceil_div(run_, kPiece) : 1;
  }

  void run(const Operands& o) const override {
    const auto* x = static_cast<const char*>(o.x);
    auto* y = static_cast<char*>(o.y);
    o.pool.parallel_for(n_ * pieces_, [&](int64_t task, int) {
      const int64_t image = task / pieces_, piece = task % pieces_;
      const int64_t begin = run_ * piece / pieces_, count = run_ * (piece + 1) / pieces_ - begin;
      for (int64_t i = 0; i < runs_; ++i) {
        kernels_.cast(x_.dtype, y_.dtype,
                      x + (image * x_image_ + i * x_step_ + begin) * size_of(x_.dtype),
                      y + (image * y_image_ + i * y_step_ + begin) * size_of(y_.dtype), count);
      }
    });
  }

 private:
  const Kernels& kernels_;
  const int64_t n_;
  const Operand x_, y_;
  const int64_t x_image_, y_image_;
  int64_t run_, runs_ = 1, x_step_ = 0, y_step_ = 0, pieces_ = 1;
};

class Cast final : public Algorithm {
 public:
  const char* name() const override { return "cast"; }
  Kinds kinds() const override { return {Kind::kMap}; }
  bool any_types() const override { return true; }
  double cost(const Problem& p, const Context& context) const override {
    const double numbers = static_cast<double>(p.n * p.x.image(context.kernels.width));
    const double bytes = numbers * static_cast<double>(size_of(p.x.dtype) + size_of(p.y.dtype));
    return parallel_cycles(2 * numbers / context.kernels.width + stream_cycles(bytes, bytes),
                           numbers / kPiece, p.threads) +
           100;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    return plan_of(std::make_unique<CastPlan>(p, context), context);
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    if (p.x.dtype == p.y.dtype) return "the type stays";
    if (p.map().code != MapCode::kCopy || p.end.then.code != MapCode::kCopy || p.end.limits.any())
      return "does more than a cast";
    if (p.x.layout != p.y.layout) return "does not change the layout";
    return "";
  }
};

const Cast kCast;
const RegisterAlgorithm kRegistered(&kCast);

}  // namespace
}  // namespace linnet
