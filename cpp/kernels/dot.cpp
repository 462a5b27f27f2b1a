// Tiles of products of bytes, for CPUs that multiply four pairs of them and add the products to an
// int32 in one instruction: VNNI, and the dot products of Armv8.2. Of ARM this file is compiled for
// those; dispatch.cpp asks the CPU.
#include "integer.h"

#if defined(LINNET_ISA_avx512)

#include <cpuid.h>

namespace linnet {
namespace {

// What not every CPU with AVX-512 has.
struct Features {
  bool vnni, vbmi;
};
#ifdef LINNET_FEATURES  // of the CPU that a network is compiled for
constexpr Features features() { return {LINNET_FEATURES}; }
#else
Features features() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return {false, false};
  return {(c & bit_AVX512VNNI) != 0, (c & bit_AVX512VBMI) != 0};
}
#endif

struct DotBytes {
  static constexpr int kStep = 4, kWeights = 64, kGroup = 4;
  static constexpr bool kByLane = true;

  template <int kVecs, int kCols>
  static LINNET_INLINE void step(Ints (&acc)[kCols][kVecs], const IntegerColumns<kCols>& x,
                                 const char* w, uint32_t flip) {
    Ints weight[kVecs];
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) weight[v] = _mm512_load_si512(w + v * kWeights);
    const Ints turned = _mm512_set1_epi32(static_cast<int>(flip));
    LINNET_UNROLL
    for (int p = 0; p < kCols; ++p) {
      int32_t four;
      __builtin_memcpy(&four, x.at(p), sizeof four);
      const Ints value = _mm512_xor_si512(_mm512_set1_epi32(four), turned);
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v)
        __asm__("vpdpbusd %2, %1, %0" : "+v"(acc[p][v]) : "v"(value), "v"(weight[v]));
    }
  }
};

struct DepthwiseBytes {
  static constexpr int kGroup = 4, kPixels = 8;

  static LINNET_INLINE Ints column(const uint8_t* x, ptrdiff_t x_row, int rows, uint8_t flip) {
    const auto row = [&](int i) {
      return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i * x_row)));
    };
    Ints all = row(0);
    if (rows > 1) all = _mm512_or_si512(all, _mm512_slli_epi32(row(1), 8));
    if (rows > 2) all = _mm512_or_si512(all, _mm512_slli_epi32(row(2), 16));
    if (rows > 3) all = _mm512_or_si512(all, _mm512_slli_epi32(row(3), 24));
    return _mm512_xor_si512(all, _mm512_set1_epi8(static_cast<char>(flip)));
  }
  static LINNET_INLINE void dot(Ints& acc, Ints w, Ints column) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(column), "v"(w));
  }
};

// 64 channels at once. Rows of bytes are interleaved within each 128 bits, so that of four sums the
// i-th has the i-th four of every sixteen channels; weights, bias and scales are brought to that
// order, and packing sums to bytes undoes it.
template <int kTaps, int kStride, bool kFlip>
class DepthwiseMany {
 public:
  static constexpr ptrdiff_t kGroups = 2, kPixels = 4;

  DepthwiseMany(const IntegerDepthwise& t, ptrdiff_t vector)
      : t_(t), groups_((t.rows + 3) / 4), channel_(vector * kWidth) {
    const char* w = static_cast<const char*>(t.w) + vector * groups_ * kTaps * 64;
    for (ptrdiff_t g = 0; g < groups_; ++g) {
      for (int c = 0; c < kTaps; ++c)
        gather(w + (g * kTaps + c) * 64, groups_ * kTaps * 64, weights_[g][c]);
    }
    gather(t.bias + channel_, 64, bias_);
    gather(t.scale + channel_, 64, scale_);
  }

  void run() const {
    ptrdiff_t p = 0;
    for (; p + kPixels <= t_.pixels; p += kPixels) pixels<kPixels>(p);
    if (p < t_.pixels && t_.pixels >= kPixels) return pixels<kPixels>(t_.pixels - kPixels);
    for (; p < t_.pixels; ++p) pixels<1>(p);
  }

 private:
  static void gather(const void* from, ptrdiff_t step, __m512i (&to)[4]) {
    for (int i = 0; i < 4; ++i) {
      for (int v = 0; v < 4; ++v)
        __builtin_memcpy(reinterpret_cast<char*>(&to[i]) + 16 * v,
                         static_cast<const char*>(from) + v * step + 16 * i, 16);
    }
  }

  // A column's bytes of up to four rows; those of rows that are not there meet weights of 0.
  LINNET_INLINE void column(const uint8_t* x, ptrdiff_t rows, __m512i (&four)[4]) const {
    __m512i row[4];
    LINNET_UNROLL
    for (int i = 0; i < 4; ++i) row[i] = i < rows ? _mm512_loadu_si512(x + i * t_.x_row) : row[0];
    const __m512i a = _mm512_unpacklo_epi8(row[0], row[1]),
                  b = _mm512_unpackhi_epi8(row[0], row[1]);
    const __m512i c = _mm512_unpacklo_epi8(row[2], row[3]),
                  d = _mm512_unpackhi_epi8(row[2], row[3]);
    four[0] = _mm512_unpacklo_epi16(a, c), four[1] = _mm512_unpackhi_epi16(a, c);
    four[2] = _mm512_unpacklo_epi16(b, d), four[3] = _mm512_unpackhi_epi16(b, d);
    if constexpr (kFlip) {
      LINNET_UNROLL
      for (int i = 0; i < 4; ++i)
        four[i] = _mm512_xor_si512(four[i], _mm512_set1_epi8(static_cast<char>(0x80)));
    }
  }

  template <int kCount>
  LINNET_INLINE void pixels(ptrdiff_t first) const {
    __m512i acc[kCount][4];
    LINNET_UNROLL
    for (int p = 0; p < kCount; ++p) {
      LINNET_UNROLL
      for (int i = 0; i < 4; ++i) acc[p][i] = bias_[i];
    }
    const uint8_t* x = t_.x + first * t_.x_pixel + channel_;
    for (ptrdiff_t g = 0; g < groups_; ++g, x += 4 * t_.x_row) {
      const ptrdiff_t rows = t_.rows - 4 * g;
      LINNET_UNROLL
      for (int c = 0; c < (kCount - 1) * kStride + kTaps; ++c) {
        __m512i four[4];
        column(x + c * t_.x_col, rows, four);
        LINNET_UNROLL
        for (int p = 0; p < kCount; ++p) {
          const int tap = c - p * kStride;
          if (tap < 0 || tap >= kTaps) continue;
          LINNET_UNROLL
          for (int i = 0; i < 4; ++i)
            __asm__("vpdpbusd %2, %1, %0"
                    : "+v"(acc[p][i])
                    : "v"(four[i]), "m"(weights_[g][tap][i]));
        }
      }
    }
    LINNET_UNROLL
    for (int p = 0; p < kCount; ++p) {
      __m512i q[4];
      LINNET_UNROLL
      for (int i = 0; i < 4; ++i) {
        const Vec f = mul(to_floats(acc[p][i]), _mm512_castsi512_ps(scale_[i]));
        const Ints whole = shifted(within(f, t_.end.low, t_.end.high), shift(t_.end.zero));
        q[i] = _mm512_and_si512(whole, _mm512_set1_epi32(0xff));
      }
      const __m512i bytes =
          _mm512_packus_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
      _mm512_storeu_si512(static_cast<char*>(t_.y) + (first + p) * t_.y_pixel + channel_, bytes);
    }
  }

  const IntegerDepthwise& t_;
  const ptrdiff_t groups_, channel_;
  __m512i weights_[kGroups][kTaps][4], bias_[4], scale_[4];
};

template <int kTaps, int kStride>
void depthwise_many(const IntegerDepthwise& t, ptrdiff_t vector) {
  if (t.flip) {
    DepthwiseMany<kTaps, kStride, true>(t, vector).run();
  } else {
    DepthwiseMany<kTaps, kStride, false>(t, vector).run();
  }
}

void depthwise_bytes(const IntegerDepthwise& t) {
  const bool near = t.x_pixel == t.x_col, two = t.x_pixel == 2 * t.x_col;
  void (*many)(const IntegerDepthwise&, ptrdiff_t) = nullptr;
  if (t.cols == 3 && near) many = depthwise_many<3, 1>;
  if (t.cols == 3 && two) many = depthwise_many<3, 2>;
  if (t.cols == 5 && near) many = depthwise_many<5, 1>;
  if (t.cols == 5 && two) many = depthwise_many<5, 2>;
  if (!many || t.rows > 8 || t.z || t.end.real || t.end.between)
    return integer_depthwise<DepthwiseBytes>(t);
  const ptrdiff_t together = t.channels / 64 * 64;
  for (ptrdiff_t c = 0; c < together; c += 64) many(t, c / kWidth);
  if (together < t.channels) integer_depthwise<DepthwiseBytes>(behind(t, together, 4));
}

// Bytes of a table of 256 by VBMI, which takes two registers as one table of 128.
__attribute__((target("avx512vbmi"))) void look_up(const IntegerRows& r) {
  const auto* x = static_cast<const uint8_t*>(r.x);
  auto* y = static_cast<uint8_t*>(r.y);
  __m512i table[4];
  for (int i = 0; i < 4; ++i) table[i] = _mm512_loadu_si512(r.table + 64 * i);
  for (int64_t i = 0; i < r.count; i += 64) {
    const int64_t left = r.count - i;
    const __mmask64 there = left < 64 ? (uint64_t{1} << left) - 1 : ~uint64_t{0};
    const __m512i at = _mm512_maskz_loadu_epi8(there, x + i);
    const __m512i low = _mm512_permutex2var_epi8(table[0], at, table[1]);
    const __m512i high = _mm512_permutex2var_epi8(table[2], at, table[3]);
    _mm512_mask_storeu_epi8(y + i, there, _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(at), high));
  }
}

constexpr int kMost[] = {0, 14, 13, 8, 6};

constexpr bool fill(Kernels* table, Features has) {
  if (!has.vnni) return false;
  if (has.vbmi) table->look_up = look_up;
  table->bytes.vecs = 4;
  fill_integer_tiles<DotBytes, kMost, 4>(&table->bytes);
  table->depthwise_bytes = {depthwise_bytes, DepthwiseBytes::kGroup};
  return true;
}

}  // namespace
}  // namespace linnet

#elif defined(__ARM_FEATURE_DOTPROD) && !defined(LINNET_ISA_scalar)

namespace linnet {
namespace {

// Four or, by kGroups, eight bytes of x meet as many weights of each channel; signed ones, to which
// those of x that are not have to be turned.
template <int kGroups, bool kTurn>
struct DotGroups {
  static constexpr int kStep = 4 * kGroups, kWeights = 16 * kGroups;

  template <int kVecs, int kCols>
  static LINNET_INLINE void step(Ints (&acc)[kCols][kVecs], const IntegerColumns<kCols>& x,
                                 const char* w, uint32_t) {
    int8x8_t value[kCols];
    LINNET_UNROLL
    for (int p = 0; p < kCols; ++p) value[p] = load(x.at(p));
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      const int8x16_t weight = weights(w, v);
      LINNET_UNROLL
      for (int p = 0; p < kCols; ++p) acc[p][v] = vdotq_lane_s32(acc[p][v], weight, value[p], 0);
    }
    if constexpr (kGroups > 1) {
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        const int8x16_t weight = weights(w, kVecs + v);
        LINNET_UNROLL
        for (int p = 0; p < kCols; ++p) acc[p][v] = vdotq_lane_s32(acc[p][v], weight, value[p], 1);
      }
    }
  }

 private:
  static LINNET_INLINE int8x8_t load(const char* x) {
    int8x8_t bytes;
    if constexpr (kGroups > 1) {
      bytes = vld1_s8(reinterpret_cast<const int8_t*>(x));
    } else {
      int32_t four;
      __builtin_memcpy(&four, x, sizeof four);
      bytes = vreinterpret_s8_s32(vdup_n_s32(four));
    }
    return kTurn ? veor_s8(bytes, vdup_n_s8(-128)) : bytes;
  }
  static LINNET_INLINE int8x16_t weights(const char* w, int at) {
    return vld1q_s8(reinterpret_cast<const int8_t*>(w) + 16 * at);
  }
};
struct DotBytes {
  static constexpr int kGroup = 4;
  static constexpr bool kByLane = true;
};

// Two groups at a time, and one that is left.
template <>
struct Run<DotBytes> {
  template <int kVecs, int kCols>
  static LINNET_INLINE void add(Ints (&acc)[kCols][kVecs], IntegerColumns<kCols>& x, const char*& w,
                                ptrdiff_t count, uint32_t flip) {
    flip ? all<true>(acc, x, w, count) : all<false>(acc, x, w, count);
  }

 private:
  template <bool kTurn, int kVecs, int kCols>
  static LINNET_INLINE void all(Ints (&acc)[kCols][kVecs], IntegerColumns<kCols>& x, const char*& w,
                                ptrdiff_t count) {
    add_groups<DotGroups<2, kTurn> >(acc, x, w, count / 2, 0);
    add_groups<DotGroups<1, kTurn> >(acc, x, w, count % 2, 0);
  }
};

#if defined(LINNET_ISA_neon)
constexpr int kMost[] = {0, 8, 8, 6, 5};
#else
constexpr int kMost[] = {0, 8, 4, 3};
#endif

struct Features {};
constexpr Features features() { return {}; }
constexpr bool fill(Kernels* table, Features) {
  table->bytes = {};
  table->bytes.vecs = sizeof kMost / sizeof *kMost - 1;
  table->bytes.is_signed = true;
  fill_integer_tiles<DotBytes, kMost, sizeof kMost / sizeof *kMost - 1>(&table->bytes);
  return true;
}

}  // namespace
}  // namespace linnet

#else

namespace linnet {
namespace {
struct Features {};
constexpr Features features() { return {}; }
constexpr bool fill(Kernels*, Features) { return false; }
}  // namespace
}  // namespace linnet

#endif

LINNET_EXPORT_RETURNING(bool, dot)(linnet::Kernels* table) {
  return linnet::fill(table, linnet::features());
}
