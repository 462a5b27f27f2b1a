#include <doctest/doctest.h>

#include "compile/place.h"

using namespace linnet;

namespace {

Block block(size_t bytes, int first, int last, Block::Where where = Block::kArena) {
  Block b;
  b.where = where, b.bytes = bytes, b.first_step = first, b.last_step = last;
  return b;
}

Program program(std::vector<Block> blocks, const std::vector<size_t>& workspaces) {
  Program p;
  p.blocks = std::move(blocks);
  for (const size_t bytes : workspaces) {
    p.steps.emplace_back();
    p.steps.back().plan.workspace = bytes;
  }
  return p;
}

}  // namespace

TEST_CASE("place: blocks in use at the same time lie apart, others share memory") {
  Program p = program({block(640, 0, 1), block(640, 1, 2), block(640, 2, 2)}, {0, 0, 0});
  place(p);
  CHECK(p.blocks[0].offset != p.blocks[1].offset);
  CHECK(p.blocks[2].offset != p.blocks[1].offset);
  CHECK(p.arena == 1280 + 4 * kGuardBytes);
  CHECK(p.activations == 1280 + 4 * kGuardBytes);
}

TEST_CASE("place: workspaces count for their own step only, the caller's memory not at all") {
  Program p =
      program({block(64, 0, 1), block(4096, 1, 1, Block::kOutput), block(64, -1, -1)}, {128, 256});
  place(p);
  CHECK(p.activations == 64 + 2 * kGuardBytes);
  CHECK(p.arena == 64 + 256 + 4 * kGuardBytes);
  CHECK(p.steps[0].workspace == p.steps[1].workspace);
  CHECK(p.blocks[0].offset + 64 <= p.steps[1].workspace + p.arena);
}
