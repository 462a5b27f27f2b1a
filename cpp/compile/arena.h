#pragma once

#include <cstddef>
#include <vector>

#include "core/buffer.h"

namespace linnet {

// A piece of memory that a graph's steps first_step..last_step (both included) need: a value or a
// workspace.
struct ArenaItem {
  size_t size;  // bytes
  int first_step;
  int last_step;
};

// Where each item lies in one shared block: offsets[i] for items[i], multiples of kAlignment. Items
// in use at the same step never overlap.
struct ArenaPlan {
  std::vector<size_t> offsets;  // bytes
  size_t total = 0;             // bytes, a multiple of kAlignment
};

// Places the largest item first, each in the smallest gap it fits in ("greedy by size" of Pisarchyk
// and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020). The same items always
// give the same plan. Throws std::invalid_argument if an item ends before it begins, std::bad_alloc
// if the total exceeds the address space.
ArenaPlan plan_arena(const std::vector<ArenaItem>& items);

}  // namespace linnet
