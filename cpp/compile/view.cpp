#include "compile/view.h"

namespace linnet {

View joined(View view) {
  view.atoms.insert(view.atoms.begin(), {view.n, view.image});
  view.image *= view.n;
  view.n = 1;
  view.made = {}, view.zeros = false;
  return view;
}

bool part(View& view, const Shape& shape) {
  Shape inside = shape;
  inside.insert(inside.begin(), 0);
  const auto parts = split(view.atoms, inside);
  if (!parts || (*parts)[0].size() > 1) return false;
  view.n = shape[0];
  if (!(*parts)[0].empty()) view.image = (*parts)[0][0].stride;
  view.atoms.clear();
  for (size_t axis = 1; axis < parts->size(); ++axis)
    view.atoms.insert(view.atoms.end(), (*parts)[axis].begin(), (*parts)[axis].end());
  return true;
}

bool transpose(View& view, const Shape& shape, const std::vector<int64_t>& axes) {
  const auto parts = split(view.atoms, shape);
  if (!parts) return false;
  view.atoms.clear();
  view.zeros = false;
  for (size_t i = 1; i < axes.size(); ++i) {
    const auto& part = (*parts)[static_cast<size_t>(axes[i]) - 1];
    view.atoms.insert(view.atoms.end(), part.begin(), part.end());
  }
  return true;
}

bool slice(View& view, const Shape& shape, size_t axis, int64_t first, int64_t step,
           int64_t count) {
  auto parts = split(view.atoms, shape);
  if (!parts) return false;
  std::vector<Atom>& sliced = (*parts)[axis - 1];
  if (sliced.size() > 1) return false;
  if (!sliced.empty()) {
    view.offset += first * sliced[0].stride;
    sliced[0] = {count, sliced[0].stride * step};
  }
  view.atoms.clear();
  view.zeros = false;
  for (const auto& part : *parts) view.atoms.insert(view.atoms.end(), part.begin(), part.end());
  return true;
}

}  // namespace linnet
