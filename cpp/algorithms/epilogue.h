// What becomes of a layer's results before they are stored, for the plans.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"

namespace linnet {

// One result of a plan that calls no kernels. The conditions leave a loop over results.
template <typename Float>
Float limited(Float value, Limits l) {
  if (l.low > -kInfinity) value = std::max<Float>(value, l.low);
  if (l.high < kInfinity) value = std::min<Float>(value, l.high);
  return value;
}

// NaN if either is.
inline float larger(float a, float b) { return a > b || a != a ? a : b; }

// What a map of one input means: for the same plans.
inline double mapped(MapCode code, double x) {
  switch (code) {
    case MapCode::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case MapCode::kCopy:
    case MapCode::kAdd:  // has two
      break;
  }
  return x;
}

// Applies the map that ends a layer to results just stored, while they are in the first-level
// cache: `channels` neighbours of each of `pixels` pixels that lie `step` floats apart. The
// channels do not include padding, which stays zero.
inline void map_results(const Kernels& kernels, MapCode then, float* y, int64_t pixels,
                        ptrdiff_t step, int64_t channels) {
  if (then != MapCode::kCopy) kernels.map[static_cast<int>(then)](y, y, pixels, step, channels);
}

}  // namespace linnet
