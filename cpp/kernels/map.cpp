// Functions of every element, of one input or of two, within limits.
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

// The functions. A new one is a function here and a row of the table at the end.

LINNET_INLINE Vec same(Vec x) { return x; }
// NaN if either is.
LINNET_INLINE Vec larger(Vec x, Vec z) { return select(equal(x, x), max(x, z), x); }
LINNET_INLINE Vec smaller(Vec x, Vec z) { return select(equal(x, x), min(x, z), x); }
LINNET_INLINE Vec prelu(Vec x, Vec z) { return select(less(x, splat(0)), mul(x, z), x); }

LINNET_INLINE Vec reciprocal(Vec x) { return div(splat(1), x); }
LINNET_INLINE Vec sign(Vec x) {
  return select(less(splat(0), x), splat(1), select(less(x, splat(0)), splat(-1), x));
}
// To even where two are as near. From 2^23 on all are whole.
LINNET_INLINE Vec round(Vec x) {
  const Vec whole = splat(8388608.0f), m = absolute(x);
  return select(less(m, whole), with_sign(sub(add(m, whole), whole), x), x);
}
LINNET_INLINE Vec floor(Vec x) {
  const Vec r = round(x);
  return select(less(x, r), sub(r, splat(1)), r);
}
LINNET_INLINE Vec ceil(Vec x) { return negative(floor(negative(x))); }

// Of any number: those below 2^-126 are scaled first.
LINNET_INLINE Vec log_of_any(Vec x) {
  const Ints tiny = less(x, splat(0x1p-126f));
  Vec y = log(select(tiny, mul(x, splat(0x1p23f)), x));
  y = sub(y, select(tiny, splat(15.9423851f), splat(0)));  // 23 ln 2
  y = select(equal(x, splat(0)), splat(-kInfinity), y);
  y = select(less(x, splat(0)), splat(__builtin_nanf("")), y);
  return select(less(x, splat(kInfinity)), y, x);  // NaN and infinity stay
}
// ln(1 + t) for 0 <= t <= 1: the logarithm of what 1 + t is rounded to, and what that lost.
LINNET_INLINE Vec log_of_one_and(Vec t) {
  const Vec u = add(splat(1), t);
  return add(log(u), div(sub(t, sub(u, splat(1))), u));
}

LINNET_INLINE Vec sigmoid(Vec x) { return div(splat(1), add(splat(1), exp(negative(x)))); }
// Near zero the polynomial of Cephes tanhf.
LINNET_INLINE Vec tanh(Vec x) {
  const Vec z = mul(x, x), m = absolute(x);
  Vec p = splat(-5.70498872745e-3f);
  p = fma(splat(2.06390887954e-2f), p, z);
  p = fma(splat(-5.37397155531e-2f), p, z);
  p = fma(splat(1.33314422036e-1f), p, z);
  p = fma(splat(-3.33332819422e-1f), p, z);
  const Vec near = fma(x, mul(p, z), x);
  const Vec far = sub(splat(1), div(splat(2), add(splat(1), exp(add(m, m)))));
  return select(less(m, splat(0.625f)), near, with_sign(far, x));
}
LINNET_INLINE Vec softplus(Vec x) {
  return add(max(splat(0), x), log_of_one_and(exp(negative(absolute(x)))));
}
LINNET_INLINE Vec softsign(Vec x) { return div(x, add(splat(1), absolute(x))); }
LINNET_INLINE Vec swish(Vec x) {
  const Vec finite = max(splat(-3e38f), x);
  return div(finite, add(splat(1), exp(negative(finite))));
}
LINNET_INLINE Vec clipped_line(Vec x, Vec a, Vec b) {
  return min(splat(1), max(splat(0), fma(b, a, x)));
}
LINNET_INLINE Vec hard_swish(Vec x) {
  return mul(x, clipped_line(x, splat(1.0f / 6), splat(0.5f)));
}
// x tanh(ln(1 + e^x)), by e^x alone.
LINNET_INLINE Vec mish(Vec x) {
  const Vec finite = max(splat(-3e38f), x), e = exp(min(splat(20), finite));
  const Vec n = mul(e, add(e, splat(2)));
  return mul(finite, div(n, add(n, splat(2))));
}
// e^(m^2 / 2) times the integral of the normal distribution beyond m >= 0: a polynomial of
// 1 / (m + sqrt 8), to 5e-8 of it up to 14.
LINNET_INLINE Vec scaled_tail(Vec m) {
  const Vec w = div(splat(1), add(m, splat(2.8284271247f)));
  Vec p = splat(-342.162988f);
  p = fma(splat(582.80842f), p, w);
  p = fma(splat(-352.77f), p, w);
  p = fma(splat(71.185178f), p, w);
  p = fma(splat(-2.40990983f), p, w);
  p = fma(splat(6.48598868f), p, w);
  p = fma(splat(2.75040397f), p, w);
  p = fma(splat(1.1295013f), p, w);
  return mul(w, fma(splat(0.398930436f), p, w));
}
LINNET_INLINE Vec erf(Vec x) {
  const Vec z = mul(x, x), m = absolute(x);
  Vec p = splat(-9.635010862009697e-06f);
  p = fma(splat(0.00011254679938077494f), p, z);
  p = fma(splat(-0.0008482518505127656f), p, z);
  p = fma(splat(0.005220924423516793f), p, z);
  p = fma(splat(-0.026865392782454797f), p, z);
  p = fma(splat(0.11283781856542442f), p, z);
  p = fma(splat(-0.37612638427933665f), p, z);
  p = fma(splat(1.1283791670577348f), p, z);
  const Vec near = min(splat(4), m);  // where it is one
  const Vec beyond =
      mul(scaled_tail(mul(splat(1.41421356f), near)), exp(negative(mul(near, near))));
  const Vec far = sub(splat(1), add(beyond, beyond));
  return select(less(m, splat(1)), mul(x, p), select(equal(x, x), with_sign(far, x), x));
}
// x times the integral of the normal distribution up to x. Rounding x^2 would show in its
// exponential, so what it loses is a factor of its own.
LINNET_INLINE Vec gelu(Vec x) {
  const Vec m = min(splat(20), absolute(x)), square = mul(m, m);
  const Vec high = from_bits(bits_of(m) & ~0xfff), low = sub(m, high);
  const Vec lost = fma(fma(sub(mul(high, high), square), add(high, high), low), low, low);
  Vec share = mul(exp(mul(splat(-0.5f), square)), scaled_tail(m));
  share = fma(share, share, mul(splat(-0.5f), lost));
  // Where the two halves are nearly one, their difference to it is more exact.
  Vec p = splat(6.21739102e-07f);
  p = fma(splat(-9.37194743e-06f), p, square);
  p = fma(splat(0.000115367221f), p, square);
  p = fma(splat(-0.00118729384f), p, square);
  p = fma(splat(0.00997354834f), p, square);
  p = fma(splat(-0.0664903792f), p, square);
  p = fma(splat(0.39894228f), p, square);
  const Vec near = mul(x, fma(splat(0.5f), x, p));
  const Vec far = select(less(x, splat(0)), mul(x, share), fma(x, negative(x), share));
  return select(less(m, splat(0.6f)), near, far);
}
LINNET_INLINE Vec leaky(Vec x, Vec a, Vec) { return select(less(x, splat(0)), mul(a, x), x); }
// b x, or a (e^x - 1) below zero.
LINNET_INLINE Vec elu(Vec x, Vec a, Vec b) {
  return select(less(x, splat(0)), mul(a, exp_less_one(min(splat(0), x))), mul(b, x));
}

// x^z by the logarithm of |x|, so off by up to |z ln x| units of the last place.
LINNET_INLINE Vec pow(Vec x, Vec z) {
  const Vec m = exp(mul(z, log_of_any(absolute(x)))), half = mul(splat(0.5f), z);
  const Ints whole = equal(floor(z), z), even = equal(floor(half), half);
  const Vec below = select(even, m, select(whole, negative(m), splat(__builtin_nanf(""))));
  const Vec y = select(less(x, splat(0)), below, m);
  return select(equal(z, splat(0)), splat(1), y);
}

// What is done with each vector of a row.

template <Vec (*kFunction)(Vec)>
struct Of {
  static constexpr bool kTwo = false;
  explicit Of(const MapRows&) {}
  LINNET_INLINE Vec operator()(Vec x, Vec) const { return kFunction(x); }
};

template <Vec (*kFunction)(Vec, Vec, Vec)>
struct With {
  static constexpr bool kTwo = false;
  explicit With(const MapRows& r) : a(splat(r.function.a)), b(splat(r.function.b)) {}
  LINNET_INLINE Vec operator()(Vec x, Vec) const { return kFunction(x, a, b); }
  const Vec a, b;
};

template <Vec (*kFunction)(Vec, Vec)>
struct OfTwo {
  static constexpr bool kTwo = true;
  explicit OfTwo(const MapRows&) {}
  LINNET_INLINE Vec operator()(Vec x, Vec z) const { return kFunction(x, z); }
};

// Rows of which only the last vector is not whole.
template <typename F>
void tails(const MapRows& r) {
  const F f(r);
  int32_t lanes[kWidth];
  for (int i = 0; i < kWidth; ++i) lanes[i] = -static_cast<int32_t>(i < r.count % kWidth);
  Ints inside;
  __builtin_memcpy(&inside, lanes, sizeof inside);
  const int64_t last = r.count - r.count % kWidth;
  const float *x = r.x + last, *z = r.z + (r.z_one ? 0 : last);
  float* y = r.y + last;
  for (int64_t row = 0; row < r.rows; ++row, x += r.x_row, z += r.z_row, y += r.y_row) {
    const Vec second = !F::kTwo ? splat(0) : r.z_one ? splat(*z) : load(z);
    store(y, select(inside, limited(f(load(x), second), r.limits), splat(0)));
  }
}

template <typename F>
void rows(const MapRows& r) {
  if (r.padded && r.count % kWidth) {
    MapRows whole = r;
    whole.count -= r.count % kWidth, whole.padded = false;
    if (whole.count) rows<F>(whole);
    return tails<F>(r);
  }
  const F f(r);
  const float *x = r.x, *z = r.z;
  float* y = r.y;
  for (int64_t row = 0; row < r.rows; ++row, x += r.x_row, z += r.z_row, y += r.y_row) {
    const int64_t rest = r.count % kWidth, whole = r.count - rest;
    if (F::kTwo && !r.z_one) {
      for (int64_t i = 0; i < whole; i += kWidth)
        store(y + i, limited(f(load(x + i), load(z + i)), r.limits));
    } else {
      const Vec one = F::kTwo ? splat(*z) : splat(0);
      for (int64_t i = 0; i < whole; i += kWidth)
        store(y + i, limited(f(load(x + i), one), r.limits));
    }
    if (rest == 0) continue;
    const Vec last = !F::kTwo ? splat(0) : r.z_one ? splat(*z) : load_tail(z + whole, rest, 0);
    store_tail(y + whole, rest, limited(f(load_tail(x + whole, rest, 0), last), r.limits));
  }
}

}  // namespace
}  // namespace linnet

LINNET_EXPORT(map)(linnet::Kernels* table) {
  using namespace linnet;  // NOLINT: of this file alone
#define LINNET_ROW(code, ...) table->map[static_cast<int>(MapCode::code)] = rows<__VA_ARGS__>
  LINNET_ROW(kCopy, Of<same>);
  LINNET_ROW(kAdd, OfTwo<add>);
  LINNET_ROW(kSub, OfTwo<sub>);
  LINNET_ROW(kMul, OfTwo<mul>);
  LINNET_ROW(kDiv, OfTwo<div>);
  LINNET_ROW(kMax, OfTwo<larger>);
  LINNET_ROW(kMin, OfTwo<smaller>);
  LINNET_ROW(kPRelu, OfTwo<prelu>);
  LINNET_ROW(kPow, OfTwo<pow>);
  LINNET_ROW(kSigmoid, Of<sigmoid>);
  LINNET_ROW(kTanh, Of<tanh>);
  LINNET_ROW(kExp, Of<exp>);
  LINNET_ROW(kLog, Of<log_of_any>);
  LINNET_ROW(kSqrt, Of<square_root>);
  LINNET_ROW(kReciprocal, Of<reciprocal>);
  LINNET_ROW(kNeg, Of<negative>);
  LINNET_ROW(kAbs, Of<absolute>);
  LINNET_ROW(kSign, Of<sign>);
  LINNET_ROW(kFloor, Of<floor>);
  LINNET_ROW(kCeil, Of<ceil>);
  LINNET_ROW(kRound, Of<round>);
  LINNET_ROW(kSoftplus, Of<softplus>);
  LINNET_ROW(kSoftsign, Of<softsign>);
  LINNET_ROW(kSwish, Of<swish>);
  LINNET_ROW(kHardSwish, Of<hard_swish>);
  LINNET_ROW(kMish, Of<mish>);
  LINNET_ROW(kErf, Of<erf>);
  LINNET_ROW(kGelu, Of<gelu>);
  LINNET_ROW(kLeaky, With<leaky>);
  LINNET_ROW(kElu, With<elu>);
  LINNET_ROW(kHardSigmoid, With<clipped_line>);
#undef LINNET_ROW
}
