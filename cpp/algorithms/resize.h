// Which numbers of its input each number of a resized image is made of.
#pragma once

#include <cstdint>
#include <vector>

#include "problem/problem.h"

namespace linnet {

struct Tap {
  int64_t at;  // along the input's axis
  float weight;
};

struct Resampled {
  std::vector<Tap> taps;
  bool outside = false;  // of the crop's image: the number is family::Resize::outside
};

// For each row (axis 0) or column (axis 1) of the output of a resize, as ONNX's Resize defines it.
std::vector<Resampled> resized(const Problem& problem, int axis);

// How many taps each has, about.
double resize_taps(const Problem& problem, int axis);

}  // namespace linnet
