#include "graph/file_part.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "core/buffer.h"

namespace linnet {

File::~File() { close(descriptor_); }

bool File::read(void* to, size_t bytes, uint64_t offset) const {
  auto* at = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t count = pread(descriptor_, at, bytes, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    at += count, offset += static_cast<uint64_t>(count), bytes -= static_cast<size_t>(count);
  }
  return true;
}

std::shared_ptr<const void> FilePart::read(const std::string& tensor) const {
  auto buffer = std::make_shared<AlignedBuffer>(bytes_);
  read(tensor, buffer->data(), bytes_, 0);
  check(tensor, sum_of(buffer->data(), bytes_));
  return {buffer, buffer->data()};
}

void FilePart::read(const std::string& tensor, void* to, size_t bytes, uint64_t offset) const {
  if (!file_->read(to, bytes, offset_ + offset)) changed(tensor);
}

void FilePart::check(const std::string& tensor, uint64_t sum) const {
  if (!sum_) sum_ = sum;
  if (*sum_ != sum) changed(tensor);
}

void FilePart::changed(const std::string& tensor) const {
  throw std::runtime_error("'" + file_->name() + "' has changed since it was loaded: weight '" +
                           tensor + "' is not what it was; load it again");
}

namespace {

// Each step can be undone, so one changed word changes the sum for sure.
uint64_t mixed(uint64_t sum, uint64_t word) {
  sum = (sum ^ word) * 0x9e3779b97f4a7c15;
  return sum ^ sum >> 32;
}

}  // namespace

// Lanes so that multiplications overlap.
void Sum::mix(const char* block) {
  uint64_t words[kLanes];
  std::memcpy(words, block, sizeof words);
  for (size_t i = 0; i < kLanes; ++i) lanes_[i] = mixed(lanes_[i], words[i]);
}

void Sum::add(const void* data, size_t bytes) {
  const auto* from = static_cast<const char*>(data);
  const size_t held = bytes_ % sizeof rest_;
  bytes_ += bytes;
  if (held > 0) {
    const size_t count = std::min(bytes, sizeof rest_ - held);
    std::memcpy(rest_ + held, from, count);
    if (held + count < sizeof rest_) return;
    mix(rest_);
    from += count, bytes -= count;
  }
  for (; bytes >= sizeof rest_; from += sizeof rest_, bytes -= sizeof rest_) mix(from);
  std::memcpy(rest_, from, bytes);
}

uint64_t Sum::value() const {
  uint64_t words[kLanes] = {}, sum = bytes_;
  std::memcpy(words, rest_, bytes_ % sizeof rest_);
  for (size_t i = 0; i < kLanes; ++i) sum = mixed(sum, mixed(lanes_[i], words[i]));
  return sum;
}

uint64_t sum_of(const void* data, size_t bytes) {
  Sum sum;
  sum.add(data, bytes);
  return sum.value();
}

}  // namespace linnet
