// Pooling. Of channels-last rows a few vectors of channels of one window at a time; of planes a row
// of windows, whose columns are reduced first.
//
// Sums are cut into blocks of kBlock x kBlock pixels, blocks into sums of kBlock blocks and so on,
// so that the error of an average grows with the logarithm of its pixels only.
#include "vector.h"

namespace linnet {
namespace {

constexpr int kBlock = 8;

struct Max {
  static constexpr bool kSums = false;
  static constexpr float kNone = -kInfinity;  // what changes nothing
  static LINNET_INLINE Vec combine(Vec more, Vec acc) { return maximum(more, acc); }
};
struct Sum {
  static constexpr bool kSums = true;
  static constexpr float kNone = 0;
  static LINNET_INLINE Vec combine(Vec more, Vec acc) { return add(acc, more); }
};

// Partial sums, each of kBlock of the level below, of kVecs vectors side by side.
template <int kVecs>
class Levels {
 public:
  LINNET_INLINE void add_block(const Vec (&block)[kVecs]) {
    Vec sum[kVecs];
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) sum[v] = block[v];
    int level = 0;
    for (;; ++level) {
      if (count_[level] > 0) {
        LINNET_UNROLL
        for (int v = 0; v < kVecs; ++v) sum[v] = add(level_[level][v], sum[v]);
      }
      if (++count_[level] < kBlock || level == kMost - 1) break;
      count_[level] = 0;
    }
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) level_[level][v] = sum[v];
  }
  LINNET_INLINE void total(Vec (&sum)[kVecs]) const {
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) sum[v] = splat(0);
    for (int level = 0; level < kMost; ++level) {
      if (count_[level] == 0) continue;
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v) sum[v] = add(sum[v], level_[level][v]);
    }
  }

 private:
  static constexpr int kMost = 8;
  Vec level_[kMost][kVecs];
  int64_t count_[kMost] = {};
};

template <class Op, int kVecs>
LINNET_INLINE void reduce_row(const float* x, ptrdiff_t x_col, int64_t cols, Vec (&acc)[kVecs]) {
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) acc[v] = load(x + v * kWidth);
  for (; cols > 1; --cols) {
    x += x_col;
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) acc[v] = Op::combine(load(x + v * kWidth), acc[v]);
  }
}

// Combines rows x cols pixels for kVecs vectors. Sums are those of rows, added up.
template <class Op, int kVecs>
LINNET_INLINE void reduce_block(const float* x, ptrdiff_t x_row, ptrdiff_t x_col, int64_t rows,
                                int64_t cols, Vec (&acc)[kVecs]) {
  reduce_row<Op>(x, x_col, cols, acc);
  for (; rows > 1; --rows) {
    x += x_row;
    Vec row[kVecs];
    reduce_row<Op>(x, x_col, cols, row);
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) acc[v] = Op::combine(row[v], acc[v]);
  }
}

template <class Op, int kVecs>
LINNET_INLINE void reduce(const float* x, ptrdiff_t x_row, ptrdiff_t x_col, int64_t rows,
                          int64_t cols, Vec (&acc)[kVecs]) {
  if (!Op::kSums || (rows <= kBlock && cols <= kBlock)) {
    reduce_block<Op>(x, x_row, x_col, rows, cols, acc);
    return;
  }
  Levels<kVecs> levels;
  for (int64_t r = 0; r < rows; r += kBlock) {
    const int64_t some_rows = rows - r < kBlock ? rows - r : kBlock;
    for (int64_t j = 0; j < cols; j += kBlock) {
      const int64_t some_cols = cols - j < kBlock ? cols - j : kBlock;
      reduce_block<Op>(x + r * x_row + j * x_col, x_row, x_col, some_rows, some_cols, acc);
      levels.add_block(acc);
    }
  }
  levels.total(acc);
}

// Taps k of 0..kernel with begin <= start + k * dilation < end, as the half-open range [first,
// last).
struct Range {
  int64_t first, last;
};
LINNET_INLINE int64_t steps(int64_t length, int64_t step) {
  return step == 1 ? length : (length + step - 1) / step;
}
LINNET_INLINE Range taps_inside(int64_t start, int64_t kernel, int64_t dilation, int64_t begin,
                                int64_t end) {
  Range r;
  r.first = start >= begin ? 0 : steps(begin - start, dilation);
  r.last = start >= end ? 0 : steps(end - start, dilation);
  if (r.last > kernel) r.last = kernel;
  if (r.first > r.last) r.first = r.last;
  return r;
}

template <class Op, int kVecs>
LINNET_INLINE void pixel(const float* x, ptrdiff_t x_row, ptrdiff_t x_col, int rows, int64_t cols,
                         float* y, Vec scale) {
  Vec acc[kVecs];
  reduce<Op>(x, x_row, x_col, rows, cols, acc);
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) store(y + v * kWidth, Op::kSums ? mul(acc[v], scale) : acc[v]);
}

template <class Op>
LINNET_INLINE void pool_row(const PoolRow& t) {
  constexpr int kVecs = 4;
  int64_t start = -static_cast<int64_t>(t.pad_l);
  float* y = t.y;
  for (int64_t o = 0; o < t.out_w; ++o, start += t.stride_w, y += t.y_col) {
    const Range in = taps_inside(start, t.kernel_w, t.dilation_w, 0, t.w);
    const int64_t cols = in.last - in.first;
    if (cols == 0 || t.rows == 0) {  // wholly in the padding: nothing to look at
      for (int64_t c = 0; c < t.channels; c += kWidth) store(y + c, splat(0));
      continue;
    }
    float scale = 1;
    if (Op::kSums) {
      const Range counted =
          t.include_pad ? taps_inside(start, t.kernel_w, t.dilation_w, start, t.w + t.pad_r) : in;
      scale = 1.0f / static_cast<float>((counted.last - counted.first) * t.divisor_rows);
    }
    const float* x = t.x + (start + in.first * t.dilation_w) * t.x_col;
    const ptrdiff_t step = t.dilation_w * t.x_col;
    int64_t c = 0;
    for (; c + kVecs * kWidth <= t.channels; c += kVecs * kWidth)
      pixel<Op, kVecs>(x + c, t.x_row, step, t.rows, cols, y + c, splat(scale));
    for (; c < t.channels; c += kWidth)
      pixel<Op, 1>(x + c, t.x_row, step, t.rows, cols, y + c, splat(scale));
  }
}

void max_pool_row(const PoolRow& t) { pool_row<Max>(t); }
void average_pool_row(const PoolRow& t) { pool_row<Sum>(t); }

// The columns of a plane's rows, each combined to one number; kTail: `w` is less than a vector.
template <class Op, bool kTail>
void reduce_columns(const float* x, ptrdiff_t x_row, int64_t rows, int64_t w, float* y) {
  if constexpr (kTail) {
    float lanes[kBlock * kWidth];
    Levels<1> levels;
    Vec acc[1] = {splat(Op::kNone)};
    for (int64_t r = 0; r < rows; r += kBlock) {
      const int64_t some = rows - r < kBlock ? rows - r : kBlock;
      for (int64_t i = 0; i < some; ++i, x += x_row) {
        for (int64_t j = 0; j < kWidth; ++j) lanes[i * kWidth + j] = j < w ? x[j] : 0;
      }
      Vec block[1];
      reduce_block<Op>(lanes, kWidth, 0, some, 1, block);
      if (Op::kSums) levels.add_block(block);
      acc[0] = Op::combine(block[0], acc[0]);
    }
    if (Op::kSums) levels.total(acc);
    store(y, acc[0]);
  } else {
    constexpr int kVecs = 4;
    int64_t i = 0;
    for (; i + kVecs * kWidth <= w; i += kVecs * kWidth) {
      Vec acc[kVecs];
      reduce<Op>(x + i, x_row, 0, rows, 1, acc);
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v) store(y + i + v * kWidth, acc[v]);
    }
    for (; i < w; i += kWidth) {
      if (i + kWidth > w) i = w - kWidth;  // some columns once more
      Vec acc[1];
      reduce<Op>(x + i, x_row, 0, rows, 1, acc);
      store(y + i, acc[0]);
    }
  }
}

// Numbers of the line that are `stride` apart, side by side.
LINNET_INLINE void divide_line(const PoolPlane& t) {
  if (t.stride == 2) {
    for (int64_t i = 0; 2 * i < t.columns; i += kWidth) {
      Vec even, odd;
      even_odd(load(t.line + 2 * i), load(t.line + 2 * i + kWidth), &even, &odd);
      store(t.lines + i, even);
      store(t.lines + t.length + i, odd);
    }
    return;
  }
  for (int64_t phase = 0; phase < t.stride; ++phase) {
    float* to = t.lines + phase * t.length;
    for (int64_t i = phase; i < t.columns; i += t.stride) *to++ = t.line[i];
  }
}

// kVecs vectors of neighbouring windows, of which the taps lie at `lines` + taps[...].
template <class Op, int kVecs>
LINNET_INLINE void reduce_taps(const float* lines, const int32_t* taps, int64_t count,
                               Vec (&acc)[kVecs]) {
  const auto combine = [&](int64_t first, int64_t last) {
    const float* x = lines + taps[first];
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) acc[v] = load(x + v * kWidth);
    while (++first < last) {
      x = lines + taps[first];
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v) acc[v] = Op::combine(load(x + v * kWidth), acc[v]);
    }
  };
  if (!Op::kSums || count <= kBlock) return combine(0, count);
  Levels<kVecs> levels;
  for (int64_t first = 0; first < count; first += kBlock) {
    combine(first, count - first < kBlock ? count : first + kBlock);
    levels.add_block(acc);
  }
  levels.total(acc);
}

template <class Op>
LINNET_INLINE void pool_plane(const PoolPlane& t) {
  const auto reduce = t.w < kWidth ? reduce_columns<Op, true> : reduce_columns<Op, false>;
  reduce(t.x, t.x_row, t.rows, t.w, t.line + t.pad_l);
  for (int64_t i = 0; i < t.pad_l; ++i) t.line[i] = Op::kNone;
  for (int64_t i = t.pad_l + t.w; i < t.columns; ++i) t.line[i] = Op::kNone;
  if (t.stride > 1) divide_line(t);
  const float* lines = t.stride > 1 ? t.lines : t.line;
  const Vec scale = splat(Op::kSums ? 1.0f / static_cast<float>(t.divisor_rows) : 1);
  constexpr int kVecs = 4;
  int64_t o = 0;
  for (; o + kVecs * kWidth <= t.out_w; o += kVecs * kWidth) {
    Vec acc[kVecs];
    reduce_taps<Op>(lines + o, t.taps, t.kernel, acc);
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      const int64_t at = o + v * kWidth;
      store(t.y + at, Op::kSums ? mul(acc[v], mul(load(t.scales + at), scale)) : acc[v]);
    }
  }
  for (; o < t.out_w; o += kWidth) {
    if (o + kWidth > t.out_w && t.out_w >= kWidth) o = t.out_w - kWidth;
    Vec acc[1];
    reduce_taps<Op>(lines + o, t.taps, t.kernel, acc);
    if (Op::kSums) acc[0] = mul(acc[0], mul(load(t.scales + o), scale));
    if (o + kWidth <= t.out_w) {
      store(t.y + o, acc[0]);
    } else {
      float lanes[kWidth];
      store(lanes, acc[0]);
      for (int64_t i = o; i < t.out_w; ++i) t.y[i] = lanes[i - o];
    }
  }
}

void max_pool_plane(const PoolPlane& t) { pool_plane<Max>(t); }
void average_pool_plane(const PoolPlane& t) { pool_plane<Sum>(t); }

}  // namespace
}  // namespace linnet

LINNET_EXPORT(pool)(linnet::Kernels* table) {
  table->max_pool_row = linnet::max_pool_row;
  table->average_pool_row = linnet::average_pool_row;
  table->max_pool_plane = linnet::max_pool_plane;
  table->average_pool_plane = linnet::average_pool_plane;
}
