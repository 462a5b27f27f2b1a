#include "algorithm.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace linnet {
namespace {

// A function's static, because registrations run before main in no defined order; never destroyed,
// because threads may outlive main.
std::vector<const Algorithm*>& registry() {
  static auto& all = *new std::vector<const Algorithm*>;
  return all;
}

}  // namespace

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

RegisterAlgorithm::RegisterAlgorithm(const Algorithm* algorithm) {
  auto& all = registry();
  const auto place = std::upper_bound(
      all.begin(), all.end(), algorithm,
      [](const Algorithm* a, const Algorithm* b) { return std::strcmp(a->name(), b->name()) < 0; });
  all.insert(place, algorithm);
}

const std::vector<const Algorithm*>& algorithms() { return registry(); }

const Algorithm& algorithm(const std::string& name) {
  std::string known;
  for (const Algorithm* a : algorithms()) {
    if (name == a->name()) return *a;
    known += std::string(known.empty() ? "" : ", ") + a->name();
  }
  throw std::invalid_argument("there is no algorithm '" + name + "' (there are " + known + ")");
}

std::vector<const Algorithm*> algorithms(const std::string& name) {
  std::vector<const Algorithm*> found;
  for (const Algorithm* a : algorithms()) {
    if (name == a->name()) return {a};
    if (std::string(a->name()).compare(0, name.size() + 1, name + "-") == 0) found.push_back(a);
  }
  if (found.empty()) algorithm(name);
  return found;
}

}  // namespace linnet
