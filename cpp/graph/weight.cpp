#include "graph/weight.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "core/half.h"

namespace linnet {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::invalid_argument(what); }

}  // namespace

DType weight_type(const std::string& name) {
  for (int i = 0; i < kWeightTypes; ++i) {
    if (name == to_string(static_cast<DType>(i))) return static_cast<DType>(i);
  }
  fail("weights_dtype is '" + name + "', expected f32, f16 or int8");
}

Weight Weight::loaded() const {
  Weight w = *this;
  if (data || stored || !part) return w;
  w.owner = part->read(name);
  if (type == DType::kF32) {
    w.data = static_cast<const float*>(w.owner.get());
  } else {
    w.stored = w.owner.get();
  }
  w.part = nullptr;
  return w;
}

Weight Weight::as(DType wanted) const {
  if (wanted == type) return *this;
  if (is_byte(type) && scales.empty()) fail("weight '" + name + "' is integers without a scale");
  if (!data && !stored && part) return loaded().as(wanted);
  Weight w = *this;
  const auto n = static_cast<size_t>(count());
  const size_t row = n / std::max<size_t>(1, static_cast<size_t>(shape.empty() ? 1 : shape[0]));
  w.type = wanted, w.data = nullptr, w.stored = nullptr, w.scales.clear(), w.zeros.clear();
  if (wanted == DType::kF32) {
    auto floats = std::make_shared<std::vector<float>>(n);
    const auto* from = static_cast<const char*>(stored);
    for (size_t i = 0; i < n; ++i) {
      if (type == DType::kF16) {
        uint16_t half;
        std::memcpy(&half, from + i * sizeof half, sizeof half);
        (*floats)[i] = half_to_float(half);
      } else {
        const auto at = static_cast<int64_t>(i);
        (*floats)[i] =
            static_cast<float>(integer(at / static_cast<int64_t>(row), at)) * scales[i / row];
      }
    }
    w.data = floats->data(), w.owner = std::move(floats);
    return w;
  }
  if (type != DType::kF32) return as(DType::kF32).as(wanted);
  if (wanted == DType::kF16) {
    auto halves = std::make_shared<std::vector<uint16_t>>(n);
    for (size_t i = 0; i < n; ++i) {
      (*halves)[i] = float_to_half(data[i]);
      if (((*halves)[i] & 0x7fff) == 0x7c00 && std::isfinite(data[i]))
        fail("weight '" + name + "' is beyond float16's range of +-65504");
    }
    w.stored = halves->data(), w.owner = std::move(halves);
    return w;
  }
  if (wanted == DType::kU8) return asymmetric();
  auto bytes = std::make_shared<std::vector<int8_t>>(n);
  for (size_t first = 0; first < n; first += row) {
    float most = 0;
    for (size_t i = first; i < first + row; ++i) {
      if (!std::isfinite(data[i])) fail("weight '" + name + "' has infinities or NaN");
      most = std::max(most, std::fabs(data[i]));
    }
    // A row of zeros, or of next to nothing, has no scale of its own.
    float scale = most / 127;
    if (scale < std::numeric_limits<float>::min()) scale = 1;
    w.scales.push_back(scale);
    for (size_t i = first; i < first + row; ++i)
      (*bytes)[i] = static_cast<int8_t>(std::nearbyint(data[i] / scale));
  }
  w.stored = bytes->data(), w.owner = std::move(bytes);
  return w;
}

Weight Weight::asymmetric() const {
  Weight w = *this;
  const auto n = static_cast<size_t>(count());
  const size_t row = n / static_cast<size_t>(shape[0]);
  auto bytes = std::make_shared<std::vector<uint8_t>>(n);
  for (size_t first = 0; first < n; first += row) {
    float least = 0, most = 0;
    for (size_t i = first; i < first + row; ++i) {
      if (!std::isfinite(data[i])) fail("weight '" + name + "' has infinities or NaN");
      least = std::min(least, data[i]), most = std::max(most, data[i]);
    }
    float scale = (most - least) / 255;
    if (scale < std::numeric_limits<float>::min()) scale = 1;
    const float zero = std::nearbyint(-least / scale);
    w.scales.push_back(scale), w.zeros.push_back(static_cast<int32_t>(zero));
    for (size_t i = first; i < first + row; ++i) {
      const float q = std::nearbyint(data[i] / scale) + zero;
      (*bytes)[i] = static_cast<uint8_t>(std::min(std::max(q, 0.0f), 255.0f));
    }
  }
  w.type = DType::kU8, w.data = nullptr, w.stored = bytes->data(), w.owner = std::move(bytes);
  return w;
}

int64_t Weight::count() const {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

}  // namespace linnet
