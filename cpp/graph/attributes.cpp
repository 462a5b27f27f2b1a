#include "graph/attributes.h"

#include <algorithm>
#include <stdexcept>

namespace linnet {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::invalid_argument(what); }

}  // namespace

int64_t checked_count(const Shape& shape, size_t first_axis) {
  int64_t count = 1;
  for (size_t i = first_axis; i < shape.size(); ++i) {
    if (shape[i] < 1 || shape[i] >= kMaxAxis)
      fail("shape " + to_string(shape) + " has an axis of " + std::to_string(shape[i]));
    if (count > kMaxCount / shape[i]) fail("shape " + to_string(shape) + " is too large");
    count *= shape[i];
  }
  return count;
}

std::optional<DType> onnx_type(int64_t number) {
  constexpr int64_t kNumbers[kDTypes] = {1, 10, 3, 2, 5, 6, 7, 9};
  for (int i = 0; i < kDTypes; ++i) {
    if (kNumbers[i] == number) return static_cast<DType>(i);
  }
  return std::nullopt;
}

const Attribute* NodeReader::find(const char* name) {
  seen_.push_back(name);
  const auto it = attributes_.find(name);
  return it == attributes_.end() ? nullptr : &it->second;
}

int64_t NodeReader::integer(const char* name, int64_t fallback) {
  const Attribute* a = find(name);
  if (!a) return fallback;
  if (const auto* i = std::get_if<int64_t>(a)) return *i;
  fail(std::string("attribute ") + name + " is not an integer");
}

double NodeReader::real(const char* name, double fallback) {
  const Attribute* a = find(name);
  if (!a) return fallback;
  if (const auto* d = std::get_if<double>(a)) return *d;
  if (const auto* i = std::get_if<int64_t>(a)) return static_cast<double>(*i);
  fail(std::string("attribute ") + name + " is not a number");
}

std::string NodeReader::text(const char* name, const char* fallback) {
  const Attribute* a = find(name);
  if (!a) return fallback;
  if (const auto* s = std::get_if<std::string>(a)) return *s;
  fail(std::string("attribute ") + name + " is not a text");
}

bool NodeReader::flag(const char* name) {
  const int64_t i = integer(name, 0);
  if (i != 0 && i != 1)
    fail(std::string("attribute ") + name + " is " + std::to_string(i) + ", not 0 or 1");
  return i != 0;
}

DType NodeReader::type(const char* name) {
  const int64_t number = integer(name, 0);
  if (const auto type = onnx_type(number)) return *type;
  fail(std::string("attribute ") + name + " is " + std::to_string(number) +
       ", no type that is supported");
}

bool NodeReader::integers(const char* name, int64_t* out, size_t size, int64_t low) {
  const Attribute* a = find(name);
  if (!a) return false;
  const auto* v = std::get_if<std::vector<int64_t>>(a);
  if (!v || v->size() != size) {
    fail(std::string("attribute ") + name + " is not a list of " + std::to_string(size) +
         " integers (only 2-D windows are supported)");
  }
  for (size_t i = 0; i < size; ++i) {
    if ((*v)[i] < low || (*v)[i] >= kMaxAxis)
      fail(std::string("attribute ") + name + " holds " + std::to_string((*v)[i]));
    out[i] = (*v)[i];
  }
  return true;
}

const std::vector<int64_t>* NodeReader::list(const char* name) {
  const Attribute* a = find(name);
  if (!a) return nullptr;
  const auto* v = std::get_if<std::vector<int64_t>>(a);
  if (!v) fail(std::string("attribute ") + name + " is not a list of integers");
  return v;
}

const Weight* NodeReader::constant(size_t input) const {
  return input < constants_.size() ? constants_[input] : nullptr;
}

std::optional<float> NodeReader::number(size_t input) const {
  const Weight* w = constant(input);
  if (!w) return std::nullopt;
  if (!w->data || w->count() != 1)
    fail("input " + std::to_string(input) + " is not a single number of float32");
  return w->data[0];
}

void NodeReader::finish() const {
  for (const auto& [name, value] : attributes_) {
    const bool known = std::any_of(seen_.begin(), seen_.end(),
                                   [&name = name](const char* seen) { return name == seen; });
    if (!known) fail("attribute " + name + " is not supported in canonical form");
  }
}

}  // namespace linnet
