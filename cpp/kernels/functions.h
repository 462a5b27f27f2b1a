// Functions of a vector that kernels share.
#pragma once

#include "vector.h"

namespace linnet {
namespace {

// Of rows whose length is no multiple of a vector: lanes beyond `count` are `fill`.
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

// The bits of a vector's floats.
#if defined(LINNET_ISA_scalar)
using Ints = int32_t;
LINNET_INLINE Vec from_integers(Ints i) { return static_cast<Vec>(i); }
#else
using Ints = int32_t __attribute__((vector_size(sizeof(Vec))));
LINNET_INLINE Vec from_integers(Ints i) { return __builtin_convertvector(i, Vec); }
#endif
LINNET_INLINE Ints bits_of(Vec v) {
  Ints i;
  __builtin_memcpy(&i, &v, sizeof i);
  return i;
}
LINNET_INLINE Vec from_bits(Ints i) {
  Vec v;
  __builtin_memcpy(&v, &i, sizeof v);
  return v;
}

// All ones where the comparison holds, else zeros.
#if defined(LINNET_ISA_scalar)
LINNET_INLINE Ints less(Vec a, Vec b) { return -static_cast<Ints>(a < b); }
LINNET_INLINE Ints equal(Vec a, Vec b) { return -static_cast<Ints>(a == b); }
#else
template <typename Mask>
LINNET_INLINE Ints ints_of(Mask m) {
  Ints i;
  __builtin_memcpy(&i, &m, sizeof i);
  return i;
}
#if defined(LINNET_ISA_neon) || defined(LINNET_ISA_neon_vfpv4)
LINNET_INLINE Ints less(Vec a, Vec b) { return ints_of(vcltq_f32(a, b)); }
LINNET_INLINE Ints equal(Vec a, Vec b) { return ints_of(vceqq_f32(a, b)); }
#else
LINNET_INLINE Ints less(Vec a, Vec b) { return ints_of(a < b); }
LINNET_INLINE Ints equal(Vec a, Vec b) { return ints_of(a == b); }
#endif
#endif
LINNET_INLINE Vec select(Ints mask, Vec yes, Vec no) {
  return from_bits((bits_of(yes) & mask) | (bits_of(no) & ~mask));
}

LINNET_INLINE Vec negative(Vec x) { return from_bits(bits_of(x) ^ INT32_MIN); }
LINNET_INLINE Vec absolute(Vec x) { return from_bits(bits_of(x) & INT32_MAX); }
LINNET_INLINE Vec with_sign(Vec magnitude, Vec x) {
  return from_bits((bits_of(magnitude) & INT32_MAX) | (bits_of(x) & INT32_MIN));
}

// ln x of normal numbers x > 0: x = 2^n (1 + f) with 1 + f about 1, and the polynomial of Cephes
// logf (about 1 ulp).
LINNET_INLINE Vec log(Vec x) {
  constexpr int32_t kRootHalf = 0x3f3504f3;
  // Without the sign, of which the callers take care: with it the difference may overflow.
  const Ints t = (bits_of(x) & INT32_MAX) - kRootHalf;
  const Vec n = from_integers(t >> 23);
  const Vec f = sub(from_bits((t & 0x7fffff) + kRootHalf), splat(1));
  const Vec f2 = mul(f, f);
  Vec p = splat(7.0376836292e-2f);
  p = fma(splat(-1.1514610310e-1f), p, f);
  p = fma(splat(1.1676998740e-1f), p, f);
  p = fma(splat(-1.2420140846e-1f), p, f);
  p = fma(splat(1.4249322787e-1f), p, f);
  p = fma(splat(-1.6668057665e-1f), p, f);
  p = fma(splat(2.0000714765e-1f), p, f);
  p = fma(splat(-2.4999993993e-1f), p, f);
  p = fma(splat(3.3333331174e-1f), p, f);
  p = mul(mul(p, f), f2);
  p = fma(p, n, splat(-2.12194440e-4f));
  p = fma(p, f2, splat(-0.5f));
  return fma(add(f, p), n, splat(0.693359375f));
}

// e^x - 1 for x <= 0.
LINNET_INLINE Vec exp_less_one(Vec x) {
  const Exponential e = exponential(max(splat(kLeast), x));
  const Vec scale = exponent(e.t);
  return add(mul(fma(e.r, e.p, mul(e.r, e.r)), scale), sub(scale, splat(1)));
}

LINNET_INLINE Vec square_root(Vec x) {
#if defined(LINNET_ISA_neon_vfpv4)
  // From an estimate of 8 bits by Newton's steps, the last one on the root itself.
  Vec r = vrsqrteq_f32(x);
  r = mul(r, vrsqrtsq_f32(mul(x, r), r));
  r = mul(r, vrsqrtsq_f32(mul(x, r), r));
  const Vec y = mul(x, r);
  const Vec root = fma(y, sub(x, mul(y, y)), mul(splat(0.5f), r));
  return select(equal(x, splat(0)) | equal(x, splat(kInfinity)), x, root);
#else
  return sqrt(x);
#endif
}

}  // namespace
}  // namespace linnet
