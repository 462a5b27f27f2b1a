// Copies numbers that lie in any order of regular steps, as transposes and slices leave them, to an
// image: one pass, whatever became of the axes on the way.

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"
#include "core/atoms.h"

namespace linnet {
namespace {

// Numbers of one block along the axis that is contiguous in y: as many lines of x stay in the
// first-level cache until the neighbours in them are read.
constexpr int64_t kBlock = 64;

// Through x and the part of y that it becomes; nothing where their steps have no common parts.
std::optional<std::vector<Loop>> loops_of(const Problem& p, int width) {
  const int64_t pitch = p.y.image(width) / (p.y.dims.h * p.y.dims.w);
  return loops(p.move().atoms, atoms_of(p.x.dims, p.y.layout, pitch, width));
}

struct StridedCopyArgs {
  int64_t n, size;           // images, bytes of a number
  int64_t x_image, y_image;  // from one to the next
  int64_t y_first;           // number of y that the first of x becomes
  Loop beside, inner;        // loops
  int64_t outer, depth;      // turns of all around them, and how many those are
  // Lanes of padding in each of so many pixels of y, behind its channels.
  int64_t padding, pixels, pixel, channels;
};

// Numbers that lie side by side in both. kCount: 0 for any number.
template <int kCount, typename T>
void copy_runs(const Loop& beside, const T* x, T* y, int64_t rows, int64_t count) {
  const size_t bytes = static_cast<size_t>(kCount > 0 ? kCount : count) * sizeof(T);
  for (int64_t i = 0; i < rows; ++i) std::memcpy(y + i * beside.y, x + i * beside.x, bytes);
}

template <typename T>
void copy(const StridedCopyArgs& a, const void* from, int64_t x_at, void* to, int64_t y_at,
          int64_t rows) {
  const Loop beside = a.beside, inner = a.inner;
  const T* x = static_cast<const T*>(from) + x_at;
  T* y = static_cast<T*>(to) + y_at;
  if (inner.x == 1 && inner.y == 1) {
    // A call for each pixel of a picture would take most of the time.
    if (inner.count == 3) return copy_runs<3>(beside, x, y, rows, 3);
    return copy_runs<0>(beside, x, y, rows, inner.count);
  }
  for (int64_t begin = 0; begin < inner.count; begin += kBlock) {
    const int64_t end = std::min(inner.count, begin + kBlock);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = begin; j < end; ++j)
        y[i * beside.y + j * inner.y] = x[i * beside.x + j * inner.x];
    }
  }
}

// Its only weights are the outer loops.
void run_strided_copy(const StridedCopyArgs& a, const Operands& o) {
  const auto* loops = static_cast<const Loop*>(o.weights[0]);
  const int64_t blocks = ceil_div(a.beside.count, kBlock);
  o.pool.parallel_for(a.n * a.outer * blocks, [&](int64_t task, int) {
    const int64_t block = task % blocks * kBlock;
    int64_t outer = task / blocks % a.outer;
    const int64_t image = task / blocks / a.outer;
    int64_t from = image * a.x_image + block * a.beside.x;
    int64_t to = image * a.y_image + a.y_first + block * a.beside.y;
    for (int64_t i = a.depth; i-- > 0; outer /= loops[i].count) {
      from += outer % loops[i].count * loops[i].x;
      to += outer % loops[i].count * loops[i].y;
    }
    const int64_t rows = std::min(kBlock, a.beside.count - block);
    switch (a.size) {
      case 1:
        return copy<uint8_t>(a, o.x, from, o.y, to, rows);
      case 2:
        return copy<uint16_t>(a, o.x, from, o.y, to, rows);
      case 4:
        return copy<uint32_t>(a, o.x, from, o.y, to, rows);
      default:
        return copy<uint64_t>(a, o.x, from, o.y, to, rows);
    }
  });
  if (a.padding == 0) return;
  auto* y = static_cast<char*>(o.y);
  for (int64_t i = 0; i < a.n * a.pixels; ++i) {
    std::memset(y + (i * a.pixel + a.channels) * a.size, 0,
                static_cast<size_t>(a.padding * a.size));
  }
}

constexpr auto kCode = plan_code<&run_strided_copy>("strided_copy");

class StridedCopy final : public Algorithm {
 public:
  const char* name() const override { return "strided-copy"; }
  Kinds kinds() const override { return {Kind::kMove}; }
  bool uses_kernels() const override { return false; }
  bool any_types() const override { return true; }
  double cost(const Problem& p, const Context&) const override {
    const double numbers = static_cast<double>(p.n * p.x.dims.count());
    const double bytes = 2 * numbers * static_cast<double>(size_of(p.y.dtype));
    return parallel_cycles(1.5 * numbers + stream_cycles(bytes, bytes), numbers / 4096, p.threads) +
           100;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    const int width = context.kernels.width;
    const Dims& d = p.y.dims;
    const int64_t pixels = d.h * d.w, first = p.move().first;
    std::vector<Loop> loops = *loops_of(p, width);
    std::sort(loops.begin(), loops.end(), [](const Loop& a, const Loop& b) { return a.y > b.y; });
    // The loop that is fastest in x runs beside the one that is fastest in y.
    if (loops.size() > 1) {
      const auto fastest = std::min_element(loops.begin(), loops.end() - 1,
                                            [](const Loop& a, const Loop& b) { return a.x < b.x; });
      std::rotate(fastest, fastest + 1, loops.end() - 1);
    }
    while (loops.size() < 2) loops.insert(loops.begin(), {1, 0, 0});
    StridedCopyArgs a{};
    a.n = p.n, a.size = size_of(p.y.dtype);
    a.x_image = p.move().image, a.y_image = p.y.image(width);
    a.y_first = first * (p.y.layout == Layout::kNchw ? pixels : 1);
    a.inner = loops.back();
    loops.pop_back();
    a.beside = loops.back();
    loops.pop_back();
    a.depth = static_cast<int64_t>(loops.size()), a.outer = 1;
    for (const Loop& loop : loops) a.outer *= loop.count;
    // Behind bytes there may be anything.
    if (p.y.layout == Layout::kNhwc && first + p.x.dims.c == d.c && !is_byte(p.y.dtype))
      a.padding = round_up(d.c, width) - d.c;
    a.pixels = pixels, a.pixel = p.y.pixel(width), a.channels = d.c;
    return make_plan(kCode, a, context, 0, {plan_table(loops)});
  }

 private:
  std::string objection(const Problem& p, const Context& context) const override {
    if (p.move().atoms.empty()) return "the numbers lie as an image does";
    return loops_of(p, context.kernels.width)
               ? ""
               : "the steps of input and output have no common parts";
  }
};

const StridedCopy kStridedCopy;
const RegisterAlgorithm kRegistered(&kStridedCopy);

}  // namespace
}  // namespace linnet
