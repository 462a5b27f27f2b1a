// Where numbers lie that regular steps lead to.
#pragma once

#include <optional>
#include <vector>

#include "core/types.h"

namespace linnet {

// So many numbers, so far apart.
struct Atom {
  int64_t count, stride;
  bool operator==(const Atom& o) const { return count == o.count && stride == o.stride; }
};

// The same atoms as few as possible: none of one number, and neighbours joined where they follow
// each other in memory.
std::vector<Atom> merged(const std::vector<Atom>& atoms);

// The atoms of each axis of `shape`, without its batch. Nothing where an axis ends inside an atom
// that does not divide there.
std::optional<std::vector<std::vector<Atom>>> split(const std::vector<Atom>& atoms,
                                                    const Shape& shape);

// The atoms of an image of `dims` in a layout, as a slice of an image of `pitch` channels or, with
// 0, as one of its own; for vectors of `width` numbers.
std::vector<Atom> atoms_of(const Dims& dims, Layout layout, int64_t pitch, int width);

// Walking two places at once, the same numbers in the same order.
struct Loop {
  int64_t count, x, y;
};

// The loops that lead through `x` and `y` together, the last the fastest; nothing where their atoms
// have no common parts.
std::optional<std::vector<Loop>> loops(const std::vector<Atom>& x, const std::vector<Atom>& y);

}  // namespace linnet
