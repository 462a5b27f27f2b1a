// Winograd input and output transforms of 8x8 tiles and of rows, one vector of channels at a time.
// The products between them are direct tiles.
#include "epilogue.h"
#include "vector.h"
#include "winograd_points.h"

namespace linnet {
namespace {

constexpr int kPoints = kWinogradPoints;  // of two-dimensional tiles

// acc + c * x, where c is a compile-time constant that is often 0, 1 or -1.
template <class Constant>
LINNET_INLINE Vec add_scaled(Vec acc, Vec x, Constant) {
  constexpr double c = Constant::value;
  if constexpr (c == 0.0) return acc;
  if constexpr (c == 1.0) return add(acc, x);
  if constexpr (c == -1.0) return sub(acc, x);
  return fma(acc, x, splat(static_cast<float>(c)));
}

template <int kPairs, int kSkip, int kI>
struct Even {
  static constexpr double value = winograd_even(kPairs, kSkip).c[kI];
};
template <int kPair, int kExponent, int kSign = 1>
struct Power {
  static constexpr double value = kSign * winograd_power(kWinogradPair[kPair], kExponent);
};

// The polynomial winograd_even(kPairs, kSkip) of every second input from d[kFrom] on; its leading
// coefficient is 1.
template <int kPairs, int kSkip, int kFrom, int kI, int kPoints>
LINNET_INLINE Vec even_terms(Vec acc, const Vec (&d)[kPoints]) {
  if constexpr (kI < 0) return acc;
  if constexpr (kI >= 0) {
    acc = add_scaled(acc, d[kFrom + 2 * kI], Even<kPairs, kSkip, kI>());
    return even_terms<kPairs, kSkip, kFrom, kI - 1>(acc, d);
  }
}

// The rows of B^T that belong to the points +-p of one pair: L is x^2 +- p x times a polynomial in
// x^2, so both rows share the sums over even and over odd inputs.
template <int kPairs, int kPair, int kPoints>
LINNET_INLINE void input_pairs(const Vec (&d)[kPoints], Vec (&v)[kPoints]) {
  if constexpr (kPair < kPairs) {
    const Vec even = even_terms<kPairs, kPair, 2, kPairs - 2>(d[2 * kPairs], d);
    const Vec odd = even_terms<kPairs, kPair, 1, kPairs - 2>(d[2 * kPairs - 1], d);
    v[2 * kPair + 1] = add_scaled(even, odd, Power<kPair, 1>());
    v[2 * kPair + 2] = add_scaled(even, odd, Power<kPair, 1, -1>());
    input_pairs<kPairs, kPair + 1>(d, v);
  }
}

// v = B^T d.
template <int kPoints>
LINNET_INLINE void input_points(const Vec (&d)[kPoints], Vec (&v)[kPoints]) {
  constexpr int kPairs = kPoints / 2 - 1;
  v[0] = even_terms<kPairs, kPairs, 0, kPairs - 1>(d[2 * kPairs], d);
  input_pairs<kPairs, 0>(d, v);
  v[kPoints - 1] = even_terms<kPairs, kPairs, 1, kPairs - 1>(d[kPoints - 1], d);
}

void input(const float* x, ptrdiff_t x_row, ptrdiff_t x_col, float* v, ptrdiff_t v_point) {
  alignas(64) float columns[kPoints][kPoints][kWidth];
  Vec d[kPoints], t[kPoints];
  for (int j = 0; j < kPoints; ++j, x += x_col) {
    LINNET_UNROLL
    for (int i = 0; i < kPoints; ++i) d[i] = load(x + i * x_row);
    input_points(d, t);
    LINNET_UNROLL
    for (int i = 0; i < kPoints; ++i) store(columns[i][j], t[i]);
  }
  for (int i = 0; i < kPoints; ++i, v += kPoints * v_point) {
    LINNET_UNROLL
    for (int j = 0; j < kPoints; ++j) d[j] = load(columns[i][j]);
    input_points(d, t);
    LINNET_UNROLL
    for (int j = 0; j < kPoints; ++j) store(v + j * v_point, t[j]);
  }
}

// y[i] = sum of p^i times the pair's sum (even i) or difference (odd i).
template <int kI, int kPair, int kPairs>
LINNET_INLINE Vec output_terms(Vec acc, const Vec (&sums)[kPairs],
                               const Vec (&differences)[kPairs]) {
  if constexpr (kPair == kPairs) return acc;
  if constexpr (kPair < kPairs) {
    acc = add_scaled(acc, kI % 2 ? differences[kPair] : sums[kPair], Power<kPair, kI>());
    return output_terms<kI, kPair + 1>(acc, sums, differences);
  }
}

template <int kI, int kPoints, int kPairs, int kOutputs>
LINNET_INLINE void output_rows(const Vec (&m)[kPoints], const Vec (&sums)[kPairs],
                               const Vec (&differences)[kPairs], Vec (&y)[kOutputs]) {
  if constexpr (kI < kOutputs) {
    static_assert(kWinogradPair[0] == 1.0, "starts from an unscaled term");
    Vec acc = kI % 2 ? differences[0] : sums[0];
    if constexpr (kI == 0) acc = add(acc, m[0]);
    acc = output_terms<kI, 1>(acc, sums, differences);
    if constexpr (kI == kOutputs - 1) acc = add(acc, m[kPoints - 1]);
    y[kI] = acc;
    output_rows<kI + 1>(m, sums, differences, y);
  }
}

// y = A^T m.
template <int kPoints, int kOutputs>
LINNET_INLINE void output_points(const Vec (&m)[kPoints], Vec (&y)[kOutputs]) {
  constexpr int kPairs = kPoints / 2 - 1;
  Vec sums[kPairs], differences[kPairs];
  LINNET_UNROLL
  for (int p = 0; p < kPairs; ++p) {
    sums[p] = add(m[2 * p + 1], m[2 * p + 2]);
    differences[p] = sub(m[2 * p + 1], m[2 * p + 2]);
  }
  output_rows<0>(m, sums, differences, y);
}

// The last half of the output transform, down the columns of a tile, with all that follows.
template <int kOutputs, int kPool>
LINNET_INLINE void output_pooled(const WinogradOutput& o) {
  constexpr int kStored = kOutputs / kPool;
  Vec m[kPoints], y[kOutputs], best[kStored][1];
  const Vec bias = load(o.bias);
  const Limits limits = o.limits;  // which no store can change
  const float* z = o.z;
  float* to = o.y;
  const float* residual = kPool == 1 ? o.residual : nullptr;
  for (int column = 0; column < kStored; ++column, to += o.y_col) {
    LINNET_UNROLL
    for (int j = 0; j < kPool; ++j, z += kWidth) {
      LINNET_UNROLL
      for (int i = 0; i < kPoints; ++i) m[i] = load(z + i * kOutputs * kWidth);
      output_points(m, y);
      LINNET_UNROLL
      for (int i = 0; i < kStored; ++i) {
        Vec most = y[i * kPool];
        LINNET_UNROLL
        for (int q = 1; q < kPool; ++q) most = max(most, y[i * kPool + q]);
        best[i][0] = j ? max(best[i][0], most) : most;
      }
    }
    LINNET_UNROLL
    for (int i = 0; i < kStored; ++i) best[i][0] = add(best[i][0], bias);
    finish<false>(best, kStored, residual, limits, false, to, o.y_row);
    if (residual) residual += o.y_col;
  }
}

template <int kOutputs>
void output(const WinogradOutput& o) {
  if constexpr (kOutputs % 2 == 0) {
    if (o.pool == 2) return output_pooled<kOutputs, 2>(o);
  }
  if constexpr (kOutputs % 3 == 0) {
    if (o.pool == 3) return output_pooled<kOutputs, 3>(o);
  }
  output_pooled<kOutputs, 1>(o);
}

template <int kOutputs>
void output_row(const WinogradRow& r) {
  const float* from = r.m;
  float* to = r.z;
  for (int64_t t = r.tiles; t > 0; --t, to += r.z_tile) {
    float* z = to;
    for (int v = r.vecs; v > 0; --v, from += kWidth, z += r.z_vec) {
      Vec m[kPoints], y[kOutputs];
      LINNET_UNROLL
      for (int j = 0; j < kPoints; ++j) m[j] = load(from + j * r.m_point);
      output_points(m, y);
      LINNET_UNROLL
      for (int i = 0; i < kOutputs; ++i) store(z + i * kWidth, y[i]);
    }
  }
}

template <int kPairs>
void line_input(const float* x, ptrdiff_t x_col, int64_t vecs, float* v, ptrdiff_t v_point) {
  constexpr int kPoints = winograd_points(kPairs);
  for (; vecs > 0; --vecs, x += kWidth, v += kWidth) {
    Vec d[kPoints], t[kPoints];
    LINNET_UNROLL
    for (int j = 0; j < kPoints; ++j) d[j] = load(x + j * x_col);
    input_points(d, t);
    LINNET_UNROLL
    for (int j = 0; j < kPoints; ++j) store(v + j * v_point, t[j]);
  }
}

template <int kPairs, int kOutputs, int kPool>
LINNET_INLINE void line_pooled(const WinogradLine& l) {
  constexpr int kPoints = winograd_points(kPairs), kStored = kOutputs / kPool;
  const Limits limits = l.limits;
  const float *from = l.m, *residual = kPool == 1 ? l.residual : nullptr;
  float* to = l.y;
  for (int64_t t = l.tiles; t > 0; --t, to += kStored * l.y_col) {
    const int stored = t > 1 ? kStored : l.last;
    for (int v = 0; v < l.vecs; ++v, from += kWidth) {
      Vec m[kPoints], y[kOutputs], best[kStored][1];
      LINNET_UNROLL
      for (int j = 0; j < kPoints; ++j) m[j] = load(from + j * l.m_point);
      output_points(m, y);
      const Vec bias = load(l.bias + v * kWidth);
      float* at = to + v * kWidth;
      LINNET_UNROLL
      for (int i = 0; i < kStored; ++i) {
        Vec r = y[i * kPool];
        LINNET_UNROLL
        for (int q = 1; q < kPool; ++q) r = max(r, y[i * kPool + q]);
        best[i][0] = add(r, bias);
      }
      finish<false>(best, stored, residual ? residual + (at - l.y) : nullptr, limits, l.merge, at,
                    l.y_col);
    }
  }
}

template <int kPairs, int kOutputs>
void line(const WinogradLine& l) {
  if constexpr (kOutputs % 2 == 0) {
    if (l.pool == 2) return line_pooled<kPairs, kOutputs, 2>(l);
  }
  if constexpr (kOutputs % 3 == 0) {
    if (l.pool == 3) return line_pooled<kPairs, kOutputs, 3>(l);
  }
  line_pooled<kPairs, kOutputs, 1>(l);
}

LINNET_INLINE Vec sum_of_squares(const float* v, const int32_t* points, int count) {
  Vec sums[2] = {splat(0), splat(0)};
  for (int i = 0; i < count; i += 2) {
    const Vec a = load(v + points[i]), b = load(v + points[i + 1]);
    sums[0] = fma(sums[0], a, a);
    sums[1] = fma(sums[1], b, b);
  }
  return add(sums[0], sums[1]);
}

// What an operation makes of all lanes of each of `count` vectors, to as many numbers. A vector
// more is written.
template <typename Combine>
LINNET_INLINE void across(Vec* v, int count, float* to, const Combine& combine) {
  v[count] = splat(0);
  int left = count;
  LINNET_UNROLL
  for (int n = kWidth; n > 1; n /= 2) {
    left = (left + 1) / 2;
    for (int i = 0; i < left; ++i) {
      Vec even, odd;
      even_odd(v[2 * i], v[2 * i + 1], &even, &odd);
      v[i] = combine(even, odd);
    }
  }
  float lanes[kWidth];
  store(lanes, v[0]);
  for (int i = 0; i < count; ++i) to[i] = lanes[i];
}

void energy(const Energy& e, float* most, float* total) {
  Vec largest[kWidth + 1], sum[kWidth + 1];
  for (int64_t first = 0; first < e.tiles; first += kWidth) {
    const int count = static_cast<int>(e.tiles - first < kWidth ? e.tiles - first : kWidth);
    for (int t = 0; t < count; ++t) {
      const float* v = e.v + (first + t) * e.tile;
      largest[t] = sum[t] = sum_of_squares(v, e.points, e.count);
      for (int64_t i = e.vecs - 1; i > 0; --i) {
        const Vec each = sum_of_squares(v += kWidth, e.points, e.count);
        largest[t] = maximum(each, largest[t]);
        sum[t] = add(sum[t], each);
      }
    }
    across(largest, count, most + first, maximum);
    across(sum, count, total + first, [](Vec a, Vec b) { return add(a, b); });
  }
}

void energies(const Energy& e, float* each) {
  for (int64_t i = 0; i < e.vecs; ++i)
    store(each + i * kWidth, sum_of_squares(e.v + i * kWidth, e.points, e.count));
}

void squares(const float* x, int64_t runs, int64_t count, ptrdiff_t run, float* most,
             float* total) {
  constexpr int kParts = 4;  // so that sums need not wait for each other
  Vec largest[kParts + 1], sum[kParts + 1];
  for (int i = 0; i < kParts; ++i) largest[i] = sum[i] = splat(0);
  float rest = 0, largest_rest = 0;
  for (int64_t r = 0; r < runs; ++r, x += run) {
    int64_t i = 0;
    for (; i + kParts * kWidth <= count; i += kParts * kWidth) {
      LINNET_UNROLL
      for (int j = 0; j < kParts; ++j) {
        const Vec v = load(x + i + j * kWidth), square = mul(v, v);
        largest[j] = maximum(square, largest[j]);
        sum[j] = add(sum[j], square);
      }
    }
    for (; i + kWidth <= count; i += kWidth) {
      const Vec v = load(x + i), square = mul(v, v);
      largest[0] = maximum(square, largest[0]);
      sum[0] = add(sum[0], square);
    }
    for (; i < count; ++i) {
      const float square = x[i] * x[i];
      largest_rest = square > largest_rest || square != square ? square : largest_rest;
      rest += square;
    }
  }
  LINNET_UNROLL
  for (int j = 1; j < kParts; ++j) {
    largest[0] = maximum(largest[j], largest[0]);
    sum[0] = add(sum[0], sum[j]);
  }
  across(largest, 1, most, maximum);
  across(sum, 1, total, [](Vec a, Vec b) { return add(a, b); });
  *most = largest_rest > *most || largest_rest != largest_rest ? largest_rest : *most;
  *total += rest;
}

template <int kPairs, int kOutputs>
constexpr void fill_line(Kernels* table) {
  table->winograd_line_input[kPairs] = line_input<kPairs>;
  table->winograd_line[kPairs][kOutputs] = line<kPairs, kOutputs>;
  if constexpr (kOutputs > 2) fill_line<kPairs, kOutputs - 1>(table);
}

template <int kOutputs>
constexpr void fill(Kernels* table) {
  table->winograd_row[kOutputs] = output_row<kOutputs>;
  table->winograd_output[kOutputs] = output<kOutputs>;
  if constexpr (kOutputs > 2) fill<kOutputs - 1>(table);
}

}  // namespace
}  // namespace linnet

LINNET_EXPORT(winograd)(linnet::Kernels* table) {
  table->winograd_input = linnet::input;
  table->energy = linnet::energy;
  table->energies = linnet::energies;
  table->squares = linnet::squares;
  linnet::fill<7>(table);
  linnet::fill_line<3, linnet::kMaxLineOutputs>(table);
  linnet::fill_line<4, linnet::kMaxLineOutputs>(table);
  linnet::fill_line<5, linnet::kMaxLineOutputs>(table);
}
