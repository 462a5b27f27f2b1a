// Functions of every element, of one input or of two, of which the second may broadcast.

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"
#include "algorithms/epilogue.h"

namespace linnet {
namespace {

// One of the nested loops over a problem's numbers, with its steps in each operand.
struct MapLoop {
  int64_t count, x, z, y;
};

class Elementwise final : public PlanObject {
 public:
  Elementwise(const Problem& problem, const Context& context)
      : kernel_(context.kernels.map[static_cast<int>(problem.map().code)]),
        threads_(problem.threads) {
    const int width = context.kernels.width;
    const Dims &d = problem.y.dims, &b = problem.z.dims;
    const Strides x(problem.x, width), y(problem.y, width);
    Strides z(problem.z, width);
    // A channel, a row or a column that all others share, and one image that all share.
    // Of a single channel the padding is shared out too, which is zero in both.
    z.c *= b.c > 1 || d.c == 1, z.h *= b.h > 1, z.w *= b.w > 1;
    if (problem.map().z_constant) z.n = 0;
    if (!problem.binary()) z.n = z.c = z.h = z.w = 0;
    const bool last = problem.y.layout == Layout::kNhwc;
    const int64_t padded = round_up(d.c, width);
    // Padding is computed as well where that gives zeros.
    const bool one = problem.binary() && b.c == 1 && d.c > 1;
    const double zero = limited(mapped(problem.map(), 0, 0), problem.end.limits);
    const bool fills = last && padded > d.c && (one || zero != 0);
    const MapLoop channels{last && !fills ? padded : d.c, x.c, z.c, y.c};
    const MapLoop rows{d.h, x.h, z.h, y.h}, columns{d.w, x.w, z.w, y.w};
    loops_ = {{problem.n, x.n, z.n, y.n}};
    for (const MapLoop& loop : last ? std::array<MapLoop, 3>{rows, columns, channels}
                                    : std::array<MapLoop, 3>{channels, rows, columns})
      add(loop);
    if (fills) padding_ = padded - d.c;
    // Numbers of a row lie side by side.
    const MapLoop& inner = loops_.back();
    if (inner.x != 1 || inner.y != 1 || inner.z > 1) loops_.push_back({1, 1, 0, 1});
    if (loops_.size() < 2) loops_.insert(loops_.begin(), {1, 0, 0, 0});
    tile_.count = loops_.back().count;
    tile_.z_one = loops_.back().z == 0;
    tile_.function = problem.map(), tile_.limits = problem.end.limits;
    const MapLoop& row = loops_[loops_.size() - 2];
    tile_.x_row = row.x, tile_.z_row = row.z, tile_.y_row = row.y;
    for (size_t i = 0; i + 1 < loops_.size(); ++i) lines_ *= loops_[i].count;
  }

  void run(const Operands& operands) const override {
    const FloatOperands o(operands);
    const int64_t all = lines_ * tile_.count;
    const int64_t parts = threads_ > 1 ? std::min(ceil_div(all, 4096), int64_t{4} * threads_) : 1;
    // Whole rows, or parts of them where there are few.
    const int64_t cuts = padding_ ? 1 : ceil_div(parts, std::min(parts, lines_));
    const int64_t bands = std::min(parts, lines_);
    o.pool.parallel_for(bands * cuts, [&](int64_t task, int) {
      const int64_t band = task / cuts, cut = task % cuts;
      const int64_t begin = tile_.count * cut / cuts, end = tile_.count * (cut + 1) / cuts;
      run_lines(o, lines_ * band / bands, lines_ * (band + 1) / bands, begin, end);
    });
  }

 private:
  // Loops whose steps are those of one longer loop become that.
  void add(const MapLoop& loop) {
    if (loop.count == 1 && loops_.size() > 1) return;
    MapLoop& outer = loops_.back();
    const auto follows = [&](int64_t MapLoop::* step) {
      return outer.*step == loop.count * (loop.*step);
    };
    if (outer.count == 1) {
      outer = loop;
    } else if (follows(&MapLoop::x) && follows(&MapLoop::z) && follows(&MapLoop::y)) {
      outer = {outer.count * loop.count, loop.x, loop.z, loop.y};
    } else {
      loops_.push_back(loop);
    }
  }

  // Numbers `begin` to `end` of rows `first` to `last`.
  void run_lines(const FloatOperands& o, int64_t first, int64_t last, int64_t begin,
                 int64_t end) const {
    const int64_t rows = loops_[loops_.size() - 2].count;
    MapRows tile = tile_;
    tile.count = end - begin;
    for (int64_t line = first; line < last; line += tile.rows) {
      const int64_t row = line % rows;
      tile.rows = std::min(rows - row, last - line);
      int64_t x = begin + row * tile.x_row, y = begin + row * tile.y_row;
      int64_t z = (tile.z_one ? 0 : begin) + row * tile.z_row;
      int64_t outer = line / rows;
      for (size_t i = loops_.size() - 2; i-- > 0; outer /= loops_[i].count) {
        const int64_t at = outer % loops_[i].count;
        x += at * loops_[i].x, z += at * loops_[i].z, y += at * loops_[i].y;
      }
      tile.x = o.x + x, tile.z = o.operand ? o.operand + z : nullptr, tile.y = o.y + y;
      kernel_(tile);
      for (int64_t i = 0; padding_ && i < tile.rows; ++i) {
        std::memset(tile.y + i * tile.y_row + tile.count, 0,
                    static_cast<size_t>(padding_) * sizeof(float));
      }
    }
  }

  void (*const kernel_)(const MapRows&);
  const int threads_;
  std::vector<MapLoop> loops_;  // from the outermost; the last is a row
  MapRows tile_{};
  int64_t lines_ = 1, padding_ = 0;
};

class Algorithm_ final : public Algorithm {
 public:
  const char* name() const override { return "elementwise"; }
  Kinds kinds() const override { return {Kind::kMap}; }
  double cost(const Problem& p, const Context& context) const override {
    const int width = context.kernels.width;
    const double elements = static_cast<double>(p.n * image_stride(p.x.dims, p.x.layout, width));
    double bytes = elements * sizeof(float) * 2;
    if (p.binary())
      bytes += static_cast<double>((p.map().z_constant ? 1 : p.n) *
                                   image_stride(p.z.dims, p.z.layout, width) * 4);
    const double compute = elements * info(p.map().code).cycles / width;
    return parallel_cycles(compute + stream_cycles(bytes, bytes), elements / 4096, p.threads) + 100;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    return plan_of(std::make_unique<Elementwise>(p, context), context);
  }

 private:
  std::string objection(const Problem& p, const Context& context) const override {
    const Dims& d = p.x.dims;
    const bool same = image_stride(d, p.x.layout, context.kernels.width) ==
                      image_stride(d, p.y.layout, context.kernels.width);
    if (p.x.layout != p.y.layout && !(same && d.h == 1 && d.w == 1))
      return "does not change the layout";
    return "";
  }
};

const Algorithm_ kElementwise;
const RegisterAlgorithm kRegistered(&kElementwise);

}  // namespace
}  // namespace linnet
