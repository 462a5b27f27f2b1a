#include "algorithms/weight_store.h"

#include <cstring>

namespace linnet {

WeightStore::Buffer WeightStore::get(const Weight* weight, const std::string& packing,
                                     int64_t count, const std::function<void(float*)>& pack) {
  return get_bytes(weight, packing, float_bytes(count),
                   [&](void* out) { pack(static_cast<float*>(out)); });
}

WeightStore::Buffer WeightStore::get_bytes(const Weight* weight, const std::string& packing,
                                           size_t bytes, const std::function<void(void*)>& pack) {
  Entry& entry = weight ? entries_[{weight->bytes(), packing + ' ' + to_string(weight->type) + ' ' +
                                                         to_string(weight->shape)}]
                        : entries_[{nullptr, packing}];
  if (!entry.buffer || (!counting_ && entry.buffer->size() < bytes)) {
    auto fresh = counting_ ? std::make_shared<AlignedBuffer>()
                           : std::make_shared<AlignedBuffer>(bytes, true);
    if (!counting_) pack(fresh->data());
    entry = {fresh, bytes};
  }
  return entry.buffer;
}

size_t WeightStore::bytes() const {
  size_t sum = 0;
  for (const auto& entry : entries_) sum += entry.second.bytes;
  return sum;
}

WeightStore::Buffer WeightStore::get_bias(const Weight* bias, int64_t k, int64_t padded) {
  return get(bias, "bias " + std::to_string(padded), padded, [&](float* out) {
    if (bias) std::memcpy(out, bias->data, static_cast<size_t>(k) * sizeof(float));
  });
}

void WeightStore::drop_unused() {
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    entry = entry->second.buffer.use_count() > 1 ? std::next(entry) : entries_.erase(entry);
  }
}

}  // namespace linnet
