// float16 in software: the same numbers on every machine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace linnet {

inline float half_to_float(uint16_t half) {
  const uint32_t magnitude = half & 0x7fff;
  // Rebias the exponent from 15 to 127, or from the all-ones of infinity and NaN to all ones.
  uint32_t bits = (magnitude << 13) + ((magnitude < 0x7c00 ? 127u - 15u : 255u - 31u) << 23);
  if (magnitude < 0x400) {  // zero or subnormal: a multiple of 2^-24
    const float f = static_cast<float>(magnitude) * 0x1p-24f;
    std::memcpy(&bits, &f, sizeof bits);
  }
  bits |= static_cast<uint32_t>(half & 0x8000) << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

// To nearest, ties to even.
inline uint16_t float_to_half(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  uint32_t half;
  if (magnitude > 0x7f800000) {
    half = 0x7e00;  // NaN
  } else if (magnitude < 0x38800000) {
    // Subnormal: the addition leaves a multiple of 2^-24 in the low bits, rounded.
    const float shifted = std::fabs(value) + 0.5f;
    std::memcpy(&half, &shifted, sizeof half);
    half -= 0x3f000000;
  } else {
    half = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
    half = std::min<uint32_t>(half, 0x7c00);
  }
  return static_cast<uint16_t>(sign | half);
}

}  // namespace linnet
