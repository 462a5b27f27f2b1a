// The kernels that a compiled network calls, by numbers: files of kernels have them as
// called<number>, its table is made of those. Generated code includes this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

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

// Whether there is such a kernel. As types: with sanitizers GCC does not compare a function's
// address with null in a constant, and takes null for no argument of a template.
template <typename F, size_t kNumber, typename = void>
constexpr bool kThere = false;
template <typename F, size_t kNumber>
constexpr bool
    kThere<F, kNumber, std::void_t<std::integral_constant<F, CalledKernel<kNumber>::kKernel>>> =
        !std::is_same_v<std::integral_constant<F, CalledKernel<kNumber>::kKernel>,
                        std::integral_constant<F, nullptr>>;

template <size_t kNumber, typename... Args>
constexpr auto keep_called(void (*)(Args...)) -> void (*)(Args...) {
  if constexpr (kThere<void (*)(Args...), kNumber>) {
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
