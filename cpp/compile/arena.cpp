#include "compile/arena.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>

namespace linnet {
namespace {

bool together(const ArenaItem& a, const ArenaItem& b) {
  return a.first_step <= b.last_step && b.first_step <= a.last_step;
}

// Whether no two items in use at the same step overlap.
[[maybe_unused]] bool disjoint(const std::vector<ArenaItem>& items, const ArenaPlan& plan) {
  for (size_t i = 0; i < items.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (together(items[i], items[j]) && plan.offsets[i] < plan.offsets[j] + items[j].size &&
          plan.offsets[j] < plan.offsets[i] + items[i].size)
        return false;
    }
  }
  return true;
}

}  // namespace

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
      if (!together(items[i], items[j])) continue;
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
  assert(disjoint(items, plan));
  return plan;
}

}  // namespace linnet
