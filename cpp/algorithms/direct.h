// What direct convolutions and fully connected layers share: panels of output channels, and weights
// packed for them.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "algorithms/algorithm.h"

namespace linnet {

// Cycles to write a vector of weights of another type as floats.
constexpr double kExpandCycles = 2;

// How output channels are cut into panels of 1..direct_vecs vectors: `full` panels of `vecs`, then
// one of `rest`.
struct Panels {
  int64_t full = 0;
  int vecs = 1, rest = 0;
  int64_t count() const { return full + (rest > 0); }
  int size(int64_t panel) const { return panel < full ? vecs : rest; }
};

// The cheapest panels for rows of `stored` pixels, each the max of `pool` computed ones; if there
// are any, of tiles with at most so many columns.
Panels best_panels(const Kernels& kernels, int64_t channels, int64_t stored, int64_t pool,
                   int64_t taps, int most_cols = kMaxTileCols);

// What a plan has as weights: packed ones of any type, the bias, scales of int8 weights or null.
enum : uint8_t { kPacked, kBias, kScales };

// Points `tile` to weight number `at`, of output channel `channel`.
inline void point(DirectTile* tile, const FloatOperands& o, DType type, int64_t at,
                  int64_t channel) {
  tile->w = static_cast<const char*>(o.weights[kPacked]) + at * size_of(type);
  tile->scale = o.weights[kScales] ? o.floats(kScales) + channel : nullptr;
}

// Turns `taps` of the weights `tile` points to into floats at `to`, and points it there.
inline void expand(DirectTile* tile, const Kernels& kernels, DType type, float* to, int64_t taps,
                   int vecs) {
  kernels.expand[static_cast<int>(type)](tile->w, tile->scale, to, taps, vecs);
  tile->w = to;
}

// Packs weights as [group][panel][tap][vecs * width], in their own type, and what else a plan has;
// source(k, tap) is the offset of a tap of the kth of some output channels from their first.
template <typename Source>
std::vector<PlanData> pack(const Context& context, const Weight& weight, const Weight* bias,
                           const std::string& name, int64_t groups, int64_t k, const Panels& panels,
                           int64_t taps, Source source) {
  const int width = context.kernels.width;
  const int64_t per_group = k / groups;
  const int64_t padded = round_up(per_group, width);
  const std::string packing = name + " g" + std::to_string(groups) + " v" + std::to_string(width) +
                              "x" + std::to_string(panels.vecs);
  const auto fill = [&](Rows& rows, auto* out) {
    for (int64_t g = 0; g < groups; ++g) {
      int64_t channel = 0;
      for (int64_t p = 0; p < panels.count(); ++p) {
        const int64_t lanes = static_cast<int64_t>(panels.size(p)) * width;
        const int64_t used = std::min(lanes, per_group - channel), first = g * per_group + channel;
        const char* from = rows.at(first, used);
        for (int64_t t = 0; t < taps; ++t, out += lanes) {
          for (int64_t l = 0; l < used; ++l) {
            const int64_t at = source(l, t);
            std::memcpy(out + l, from + at * sizeof *out, sizeof *out);  // it may be misaligned
          }
        }
        channel += lanes;
      }
    }
  };
  const auto size = static_cast<size_t>(size_of(weight.type));
  const size_t bytes = float_bytes(groups * padded * taps) / sizeof(float) * size;
  auto packed = context.weights.get_rows(weight, packing, bytes, [&](Rows& rows, void* out) {
    if (weight.type == DType::kF32) {
      fill(rows, static_cast<float*>(out));
    } else if (weight.type == DType::kF16) {
      fill(rows, static_cast<uint16_t*>(out));
    } else {
      fill(rows, static_cast<int8_t*>(out));
    }
  });
  WeightStore::Buffer scales;
  if (weight.type == DType::kI8) {
    scales = context.weights.get(&weight, "scales v" + std::to_string(width), padded,
                                 [&](const Weight& loaded, float* out) {
                                   std::copy(loaded.scales.begin(), loaded.scales.end(), out);
                                 });
  }
  return {packed, context.weights.get_bias(bias, k, round_up(k, width)), scales};
}

// The bias of a tile that adds to what y holds, its residual.
extern const float kNoBias[];

// A tile of `lanes` output channels whose sums are cut into parts of kMostTerms products at most;
// in between, y holds the sum of those done. Not with a pool.
void run_in_parts(DirectKernel kernel, DirectTile tile, int64_t lanes);

// Fully connected layers: their plan, and cycles for the estimate.
Plan prepare_direct_fc(const Problem& problem, const Weight& weight, const Weight* bias,
                       const Context& context);
double direct_fc_cycles(const Problem& problem, const Kernels& kernels);

}  // namespace linnet
