// Sums, products and extremes of rows of numbers: of each column, or of all of them.
//
// Sums are cut into blocks of kBlock, and those into blocks of blocks, so that the error of a long
// one does not grow with its length.
#include "vector.h"

namespace linnet {
namespace {

constexpr int kBlock = 64;

LINNET_INLINE Vec negated(Vec x) { return sub(splat(0), x); }

struct Sum {
  static constexpr bool kSums = true;
  static constexpr float kNone = 0;  // what changes nothing
  static LINNET_INLINE Vec each(Vec x) { return x; }
  static LINNET_INLINE Vec combine(Vec more, Vec acc) { return add(acc, more); }
};
struct SumOfMagnitudes : Sum {
  static LINNET_INLINE Vec each(Vec x) { return max(x, negated(x)); }
};
struct SumOfSquares : Sum {
  static LINNET_INLINE Vec each(Vec x) { return mul(x, x); }
};
struct Multiplied : Sum {
  static constexpr bool kSums = false;
  static constexpr float kNone = 1;
  static LINNET_INLINE Vec combine(Vec more, Vec acc) { return mul(acc, more); }
};
struct Max : Multiplied {
  static constexpr float kNone = -kInfinity;
  static LINNET_INLINE Vec combine(Vec more, Vec acc) { return maximum(more, acc); }
};
struct Min : Multiplied {
  static constexpr float kNone = kInfinity;
  static LINNET_INLINE Vec combine(Vec more, Vec acc) {
    return negated(maximum(negated(more), negated(acc)));
  }
};

// The result so far for kVecs vectors side by side.
template <class Op, int kVecs>
class Result {
 public:
  LINNET_INLINE Result() {
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) block_[v] = blocks_[v] = rest_[v] = splat(Op::kNone);
  }
  LINNET_INLINE void take(const float* x) {
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v)
      block_[v] = Op::combine(Op::each(load(x + v * kWidth)), block_[v]);
    if (!Op::kSums || ++taken_ < kBlock) return;
    taken_ = 0;
    const bool full = ++full_ == kBlock;
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      blocks_[v] = add(blocks_[v], block_[v]);
      block_[v] = splat(0);
      if (!full) continue;
      rest_[v] = add(rest_[v], blocks_[v]);
      blocks_[v] = splat(0);
    }
    if (full) full_ = 0;
  }
  LINNET_INLINE Vec get(int v) const {
    return Op::combine(rest_[v], Op::combine(blocks_[v], block_[v]));
  }

 private:
  Vec block_[kVecs], blocks_[kVecs], rest_[kVecs];
  int taken_ = 0, full_ = 0;
};

template <class Op, int kVecs>
LINNET_INLINE void columns(const Reduction& t, const float* x, float* y) {
  Result<Op, kVecs> result;
  for (int64_t i = 0; i < t.rows[0]; ++i) {
    for (int64_t j = 0; j < t.rows[1]; ++j) result.take(x + i * t.step[0] + j * t.step[1]);
  }
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) store(y + v * kWidth, mul(result.get(v), splat(t.scale)));
}

// Columns that fill no vector go through one that they do not fill.
template <class Op>
LINNET_INLINE void last_columns(const Reduction& t, int64_t first) {
  float row[kWidth] = {};
  const int64_t count = t.count - first;
  Result<Op, 1> result;
  for (int64_t i = 0; i < t.rows[0]; ++i) {
    for (int64_t j = 0; j < t.rows[1]; ++j) {
      for (int64_t c = 0; c < count; ++c) row[c] = t.x[first + i * t.step[0] + j * t.step[1] + c];
      result.take(row);
    }
  }
  store(row, mul(result.get(0), splat(t.scale)));
  for (int64_t c = 0; c < count; ++c) t.y[first + c] = row[c];
}

template <class Op>
void reduce_rows(const Reduction& t) {
  constexpr int kVecs = 4;
  int64_t c = 0;
  for (; c + kVecs * kWidth <= t.count; c += kVecs * kWidth)
    columns<Op, kVecs>(t, t.x + c, t.y + c);
  for (; c + kWidth <= t.count; c += kWidth) columns<Op, 1>(t, t.x + c, t.y + c);
  if (c < t.count) last_columns<Op>(t, c);
}

template <class Op>
void reduce_all(const Reduction& t) {
  constexpr int kVecs = 4;
  Result<Op, kVecs> wide;
  Result<Op, 1> narrow;
  float last[kWidth];
  for (int c = 0; c < kWidth; ++c) last[c] = Op::kNone;
  for (int64_t i = 0; i < t.rows[0]; ++i) {
    for (int64_t j = 0; j < t.rows[1]; ++j) {
      const float* x = t.x + i * t.step[0] + j * t.step[1];
      int64_t c = 0;
      for (; c + kVecs * kWidth <= t.count; c += kVecs * kWidth) wide.take(x + c);
      for (; c + kWidth <= t.count; c += kWidth) narrow.take(x + c);
      if (c == t.count) continue;
      for (int64_t k = 0; c + k < t.count; ++k) last[k] = x[c + k];
      narrow.take(last);
    }
  }
  Vec acc = narrow.get(0);
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) acc = Op::combine(wide.get(v), acc);
  // The halves of the lanes, as often as there are any.
  float lanes[2 * kWidth];
  for (int count = kWidth / 2; count > 0; count /= 2) {
    store(lanes, acc);
    for (int k = 0; k < kWidth; ++k) lanes[kWidth + k] = Op::kNone;
    for (int k = count; k < kWidth; ++k) lanes[kWidth + k - count] = lanes[k];
    for (int k = count; k < kWidth; ++k) lanes[k] = Op::kNone;
    acc = Op::combine(load(lanes), load(lanes + kWidth));
  }
  store(lanes, mul(acc, splat(t.scale)));
  *t.y = lanes[0];
}

template <class Op>
constexpr void set(Kernels* table, ReduceCode code) {
  table->reduce_rows[static_cast<int>(code)] = reduce_rows<Op>;
  table->reduce_all[static_cast<int>(code)] = reduce_all<Op>;
}

}  // namespace
}  // namespace linnet

LINNET_EXPORT(reduce)(linnet::Kernels* table) {
  using linnet::ReduceCode;
  linnet::set<linnet::Sum>(table, ReduceCode::kMean);
  linnet::set<linnet::Sum>(table, ReduceCode::kSum);
  linnet::set<linnet::Max>(table, ReduceCode::kMax);
  linnet::set<linnet::Min>(table, ReduceCode::kMin);
  linnet::set<linnet::Multiplied>(table, ReduceCode::kProduct);
  linnet::set<linnet::SumOfMagnitudes>(table, ReduceCode::kSumOfMagnitudes);
  linnet::set<linnet::SumOfSquares>(table, ReduceCode::kSumOfSquares);
}
