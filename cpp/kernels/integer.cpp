// Integers: tiles of products of int16, depthwise tiles, and functions of rows of bytes.
#include "integer_depthwise.h"

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

// Eight bytes of x meet eight weights of each channel; x is turned by a pair of bytes at a time.
struct DotPairs {
  static constexpr int kStep = 8, kWeights = 32, kGroup = 8;
  static constexpr bool kByLane = false;

  template <int kVecs, int kCols>
  static LINNET_INLINE void step(Ints (&acc)[kCols][kVecs], const IntegerColumns<kCols>& x,
                                 const char* w, uint32_t flip) {
    const uint8x8_t turned = vreinterpret_u8_u32(vdup_n_u32(flip));
    int8x8_t value[kCols];
    LINNET_UNROLL
    for (int p = 0; p < kCols; ++p) {
      const uint8x8_t bytes = vld1_u8(reinterpret_cast<const uint8_t*>(x.at(p)));
      value[p] = vreinterpret_s8_u8(veor_u8(bytes, turned));
    }
    LINNET_UNROLL
    for (int turn = 0; turn < 4; turn += 2) {
      int8x8_t weight[kVecs][2];
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        LINNET_UNROLL
        for (int i = 0; i < 2; ++i)
          weight[v][i] =
              vld1_s8(reinterpret_cast<const int8_t*>(w + v * kWeights) + 8 * (turn + i));
      }
      LINNET_UNROLL
      for (int p = 0; p < kCols; ++p) {
        const int8x8_t next = vext_s8(value[p], value[p], 2);
        LINNET_UNROLL
        for (int v = 0; v < kVecs; ++v) {
          const int16x8_t both = vmlal_s8(vmull_s8(value[p], weight[v][0]), next, weight[v][1]);
          acc[p][v] = vpadalq_s16(acc[p][v], both);
        }
        value[p] = vext_s8(next, next, 2);
      }
    }
  }
};
#if defined(LINNET_ISA_neon)
constexpr int kMost[] = {0, 8, 8, 6, 4}, kMostPairs[] = {0, 8, 6, 5, 4};
#else
constexpr int kMost[] = {0, 4, 4}, kMostPairs[] = {0, 4, 4};
#endif
constexpr void fill_bytes(IntegerTiles* tiles) {
  constexpr int kVecs = sizeof kMostPairs / sizeof *kMostPairs - 1;
  tiles->vecs = kVecs, tiles->is_signed = true, tiles->pairs = true;
  fill_integer_tiles<DotPairs, kMostPairs, kVecs>(tiles);
}

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
constexpr void fill_bytes(IntegerTiles*) {}

#endif

void widen(const uint8_t* __restrict x, uint8_t flip, int32_t zero, int16_t* __restrict y,
           int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] = static_cast<int16_t>(static_cast<int32_t>(x[i] ^ flip) - zero);
}

// Numbers of a row, a vector at a time: One::run(rows, x, z, y) for those that begin there. The
// last ones of a row have room for a vector elsewhere.
template <typename One, size_t kX, size_t kY>
void each_vector(const IntegerRows& r) {
  const char *x = static_cast<const char*>(r.x), *z = static_cast<const char*>(r.z);
  char* y = static_cast<char*>(r.y);
  int64_t i = 0;
  for (; i + kWidth <= r.count; i += kWidth)
    One::run(r, x + i * kX, z ? z + i : nullptr, y + i * kY);
  const size_t left = static_cast<size_t>(r.count - i);
  if (left == 0) return;
  char last_x[kWidth * kX] = {}, last_z[kWidth] = {}, last_y[kWidth * kY];
  __builtin_memcpy(last_x, x + i * kX, left * kX);
  if (z) __builtin_memcpy(last_z, z + i, left);
  One::run(r, last_x, z ? last_z : nullptr, last_y);
  __builtin_memcpy(y + i * kY, last_y, left * kY);
}

LINNET_INLINE void put(const IntegerRows& r, Vec v, void* y) {
  store_bytes(y, shifted(within(v, r.low, r.high), shift(r.zero)));
}
LINNET_INLINE uint32_t four_times(uint8_t flip) { return flip * 0x01010101u; }

// x / scale, rounded as a division is. What lies far beyond a byte need not.
LINNET_INLINE Vec quotients(Vec x, float scale) {
#if defined(LINNET_ISA_neon_vfpv4)
  // No division of vectors: a product with the inverse, and what it leaves over (Markstein, IBM
  // Journal of Research and Development 34(1), 1990).
  const Vec s = splat(scale), inverse = splat(1 / scale);
  const Vec first = mul(x, inverse);
  return vfmaq_f32(first, vfmsq_f32(x, first, s), inverse);
#else
  return div(x, splat(scale));
#endif
}

struct Quantize {
  static LINNET_INLINE void run(const IntegerRows& r, const char* x, const char*, char* y) {
    Vec v = load(reinterpret_cast<const float*>(x));
    v = or_zero(v);
    put(r, quotients(within(v, -1024 * r.scale, 1024 * r.scale), r.scale), y);
  }

 private:
  // NaN becomes 0.
#if defined(LINNET_ISA_avx2)
  static LINNET_INLINE Vec or_zero(Vec v) {
    return _mm256_and_ps(v, _mm256_cmp_ps(v, v, _CMP_ORD_Q));
  }
#elif defined(LINNET_ISA_avx512)
  static LINNET_INLINE Vec or_zero(Vec v) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(v, v, _CMP_ORD_Q), v);
  }
#elif defined(LINNET_ISA_scalar)
  static LINNET_INLINE Vec or_zero(Vec v) { return v == v ? v : 0; }
#else
  static LINNET_INLINE Vec or_zero(Vec v) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), vceqq_f32(v, v)));
  }
#endif
};

struct Dequantize {
  static LINNET_INLINE void run(const IntegerRows& r, const char* x, const char*, char* y) {
    const Vec q = load_bytes(x, four_times(r.x_flip));
    store(reinterpret_cast<float*>(y), mul(sub(q, splat(r.x_zero)), splat(r.scale)));
  }
};

struct Sum {
  static LINNET_INLINE void run(const IntegerRows& r, const char* x, const char* z, char* y) {
    const Vec first = sub(load_bytes(x, four_times(r.x_flip)), splat(r.x_zero));
    const Vec second = sub(load_bytes(z, four_times(r.z_flip)), splat(r.z_zero));
    put(r, add(mul(first, splat(r.scale)), mul(second, splat(r.z_scale))), y);
  }
};

struct Multiplied {
  static LINNET_INLINE void run(const IntegerRows& r, const char* x, const char* z, char* y) {
    const Vec first = sub(load_bytes(x, four_times(r.x_flip)), splat(r.x_zero));
    const Vec second = sub(load_bytes(z, four_times(r.z_flip)), splat(r.z_zero));
    put(r, mul(mul(first, second), splat(r.scale)), y);
  }
};

void look_up(const IntegerRows& r) {
  const uint8_t* x = static_cast<const uint8_t*>(r.x);
  uint8_t* y = static_cast<uint8_t*>(r.y);
  for (int64_t i = 0; i < r.count; ++i) y[i] = r.table[x[i]];
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
  IntegerRows end{};
  end.low = p.low, end.high = p.high, end.zero = p.zero;
  constexpr int kBlock = 4 * kWidth;
  for (int64_t first = 0; first < p.channels; first += kBlock) {
    const int64_t count = p.channels - first < kBlock ? p.channels - first : kBlock;
    int32_t sums[kBlock];
    for (int c = 0; c < kBlock; ++c) sums[c] = p.bias;
    for (int64_t i = 0; i < p.rows; ++i) {
      for (int64_t j = 0; j < p.cols; ++j) {
        const uint8_t* x = p.x + i * p.x_row + j * p.x_col + first;
        for (int64_t c = 0; c < count; ++c) sums[c] += x[c] ^ p.flip;
      }
    }
    for (int64_t c = 0; c < count; c += kWidth)
      put(end, mul(to_floats(load_ints(sums + c)), splat(p.scale)), p.y + first + c);
  }
}

}  // namespace
}  // namespace linnet

LINNET_EXPORT(integer)(linnet::Kernels* table) {
  using namespace linnet;
  table->wide.vecs = sizeof kMost / sizeof *kMost - 1;
  fill_integer_tiles<DotWide, kMost, sizeof kMost / sizeof *kMost - 1>(&table->wide);
  fill_bytes(&table->bytes);
  table->widen = widen;
  table->depthwise_wide = {depthwise_wide, DepthwiseWide::kGroup};
  table->quantize = each_vector<Quantize, sizeof(float), 1>;
  table->dequantize = each_vector<Dequantize, 1, sizeof(float)>;
  table->integer_add = each_vector<Sum, 1, 1>;
  table->integer_multiply = each_vector<Multiplied, 1, 1>;
  table->look_up = look_up;
  table->integer_max = integer_max, table->integer_average = integer_average;
}
