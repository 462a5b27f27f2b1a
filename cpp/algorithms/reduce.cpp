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

constexpr int64_t kLeastColumns = 64;  // of a task

struct ReduceArgs {
  ReduceCode code;
  int64_t n;
  int64_t x_image, y_image;  // from one to the next
  Dims out;
  int64_t padding;  // lanes of a pixel of y beside its channels
  Axis inner;
  Axis kept[2];
  int64_t rows[2];  // reduced ones, as Reduction has them
  int64_t step[2];
  float scale;
  int64_t parts;  // of the innermost axis, where it is kept
};

void run_reduce(const ReduceArgs& a, const FloatOperands& o) {
  const int code = static_cast<int>(a.code);
  const auto kernel = a.inner.reduced ? o.kernels.reduce_all[code] : o.kernels.reduce_rows[code];
  const int64_t first = a.kept[0].size, second = a.kept[1].size;
  o.pool.parallel_for(a.n * first * second * a.parts, [&](int64_t task, int) {
    const int64_t part = task % a.parts, j = task / a.parts % second;
    const int64_t i = task / a.parts / second % first, image = task / a.parts / second / first;
    const int64_t begin = a.inner.size * part / a.parts, end = a.inner.size * (part + 1) / a.parts;
    Reduction t{nullptr,
                {a.rows[0], a.rows[1]},
                {static_cast<ptrdiff_t>(a.step[0]), static_cast<ptrdiff_t>(a.step[1])},
                end - begin,
                a.scale,
                nullptr};
    t.x = o.x + image * a.x_image + i * a.kept[0].x + j * a.kept[1].x + begin;
    t.y =
        o.y + image * a.y_image + i * a.kept[0].y + j * a.kept[1].y + (a.inner.reduced ? 0 : begin);
    kernel(t);
  });
  if (a.padding == 0) return;
  const int64_t pixels = a.out.h * a.out.w, pixel = a.y_image / pixels;
  for (int64_t k = 0; k < a.n * pixels; ++k)
    std::memset(o.y + k * pixel + a.out.c, 0, static_cast<size_t>(a.padding) * sizeof(float));
}

constexpr auto kCode = plan_code<&run_reduce>("reduce");

class Reduce final : public Algorithm {
 public:
  const char* name() const override { return "reduce"; }
  Kinds kinds() const override { return {Kind::kReduce}; }
  std::string objection(const Problem& p, const Context&) const override {
    if (is_place(p.reduce().code)) return "computes no places";
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
    const int width = context.kernels.width;
    ReduceArgs a{};
    a.code = p.reduce().code, a.n = p.n, a.out = p.y.dims;
    a.x_image = p.x.image(width), a.y_image = p.y.image(width);
    if (p.y.layout == Layout::kNhwc) a.padding = round_up(a.out.c, width) - a.out.c;
    a.kept[0] = a.kept[1] = {1, 0, 0, false};
    a.rows[0] = a.rows[1] = 1;
    std::vector<Axis> axes = axes_of(p, width);
    a.inner = axes.back();
    axes.pop_back();
    int reduced = 0, kept = 0;
    for (const Axis& axis : axes) {
      if (axis.reduced)
        a.rows[reduced] = axis.size, a.step[reduced++] = axis.x;
      else
        a.kept[kept++] = axis;
    }
    a.scale = 1;
    if (a.code == ReduceCode::kMean) {
      a.scale = static_cast<float>(static_cast<double>(p.y.dims.count()) /
                                   static_cast<double>(p.x.dims.count()));
    }
    // Columns are shared out too where there are few rows of them.
    a.parts = 1;
    if (!a.inner.reduced && p.threads > 1) {
      a.parts = std::min(ceil_div(a.inner.size, kLeastColumns),
                         ceil_div(4 * p.threads, p.n * a.kept[0].size * a.kept[1].size));
    }
    return make_plan(kCode, a, context);
  }
};

const Reduce kReduce;
const RegisterAlgorithm kRegistered(&kReduce);

}  // namespace
}  // namespace linnet
