#include "core/buffer.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace linnet {

size_t bytes_of(int64_t count, DType type) {
  const auto size = static_cast<size_t>(size_of(type));
  if (count < 0 || static_cast<uint64_t>(count) > PTRDIFF_MAX / size) throw std::bad_alloc();
  return static_cast<size_t>(count) * size;
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
