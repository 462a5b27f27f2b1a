// What becomes of a layer's results before they are stored, for the plans.
#pragma once

#include <algorithm>

#include "core/activation.h"

namespace linnet {

// One result of a plan that calls no kernels.
template <typename Float>
Float limited(Float value, Limits l) {
  return std::min<Float>(std::max<Float>(value, l.low), l.high);
}

}  // namespace linnet
