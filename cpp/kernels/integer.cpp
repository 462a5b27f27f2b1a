// Integers: tiles of products of int16, depthwise tiles, and functions of rows of bytes.
#include "integer.h"

namespace linnet {
namespace {

#if defined(LINNET_ISA_neon) || defined(LINNET_ISA_neon_vfpv4)

// Four numbers of x meet four weights of each channel, by lane.
struct DotWide {
  static constexpr int kStep = 8, kWeights = 32, kGroup = 4;
  static constexpr bool kByLane = false;

  template <int kVecs, int kCols>
  static LINNET_INLINE void step(Ints (&acc)[kCols][kVecs], const IntegerColumns<kCols>& x,
                                 const char* w, uint32_t) {
    int16x4_t value[kCols];
    LINNET_UNROLL
    for (int p = 0; p < kCols; ++p) value[p] = vld1_s16(reinterpret_cast<const int16_t*>(x.at(p)));
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      const int16_t* weights = reinterpret_cast<const int16_t*>(w + v * kWeights);
      const int16x4_t weight[] = {vld1_s16(weights), vld1_s16(weights + 4), vld1_s16(weights + 8),
                                  vld1_s16(weights + 12)};
      LINNET_UNROLL
      for (int p = 0; p < kCols; ++p) acc[p][v] = vmlal_lane_s16(acc[p][v], weight[0], value[p], 0);
      LINNET_UNROLL
      for (int p = 0; p < kCols; ++p) acc[p][v] = vmlal_lane_s16(acc[p][v], weight[1], value[p], 1);
      LINNET_UNROLL
      for (int p = 0; p < kCols; ++p) acc[p][v] = vmlal_lane_s16(acc[p][v], weight[2], value[p], 2);
      LINNET_UNROLL
      for (int p = 0; p < kCols; ++p) acc[p][v] = vmlal_lane_s16(acc[p][v], weight[3], value[p], 3);
    }
  }
};
#if defined(LINNET_ISA_neon)
constexpr int kMost[] = {0, 8, 8, 6, 4};
#else
constexpr int kMost[] = {0, 4, 4};
#endif

#else

// Two numbers of x meet two weights of each channel.
struct DotWide {
  static constexpr int kStep = 4, kWeights = 4 * kWidth, kGroup = 2;
  static constexpr bool kByLane = true;

  template <int kVecs, int kCols>
  static LINNET_INLINE void step(Ints (&acc)[kCols][kVecs], const IntegerColumns<kCols>& x,
                                 const char* w, uint32_t) {
    Ints weight[kVecs];
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v)
      weight[v] = load_ints(reinterpret_cast<const int32_t*>(w + v * kWeights));
    LINNET_UNROLL
    for (int p = 0; p < kCols; ++p) {
      int32_t two;
      __builtin_memcpy(&two, x.at(p), sizeof two);
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v) acc[p][v] = add_ints(acc[p][v], products(weight[v], two));
    }
  }

 private:
#if defined(LINNET_ISA_avx2)
  static LINNET_INLINE Ints products(Ints w, int32_t two) {
    return _mm256_madd_epi16(w, _mm256_set1_epi32(two));
  }
#elif defined(LINNET_ISA_avx512)
  static LINNET_INLINE Ints products(Ints w, int32_t two) {
    return _mm512_madd_epi16(w, _mm512_set1_epi32(two));
  }
#else
  static LINNET_INLINE Ints products(Ints w, int32_t two) {
    int16_t a[2], b[2];
    __builtin_memcpy(a, &w, sizeof w);
    __builtin_memcpy(b, &two, sizeof two);
    return add_ints(a[0] * b[0], a[1] * b[1]);
  }
#endif
};
#if defined(LINNET_ISA_avx2)
constexpr int kMost[] = {0, 8, 5, 3};
#elif defined(LINNET_ISA_avx512)
constexpr int kMost[] = {0, 14, 12, 8, 5};
#else
constexpr int kMost[] = {0, 8, 4};
#endif

#endif

void widen(const uint8_t* __restrict x, uint8_t flip, int32_t zero, int16_t* __restrict y,
           int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] = static_cast<int16_t>(static_cast<int32_t>(x[i] ^ flip) - zero);
}

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

// Plain loops that compilers vectorise.
LINNET_INLINE uint8_t byte_of(float v, float low, float high, int32_t zero) {
  v = v > low ? v : low;
  v = v < high ? v : high;
  return static_cast<uint8_t>(static_cast<int32_t>(v + kRounder - kRounder) + zero);
}

void quantize(const IntegerRows& r) {
  const float* __restrict x = static_cast<const float*>(r.x);
  uint8_t* __restrict y = static_cast<uint8_t*>(r.y);
  const float scale = r.scale, low = r.low, high = r.high;
  const int32_t zero = r.zero;
  for (int64_t i = 0; i < r.count; ++i) {
    const float real = x[i] == x[i] ? x[i] : 0.0f;
    y[i] = byte_of(real / scale, low, high, zero);
  }
}

void dequantize(const IntegerRows& r) {
  const uint8_t* __restrict x = static_cast<const uint8_t*>(r.x);
  float* __restrict y = static_cast<float*>(r.y);
  const float scale = r.scale, zero = r.x_zero;
  const uint8_t flip = r.x_flip;
  for (int64_t i = 0; i < r.count; ++i)
    y[i] = (static_cast<float>(static_cast<int32_t>(x[i] ^ flip)) - zero) * scale;
}

void look_up(const IntegerRows& r) {
  const uint8_t* x = static_cast<const uint8_t*>(r.x);
  uint8_t* y = static_cast<uint8_t*>(r.y);
  for (int64_t i = 0; i < r.count; ++i) y[i] = r.table[x[i]];
}

LINNET_INLINE float real_of(uint8_t byte, uint8_t flip, float zero) {
  return static_cast<float>(static_cast<int32_t>(byte ^ flip)) - zero;
}

void integer_add(const IntegerRows& r) {
  const uint8_t* x = static_cast<const uint8_t*>(r.x);
  const uint8_t* z = static_cast<const uint8_t*>(r.z);
  uint8_t* y = static_cast<uint8_t*>(r.y);
  const IntegerRows a = r;
#pragma GCC ivdep
  for (int64_t i = 0; i < a.count; ++i) {
    const float first = real_of(x[i], a.x_flip, a.x_zero) * a.scale;
    const float second = real_of(z[i], a.z_flip, a.z_zero) * a.z_scale;
    y[i] = byte_of(first + second, a.low, a.high, a.zero);
  }
}

void integer_multiply(const IntegerRows& r) {
  const uint8_t* x = static_cast<const uint8_t*>(r.x);
  const uint8_t* z = static_cast<const uint8_t*>(r.z);
  uint8_t* y = static_cast<uint8_t*>(r.y);
  const IntegerRows a = r;
#pragma GCC ivdep
  for (int64_t i = 0; i < a.count; ++i) {
    const float product = real_of(x[i], a.x_flip, a.x_zero) * real_of(z[i], a.z_flip, a.z_zero);
    y[i] = byte_of(product * a.scale, a.low, a.high, a.zero);
  }
}

constexpr int kManyBytes = kWidth >= 16 ? 64 : kWidth == 8 ? 32 : 16;
typedef uint8_t ManyBytes __attribute__((vector_size(kManyBytes)));
#if defined(LINNET_ISA_scalar)
typedef uint8_t FewBytes;
#else
typedef uint8_t FewBytes __attribute__((vector_size(kWidth)));
#endif

// The largest of a window, of as many channels as Bytes has.
template <typename Bytes>
LINNET_INLINE void largest(const IntegerPool& p, int64_t first) {
  const Bytes flip = static_cast<Bytes>(Bytes{} + p.flip);
  Bytes most{}, x;
  for (int64_t i = 0; i < p.rows; ++i) {
    const uint8_t* at = p.x + i * p.x_row + first;
    for (int64_t j = 0; j < p.cols; ++j, at += p.x_col) {
      __builtin_memcpy(&x, at, sizeof x);
      x ^= flip;
      most = x > most ? x : most;
    }
  }
  most ^= flip;
  __builtin_memcpy(p.y + first, &most, sizeof most);
}

void integer_max(const IntegerPool& p) {
  int64_t first = 0;
  for (; first + kManyBytes <= p.channels; first += kManyBytes) largest<ManyBytes>(p, first);
  for (; first < p.channels; first += kWidth) largest<FewBytes>(p, first);
}

void integer_average(const IntegerPool& p) {
  constexpr int64_t kBlock = 64;
  for (int64_t first = 0; first < p.channels; first += kBlock) {
    const int64_t count = p.channels - first < kBlock ? p.channels - first : kBlock;
    int32_t sums[kBlock];
    for (int64_t c = 0; c < kBlock; ++c) sums[c] = p.bias;
    for (int64_t i = 0; i < p.rows; ++i) {
      for (int64_t j = 0; j < p.cols; ++j) {
        const uint8_t* x = p.x + i * p.x_row + j * p.x_col + first;
        for (int64_t c = 0; c < count; ++c) sums[c] += x[c] ^ p.flip;
      }
    }
    for (int64_t c = 0; c < count; ++c)
      p.y[first + c] = byte_of(static_cast<float>(sums[c]) * p.scale, p.low, p.high, p.zero);
  }
}

}  // namespace
}  // namespace linnet

LINNET_EXPORT(integer)(linnet::Kernels* table) {
  using namespace linnet;
  table->wide.vecs = sizeof kMost / sizeof *kMost - 1;
  fill_integer_tiles<DotWide, kMost, sizeof kMost / sizeof *kMost - 1>(&table->wide);
  table->widen = widen;
  table->integer_depthwise = integer_depthwise<DepthwiseWide>;
  table->depthwise_rows = DepthwiseWide::kGroup;
  table->quantize = quantize, table->dequantize = dequantize, table->look_up = look_up;
  table->integer_add = integer_add, table->integer_multiply = integer_multiply;
  table->integer_max = integer_max, table->integer_average = integer_average;
}
