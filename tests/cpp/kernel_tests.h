// What the tests of kernels share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/kernels.h"

namespace {

using linnet::Kernels;
using linnet::kInfinity;
using linnet::Limits;

constexpr float kGuard = -12345.75f;
constexpr int64_t kZone = 64;  // guard floats on each side

// An aligned array of floats between two guard zones.
class Buffer {
 public:
  explicit Buffer(int64_t count)
      : count_(count), data_(static_cast<size_t>(count + 3 * kZone), kGuard) {
    const auto address = reinterpret_cast<uintptr_t>(data_.data() + kZone);
    offset_ = kZone + static_cast<int64_t>((linnet::kAlignment - address % linnet::kAlignment) %
                                           linnet::kAlignment / sizeof(float));
  }
  float* get() { return data_.data() + offset_; }
  const float* get() const { return data_.data() + offset_; }
  int64_t count() const { return count_; }
  void fill(float value) { std::fill(get(), get() + count_, value); }
  void fill(std::mt19937& random) {
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    for (int64_t i = 0; i < count_; ++i) get()[i] = uniform(random);
  }
  bool guards_intact() const {
    for (int64_t i = 0; i < static_cast<int64_t>(data_.size()); ++i) {
      if (i >= offset_ && i < offset_ + count_) continue;
      if (std::memcmp(&data_[static_cast<size_t>(i)], &kGuard, sizeof kGuard) != 0) return false;
    }
    return true;
  }

 private:
  int64_t count_, offset_;
  std::vector<float> data_;
};

std::vector<const Kernels*> tables() {
  std::vector<const Kernels*> all;
  for (const char* const* isa = linnet::available_isas(); *isa; ++isa)
    all.push_back(&linnet::kernels_for(*isa));
  return all;
}

}  // namespace
