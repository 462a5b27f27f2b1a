// Loops over contiguous floats: add, clamp, functions of one input, softmax.
#include "epilogue.h"
#include "vector.h"

namespace linnet {
namespace {

LINNET_INLINE Vec load_tail(const float* p, int64_t count, float fill) {
  float tail[kWidth];
  for (int i = 0; i < kWidth; ++i) tail[i] = i < count ? p[i] : fill;
  return load(tail);
}

LINNET_INLINE void store_tail(float* p, int64_t count, Vec v) {
  float tail[kWidth];
  store(tail, v);
  for (int64_t i = 0; i < count; ++i) p[i] = tail[i];
}

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

// Adding and subtracting this rounds to an integer, which also stays in the low bits of the
// sum: 1.5 * 2^23.
constexpr float kRound = 12582912.0f;
constexpr float kLeast = -88.02969f;  // -127 ln 2

// e^x = (1 + r + p r^2) * 2^n, where t holds n in its low bits.
struct Exponential {
  Vec r, p, t;
};

// For |x| below 90: 2^n e^r with |r| <= ln(2)/2 and the Taylor-like minimax polynomial of Cephes
// expf (about 1 ulp).
LINNET_INLINE Exponential exponential(Vec x) {
  const Vec t = fma(splat(kRound), x, splat(1.44269504f));
  const Vec n = sub(t, splat(kRound));
  Vec r = fma(x, n, splat(-0.693359375f));
  r = fma(r, n, splat(2.12194440e-4f));
  Vec p = splat(1.9875691500e-4f);
  p = fma(splat(1.3981999507e-3f), p, r);
  p = fma(splat(8.3334519073e-3f), p, r);
  p = fma(splat(4.1665795894e-2f), p, r);
  p = fma(splat(1.6666665459e-1f), p, r);
  p = fma(splat(5.0000001201e-1f), p, r);
  return {r, p, t};
}

// e^x for x <= 0. Results below 2^-126 are zero, on every ISA.
LINNET_INLINE Vec exp_nonpositive(Vec x) {
  const Exponential e = exponential(max(splat(kLeast), x));
  return mul(fma(add(e.r, splat(1.0f)), e.p, mul(e.r, e.r)), exponent(e.t));
}

// e^x for any x, about as exact, infinite where it is beyond all floats. 2^128 is no float, so the
// last doubling is one of its own.
LINNET_INLINE Vec exp(Vec x) {
  const Exponential e = exponential(min(splat(89.0f), max(splat(kLeast), x)));
  const Vec t = min(splat(kRound + 127), e.t);
  const Vec scale = add(splat(1), fma(e.r, e.p, mul(e.r, e.r)));
  return mul(mul(scale, exponent(t)), exponent(add(splat(kRound), sub(e.t, t))));
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

void softmax_row(const float* x, float* y, int64_t count) {
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

}  // namespace
}  // namespace linnet

LINNET_EXPORT(map)(linnet::Kernels* table) {
  table->add = linnet::add_rows;
  table->clamp = linnet::clamp_rows;
  table->map[static_cast<int>(linnet::MapCode::kSigmoid)] = linnet::map_rows<linnet::sigmoid>;
  table->softmax = linnet::softmax_row;
}
