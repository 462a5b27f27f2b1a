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
  const auto operands = [&](const Step& step, Phases* phases) {
    assert(step.plan && step.x.block >= 0 && step.y.block >= 0);
    const void* operand = step.constant_packed ? step.constant_packed->data() : at(step.z);
    return Operands{at(step.x), operand, at(step.y), arena_.data() + step.workspace, pool, phases};
  };
  debug_begin(program_, arena_.data());
  const Chain* chain = program_.chains.data();
  for (size_t i = 0, next; i < program_.steps.size(); i = next) {
    const bool chained = chain != program_.chains.data() + program_.chains.size() &&
                         static_cast<size_t>(chain->first) == i;
    next = chained ? static_cast<size_t>(chain->last()) + 1 : i + 1;
    for (size_t s = i; s < next; ++s) debug_before(program_, s, arena_.data());
    auto start = times ? Clock::now() : Clock::time_point();
    const auto done = [&](size_t s) {
      if (!times) return;
      const auto now = Clock::now();
      (*times)[s].seconds += std::chrono::duration<double>(now - start).count();
      start = now;
    };
    if (chained) {
      Plan::Data data;
      const auto step = [&](int64_t link) {
        const Step& s = program_.steps[i + static_cast<size_t>(link)];
        return ChainStep{s.plan.code, s.plan.args.get(),
                         s.plan.complete(operands(s, nullptr), data)};
      };
      run_chain(chain->args, arena_.data() + chain->offset, step,
                [&](int64_t link) { done(i + static_cast<size_t>(link)); });
      ++chain;
    } else {
      program_.steps[i].plan.run(
          operands(program_.steps[i], times ? &(*times)[i].phases : nullptr));
      done(i);
    }
    for (size_t s = i; s < next; ++s) debug_after(program_, s, arena_.data());
  }
}

}  // namespace linnet
