#include "algorithms/plan.h"

#include <cassert>

namespace linnet {

void Plan::run(Operands operands) const {
  assert(weights.size() <= kMostWeights);
  const void* data[kMostWeights];
  for (size_t i = 0; i < weights.size(); ++i) data[i] = weights[i].data.get();
  operands.weights = data, operands.kernels = kernels, operands.backends = backends;
  code->run(args.get(), operands);
}

Plan plan_of(std::shared_ptr<const PlanObject> object, const Context& context) {
  using Pointer = std::shared_ptr<const PlanObject>;
  static constexpr PlanCode kCode{
      "object", sizeof(Pointer),
      [](const void* args, const Operands& o) { (*static_cast<const Pointer*>(args))->run(o); }};
  const size_t workspace = object->workspace();
  return {&kCode,           std::make_shared<const Pointer>(std::move(object)),
          workspace,        {},
          &context.kernels, &context.backends};
}

}  // namespace linnet
