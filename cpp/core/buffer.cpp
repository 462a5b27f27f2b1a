#include "core/buffer.h"

#include <sys/mman.h>
#include <unistd.h>

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

namespace {

// Blocks of this size have pages of their own: they are zero without being written, take memory as
// they are written, and give it back when they go. Sanitizers know only what malloc gives.
#if defined(LINNET_DEBUG) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kOwnPages = SIZE_MAX;
#else
constexpr size_t kOwnPages = 256 << 10;
#endif

// A place in the address space for pages of this size, which some systems give where a program asks
// for them: a stream of weights then needs few entries of the table of pages.
// Finding very many of them takes longer than loading should.
constexpr size_t kHugePage = 2 << 20, kMostInHuge = 256 << 20;

void* own_pages(size_t size, Pages pages) {
  const size_t more =
      pages == Pages::kSmall || size < kHugePage || size > kMostInHuge ? 0 : kHugePage;
  if (size > PTRDIFF_MAX - more) return MAP_FAILED;
  void* data =
      mmap(nullptr, size + more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED || !more) return data;
  const auto address = reinterpret_cast<uintptr_t>(data);
  const size_t before = (kHugePage - address % kHugePage) % kHugePage;
  char* begin = static_cast<char*>(data) + before;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t used = (size + page - 1) / page * page;
  if (before) munmap(data, before);
  if (more > before) munmap(begin + used, more - before);
  // Whole ones only: what is left at the end keeps small pages. Advice may be ignored.
  madvise(begin, size / kHugePage * kHugePage, MADV_HUGEPAGE);
  return begin;
}

}  // namespace

AlignedBuffer::AlignedBuffer(size_t size, bool zero, Pages pages) : size_(size) {
  if (size > PTRDIFF_MAX - kAlignment) throw std::bad_alloc();
  void* data = nullptr;
  if (size >= kOwnPages) {
    data = own_pages(size, pages);
    if (data == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<char*>(data);
    return;
  }
  if (size > 0 && posix_memalign(&data, kAlignment, size) != 0) throw std::bad_alloc();
  data_ = static_cast<char*>(data);
  if (zero && size > 0) std::memset(data_, 0, size);
}

AlignedBuffer::~AlignedBuffer() {
  if (size_ >= kOwnPages) {
    munmap(data_, size_);
  } else {
    std::free(data_);
  }
}

}  // namespace linnet
