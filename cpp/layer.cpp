#include "layer.h"

#include <chrono>
#include <stdexcept>

namespace linnet {

Layer::Layer(const Problem& problem, const std::string& name, const std::string& isa,
             const Weight* weight, const Weight* bias)
    : problem_(problem),
      kernels_(kernels_for(isa.c_str())),
      blas_(find_openblas("", &blas_missing_)),
      nnpack_(find_nnpack("", &nnpack_missing_)),
      context_{kernels_,
               weights_,
               blas_ ? &*blas_ : nullptr,
               blas_missing_,
               nnpack_ ? &*nnpack_ : nullptr,
               nnpack_missing_},
      pool_(problem.threads) {
  const Algorithm& a = algorithm(name);
  const std::string reason = a.refuse(problem_, context_);
  if (!reason.empty())
    throw std::invalid_argument(name + " refuses " + problem_.key() + ": " + reason);
  const bool weighted = problem_.kind == Kind::kConv || problem_.kind == Kind::kFullyConnected;
  if (weighted != (weight != nullptr))
    throw std::invalid_argument(problem_.key() +
                                (weighted ? " needs a weight" : " takes no weight"));
  if (weighted) {
    const int64_t taps = problem_.kind == Kind::kConv
                             ? problem_.in.c / problem_.groups * problem_.window.kernel[0] *
                                   problem_.window.kernel[1]
                             : problem_.in.count();
    if (weight->count() != problem_.k * taps || (bias && bias->count() != problem_.k)) {
      throw std::invalid_argument("the weights do not fit " + problem_.key());
    }
  }
  Weight typed;
  if (weight) {
    Weight rows = *weight;
    rows.shape = {problem_.k, weight->count() / problem_.k};
    typed = rows.as(problem_.weights);
  }
  plan_ = a.prepare(problem_, weight ? &typed : nullptr, bias, context_);
  workspace_ = AlignedBuffer(plan_->workspace());
}

int64_t Layer::x_count() const {
  return problem_.n * image_stride(problem_.in, problem_.in_layout, kernels_.width);
}
int64_t Layer::y_count() const {
  return problem_.n * image_stride(problem_.out(), problem_.out_layout, kernels_.width);
}
int64_t Layer::operand_count() const {
  if (problem_.residual) return y_count();
  if (problem_.kind != Kind::kAdd) return 0;
  return (problem_.operand_constant ? 1 : problem_.n) *
         image_stride(problem_.operand, problem_.out_layout, kernels_.width);
}

std::vector<double> Layer::run(const float* x, const float* operand, float* y, int times,
                               bool settle) {
  const Operands operands{x, operand, y, workspace_.floats(), pool_};
  const ThreadPool::Region region(pool_);
  std::vector<double> seconds;
  if (settle && !caches_) caches_.emplace(pool_);
  for (int i = 0; i < times; ++i) {
    if (settle) {
      caches_->settle({{y, static_cast<size_t>(y_count()) * sizeof(float)},
                       {workspace_.data(), workspace_.size()},
                       {x, static_cast<size_t>(x_count()) * sizeof(float)}});
    }
    const auto start = std::chrono::steady_clock::now();
    plan_->run(operands);
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return seconds;
}

std::string refusal(const Problem& problem, const std::string& name, const std::string& isa) {
  std::string blas_missing, nnpack_missing;
  const auto blas = find_openblas("", &blas_missing);
  const auto nnpack = find_nnpack("", &nnpack_missing);
  WeightStore weights;
  return algorithm(name).refuse(
      problem, {kernels_for(isa.c_str()), weights, blas ? &*blas : nullptr, blas_missing,
                nnpack ? &*nnpack : nullptr, nnpack_missing});
}

}  // namespace linnet
