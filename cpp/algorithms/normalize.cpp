// Normalisations along the axis whose numbers lie side by side: channels of channels-last data,
// rows of planar data.

#include <algorithm>
#include <cstring>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

constexpr double kCycles = 40;  // of a vector

// How many numbers of the axis lie side by side; 0 where they do not.
int64_t row_length(const Problem& p) {
  const Dims& d = p.x.dims;
  const bool pixel = d.h == 1 && d.w == 1;
  switch (p.normalize().axis) {
    case 1:
      return p.x.layout == Layout::kNhwc || pixel ? d.c : 0;
    case 2:
      return p.x.layout == Layout::kNchw && d.w == 1 ? d.h : 0;
    default:
      return p.x.layout == Layout::kNchw ? d.w : 0;
  }
}

class NormalizePlan final : public PlanObject {
 public:
  NormalizePlan(const Problem& problem, const Context& context)
      : kernel_(context.kernels.normalize[static_cast<int>(problem.normalize().code)]),
        n_(problem.n),
        rows_(problem.x.dims.count() / row_length(problem)),
        last_(problem.y.layout == Layout::kNhwc),
        x_(problem.x, context.kernels.width),
        y_(problem.y, context.kernels.width) {
    const family::Normalize& p = problem.normalize();
    tile_.count = row_length(problem);
    tile_.size = p.size, tile_.a = p.a, tile_.b = p.b, tile_.c = p.c;
    tile_.x_row = last_ ? x_.w : tile_.count, tile_.y_row = last_ ? y_.w : tile_.count;
    padding_ = last_ ? round_up(tile_.count, context.kernels.width) - tile_.count : 0;
    parts_ = problem.threads > 1 ? std::min<int64_t>(rows_, 4 * problem.threads) : 1;
  }

  void run(const Operands& operands) const override {
    const FloatOperands o(operands);
    o.pool.parallel_for(n_ * parts_, [&](int64_t task, int) {
      const int64_t image = task / parts_, part = task % parts_;
      const int64_t first = rows_ * part / parts_;
      NormalizeRows tile = tile_;
      tile.rows = rows_ * (part + 1) / parts_ - first;
      tile.x = o.x + image * x_.n + first * tile.x_row;
      tile.y = o.y + image * y_.n + first * tile.y_row;
      kernel_(tile);
      for (int64_t row = 0; padding_ && row < tile.rows; ++row) {
        std::memset(tile.y + row * tile.y_row + tile.count, 0,
                    static_cast<size_t>(padding_) * sizeof(float));
      }
    });
  }

 private:
  void (*const kernel_)(const NormalizeRows&);
  const int64_t n_, rows_;  // images, and rows of each
  const bool last_;         // rows are the channels of pixels
  const Strides x_, y_;
  NormalizeRows tile_{};
  int64_t padding_, parts_;
};

class Normalize final : public Algorithm {
 public:
  const char* name() const override { return "normalize"; }
  Kinds kinds() const override { return {Kind::kNormalize}; }
  double cost(const Problem& p, const Context& context) const override {
    const auto rows = static_cast<double>(p.n * p.x.dims.count() / row_length(p));
    const auto vectors = static_cast<double>(ceil_div(row_length(p), context.kernels.width));
    const double bytes = 2 * static_cast<double>(p.n * p.x.dims.count()) * sizeof(float);
    return parallel_cycles(rows * (vectors * kCycles + 20) + stream_cycles(bytes, bytes), rows,
                           p.threads) +
           100;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    return plan_of(std::make_unique<NormalizePlan>(p, context), context);
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    const bool pixel = p.x.dims.h == 1 && p.x.dims.w == 1;
    if (p.x.layout != p.y.layout && !(pixel && p.normalize().axis == 1))
      return "does not change the layout";
    return row_length(p) ? "" : "the numbers of the axis do not lie side by side";
  }
};

const Normalize kNormalize;
const RegisterAlgorithm kRegistered(&kNormalize);

}  // namespace
}  // namespace linnet
