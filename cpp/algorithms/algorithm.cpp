#include "algorithms/algorithm.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace linnet {
namespace {

// A function's static, because registrations run before main in no defined order; never destroyed,
// because threads may outlive main.
struct Registry {
  std::vector<const Algorithm*> all, of_kind[kKinds];
};
Registry& registry() {
  static auto& all = *new Registry;
  return all;
}

void insert(std::vector<const Algorithm*>& list, const Algorithm* algorithm) {
  const auto place = std::upper_bound(
      list.begin(), list.end(), algorithm,
      [](const Algorithm* a, const Algorithm* b) { return std::strcmp(a->name(), b->name()) < 0; });
  list.insert(place, algorithm);
}

// Why kernels cannot run on an operand; empty if they can. They load and store whole vectors.
std::string slice_objection(const Operand& o, int width) {
  if (!o.pitch) return "";
  const bool last = o.layout == Layout::kNhwc;
  const int64_t own = last ? round_up(o.dims.c, width) : o.dims.c;
  if (o.pitch >= own && (!last || o.pitch % width == 0)) return "";
  return "a slice of " + std::to_string(o.dims.c) + " of " + std::to_string(o.pitch) +
         " channels is not whole vectors of " + std::to_string(width);
}

}  // namespace

RegisterAlgorithm::RegisterAlgorithm(const Algorithm* algorithm) {
  insert(registry().all, algorithm);
  for (int kind = 0; kind < kKinds; ++kind) {
    if (algorithm->kinds().has(static_cast<Kind>(kind)))
      insert(registry().of_kind[kind], algorithm);
  }
}

std::string Algorithm::refuse(const Problem& p, const Context& context) const {
  if (!kinds().has(p.kind())) return std::string("not for ") + to_string(p.kind());
  for (const Operand* o : {&p.x, &p.y, &p.z}) {
    if (o == &p.z && !p.binary()) continue;
    if (o->dtype != DType::kF32 && !any_types())
      return std::string("does not run on ") + to_string(o->dtype);
    std::string slice = slice_objection(*o, context.kernels.width);
    if (!slice.empty()) return slice;
  }
  if (p.weights() != DType::kF32 && !any_weights())
    return std::string("the weights are ") + to_string(p.weights()) + ", not f32";
  const bool padded = p.y.layout == Layout::kNhwc && uses_kernels();
  if (padded && (p.end.limits.low > 0 || p.end.limits.high < 0))
    return "limits that 0 is not within would fill the padding";
  return objection(p, context);
}

std::string Convolution::key() const {
  Problem p;
  p.n = n, p.x = x, p.y = p.z = y, p.params = static_cast<const family::Conv&>(*this);
  p.end = end, p.threads = threads;
  return p.key();
}

const std::vector<const Algorithm*>& algorithms() { return registry().all; }
const std::vector<const Algorithm*>& algorithms(Kind kind) {
  return registry().of_kind[static_cast<int>(kind)];
}

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
