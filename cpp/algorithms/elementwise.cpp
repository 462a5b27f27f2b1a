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

// Calls row(rows, x, z, y) with where rows `first` to `last` begin, of which the numbers from
// `begin` on are meant.
template <typename Rows>
void each_rows(const MapArgs& a, int64_t first, int64_t last, int64_t begin, Rows row) {
  for (int64_t line = first, count; line < last; line += count) {
    const int64_t at = line % a.rows.count;
    count = std::min(a.rows.count - at, last - line);
    int64_t x = begin + at * a.rows.x, y = begin + at * a.rows.y;
    int64_t z = (a.row.z == 0 ? 0 : begin) + at * a.rows.z;
    int64_t outer = line / a.rows.count;
    for (int i = a.depth; i-- > 0; outer /= a.outer[i].count) {
      const int64_t turn = outer % a.outer[i].count;
      x += turn * a.outer[i].x, z += turn * a.outer[i].z, y += turn * a.outer[i].y;
    }
    row(count, x, z, y);
  }
}

// Shares all rows, or parts of them where there are few, between the threads.
template <typename Lines>
void share(const MapArgs& a, ThreadPool& pool, Lines lines) {
  const int64_t all = a.lines * a.row.count;
  const int64_t parts = a.threads > 1 ? std::min(ceil_div(all, 4096), int64_t{4} * a.threads) : 1;
  const int64_t cuts = a.padded ? 1 : ceil_div(parts, std::min(parts, a.lines));
  const int64_t bands = std::min(parts, a.lines);
  pool.parallel_for(bands * cuts, [&](int64_t task, int) {
    const int64_t band = task / cuts, cut = task % cuts;
    const int64_t begin = a.row.count * cut / cuts, end = a.row.count * (cut + 1) / cuts;
    lines(a.lines * band / bands, a.lines * (band + 1) / bands, begin, end);
  });
}

void run_elementwise(const MapArgs& a, const FloatOperands& o) {
  const auto kernel = o.kernels.map[static_cast<int>(a.function.code)];
  share(a, o.pool, [&](int64_t first, int64_t last, int64_t begin, int64_t end) {
    MapRows tile{};
    tile.function = a.function, tile.limits = a.limits;
    tile.z_one = a.row.z == 0, tile.padded = a.padded;
    tile.x_row = a.rows.x, tile.z_row = a.rows.z, tile.y_row = a.rows.y;
    tile.count = end - begin;
    each_rows(a, first, last, begin, [&](int64_t rows, int64_t x, int64_t z, int64_t y) {
      tile.rows = rows;
      tile.x = o.x + x, tile.z = o.operand ? o.operand + z : nullptr, tile.y = o.y + y;
      kernel(tile);
    });
  });
}

using Integer = int64_t;
using Unsigned = uint64_t;

Integer divided(Integer x, Integer z) {
  return z == 0 ? 0 : z == -1 ? static_cast<Integer>(-static_cast<Unsigned>(x)) : x / z;
}
Integer power(Integer x, Integer z) {
  if (z < 0) return x == 1 ? 1 : x == -1 ? 1 - 2 * (z & 1) : 0;
  Unsigned result = 1, square = static_cast<Unsigned>(x);
  for (Integer left = z; left; left >>= 1, square *= square) result *= left & 1 ? square : 1;
  return static_cast<Integer>(result);
}

// Functions of integers, which go round where they leave 64 bits. A quotient is cut off, and 0 by
// 0; a power is 0 where it is no integer.
struct OfIntegers {
  MapCode code;
  Integer (*function)(Integer x, Integer z);
};
constexpr OfIntegers kOfIntegers[] = {
    {MapCode::kAdd,
     [](Integer x, Integer z) {
       return static_cast<Integer>(static_cast<Unsigned>(x) + static_cast<Unsigned>(z));
     }},
    {MapCode::kSub,
     [](Integer x, Integer z) {
       return static_cast<Integer>(static_cast<Unsigned>(x) - static_cast<Unsigned>(z));
     }},
    {MapCode::kMul,
     [](Integer x, Integer z) {
       return static_cast<Integer>(static_cast<Unsigned>(x) * static_cast<Unsigned>(z));
     }},
    {MapCode::kDiv, divided},
    {MapCode::kPow, power},
    {MapCode::kMax, [](Integer x, Integer z) { return std::max(x, z); }},
    {MapCode::kMin, [](Integer x, Integer z) { return std::min(x, z); }},
    {MapCode::kNeg, [](Integer x, Integer) { return divided(x, -1); }},
    {MapCode::kAbs, [](Integer x, Integer) { return x < 0 ? divided(x, -1) : x; }},
    {MapCode::kSign,
     [](Integer x, Integer) { return static_cast<Integer>(x > 0) - static_cast<Integer>(x < 0); }},
};

const OfIntegers* of_integers(MapCode code) {
  for (const OfIntegers& each : kOfIntegers)
    if (each.code == code) return &each;
  return nullptr;
}

void run_integers(const MapArgs& a, const Operands& o) {
  const auto* from = static_cast<const int64_t*>(o.x);
  const auto* operand = static_cast<const int64_t*>(o.operand);
  auto* to = static_cast<int64_t*>(o.y);
  const auto function = of_integers(a.function.code)->function;
  share(a, o.pool, [&](int64_t first, int64_t last, int64_t begin, int64_t end) {
    each_rows(a, first, last, begin, [&](int64_t rows, int64_t x, int64_t z, int64_t y) {
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t i = 0; i < end - begin; ++i) {
          const int64_t second = operand ? operand[z + row * a.rows.z + i * a.row.z] : 0;
          to[y + row * a.rows.y + i] = function(from[x + row * a.rows.x + i], second);
        }
      }
    });
  });
}

constexpr auto kCode = plan_code<&run_elementwise>("elementwise");
constexpr auto kIntegersCode = plan_code<&run_integers>("integers");

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

class Integers final : public Algorithm {
 public:
  const char* name() const override { return "integers"; }
  Kinds kinds() const override { return {Kind::kMap}; }
  bool any_types() const override { return true; }
  bool uses_kernels() const override { return false; }
  double cost(const Problem& p, const Context&) const override {
    const double numbers = static_cast<double>(p.n * p.y.dims.count());
    return parallel_cycles(8 * numbers, numbers / 4096, p.threads) + 100;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    return make_plan(kIntegersCode, args_of(p, context.kernels.width), context);
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    if (p.x.dtype != DType::kI64 || p.y.dtype != DType::kI64) return "for int64 only";
    if (!of_integers(p.map().code)) return "not a function of integers";
    if (p.x.layout != Layout::kNchw || p.y.layout != Layout::kNchw) return "reads planes only";
    return p.end.limits.any() ? "integers have no limits" : "";
  }
};

const Algorithm_ kElementwise;
const Integers kIntegers;
const RegisterAlgorithm kRegistered(&kElementwise), kAlso(&kIntegers);

}  // namespace
}  // namespace linnet
