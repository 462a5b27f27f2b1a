#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/kernels.h"

namespace linnet {

// A piece of memory that a graph's steps first_step..last_step (both included) need: a value or a
// workspace.
struct ArenaItem {
  size_t size;  // bytes
  int first_step;
  int last_step;
};

// Where each item lies in one shared block: offsets[i] for items[i], multiples of kAlignment. Items
// in use at the same step never overlap.
struct ArenaPlan {
  std::vector<size_t> offsets;  // bytes
  size_t total = 0;             // bytes, a multiple of kAlignment
};

// Places the largest item first, each in the smallest gap it fits in ("greedy by size" of Pisarchyk
// and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020). The same items always
// give the same plan. Throws std::invalid_argument if an item ends before it begins, std::bad_alloc
// if the total exceeds the address space.
ArenaPlan plan_arena(const std::vector<ArenaItem>& items);

// Bytes of `count` floats. Throws std::bad_alloc where they exceed the address space.
size_t float_bytes(int64_t count);

// Owns a block of memory aligned to kAlignment; its contents are undefined unless zeroed. Throws
// std::bad_alloc.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size, bool zero = false);
  ~AlignedBuffer();
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  char* data() const { return data_; }
  float* floats() const { return reinterpret_cast<float*>(data_); }
  size_t size() const { return size_; }

 private:
  char* data_ = nullptr;
  size_t size_ = 0;  // bytes
};

}  // namespace linnet
