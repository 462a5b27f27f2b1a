// Runs a compiled network, as run/run.cpp does a session's program.
#include "program.h"

#include "algorithms/chain.h"

namespace linnet {
extern "C" const Kernels linnet_kernels;  // those the network calls
}

struct linnet_code : linnet::PlanCode {};

extern "C" void linnet_run(const linnet_program* program, const void* weights,
                           const void* const* inputs, void* const* outputs, void* arena,
                           linnet_pool* threads) {
  const auto at = [&](const linnet_place& place) -> void* {
    const auto index = static_cast<uint32_t>(place.base - 2);
    const void* base = place.base == 0           ? arena
                       : place.base == 1         ? weights
                       : index < program->inputs ? inputs[index]
                                                 : outputs[index - program->inputs];
    return const_cast<char*>(static_cast<const char*>(base)) + place.offset;
  };
  const auto perhaps = [&](const linnet_place& place) {
    return place.base < 0 ? nullptr : at(place);
  };
  linnet::ThreadPool pool(threads);
  linnet::Backends backends;
#ifdef LINNET_THREADS
  if (threads) linnet_pool_begin(threads);
#endif
  const void* data[LINNET_MOST_WEIGHTS];
  const auto operands = [&](const linnet_step& step) {
    for (int w = 0; w < LINNET_MOST_WEIGHTS; ++w) data[w] = perhaps(step.weights[w]);
    linnet::Operands o{at(step.x), perhaps(step.z), at(step.y), at(step.workspace), pool};
    o.weights = data, o.kernels = &linnet::linnet_kernels, o.backends = &backends;
    return o;
  };
#ifdef LINNET_CHAINS
  const linnet_chain* chain = program->chains;
#endif
  for (uint32_t i = 0; i < program->count; ++i) {
    const linnet_step& step = program->steps[i];
#ifdef LINNET_CHAINS
    if (chain->length && chain->first == i) {
      const auto link = [&](int64_t l) {
        const linnet_step& s = program->steps[i + l];
        return linnet::ChainStep{s.code, s.args, operands(s)};
      };
      linnet::run_chain(*static_cast<const linnet::ChainArgs*>(chain->args), at(chain->rows), link,
                        [](int64_t) {});
      i += chain->length - 1, ++chain;
      continue;
    }
#endif
    step.code->run(step.args, operands(step));
  }
#ifdef LINNET_THREADS
  if (threads) linnet_pool_end(threads);
#endif
}
