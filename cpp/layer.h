// Layer: one problem with one algorithm on its own, outside any graph; what kernel tests and layer
// benches run.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "algorithms/algorithm.h"
#include "plan/planner.h"

namespace linnet {

// What algorithms draw on, outside any session: default libraries, packed weights of its own.
class LayerContext {
 public:
  explicit LayerContext(const std::string& isa);
  LayerContext(const LayerContext&) = delete;
  LayerContext& operator=(const LayerContext&) = delete;
  const Context& get() const { return context_; }
  const WeightStore& weights() const { return weights_; }

 private:
  Backends backends_;
  WeightStore weights_;
  Context context_;
};

class Layer {
 public:
  // Weights are borrowed for the constructor only, and brought to the problem's type. Throws
  // std::invalid_argument with the reason if the algorithm refuses the problem.
  Layer(const Problem& problem, const std::string& algorithm, const std::string& isa,
        const Weight* weight, const Weight* bias);

  // Numbers of x, y and the second operand (0 if there is none), from the first to the last of
  // each, in the layouts of the problem.
  int64_t x_count() const;
  int64_t y_count() const;
  int64_t operand_count() const;
  const Problem& problem() const { return problem_; }
  int width() const { return context_.get().kernels.width; }
  size_t weight_bytes() const { return context_.weights().bytes(); }  // packed

  // Runs `times` times on the same operands; returns the seconds of each run. With `settle` each
  // finds the caches as in a network, see Caches.
  std::vector<double> run(const void* x, const void* operand, void* y, int times = 1,
                          bool settle = false);

 private:
  const Problem problem_;
  LayerContext context_;
  ThreadPool pool_;
  Plan plan_;
  AlignedBuffer workspace_;
  std::optional<Caches> caches_;
};

// Why `algorithm` refuses `problem` on an ISA; empty if it accepts it.
std::string refusal(const Problem& problem, const std::string& algorithm, const std::string& isa);

// Estimated seconds of `problem` with `algorithm` on an ISA. Throws std::invalid_argument if it
// refuses.
double estimate(const Problem& problem, const std::string& algorithm, const std::string& isa);

// What the planner picks for a layer on its own, its data in the layouts of `problem`. Weights as
// for a Layer.
Choice choose(const Problem& problem, const std::string& isa, Search search, const Weight* weight,
              const Weight* bias);

}  // namespace linnet
