#include "planner.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <stdexcept>

namespace linnet {
namespace {

// Only the ratios of estimates matter; this makes them read as plausible times.
constexpr double kCyclesPerSecond = 2.5e9;

constexpr Layout kLayouts[] = {Layout::kNchw, Layout::kNhwc};

bool has_weights(const Problem& p) { return p.kind == Kind::kConv || p.kind == Kind::kFullyConnected; }

}  // namespace

bool layouts_coincide(const Dims& d, int width) { return d.h == 1 && d.w == 1 && d.c % width == 0; }

double estimate(const Problem& problem, const std::string& name, const std::string& isa) {
  std::string missing;
  const auto blas = find_openblas("", &missing);
  WeightStore weights;
  const Context context{kernels_for(isa.c_str()), weights, blas ? &*blas : nullptr, missing};
  const Algorithm& a = algorithm(name);
  const std::string reason = a.refuse(problem, context);
  if (!reason.empty()) throw std::invalid_argument(name + " refuses " + problem.key() + ": " + reason);
  return a.cost(problem, context) / kCyclesPerSecond;
}

Planner::Planner(PlannerOptions options, const Context& context, ThreadPool& pool)
    : options_(std::move(options)), context_(context), pool_(pool) {
  if (!options_.algorithm.empty()) algorithm(options_.algorithm);
}

double Planner::reorder_seconds(int64_t n, const Dims& dims) const {
  if (layouts_coincide(dims, context_.kernels.width)) return 0;
  Problem p;
  p.kind = Kind::kReorder;
  p.n = n, p.in = dims, p.threads = pool_.threads();
  return algorithm("reorder").cost(p, context_) / kCyclesPerSecond;
}

// Whether the algorithm asked for accepts the layer in any layout; else the layer is planned freely.
bool Planner::restricted(const Problem& problem) const {
  if (!has_weights(problem) || options_.algorithm.empty()) return false;
  for (Layout in : kLayouts) {
    for (Layout out : kLayouts) {
      Problem p = problem;
      p.in_layout = in, p.out_layout = out;
      if (algorithm(options_.algorithm).refuse(p, context_).empty()) return true;
    }
  }
  return false;
}

std::string Planner::refusal(const Algorithm& a, const Problem& problem, bool restricted) const {
  if (restricted && options_.algorithm != a.name()) return "not the algorithm asked for";
  if (options_.strict && !a.exact()) return "looser than strict allows";
  return a.refuse(problem, context_);
}

bool Planner::allows(const Algorithm& a, const Problem& problem) const {
  // A fused form must not drive out the algorithm asked for, which may take the layer only unfused.
  Problem plain = problem;
  plain.pool[0] = plain.pool[1] = 1;
  return refusal(a, problem, restricted(plain)).empty();
}

Choice Planner::choose(const Problem& problem, const Weight* weight, const Weight* bias, Layout given, Layout preferred) const {
  Choice choice;
  double least = std::numeric_limits<double>::infinity();
  const bool only_asked = restricted(problem);
  for (const Algorithm* a : algorithms()) {
    Candidate best{a, problem, std::numeric_limits<double>::infinity(), ""};
    for (Layout in : kLayouts) {
      for (Layout out : kLayouts) {
        Problem p = problem;
        p.in_layout = in, p.out_layout = out;
        const std::string refusal = this->refusal(*a, p, only_asked);
        if (!refusal.empty()) {
          // The refusal in the preferred layout says most about the algorithm.
          if (best.refusal.empty() || (in == preferred && out == preferred)) best.refusal = refusal;
          continue;
        }
        double t = seconds(*a, p, weight, bias);
        if (in != given) t += reorder_seconds(p.n, p.in);
        if (out != preferred) t += reorder_seconds(p.n, p.out());
        if (t < best.seconds) best.seconds = t, best.problem = p;
      }
    }
    if (best.seconds < std::numeric_limits<double>::infinity()) best.refusal.clear();
    if (best.refusal.empty() && best.seconds < least) {
      least = best.seconds;
      choice.algorithm = a, choice.problem = best.problem, choice.seconds = best.seconds;
    }
    choice.candidates.push_back(std::move(best));
  }
  if (!choice.algorithm) throw std::runtime_error("no algorithm accepts " + problem.key());
  return choice;
}

double Planner::seconds(const Algorithm& a, const Problem& p, const Weight* weight, const Weight* bias) const {
  const double estimate = a.cost(p, context_) / kCyclesPerSecond;
  // Measuring the reference on a large layer would take longer than all else together.
  if (!options_.measure || !a.uses_kernels()) return estimate;
  const auto plan = a.prepare(p, weight, bias, context_);
  const int width = context_.kernels.width;
  AlignedBuffer x(static_cast<size_t>(p.n * image_stride(p.in, p.in_layout, width)) * sizeof(float), true);
  AlignedBuffer y(static_cast<size_t>(p.n * image_stride(p.out(), p.out_layout, width)) * sizeof(float), true);
  AlignedBuffer operand(y.size(), true), workspace(plan->workspace());
  const Operands operands{x.floats(), operand.floats(), y.floats(), workspace.floats(), pool_};
  std::vector<double> times;
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  while (times.size() < 3 || (times.size() < 15 && Clock::now() - begin < std::chrono::milliseconds(30))) {
    const auto start = Clock::now();
    plan->run(operands);
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

}  // namespace linnet
