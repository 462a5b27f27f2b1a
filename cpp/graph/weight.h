// A constant tensor of a graph.
#pragma once

#include <memory>
#include <string>
#include <vector>

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
  const void* stored = nullptr;    // float16 or int8 in place of `data`, dense, of any alignment
  std::vector<float> scales = {};  // int8: one for each index of axis 0
  std::shared_ptr<const FilePart> part = nullptr;  // where it is a file's

  int64_t count() const;
  TensorType tensor_type() const { return {integers.empty() ? type : DType::kI64, shape}; }
  // Where its numbers are, or what stands for them as long as they are in a file; null for an
  // integer tensor.
  const void* bytes() const {
    return data ? static_cast<const void*>(data) : stored ? stored : part.get();
  }
  // The same tensor in memory, for as long as the caller keeps it. Throws as FilePart::read.
  Weight loaded() const;
  // The same tensor as another type, in memory of its own. To float16 by rounding to nearest even,
  // to int8 with the scale of a row its largest magnitude / 127; throws std::invalid_argument for
  // what float16 (or, of infinities and NaN, int8) cannot hold.
  Weight as(DType wanted) const;
};

// The type of weights that callers name "f32", "f16" or "int8"; throws std::invalid_argument for
// other names.
DType weight_type(const std::string& name);

}  // namespace linnet
