// What algorithms of quantized layers share: how sums of products of integers become integers, or
// reals, again (see Rounding in kernels/kernels.h, and docs/architecture.md).
#pragma once

#include <string>
#include <vector>

#include "algorithms/algorithm.h"

namespace linnet {

// Least and most of a byte, 128 more than which are an int8 turned to unsigned.
struct ByteRange {
  int32_t low, high;
  explicit ByteRange(DType type)
      : low(type == DType::kI8 ? -128 : 0), high(type == DType::kI8 ? 127 : 255) {}
};
constexpr uint32_t kFlip = 0x80808080u;
constexpr uint32_t flip_of(DType type) { return type == DType::kI8 ? kFlip : 0; }
// The zero point of an operand whose bytes have been turned to unsigned ones.
inline int32_t unsigned_zero(const Operand& o) {
  return o.zero + (o.dtype == DType::kI8 ? 128 : 0);
}

// The limits of integers that stand for reals within `limits`, counted from the zero point.
struct StepLimits {
  float low, high;
  StepLimits(DType type, float scale, int32_t zero, const Limits& limits);
};

// The integers that a weighted layer's sums become first, where there are others before y's.
Between between_of(const Problem& problem);
// What sums become, but for the scales.
Rounding rounding(const Problem& problem);
// The scale of what sums are scaled to first: of y, or of integers between.
float sums_to(const Problem& problem);

// What a weighted plan has as weights besides packed ones, padded to whole vectors of each group.
struct IntegerTables {
  std::vector<float> scales;
  std::vector<int32_t> bias;
};
// Sums of products are those of x less `zero`, of x less nothing if that is 0. Of groups each has
// its channels side by side from a whole vector on.
IntegerTables integer_tables(const Problem& problem, const Weight& weight, const Weight* bias,
                             int64_t groups, int width, int32_t zero);

// What such plans have as weights.
enum : uint8_t { kIntegerWeights, kIntegerBias, kIntegerScales, kIntegerTable };
// Has the bytes of `pixels` neighbouring pixels, `channels` of each, become those of the table that
// a plan has for what follows; nothing where it has none.
void look_up(const Operands& o, void* y, int64_t pixels, int64_t y_pixel, int64_t channels);

// y = x * scale_x / scale_y and the like, in the one rounding that all share.
float quotient(double a, double b);
// What each byte that stands for reals as `x` says becomes, by a function of one input and limits,
// as y. The function of a gate is the product of a real with its own function, rounded between.
std::vector<uint8_t> table_of(const Function& function, const Limits& limits, const Between& gate,
                              const Operand& x, const Operand& y);
// That of what follows in the step of a weighted layer; empty where nothing does.
std::vector<uint8_t> table_after(const Problem& problem);

}  // namespace linnet
