// Memory that kernels work on. Owned by whoever holds the AlignedBuffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/dtype.h"

namespace linnet {

// Bytes of `count` numbers. Throws std::bad_alloc where they exceed the address space.
size_t bytes_of(int64_t count, DType type);
inline size_t float_bytes(int64_t count) { return bytes_of(count, DType::kF32); }

// Huge pages, where the system has them, are for what is written in the order of its addresses:
// places a power of two apart would meet in few lines of a cache.
enum class Pages : uint8_t { kSmall, kHuge };

// Owns a block of memory aligned to kAlignment; its contents are undefined unless zeroed. Throws
// std::bad_alloc.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size, bool zero = false, Pages pages = Pages::kSmall);
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
