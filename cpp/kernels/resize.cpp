// Weighted sums of spans of numbers: rows of an image, or channels of pixels.
#include "vector.h"

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

}  // namespace
}  // namespace linnet

LINNET_EXPORT(resize)(linnet::Kernels* table) { table->resample = linnet::resample; }
