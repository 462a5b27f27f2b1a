// Normalisations of rows: numbers divided by what others of their row come to.
#include "functions.h"
#include "vector.h"

namespace linnet {
namespace {

// Numbers of a row that are summed before their sum is added to the others'.
constexpr int64_t kPart = 1024;

// The lanes of a vector together, by halves.
template <typename Op>
LINNET_INLINE float together(Vec v, Op op) {
  float lanes[kWidth];
  store(lanes, v);
  for (int half = kWidth / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] = op(lanes[i], lanes[i + half]);
  }
  return lanes[0];
}
LINNET_INLINE float largest(Vec v) {
  return together(v, [](float a, float b) { return b > a ? b : a; });
}
LINNET_INLINE float sum_of(Vec v) {
  return together(v, [](float a, float b) { return a + b; });
}

// The largest is subtracted first, which is exact mathematics and keeps the exponential from
// overflowing.
void softmax_short_row(const float* x, float* y, int64_t count) {
  const Vec v = load_tail(x, count, -__builtin_inff());
  const Vec e = exp_nonpositive(sub(v, splat(largest(v))));
  store_tail(y, count, mul(e, splat(1.0f / sum_of(e))));
}

void softmax_row(const float* x, float* y, const NormalizeRows& r) {
  const int64_t count = r.count;
  if (count < kWidth) return softmax_short_row(x, y, count);
  // What is left after the whole vectors is the end of one that overlaps the last of them.
  const int64_t whole = count - count % kWidth, last = count - kWidth;
  float fresh[2 * kWidth];
  for (int i = 0; i < 2 * kWidth; ++i) fresh[i] = i < kWidth ? 0.0f : 1.0f;

  Vec tops[4];
  for (Vec& top : tops) top = load(x + last);
  int64_t i = 0;
  for (; i + 4 * kWidth <= whole; i += 4 * kWidth) {
    for (int j = 0; j < 4; ++j) tops[j] = max(tops[j], load(x + i + j * kWidth));
  }
  for (; i < whole; i += kWidth) tops[0] = max(tops[0], load(x + i));
  const Vec shift = splat(largest(max(max(tops[0], tops[1]), max(tops[2], tops[3]))));

  const Vec end = exp_nonpositive(sub(load(x + last), shift));  // before y, which may be x
  Vec total = mul(end, load(fresh + count % kWidth));
  for (int64_t part = 0; part < whole; part += kPart) {
    const int64_t stop = whole - part < kPart ? whole : part + kPart;
    Vec sum = splat(0);
    for (i = part; i < stop; i += kWidth) {
      const Vec e = exp_nonpositive(sub(load(x + i), shift));
      store(y + i, e);
      sum = add(sum, e);
    }
    total = add(total, sum);
  }
  const Vec scale = splat(1.0f / sum_of(total));
  for (i = 0; i < whole; i += kWidth) store(y + i, mul(load(y + i), scale));
  store(y + last, mul(end, scale));
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
