// Planner: picks the algorithm and the layouts of each layer, by estimate or by measuring.
#pragma once

#include <string>
#include <vector>

#include "algorithm.h"

namespace linnet {

struct PlannerOptions {
  std::string algorithm;  // convolutions and fully connected layers use only this one where it accepts; empty: any
  bool strict = false;    // only exact algorithms
  bool measure = false;   // time the candidates instead of estimating them
};

// What became of one algorithm for one layer.
struct Candidate {
  const Algorithm* algorithm;
  Problem problem;      // with the layouts it was asked for
  double seconds = 0;   // estimated or measured, changes of layout included; only where not refused
  std::string refusal;  // empty where accepted
};

struct Choice {
  const Algorithm* algorithm = nullptr;
  Problem problem;
  double seconds = 0;
  std::vector<Candidate> candidates;  // the best combination of layouts of every algorithm
};

class Planner {
 public:
  // The context and pool must outlive the planner. Throws std::invalid_argument for an unknown algorithm.
  Planner(PlannerOptions options, const Context& context, ThreadPool& pool);

  // The cheapest way to run `problem`, whose input is there in layout `given`, when the rest of the graph prefers `preferred`.
  Choice choose(const Problem& problem, const Weight* weight, const Weight* bias, Layout given, Layout preferred) const;

  // Whether `a` may run `problem` as it stands, layouts included.
  bool allows(const Algorithm& a, const Problem& problem) const;

  // Seconds to change the layout of `n` images.
  double reorder_seconds(int64_t n, const Dims& dims) const;

 private:
  std::string refusal(const Algorithm& a, const Problem& problem, bool restricted) const;
  bool restricted(const Problem& problem) const;
  double seconds(const Algorithm& algorithm, const Problem& problem, const Weight* weight, const Weight* bias) const;

  const PlannerOptions options_;
  const Context& context_;
  ThreadPool& pool_;
};

// Estimated seconds of one layer. Throws std::invalid_argument with the reason if the algorithm refuses it.
double estimate(const Problem& problem, const std::string& algorithm, const std::string& isa);

// Whether both layouts of an image are the same bytes.
bool layouts_coincide(const Dims& dims, int width);

}  // namespace linnet
