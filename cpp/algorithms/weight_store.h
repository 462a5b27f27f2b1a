#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "core/buffer.h"
#include "graph/weight.h"

namespace linnet {

// What a plan's code reads besides its arguments: packed weights, weights where they lie in memory,
// a table; kept as long as the plan.
struct PlanData {
  PlanData(std::shared_ptr<const void> owned, size_t size) : data(std::move(owned)), bytes(size) {}
  PlanData(const std::shared_ptr<const AlignedBuffer>& buffer)  // NOLINT: a buffer is such data
      : data(buffer, buffer ? buffer->data() : nullptr), bytes(buffer ? buffer->size() : 0) {}

  std::shared_ptr<const void> data;
  size_t bytes;
};

// Packed weights of one model, keyed by what was packed and how (shape too: tensors may share
// memory), shared by all its plans, batch sizes and programs. Owned by the Session, used by one
// caller at a time; buffers live as long as any plan that uses them.
class WeightStore {
 public:
  using Buffer = std::shared_ptr<const AlignedBuffer>;

  // The buffer of `count` floats for `packing` of `weight`, filled by `pack` the first time, which
  // is given the weight in memory. The buffer is zeroed before, so `pack` need not write padding.
  // `packing` names all but the tensor that the contents depend on; a null weight stands for zeros.
  Buffer get(const Weight* weight, const std::string& packing, int64_t count,
             const std::function<void(const Weight&, float*)>& pack);
  // The same for a number of bytes.
  Buffer get_bytes(const Weight* weight, const std::string& packing, size_t bytes,
                   const std::function<void(const Weight&, void*)>& pack);
  // The same, given the weight by rows, which need not all be in memory at once.
  Buffer get_rows(const Weight& weight, const std::string& packing, size_t bytes,
                  const std::function<void(Rows&, void*)>& pack);
  // The `k` floats of a bias followed by zeros up to `padded`; all zeros for a null bias, shared by
  // the layers without one.
  Buffer get_bias(const Weight* bias, int64_t k, int64_t padded);
  // A weight's float32 numbers as they are: where they lie in memory, else a copy; null for a null
  // weight.
  PlanData get_floats(const Weight* weight);
  size_t bytes() const;
  void drop_unused();  // buffers that no plan holds
  // While true, buffers that are not there yet count with their size, but get no memory and are not
  // packed: plans made so tell what they need, and must not run.
  void set_counting(bool counting) { counting_ = counting; }

 private:
  struct Entry {
    Buffer buffer;  // of size 0 if it was only counted
    size_t bytes = 0;
  };
  Buffer get_filled(const Weight* weight, const std::string& packing, size_t bytes, Pages pages,
                    const std::function<void(void*)>& fill);

  bool counting_ = false;
  std::map<std::pair<const void*, std::string>, Entry> entries_;
};

}  // namespace linnet
