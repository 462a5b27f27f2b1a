// Register tiles of a depthwise convolution (see DepthwiseTile). Vectors of channels are the inner
// loop: a pixel's channels are neighbours in memory, while pixels that lie a power of two apart
// would meet in few lines of a cache.
#include "epilogue.h"
#include "vector.h"

namespace linnet {
namespace {

// Registers of a tile: a sum for each pixel, the weights of a row of the window for each row of
// pixels, a few inputs.
#if defined(LINNET_ISA_avx512) || defined(LINNET_ISA_neon)
constexpr int kRegisters = 32, kPairCols = 8;
#elif defined(LINNET_ISA_avx2)
constexpr int kRegisters = 16, kPairCols = 4;
#else
constexpr int kRegisters = 16, kPairCols = 0;
#endif
constexpr int columns(int kernel) {
  const int left = kRegisters - kernel - 3;
  return left < kMaxDepthwiseCols ? left : kMaxDepthwiseCols;
}

// Columns between the load of an input and its use: in-order cores wait for a load.
#if defined(LINNET_ISA_neon) || defined(LINNET_ISA_neon_vfpv4)
constexpr int kAhead = 2;
#else
constexpr int kAhead = 0;
#endif

// Whether to fetch the lines of results ahead; the gain was seen on x86-64, at stride 1, where they
// are half of what passes.
#if defined(LINNET_ISA_avx512) || defined(LINNET_ISA_avx2)
constexpr bool kFetches = true;
#else
constexpr bool kFetches = false;
#endif

// Whether vectors hold several groups: narrower ones hold one of as many channels, mostly.
#if defined(LINNET_ISA_avx512) || defined(LINNET_ISA_avx2)
constexpr bool kGroupsOfVectors = true;
#else
constexpr bool kGroupsOfVectors = false;
struct Rotation {  // never made
  Rotation(int members, int by);
  Vec operator()(Vec v) const;
};
#endif

struct Still {
  LINNET_INLINE Vec operator()(Vec v) const { return v; }
};

// One row of inputs, which rows of pixels meet with rows of the window that lie w_step apart.
template <int kKernel, int kStride, int kRows, int kCols, typename Turn = Still>
LINNET_INLINE void slide(Vec (*acc)[kCols][1], const float* x, ptrdiff_t x_col, const float* w,
                         ptrdiff_t w_step, ptrdiff_t w_col = kWidth, const Turn& turn = Turn()) {
  Vec weight[kRows][kKernel];
  LINNET_UNROLL
  for (int r = 0; r < kRows; ++r) {
    LINNET_UNROLL
    for (int s = 0; s < kKernel; ++s) weight[r][s] = load(w + r * w_step + s * w_col);
  }
  constexpr int kInputs = (kCols - 1) * kStride + kKernel;
  Vec value[kInputs];
  LINNET_UNROLL
  for (int i = 0; i < kInputs + kAhead; ++i) {
    if (i < kInputs) {
      value[i] = turn(load(x));
      x += x_col;
#if defined(LINNET_ISA_neon_vfpv4)
      __asm__("" : "+r"(x));  // or gcc keeps a pointer for every column instead of advancing one
#endif
    }
    const int j = i - kAhead;
    LINNET_UNROLL
    for (int s = 0; s < kKernel; ++s) {
      const int p = (j - s) / kStride;
      if (j < s || (j - s) % kStride != 0 || p >= kCols) continue;
      LINNET_UNROLL
      for (int r = 0; r < kRows; ++r) multiply_add(acc[r][p][0], weight[r][s], value[j]);
    }
  }
}

// A kernel of 0 stands for any.
template <int kKernel, int kStride, int kRows, int kCols>
void tile(const DepthwiseTile& given) {
  const DepthwiseTile t = given;  // which no store can change
  const float *x = t.x, *w = t.w, *bias = t.bias, *residual = t.residual;
  float* y = t.y;
  for (ptrdiff_t v = t.vecs; v > 0; --v, x += kWidth, w += t.w_vec, bias += kWidth, y += kWidth) {
    Vec acc[kRows][kCols][1];
    const Vec first = load(bias);
    LINNET_UNROLL
    for (int r = 0; r < kRows; ++r) {
      LINNET_UNROLL
      for (int p = 0; p < kCols; ++p) acc[r][p][0] = first;
    }
    const float *x_row = x, *w_row = w;
    const auto next = [&] { x_row += t.x_row, w_row += t.w_row; };
    if constexpr (kKernel == 0) {
      for (ptrdiff_t i = t.rows; i > 0; --i, next()) {
        const float *x_tap = x_row, *w_tap = w_row;
        for (ptrdiff_t s = t.cols; s > 0; --s, x_tap += t.x_col, w_tap += kWidth) {
          const Vec weight = load(w_tap);
          LINNET_UNROLL
          for (int p = 0; p < kCols; ++p)
            acc[0][p][0] = fma(acc[0][p][0], weight, load(x_tap + p * t.x_pixel));
        }
      }
    } else if constexpr (kRows == 1) {
      for (ptrdiff_t i = t.rows; i > 0; --i, next())
        slide<kKernel, kStride, 1>(acc, x_row, t.x_col, w_row, 0);
    } else {
      const ptrdiff_t step = t.row_step * t.w_row;
      for (ptrdiff_t i = t.row_step; i > 0; --i, next())
        slide<kKernel, kStride, 1>(acc, x_row, t.x_col, w_row, 0);
      for (ptrdiff_t i = t.rows - t.row_step; i > 0; --i, next())
        slide<kKernel, kStride, 2>(acc, x_row, t.x_col, w_row, -step);
      for (ptrdiff_t i = t.row_step; i > 0; --i, next())
        slide<kKernel, kStride, 1>(acc + 1, x_row, t.x_col, w_row - step, 0);
    }
    LINNET_UNROLL
    for (int r = 0; r < kRows; ++r) {
      float* at = y + r * t.y_row;
      finish(acc[r], kCols, residual ? residual + r * t.y_row : nullptr, t.limits, false, at,
             t.y_pixel);
      // The next tile's: written in pieces too far apart for the processor to fetch ahead itself.
      if constexpr (kFetches && kStride == 1) {
        LINNET_UNROLL
        for (int p = kCols; p < 2 * kCols; ++p) __builtin_prefetch(at + p * t.y_pixel, 1);
      }
    }
    if (residual) residual += kWidth;
  }
}

// What one place of each group, turned to, adds to a row of pixels.
template <int kKernel, int kStride, int kCols, typename Turn>
LINNET_INLINE void turned(Vec (*acc)[kCols][1], const DepthwiseTile& t, const float* x,
                          const float* w, const Turn& turn) {
  const ptrdiff_t w_col = t.members * kWidth;
  for (ptrdiff_t i = t.rows; i > 0; --i, x += t.x_row, w += t.w_row) {
    if constexpr (kKernel > 0) {
      slide<kKernel, kStride, 1, kCols>(acc, x, t.x_col, w, 0, w_col, turn);
    } else {
      const float *x_tap = x, *w_tap = w;
      for (ptrdiff_t s = t.cols; s > 0; --s, x_tap += t.x_col, w_tap += w_col) {
        const Vec weight = load(w_tap);
        LINNET_UNROLL
        for (int p = 0; p < kCols; ++p)
          acc[0][p][0] = fma(acc[0][p][0], weight, turn(load(x_tap + p * t.x_pixel)));
      }
    }
  }
}

template <int kKernel, int kStride, int kCols>
void grouped(const DepthwiseTile& given) {
  const DepthwiseTile t = given;  // which no store can change
  for (ptrdiff_t v = 0; v < t.vecs; ++v) {
    const float *x = t.x + v * kWidth, *w = t.w + v * t.w_vec;
    Vec acc[1][kCols][1];
    const Vec first = load(t.bias + v * kWidth);
    LINNET_UNROLL
    for (int p = 0; p < kCols; ++p) acc[0][p][0] = first;
    turned<kKernel, kStride>(acc, t, x, w, Still());
    for (int r = 1; r < t.members; ++r)
      turned<kKernel, kStride>(acc, t, x, w + r * kWidth, Rotation(t.members, r));
    finish(acc[0], kCols, t.residual ? t.residual + v * kWidth : nullptr, t.limits, false,
           t.y + v * kWidth, t.y_pixel);
  }
}

// One pixel of any window, some vectors of channels at a time: those of a single one would wait for
// each other.
template <int kVecs>
LINNET_INLINE void vectors(const DepthwiseTile& t, ptrdiff_t vec) {
  Vec acc[1][kVecs];
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) acc[0][v] = load(t.bias + (vec + v) * kWidth);
  const float *x_row = t.x + vec * kWidth, *w_row = t.w + vec * t.w_vec;
  const ptrdiff_t w_vec = t.w_vec;
  for (ptrdiff_t i = t.rows; i > 0; --i, x_row += t.x_row, w_row += t.w_row) {
    const float *x = x_row, *w = w_row;
    for (ptrdiff_t s = t.cols; s > 0; --s, x += t.x_col, w += kWidth) {
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v)
        multiply_add(acc[0][v], load(w + v * w_vec), load(x + v * kWidth));
    }
  }
  const ptrdiff_t at = vec * kWidth;
  finish(acc, 1, t.residual ? t.residual + at : nullptr, t.limits, false, t.y + at, 0);
}

void pixel(const DepthwiseTile& given) {
  constexpr int kVecs = 4;
  const DepthwiseTile t = given;
  ptrdiff_t vec = 0;
  for (; vec + kVecs <= t.vecs; vec += kVecs) vectors<kVecs>(t, vec);
  for (; vec < t.vecs; ++vec) vectors<1>(t, vec);
}

template <int kKernel, int kStride, int kRows, int kCols, bool kGroups = false>
constexpr void fill(DepthwiseTiles* tiles) {
  if constexpr (kCols > 0) {
    if (tiles->cols[kRows] < kCols) tiles->cols[kRows] = kCols;
    if constexpr (kGroups) {
      tiles->tile[kRows][kCols] = grouped<kKernel, kStride, kCols>;
    } else {
      tiles->tile[kRows][kCols] = tile<kKernel, kStride, kRows, kCols>;
    }
    fill<kKernel, kStride, kRows, kCols - 1, kGroups>(tiles);
  }
}

template <int kKernel, int kStride>
constexpr void fill_row(Kernels* table) {
  constexpr int kCols = columns(kKernel);
  fill<kKernel, kStride, 1, kCols>(&table->depthwise[kKernel][kStride]);
}

template <int kKernel, int kStride>
constexpr void fill_groups(Kernels* table) {
  constexpr int kCols = columns(kKernel) - (kKernel > 0);  // a register holds the turn
  if constexpr (kGroupsOfVectors)
    fill<kKernel, kStride, 1, kCols, true>(&table->grouped[kKernel][kStride]);
}

}  // namespace
}  // namespace linnet

LINNET_EXPORT(depthwise)(linnet::Kernels* table) {
  using namespace linnet;
  fill_row<0, 0>(table);
  table->depthwise[0][0].tile[1][1] = pixel;
  fill_row<3, 1>(table);
  fill_row<3, 2>(table);
  fill_row<5, 1>(table);
  fill_row<5, 2>(table);
  fill_row<7, 1>(table);
  fill<3, 1, 2, kPairCols>(&table->depthwise[3][1]);
  fill<3, 2, 2, kPairCols>(&table->depthwise[3][2]);
  fill_groups<0, 0>(table);
  fill_groups<3, 1>(table);
  fill_groups<3, 2>(table);
}
