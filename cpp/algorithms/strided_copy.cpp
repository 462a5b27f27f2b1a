// Copies numbers that lie in any order of regular steps, as transposes and slices leave them, to an
// image: one pass, whatever became of the axes on the way.

#include <algorithm>
#include <cstring>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"
#include "core/atoms.h"

namespace linnet {
namespace {

// Numbers of one block along the axis that is contiguous in y: as many lines of x stay in the
// first-level cache until the neighbours in them are read.
constexpr int64_t kBlock = 64;

class StridedCopyPlan final : public PlanObject {
 public:
  StridedCopyPlan(const Problem& problem, const Context& context)
      : n_(problem.n),
        size_(size_of(problem.y.dtype)),
        x_image_(problem.move().image),
        width_(context.kernels.width),
        y_(problem.y),
        part_(problem.x.dims),
        first_(problem.move().first),
        loops_(loops_of(problem, context.kernels.width)) {
    const int64_t pixels = y_.dims.h * y_.dims.w;
    y_first_ = first_ * (y_.layout == Layout::kNchw ? pixels : 1);
    std::sort(loops_.begin(), loops_.end(), [](const Loop& a, const Loop& b) { return a.y > b.y; });
    // The loop that is fastest in x runs beside the one that is fastest in y.
    if (loops_.size() > 1) {
      const auto fastest = std::min_element(loops_.begin(), loops_.end() - 1,
                                            [](const Loop& a, const Loop& b) { return a.x < b.x; });
      std::rotate(fastest, fastest + 1, loops_.end() - 1);
    }
    while (loops_.size() < 2) loops_.insert(loops_.begin(), {1, 0, 0});
    for (size_t i = 0; i + 2 < loops_.size(); ++i) outer_ *= loops_[i].count;
  }

  void run(const Operands& o) const override {
    const Loop& beside = loops_[loops_.size() - 2];
    const int64_t blocks = ceil_div(beside.count, kBlock);
    const auto* x = reinterpret_cast<const char*>(o.x);
    auto* y = reinterpret_cast<char*>(o.y);
    o.pool.parallel_for(n_ * outer_ * blocks, [&](int64_t task, int) {
      const int64_t block = task % blocks * kBlock;
      int64_t outer = task / blocks % outer_;
      const int64_t image = task / blocks / outer_;
      int64_t from = image * x_image_ + block * beside.x;
      int64_t to = image * y_.image(width_) + y_first_ + block * beside.y;
      for (size_t i = loops_.size() - 2; i-- > 0; outer /= loops_[i].count) {
        from += outer % loops_[i].count * loops_[i].x;
        to += outer % loops_[i].count * loops_[i].y;
      }
      const int64_t rows = std::min(kBlock, beside.count - block);
      switch (size_) {
        case 1:
          return copy<uint8_t>(x, from, y, to, rows);
        case 2:
          return copy<uint16_t>(x, from, y, to, rows);
        case 4:
          return copy<uint32_t>(x, from, y, to, rows);
        default:
          return copy<uint64_t>(x, from, y, to, rows);
      }
    });
    if (y_.layout == Layout::kNhwc && first_ + part_.c == y_.dims.c) zero_padding(y);
  }

 private:
  static std::vector<Loop> loops_of(const Problem& p, int width) {
    Operand part = p.y;
    part.dims = p.x.dims;
    part.pitch = p.y.image(width) / (p.y.dims.h * p.y.dims.w);
    return *loops(p.move().atoms, atoms_of(part.dims, part.layout, part.pitch, width));
  }

  template <typename T>
  void copy(const char* x_bytes, int64_t from, char* y_bytes, int64_t to, int64_t rows) const {
    const Loop &beside = loops_[loops_.size() - 2], &inner = loops_.back();
    const T* x = reinterpret_cast<const T*>(x_bytes) + from;
    T* y = reinterpret_cast<T*>(y_bytes) + to;
    if (inner.x == 1 && inner.y == 1) {
      for (int64_t i = 0; i < rows; ++i) {
        std::memcpy(y + i * beside.y, x + i * beside.x,
                    static_cast<size_t>(inner.count) * sizeof(T));
      }
      return;
    }
    for (int64_t begin = 0; begin < inner.count; begin += kBlock) {
      const int64_t end = std::min(inner.count, begin + kBlock);
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = begin; j < end; ++j)
          y[i * beside.y + j * inner.y] = x[i * beside.x + j * inner.x];
      }
    }
  }

  void zero_padding(char* y) const {
    const int64_t lanes = round_up(y_.dims.c, width_) - y_.dims.c, pixel = y_.pixel(width_);
    if (lanes == 0) return;
    for (int64_t i = 0; i < n_ * y_.dims.h * y_.dims.w; ++i)
      std::memset(y + (i * pixel + y_.dims.c) * size_, 0, static_cast<size_t>(lanes * size_));
  }

  const int64_t n_, size_, x_image_;
  const int width_;
  const Operand y_;
  const Dims part_;
  const int64_t first_;
  std::vector<Loop> loops_;
  int64_t y_first_ = 0, outer_ = 1;
};

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
    return plan_of(std::make_unique<StridedCopyPlan>(p, context), context);
  }

 private:
  std::string objection(const Problem& p, const Context& context) const override {
    if (p.move().atoms.empty()) return "the numbers lie as an image does";
    Operand part = p.y;
    part.dims = p.x.dims;
    const auto to = atoms_of(part.dims, part.layout,
                             p.y.image(context.kernels.width) / (p.y.dims.h * p.y.dims.w),
                             context.kernels.width);
    return loops(p.move().atoms, to) ? "" : "the steps of input and output have no common parts";
  }
};

const StridedCopy kStridedCopy;
const RegisterAlgorithm kRegistered(&kStridedCopy);

}  // namespace
}  // namespace linnet
