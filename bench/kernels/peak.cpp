// The most multiply-adds this core can do: registers only, enough independent chains to hide their
// latency.
#include "vector.h"

namespace linnet {
namespace {

constexpr int kChains = 12;
constexpr int kTurns = 1000;

}  // namespace
}  // namespace linnet

// Does `repeat` blocks of work; *flops is how many floating-point operations that was.
LINNET_EXPORT(peak)(int64_t repeat, double* flops, float* sink) {
  using namespace linnet;
  Vec acc[kChains];
  LINNET_UNROLL
  for (int c = 0; c < kChains; ++c) acc[c] = splat(static_cast<float>(c));
  float factor = 0.5f;
  __asm__("" : "+m"(factor));
  const Vec a = splat(factor);
  for (int64_t i = 0; i < repeat * kTurns; ++i) {
    LINNET_UNROLL
    for (int c = 0; c < kChains; ++c) acc[c] = fma(a, acc[c], a);
  }
  Vec total = acc[0];
  LINNET_UNROLL
  for (int c = 1; c < kChains; ++c) total = add(total, acc[c]);
  store(sink, total);
  *flops = 2.0 * kWidth * kChains * kTurns * static_cast<double>(repeat);
}
