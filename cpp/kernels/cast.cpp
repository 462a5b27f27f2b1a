// Numbers of one type as another, over contiguous memory: plain loops that compilers vectorise.
#include "kernels.h"
#include "vector.h"

namespace linnet {
namespace {

// Both sides of such a loop must not overlap.
template <typename From, typename To, typename F>
LINNET_INLINE void each(const void* from, void* to, int64_t count, F f) {
  const From* __restrict x = static_cast<const From*>(from);
  To* __restrict y = static_cast<To*>(to);
  for (int64_t i = 0; i < count; ++i) y[i] = f(x[i]);
}

template <typename From, typename To>
void convert(const void* from, void* to, int64_t count) {
  each<From, To>(from, to, count, [](From x) { return static_cast<To>(x); });
}

template <typename From>
void is_not_zero(const void* from, void* to, int64_t count) {
  each<From, uint8_t>(from, to, count, [](From x) { return static_cast<uint8_t>(x != 0); });
}

// Towards zero; what lies beyond the type becomes its nearest number, NaN 0.
template <typename To, int kBits, bool kSigned>
void truncate(const void* from, void* to, int64_t count) {
  constexpr float kBeyond = static_cast<float>(int64_t{1} << (kBits - 2)) * (kSigned ? 2 : 4);
  constexpr float kLow = kSigned ? -kBeyond : 0;
  constexpr To kMost = static_cast<To>(~uint64_t{0} >> (64 - kBits + (kSigned ? 1 : 0)));
  each<float, To>(from, to, count, [](float x) {
    const bool beyond = x >= kBeyond;
    float inside = x > kLow ? x : kLow;
    inside = beyond ? 0.0f : inside;
    inside = x == x ? inside : 0.0f;
    // By way of int where that holds the number, which every instruction set converts to.
    if constexpr (kBits < 32) {
      return beyond ? kMost : static_cast<To>(static_cast<int32_t>(inside));
    } else {
      return beyond ? kMost : static_cast<To>(inside);
    }
  });
}

LINNET_INLINE uint32_t bits_of(float f) {
  uint32_t bits;
  __builtin_memcpy(&bits, &f, sizeof bits);
  return bits;
}
LINNET_INLINE float float_of(uint32_t bits) {
  float f;
  __builtin_memcpy(&f, &bits, sizeof f);
  return f;
}

// As core/half.h, without branches.
void from_half(const void* from, void* to, int64_t count) {
  each<uint16_t, float>(from, to, count, [](uint16_t half) {
    const uint32_t magnitude = half & 0x7fffu, sign = (half & 0x8000u) << 16;
    const uint32_t special = magnitude >= 0x7c00 ? 255u - 31u : 127u - 15u;
    const uint32_t normal = (magnitude << 13) + (special << 23);
    const uint32_t small = bits_of(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
    return float_of((magnitude < 0x400 ? small : normal) | sign);
  });
}

void to_half(const void* from, void* to, int64_t count) {
  each<float, uint16_t>(from, to, count, [](float value) {
    const uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffffu;
    const uint32_t rounded = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13;
    const uint32_t normal = rounded < 0x7c00 ? rounded : 0x7c00;
    // The addition leaves a multiple of 2^-24 in the low bits, rounded.
    const uint32_t small = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t half = magnitude < 0x38800000u ? small : normal;
    half = magnitude > 0x7f800000u ? 0x7e00 : half;
    return static_cast<uint16_t>(half | (bits >> 16 & 0x8000u));
  });
}

using Cast = void (*)(const void* from, void* to, int64_t count);

// From one type to another; neither is a float16.
template <typename From>
LINNET_INLINE Cast from_integer(DType to) {
  switch (to) {
    case DType::kF32:
      return convert<From, float>;
    case DType::kF16:
      return nullptr;
    case DType::kI8:
    case DType::kU8:
      return convert<From, uint8_t>;
    case DType::kI16:
      return convert<From, uint16_t>;
    case DType::kI32:
      return convert<From, uint32_t>;
    case DType::kI64:
      return convert<From, uint64_t>;
    case DType::kBool:
      return is_not_zero<From>;
  }
  return nullptr;
}

LINNET_INLINE Cast from_float(DType to) {
  switch (to) {
    case DType::kF32:
      return convert<float, float>;
    case DType::kF16:
      return to_half;
    case DType::kI8:
      return truncate<int8_t, 8, true>;
    case DType::kU8:
      return truncate<uint8_t, 8, false>;
    case DType::kI16:
      return truncate<int16_t, 16, true>;
    case DType::kI32:
      return truncate<int32_t, 32, true>;
    case DType::kI64:
      return truncate<int64_t, 64, true>;
    case DType::kBool:
      return is_not_zero<float>;
  }
  return nullptr;
}

Cast direct_cast(DType from, DType to) {
  switch (from) {
    case DType::kF32:
      return from_float(to);
    case DType::kF16:
      return to == DType::kF32 ? from_half : nullptr;
    case DType::kI8:
      return from_integer<int8_t>(to);
    case DType::kU8:
    case DType::kBool:
      return from_integer<uint8_t>(to);
    case DType::kI16:
      return from_integer<int16_t>(to);
    case DType::kI32:
      return from_integer<int32_t>(to);
    case DType::kI64:
      return from_integer<int64_t>(to);
  }
  return nullptr;
}

void cast(DType from, DType to, const void* x, void* y, int64_t count) {
  if (const Cast whole = direct_cast(from, to)) return whole(x, y, count);
  // A float16 goes by way of floats, which hold it.
  constexpr int64_t kBlock = 256;
  float floats[kBlock];
  const Cast first = direct_cast(from, DType::kF32), second = direct_cast(DType::kF32, to);
  const auto* source = static_cast<const char*>(x);
  auto* target = static_cast<char*>(y);
  for (int64_t done = 0; done < count; done += kBlock) {
    const int64_t part = count - done < kBlock ? count - done : kBlock;
    first(source + done * size_of(from), floats, part);
    second(floats, target + done * size_of(to), part);
  }
}

}  // namespace
}  // namespace linnet

LINNET_EXPORT(cast)(linnet::Kernels* table) { table->cast = linnet::cast; }
