// Where the largest or smallest number along an axis is; NaN is larger and smaller than all others.

#include <algorithm>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

constexpr int64_t kColumns = 64;  // compared side by side

struct Axis {
  int64_t size, x, y;  // numbers from one to the next
};

class PlacePlan final : public Plan {
 public:
  PlacePlan(const Problem& p, int width)
      : n_(p.n),
        x_image_(p.x.image(width)),
        y_image_(p.y.image(width)),
        padded_(p.y.layout == Layout::kNhwc ? p.y.pixel(width) - p.y.dims.c : 0),
        smallest_(p.reduce().code == ReduceCode::kFirstMin ||
                  p.reduce().code == ReduceCode::kLastMin),
        last_(p.reduce().code == ReduceCode::kLastMax || p.reduce().code == ReduceCode::kLastMin) {
    const Strides x(p.x, width), y(p.y, width);
    const Axis all[] = {{p.x.dims.c, x.c, y.c}, {p.x.dims.h, x.h, y.h}, {p.x.dims.w, x.w, y.w}};
    int kept = 0;
    for (int i = 0; i < 3; ++i) (p.reduce().axes[i] ? along_ : kept_[kept++]) = all[i];
    // The kept axis whose numbers lie closest is gone through fastest.
    if (kept_[0].x < kept_[1].x || kept_[1].size == 1) std::swap(kept_[0], kept_[1]);
  }

  void run(const Operands& o) const override {
    const auto* x = static_cast<const float*>(o.x);
    auto* y = static_cast<int64_t*>(o.y);
    if (padded_) std::fill(y, y + n_ * y_image_, 0);
    const int64_t parts = ceil_div(kept_[1].size, kColumns);
    o.pool.parallel_for(n_ * kept_[0].size * parts, [&](int64_t task, int) {
      const int64_t row = task / parts % kept_[0].size, image = task / parts / kept_[0].size;
      const int64_t first = task % parts * kColumns;
      const int64_t count = std::min(kColumns, kept_[1].size - first);
      const float* from = x + image * x_image_ + row * kept_[0].x + first * kept_[1].x;
      int64_t* to = y + image * y_image_ + row * kept_[0].y + first * kept_[1].y;
      float best[kColumns];
      int64_t place[kColumns];
      for (int64_t k = 0; k < count; ++k) best[k] = from[k * kept_[1].x], place[k] = 0;
      for (int64_t i = 1; i < along_.size; ++i) {
        for (int64_t k = 0; k < count; ++k) {
          const float v = from[i * along_.x + k * kept_[1].x];
          if (better(v, best[k])) best[k] = v, place[k] = i;
        }
      }
      for (int64_t k = 0; k < count; ++k) to[k * kept_[1].y] = place[k];
    });
  }

 private:
  bool better(float v, float best) const {
    if (v != v) return last_ || best == best;
    const bool beyond = smallest_ ? v < best : v > best;
    return beyond || (last_ && v == best);
  }

  const int64_t n_, x_image_, y_image_, padded_;
  const bool smallest_, last_;
  Axis along_{}, kept_[2] = {};
};

class Place final : public Algorithm {
 public:
  const char* name() const override { return "place"; }
  Kinds kinds() const override { return {Kind::kReduce}; }
  bool any_types() const override { return true; }
  bool uses_kernels() const override { return false; }
  double cost(const Problem& p, const Context&) const override {
    const auto numbers = static_cast<double>(p.n * p.x.dims.count());
    return parallel_cycles(3 * numbers + stream_cycles(4 * numbers, 4 * numbers),
                           numbers / kColumns, p.threads) +
           200;
  }
  std::unique_ptr<Plan> prepare(const Problem& p, const Weight*, const Weight*,
                                const Context& context) const override {
    return std::make_unique<PlacePlan>(p, context.kernels.width);
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    if (!is_place(p.reduce().code)) return "computes places only";
    return p.x.dtype == DType::kF32 ? "" : "compares float32 only";
  }
};

const Place kPlace;
const RegisterAlgorithm kRegistered(&kPlace);

}  // namespace
}  // namespace linnet
