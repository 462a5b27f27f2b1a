// A prepared layer as code and data: a function, the numbers it runs on, and packed weights. The
// numbers are copyable byte by byte, so that a plan can be printed, and run by a program that has
// the same code and none of what prepared it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "algorithms/weight_store.h"
#include "backends/backends.h"
#include "kernels/kernels.h"
#include "run/threads.h"

namespace linnet {

// What a plan is prepared with. Null weight for kinds without weights, null bias for none.
struct Context {
  const Kernels& kernels;
  WeightStore& weights;
  Backends& backends;
};

// Seconds a layer that is computed in transformed space spent in each phase, for a profile. Phases
// that threads run in one loop share its time in proportion to what they took.
struct Phases {
  double input = 0, output = 0;  // transforms
  double product = 0;            // the multiplication between them
};

// What one run of a plan reads and writes; types, layouts and batch are those of its problem.
struct Operands {
  const void* x = nullptr;
  const void* operand = nullptr;  // the residual, or an Add's second operand
  void* y = nullptr;
  void* workspace = nullptr;  // aligned, Plan::workspace bytes
  ThreadPool& pool;
  Phases* phases = nullptr;  // added to, where the plan has phases and this is not null
  // What the plan adds for its code: its weights by index, and what it was prepared with.
  const void* const* weights = nullptr;
  const Kernels* kernels = nullptr;
  Backends* backends = nullptr;
};

// The same for code of float32 alone.
struct FloatOperands {
  explicit FloatOperands(const Operands& o)
      : x(static_cast<const float*>(o.x)),
        operand(static_cast<const float*>(o.operand)),
        y(static_cast<float*>(o.y)),
        workspace(static_cast<float*>(o.workspace)),
        pool(o.pool),
        phases(o.phases),
        weights(o.weights),
        kernels(*o.kernels),
        backends(*o.backends) {}

  const float* floats(int index) const { return static_cast<const float*>(weights[index]); }

  const float* x;
  const float* operand;
  float* y;
  float* workspace;
  ThreadPool& pool;
  Phases* phases;
  const void* const* weights;
  const Kernels& kernels;
  Backends& backends;
};

// Some rows of an image, and where those that are read and written begin; a residual begins with
// its first.
struct RowRange {
  int64_t first, last;  // of y, that are computed
  int64_t x_first, y_first;
};

// Tasks that a thread has of some rows, where there are several threads.
constexpr int64_t kRowTasks = 4;

// What plans run: a constant each. `run` takes `args_bytes` bytes, aligned as for any number.
// `run_rows` computes some rows of one image, to the same bits; null where there is no such code.
struct PlanCode {
  const char* name;
  size_t args_bytes;
  void (*run)(const void* args, const Operands& operands);
  void (*run_rows)(const void* args, const Operands& operands, const RowRange& rows) = nullptr;
};

// The same, of code that runs on `Args`.
template <typename Args>
struct PlanCodeOf : PlanCode {};

template <typename Run>
struct PlanSignature;
template <typename A, typename O>
struct PlanSignature<void (*)(const A& args, const O& operands)> {
  using Args = A;
  using Of = O;  // Operands or FloatOperands
};

// The code of `kRun`, a function of arguments and operands; of `kRunRows`, with rows besides, if
// there is one.
template <auto kRun, auto kRunRows = nullptr>
constexpr auto plan_code(const char* name) {
  using Signature = PlanSignature<decltype(kRun)>;
  using Args = typename Signature::Args;
  static_assert(std::is_trivially_copyable_v<Args>, "arguments are numbers, and owned by nobody");
  PlanCodeOf<Args> code{};
  code.name = name, code.args_bytes = sizeof(Args);
  code.run = [](const void* args, const Operands& operands) {
    kRun(*static_cast<const Args*>(args), typename Signature::Of(operands));
  };
  if constexpr (!std::is_null_pointer_v<decltype(kRunRows)>) {
    code.run_rows = [](const void* args, const Operands& operands, const RowRange& rows) {
      kRunRows(*static_cast<const Args*>(args), typename Signature::Of(operands), rows);
    };
  }
  return code;
}

// The same of a program without chains, so that no code for some rows is linked.
constexpr PlanCode without_rows(PlanCode code) {
  code.run_rows = nullptr;
  return code;
}

// Immutable, and run by one caller at a time. Copies share what they hold.
struct Plan {
  const PlanCode* code = nullptr;
  std::shared_ptr<const void> args;
  size_t workspace = 0;           // bytes
  std::vector<PlanData> weights;  // and tables, by the index its code knows them by
  const Kernels* kernels = nullptr;
  Backends* backends = nullptr;

  static constexpr size_t kMostWeights = 8;

  explicit operator bool() const { return code != nullptr; }
  void run(Operands operands) const;
  // Operands with what the plan adds for its code; `data` holds as long as they are used.
  using Data = const void* [kMostWeights];
  Operands complete(Operands operands, Data& data) const;
};

// `code` lives as long as the program.
template <typename Args>
Plan make_plan(const PlanCodeOf<Args>& code, const Args& args, const Context& context,
               size_t workspace = 0, std::vector<PlanData> weights = {}) {
  const auto kept = std::make_shared<Args>(args);
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
  __builtin_clear_padding(kept.get());  // the same numbers are the same bytes
#endif
#endif
  return {&code, kept, workspace, std::move(weights), &context.kernels, &context.backends};
}

// A plan's table of its own.
template <typename T>
PlanData plan_table(const std::vector<T>& numbers) {
  static_assert(std::is_trivially_copyable_v<T>);
  const auto buffer = std::make_shared<AlignedBuffer>(numbers.size() * sizeof(T));
  std::copy(numbers.begin(), numbers.end(), reinterpret_cast<T*>(buffer->data()));
  return WeightStore::Buffer(buffer);
}

}  // namespace linnet
