#include "compile/place.h"

#include "compile/arena.h"

namespace linnet {

void place(Program& program) {
  std::vector<ArenaItem> items;
  std::vector<size_t*> offsets;
  for (Block& b : program.blocks) {
    if (b.where != Block::kArena || b.first_step < 0) continue;
    items.push_back({b.bytes, b.first_step, b.last_step});
    offsets.push_back(&b.offset);
  }
  program.activations = plan_arena(items).total;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    Step& step = program.steps[i];
    if (const size_t bytes = step.plan->workspace()) {
      items.push_back({bytes, static_cast<int>(i), static_cast<int>(i)});
      offsets.push_back(&step.workspace);
    }
  }
  const ArenaPlan plan = plan_arena(items);
  program.arena = plan.total;
  for (size_t i = 0; i < items.size(); ++i) *offsets[i] = plan.offsets[i];
}

}  // namespace linnet
