// What becomes of a layer's results before they are stored, for the plans.
#pragma once

#include <algorithm>

#include "core/activation.h"

namespace linnet {

// One result of a plan that calls no kernels. The conditions leave a loop over results.
template <typename Float>
Float limited(Float value, Limits l) {
  if (l.low > -kInfinity) value = std::max<Float>(value, l.low);
  if (l.high < kInfinity) value = std::min<Float>(value, l.high);
  return value;
}

}  // namespace linnet
