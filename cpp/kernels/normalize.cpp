// Normalisations of rows: numbers divided by what others of their row come to.
#include "functions.h"
#include "vector.h"

namespace linnet {
namespace {

void softmax_row(const float* x, float* y, const NormalizeRows& r) {
  const int64_t count = r.count;
  const float infinity = __builtin_inff();
  const int64_t whole = count - count % kWidth;
  const int64_t rest = count - whole;
  float lanes[kWidth];

  Vec top = splat(-infinity);
  for (int64_t i = 0; i < whole; i += kWidth) top = max(top, load(x + i));
  if (rest) top = max(top, load_tail(x + whole, rest, -infinity));
  store(lanes, top);
  float largest = lanes[0];
  for (int i = 1; i < kWidth; ++i) largest = lanes[i] > largest ? lanes[i] : largest;

  // The shift is exact mathematics and keeps the exponential from overflowing.
  const Vec shift = splat(largest);
  Vec total = splat(0);
  for (int64_t i = 0; i < whole; i += kWidth) {
    const Vec e = exp_nonpositive(sub(load(x + i), shift));
    store(y + i, e);
    total = add(total, e);
  }
  if (rest) {
    const Vec e = exp_nonpositive(sub(load_tail(x + whole, rest, -infinity), shift));
    store_tail(y + whole, rest, e);
    total = add(total, e);
  }
  store(lanes, total);
  float sum = 0;
  for (int i = 0; i < kWidth; ++i) sum += lanes[i];

  const Vec scale = splat(1.0f / sum);
  for (int64_t i = 0; i < whole; i += kWidth) store(y + i, mul(load(y + i), scale));
  if (rest) store_tail(y + whole, rest, mul(load_tail(y + whole, rest, 0), scale));
}

template <void (*kRow)(const float* x, float* y, const NormalizeRows& r)>
void rows(const NormalizeRows& r) {
  for (int64_t i = 0; i < r.rows; ++i) kRow(r.x + i * r.x_row, r.y + i * r.y_row, r);
}

}  // namespace
}  // namespace linnet

LINNET_EXPORT(normalize)(linnet::Kernels* table) {
  using linnet::NormalizeCode;
  table->normalize[static_cast<int>(NormalizeCode::kSoftmax)] = linnet::rows<linnet::softmax_row>;
}
