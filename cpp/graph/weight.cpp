#include "graph/weight.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "core/half.h"

namespace linnet {
namespace {

constexpr size_t kReadBytes = 512 << 10;  // of a file at a time: stays in caches until it is packed

[[noreturn]] void fail(const std::string& what) { throw std::invalid_argument(what); }

}  // namespace

DType weight_type(const std::string& name) {
  for (int i = 0; i < kWeightTypes; ++i) {
    if (name == to_string(static_cast<DType>(i))) return static_cast<DType>(i);
  }
  fail("weights_dtype is '" + name + "', expected f32, f16, int8 or auto");
}

Weight Weight::loaded() const {
  Weight w = *this;
  if (data || stored || !part) return w;
  w.owner = part->read(name), w.type = part_type;
  if (part_type == DType::kF32) {
    w.data = static_cast<const float*>(w.owner.get());
  } else {
    w.stored = w.owner.get();
  }
  w.part = nullptr;
  return w.as(type);
}

Rows::Rows(const Weight& weight)
    : weight_(weight),
      rows_(weight.shape.empty() ? 1 : weight.shape[0]),
      row_(bytes_of(weight.count() / rows_, weight.type)),
      read_row_(bytes_of(weight.count() / rows_, weight.part_type)),
      part_(weight.data || weight.stored ? nullptr : weight.part.get()) {}

const char* Rows::at(int64_t first, int64_t count) {
  const auto offset = [](int64_t rows, size_t each) { return static_cast<size_t>(rows) * each; };
  if (!part_) return static_cast<const char*>(weight_.bytes()) + offset(first, row_);
  if (first < first_ || first + count > first_ + count_) {
    const auto most = static_cast<int64_t>(kReadBytes / read_row_);
    first_ = first, count_ = std::min(std::max(count, most), rows_ - first);
    const size_t bytes = offset(count_, read_row_), known = offset(summed_ - first, read_row_);
    if (buffer_.size() < bytes) buffer_ = AlignedBuffer(bytes);
    part_->read(weight_.name, buffer_.data(), bytes, offset(first, read_row_));
    sum_.add(buffer_.data() + known, bytes - known);
    summed_ = first_ + count_;
    if (weight_.type != weight_.part_type) {
      Weight read = weight_;
      read.part = nullptr, read.type = weight_.part_type, read.shape[0] = count_;
      if (read.type == DType::kF32) {
        read.data = buffer_.floats();
      } else {
        read.stored = buffer_.data();
      }
      converted_ = read.as(weight_.type);
    }
  }
  const void* from = weight_.type == weight_.part_type ? buffer_.data() : converted_.bytes();
  return static_cast<const char*>(from) + offset(first - first_, row_);
}

void Rows::check() {
  if (part_) part_->check(weight_.name, sum_.value());
}

Weight Weight::as(DType wanted) const {
  if (wanted == type) return *this;
  if (is_byte(type) && scales.empty()) fail("weight '" + name + "' is integers without a scale");
  Weight w = *this;
  if (!data && !stored && part) {
    const bool reals = !is_byte(part_type) && !is_byte(wanted);
    const bool exact = type == part_type || (wanted == part_type && wanted == DType::kF16);
    if (!reals || !exact) return loaded().as(wanted);
    w.type = wanted;
    return w;
  }
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

bool Weight::is_half() const {
  if (type != DType::kF32 || shape.empty()) return false;
  Rows rows(*this);
  const int64_t row = count() / shape[0];
  for (int64_t r = 0; r < shape[0]; ++r) {
    const char* from = rows.at(r, 1);
    for (int64_t i = 0; i < row; ++i) {
      float value;
      std::memcpy(&value, from + i * static_cast<int64_t>(sizeof value), sizeof value);
      if (half_to_float(float_to_half(value)) != value) return false;
    }
  }
  return true;
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
