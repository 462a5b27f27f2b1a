// What becomes of a kernel's sums while they are in registers: residual, activation, and their way
// into memory. Every kernel that computes a convolution ends with this.
//
// v[p] are the vectors of channels of pixel p; of the kPixels in registers the first `pixels`
// count, which are `step` floats apart in memory.
#pragma once

#include "vector.h"

namespace linnet {
namespace {

template <int kVecs, int kPixels>
LINNET_INLINE void add_residual(Vec (&v)[kPixels][kVecs], int pixels, const float* residual,
                                ptrdiff_t step) {
  LINNET_UNROLL
  for (int p = 0; p < kPixels; ++p, residual += step) {
    if (p == pixels) break;
    LINNET_UNROLL
    for (int i = 0; i < kVecs; ++i) v[p][i] = add(v[p][i], load(residual + i * kWidth));
  }
}

// Maxima and minima take turns with multiply-adds, so none for nothing.
template <int kVecs, int kPixels>
LINNET_INLINE void limit(Vec (&v)[kPixels][kVecs], int pixels, Limits limits) {
  if (limits.low > -kInfinity) {
    const Vec low = splat(limits.low);
    LINNET_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      if (p == pixels) break;
      LINNET_UNROLL
      for (int i = 0; i < kVecs; ++i) v[p][i] = max(low, v[p][i]);
    }
  }
  if (limits.high < kInfinity) {
    const Vec high = splat(limits.high);
    LINNET_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      if (p == pixels) break;
      LINNET_UNROLL
      for (int i = 0; i < kVecs; ++i) v[p][i] = min(high, v[p][i]);
    }
  }
}

// With kMerge into what y holds, by the larger; kNan if either may be NaN, which is then kept.
template <bool kMerge, bool kNan, int kVecs, int kPixels>
LINNET_INLINE void write(const Vec (&v)[kPixels][kVecs], int pixels, float* y, ptrdiff_t step) {
  LINNET_UNROLL
  for (int p = 0; p < kPixels; ++p, y += step) {
    if (p == pixels) break;
    LINNET_UNROLL
    for (int i = 0; i < kVecs; ++i) {
      Vec value = v[p][i];
      if constexpr (kMerge) {
        const Vec held = load(y + i * kWidth);
        value = kNan ? maximum(held, value) : max(held, value);
      }
      store(y + i * kWidth, value);
    }
  }
}

template <bool kNan, int kVecs, int kPixels>
LINNET_INLINE void write(const Vec (&v)[kPixels][kVecs], int pixels, bool merge, float* y,
                         ptrdiff_t step) {
  if (merge) {
    write<true, kNan>(v, pixels, y, step);
  } else {
    write<false, kNan>(v, pixels, y, step);
  }
}

// All of it; a null residual is none. What is not stored may be limited as well.
template <bool kNan = true, int kVecs, int kPixels>
LINNET_INLINE void finish(Vec (&v)[kPixels][kVecs], int pixels, const float* residual,
                          Limits limits, bool merge, float* y, ptrdiff_t step) {
  if (residual) add_residual(v, pixels, residual, step);
  limit(v, kPixels, limits);
  write<kNan>(v, pixels, merge, y, step);
}

}  // namespace
}  // namespace linnet
