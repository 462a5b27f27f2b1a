// Normalisations of rows: numbers divided by what others of their row come to.
#include "functions.h"
#include "vector.h"

namespace linnet {
namespace {

// Numbers of a row that are summed before their sum is added to the others'.
constexpr int64_t kPart = 1024;

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
  for (int64_t part = 0; part < whole; part += kPart) {
    const int64_t end = whole - part < kPart ? whole : part + kPart;
    Vec sum = splat(0);
    for (int64_t i = part; i < end; i += kWidth) {
      const Vec e = exp_nonpositive(sub(load(x + i), shift));
      store(y + i, e);
      sum = add(sum, e);
    }
    total = add(total, sum);
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

// Of the numbers at `first` and after it those that a row of `count` has; zero for others.
LINNET_INLINE Vec load_within(const float* p, int64_t first, int64_t count) {
  if (first >= 0 && first + kWidth <= count) return load(p + first);
  float lanes[kWidth];
  for (int i = 0; i < kWidth; ++i)
    lanes[i] = first + i >= 0 && first + i < count ? p[first + i] : 0;
  return load(lanes);
}

// x / (c + a / size * sum of squares of neighbours)^b.
void lrn_row(const float* x, float* y, const NormalizeRows& r) {
  const int64_t before = (r.size - 1) / 2, after = r.size - 1 - before;
  const Vec scale = splat(r.a / static_cast<float>(r.size)), bias = splat(r.c);
  for (int64_t i = 0; i < r.count; i += kWidth) {
    const int64_t first = i > before                ? i - before
                          : 1 - kWidth > i - before ? 1 - kWidth
                                                    : i - before;
    const int64_t end = i + after < r.count ? i + after + 1 : r.count;
    Vec sum = splat(0);
    for (int64_t j = first; j < end; ++j) {
      const Vec v = load_within(x, j, r.count);
      sum = fma(sum, v, v);
    }
    const Vec power = exp(mul(splat(-r.b), log(fma(bias, scale, sum))));
    const Vec result = mul(load_within(x, i, r.count), power);
    if (i + kWidth <= r.count) {
      store(y + i, result);
    } else {
      store_tail(y + i, r.count - i, result);
    }
  }
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
  table->normalize[static_cast<int>(NormalizeCode::kLrn)] = linnet::rows<linnet::lrn_row>;
}
