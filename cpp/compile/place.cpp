#include "compile/place.h"

#include "compile/arena.h"

namespace linnet {

void place(Program& program) {
  std::vector<ArenaItem> items;
  std::vector<size_t*> offsets;
  const auto add = [&](size_t bytes, int first_step, int last_step, size_t* offset) {
    items.push_back({bytes + 2 * kGuardBytes, first_step, last_step});
    offsets.push_back(offset);
  };
  for (Block& b : program.blocks) {
    if (b.where != Block::kArena || b.first_step < 0) continue;
    add(b.bytes, b.first_step, b.last_step, &b.offset);
  }
  for (Chain& chain : program.chains) add(chain.bytes, chain.first, chain.last(), &chain.offset);
  program.activations = plan_arena(items).total;
  for (int i = 0; i < static_cast<int>(program.steps.size()); ++i) {
    Step& step = program.steps[i];
    const Chain* chain = program.chain_of(i);
    if (const size_t bytes = step.plan.workspace)
      add(bytes, chain ? chain->first : i, chain ? chain->last() : i, &step.workspace);
  }
  const ArenaPlan plan = plan_arena(items);
  program.arena = plan.total;
  for (size_t i = 0; i < items.size(); ++i) *offsets[i] = plan.offsets[i] + kGuardBytes;
}

}  // namespace linnet
