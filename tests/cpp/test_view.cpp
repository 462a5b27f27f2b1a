#include <doctest/doctest.h>

#include <vector>

#include "compile/view.h"

using namespace linnet;

namespace {

// Where the numbers lie, one after the other in the order of the axes.
std::vector<int64_t> places(const View& view) {
  std::vector<int64_t> all = {view.offset};
  for (const Atom& atom : view.atoms) {
    std::vector<int64_t> more;
    for (const int64_t place : all) {
      for (int64_t i = 0; i < atom.count; ++i) more.push_back(place + i * atom.stride);
    }
    all = more;
  }
  return all;
}

View view_of(int64_t image, std::vector<Atom> atoms) {
  View view;
  view.block = 0, view.image = image, view.atoms = std::move(atoms);
  return view;
}

View dense(int64_t count) { return view_of(count, {{count, 1}}); }

}  // namespace

TEST_CASE("view: a transpose permutes, whatever the layout") {
  View view = dense(24);
  REQUIRE(transpose(view, {0, 2, 3, 4}, {0, 3, 1, 2}));
  std::vector<int64_t> want;
  for (int64_t w = 0; w < 4; ++w) {
    for (int64_t c = 0; c < 2; ++c) {
      for (int64_t h = 0; h < 3; ++h) want.push_back(c * 12 + h * 4 + w);
    }
  }
  CHECK(places(view) == want);
  // Back again: nothing has moved.
  REQUIRE(transpose(view, {0, 4, 2, 3}, {0, 2, 3, 1}));
  CHECK(merged(view.atoms) == std::vector<Atom>{{24, 1}});
}

TEST_CASE("view: channel shuffle of an image with channels last is a permutation of its atoms") {
  View view = view_of(6 * 8, atoms_of({6, 2, 4}, Layout::kNhwc, 0, 8));
  REQUIRE(transpose(view, {0, 2, 3, 2, 4}, {0, 2, 1, 3, 4}));
  std::vector<int64_t> want;
  for (const int64_t c : {0, 3, 1, 4, 2, 5}) {
    for (int64_t i = 0; i < 8; ++i) want.push_back(c + i * 8);
  }
  CHECK(places(view) == want);
}

TEST_CASE("view: a slice moves the beginning") {
  View view = dense(24);
  REQUIRE(slice(view, {0, 2, 3, 4}, 2, 2, -1, 2));
  CHECK(places(view) ==
        std::vector<int64_t>{8, 9, 10, 11, 4, 5, 6, 7, 20, 21, 22, 23, 16, 17, 18, 19});
  View flat = view_of(48, atoms_of({8, 2, 3}, Layout::kNhwc, 0, 8));
  CHECK_FALSE(slice(flat, {0, 48}, 1, 4, 1, 8));
  CHECK(flat.offset == 0);
}

TEST_CASE("axis 0 becomes an axis like others and back") {
  View view;
  view.n = 2, view.image = 12;
  view.atoms = {{3, 4}, {4, 1}};
  View whole = joined(view);
  CHECK(whole.n == 1);
  REQUIRE(part(whole, {6, 4}));
  CHECK(whole.n == 6);
  CHECK(whole.image == 4);
  CHECK(merged(whole.atoms) == std::vector<Atom>{{4, 1}});
  // Rows of channels-last pixels lie in no equal steps.
  view.atoms = {{3, 1}, {4, 3}};
  whole = joined(view);
  CHECK_FALSE(part(whole, {6, 4}));
  CHECK(whole.n == 1);
}
