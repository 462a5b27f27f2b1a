#include "compile/arena.h"

#include <algorithm>
#include <cstdint>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>

namespace linnet {

ArenaPlan plan_arena(const std::vector<ArenaItem>& items) {
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].first_step > items[i].last_step)
      throw std::invalid_argument("arena item " + std::to_string(i) + " ends at step " +
                                  std::to_string(items[i].last_step) +
                                  ", before it begins at step " +
                                  std::to_string(items[i].first_step));
    if (items[i].size > SIZE_MAX / 2) throw std::bad_alloc();  // so that rounding up cannot wrap
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return items[a].size > items[b].size; });

  ArenaPlan plan;
  plan.offsets.assign(items.size(), 0);
  const auto padded = [&](size_t i) {
    return (items[i].size + kAlignment - 1) / kAlignment * kAlignment;
  };
  std::vector<size_t> placed;  // by offset
  for (const size_t i : order) {
    const size_t size = padded(i);
    if (size == 0) continue;
    size_t end = 0;  // of the items in use at the same time so far
    size_t best = SIZE_MAX, best_gap = SIZE_MAX;
    for (const size_t j : placed) {
      if (items[j].last_step < items[i].first_step || items[i].last_step < items[j].first_step)
        continue;
      const size_t start = plan.offsets[j];
      if (start > end && start - end >= size && start - end < best_gap) {
        best = end;
        best_gap = start - end;
      }
      end = std::max(end, start + padded(j));
    }
    if (best == SIZE_MAX) {
      if (size > PTRDIFF_MAX - end) throw std::bad_alloc();
      best = end;
    }
    plan.offsets[i] = best;
    plan.total = std::max(plan.total, best + size);
    const auto by_offset = [&](size_t a, size_t b) { return plan.offsets[a] < plan.offsets[b]; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i, by_offset), i);
  }
  return plan;
}

}  // namespace linnet
