// Activations: limits that results are kept within, functions of every element; and normalisations.
// Included by kernels: nothing here may make code.
#pragma once

#include <cstdint>

namespace linnet {

constexpr float kInfinity = __builtin_inff();

// Results below `low` become low, those above `high` become high, and a NaN stays: ReLU is
// {0, infinity}. 0 must lie between the two wherever channels are padded, for the padding to stay
// zero.
struct Limits {
  float low = -kInfinity, high = kInfinity;

  constexpr bool any() const { return low > -kInfinity || high < kInfinity; }
};

// What the numbers of reduced axes become.
enum class ReduceCode : uint8_t {
  kMean,
  kSum,
  kMax,
  kMin,
  kProduct,
  kSumOfMagnitudes,
  kSumOfSquares
};
constexpr int kReduceCodes = 7;

// Functions of every element of an input, or of those of two inputs.
enum class MapCode : uint8_t { kCopy, kAdd, kSigmoid };
constexpr int kMapCodes = 3;

// Normalisations, and the words of keys for them.
enum class NormalizeCode : uint8_t { kSoftmax, kLrn };
constexpr const char* kNormalizeWords[] = {"softmax", "lrn"};
constexpr int kNormalizeCodes = sizeof kNormalizeWords / sizeof *kNormalizeWords;

}  // namespace linnet
