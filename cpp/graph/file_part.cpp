#include "graph/file_part.h"

#include <unistd.h>

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
  if (file_->read(buffer->data(), bytes_, offset_)) {
    const uint64_t sum = sum_of(buffer->data(), bytes_);
    if (!sum_) sum_ = sum;
    if (*sum_ == sum) return {buffer, buffer->data()};
  }
  throw std::runtime_error("'" + file_->name() + "' has changed since it was loaded: weight '" +
                           tensor + "' is not what it was; load it again");
}

uint64_t sum_of(const void* data, size_t bytes) {
  // Lanes so that multiplications overlap; each step can be undone, so one changed word changes the
  // sum for sure.
  constexpr int kLanes = 4;
  constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;
  uint64_t lanes[kLanes] = {1, 2, 3, 4};
  const auto* from = static_cast<const char*>(data);
  const auto mix = [](uint64_t sum, uint64_t word) {
    sum = (sum ^ word) * kFactor;
    return sum ^ sum >> 32;
  };
  size_t at = 0;
  uint64_t words[kLanes];
  for (; at + sizeof words <= bytes; at += sizeof words) {
    std::memcpy(words, from + at, sizeof words);
    for (int i = 0; i < kLanes; ++i) lanes[i] = mix(lanes[i], words[i]);
  }
  std::memset(words, 0, sizeof words);
  std::memcpy(words, from + at, bytes - at);
  uint64_t sum = bytes;
  for (int i = 0; i < kLanes; ++i) sum = mix(sum, mix(lanes[i], words[i]));
  return sum;
}

}  // namespace linnet
