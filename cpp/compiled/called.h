// The kernels that a compiled network calls, by numbers: files of kernels have them as
// called<number>, its table is made of those. Generated code includes this.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace linnet {

template <size_t kNumber>
struct CalledKernel;

// Defined where the kernel is.
template <size_t kNumber, typename... Args>
void called(Args... args);

template <size_t kNumber, typename... Args>
constexpr void set_called(void (*&slot)(Args...)) {
  slot = called<kNumber, Args...>;
}

#ifdef LINNET_ISA  // in a file of kernels, after the table of all it has, kAll

template <size_t kNumber, typename... Args>
void called(Args... args) {
  CalledKernel<kNumber>::kKernel(args...);
}

template <size_t kNumber, typename... Args>
constexpr auto keep_called(void (*)(Args...)) -> void (*)(Args...) {
  if constexpr (CalledKernel<kNumber>::kKernel != nullptr) {
    return called<kNumber, Args...>;
  } else {
    return nullptr;
  }
}

#define LINNET_CALLED(number, member)            \
  template <>                                    \
  struct linnet::CalledKernel<number> {          \
    static constexpr auto kKernel = kAll.member; \
  };                                             \
  [[gnu::used]] static const auto kKept##number = linnet::keep_called<number>(kAll.member);

#endif

}  // namespace linnet
