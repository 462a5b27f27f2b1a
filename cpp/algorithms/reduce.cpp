// Axes that become one number each. Neighbouring axes that are both kept or both reduced are one,
// so that there are at most two around the innermost; its numbers are combined with each other
// where it is reduced, and column by column where it is kept.

#include <algorithm>
#include <cstring>
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

struct Axis {
  int64_t size, x, y;  // numbers from one to the next
  bool reduced;
};

// In the order of memory, the innermost last.
std::vector<Axis> axes_of(const Problem& p, int width) {
  const Strides x(p.x, width), y(p.y, width);
  const family::Reduce& r = p.reduce();
  const Axis c{p.x.dims.c, x.c, y.c, r.axes[0]}, h{p.x.dims.h, x.h, y.h, r.axes[1]},
      w{p.x.dims.w, x.w, y.w, r.axes[2]};
  std::vector<Axis> axes;
  for (const Axis& axis :
       p.x.layout == Layout::kNchw ? std::vector<Axis>{c, h, w} : std::vector<Axis>{h, w, c}) {
    Axis* last = axes.empty() ? nullptr : &axes.back();
    if (last && last->reduced == axis.reduced && last->x == axis.size * axis.x &&
        (axis.reduced || last->y == axis.size * axis.y)) {
      *last = {last->size * axis.size, axis.x, axis.y, axis.reduced};
    } else if (last && last->size == 1) {
      *last = axis;
    } else {
      axes.push_back(axis);
    }
  }
  return axes;
}

class ReducePlan final : public PlanObject {
 public:
  ReducePlan(const Problem& problem, const Context& context)
      : p_(problem),
        x_image_(p_.x.image(context.kernels.width)),
        y_image_(p_.y.image(context.kernels.width)),
        padded_(p_.y.layout == Layout::kNhwc ? round_up(p_.y.dims.c, context.kernels.width)
                                             : p_.y.dims.c) {
    std::vector<Axis> axes = axes_of(p_, context.kernels.width);
    inner_ = axes.back();
    axes.pop_back();
    const int code = static_cast<int>(p_.reduce().code);
    kernel_ = inner_.reduced ? context.kernels.reduce_all[code] : context.kernels.reduce_rows[code];
    int reduced = 0, kept = 0;
    for (const Axis& axis : axes) {
      if (axis.reduced)
        shape_.rows[reduced] = axis.size, shape_.step[reduced++] = axis.x;
      else
        kept_[kept++] = axis;
    }
    shape_.count = inner_.size;
    shape_.scale = 1;
    if (p_.reduce().code == ReduceCode::kMean) {
      shape_.scale = static_cast<float>(static_cast<double>(p_.y.dims.count()) /
                                        static_cast<double>(p_.x.dims.count()));
    }
    // Columns are shared out too where there are few rows of them.
    if (!inner_.reduced && p_.threads > 1)
      parts_ = std::min(ceil_div(inner_.size, kLeastColumns),
                        ceil_div(4 * p_.threads, p_.n * kept_[0].size * kept_[1].size));
  }

  void run(const Operands& operands) const override {
    const FloatOperands o(operands);
    const int64_t first = kept_[0].size, second = kept_[1].size;
    o.pool.parallel_for(p_.n * first * second * parts_, [&](int64_t task, int) {
      const int64_t part = task % parts_, j = task / parts_ % second;
      const int64_t i = task / parts_ / second % first, image = task / parts_ / second / first;
      const int64_t begin = inner_.size * part / parts_, end = inner_.size * (part + 1) / parts_;
      Reduction t = shape_;
      t.x = o.x + image * x_image_ + i * kept_[0].x + j * kept_[1].x + begin;
      t.y = o.y + image * y_image_ + i * kept_[0].y + j * kept_[1].y + (inner_.reduced ? 0 : begin);
      if (!inner_.reduced) t.count = end - begin;
      kernel_(t);
    });
    if (padded_ == p_.y.dims.c) return;
    const int64_t pixels = p_.y.dims.h * p_.y.dims.w, pixel = y_image_ / pixels;
    for (int64_t k = 0; k < p_.n * pixels; ++k) {
      std::memset(o.y + k * pixel + p_.y.dims.c, 0,
                  static_cast<size_t>(padded_ - p_.y.dims.c) * sizeof(float));
    }
  }

 private:
  static constexpr int64_t kLeastColumns = 64;

  const Problem p_;
  const int64_t x_image_, y_image_;
  const int64_t padded_;  // channels of a pixel of y
  Axis inner_;
  Axis kept_[2] = {{1, 0, 0, false}, {1, 0, 0, false}};
  Reduction shape_{nullptr, {1, 1}, {0, 0}, 0, 1, nullptr};
  void (*kernel_)(const Reduction&);
  int64_t parts_ = 1;
};

class Reduce final : public Algorithm {
 public:
  const char* name() const override { return "reduce"; }
  Kinds kinds() const override { return {Kind::kReduce}; }
  std::string objection(const Problem& p, const Context&) const override {
    return p.x.layout == p.y.layout ? "" : "changes no layout";
  }
  double cost(const Problem& p, const Context& context) const override {
    const int width = context.kernels.width;
    const std::vector<Axis> axes = axes_of(p, width);
    const auto numbers = static_cast<double>(p.n * p.x.dims.count());
    const double bytes = numbers * sizeof(float);
    // What an innermost axis has over whole vectors goes number by number.
    const auto inner = static_cast<double>(axes.back().size);
    const double rest = static_cast<double>(axes.back().size % width) / inner;
    const double cycles = numbers * ((1 - rest) / width + 2 * rest) + numbers / inner * 8 +
                          stream_cycles(bytes, bytes);
    return parallel_cycles(cycles, numbers / inner, p.threads) + 200;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    return plan_of(std::make_unique<ReducePlan>(p, context), context);
  }
};

const Reduce kReduce;
const RegisterAlgorithm kRegistered(&kReduce);

}  // namespace
}  // namespace linnet
