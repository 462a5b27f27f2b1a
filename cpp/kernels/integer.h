// What kernels of integers share: sums of products in register tiles, and what becomes of them (see
// Requantization). Compiled without contraction of products and sums to one rounding, so that every
// instruction set gives the same numbers.
#pragma once

#include "vector.h"

namespace linnet {
namespace {

// Vectors of as many int32 as a Vec has floats:
// - load_ints(p), splat_ints(x), add(a, b), to_floats(a);
// - to_ints(v): rounded to the nearest, to even between two, of numbers within 2^22;
// - store_bytes(p, a): the low byte of each;
// - load_bytes(p, flip): bytes xor those of flip, as floats.
#if defined(LINNET_ISA_scalar)

using Ints = int32_t;
LINNET_INLINE Ints load_ints(const int32_t* p) { return *p; }
LINNET_INLINE Ints splat_ints(int32_t x) { return x; }
LINNET_INLINE Vec to_floats(Ints a) { return static_cast<float>(a); }
LINNET_INLINE Ints add_ints(Ints a, Ints b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}
LINNET_INLINE void store_bytes(void* p, Ints a) {
  *static_cast<uint8_t*>(p) = static_cast<uint8_t>(a);
}
LINNET_INLINE Vec load_bytes(const void* p, uint32_t flip) {
  return static_cast<float>(*static_cast<const uint8_t*>(p) ^ (flip & 0xff));
}

#elif defined(LINNET_ISA_avx2)

using Ints = __m256i;
LINNET_INLINE Ints load_ints(const int32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
LINNET_INLINE Ints splat_ints(int32_t x) { return _mm256_set1_epi32(x); }
LINNET_INLINE Vec to_floats(Ints a) { return _mm256_cvtepi32_ps(a); }
LINNET_INLINE Ints add_ints(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
LINNET_INLINE void store_bytes(void* p, Ints a) {
  const __m256i first = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                         0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i fours = _mm256_shuffle_epi8(a, first);
  const __m128i eight =
      _mm_unpacklo_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
  _mm_storel_epi64(static_cast<__m128i*>(p), eight);
}
LINNET_INLINE Vec load_bytes(const void* p, uint32_t flip) {
  const __m128i bytes = _mm_xor_si128(_mm_loadl_epi64(static_cast<const __m128i*>(p)),
                                      _mm_set1_epi32(static_cast<int>(flip)));
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}

#elif defined(LINNET_ISA_avx512)

using Ints = __m512i;
LINNET_INLINE Ints load_ints(const int32_t* p) { return _mm512_loadu_si512(p); }
LINNET_INLINE Ints splat_ints(int32_t x) { return _mm512_set1_epi32(x); }
LINNET_INLINE Vec to_floats(Ints a) { return _mm512_cvtepi32_ps(a); }
LINNET_INLINE Ints add_ints(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
LINNET_INLINE void store_bytes(void* p, Ints a) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
}
LINNET_INLINE Vec load_bytes(const void* p, uint32_t flip) {
  const __m128i bytes = _mm_xor_si128(_mm_loadu_si128(static_cast<const __m128i*>(p)),
                                      _mm_set1_epi32(static_cast<int>(flip)));
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}

#else

using Ints = int32x4_t;
LINNET_INLINE Ints load_ints(const int32_t* p) { return vld1q_s32(p); }
LINNET_INLINE Ints splat_ints(int32_t x) { return vdupq_n_s32(x); }
LINNET_INLINE Vec to_floats(Ints a) { return vcvtq_f32_s32(a); }
LINNET_INLINE Ints add_ints(Ints a, Ints b) { return vaddq_s32(a, b); }
LINNET_INLINE void store_bytes(void* p, Ints a) {
  const int16x4_t halves = vmovn_s32(a);
  const int8x8_t bytes = vmovn_s16(vcombine_s16(halves, halves));
  const int32_t four = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
  __builtin_memcpy(p, &four, sizeof four);
}
LINNET_INLINE Vec load_bytes(const void* p, uint32_t flip) {
  uint32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  const uint16x8_t wide = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four ^ flip)));
  return vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide)));
}

#endif

// 2^23 + 2^22: added to a number within 2^22 it leaves no bits behind the point, rounded to even.
constexpr float kRounder = 12582912;
LINNET_INLINE Vec rounded(Vec v) {
  const Vec rounder = splat(kRounder);
  return sub(add(v, rounder), rounder);
}
#if defined(LINNET_ISA_avx2)
LINNET_INLINE Ints to_ints(Vec v) { return _mm256_cvtps_epi32(v); }
#elif defined(LINNET_ISA_avx512)
LINNET_INLINE Ints to_ints(Vec v) { return _mm512_cvtps_epi32(v); }
#elif defined(LINNET_ISA_scalar)
LINNET_INLINE Ints to_ints(Vec v) { return static_cast<int32_t>(rounded(v)); }
#else
LINNET_INLINE Ints to_ints(Vec v) { return vcvtq_s32_f32(rounded(v)); }
#endif

LINNET_INLINE Vec within(Vec v, float low, float high) {
  return min(max(v, splat(low)), splat(high));
}

// Sums of kCols pixels of kVecs vectors of channels, as `end` says, to y.
template <int kVecs, int kCols>
LINNET_INLINE void requantize(const Ints (&acc)[kCols][kVecs], int cols, const Requantization& end,
                              const void* z, void* y, ptrdiff_t y_col) {
  const char* from = static_cast<const char*>(z);
  char* to = static_cast<char*>(y);
  const ptrdiff_t bytes = end.real ? sizeof(float) : 1;
  Vec scale[kVecs];
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) scale[v] = load(end.scale + v * kWidth);
  const Ints zero = splat_ints(end.zero);
  LINNET_UNROLL
  for (int p = 0; p < kCols; ++p, from += y_col, to += y_col * bytes) {
    if (p == cols) break;
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      Vec f = mul(to_floats(acc[p][v]), scale[v]);
      if (z) {
        if (end.between)
          f = mul(rounded(within(f, end.between_low, end.between_high)), splat(end.factor));
        const Vec other = sub(load_bytes(from + v * kWidth, end.flip), splat(end.z_zero));
        f = add(f, mul(other, splat(end.z_factor)));
      }
      f = within(f, end.low, end.high);
      if (end.real) {
        store(reinterpret_cast<float*>(to) + v * kWidth, f);
      } else {
        store_bytes(to + v * kWidth, add_ints(to_ints(f), zero));
      }
    }
  }
}

// Where a tile's columns begin: one pointer to the first of every three, the other two are reached
// by scaled index.
template <int kCols>
struct IntegerColumns {
  static constexpr int kBases = (kCols + 2) / 3;
  const char* base[kBases];
  ptrdiff_t stride;

  LINNET_INLINE IntegerColumns(const char* x, ptrdiff_t x_col) : stride(x_col) {
    LINNET_UNROLL
    for (int b = 0; b < kBases; ++b) base[b] = x + 3 * b * x_col;
  }
  LINNET_INLINE const char* at(int col) const { return base[col / 3] + (col % 3) * stride; }
  LINNET_INLINE void advance(ptrdiff_t bytes) {
    LINNET_UNROLL
    for (int b = 0; b < kBases; ++b) base[b] += bytes;
  }
  // Or compilers keep one pointer for every column, more than there are registers.
  LINNET_INLINE void pin() {
    LINNET_UNROLL
    for (int b = 0; b < kBases; ++b) __asm__("" : "+r"(base[b]));
    __asm__ volatile("" : "+r"(stride) : : "memory");
  }
};

// Dot has kStep, the bytes of a group of x; kWeights, those of a vector's weights for it; and
// step(acc, columns, weights, flip), which adds the products of one group to every accumulator.
template <typename Dot, int kVecs, int kCols>
void integer_tile(const IntegerTile& t) {
  Ints acc[kCols][kVecs];
  LINNET_UNROLL
  for (int p = 0; p < kCols; ++p) {
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) acc[p][v] = load_ints(t.bias + v * kWidth);
  }
  const char* w = static_cast<const char*>(t.w);
  const char* outer = static_cast<const char*>(t.x);
  for (ptrdiff_t o = 0; o < t.outer; ++o, outer += t.x_outer) {
    const char* middle = outer;
    for (ptrdiff_t m = 0; m < t.middle; ++m, middle += t.x_middle) {
      IntegerColumns<kCols> columns(middle, t.x_col);
      for (ptrdiff_t i = 0; i < t.inner; ++i) {
        columns.pin();
        Dot::template step<kVecs, kCols>(acc, columns, w, t.flip);
        columns.advance(Dot::kStep);
        w += kVecs * Dot::kWeights;
      }
    }
  }
  requantize<kVecs, kCols>(acc, kCols, t.end, t.z, t.y, t.y_col);
}

template <typename Dot, int kVecs, int kCols>
void fill_integer_tiles(IntegerTiles* tiles) {
  tiles->tile[kVecs][kCols] = integer_tile<Dot, kVecs, kCols>;
  if constexpr (kCols > 1) fill_integer_tiles<Dot, kVecs, kCols - 1>(tiles);
}

// All tiles, given the most columns of those of each number of vectors.
template <typename Dot, const int* kMost, int kVecs>
void fill_integer_tiles(IntegerTiles* tiles) {
  tiles->cols[kVecs] = kMost[kVecs];
  fill_integer_tiles<Dot, kVecs, kMost[kVecs]>(tiles);
  if constexpr (kVecs > 1) {
    fill_integer_tiles<Dot, kMost, kVecs - 1>(tiles);
  } else {
    tiles->group = Dot::kGroup, tiles->by_lane = Dot::kByLane;
  }
}

}  // namespace
}  // namespace linnet
