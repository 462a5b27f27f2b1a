// Register tiles of a direct convolution or a matrix product (see DirectTile), and the same for a
// single pixel.
#include "epilogue.h"
#include "vector.h"

namespace linnet {
namespace {

// Columns of a tile by its vectors of output channels. A tile takes cols * vecs accumulators, vecs
// weights and at least one register of input values; more accumulators mean more multiply-adds per
// load.
#if defined(LINNET_ISA_scalar)
constexpr int kCols[] = {0, 8, 4, 3, 2};
constexpr double kFlopsPerCycle = 2;
#elif defined(LINNET_ISA_avx2)
constexpr int kCols[] = {0, 12, 6, 4, 2};
constexpr double kFlopsPerCycle = 32;
#elif defined(LINNET_ISA_avx512)
constexpr int kCols[] = {0, 14, 14, 9, 6};
constexpr double kFlopsPerCycle = 64;
#elif defined(LINNET_ISA_neon)
constexpr int kCols[] = {0, 12, 12, 8, 6};
constexpr double kFlopsPerCycle = 8;  // Cortex-A53 and A72
#else
constexpr int kCols[] = {0, 8, 6};
constexpr double kFlopsPerCycle = 8;
#endif
constexpr int kVecsMax = sizeof kCols / sizeof kCols[0] - 1;
constexpr int kGemvVecs = kMaxTileVecs;
// The prefetchers of x86-64 follow each of several streams, none across the end of a page. Small
// Arm cores are told what to prefetch instead.
#if defined(__x86_64__)
constexpr int kWeightPlaces = 4;
#else
constexpr int kWeightPlaces = 1;
#endif

// Taps of the inner loop done per turn.
constexpr int kUnroll = 4;
#if defined(LINNET_ISA_avx512)
// Whether multiply_add() can broadcast, which saves an instruction for a value used once, and
// whether a tile of one vector leaves registers for the weights of several taps (see slide).
constexpr bool kBroadcasts = true, kSlides = true;
#else
constexpr bool kBroadcasts = false, kSlides = false;
#endif
// Columns between the load of an input value and its use: in-order cores wait for a load.
#if defined(LINNET_ISA_neon) || defined(LINNET_ISA_neon_vfpv4)
constexpr int kAhead = 3;
#else
constexpr int kAhead = 0;
#endif

// Input pointers of a tile: one to the first of every three columns, the other two are reached by
// scaled index.
template <int kTileCols>
struct Columns {
  static constexpr int kBases = (kTileCols + 2) / 3;
  const float* base[kBases];
  ptrdiff_t stride;

  LINNET_INLINE Columns(const float* x, ptrdiff_t x_col) : stride(x_col) {
    LINNET_UNROLL
    for (int b = 0; b < kBases; ++b) base[b] = x + 3 * b * x_col;
  }
  LINNET_INLINE const float* at(int col) const { return base[col / 3] + (col % 3) * stride; }
  LINNET_INLINE void advance(int taps) {
    LINNET_UNROLL
    for (int b = 0; b < kBases; ++b) base[b] += taps;
  }
  // Hides where the values come from and orders memory accesses. Left alone, compilers keep one
  // pointer for every column and tap, more than there are registers, and load ahead what then has
  // to be spilled.
  LINNET_INLINE void pin() {
    LINNET_UNROLL
    for (int b = 0; b < kBases; ++b) __asm__("" : "+r"(base[b]));
    __asm__ volatile("" : "+r"(stride) : : "memory");
  }
};

// One tap: every accumulator gains weight times input value.
template <int kVecs, int kTileCols>
LINNET_INLINE void step(Vec (&acc)[kTileCols][kVecs], const Columns<kTileCols>& x, const float* w,
                        int tap) {
  Vec weight[kVecs];
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) weight[v] = load(w + (tap * kVecs + v) * kWidth);
  Value value[kTileCols + kAhead];
  constexpr int kFirst = kAhead < kTileCols ? kAhead : kTileCols;
  if constexpr (kFirst > 0) {
    LINNET_UNROLL
    for (int p = 0; p < kFirst; ++p) value[p] = broadcast(x.at(p) + tap);
  }
  LINNET_UNROLL
  for (int p = 0; p < kTileCols; ++p) {
    if constexpr (kVecs == 1 && kBroadcasts) {
      multiply_add(acc[p][0], weight[0], x.at(p) + tap);
    } else {
      if (p + kAhead < kTileCols) value[p + kAhead] = broadcast(x.at(p + kAhead) + tap);
      LINNET_UNROLL
      for (int v = 0; v < kVecs; ++v) multiply_add(acc[p][v], weight[v], value[p]);
    }
  }
}

template <int kTaps, int kVecs, int kTileCols>
LINNET_INLINE void steps(Vec (&acc)[kTileCols][kVecs], Columns<kTileCols>& x, const float*& w) {
  LINNET_UNROLL
  for (int tap = 0; tap < kTaps; ++tap) {
    x.pin();
    step<kVecs, kTileCols>(acc, x, w, tap);
  }
  w += kTaps * kVecs * kWidth;
  x.advance(kTaps);
}

// kTaps inner taps of pixels that are neighbours in memory too: an input value then meets up to
// kTaps weights, in kTaps pixels, and is loaded once. `w` are single vectors.
template <int kTaps, int kTileCols>
LINNET_INLINE void slide(Vec (&acc)[kTileCols][1], const float* x, const float* w) {
  __asm__("" : "+r"(x));  // or gcc keeps scalars for the next turn and broadcasts them again
  Vec weight[kTaps];
  LINNET_UNROLL
  for (int tap = 0; tap < kTaps; ++tap) weight[tap] = load(w + tap * kWidth);
  LINNET_UNROLL
  for (int i = 0; i < kTileCols + kTaps - 1; ++i) {
    const Value value = broadcast(x + i);
    LINNET_UNROLL
    for (int tap = 0; tap < kTaps; ++tap) {
      if (i >= tap && i - tap < kTileCols) multiply_add(acc[i - tap][0], weight[tap], value);
    }
  }
}

// Neighbouring pixels become their maximum; returns how many are left.
template <int kPool, int kVecs, int kTileCols>
LINNET_INLINE int pool(Vec (&acc)[kTileCols][kVecs]) {
  LINNET_UNROLL
  for (int p = 0; p < kTileCols / kPool; ++p) {
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      Vec r = acc[p * kPool][v];
      LINNET_UNROLL
      for (int q = 1; q < kPool; ++q) r = maximum(acc[p * kPool + q][v], r);
      acc[p][v] = r;
    }
  }
  return kTileCols / kPool;
}

// Residual, activation and pooling, of which the last two may be swapped: limits keep the order.
template <int kVecs, int kTileCols>
LINNET_INLINE void finish(Vec (&acc)[kTileCols][kVecs], const DirectTile& t) {
  const ptrdiff_t y_col = t.y_col;
  if (t.residual) add_residual(acc, kTileCols, t.residual, y_col);
  int pixels = kTileCols;
  if constexpr (kTileCols % 2 == 0) {
    if (t.pool_cols == 2) pixels = pool<2>(acc);
  }
  if constexpr (kTileCols % 3 == 0) {
    if (t.pool_cols == 3) pixels = pool<3>(acc);
  }
  limit(acc, pixels, t.limits);
  write<true>(acc, pixels, t.pool_merge, t.y, y_col);
}

template <int kVecs, int kTileCols>
void direct(const DirectTile& t) {
  Vec acc[kTileCols][kVecs];
  const float* bias = t.bias;
  LINNET_UNROLL
  for (int p = 0; p < kTileCols; ++p) {
#if defined(__x86_64__)
    // Loaded for every pixel: copies from register to register take turns with multiply-adds.
    __asm__("" : "+r"(bias));
#endif
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) acc[p][v] = load(bias + v * kWidth);
  }

  const float* w = static_cast<const float*>(t.w);
  const float* outer = t.x;
  const ptrdiff_t x_col = t.x_col;
  for (int64_t o = t.outer; o > 0; --o, outer += t.x_outer) {
    const float* middle = outer;
    for (int64_t m = t.middle; m > 0; --m, middle += t.x_middle) {
      ptrdiff_t i = t.inner;
      if constexpr (kVecs == 1 && kSlides) {
        if (x_col == 1) {
          const float* x = middle;
          for (; i >= 4; i -= 4, x += 4, w += 4 * kWidth) slide<4>(acc, x, w);
          if (i == 3) slide<3>(acc, x, w);
          if (i == 2) slide<2>(acc, x, w);
          if (i == 1) slide<1>(acc, x, w);
          w += i * kWidth + t.w_middle;
          continue;
        }
      }
      Columns<kTileCols> x(middle, x_col);
      for (; i >= kUnroll; i -= kUnroll) steps<kUnroll, kVecs, kTileCols>(acc, x, w);
      for (; i > 0; --i) steps<1, kVecs, kTileCols>(acc, x, w);
      if constexpr (kWeightPlaces > 1) w += t.w_middle;
    }
    if constexpr (kWeightPlaces > 1) w += t.w_outer;
  }
  finish(acc, t);
}

// Asks for the `kBytes` of weights some way ahead of w. Small Arm cores need to be told; on x86-64
// the hardware's own prefetching already reaches the bandwidth of the cache the weights come from
// (measured: no distance helps).
template <int kBytes>
LINNET_INLINE void prefetch([[maybe_unused]] const void* w) {
#if defined(__arm__) || defined(__aarch64__)
  constexpr int kLine = 64, kDistance = 512;
  LINNET_UNROLL
  for (int i = 0; i < kBytes; i += kLine)
    __builtin_prefetch(static_cast<const char*>(w) + kDistance + i);
#endif
}

// acc += x * the kVecs vectors of weights at w.
template <typename Weight, int kVecs>
LINNET_INLINE void multiply_weights(Vec (&acc)[kVecs], const Weight* w, Vec x) {
#if defined(LINNET_ISA_neon) || defined(LINNET_ISA_neon_vfpv4)
  if constexpr (sizeof(Weight) < sizeof(float) && kVecs % 2 == 0) {
    LINNET_UNROLL
    for (int v = 0; v < kVecs; v += 2) {
      Vec weight[2];
      load(w + v * kWidth, weight);
      acc[v] = fma(acc[v], weight[0], x);
      acc[v + 1] = fma(acc[v + 1], weight[1], x);
    }
    return;
  }
#endif
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) acc[v] = fma(acc[v], load(w + v * kWidth), x);
}

// kPlaces runs of `taps` at once, x_place values and w_place weights apart, as several partial
// sums.
template <int kPlaces, typename Weight, int kSums, int kVecs>
LINNET_INLINE void accumulate(Vec (&sum)[kSums][kVecs], const float* x, ptrdiff_t x_place,
                              const Weight* w, ptrdiff_t w_place, ptrdiff_t taps) {
  constexpr int kTaps = kPlaces < kSums ? kSums / kPlaces : 1;
  constexpr ptrdiff_t kLanes = kVecs * kWidth;
  for (; taps >= kTaps; taps -= kTaps, x += kTaps, w += kTaps * kLanes) {
    prefetch<kTaps * kLanes * sizeof(Weight)>(w);
    LINNET_UNROLL
    for (int i = 0; i < kPlaces * kTaps; ++i) {
      const int place = i / kTaps, tap = i % kTaps;
      multiply_weights(sum[i % kSums], w + place * w_place + tap * kLanes,
                       splat(x[place * x_place + tap]));
    }
  }
  for (; taps > 0; --taps, ++x, w += kLanes) {
    LINNET_UNROLL
    for (int place = 0; place < kPlaces; ++place)
      multiply_weights(sum[0], w + place * w_place, splat(x[place * x_place]));
  }
}

// One pixel: nothing is reused, so this is a stream of weights, or several: middle taps are taken
// kWeightPlaces at a time. Few vectors keep several partial sums, to have enough independent
// additions in flight.
template <typename Weight, int kVecs>
void gemv(const DirectTile& t) {
  constexpr int kSums = kVecs >= 8 ? 1 : kVecs >= 4 ? 2 : 4;
  Vec acc[1][kVecs], extra[kSums][kVecs];
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) {
    acc[0][v] = load(t.bias + v * kWidth);
    LINNET_UNROLL
    for (int s = 0; s < kSums; ++s) extra[s][v] = splat(0);
  }

  const Weight* w = static_cast<const Weight*>(t.w);
  const ptrdiff_t w_place = t.inner * kVecs * kWidth + t.w_middle;
  const float* outer = t.x;
  for (int64_t o = t.outer; o > 0; --o, outer += t.x_outer, w += t.w_outer) {
    const float* middle = outer;
    int64_t m = t.middle;
    if constexpr (kWeightPlaces > 1) {
      for (; m >= kWeightPlaces; m -= kWeightPlaces) {
        accumulate<kWeightPlaces>(extra, middle, t.x_middle, w, w_place, t.inner);
        middle += kWeightPlaces * t.x_middle, w += kWeightPlaces * w_place;
      }
    }
    for (; m > 0; --m, middle += t.x_middle, w += w_place)
      accumulate<1>(extra, middle, 0, w, 0, t.inner);
  }
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) {
    LINNET_UNROLL
    for (int s = 1; s < kSums; ++s) extra[0][v] = add(extra[0][v], extra[s][v]);
    if constexpr (sizeof(Weight) == 1) {
      acc[0][v] = fma(acc[0][v], extra[0][v], load(t.scale + v * kWidth));
    } else {
      acc[0][v] = add(acc[0][v], extra[0][v]);
    }
  }
  finish(acc, t);
}

template <typename Weight>
void expand(const void* weights, const float* scale, float* out, int64_t taps, int64_t vecs) {
  const Weight* w = static_cast<const Weight*>(weights);
  for (int64_t tap = 0; tap < taps; ++tap) {
    for (int64_t v = 0; v < vecs; ++v, w += kWidth, out += kWidth) {
      if constexpr (sizeof(Weight) == 1) {
        store(out, mul(load(w), load(scale + v * kWidth)));
      } else {
        store(out, load(w));
      }
    }
  }
}

// A tile of a product: like direct(), without what comes before and after.
template <int kVecs, int kTileCols>
void product_tile(const float* x, ptrdiff_t x_col, int64_t taps, const float* w, float* y,
                  ptrdiff_t y_col) {
  Vec acc[kTileCols][kVecs];
  LINNET_UNROLL
  for (int p = 0; p < kTileCols; ++p) {
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) acc[p][v] = splat(0);
  }
  Columns<kTileCols> columns(x, x_col);
  for (; taps >= kUnroll; taps -= kUnroll) steps<kUnroll, kVecs, kTileCols>(acc, columns, w);
  for (; taps > 0; --taps) steps<1, kVecs, kTileCols>(acc, columns, w);
  write<false, true>(acc, kTileCols, y, y_col);
}

struct ProductTiles {
  void (*of[kMaxTileCols + 1])(const float*, ptrdiff_t, int64_t, const float*, float*,
                               ptrdiff_t) = {};
};
template <int kVecs, int kTileCols>
constexpr void fill_tiles(ProductTiles& tiles) {
  tiles.of[kTileCols] = product_tile<kVecs, kTileCols>;
  if constexpr (kTileCols > 1) fill_tiles<kVecs, kTileCols - 1>(tiles);
}
template <int kVecs>
constexpr ProductTiles product_tiles() {
  ProductTiles tiles;
  fill_tiles<kVecs, kCols[kVecs]>(tiles);
  return tiles;
}

template <int kVecs>
void product(const Product& p) {
  constexpr int kMost = kCols[kVecs];
  static constexpr ProductTiles kTiles = product_tiles<kVecs>();
  const int64_t groups = (p.cols + kMost - 1) / kMost;
  const int64_t least = p.cols / groups, larger = p.cols % groups;
  const float *x_point = p.x, *w = p.w;
  float* y_point = p.y;
  for (int i = p.points; i > 0; --i) {
    const float* x = x_point;
    float* y = y_point;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t cols = least + (g < larger);
      kTiles.of[cols](x, p.x_col, p.taps, w, y, kVecs * kWidth);
      x += cols * p.x_col;
      y += cols * kVecs * kWidth;
    }
    x_point += p.x_point;
    y_point += p.y_point;
    w += p.taps * kVecs * kWidth;
  }
}

template <int kVecs, int kTileCols>
constexpr void fill_cols(Kernels* table) {
  table->direct[kVecs][kTileCols] = direct<kVecs, kTileCols>;
  if constexpr (kTileCols > 1) fill_cols<kVecs, kTileCols - 1>(table);
}

template <int kVecs>
constexpr void fill_vecs(Kernels* table) {
  static_assert(kCols[kVecs] <= kMaxTileCols, "tile too wide for the table");
  table->direct_cols[kVecs] = kCols[kVecs];
  fill_cols<kVecs, kCols[kVecs]>(table);
  table->product[kVecs] = product<kVecs>;
  if constexpr (kVecs > 1) fill_vecs<kVecs - 1>(table);
}

template <int kVecs>
constexpr void fill_gemv(Kernels* table) {
  table->gemv[static_cast<int>(DType::kF32)][kVecs] = gemv<float, kVecs>;
  table->gemv[static_cast<int>(DType::kF16)][kVecs] = gemv<uint16_t, kVecs>;
  table->gemv[static_cast<int>(DType::kI8)][kVecs] = gemv<int8_t, kVecs>;
  if constexpr (kVecs > 1) fill_gemv<kVecs - 1>(table);
}

}  // namespace
}  // namespace linnet

LINNET_EXPORT(direct)(linnet::Kernels* table) {
  table->width = linnet::kWidth;
  table->flops_per_cycle = linnet::kFlopsPerCycle;
  table->direct_vecs = linnet::kVecsMax;
  linnet::fill_vecs<linnet::kVecsMax>(table);
  table->weight_places = linnet::kWeightPlaces;
  table->gemv_vecs = linnet::kGemvVecs;
  linnet::fill_gemv<linnet::kGemvVecs>(table);
  table->expand[static_cast<int>(linnet::DType::kF32)] = nullptr;
  table->expand[static_cast<int>(linnet::DType::kF16)] = linnet::expand<uint16_t>;
  table->expand[static_cast<int>(linnet::DType::kI8)] = linnet::expand<int8_t>;
}
