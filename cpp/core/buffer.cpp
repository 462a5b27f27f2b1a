#include "core/buffer.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace linnet {

size_t float_bytes(int64_t count) {
  if (count < 0 || static_cast<uint64_t>(count) > PTRDIFF_MAX / sizeof(float))
    throw std::bad_alloc();
  return static_cast<size_t>(count) * sizeof(float);
}

AlignedBuffer::AlignedBuffer(size_t size, bool zero) : size_(size) {
  if (size > PTRDIFF_MAX - kAlignment) throw std::bad_alloc();
  void* data = nullptr;
  if (size > 0 && posix_memalign(&data, kAlignment, size) != 0) throw std::bad_alloc();
  data_ = static_cast<char*>(data);
  if (zero && size > 0) std::memset(data_, 0, size);
}

AlignedBuffer::~AlignedBuffer() { std::free(data_); }

}  // namespace linnet
