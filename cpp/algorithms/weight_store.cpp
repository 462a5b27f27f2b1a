#include "algorithms/weight_store.h"

#include <cstring>

namespace linnet {

WeightStore::Buffer WeightStore::get(const Weight* weight, const std::string& packing,
                                     int64_t count,
                                     const std::function<void(const Weight&, float*)>& pack) {
  return get_bytes(weight, packing, float_bytes(count),
                   [&](const Weight& w, void* out) { pack(w, static_cast<float*>(out)); });
}

namespace {

// What tells a tensor from others: where its numbers are; of integers, which are few and of every
// graph's own, what they are.
std::pair<const void*, std::string> identity(const Weight& weight) {
  const std::string type = std::string(to_string(weight.type)) + ' ' + to_string(weight.shape);
  if (weight.integers.empty()) return {weight.bytes(), type};
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, by integers
  for (const int64_t i : weight.integers) hash = (hash ^ static_cast<uint64_t>(i)) * 0x100000001b3;
  return {nullptr, type + ' ' + std::to_string(hash)};
}

}  // namespace

WeightStore::Buffer WeightStore::get_bytes(const Weight* weight, const std::string& packing,
                                           size_t bytes,
                                           const std::function<void(const Weight&, void*)>& pack) {
  return get_filled(weight, packing, bytes, Pages::kSmall,
                    [&](void* out) { pack(weight ? weight->loaded() : Weight(), out); });
}

WeightStore::Buffer WeightStore::get_rows(const Weight& weight, const std::string& packing,
                                          size_t bytes,
                                          const std::function<void(Rows&, void*)>& pack) {
  return get_filled(&weight, packing, bytes, Pages::kHuge, [&](void* out) {
    Rows rows(weight);
    pack(rows, out);
    rows.check();
  });
}

WeightStore::Buffer WeightStore::get_filled(const Weight* weight, const std::string& packing,
                                            size_t bytes, Pages pages,
                                            const std::function<void(void*)>& fill) {
  std::pair<const void*, std::string> key{nullptr, ""};
  if (weight) key = identity(*weight);
  Entry& entry = entries_[{key.first, packing + ' ' + key.second}];
  if (!entry.buffer || (!counting_ && entry.buffer->size() < bytes)) {
    auto fresh = counting_ ? std::make_shared<AlignedBuffer>()
                           : std::make_shared<AlignedBuffer>(bytes, true, pages);
    if (!counting_) fill(fresh->data());
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
  return get(bias, "bias " + std::to_string(padded), padded, [&](const Weight& w, float* out) {
    if (bias) std::memcpy(out, w.data, static_cast<size_t>(k) * sizeof(float));
  });
}

PlanData WeightStore::get_floats(const Weight* weight) {
  if (!weight) return {nullptr, 0};
  if (weight->data) {
    const std::shared_ptr<const void> data(weight->owner, weight->data);
    return {data, float_bytes(weight->count())};
  }
  return get(weight, "floats", weight->count(), [](const Weight& loaded, float* out) {
    const Weight f32 = loaded.as(DType::kF32);
    std::memcpy(out, f32.data, static_cast<size_t>(f32.count()) * sizeof(float));
  });
}

void WeightStore::drop_unused() {
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    entry = entry->second.buffer.use_count() > 1 ? std::next(entry) : entries_.erase(entry);
  }
}

}  // namespace linnet
