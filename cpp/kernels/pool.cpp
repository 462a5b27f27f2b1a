// Pooling over channels-last rows: one output row per call, a few vectors of channels of one window
// at a time.
#include "vector.h"

namespace linnet {
namespace {

struct Max {
  static LINNET_INLINE Vec combine(Vec a, Vec b) { return max(a, b); }
};
struct Sum {
  static LINNET_INLINE Vec combine(Vec a, Vec b) { return add(a, b); }
};

// Combines a window of rows x cols pixels for kVecs vectors of channels, and scales the result.
template <class Op, int kVecs>
LINNET_INLINE void reduce(const float* x, ptrdiff_t x_row, ptrdiff_t x_col, int rows, int64_t cols,
                          float* y, Vec scale) {
  Vec acc[kVecs];
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) acc[v] = load(x + v * kWidth);
  int64_t j = 1;  // pixel 0 of row 0 is in already
  for (int r = 0; r < rows; ++r, x += x_row, j = 0) {
    for (; j < cols; ++j) {
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        acc[v] = Op::combine(acc[v], load(x + j * x_col + v * kWidth));
      }
    }
  }
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) store(y + v * kWidth, mul(acc[v], scale));
}

// Taps k of 0..kernel with begin <= start + k * dilation < end, as the half-open range [first,
// last).
struct Range {
  int64_t first, last;
};
LINNET_INLINE Range taps_inside(int64_t start, int64_t kernel, int64_t dilation, int64_t begin,
                                int64_t end) {
  Range r;
  r.first = start >= begin ? 0 : (begin - start + dilation - 1) / dilation;
  r.last = start >= end ? 0 : (end - start + dilation - 1) / dilation;
  if (r.last > kernel) r.last = kernel;
  if (r.first > r.last) r.first = r.last;
  return r;
}

template <class Op, bool kAverage>
LINNET_INLINE void pool_row(const PoolRow& t) {
  constexpr int kBlock = 4;
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
    if (kAverage) {
      const Range counted =
          t.include_pad ? taps_inside(start, t.kernel_w, t.dilation_w, start, t.w + t.pad_r) : in;
      scale = 1.0f / static_cast<float>((counted.last - counted.first) * t.divisor_rows);
    }
    const float* x = t.x + (start + in.first * t.dilation_w) * t.x_col;
    const ptrdiff_t step = t.dilation_w * t.x_col;
    int64_t c = 0;
    for (; c + kBlock * kWidth <= t.channels; c += kBlock * kWidth) {
      reduce<Op, kBlock>(x + c, t.x_row, step, t.rows, cols, y + c, splat(scale));
    }
    for (; c < t.channels; c += kWidth) {
      reduce<Op, 1>(x + c, t.x_row, step, t.rows, cols, y + c, splat(scale));
    }
  }
}

void max_pool_row(const PoolRow& t) { pool_row<Max, false>(t); }
void average_pool_row(const PoolRow& t) { pool_row<Sum, true>(t); }

}  // namespace
}  // namespace linnet

LINNET_EXPORT(pool)(linnet::Kernels* table) {
  table->max_pool_row = linnet::max_pool_row;
  table->average_pool_row = linnet::average_pool_row;
}
