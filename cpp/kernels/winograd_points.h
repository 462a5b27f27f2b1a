// The interpolation points of the Winograd transforms and the matrices that follow from them.
//
// F(m, r) yields m outputs of an r-tap filter from n = m + r - 1 inputs: y = A^T [(G g) * (B^T d)].
// The transforms are Toom-Cook's, transposed (Winograd, "Arithmetic Complexity of Computations",
// 1980; Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016): for points
// a_j and infinity, with L_j the product of (x - a_l) over l != j,
//   B^T row j: the coefficients of L_j; row of infinity: those of the product over all points
//   A^T[i][j] = a_j^i, G[j][k] = a_j^k / L_j(a_j); infinity: 1 in the last row or column
// B^T depends on the points alone, so all filter sizes share one input transform.
#pragma once

namespace linnet {
namespace {

// 0, 1, -1, 2, -2, 1/2, -1/2 and infinity: small powers of two, which keep the error that of F(6x6,
// 3x3).
constexpr int kWinogradPoints = 8;
constexpr int kWinogradPairs = 3;
constexpr double kWinogradPair[kWinogradPairs] = {1.0, 2.0, 0.5};

constexpr double winograd_point(int j) {
  return j == 0 ? 0.0 : kWinogradPair[(j - 1) / 2] * (j % 2 ? 1.0 : -1.0);
}

constexpr double winograd_power(double x, int n) {
  double y = 1;
  for (int i = 0; i < n; ++i) y *= x;
  return y;
}

// The monic product of (x^2 - p^2) over all pairs but `skip` (kWinogradPairs skips none):
// coefficients of x^0, x^2, x^4, x^6. B^T's rows are this times x (pairs: times x^2 +- p x; zero:
// times 1; infinity: times x), which halves the work.
struct WinogradEven {
  double c[kWinogradPairs + 1] = {};
};
constexpr WinogradEven winograd_even(int skip) {
  WinogradEven e;
  e.c[0] = 1;
  for (int k = 0, degree = 0; k < kWinogradPairs; ++k) {
    if (k == skip) continue;
    const double square = kWinogradPair[k] * kWinogradPair[k];
    for (int i = ++degree; i >= 0; --i) e.c[i] = (i ? e.c[i - 1] : 0.0) - square * e.c[i];
  }
  return e;
}

// G[j][k] for filters of `taps` taps.
constexpr double winograd_weight(int j, int k, int taps) {
  if (j == kWinogradPoints - 1) return k == taps - 1 ? 1.0 : 0.0;
  double at = 1;
  for (int l = 0; l < kWinogradPoints - 1; ++l) {
    if (l != j) at *= winograd_point(j) - winograd_point(l);
  }
  return winograd_power(winograd_point(j), k) / at;
}

}  // namespace
}  // namespace linnet
