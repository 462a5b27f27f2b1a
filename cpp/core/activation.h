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
  kSumOfSquares,
  // The place of the largest or smallest number along a single axis, of several the first or last.
  kFirstMax,
  kFirstMin,
  kLastMax,
  kLastMin
};
constexpr int kReduceCodes = 11, kReduceKernels = 7;
static constexpr bool is_place(ReduceCode code) { return code >= ReduceCode::kFirstMax; }

// Functions of every element of an input, or of those of two: their codes, the words of keys for
// them, how many inputs they have and how many parameters, and what a vector costs. Parameters of
// the last two are the scale and the zero point.
#define LINNET_MAP_CODES(X)               \
  X(kCopy, "", 1, 0, 2)                   \
  X(kAdd, "add", 2, 0, 2)                 \
  X(kSub, "sub", 2, 0, 2)                 \
  X(kMul, "mul", 2, 0, 2)                 \
  X(kDiv, "div", 2, 0, 6)                 \
  X(kMax, "max", 2, 0, 2)                 \
  X(kMin, "min", 2, 0, 2)                 \
  X(kPRelu, "prelu", 2, 0, 2)             \
  X(kPow, "pow", 2, 0, 90)                \
  X(kSigmoid, "sigmoid", 1, 0, 25)        \
  X(kTanh, "tanh", 1, 0, 40)              \
  X(kExp, "exp", 1, 0, 25)                \
  X(kLog, "log", 1, 0, 40)                \
  X(kSqrt, "sqrt", 1, 0, 6)               \
  X(kReciprocal, "reciprocal", 1, 0, 6)   \
  X(kNeg, "neg", 1, 0, 2)                 \
  X(kAbs, "abs", 1, 0, 2)                 \
  X(kSign, "sign", 1, 0, 2)               \
  X(kFloor, "floor", 1, 0, 2)             \
  X(kCeil, "ceil", 1, 0, 2)               \
  X(kRound, "round", 1, 0, 2)             \
  X(kSoftplus, "softplus", 1, 0, 60)      \
  X(kSoftsign, "softsign", 1, 0, 6)       \
  X(kSwish, "swish", 1, 0, 25)            \
  X(kHardSwish, "hardswish", 1, 0, 2)     \
  X(kMish, "mish", 1, 0, 40)              \
  X(kErf, "erf", 1, 0, 60)                \
  X(kGelu, "gelu", 1, 0, 50)              \
  X(kLeaky, "leaky", 1, 1, 2)             \
  X(kElu, "elu", 1, 2, 25)                \
  X(kHardSigmoid, "hardsigmoid", 1, 2, 2) \
  X(kQuantize, "quantize", 1, 2, 8)       \
  X(kDequantize, "dequantize", 1, 2, 4)
enum class MapCode : uint8_t {
#define LINNET_CODE(code, word, inputs, parameters, cycles) code,
  LINNET_MAP_CODES(LINNET_CODE)
#undef LINNET_CODE
};
struct MapInfo {
  const char* word;
  int inputs, parameters;
  int cycles;  // of a vector, about
};
constexpr MapInfo kMapInfos[] = {
#define LINNET_INFO(code, word, inputs, parameters, cycles) {word, inputs, parameters, cycles},
    LINNET_MAP_CODES(LINNET_INFO)
#undef LINNET_INFO
};
constexpr int kMapCodes = sizeof kMapInfos / sizeof *kMapInfos;
static constexpr const MapInfo& info(MapCode code) { return kMapInfos[static_cast<int>(code)]; }

// One of them with its parameters.
struct Function {
  MapCode code = MapCode::kCopy;
  float a = 0, b = 0;
};

// Normalisations, and the words of keys for them.
enum class NormalizeCode : uint8_t { kSoftmax, kLrn };
constexpr const char* kNormalizeWords[] = {"softmax", "lrn"};
constexpr int kNormalizeCodes = sizeof kNormalizeWords / sizeof *kNormalizeWords;

}  // namespace linnet
