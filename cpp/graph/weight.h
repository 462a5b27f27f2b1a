// A constant tensor of a graph.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/buffer.h"
#include "core/types.h"
#include "graph/file_part.h"

namespace linnet {

// Borrowed: `owner` keeps whatever holds `data` or `stored` alive (a NumPy array, a file's bytes).
// Or in a file: then there is neither until it is loaded.
struct Weight {
  std::string name;
  Shape shape;
  const float* data = nullptr;    // float32, dense; null for an integer tensor and for other types
  std::vector<int64_t> integers;  // value of an int64 tensor (a Reshape's shape, places)
  std::shared_ptr<const void> owner = nullptr;
  DType type = DType::kF32;
  const void* stored = nullptr;  // float16 or int8 in place of `data`, dense, of any alignment
  // int8 and uint8: scales, and zero points where there are any, one for each index of axis 0.
  std::vector<float> scales = {};
  std::vector<int32_t> zeros = {};
  std::shared_ptr<const FilePart> part = nullptr;  // where it is a file's
  DType part_type = DType::kF32;  // its type there; float32 and float16 become each other when read

  int64_t count() const;
  // Number `at` of row `row` of bytes in memory, less its zero point.
  int32_t integer(int64_t row, int64_t at) const {
    const int32_t q = type == DType::kI8 ? static_cast<const int8_t*>(stored)[at]
                                         : static_cast<const uint8_t*>(stored)[at];
    return zeros.empty() ? q : q - zeros[static_cast<size_t>(row)];
  }
  // Its type as that of weights; integers that int8 does not hold less their zero points are uint8.
  DType weight_type() const { return type == DType::kI8 && !zeros.empty() ? DType::kU8 : type; }
  TensorType tensor_type() const { return {integers.empty() ? type : DType::kI64, shape}; }
  // Where its numbers are, or what stands for them as long as they are in a file; null for an
  // integer tensor.
  const void* bytes() const {
    return data ? static_cast<const void*>(data) : stored ? stored : part.get();
  }
  // The same tensor in memory, for as long as the caller keeps it. Throws as FilePart::read.
  Weight loaded() const;
  // The same tensor as another type, in memory of its own or read so from its file. To float16 by
  // rounding to nearest even, to int8 with the scale of a row its largest magnitude / 127; throws
  // std::invalid_argument for what float16 (or, of infinities and NaN, int8) cannot hold. To uint8
  // with a zero point for each row.
  Weight as(DType wanted) const;

  // Whether float16 holds all numbers of a float32 tensor.
  bool is_half() const;

 private:
  Weight asymmetric() const;
};

// A weight's bytes by indices of axis 0, as whoever packs them wants them: from one to the next,
// once. Of those that are in a file some hundred kilobytes are in memory at a time.
class Rows {
 public:
  explicit Rows(const Weight& weight);

  // Where `count` rows from `first` on lie, one after another, until the next call. Throws as
  // FilePart::read.
  const char* at(int64_t first, int64_t count);
  // Throws where the file is no longer what it was; all rows must have been asked for.
  void check();

 private:
  const Weight& weight_;
  const int64_t rows_;
  const size_t row_, read_row_;  // bytes of one, and in the file
  const FilePart* const part_;   // null where the weight is in memory
  AlignedBuffer buffer_;
  Weight converted_;               // the buffer as the weight's type, where that is not the file's
  int64_t first_ = 0, count_ = 0;  // rows in the buffer
  Sum sum_;
  int64_t summed_ = 0;  // rows
};

// The type of weights that callers name "f32", "f16" or "int8"; throws std::invalid_argument for
// other names.
DType weight_type(const std::string& name);

}  // namespace linnet
