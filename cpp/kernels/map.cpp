// Loops over contiguous floats: add, clamp, functions of one input.
#include "epilogue.h"
#include "functions.h"
#include "vector.h"

namespace linnet {
namespace {

LINNET_INLINE Vec limited(Vec v, Limits limits) {
  Vec one[1][1] = {{v}};
  limit(one, 1, limits);
  return one[0][0];
}

void add_rows(const float* a, const float* b, float* y, int64_t count, Limits limits) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth)
    store(y + i, limited(add(load(a + i), load(b + i)), limits));
  const int64_t rest = count - i;
  if (rest) {
    const Vec sum = add(load_tail(a + i, rest, 0), load_tail(b + i, rest, 0));
    store_tail(y + i, rest, limited(sum, limits));
  }
}

void clamp_rows(const float* x, float* y, int64_t count, Limits limits) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) store(y + i, limited(load(x + i), limits));
  if (i < count) store_tail(y + i, count - i, limited(load_tail(x + i, count - i, 0), limits));
}

// Functions of one input: a new one is a function here and a row in the table below.
LINNET_INLINE Vec sigmoid(Vec x) { return div(splat(1), add(splat(1), exp(sub(splat(0), x)))); }

template <Vec (*kFunction)(Vec)>
void map_rows(const float* x, float* y, int64_t rows, ptrdiff_t step, int64_t count) {
  for (; rows > 0; --rows, x += step, y += step) {
    int64_t i = 0;
    for (; i + kWidth <= count; i += kWidth) store(y + i, kFunction(load(x + i)));
    if (i < count) store_tail(y + i, count - i, kFunction(load_tail(x + i, count - i, 0)));
  }
}

}  // namespace
}  // namespace linnet

LINNET_EXPORT(map)(linnet::Kernels* table) {
  table->add = linnet::add_rows;
  table->clamp = linnet::clamp_rows;
  table->map[static_cast<int>(linnet::MapCode::kSigmoid)] = linnet::map_rows<linnet::sigmoid>;
}
