// Tensors that stay in their file: read when they are wanted, and never other than the first time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace linnet {

// An open file. It stays the same file where another takes its name; what it holds may change.
class File {
 public:
  File(std::string name, int descriptor) : name_(std::move(name)), descriptor_(descriptor) {}
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& name() const { return name_; }
  // Whether all `bytes` from `offset` on could be read.
  bool read(void* to, size_t bytes, uint64_t offset) const;

 private:
  const std::string name_;
  const int descriptor_;
};

// A number that almost surely differs between contents of the same size, from pieces in order.
class Sum {
 public:
  void add(const void* data, size_t bytes);
  uint64_t value() const;

 private:
  static constexpr size_t kLanes = 4;
  void mix(const char* block);

  uint64_t lanes_[kLanes] = {1, 2, 3, 4};
  char rest_[kLanes * sizeof(uint64_t)] = {};  // of the last block, which is not whole
  uint64_t bytes_ = 0;
};
uint64_t sum_of(const void* data, size_t bytes);

// A part of a file. Used by one caller at a time, as the graph it belongs to is compiled.
class FilePart {
 public:
  FilePart(std::shared_ptr<const File> file, uint64_t offset, size_t bytes)
      : file_(std::move(file)), offset_(offset), bytes_(bytes) {}

  // The bytes, in memory of the caller's. Throws std::runtime_error naming the file where they can
  // no longer be read or are not those of the first time.
  std::shared_ptr<const void> read(const std::string& tensor) const;

  // The same piece by piece: `bytes` from `offset` on to `to`, and at the end whether the sum of
  // all is that of the first time. Both throw as read().
  void read(const std::string& tensor, void* to, size_t bytes, uint64_t offset) const;
  void check(const std::string& tensor, uint64_t sum) const;

 private:
  [[noreturn]] void changed(const std::string& tensor) const;

  const std::shared_ptr<const File> file_;
  const uint64_t offset_;
  const size_t bytes_;
  mutable std::optional<uint64_t> sum_;
};

}  // namespace linnet
