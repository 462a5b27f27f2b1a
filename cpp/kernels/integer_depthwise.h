// Depthwise tiles of bytes by weights of int16, of every instruction set.
#pragma once

#include "integer.h"

namespace linnet {
namespace {

// Two rows of a column, of which a product of pairs of int16 is the sum.
struct DepthwiseWide {
  static constexpr int kGroup = 2, kPixels = 6;

#if defined(LINNET_ISA_avx512)
  static LINNET_INLINE Ints row(const uint8_t* x) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
  }
  static LINNET_INLINE Ints column(const uint8_t* x, ptrdiff_t x_row, int rows, uint8_t flip) {
    Ints both = row(x);
    if (rows > 1) both = _mm512_or_si512(both, _mm512_slli_epi32(row(x + x_row), 16));
    return _mm512_xor_si512(both, _mm512_set1_epi16(flip));
  }
  static LINNET_INLINE void dot(Ints& acc, Ints w, Ints column) {
    acc = _mm512_add_epi32(acc, _mm512_madd_epi16(w, column));
  }
#elif defined(LINNET_ISA_avx2)
  static LINNET_INLINE Ints row(const uint8_t* x) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)));
  }
  static LINNET_INLINE Ints column(const uint8_t* x, ptrdiff_t x_row, int rows, uint8_t flip) {
    Ints both = row(x);
    if (rows > 1) both = _mm256_or_si256(both, _mm256_slli_epi32(row(x + x_row), 16));
    return _mm256_xor_si256(both, _mm256_set1_epi16(flip));
  }
  static LINNET_INLINE void dot(Ints& acc, Ints w, Ints column) {
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(w, column));
  }
#elif defined(LINNET_ISA_scalar)
  static LINNET_INLINE Ints column(const uint8_t* x, ptrdiff_t x_row, int rows, uint8_t flip) {
    const int32_t second = rows > 1 ? x[x_row] ^ flip : 0;
    return static_cast<int32_t>(x[0] ^ flip) | second << 16;
  }
  static LINNET_INLINE void dot(Ints& acc, Ints w, Ints column) {
    int16_t a[2], b[2];
    __builtin_memcpy(a, &w, sizeof w);
    __builtin_memcpy(b, &column, sizeof column);
    acc = add_ints(acc, add_ints(a[0] * b[0], a[1] * b[1]));
  }
#else
  static LINNET_INLINE Ints column(const uint8_t* x, ptrdiff_t x_row, int rows, uint8_t flip) {
    const auto row = [&](const uint8_t* p) {
      uint32_t four;
      __builtin_memcpy(&four, p, sizeof four);
      const uint8x8_t bytes = veor_u8(vreinterpret_u8_u32(vdup_n_u32(four)), vdup_n_u8(flip));
      return vget_low_u16(vmovl_u8(bytes));
    };
    const uint16x4_t second = rows > 1 ? row(x + x_row) : vdup_n_u16(0);
    return vreinterpretq_s32_u16(vcombine_u16(row(x), second));
  }
  // Weights of the first row, then those of the second.
  static LINNET_INLINE void dot(Ints& acc, Ints w, Ints column) {
    const int16x8_t a = vreinterpretq_s16_s32(w), b = vreinterpretq_s16_s32(column);
    acc = vmlal_s16(acc, vget_low_s16(a), vget_low_s16(b));
    acc = vmlal_s16(acc, vget_high_s16(a), vget_high_s16(b));
  }
#endif
};

#if defined(LINNET_ISA_neon) || defined(LINNET_ISA_neon_vfpv4)

// Eight channels of kPixels pixels from the `first` on. A row of the window at a time, of which an
// input value meets the weights of all pixels it lies before.
template <int kPixels, int kTaps, int kStride>
void eight_channels(const IntegerDepthwise& t, ptrdiff_t channel, ptrdiff_t first) {
  const ptrdiff_t vector = (t.rows + 1) / 2 * t.cols * 8;  // int16 of four channels' weights
  const int16_t* w = static_cast<const int16_t*>(t.w) + channel / 4 * vector;
  const uint8_t* x = t.x + first * t.x_pixel + channel;
  const uint8x8_t flip = vdup_n_u8(t.flip);
  Ints acc[kPixels][2];
  LINNET_UNROLL
  for (int p = 0; p < kPixels; ++p) {
    LINNET_UNROLL
    for (int v = 0; v < 2; ++v) acc[p][v] = load_ints(t.bias + channel + v * kWidth);
  }
  for (ptrdiff_t row = 0; row < t.rows; ++row, x += t.x_row) {
    const int16_t* of_row = w + row / 2 * t.cols * 8 + row % 2 * 4;
    int16x4_t weight[kTaps][2];
    LINNET_UNROLL
    for (int c = 0; c < kTaps; ++c) {
      LINNET_UNROLL
      for (int v = 0; v < 2; ++v) weight[c][v] = vld1_s16(of_row + c * 8 + v * vector);
    }
    LINNET_UNROLL
    for (int c = 0; c < (kPixels - 1) * kStride + kTaps; ++c) {
      const uint8x8_t bytes = veor_u8(vld1_u8(x + c * t.x_col), flip);
      const int16x8_t wide = vreinterpretq_s16_u16(vmovl_u8(bytes));
      LINNET_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        const int tap = c - p * kStride;
        if (tap < 0 || tap >= kTaps) continue;
        acc[p][0] = vmlal_s16(acc[p][0], weight[tap][0], vget_low_s16(wide));
        acc[p][1] = vmlal_s16(acc[p][1], weight[tap][1], vget_high_s16(wide));
      }
    }
  }
  const ptrdiff_t at = first * t.y_pixel + channel;
  requantize<2, kPixels>(
      acc, t.end, t.scale + channel, t.z ? static_cast<const char*>(t.z) + at : nullptr,
      static_cast<char*>(t.y) + at * (t.end.real ? sizeof(float) : 1), t.y_pixel);
}

// The last pixels of a row are computed with some before them.
template <int kTaps, int kStride>
void eights_of_channels(const IntegerDepthwise& t, ptrdiff_t channel) {
  constexpr ptrdiff_t kMany = 4;
  ptrdiff_t p = 0;
  for (; p + kMany <= t.pixels; p += kMany) eight_channels<kMany, kTaps, kStride>(t, channel, p);
  if (p < t.pixels && t.pixels >= kMany)
    return eight_channels<kMany, kTaps, kStride>(t, channel, t.pixels - kMany);
  for (; p < t.pixels; ++p) eight_channels<1, kTaps, kStride>(t, channel, p);
}

inline void depthwise_wide(const IntegerDepthwise& t) {
  const bool near = t.x_pixel == t.x_col, two = t.x_pixel == 2 * t.x_col;
  void (*eights)(const IntegerDepthwise&, ptrdiff_t) = nullptr;
  if (t.cols == 3 && near) eights = eights_of_channels<3, 1>;
  if (t.cols == 3 && two) eights = eights_of_channels<3, 2>;
  if (t.cols == 5 && near) eights = eights_of_channels<5, 1>;
  if (t.cols == 5 && two) eights = eights_of_channels<5, 2>;
  if (!eights) return integer_depthwise<DepthwiseWide>(t);
  const ptrdiff_t together = t.channels / 8 * 8;
  for (ptrdiff_t c = 0; c < together; c += 8) eights(t, c);
  if (together < t.channels) integer_depthwise<DepthwiseWide>(behind(t, together, 2));
}

#else

inline void depthwise_wide(const IntegerDepthwise& t) { integer_depthwise<DepthwiseWide>(t); }

#endif

}  // namespace
}  // namespace linnet
