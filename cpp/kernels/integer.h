// What kernels of integers share: sums of products in register tiles, and what becomes of them (see
// Rounding). Compiled without contraction of products and sums to one rounding, so that every
// instruction set gives the same numbers.
#pragma once

#include "vector.h"

namespace linnet {
namespace {

// Vectors of as many int32 as a Vec has floats:
// - load_ints(p), store_ints(p, a), splat_ints(x), add_ints(a, b), to_floats(a);
// - blend(a, b, share): 2048 * a + (b - a) * share; high_bits(a): the highest 10, signed;
// - store_bytes(p, a): the low byte of each;
// - byte_ints(p, flip): bytes xor those of flip.
#if defined(LINNET_ISA_scalar)

using Ints = int32_t;
LINNET_INLINE Ints load_ints(const int32_t* p) { return *p; }
LINNET_INLINE void store_ints(int32_t* p, Ints a) { *p = a; }
LINNET_INLINE Ints splat_ints(int32_t x) { return x; }
LINNET_INLINE Vec to_floats(Ints a) { return static_cast<float>(a); }
LINNET_INLINE Ints add_ints(Ints a, Ints b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}
LINNET_INLINE void store_bytes(void* p, Ints a) {
  *static_cast<uint8_t*>(p) = static_cast<uint8_t>(a);
}
LINNET_INLINE Ints byte_ints(const void* p, uint32_t flip) {
  return static_cast<int32_t>(*static_cast<const uint8_t*>(p) ^ (flip & 0xff));
}
LINNET_INLINE Ints blend(Ints a, Ints b, Ints share) { return 2048 * a + (b - a) * share; }
LINNET_INLINE Ints high_bits(Ints a) { return a >> 22; }

#elif defined(LINNET_ISA_avx2)

using Ints = __m256i;
LINNET_INLINE Ints load_ints(const int32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
LINNET_INLINE void store_ints(int32_t* p, Ints a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a);
}
LINNET_INLINE Ints splat_ints(int32_t x) { return _mm256_set1_epi32(x); }
LINNET_INLINE Vec to_floats(Ints a) { return _mm256_cvtepi32_ps(a); }
LINNET_INLINE Ints add_ints(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
LINNET_INLINE void store_bytes(void* p, Ints a) {
  const __m256i first =
      _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1,
                       -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i fours = _mm256_shuffle_epi8(a, first);
  const __m128i eight =
      _mm_unpacklo_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
  _mm_storel_epi64(static_cast<__m128i*>(p), eight);
}
LINNET_INLINE Ints byte_ints(const void* p, uint32_t flip) {
  const __m128i bytes = _mm_xor_si128(_mm_loadl_epi64(static_cast<const __m128i*>(p)),
                                      _mm_set1_epi32(static_cast<int>(flip)));
  return _mm256_cvtepu8_epi32(bytes);
}
LINNET_INLINE Ints blend(Ints a, Ints b, Ints share) {
  return add_ints(_mm256_slli_epi32(a, 11), _mm256_mullo_epi32(_mm256_sub_epi32(b, a), share));
}
LINNET_INLINE Ints high_bits(Ints a) { return _mm256_srai_epi32(a, 22); }

#elif defined(LINNET_ISA_avx512)

using Ints = __m512i;
LINNET_INLINE Ints load_ints(const int32_t* p) { return _mm512_loadu_si512(p); }
LINNET_INLINE void store_ints(int32_t* p, Ints a) { _mm512_storeu_si512(p, a); }
LINNET_INLINE Ints splat_ints(int32_t x) { return _mm512_set1_epi32(x); }
LINNET_INLINE Vec to_floats(Ints a) { return _mm512_cvtepi32_ps(a); }
LINNET_INLINE Ints add_ints(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
LINNET_INLINE void store_bytes(void* p, Ints a) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
}
LINNET_INLINE Ints byte_ints(const void* p, uint32_t flip) {
  const __m128i bytes = _mm_xor_si128(_mm_loadu_si128(static_cast<const __m128i*>(p)),
                                      _mm_set1_epi32(static_cast<int>(flip)));
  return _mm512_cvtepu8_epi32(bytes);
}
LINNET_INLINE Ints blend(Ints a, Ints b, Ints share) {
  return add_ints(_mm512_slli_epi32(a, 11), _mm512_mullo_epi32(_mm512_sub_epi32(b, a), share));
}
LINNET_INLINE Ints high_bits(Ints a) { return _mm512_srai_epi32(a, 22); }

#else

using Ints = int32x4_t;
LINNET_INLINE Ints load_ints(const int32_t* p) { return vld1q_s32(p); }
LINNET_INLINE void store_ints(int32_t* p, Ints a) { vst1q_s32(p, a); }
LINNET_INLINE Ints splat_ints(int32_t x) { return vdupq_n_s32(x); }
LINNET_INLINE Vec to_floats(Ints a) { return vcvtq_f32_s32(a); }
LINNET_INLINE Ints add_ints(Ints a, Ints b) { return vaddq_s32(a, b); }
LINNET_INLINE void store_bytes(void* p, Ints a) {
  const int16x4_t halves = vmovn_s32(a);
  const int8x8_t bytes = vmovn_s16(vcombine_s16(halves, halves));
  const int32_t four = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
  __builtin_memcpy(p, &four, sizeof four);
}
LINNET_INLINE Ints byte_ints(const void* p, uint32_t flip) {
  uint32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  const uint16x8_t wide = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four ^ flip)));
  return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(wide)));
}
LINNET_INLINE Ints blend(Ints a, Ints b, Ints share) {
  return vmlaq_s32(vshlq_n_s32(a, 11), vsubq_s32(b, a), share);
}
LINNET_INLINE Ints high_bits(Ints a) { return vshrq_n_s32(a, 22); }

#endif

LINNET_INLINE Vec load_bytes(const void* p, uint32_t flip) { return to_floats(byte_ints(p, flip)); }

// 2^23 + 2^22: added to a number within 2^22 it leaves no bits behind the point, rounded to even.
constexpr float kRounder = 12582912;
LINNET_INLINE Vec rounded(Vec v) {
  const Vec rounder = splat(kRounder);
  return sub(add(v, rounder), rounder);
}
// Vectors of numbers within 2^22, rounded, plus an integer, which shift() makes what is added to
// their bits or to themselves.
#if defined(LINNET_ISA_avx2)
LINNET_INLINE Ints shift(int32_t zero) { return splat_ints(zero); }
LINNET_INLINE Ints shifted(Vec v, Ints zero) { return add_ints(_mm256_cvtps_epi32(v), zero); }
#elif defined(LINNET_ISA_avx512)
LINNET_INLINE Ints shift(int32_t zero) { return splat_ints(zero); }
LINNET_INLINE Ints shifted(Vec v, Ints zero) { return add_ints(_mm512_cvtps_epi32(v), zero); }
#elif defined(LINNET_ISA_scalar)
LINNET_INLINE Ints shift(int32_t zero) { return zero; }
LINNET_INLINE Ints shifted(Vec v, Ints zero) {
  return add_ints(static_cast<int32_t>(rounded(v)), zero);
}
#else
// With the rounder added, the bits are those of the rounder plus the number.
LINNET_INLINE Ints shift(int32_t zero) { return splat_ints(zero - 0x4b400000); }
LINNET_INLINE Ints shifted(Vec v, Ints zero) {
  return vaddq_s32(vreinterpretq_s32_f32(add(v, splat(kRounder))), zero);
}
#endif

// The low bytes of kVecs vectors side by side.
template <int kVecs>
LINNET_INLINE void store_all_bytes(char* to, const Ints (&v)[kVecs]) {
#if defined(LINNET_ISA_neon) || defined(LINNET_ISA_neon_vfpv4)
  LINNET_UNROLL
  for (int i = 0; i + 1 < kVecs; i += 2) {
    const int16x8_t both = vcombine_s16(vmovn_s32(v[i]), vmovn_s32(v[i + 1]));
    vst1_s8(reinterpret_cast<int8_t*>(to + i * kWidth), vmovn_s16(both));
  }
  if constexpr (kVecs % 2) store_bytes(to + (kVecs - 1) * kWidth, v[kVecs - 1]);
#else
  LINNET_UNROLL
  for (int i = 0; i < kVecs; ++i) store_bytes(to + i * kWidth, v[i]);
#endif
}

// kVecs vectors of bytes that lie side by side.
template <int kVecs>
LINNET_INLINE void load_all_bytes(const char* from, uint32_t flip, Vec (&v)[kVecs]) {
#if defined(LINNET_ISA_neon) || defined(LINNET_ISA_neon_vfpv4)
  const uint8x8_t turned = vreinterpret_u8_u32(vdup_n_u32(flip));
  LINNET_UNROLL
  for (int i = 0; i + 1 < kVecs; i += 2) {
    const uint8x8_t bytes = vld1_u8(reinterpret_cast<const uint8_t*>(from + i * kWidth));
    const uint16x8_t wide = vmovl_u8(veor_u8(bytes, turned));
    v[i] = vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide)));
    v[i + 1] = vcvtq_f32_u32(vmovl_u16(vget_high_u16(wide)));
  }
  if constexpr (kVecs % 2) v[kVecs - 1] = load_bytes(from + (kVecs - 1) * kWidth, flip);
#else
  LINNET_UNROLL
  for (int i = 0; i < kVecs; ++i) v[i] = load_bytes(from + i * kWidth, flip);
#endif
}

LINNET_INLINE Vec within(Vec v, float low, float high) {
  return min(max(v, splat(low)), splat(high));
}

LINNET_INLINE bool is_plain(const Rounding& end, const void* z) {
  return !z && !end.between && !end.real;
}

// Sums of a pixel to bytes, with nothing between; what it takes is in registers.
template <int kVecs>
struct Plain {
  Vec scale[kVecs], low, high;
  Ints zero;

  LINNET_INLINE Plain(const Rounding& end, const float* scales)
      : low(splat(end.low)), high(splat(end.high)), zero(shift(end.zero)) {
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) scale[v] = load(scales + v * kWidth);
  }
  LINNET_INLINE void pixel(const Ints (&acc)[kVecs], char* to) const {
    Ints q[kVecs];
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v)
      q[v] = shifted(min(max(mul(to_floats(acc[v]), scale[v]), low), high), zero);
    store_all_bytes<kVecs>(to, q);
  }
};

// Sums of kCols pixels of kVecs vectors of channels, as `end` says, to y. What bytes are written
// may be anything to a compiler, `end` too, of which copies stay in registers.
template <int kVecs, int kCols>
LINNET_INLINE void requantize(const Ints (&acc)[kCols][kVecs], const Rounding& given,
                              const float* scales, const void* z, void* y, ptrdiff_t y_col) {
  const Rounding end = given;
  const char* from = static_cast<const char*>(z);
  char* to = static_cast<char*>(y);
  Vec scale[kVecs];
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) scale[v] = load(scales + v * kWidth);
  const Vec low = splat(end.low), high = splat(end.high);
  const Ints zero = shift(end.zero);
  if (is_plain(end, z)) {
    const Plain<kVecs> plain(end, scales);
    LINNET_UNROLL
    for (int p = 0; p < kCols; ++p, to += y_col) plain.pixel(acc[p], to);
    return;
  }
  const ptrdiff_t bytes = end.real ? sizeof(float) : 1;
  LINNET_UNROLL
  for (int p = 0; p < kCols; ++p, to += y_col * bytes) {
    Vec f[kVecs];
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) f[v] = mul(to_floats(acc[p][v]), scale[v]);
    if (end.between) {
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v)
        f[v] = mul(rounded(within(f[v], end.between_low, end.between_high)), splat(end.factor));
    }
    if (z) {
      Vec other[kVecs];
      load_all_bytes<kVecs>(from, end.flip, other);
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v)
        f[v] = add(f[v], mul(sub(other[v], splat(end.z_zero)), splat(end.z_factor)));
      from += y_col;
    }
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) f[v] = min(max(f[v], low), high);
    if (end.real) {
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v) store(reinterpret_cast<float*>(to) + v * kWidth, f[v]);
    } else {
      Ints q[kVecs];
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v) q[v] = shifted(f[v], zero);
      store_all_bytes<kVecs>(to, q);
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

// The tile behind t, of so many pixels.
LINNET_INLINE void to_next(IntegerTile& t, ptrdiff_t pixels) {
  const ptrdiff_t numbers = pixels * t.y_col;
  t.x = static_cast<const char*>(t.x) + pixels * t.x_col;
  t.y = static_cast<char*>(t.y) + numbers * static_cast<ptrdiff_t>(t.end.real ? sizeof(float) : 1);
  if (t.z) t.z = static_cast<const char*>(t.z) + numbers;
}

// Dot has kStep, the bytes of a group of x; kWeights, those of a vector's weights for it; and
// step(acc, columns, weights, flip), which adds the products of one group to every accumulator.
template <typename Dot, int kVecs, int kCols>
LINNET_INLINE void add_groups(Ints (&acc)[kCols][kVecs], IntegerColumns<kCols>& x, const char*& w,
                              ptrdiff_t count, uint32_t flip) {
  for (ptrdiff_t i = 0; i < count; ++i) {
    x.pin();
    Dot::template step<kVecs, kCols>(acc, x, w, flip);
    x.advance(Dot::kStep);
    w += kVecs * Dot::kWeights;
  }
}

// All groups of a run; a Dot that takes several at once has its own.
template <typename Dot>
struct Run {
  template <int kVecs, int kCols>
  static LINNET_INLINE void add(Ints (&acc)[kCols][kVecs], IntegerColumns<kCols>& x, const char*& w,
                                ptrdiff_t count, uint32_t flip) {
    add_groups<Dot>(acc, x, w, count, flip);
  }
};

template <typename Dot, int kVecs, int kCols>
LINNET_INLINE void one_integer_tile(const IntegerTile& t) {
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
      Run<Dot>::template add<kVecs, kCols>(acc, columns, w, t.inner, t.flip);
    }
  }
  requantize<kVecs, kCols>(acc, t.end, t.scale, t.z, t.y, t.y_col);
}

template <typename Dot, int kVecs, int kCols>
void integer_tile(const IntegerTile& first) {
  IntegerTile t = first;
  for (ptrdiff_t i = 0; i < first.count; ++i, to_next(t, kCols))
    one_integer_tile<Dot, kVecs, kCols>(t);
}

// Depthwise convolutions: a vector of channels of some rows of a column of the image, of which it
// has as many as a group, are groups; each meets the weights of the pixels whose windows it lies
// in. Rows has kGroup; column(x, x_row, rows, flip), the vector of groups; and dot(acc, w, column).
template <typename Rows, int kPixels, int kTaps, int kStride>
void depthwise_pixels(const IntegerDepthwise& t, const uint8_t* x, const char* w,
                      const int32_t* bias, const float* scales, const void* z, void* y) {
  Ints acc[kPixels][1];
  LINNET_UNROLL
  for (int p = 0; p < kPixels; ++p) acc[p][0] = load_ints(bias);
  for (ptrdiff_t row = 0; row < t.rows; row += Rows::kGroup, x += Rows::kGroup * t.x_row) {
    const int rows = static_cast<int>(t.rows - row < Rows::kGroup ? t.rows - row : Rows::kGroup);
    if constexpr (kTaps > 0) {
      Ints weight[kTaps];
      LINNET_UNROLL
      for (int c = 0; c < kTaps; ++c)
        weight[c] = load_ints(reinterpret_cast<const int32_t*>(w) + c * kWidth);
      LINNET_UNROLL
      for (int c = 0; c < (kPixels - 1) * kStride + kTaps; ++c) {
        const Ints column = Rows::column(x + c * t.x_col, t.x_row, rows, t.flip);
        LINNET_UNROLL
        for (int p = 0; p < kPixels; ++p) {
          const int tap = c - p * kStride;
          if (tap >= 0 && tap < kTaps) Rows::dot(acc[p][0], weight[tap], column);
        }
      }
    } else {
      for (ptrdiff_t c = 0; c < t.cols; ++c) {
        const Ints weight = load_ints(reinterpret_cast<const int32_t*>(w) + c * kWidth);
        LINNET_UNROLL
        for (int p = 0; p < kPixels; ++p) {
          const uint8_t* at = x + p * t.x_pixel + c * t.x_col;
          Rows::dot(acc[p][0], weight, Rows::column(at, t.x_row, rows, t.flip));
        }
      }
    }
    w += t.cols * static_cast<ptrdiff_t>(kWidth * sizeof(int32_t));
  }
  requantize<1, kPixels>(acc, t.end, scales, z, y, t.y_pixel);
}

// All pixels of one vector of channels; the last ones of a row are computed with some before them.
template <typename Rows, int kTaps, int kStride>
void depthwise_row(const IntegerDepthwise& t, ptrdiff_t vector) {
  const ptrdiff_t channel = vector * kWidth;
  const ptrdiff_t groups = (t.rows + Rows::kGroup - 1) / Rows::kGroup;
  const char* w = static_cast<const char*>(t.w) +
                  vector * groups * t.cols * static_cast<ptrdiff_t>(kWidth * sizeof(int32_t));
  const ptrdiff_t y_size = t.end.real ? sizeof(float) : 1;
  const auto pixels = [&](ptrdiff_t p, auto run) {
    const ptrdiff_t at = p * t.y_pixel + channel;
    run(t, t.x + p * t.x_pixel + channel, w, t.bias + channel, t.scale + channel,
        t.z ? static_cast<const char*>(t.z) + at : nullptr, static_cast<char*>(t.y) + at * y_size);
  };
  constexpr ptrdiff_t kMany = Rows::kPixels, kFew = 4;
  ptrdiff_t p = 0;
  for (; p + kMany <= t.pixels; p += kMany)
    pixels(p, depthwise_pixels<Rows, kMany, kTaps, kStride>);
  if (p < t.pixels && t.pixels >= kMany && t.pixels - p > kFew) {
    return pixels(t.pixels - kMany, depthwise_pixels<Rows, kMany, kTaps, kStride>);
  }
  for (; p + kFew <= t.pixels; p += kFew) pixels(p, depthwise_pixels<Rows, kFew, kTaps, kStride>);
  if (p < t.pixels && t.pixels >= kFew) {
    return pixels(t.pixels - kFew, depthwise_pixels<Rows, kFew, kTaps, kStride>);
  }
  for (; p < t.pixels; ++p) pixels(p, depthwise_pixels<Rows, 1, kTaps, kStride>);
}

// The channels behind the first `done`, whose weights are by `group` rows.
LINNET_INLINE IntegerDepthwise behind(const IntegerDepthwise& t, ptrdiff_t done, ptrdiff_t group) {
  IntegerDepthwise rest = t;
  rest.x += done, rest.channels -= done, rest.bias += done, rest.scale += done;
  const auto bytes = static_cast<ptrdiff_t>(sizeof(int32_t));
  rest.w = static_cast<const char*>(t.w) + done * ((t.rows + group - 1) / group) * t.cols * bytes;
  rest.y = static_cast<char*>(t.y) + done * (t.end.real ? bytes : 1);
  if (t.z) rest.z = static_cast<const char*>(t.z) + done;
  return rest;
}

template <typename Rows>
void integer_depthwise(const IntegerDepthwise& t) {
  const bool near = t.x_pixel == t.x_col, two = t.x_pixel == 2 * t.x_col;
  auto* row = depthwise_row<Rows, 0, 1>;
  if (t.cols == 3 && near) row = depthwise_row<Rows, 3, 1>;
  if (t.cols == 3 && two) row = depthwise_row<Rows, 3, 2>;
  if (t.cols == 5 && near) row = depthwise_row<Rows, 5, 1>;
  if (t.cols == 5 && two) row = depthwise_row<Rows, 5, 2>;
  for (ptrdiff_t v = 0; v < t.channels / kWidth; ++v) row(t, v);
}

template <typename Dot, int kVecs, int kCols>
constexpr void fill_integer_tiles(IntegerTiles* tiles) {
  tiles->tile[kVecs][kCols] = integer_tile<Dot, kVecs, kCols>;
  if constexpr (kCols > 1) fill_integer_tiles<Dot, kVecs, kCols - 1>(tiles);
}

// All tiles, given the most columns of those of each number of vectors.
template <typename Dot, const int* kMost, int kVecs>
constexpr void fill_integer_tiles(IntegerTiles* tiles) {
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
