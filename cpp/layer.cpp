#include "layer.h"

#include <chrono>
#include <stdexcept>

namespace linnet {

LayerContext::LayerContext(const std::string& isa)
    : context_{kernels_for(isa.c_str()), weights_, backends_} {}

namespace {

// The weight brought to the problem's type; checks that weight and bias fit it.
Weight checked(const Problem& p, const Weight* weight, const Weight* bias) {
  const bool priors = p.kind() == Kind::kDetect && p.detect().priors;
  if ((p.weighted() || priors) != (weight != nullptr))
    throw std::invalid_argument(p.key() + (weight ? " takes no weight" : " needs a weight"));
  if (!weight) return {};
  if (priors) {
    if (weight->count() != p.x.dims.c * 8)
      throw std::invalid_argument("the priors do not fit " + p.key());
    return *weight;
  }
  const int64_t k = p.y.dims.c;
  if (weight->count() != k * p.taps() || (bias && bias->count() != k))
    throw std::invalid_argument("the weights do not fit " + p.key());
  Weight rows = *weight;
  rows.shape = {k, p.taps()};
  return rows.as(p.weights());
}

const Algorithm& accepting(const Problem& p, const std::string& name, const Context& context) {
  const Algorithm& a = algorithm(name);
  const std::string reason = a.refuse(p, context);
  if (!reason.empty()) throw std::invalid_argument(name + " refuses " + p.key() + ": " + reason);
  return a;
}

}  // namespace

Layer::Layer(const Problem& problem, const std::string& name, const std::string& isa,
             const Weight* weight, const Weight* bias)
    : problem_(problem), context_(isa), pool_(problem.threads) {
  const Algorithm& a = accepting(problem_, name, context_.get());
  const Weight typed = checked(problem_, weight, bias);
  plan_ = a.prepare(problem_, weight ? &typed : nullptr, bias, context_.get());
  workspace_ = AlignedBuffer(plan_.workspace);
}

int64_t Layer::x_count() const { return problem_.x_extent(width()); }
int64_t Layer::y_count() const { return problem_.y.extent(problem_.n, width()); }
int64_t Layer::operand_count() const {
  if (!problem_.binary()) return 0;
  const bool constant = problem_.kind() == Kind::kMap && problem_.map().z_constant;
  return problem_.z.extent(constant ? 1 : problem_.n, width());
}

std::vector<double> Layer::run(const void* x, const void* operand, void* y, int times,
                               bool settle) {
  const Operands operands{x, operand, y, workspace_.data(), pool_};
  const ThreadPool::Region region(pool_);
  std::vector<double> seconds;
  if (settle && !caches_) caches_.emplace(pool_);
  for (int i = 0; i < times; ++i) {
    if (settle) {
      caches_->settle({{y, bytes_of(y_count(), problem_.y.dtype)},
                       {workspace_.data(), workspace_.size()},
                       {x, bytes_of(x_count(), problem_.x.dtype)}});
    }
    const auto start = std::chrono::steady_clock::now();
    plan_.run(operands);
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return seconds;
}

std::string refusal(const Problem& problem, const std::string& name, const std::string& isa) {
  return algorithm(name).refuse(problem, LayerContext(isa).get());
}

double estimate(const Problem& problem, const std::string& name, const std::string& isa) {
  const LayerContext context(isa);
  return estimate(problem, accepting(problem, name, context.get()), context.get());
}

Choice choose(const Problem& problem, const std::string& isa, Search search, const Weight* weight,
              const Weight* bias) {
  const LayerContext context(isa);
  ThreadPool pool(problem.threads);
  PlannerOptions options;
  options.search = search, options.wisdom.clear();
  const Weight typed = checked(problem, weight, bias);
  return Planner(options, context.get(), pool).choose(problem, weight ? &typed : nullptr, bias);
}

}  // namespace linnet
