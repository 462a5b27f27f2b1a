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

}  // namespace linnet
