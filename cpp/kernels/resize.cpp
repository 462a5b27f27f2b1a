// Weighted sums of spans of numbers: rows of an image, or channels of pixels.
#include "integer.h"

namespace linnet {
namespace {

// kTaps: 0 for any number.
template <int kTaps, int kVecs>
LINNET_INLINE void sums(const Resampling& t, const int64_t* places, const float* weights,
                        int64_t first, float* y) {
  const int64_t taps = kTaps > 0 ? kTaps : t.taps;
  Vec acc[kVecs];
  const float* x = t.x + places[0] + first;
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) {
    acc[v] = load(x + v * kWidth);
    if (kTaps != 1) acc[v] = mul(acc[v], splat(weights[0]));
  }
  for (int64_t tap = 1; tap < taps; ++tap) {
    x = t.x + places[tap] + first;
    const Vec weight = splat(weights[tap]);
    LINNET_UNROLL
    for (int v = 0; v < kVecs; ++v) acc[v] = fma(acc[v], load(x + v * kWidth), weight);
  }
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) store(y + first + v * kWidth, acc[v]);
}

template <int kTaps>
LINNET_INLINE void run(const Resampling& t) {
  constexpr int kBlock = 4;
  const int64_t taps = kTaps > 0 ? kTaps : t.taps;
  float* y = t.y;
  for (int64_t o = 0; o < t.outputs; ++o, y += t.y_step) {
    const int64_t* places = t.places + o * taps;
    const float* weights = t.weights + o * taps;
    int64_t i = 0;
    for (; i + kBlock * kWidth <= t.count; i += kBlock * kWidth)
      sums<kTaps, kBlock>(t, places, weights, i, y);
    for (; i < t.count; i += kWidth) sums<kTaps, 1>(t, places, weights, i, y);
  }
}

// A single tap has the weight 1.
void resample(const Resampling& t) {
  switch (t.taps) {
    case 1:
      return run<1>(t);
    case 2:
      return run<2>(t);
    case 4:
      return run<4>(t);
    default:
      return run<0>(t);
  }
}

template <int kVecs>
LINNET_INLINE void blend_columns(const IntegerResampling& t, int64_t o, int64_t first) {
  const int32_t* left = t.sums + t.places[2 * o] + first;
  const int32_t* right = t.sums + t.places[2 * o + 1] + first;
  const Ints share = splat_ints(t.shares[o]);
  Ints y[kVecs];
  LINNET_UNROLL
  for (int v = 0; v < kVecs; ++v) {
    const Ints both = blend(load_ints(left + v * kWidth), load_ints(right + v * kWidth), share);
    y[v] = high_bits(both);
  }
  store_all_bytes<kVecs>(reinterpret_cast<char*>(t.y + o * t.y_step + first), y);
}

template <int kVecs>
LINNET_INLINE int64_t blend_all_columns(const IntegerResampling& t, int64_t first) {
  for (; first + kVecs * kWidth <= t.count; first += kVecs * kWidth) {
    for (int64_t o = 0; o < t.outputs; ++o) blend_columns<kVecs>(t, o, first);
  }
  return first;
}

// Both rows first, then columns of what they come to.
void integer_resample(const IntegerResampling& given) {
  const IntegerResampling t = given;
  const uint32_t flip = t.flip * 0x01010101u;
  const Ints share = splat_ints(t.share);
  // A half of the last step, and 128 steps, whose bits turn signed bytes back.
  const Ints start = splat_ints((1 << 10) + (t.flip << 11));
  for (int64_t i = 0; i < t.line; i += kWidth) {
    const Ints both = blend(byte_ints(t.rows[0] + i, flip), byte_ints(t.rows[1] + i, flip), share);
    store_ints(t.sums + i, add_ints(both, start));
  }
  int64_t first = blend_all_columns<4>(t, 0);
  first = blend_all_columns<2>(t, first);
  blend_all_columns<1>(t, first);
}

}  // namespace
}  // namespace linnet

LINNET_EXPORT(resize)(linnet::Kernels* table) {
  table->resample = linnet::resample;
  table->integer_resample = linnet::integer_resample;
}
