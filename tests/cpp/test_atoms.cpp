#include <doctest/doctest.h>

#include <vector>

#include "core/atoms.h"

using namespace linnet;

namespace {

using Atoms = std::vector<Atom>;

}  // namespace

TEST_CASE("atoms: atoms that follow each other are one") {
  CHECK(merged({{2, 12}, {3, 4}, {4, 1}}) == Atoms{{24, 1}});
  CHECK(merged({{1, 7}, {3, 1}, {1, 9}}) == Atoms{{3, 1}});
  CHECK(merged({{3, 1}, {4, 3}}) == Atoms{{3, 1}, {4, 3}});
  CHECK(merged({{1, 5}}).empty());
}

TEST_CASE("atoms: atoms are cut where axes end, and only there") {
  const auto axes = split({{24, 1}}, {0, 2, 3, 4});
  REQUIRE(axes);
  CHECK((*axes)[0] == Atoms{{2, 12}});
  CHECK((*axes)[1] == Atoms{{3, 4}});
  CHECK((*axes)[2] == Atoms{{4, 1}});
  // An image with channels last, flattened, keeps its atoms.
  const auto flat = split(atoms_of({8, 2, 3}, Layout::kNhwc, 0, 8), {0, 48});
  REQUIRE(flat);
  CHECK((*flat)[0] == Atoms{{8, 1}, {6, 8}});
  CHECK_FALSE(split({{4, 1}, {6, 4}}, {0, 3, 8}));
  CHECK(split({}, {0, 1, 1}));
}

TEST_CASE("atoms: layouts") {
  CHECK(merged(atoms_of({5, 2, 3}, Layout::kNchw, 0, 8)) == Atoms{{30, 1}});
  CHECK(merged(atoms_of({5, 2, 3}, Layout::kNhwc, 0, 8)) == Atoms{{5, 1}, {6, 8}});
  CHECK(merged(atoms_of({8, 2, 3}, Layout::kNhwc, 20, 8)) == Atoms{{8, 1}, {6, 24}});
  CHECK(merged(atoms_of({16, 1, 1}, Layout::kNhwc, 0, 8)) == Atoms{{16, 1}});
}

TEST_CASE("atoms: two places are walked in loops of their common parts") {
  const auto both = loops({{4, 1}, {6, 4}}, {{24, 1}});
  REQUIRE(both);
  REQUIRE(both->size() == 2);
  CHECK((*both)[0].count == 4);
  CHECK((*both)[0].x == 1);
  CHECK((*both)[0].y == 6);
  CHECK((*both)[1].count == 6);
  CHECK((*both)[1].x == 4);
  CHECK((*both)[1].y == 1);
  CHECK_FALSE(loops({{4, 100}, {6, 1}}, {{6, 100}, {4, 1}}));
  CHECK_FALSE(loops({{4, 1}}, {{5, 1}}));
  CHECK(loops({{1, 3}}, {})->empty());
}
