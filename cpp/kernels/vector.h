// One vector of floats per instruction set, and the dozen operations the kernels are written in. An
// ISA is one block of this file, a line of isas.cmake and a word in dispatch.cpp.
//
// Everything lives in an anonymous namespace: a kernel object may share no symbol with the rest of
// the program (see kernels.h), so its copies of these functions must be its own. For the same
// reason nothing of the C++ library is included here or in a kernel body.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.h"

#if defined(LINNET_ISA_avx512) || defined(LINNET_ISA_avx2)
#include <immintrin.h>
#elif defined(LINNET_ISA_neon) || defined(LINNET_ISA_neon_vfpv4)
#include <arm_neon.h>
#elif !defined(LINNET_ISA_scalar)
#error "kernel bodies are compiled once per ISA, by isas.cmake"
#endif

#define LINNET_INLINE inline __attribute__((always_inline))

// The one symbol of an object file: LINNET_EXPORT(direct) is linnet_direct_avx512 in the avx512
// object.
#define LINNET_JOIN2(a, b, c) a##b##_##c
#define LINNET_JOIN(a, b, c) LINNET_JOIN2(a, b, c)
#ifdef LINNET_COMPILED  // for one network: its table is a constant, and has the kernels it calls
#define LINNET_EXPORT_RETURNING(type, family) \
  [[maybe_unused]] static constexpr type LINNET_JOIN(linnet_, family, LINNET_ISA)
#else
#define LINNET_EXPORT_RETURNING(type, family) \
  extern "C" __attribute__((visibility("hidden"))) type LINNET_JOIN(linnet_, family, LINNET_ISA)
#endif
#define LINNET_EXPORT(family) LINNET_EXPORT_RETURNING(void, family)

// Loops over registers must vanish at compile time, or the arrays they index end up in memory.
#define LINNET_UNROLL _Pragma("GCC unroll 32")

namespace linnet {
namespace {

// Each block defines a vector Vec of kWidth floats and the obvious load, store, splat, add, sub,
// mul, div, max and min (b where either of max(a, b) is NaN) and fma (the first argument is the
// addend), and
// - maximum(a, b): NaN where either is; what b depends on is ready the sooner;
// - sqrt, but in A32;
// - Value, broadcast(p): an input value at p in the form multiply_add() takes;
// - multiply_add(acc, w, x): acc += w * x, x a Value or a Vec, in the register acc is in. Written
//   with fma(), gcc moves the sums of a tile from register to register until it runs out of them;
// - even_odd(a, b, even, odd): every second number of a and b;
// - on x86-64 Rotation(members, by)(v): each run of so many numbers, of which there are a whole
//   number in a vector and at least two, turned by some places towards its begin;
// - load() of float16 bits and of int8, as floats;
// - exponent(t): 2^n for an integer n of -127 (taken as 0) to 127 that t holds in its low bits.

#if defined(LINNET_ISA_scalar)

using Vec = float;
using Value = float;
constexpr int kWidth = 1;

LINNET_INLINE Vec load(const float* p) { return *p; }
LINNET_INLINE Vec load(const int8_t* p) { return *p; }
LINNET_INLINE Vec load(const uint16_t* p) {
  // The exponent is rebiased by a multiplication, which is exact and takes care of subnormals.
  uint32_t bits = static_cast<uint32_t>(*p & 0x7fff) << 13;
  float f;
  __builtin_memcpy(&f, &bits, sizeof f);
  f *= 0x1p112f;
  __builtin_memcpy(&bits, &f, sizeof f);
  if ((*p & 0x7c00) == 0x7c00) bits |= 0x7f800000;  // infinity, NaN
  bits |= static_cast<uint32_t>(*p & 0x8000) << 16;
  __builtin_memcpy(&f, &bits, sizeof f);
  return f;
}
LINNET_INLINE void store(float* p, Vec v) { *p = v; }
LINNET_INLINE Vec splat(float x) { return x; }
LINNET_INLINE Vec add(Vec a, Vec b) { return a + b; }
LINNET_INLINE Vec sub(Vec a, Vec b) { return a - b; }
LINNET_INLINE Vec mul(Vec a, Vec b) { return a * b; }
LINNET_INLINE Vec div(Vec a, Vec b) { return a / b; }
LINNET_INLINE Vec sqrt(Vec a) { return __builtin_sqrtf(a); }
LINNET_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }
LINNET_INLINE Vec maximum(Vec a, Vec b) { return a != a ? a : max(a, b); }
LINNET_INLINE Vec min(Vec a, Vec b) { return a < b ? a : b; }
LINNET_INLINE Vec fma(Vec acc, Vec a, Vec b) { return acc + a * b; }
LINNET_INLINE Value broadcast(const float* p) { return *p; }
LINNET_INLINE void multiply_add(Vec& acc, Vec w, Value x) { acc += w * x; }
LINNET_INLINE void even_odd(Vec a, Vec b, Vec* even, Vec* odd) { *even = a, *odd = b; }
LINNET_INLINE Vec exponent(Vec t) {
  uint32_t bits;
  __builtin_memcpy(&bits, &t, sizeof bits);
  bits = (bits + 127) << 23;
  __builtin_memcpy(&t, &bits, sizeof bits);
  return t;
}

#elif defined(LINNET_ISA_avx2)

using Vec = __m256;
using Value = __m256;
constexpr int kWidth = 8;

LINNET_INLINE Vec load(const float* p) { return _mm256_loadu_ps(p); }
LINNET_INLINE Vec load(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
LINNET_INLINE Vec load(const int8_t* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
LINNET_INLINE void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
LINNET_INLINE Vec splat(float x) { return _mm256_set1_ps(x); }
LINNET_INLINE Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
LINNET_INLINE Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
LINNET_INLINE Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
LINNET_INLINE Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
LINNET_INLINE Vec sqrt(Vec a) { return _mm256_sqrt_ps(a); }
LINNET_INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
LINNET_INLINE Vec maximum(Vec a, Vec b) {
  return _mm256_or_ps(_mm256_max_ps(a, b), _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
LINNET_INLINE Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
LINNET_INLINE Vec fma(Vec acc, Vec a, Vec b) { return _mm256_fmadd_ps(a, b, acc); }
LINNET_INLINE Value broadcast(const float* p) { return _mm256_set1_ps(*p); }
LINNET_INLINE void multiply_add(Vec& acc, Vec w, Value x) {
  __asm__("vfmadd231ps %2, %1, %0" : "+x"(acc) : "x"(w), "x"(x));
}
LINNET_INLINE void even_odd(Vec a, Vec b, Vec* even, Vec* odd) {
  const __m256d halves[] = {_mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88)),
                            _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd))};
  *even = _mm256_castpd_ps(_mm256_permute4x64_pd(halves[0], 0xd8));
  *odd = _mm256_castpd_ps(_mm256_permute4x64_pd(halves[1], 0xd8));
}
class Rotation {
 public:
  LINNET_INLINE Rotation(int members, int by) {
    const __m256i lanes = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0),
                  in = _mm256_set1_epi32(members - 1);
    const __m256i turned = _mm256_add_epi32(lanes, _mm256_set1_epi32(by));
    from_ = _mm256_or_si256(_mm256_and_si256(turned, in), _mm256_andnot_si256(in, lanes));
  }
  LINNET_INLINE Vec operator()(Vec v) const { return _mm256_permutevar8x32_ps(v, from_); }

 private:
  __m256i from_;
};
LINNET_INLINE Vec exponent(Vec t) {
  const __m256i bits = _mm256_add_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23));
}

#elif defined(LINNET_ISA_avx512)

using Vec = __m512;
using Value = __m512;
constexpr int kWidth = 16;

LINNET_INLINE Vec load(const float* p) { return _mm512_loadu_ps(p); }
LINNET_INLINE Vec load(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
LINNET_INLINE Vec load(const int8_t* p) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
LINNET_INLINE void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
LINNET_INLINE Vec splat(float x) { return _mm512_set1_ps(x); }
LINNET_INLINE Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
LINNET_INLINE Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
LINNET_INLINE Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
LINNET_INLINE Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
LINNET_INLINE Vec sqrt(Vec a) { return _mm512_sqrt_ps(a); }
LINNET_INLINE Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
LINNET_INLINE Vec maximum(Vec a, Vec b) {
  return _mm512_mask_max_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a, b);
}
LINNET_INLINE Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
LINNET_INLINE Vec fma(Vec acc, Vec a, Vec b) { return _mm512_fmadd_ps(a, b, acc); }
LINNET_INLINE Value broadcast(const float* p) { return _mm512_set1_ps(*p); }
LINNET_INLINE void multiply_add(Vec& acc, Vec w, Value x) {
  __asm__("vfmadd231ps %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x));
}
// For a value used once.
LINNET_INLINE void multiply_add(Vec& acc, Vec w, const float* x) {
  __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*x));
}
LINNET_INLINE void even_odd(Vec a, Vec b, Vec* even, Vec* odd) {
  const __m512i first = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  *even = _mm512_permutex2var_ps(a, first, b);
  *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(first, _mm512_set1_epi32(1)), b);
}
class Rotation {
 public:
  LINNET_INLINE Rotation(int members, int by) {
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i in = _mm512_set1_epi32(members - 1);
    const __m512i turned = _mm512_add_epi32(lanes, _mm512_set1_epi32(by));
    from_ = _mm512_or_si512(_mm512_and_si512(turned, in), _mm512_andnot_si512(in, lanes));
  }
  LINNET_INLINE Vec operator()(Vec v) const { return _mm512_permutexvar_ps(from_, v); }

 private:
  __m512i from_;
};
LINNET_INLINE Vec exponent(Vec t) {
  const __m512i bits = _mm512_add_epi32(_mm512_castps_si512(t), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 23));
}

#else  // NEON of A32 and A64

using Vec = float32x4_t;
constexpr int kWidth = 4;

LINNET_INLINE Vec load(const float* p) { return vld1q_f32(p); }
// Not an intrinsic: gcc has those of A32 only with an option that is part of the ABI.
LINNET_INLINE Vec to_floats(uint16x4_t halves) {
  Vec v;
#if defined(LINNET_ISA_neon)
  __asm__("fcvtl %0.4s, %1.4h" : "=w"(v) : "w"(halves));
#else
  __asm__("vcvt.f32.f16 %q0, %P1" : "=w"(v) : "w"(halves));
#endif
  return v;
}
LINNET_INLINE Vec load(const uint16_t* p) { return to_floats(vld1_u16(p)); }
LINNET_INLINE Vec load(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  const int16x8_t wide = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
}
// Two vectors, which together take little more than one.
LINNET_INLINE void load(const uint16_t* p, Vec* v) {
  const uint16x8_t halves = vld1q_u16(p);
  v[0] = to_floats(vget_low_u16(halves));
  v[1] = to_floats(vget_high_u16(halves));
}
LINNET_INLINE void load(const int8_t* p, Vec* v) {
  const int16x8_t wide = vmovl_s8(vld1_s8(p));
  v[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
  v[1] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(wide)));
}
LINNET_INLINE void store(float* p, Vec v) { vst1q_f32(p, v); }
LINNET_INLINE Vec splat(float x) { return vdupq_n_f32(x); }
LINNET_INLINE Vec add(Vec a, Vec b) { return vaddq_f32(a, b); }
LINNET_INLINE Vec sub(Vec a, Vec b) { return vsubq_f32(a, b); }
LINNET_INLINE Vec mul(Vec a, Vec b) { return vmulq_f32(a, b); }
LINNET_INLINE Vec max(Vec a, Vec b) { return vmaxq_f32(a, b); }
LINNET_INLINE Vec maximum(Vec a, Vec b) { return vmaxq_f32(a, b); }
LINNET_INLINE Vec min(Vec a, Vec b) { return vminq_f32(a, b); }
LINNET_INLINE Vec fma(Vec acc, Vec a, Vec b) { return vfmaq_f32(acc, a, b); }
LINNET_INLINE void even_odd(Vec a, Vec b, Vec* even, Vec* odd) {
  const float32x4x2_t both = vuzpq_f32(a, b);
  *even = both.val[0], *odd = both.val[1];
}
LINNET_INLINE Vec exponent(Vec t) {
  return vreinterpretq_f32_s32(
      vshlq_n_s32(vaddq_s32(vreinterpretq_s32_f32(t), vdupq_n_s32(127)), 23));
}

#if defined(LINNET_ISA_neon)
using Value = float;
LINNET_INLINE Vec div(Vec a, Vec b) { return vdivq_f32(a, b); }
LINNET_INLINE Vec sqrt(Vec a) { return vsqrtq_f32(a); }
LINNET_INLINE Value broadcast(const float* p) { return *p; }
LINNET_INLINE void multiply_add(Vec& acc, Vec w, Value x) { acc = vfmaq_n_f32(acc, w, x); }
LINNET_INLINE void multiply_add(Vec& acc, Vec w, Vec x) {
  __asm__("fmla %0.4s, %1.4s, %2.4s" : "+w"(acc) : "w"(w), "w"(x));
}
#else
// A32 multiplies by a lane of a d register, and only VMLA (not VFMA) has that form.
using Value = float32x2_t;
// A32 divides no vectors: Newton's steps from an estimate of 8 bits, to within 2 ulp.
LINNET_INLINE Vec div(Vec a, Vec b) {
  Vec r = vrecpeq_f32(b);
  r = mul(r, vrecpsq_f32(b, r));
  r = mul(r, vrecpsq_f32(b, r));
  return mul(a, r);
}
LINNET_INLINE Value broadcast(const float* p) { return vld1_dup_f32(p); }
LINNET_INLINE void multiply_add(Vec& acc, Vec w, Value x) { acc = vmlaq_lane_f32(acc, w, x, 0); }
LINNET_INLINE void multiply_add(Vec& acc, Vec w, Vec x) { acc = vfmaq_f32(acc, w, x); }
#endif

#endif

}  // namespace
}  // namespace linnet
