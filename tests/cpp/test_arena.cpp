#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <new>
#include <random>
#include <stdexcept>
#include <vector>

#include "compile/arena.h"

using linnet::AlignedBuffer;
using linnet::ArenaItem;
using linnet::ArenaPlan;
using linnet::kAlignment;
using linnet::plan_arena;

namespace {

size_t padded(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

// No plan can be smaller than what one step needs at once.
size_t lower_bound(const std::vector<ArenaItem>& items) {
  size_t most = 0;
  for (const ArenaItem& at : items) {
    size_t live = 0;
    for (const ArenaItem& item : items)
      if (item.first_step <= at.first_step && at.first_step <= item.last_step)
        live += padded(item.size);
    most = std::max(most, live);
  }
  return most;
}

void check_plan(const std::vector<ArenaItem>& items, const ArenaPlan& plan) {
  REQUIRE(plan.offsets.size() == items.size());
  int misplaced = 0, overlaps = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    misplaced += plan.offsets[i] % kAlignment != 0 || plan.offsets[i] + items[i].size > plan.total;
    for (size_t j = 0; j < i; ++j) {
      const bool same_time =
          items[i].first_step <= items[j].last_step && items[j].first_step <= items[i].last_step;
      const bool same_place = plan.offsets[i] < plan.offsets[j] + items[j].size &&
                              plan.offsets[j] < plan.offsets[i] + items[i].size;
      overlaps += same_time && same_place && items[i].size > 0 && items[j].size > 0;
    }
  }
  CHECK(misplaced == 0);
  CHECK(overlaps == 0);
  CHECK(plan.total % kAlignment == 0);
  CHECK(plan.total >= lower_bound(items));
}

}  // namespace

TEST_CASE("a chain of layers alternates between two places") {
  std::vector<ArenaItem> items;
  for (int step = 0; step < 10; ++step) items.push_back({1000, step, step + 1});
  const ArenaPlan plan = plan_arena(items);
  check_plan(items, plan);
  CHECK(plan.total == 2 * padded(1000));
}

TEST_CASE("a smaller item uses the smallest gap it fits in") {
  // At step 1 there are gaps of 512 and 256 bytes between longer-lived items.
  const std::vector<ArenaItem> items = {{4096, 0, 2}, {512, 0, 0},  {2048, 0, 2},
                                        {256, 0, 0},  {1024, 0, 2}, {192, 1, 1}};
  const ArenaPlan plan = plan_arena(items);
  check_plan(items, plan);
  CHECK(plan.total == lower_bound(items));
}

TEST_CASE(
    "random lifetimes never overlap, stay near the lower bound and give the same plan twice") {
  std::mt19937 random(7);
  const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
  double worst = 0, sum = 0;
  const int rounds = 200;
  for (int round = 0; round < rounds; ++round) {
    std::vector<ArenaItem> items(1 + below(60));
    for (ArenaItem& item : items) {
      const int first = below(30);
      item = {static_cast<size_t>(below(5) ? below(100000) : below(3)), first, first + below(8)};
    }
    const ArenaPlan plan = plan_arena(items);
    check_plan(items, plan);
    CHECK(plan_arena(items).offsets == plan.offsets);
    const double ratio = lower_bound(items) ? double(plan.total) / lower_bound(items) : 1;
    worst = std::max(worst, ratio);
    sum += ratio;
  }
  CHECK(sum / rounds < 1.05);
  CHECK(worst < 1.5);
}

TEST_CASE("nothing to place takes no memory") {
  CHECK(plan_arena({}).total == 0);
  CHECK(plan_arena({{0, 0, 5}, {0, 1, 2}}).total == 0);
}

TEST_CASE("impossible items are errors") {
  CHECK_THROWS_AS(plan_arena({{64, 3, 2}}), std::invalid_argument);
  const size_t huge = std::numeric_limits<size_t>::max();
  CHECK_THROWS_AS(plan_arena({{huge, 0, 0}}), std::bad_alloc);
  CHECK_THROWS_AS(plan_arena({{huge / 4 + 1, 0, 1}, {huge / 4 + 1, 1, 2}}), std::bad_alloc);
  CHECK(plan_arena({{huge / 4 + 1, 0, 0}, {huge / 4 + 1, 1, 2}}).total == huge / 4 + 1);
}

TEST_CASE("AlignedBuffer is aligned, movable and fails cleanly") {
  for (size_t size : {1, 63, 64, 100, 3 << 20}) {
    AlignedBuffer buffer(size, true);
    CHECK(buffer.size() == size);
    CHECK(reinterpret_cast<uintptr_t>(buffer.data()) % kAlignment == 0);
    CHECK(std::all_of(buffer.data(), buffer.data() + size, [](char c) { return c == 0; }));
    buffer.data()[size - 1] = 'x';
    char* data = buffer.data();
    AlignedBuffer moved = std::move(buffer);
    CHECK(moved.data() == data);
    AlignedBuffer other;
    other = std::move(moved);
    CHECK(other.data() == data);
    CHECK(other.data()[size - 1] == 'x');
    CHECK(other.size() == size);
  }
  CHECK(AlignedBuffer(0).data() == nullptr);
  const size_t huge = std::numeric_limits<size_t>::max();
  for (size_t size : {huge, huge - 63, huge / 2})
    CHECK_THROWS_AS(AlignedBuffer{size}, std::bad_alloc);
  // Refused by the system, not by our arithmetic; a 32-bit process may really get 2 GB.
  if (sizeof(size_t) == 8) CHECK_THROWS_AS(AlignedBuffer{huge / 2 - 200}, std::bad_alloc);
}
