// Tiles of products of bytes, for CPUs that multiply four pairs of them and add the products to an
// int32 in one instruction: VNNI.
#include "integer.h"

#if defined(LINNET_ISA_avx512)

#include <cpuid.h>

namespace linnet {
namespace {

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

bool fill(Kernels* table) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(c & bit_AVX512VNNI)) return false;
  if (c & bit_AVX512VBMI) table->look_up = look_up;
  table->bytes.vecs = 4;
  fill_integer_tiles<DotBytes, kMost, 4>(&table->bytes);
  table->depthwise_bytes = {integer_depthwise<DepthwiseBytes>, DepthwiseBytes::kGroup};
  return true;
}

}  // namespace
}  // namespace linnet

#else

namespace linnet {
namespace {
bool fill(Kernels*) { return false; }
}  // namespace
}  // namespace linnet

#endif

LINNET_EXPORT_RETURNING(bool, integer_dot)(linnet::Kernels* table) { return linnet::fill(table); }
