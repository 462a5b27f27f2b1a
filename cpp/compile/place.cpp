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
  program.activations = plan_arena(items).total;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    Step& step = program.steps[i];
    if (const size_t bytes = step.plan.workspace)
      add(bytes, static_cast<int>(i), static_cast<int>(i), &step.workspace);
  }
  const ArenaPlan plan = plan_arena(items);
  program.arena = plan.total;
  for (size_t i = 0; i < items.size(); ++i) *offsets[i] = plan.offsets[i] + kGuardBytes;
}

}  // namespace linnet
