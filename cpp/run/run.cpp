#include "run/run.h"

#include <cassert>
#include <chrono>

#include "run/debug.h"

namespace linnet {

void Runner::run(int64_t first, const std::vector<const void*>& inputs,
                 const std::vector<void*>& outputs, ThreadPool& pool,
                 std::vector<StepTime>* times) {
  using Clock = std::chrono::steady_clock;
  if (arena_.size() < program_.arena) arena_ = AlignedBuffer(program_.arena, false, Pages::kHuge);
  bases_.resize(program_.blocks.size());
  for (size_t i = 0; i < bases_.size(); ++i) {
    const Block& b = program_.blocks[i];
    switch (b.where) {
      case Block::kArena:
        bases_[i] = arena_.data() + b.offset;
        break;
      case Block::kInput:
        bases_[i] = static_cast<char*>(const_cast<void*>(inputs[b.index])) + first * b.image;
        break;
      case Block::kOutput:
        bases_[i] = static_cast<char*>(outputs[b.index]) + first * b.image;
        break;
    }
  }
  const auto at = [&](const Place& place) -> void* {
    return place.block < 0 ? nullptr : bases_[place.block] + place.offset;
  };
  debug_begin(program_, arena_.data());
  for (size_t i = 0; i < program_.steps.size(); ++i) {
    const Step& step = program_.steps[i];
    assert(step.plan && step.x.block >= 0 && step.y.block >= 0);
    debug_before(program_, i, arena_.data());
    const auto start = times ? Clock::now() : Clock::time_point();
    const void* operand = step.constant_packed ? step.constant_packed->data() : at(step.z);
    step.plan.run({at(step.x), operand, at(step.y), arena_.data() + step.workspace, pool,
                   times ? &(*times)[i].phases : nullptr});
    if (times) (*times)[i].seconds += std::chrono::duration<double>(Clock::now() - start).count();
    debug_after(program_, i, arena_.data());
  }
}

}  // namespace linnet
