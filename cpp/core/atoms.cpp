#include "core/atoms.h"

#include <algorithm>

namespace linnet {

std::vector<Atom> merged(const std::vector<Atom>& atoms) {
  std::vector<Atom> few;
  for (const Atom& atom : atoms) {
    if (atom.count == 1) continue;
    if (!few.empty() && few.back().stride == atom.stride * atom.count) {
      few.back() = {few.back().count * atom.count, atom.stride};
    } else {
      few.push_back(atom);
    }
  }
  return few;
}

std::optional<std::vector<std::vector<Atom>>> split(const std::vector<Atom>& atoms,
                                                    const Shape& shape) {
  std::vector<std::vector<Atom>> axes;
  const std::vector<Atom> few = merged(atoms);
  auto next = few.begin();
  int64_t left = next == few.end() ? 1 : next->count;  // of the atom at hand
  for (size_t axis = 1; axis < shape.size(); ++axis) {
    axes.emplace_back();
    for (int64_t wanted = shape[axis]; wanted > 1;) {
      if (left == 1) {
        if (++next == few.end()) return std::nullopt;
        left = next->count;
      }
      const int64_t taken = std::min(left, wanted);
      if (left % taken != 0 || wanted % taken != 0) return std::nullopt;
      left /= taken, wanted /= taken;
      axes.back().push_back({taken, next->stride * left});
    }
  }
  return axes;
}

std::vector<Atom> atoms_of(const Dims& dims, Layout layout, int64_t pitch, int width) {
  if (layout == Layout::kNchw) return {{dims.c, dims.h * dims.w}, {dims.h, dims.w}, {dims.w, 1}};
  const int64_t pixel = round_up(pitch ? pitch : dims.c, width);
  return {{dims.c, 1}, {dims.h, dims.w * pixel}, {dims.w, pixel}};
}

std::optional<std::vector<Loop>> loops(const std::vector<Atom>& x, const std::vector<Atom>& y) {
  std::vector<Atom> from = merged(x), to = merged(y);
  std::vector<Loop> all;
  while (!from.empty() && !to.empty()) {
    Atom &a = from.back(), &b = to.back();
    const int64_t count = std::min(a.count, b.count);
    if (a.count % count != 0 || b.count % count != 0) return std::nullopt;
    all.insert(all.begin(), {count, a.stride, b.stride});
    a = {a.count / count, a.stride * count}, b = {b.count / count, b.stride * count};
    if (a.count == 1) from.pop_back();
    if (b.count == 1) to.pop_back();
  }
  if (!from.empty() || !to.empty()) return std::nullopt;
  return all;
}

}  // namespace linnet
