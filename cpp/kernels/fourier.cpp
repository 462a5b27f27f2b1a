// Fourier transforms of 8x8 and 16x16 tiles of real numbers and back, one vector of channels at a
// time, and the products between them. One-dimensional transforms are split-radix (Duhamel and
// Hollmann, "Split radix FFT algorithm", 1984), real ones compute the half of the spectrum that the
// other half mirrors.
#include "epilogue.h"
#include "fourier_points.h"
#include "vector.h"

namespace linnet {
namespace {

constexpr double kCos[16] = {1,  0.92387953251128674,  0.70710678118654752,  0.38268343236508977,
                             0,  -0.38268343236508977, -0.70710678118654752, -0.92387953251128674,
                             -1, -0.92387953251128674, -0.70710678118654752, -0.38268343236508977,
                             0,  0.38268343236508977,  0.70710678118654752,  0.92387953251128674};

// cos and sin of 2 pi k / n, for n up to 16.
constexpr float cosine(int k, int n) { return static_cast<float>(kCos[k * (16 / n) % 16]); }
constexpr float sine(int k, int n) { return static_cast<float>(kCos[(k * (16 / n) + 12) % 16]); }

LINNET_INLINE Vec negate(Vec x) { return sub(splat(0), x); }

struct Complex {
  Vec re, im;
};

// x times exp(-2 pi i k / n), or for `inverse` exp(+2 pi i k / n).
LINNET_INLINE Complex rotate(Complex x, int k, int n, bool inverse = false) {
  if (k == 0) return x;
  const Vec c = splat(cosine(k, n)), s = splat(inverse ? -sine(k, n) : sine(k, n)),
            t = splat(inverse ? sine(k, n) : -sine(k, n));
  return {fma(mul(x.im, s), x.re, c), fma(mul(x.re, t), x.im, c)};
}

// x[k] = sum over j < kN of in(kFirst + kStep * j) exp(-2 pi i j k / kN).
template <int kN, int kFirst, int kStep, class Input>
LINNET_INLINE void transform(const Input& in, Complex (&x)[kN]) {
  if constexpr (kN == 1) {
    x[0] = in(kFirst);
  } else if constexpr (kN == 2) {
    const Complex a = in(kFirst), b = in(kFirst + kStep);
    x[0] = {add(a.re, b.re), add(a.im, b.im)};
    x[1] = {sub(a.re, b.re), sub(a.im, b.im)};
  } else {
    Complex u[kN / 2], a[kN / 4], b[kN / 4];
    transform<kN / 2, kFirst, 2 * kStep>(in, u);
    transform<kN / 4, kFirst + kStep, 4 * kStep>(in, a);
    transform<kN / 4, kFirst + 3 * kStep, 4 * kStep>(in, b);
    LINNET_UNROLL
    for (int k = 0; k < kN / 4; ++k) {
      const Complex p = rotate(a[k], k, kN), q = rotate(b[k], 3 * k, kN);
      const Complex s{add(p.re, q.re), add(p.im, q.im)}, d{sub(p.re, q.re), sub(p.im, q.im)};
      x[k] = {add(u[k].re, s.re), add(u[k].im, s.im)};
      x[k + kN / 2] = {sub(u[k].re, s.re), sub(u[k].im, s.im)};
      x[k + kN / 4] = {add(u[k + kN / 4].re, d.im), sub(u[k + kN / 4].im, d.re)};
      x[k + 3 * kN / 4] = {sub(u[k + kN / 4].re, d.im), add(u[k + kN / 4].im, d.re)};
    }
  }
}

// The same of real numbers, packed: x[0] and x[1] are frequencies 0 and kN / 2, x[2k] + i x[2k + 1]
// is frequency k.
template <int kN, int kFirst, int kStep, class Input>
LINNET_INLINE void real_transform(const Input& in, Vec (&x)[kN]) {
  if constexpr (kN == 1) {
    x[0] = in(kFirst);
  } else if constexpr (kN == 2) {
    const Vec a = in(kFirst), b = in(kFirst + kStep);
    x[0] = add(a, b);
    x[1] = sub(a, b);
  } else {
    constexpr int kHalf = kN / 2, kQuarter = kN / 4, kEighth = kN / 8;
    Vec u[kHalf], a[kQuarter], b[kQuarter];
    real_transform<kHalf, kFirst, 2 * kStep>(in, u);
    real_transform<kQuarter, kFirst + kStep, 4 * kStep>(in, a);
    real_transform<kQuarter, kFirst + 3 * kStep, 4 * kStep>(in, b);
    const Vec sum = add(a[0], b[0]);
    x[0] = add(u[0], sum);
    x[1] = sub(u[0], sum);
    x[kHalf] = u[1];
    x[kHalf + 1] = sub(b[0], a[0]);
    LINNET_UNROLL
    for (int k = 1; k < kEighth; ++k) {
      const Complex p = rotate({a[2 * k], a[2 * k + 1]}, k, kN),
                    q = rotate({b[2 * k], b[2 * k + 1]}, 3 * k, kN);
      const Complex s{add(p.re, q.re), add(p.im, q.im)}, d{sub(p.re, q.re), sub(p.im, q.im)};
      const int mirror = kHalf - k, up = kQuarter + k, down = kQuarter - k;
      x[2 * k] = add(u[2 * k], s.re), x[2 * k + 1] = add(u[2 * k + 1], s.im);
      x[2 * mirror] = sub(u[2 * k], s.re), x[2 * mirror + 1] = sub(s.im, u[2 * k + 1]);
      x[2 * up] = add(u[2 * down], d.im), x[2 * up + 1] = negate(add(u[2 * down + 1], d.re));
      x[2 * down] = sub(u[2 * down], d.im), x[2 * down + 1] = sub(u[2 * down + 1], d.re);
    }
    if constexpr (kEighth > 0) {
      // Frequency kN / 4 of the quarters is real, and its rotations are by odd eighths of a turn.
      constexpr int k = kEighth, mirror = kHalf - k;
      const Vec half = splat(cosine(2, 16));
      const Vec re = mul(sub(a[1], b[1]), half), im = mul(add(a[1], b[1]), half);
      x[2 * k] = add(u[2 * k], re), x[2 * k + 1] = sub(u[2 * k + 1], im);
      x[2 * mirror] = sub(u[2 * k], re), x[2 * mirror + 1] = negate(add(u[2 * k + 1], im));
    }
  }
}

// Undoes real_transform, times kN: each stage is the one above, solved for its inputs.
template <int kN>
LINNET_INLINE void real_inverse(const Vec (&x)[kN], Vec (&y)[kN]) {
  if constexpr (kN == 1) {
    y[0] = x[0];
  } else if constexpr (kN == 2) {
    y[0] = add(x[0], x[1]);
    y[1] = sub(x[0], x[1]);
  } else {
    constexpr int kHalf = kN / 2, kQuarter = kN / 4, kEighth = kN / 8;
    Vec u[kHalf], a[kQuarter], b[kQuarter];
    u[0] = add(x[0], x[1]);
    u[1] = add(x[kHalf], x[kHalf]);
    const Vec difference = sub(x[0], x[1]), twice = add(x[kHalf + 1], x[kHalf + 1]);
    a[0] = sub(difference, twice);
    b[0] = add(difference, twice);
    LINNET_UNROLL
    for (int k = 1; k < kEighth; ++k) {
      const int mirror = kHalf - k, up = kQuarter + k, down = kQuarter - k;
      u[2 * k] = add(x[2 * k], x[2 * mirror]), u[2 * k + 1] = sub(x[2 * k + 1], x[2 * mirror + 1]);
      u[2 * down] = add(x[2 * down], x[2 * up]),
            u[2 * down + 1] = sub(x[2 * down + 1], x[2 * up + 1]);
      const Complex s{sub(x[2 * k], x[2 * mirror]), add(x[2 * k + 1], x[2 * mirror + 1])};
      const Complex d{add(x[2 * down + 1], x[2 * up + 1]), sub(x[2 * down], x[2 * up])};  // negated
      const Complex p = rotate({sub(s.re, d.re), sub(s.im, d.im)}, k, kN, true);
      const Complex q = rotate({add(s.re, d.re), add(s.im, d.im)}, 3 * k, kN, true);
      a[2 * k] = p.re, a[2 * k + 1] = p.im;
      b[2 * k] = q.re, b[2 * k + 1] = q.im;
    }
    if constexpr (kEighth > 0) {
      constexpr int k = kEighth, mirror = kHalf - k;
      const float root = 2 * cosine(2, 16);
      u[2 * k] = add(x[2 * k], x[2 * mirror]), u[2 * k + 1] = sub(x[2 * k + 1], x[2 * mirror + 1]);
      const Complex s{sub(x[2 * k], x[2 * mirror]), add(x[2 * k + 1], x[2 * mirror + 1])};
      a[1] = mul(sub(s.re, s.im), splat(root));
      b[1] = mul(add(s.re, s.im), splat(-root));
    }
    Vec even[kHalf], first[kQuarter], third[kQuarter];
    real_inverse<kHalf>(u, even);
    real_inverse<kQuarter>(a, first);
    real_inverse<kQuarter>(b, third);
    LINNET_UNROLL
    for (int i = 0; i < kHalf; ++i) y[2 * i] = even[i];
    LINNET_UNROLL
    for (int i = 0; i < kQuarter; ++i) y[4 * i + 1] = first[i], y[4 * i + 3] = third[i];
  }
}

// Three multiplications take three loads, which pays where a multiplication has its own.
#if defined(LINNET_ISA_avx512)
constexpr int kStored = 3;
#else
constexpr int kStored = 2;
#endif

// A complex number of a transformed input, as kStored numbers.
LINNET_INLINE void store_complex(float* v, Complex z) {
  store(v, z.re);
  store(v + kFourierChunk, z.im);
  if constexpr (kStored == 3) store(v + 2 * kFourierChunk, add(z.re, z.im));
}

template <int kN>
void input(const FourierInput& t) {
  alignas(64) float rows[kN][kN][kWidth];
  Vec x[kN];
  const bool whole = t.first_col == 0 && t.last_col == kN;
  const float* from = t.x + t.first_row * t.x_row;
  for (int i = 0; i < kN; ++i) {
    if (i < t.first_row || i >= t.last_row) {
      LINNET_UNROLL
      for (int j = 0; j < kN; ++j) store(rows[i][j], splat(0));
      continue;
    }
    if (whole) {
      real_transform<kN, 0, 1>([&](int j) { return load(from + j * t.x_col); }, x);
    } else {
      // A row that leaves the image goes through a copy with zeros around.
      for (int j = 0; j < kN; ++j) {
        store(rows[i][j], j >= t.first_col && j < t.last_col ? load(from + j * t.x_col) : splat(0));
      }
      real_transform<kN, 0, 1>([&](int j) { return load(rows[i][j]); }, x);
    }
    LINNET_UNROLL
    for (int j = 0; j < kN; ++j) store(rows[i][j], x[j]);
    from += t.x_row;
  }

  float* v = t.v;
  constexpr ptrdiff_t kStep = kFourierChunk;
  for (int j = 0; j < 2; ++j) {
    real_transform<kN, 0, 1>([&](int i) { return load(rows[i][j]); }, x);
    store(v + 2 * j * kStep, x[0]);
    store(v + (2 * j + 1) * kStep, x[1]);
    float* rest = v + (kFourierReal + j * (kN / 2 - 1) * kStored) * kStep;
    LINNET_UNROLL
    for (int k = 2; k < kN; k += 2, rest += kStored * kStep) store_complex(rest, {x[k], x[k + 1]});
  }
  for (int j = 2; j < kN; j += 2) {
    v += t.v_column;
    Complex z[kN];
    transform<kN, 0, 1>([&](int i) { return Complex{load(rows[i][j]), load(rows[i][j + 1])}; }, z);
    LINNET_UNROLL
    for (int k = 0; k < kN; ++k) store_complex(v + kStored * k * kStep, z[k]);
  }
}

// Tiles of one product: their sums, one for each stored number, and the weights, in registers.
#if defined(LINNET_ISA_avx512)
constexpr int kTiles = 9;
#elif defined(LINNET_ISA_neon)
constexpr int kTiles = 12;
#elif defined(LINNET_ISA_neon_vfpv4)
constexpr int kTiles = 4;
#else
constexpr int kTiles = 6;
#endif

// Complex products, (a + ib) (c + id). By four multiplications the sums are the results,
// a (c, d) + b (-d, c); by three, they are (a + b) c, a (d - c) and b (c + d), of which the first
// less the third is the real part and the first plus the second the imaginary one (Gauss).
template <int kCount>
struct ComplexSums {
  Vec sums[kCount][kStored];

  LINNET_INLINE void add_products(const float* u, const float* v, ptrdiff_t v_tile) {
    const Vec re = load(u), im = load(u + kWidth);
    if constexpr (kStored == 3) {
      const Vec less = sub(im, re), both = add(re, im);
      LINNET_UNROLL
      for (int i = 0; i < kCount; ++i, v += v_tile) {
        multiply_add(sums[i][1], less, v);
        multiply_add(sums[i][2], both, v + kFourierChunk);
        multiply_add(sums[i][0], re, v + 2 * kFourierChunk);
      }
    } else {
      accumulate(v, v_tile, re, im);
      accumulate(v + kFourierChunk, v_tile, negate(im), re);
    }
  }

  LINNET_INLINE void accumulate(const float* v, ptrdiff_t v_tile, Vec first, Vec second) {
    LINNET_UNROLL
    for (int i = 0; i < kCount; ++i, v += v_tile) {
      const Value value = broadcast(v);
      multiply_add(sums[i][0], first, value);
      multiply_add(sums[i][1], second, value);
    }
  }

  LINNET_INLINE void store_results(int i, float* m) const {
    if constexpr (kStored == 3) {
      store(m, sub(sums[i][0], sums[i][2]));
      store(m + kWidth, add(sums[i][0], sums[i][1]));
    } else {
      store(m, sums[i][0]);
      store(m + kWidth, sums[i][1]);
    }
  }
};

// The same of frequencies that are real.
template <int kCount>
struct RealSums {
  Vec sums[kCount][1];

  LINNET_INLINE void add_products(const float* u, const float* v, ptrdiff_t v_tile) {
    const Vec w = load(u);
    LINNET_UNROLL
    for (int i = 0; i < kCount; ++i, v += v_tile) multiply_add(sums[i][0], w, broadcast(v));
  }

  LINNET_INLINE void store_results(int i, float* m) const { store(m, sums[i][0]); }
};

// The sums over all channels of one frequency, which has kParts numbers.
template <class Sums, int kParts, int kCount>
LINNET_INLINE const float* frequency(const FourierProduct& t, const float* v, const float* u,
                                     float* m) {
  Sums sums;
  LINNET_UNROLL
  for (int i = 0; i < kCount; ++i) {
    LINNET_UNROLL
    for (Vec& sum : sums.sums[i]) sum = splat(0);
  }
  ptrdiff_t v_tile = t.v_tile;
  for (int64_t left = t.channels; left > 0; left -= kFourierChunk, v += t.v_chunk) {
    const float* x = v;
    for (int64_t c = left < kFourierChunk ? left : kFourierChunk; c > 0;
         --c, ++x, u += kParts * kWidth) {
      // Else the compiler keeps a pointer for every tile and more, and spills.
      __asm__ volatile("" : "+r"(v_tile) : : "memory");
      sums.add_products(u, x, v_tile);
    }
  }
  LINNET_UNROLL
  for (int i = 0; i < kCount; ++i, m += t.m_tile) sums.store_results(i, m);
  return u;
}

template <int kCount>
void product(const FourierProduct& t) {
  const float *v = t.v, *u = t.u;
  float* m = t.m;
  for (int i = 0; i < t.real; ++i, v += kFourierChunk, m += kWidth)
    u = frequency<RealSums<kCount>, 1, kCount>(t, v, u, m);
  for (int i = 0; i < t.complex; ++i, v += kStored * kFourierChunk, m += 2 * kWidth)
    u = frequency<ComplexSums<kCount>, 2, kCount>(t, v, u, m);
}

// Stores a row of results: bias, residual, activation, pool. `row` counts from the tile's first.
LINNET_INLINE void finish_row(const FourierOutput& t, const float (*line)[kWidth], int row,
                              Vec bias) {
  const bool merge = row % t.pool_rows != 0;
  float* y = t.y + row / t.pool_rows * t.y_row;
  const float* residual = t.residual ? t.residual + row * t.y_row : nullptr;
  for (int j = 0; j < t.cols; j += t.pool_cols, y += t.y_col) {
    Vec value = load(line[j]);
    for (int q = 1; q < t.pool_cols; ++q) value = max(load(line[j + q]), value);
    Vec sum[1][1] = {{add(value, bias)}};
    finish<false>(sum, 1, residual, t.limits, merge, y, 0);
    if (residual) residual += t.y_col;
  }
}

template <int kN>
void output(const FourierOutput& t) {
  alignas(64) float rows[kN][kN][kWidth];
  Vec x[kN], y[kN];
  const float* m = t.m;
  for (int j = 0; j < 2; ++j) {
    x[0] = load(m + 2 * j * kWidth);
    x[1] = load(m + (2 * j + 1) * kWidth);
    const float* rest = m + (kFourierReal + j * (kN - 2)) * kWidth;
    LINNET_UNROLL
    for (int k = 2; k < kN; ++k) x[k] = load(rest + (k - 2) * kWidth);
    real_inverse<kN>(x, y);
    LINNET_UNROLL
    for (int i = 0; i < kN; ++i) store(rows[i][j], y[i]);
  }
  m += 2 * kN * kWidth;
  for (int j = 2; j < kN; j += 2, m += 2 * kN * kWidth) {
    // The inverse transform is the forward one with real and imaginary parts exchanged.
    Complex z[kN];
    transform<kN, 0, 1>(
        [&](int k) { return Complex{load(m + (2 * k + 1) * kWidth), load(m + 2 * k * kWidth)}; },
        z);
    LINNET_UNROLL
    for (int i = 0; i < kN; ++i) {
      store(rows[i][j], z[i].im);
      store(rows[i][j + 1], z[i].re);
    }
  }
  const Vec bias = load(t.bias);
  for (int i = 0; i < t.rows; ++i) {
    LINNET_UNROLL
    for (int j = 0; j < kN; ++j) x[j] = load(rows[i][j]);
    real_inverse<kN>(x, y);
    LINNET_UNROLL
    for (int j = 0; j < kN; ++j) store(rows[i][j], y[j]);
    finish_row(t, rows[i], i, bias);
  }
}

template <int kCount>
constexpr void fill_products(Kernels* table) {
  table->fourier_product[kCount] = product<kCount>;
  if constexpr (kCount > 1) fill_products<kCount - 1>(table);
}

}  // namespace
}  // namespace linnet

LINNET_EXPORT(fourier)(linnet::Kernels* table) {
  table->fourier_input[0] = linnet::input<8>;
  table->fourier_input[1] = linnet::input<16>;
  table->fourier_tiles = linnet::kTiles;
  table->fourier_stored = linnet::kStored;
  linnet::fill_products<linnet::kTiles>(table);
  table->fourier_output[0] = linnet::output<8>;
  table->fourier_output[1] = linnet::output<16>;
}
