// Functions of every element, of one input or of two, of which the second may broadcast.

#include <algorithm>
#include <array>
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

// All loops of a problem, from the outermost; loops whose steps are those of one longer loop are
// that.
class MapLoops {
 public:
  explicit MapLoops(const MapLoop& first) : loops_{first} {}

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

  // At least two, of which the last is a row, whose numbers lie side by side.
  std::vector<MapLoop> with_row() const {
    std::vector<MapLoop> all = loops_;
    const MapLoop& inner = loops_.back();
    if (inner.x != 1 || inner.y != 1 || inner.z > 1) all.push_back({1, 1, 0, 1});
    if (all.size() < 2) all.insert(all.begin(), {1, 0, 0, 0});
    return all;
  }

 private:
  std::vector<MapLoop> loops_;
};

struct MapArgs {
  Function function;
  Limits limits;
  int threads;
  int depth;  // loops around the rows'
  MapLoop outer[3], rows, row;
  int64_t lines;  // turns of all loops but the row's
  bool padded;    // rows have zeros behind them, up to a whole vector
};

// Numbers `begin` to `end` of rows `first` to `last`.
void run_lines(const MapArgs& a, const FloatOperands& o, int64_t first, int64_t last, int64_t begin,
               int64_t end) {
  const auto kernel = o.kernels.map[static_cast<int>(a.function.code)];
  MapRows tile{};
  tile.function = a.function, tile.limits = a.limits;
  tile.z_one = a.row.z == 0, tile.padded = a.padded;
  tile.x_row = a.rows.x, tile.z_row = a.rows.z, tile.y_row = a.rows.y;
  tile.count = end - begin;
  for (int64_t line = first; line < last; line += tile.rows) {
    const int64_t row = line % a.rows.count;
    tile.rows = std::min(a.rows.count - row, last - line);
    int64_t x = begin + row * a.rows.x, y = begin + row * a.rows.y;
    int64_t z = (tile.z_one ? 0 : begin) + row * a.rows.z;
    int64_t outer = line / a.rows.count;
    for (int i = a.depth; i-- > 0; outer /= a.outer[i].count) {
      const int64_t at = outer % a.outer[i].count;
      x += at * a.outer[i].x, z += at * a.outer[i].z, y += at * a.outer[i].y;
    }
    tile.x = o.x + x, tile.z = o.operand ? o.operand + z : nullptr, tile.y = o.y + y;
    kernel(tile);
  }
}

void run_elementwise(const MapArgs& a, const FloatOperands& o) {
  const int64_t all = a.lines * a.row.count;
  const int64_t parts = a.threads > 1 ? std::min(ceil_div(all, 4096), int64_t{4} * a.threads) : 1;
  // Whole rows, or parts of them where there are few.
  const int64_t cuts = a.padded ? 1 : ceil_div(parts, std::min(parts, a.lines));
  const int64_t bands = std::min(parts, a.lines);
  o.pool.parallel_for(bands * cuts, [&](int64_t task, int) {
    const int64_t band = task / cuts, cut = task % cuts;
    const int64_t begin = a.row.count * cut / cuts, end = a.row.count * (cut + 1) / cuts;
    run_lines(a, o, a.lines * band / bands, a.lines * (band + 1) / bands, begin, end);
  });
}

constexpr auto kCode = plan_code<&run_elementwise>("elementwise");

MapArgs args_of(const Problem& p, int width) {
  const Dims &d = p.y.dims, &b = p.z.dims;
  const Strides x(p.x, width), y(p.y, width);
  Strides z(p.z, width);
  // A channel, a row or a column that all others share, and one image that all share.
  // Of a single channel the padding is shared out too, which is zero in both.
  z.c *= b.c > 1 || d.c == 1, z.h *= b.h > 1, z.w *= b.w > 1;
  if (p.map().z_constant) z.n = 0;
  if (!p.binary()) z.n = z.c = z.h = z.w = 0;
  const bool last = p.y.layout == Layout::kNhwc;
  const int64_t padded = round_up(d.c, width);
  // Padding is computed as well where that gives zeros.
  const bool one = p.binary() && b.c == 1 && d.c > 1;
  const double zero = limited(mapped(p.map(), 0, 0), p.end.limits);
  const bool fills = last && padded > d.c && (one || zero != 0);
  const MapLoop channels{last && !fills ? padded : d.c, x.c, z.c, y.c};
  const MapLoop rows{d.h, x.h, z.h, y.h}, columns{d.w, x.w, z.w, y.w};
  MapLoops loops({p.n, x.n, z.n, y.n});
  for (const MapLoop& loop : last ? std::array<MapLoop, 3>{rows, columns, channels}
                                  : std::array<MapLoop, 3>{channels, rows, columns})
    loops.add(loop);
  const std::vector<MapLoop> all = loops.with_row();

  MapArgs a{};
  a.function = p.map(), a.limits = p.end.limits;
  a.threads = p.threads;
  a.depth = static_cast<int>(all.size()) - 2;
  std::copy(all.begin(), all.end() - 2, a.outer);
  a.rows = all[all.size() - 2], a.row = all.back();
  a.lines = a.rows.count;
  for (int i = 0; i < a.depth; ++i) a.lines *= a.outer[i].count;
  a.padded = fills;
  return a;
}

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
    return make_plan(kCode, args_of(p, context.kernels.width), context);
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
