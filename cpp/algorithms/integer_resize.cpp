// Images of bytes of other sizes: the nearest pixels, in either layout, or ones between four, whose
// sums are those of IntegerResampling.

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"
#include "algorithms/integer.h"
#include "algorithms/resize.h"

namespace linnet {
namespace {

struct IntegerResizeArgs {
  int64_t n;
  Operand x, y;
};
// Of its weights: where rows and columns of y lie in x and, between two, their shares.
enum : uint8_t { kRows, kColumns, kRowShares, kColumnShares };

void run_nearest(const IntegerResizeArgs& a, const Operands& o) {
  const int width = o.kernels->width;
  const bool planar = a.x.layout == Layout::kNchw;
  const auto* rows = static_cast<const int64_t*>(o.weights[kRows]);
  const auto* columns = static_cast<const int64_t*>(o.weights[kColumns]);
  const Dims in = a.x.dims, out = a.y.dims;
  const int64_t planes = planar ? in.c : 1;
  const int64_t x_pixel = planar ? 1 : a.x.pixel(width), y_pixel = planar ? 1 : a.y.pixel(width);
  const auto pixel = static_cast<size_t>(planar ? 1 : round_up(in.c, width));
  o.pool.parallel_for(a.n * planes * out.h, [&](int64_t task, int) {
    const int64_t row = task % out.h, plane = task / out.h % planes, image = task / out.h / planes;
    const auto* x = static_cast<const uint8_t*>(o.x) + image * a.x.image(width) +
                    (plane * in.h + rows[row]) * in.w * x_pixel;
    auto* y = static_cast<uint8_t*>(o.y) + image * a.y.image(width) +
              (plane * out.h + row) * out.w * y_pixel;
    for (int64_t i = 0; i < out.w; ++i)
      std::memcpy(y + i * y_pixel, x + columns[i] * x_pixel, pixel);
  });
}

void run_linear(const IntegerResizeArgs& a, const Operands& o) {
  const int width = o.kernels->width;
  const auto* rows = static_cast<const int64_t*>(o.weights[kRows]);
  const auto* row_shares = static_cast<const int32_t*>(o.weights[kRowShares]);
  const Dims in = a.x.dims, out = a.y.dims;
  const int64_t x_row = in.w * a.x.pixel(width);
  IntegerResampling common{};
  common.flip = static_cast<uint8_t>(flip_of(a.x.dtype));
  common.count = round_up(in.c, width);
  // Without the channels behind the last pixel's.
  common.line = x_row - a.x.pixel(width) + common.count;
  common.places = static_cast<const int64_t*>(o.weights[kColumns]);
  common.shares = static_cast<const int32_t*>(o.weights[kColumnShares]);
  common.outputs = out.w, common.y_step = static_cast<ptrdiff_t>(a.y.pixel(width));
  o.pool.parallel_for(a.n * out.h, [&](int64_t task, int thread) {
    const int64_t image = task / out.h, row = task % out.h;
    const auto* x = static_cast<const uint8_t*>(o.x) + image * a.x.image(width);
    IntegerResampling t = common;
    t.rows[0] = x + rows[2 * row] * x_row, t.rows[1] = x + rows[2 * row + 1] * x_row;
    t.share = row_shares[row];
    t.sums = static_cast<int32_t*>(o.workspace) + thread * x_row;
    t.y = static_cast<uint8_t*>(o.y) + image * a.y.image(width) + row * out.w * a.y.pixel(width);
    o.kernels->integer_resample(t);
  });
}

constexpr auto kNearest = plan_code<&run_nearest>("integer_resize_nearest");
constexpr auto kLinear = plan_code<&run_linear>("integer_resize_linear");

class IntegerResize final : public Algorithm {
 public:
  const char* name() const override { return "integer-resize"; }
  Kinds kinds() const override { return {Kind::kResize}; }
  bool any_types() const override { return true; }
  double cost(const Problem& p, const Context& context) const override {
    const int width = context.kernels.width;
    const auto numbers = static_cast<double>(p.n * p.y.image(width));
    const auto rows = static_cast<double>(p.n * p.y.dims.h);
    double cycles = numbers * (p.x.layout == Layout::kNchw ? 3 : 0.3);
    if (p.resize().code == ResizeCode::kLinear)
      cycles = (5 * numbers + 4 * rows * static_cast<double>(p.x.dims.w * p.x.pixel(width))) /
               static_cast<double>(width);
    return parallel_cycles(cycles, rows, p.threads) + 200;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    const IntegerResizeArgs a{p.n, p.x, p.y};
    const bool linear = p.resize().code == ResizeCode::kLinear;
    const int64_t pixel = p.x.pixel(context.kernels.width);
    std::vector<int64_t> places[2];
    std::vector<int32_t> shares[2];
    for (const int axis : {0, 1}) {
      for (const Resampled& each : resized(p, axis)) {
        const int64_t step = linear && axis ? pixel : 1;
        for (const Tap& tap : each.taps) places[axis].push_back(tap.at * step);
        if (linear)
          shares[axis].push_back(static_cast<int32_t>(std::nearbyint(each.taps[1].weight * 2048)));
      }
    }
    std::vector<PlanData> tables = {plan_table(places[0]), plan_table(places[1])};
    if (!linear) return make_plan(kNearest, a, context, 0, std::move(tables));
    tables.push_back(plan_table(shares[0]));
    tables.push_back(plan_table(shares[1]));
    const auto sums = static_cast<size_t>(p.threads * p.x.dims.w * pixel);
    return make_plan(kLinear, a, context, sums * sizeof(int32_t), std::move(tables));
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    if (!is_byte(p.x.dtype) || p.y.dtype != p.x.dtype) return "for integers of 8 bits only";
    if (!p.resize().of_bytes()) return "picks the nearest, or lies between four";
    if (p.x.layout != p.y.layout) return "does not change the layout";
    if (p.resize().code == ResizeCode::kLinear && p.x.layout != Layout::kNhwc)
      return "works on channels-last only";
    return "";
  }
};

const IntegerResize kIntegerResize;
const RegisterAlgorithm kRegistered(&kIntegerResize);

}  // namespace
}  // namespace linnet
