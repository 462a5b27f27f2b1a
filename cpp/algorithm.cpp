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
  Buffer& buffer = weight ? buffers_[{weight->bytes(), packing + ' ' + to_string(weight->type) +
                                                           ' ' + to_string(weight->shape)}]
                          : buffers_[{nullptr, packing}];
  if (!buffer) {
    auto fresh = std::make_shared<AlignedBuffer>(bytes, true);
    pack(fresh->data());
    buffer = fresh;
  }
  return buffer;
}

size_t WeightStore::bytes() const {
  size_t sum = 0;
  for (const auto& entry : buffers_) sum += entry.second ? entry.second->size() : 0;
  return sum;
}

WeightStore::Buffer WeightStore::get_bias(const Weight* bias, int64_t k, int64_t padded) {
  return get(bias, "bias " + std::to_string(padded), padded, [&](float* out) {
    if (bias) std::memcpy(out, bias->data, static_cast<size_t>(k) * sizeof(float));
  });
}

void WeightStore::drop_unused() {
  for (auto entry = buffers_.begin(); entry != buffers_.end();) {
    entry = entry->second.use_count() > 1 ? std::next(entry) : buffers_.erase(entry);
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
