// The most multiply-adds this core can do: registers only, enough independent chains to hide their
// latency.
#include "vector.h"

namespace linnet {
namespace {

constexpr int kChains = 12;

double peak(int64_t turns, float* sink) {
  Vec acc[kChains];
  LINNET_UNROLL
  for (int c = 0; c < kChains; ++c) acc[c] = splat(static_cast<float>(c));
  float factor = 0.5f;
  __asm__("" : "+m"(factor));
  const Vec a = splat(factor);
  for (int64_t i = 0; i < turns; ++i) {
    LINNET_UNROLL
    for (int c = 0; c < kChains; ++c) acc[c] = fma(a, acc[c], a);
  }
  Vec total = acc[0];
  LINNET_UNROLL
  for (int c = 1; c < kChains; ++c) total = add(total, acc[c]);
  store(sink, total);
  return 2.0 * kWidth * kChains * static_cast<double>(turns);
}

}  // namespace
}  // namespace linnet

LINNET_EXPORT(peak)(linnet::Kernels* table) { table->peak = linnet::peak; }
