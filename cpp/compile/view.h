// Where a value lies, whatever its shape: the means to reshape, transpose and slice without moving
// anything.
#pragma once

#include "core/atoms.h"

namespace linnet {

// A value as `n` images, the indices of its axis 0, each as atoms: the last the fastest in the
// order of the value's other axes. An axis may be several atoms, and an atom several axes: the
// shape is not part of a view.
struct View {
  int block = -1;  // -1: nowhere yet
  int64_t n = 1;
  DType type = DType::kF32;  // of its numbers
  int64_t offset = 0;        // numbers, from the beginning of the block's first image
  int64_t image = 0;         // numbers from one image to the next
  std::vector<Atom> atoms;
  Dims made;           // of the image that the numbers were written as
  bool zeros = false;  // behind the channels, up to a whole vector
};

// The view with axis 0 among its atoms, as a single image.
View joined(View view);
// The way back: shape[0] images. False, and nothing is changed, where they do not lie in equal
// steps.
bool part(View& view, const Shape& shape);

// Changes of a view of `shape` that need no copy; false, and nothing is changed, where one does.
// `axes` are the old axes in their new order, beginning with 0, the batch.
bool transpose(View& view, const Shape& shape, const std::vector<int64_t>& axes);
// Keeps `count` of the numbers of an axis after the batch, every `step`th from `first` on.
bool slice(View& view, const Shape& shape, size_t axis, int64_t first, int64_t step, int64_t count);

}  // namespace linnet
