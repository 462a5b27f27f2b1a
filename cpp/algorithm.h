// Algorithms: named strategies for one layer. An Algorithm is stateless: it refuses a Problem with
// a reason, estimates its cost, or prepares a Plan, which holds packed weights and runs. To add
// one, add a file to cpp/algorithms/ whose last line registers it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "arena.h"
#include "dynlib.h"
#include "graph.h"
#include "kernels/kernels.h"
#include "problem.h"
#include "threads.h"

namespace linnet {

// Packed weights of one model, keyed by what was packed and how (shape too: tensors may share
// memory), shared by all its plans, batch sizes and programs. Owned by the Session, used by one
// caller at a time; buffers live as long as any plan that uses them.
class WeightStore {
 public:
  using Buffer = std::shared_ptr<const AlignedBuffer>;

  // The buffer of `count` floats for `packing` of `weight`, filled by `pack` the first time. The
  // buffer is zeroed before, so `pack` need not write padding. `packing` names all but the tensor
  // that the contents depend on; a null weight stands for zeros.
  Buffer get(const Weight* weight, const std::string& packing, int64_t count,
             const std::function<void(float*)>& pack);
  // The same for a number of bytes.
  Buffer get_bytes(const Weight* weight, const std::string& packing, size_t bytes,
                   const std::function<void(void*)>& pack);
  // The `k` floats of a bias followed by zeros up to `padded`; all zeros for a null bias, shared by
  // the layers without one.
  Buffer get_bias(const Weight* bias, int64_t k, int64_t padded);
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
  bool counting_ = false;
  std::map<std::pair<const void*, std::string>, Entry> entries_;
};

// What a plan is prepared with. Null weight for kinds without weights, null bias for none.
struct Context {
  const Kernels& kernels;
  WeightStore& weights;
  const OpenBlas* blas = nullptr;   // null when none was found
  std::string blas_missing;         // why, when blas is null
  const NnPack* nnpack = nullptr;   // null when none was found
  std::string nnpack_missing = {};  // why, when nnpack is null
};

// Seconds a layer that is computed in transformed space spent in each phase, for a profile. Phases
// that threads run in one loop share its time in proportion to what they took.
struct Phases {
  double input = 0, output = 0;  // transforms
  double product = 0;            // the multiplication between them
};

// What one run of a plan reads and writes; the layouts and batch are those of its problem.
struct Operands {
  const float* x = nullptr;
  const float* operand = nullptr;  // the residual, or an Add's second operand
  float* y = nullptr;
  float* workspace = nullptr;  // aligned, Plan::workspace() bytes
  ThreadPool& pool;
  Phases* phases = nullptr;  // added to, where the plan has phases and this is not null
};

// A prepared layer; immutable, and run by one caller at a time.
class Plan {
 public:
  virtual ~Plan() = default;
  virtual size_t workspace() const { return 0; }  // bytes
  virtual void run(const Operands& operands) const = 0;
};

class Algorithm {
 public:
  virtual ~Algorithm() = default;
  virtual const char* name() const = 0;
  // The reason why `problem` is refused; empty if it is accepted.
  virtual std::string refuse(const Problem& problem, const Context& context) const = 0;
  // Estimated cycles of one core's worth of wall time.
  virtual double cost(const Problem& problem, const Context& context) const = 0;
  // Bytes of packed weights and workspace its plan takes, about.
  virtual double memory(const Problem&, const Context&) const { return 0; }
  // Whether results are as exact as a plain sum of products; `strict` sessions refuse others.
  virtual bool exact() const { return true; }
  // False for what runs the same scalar code whatever the ISA.
  virtual bool uses_kernels() const { return true; }
  virtual std::unique_ptr<Plan> prepare(const Problem& problem, const Weight* weight,
                                        const Weight* bias, const Context& context) const = 0;
};

// All algorithms, in order of their names.
const std::vector<const Algorithm*>& algorithms();
// Throws std::invalid_argument listing the names there are.
const Algorithm& algorithm(const std::string& name);
// The algorithm of that name; else all of a family: "fourier" is fourier-8 and fourier-16. Throws
// as algorithm() does.
std::vector<const Algorithm*> algorithms(const std::string& name);

struct RegisterAlgorithm {
  explicit RegisterAlgorithm(const Algorithm* algorithm);
};

// Element strides of an activation in a layout, for code that walks any of them.
struct Strides {
  int64_t n, c, h, w;
  Strides(const Dims& d, Layout layout, int width) {
    const int64_t pixel = layout == Layout::kNchw ? 1 : round_up(d.c, width);
    n = image_stride(d, layout, width);
    c = layout == Layout::kNchw ? d.h * d.w : 1;
    h = d.w * pixel;
    w = pixel;
  }
};

}  // namespace linnet
