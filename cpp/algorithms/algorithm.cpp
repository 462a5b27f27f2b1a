#include "algorithms/algorithm.h"

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
