#include "algorithms/plan.h"

#include <cassert>

namespace linnet {

Operands Plan::complete(Operands operands, Data& data) const {
  assert(weights.size() <= kMostWeights);
  for (size_t i = 0; i < weights.size(); ++i) data[i] = weights[i].data.get();
  operands.weights = data, operands.kernels = kernels, operands.backends = backends;
  return operands;
}

void Plan::run(Operands operands) const {
  Data data;
  code->run(args.get(), complete(operands, data));
}

}  // namespace linnet
