#include <limits>

#include "algorithms/cost.h"
#include "algorithms/direct.h"

namespace linnet {
namespace {

// Cycles to produce one row of `stored` pixels (each the max of `pool` computed ones) with panels
// of `vecs` vectors: bound by multiply-adds, by loads, and by streaming the panel's
// weights from L2 once per tile.
double row_cycles(const Kernels& kernels, int vecs, int64_t stored, int64_t pool, int64_t taps) {
  const int64_t most = std::max<int64_t>(1, kernels.direct_cols[vecs] / pool);
  const int64_t tiles = ceil_div(stored, most);
  const double cols = static_cast<double>(stored * pool) / tiles;
  // Fewer than 8 in flight wait for each other.
  const double fma = std::max(vecs * cols, 8.0) / fma_rate(kernels) * disorder(kernels, vecs);
  const double loads = (vecs + cols) / machine().loads;
  const double panel_bytes = static_cast<double>(taps) * vecs * kernels.width * sizeof(float);
  const double stream = panel_bytes > 24 * 1024 ? vecs * kernels.width * sizeof(float) / 24.0 : 0;
  return tiles * (taps * std::max({fma, loads, stream}) + 20 + vecs * cols);
}

double panels_cycles(const Kernels& kernels, const Panels& p, int64_t stored, int64_t pool,
                     int64_t taps) {
  return p.full * row_cycles(kernels, p.vecs, stored, pool, taps) +
         (p.rest ? row_cycles(kernels, p.rest, stored, pool, taps) : 0);
}

}  // namespace

Panels best_panels(const Kernels& kernels, int64_t channels, int64_t stored, int64_t pool,
                   int64_t taps, int most_cols) {
  const int64_t vectors = ceil_div(channels, kernels.width);
  Panels best;
  double least = std::numeric_limits<double>::infinity();
  const auto widest = std::min<int64_t>(kernels.direct_vecs, vectors);
  const bool narrow = kernels.direct_cols[widest] <= most_cols;
  for (int vecs = 1; vecs <= widest; ++vecs) {
    const int cols = kernels.direct_cols[vecs];
    if (cols < pool || (narrow && cols > most_cols)) continue;
    const Panels p{vectors / vecs, vecs, static_cast<int>(vectors % vecs)};
    const double cycles = panels_cycles(kernels, p, stored, pool, taps);
    if (cycles < least) least = cycles, best = p;
  }
  return best;
}

alignas(64) const float kNoBias[kMaxTileVecs * kMaxWidth] = {};

void run_in_parts(DirectKernel kernel, DirectTile tile, int64_t lanes) {
  const DirectTile whole = tile;
  const auto part = [](int64_t length, int64_t each) {
    return std::clamp<int64_t>(kMostTerms / each, 1, length);
  };
  const int64_t inner = part(whole.inner, 1), middle = part(whole.middle, whole.inner),
                outer = part(whole.outer, whole.middle * whole.inner);
  tile.limits = {};
  for (int64_t o = 0; o < whole.outer; o += outer) {
    for (int64_t m = 0; m < whole.middle; m += middle) {
      for (int64_t i = 0; i < whole.inner; i += inner) {
        tile.outer = std::min(outer, whole.outer - o);
        tile.middle = std::min(middle, whole.middle - m);
        tile.inner = std::min(inner, whole.inner - i);
        tile.x = whole.x + o * whole.x_outer + m * whole.x_middle + i;
        const int64_t tap = (o * whole.middle + m) * whole.inner + i;
        tile.w = static_cast<const float*>(whole.w) + tap * lanes;
        const int64_t taps = whole.outer * whole.middle * whole.inner;
        if (tap + tile.outer * tile.middle * tile.inner == taps) tile.limits = whole.limits;
        kernel(tile);
        tile.bias = kNoBias, tile.residual = tile.y;
      }
    }
  }
}

}  // namespace linnet
