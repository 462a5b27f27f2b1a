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

// 0, then +-1, +-2, +-1/2, +-3/4, +-3/2, and infinity. Three pairs are what the field uses for
// F(6x6, 3x3); two-dimensional transforms with more err too much. In one dimension four or five
// pairs err a few times more than three, if the further points are near 1.
constexpr double kWinogradPair[] = {1.0, 2.0, 0.5, 0.75, 1.5};
constexpr int kWinogradPairsMost = 5;

constexpr int winograd_points(int pairs) { return 2 * pairs + 2; }

// Those of the two-dimensional transform.
constexpr int kWinogradPairs = 3;
constexpr int kWinogradPoints = winograd_points(kWinogradPairs);

constexpr double winograd_point(int j) {
  return j == 0 ? 0.0 : kWinogradPair[(j - 1) / 2] * (j % 2 ? 1.0 : -1.0);
}

constexpr double winograd_power(double x, int n) {
  double y = 1;
  for (int i = 0; i < n; ++i) y *= x;
  return y;
}

// The monic product of (x^2 - p^2) over the first `pairs` pairs but `skip` (`pairs` skips none):
// coefficients of x^0, x^2, x^4, ... B^T's rows are this times x (pairs: times x^2 +- p x; zero:
// times 1; infinity: times x), which halves the work.
struct WinogradEven {
  double c[kWinogradPairsMost + 1] = {};
};
constexpr WinogradEven winograd_even(int pairs, int skip) {
  WinogradEven e;
  e.c[0] = 1;
  for (int k = 0, degree = 0; k < pairs; ++k) {
    if (k == skip) continue;
    const double square = kWinogradPair[k] * kWinogradPair[k];
    for (int i = ++degree; i >= 0; --i) e.c[i] = (i ? e.c[i - 1] : 0.0) - square * e.c[i];
  }
  return e;
}

// G[j][k] for filters of `taps` taps.
constexpr double winograd_weight(int pairs, int j, int k, int taps) {
  const int last = winograd_points(pairs) - 1;
  if (j == last) return k == taps - 1 ? 1.0 : 0.0;
  double at = 1;
  for (int l = 0; l < last; ++l) {
    if (l != j) at *= winograd_point(j) - winograd_point(l);
  }
  return winograd_power(winograd_point(j), k) / at;
}

}  // namespace
}  // namespace linnet
