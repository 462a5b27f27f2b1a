// Types of numbers, and how memory is aligned. Included by kernels: nothing here may make code.
#pragma once

#include <cstddef>
#include <cstdint>

namespace linnet {

// Alignment, in bytes, of every packed weight buffer and arena block.
constexpr size_t kAlignment = 64;

// The type of a tensor's numbers. Those before kWeightTypes may be weights of a layer: products are
// of floats, float16 and int8 are converted in registers; an int8 weight stands for itself times a
// scale that its output channel has.
enum class DType : uint8_t { kF32, kF16, kI8, kU8, kI16, kI32, kI64, kBool };
constexpr int kDTypes = 8;
constexpr int kWeightTypes = 3;

// An integer of 8 bits.
constexpr bool is_byte(DType type) { return type == DType::kI8 || type == DType::kU8; }

// Bytes of one number.
constexpr int64_t size_of(DType type) {
  return type == DType::kI64                          ? 8
         : type == DType::kF32 || type == DType::kI32 ? 4
         : type == DType::kF16 || type == DType::kI16 ? 2
                                                      : 1;
}

}  // namespace linnet
