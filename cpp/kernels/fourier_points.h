// The order of a transformed Fourier tile's numbers, shared by the transforms and the packing of the weights.
//
// The spectrum F(y, x) of N x N real numbers has F(-y, -x) = conj F(y, x), so half of it is enough: columns x = 0 and N/2,
// themselves symmetric, down to y = N/2, and columns 1..N/2-1 whole. F is real at four frequencies. The others are complex,
// and a product of complex numbers a + ib (input) and c + id (weight) is made of three real ones,
//   k0 = (a + b) c, k1 = a (d - c), k2 = b (c + d): the real part is k0 - k2, the imaginary part k0 + k1
// (Karatsuba's way; Knuth, "The Art of Computer Programming" 4.3.3). All is linear, so the three stay apart until the sum
// over input channels is complete, and a tile is multiplied as kFourierPoints(N) independent real numbers would be.
#pragma once

namespace linnet {
namespace {

// Numbers that a tile of n x n becomes: 94 for 8, 382 for 16.
constexpr int fourier_points(int n) { return 3 * (n * n / 2 - 2) + 4; }

// One frequency of the order above.
struct FourierPoint {
  int y, x;
  bool real;  // one number; else the three of a complex product
};

// Calls f(frequency, number of its first point) for all frequencies in order.
template <class F>
void for_each_frequency(int n, F f) {
  int point = 0;
  const auto next = [&](int y, int x, bool real) {
    f(FourierPoint{y, x, real}, point);
    point += real ? 1 : 3;
  };
  for (int x = 0; x <= n / 2; x += n / 2) {
    next(0, x, true);
    next(n / 2, x, true);
    for (int y = 1; y < n / 2; ++y) next(y, x, false);
  }
  for (int x = 1; x < n / 2; ++x) {
    for (int y = 0; y < n; ++y) next(y, x, false);
  }
}

}  // namespace
}  // namespace linnet
