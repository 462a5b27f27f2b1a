// The order of a transformed Fourier tile's numbers, shared by the transforms, the products and the
// packing of the weights.
//
// The spectrum F(y, x) of n x n real numbers has F(-y, -x) = conj F(y, x), so half of it is enough:
// columns x = 0 and n/2, themselves symmetric, down to y = n/2, and columns 1..n/2-1 whole. That is
// n * n numbers again: F is real at the four frequencies that mirror themselves, which come first;
// the others follow as a real and an imaginary part each. They make n/2 columns of 2n numbers: the
// two half ones together, then the whole ones.
#pragma once

namespace linnet {
namespace {

constexpr int kFourierReal = 4;

// Channels of a tile that lie together in a transformed input: a cache line, so that transforms
// fill and products read whole ones.
constexpr int kFourierChunk = 16;

// Calls f(y, x, number) for all frequencies in order; `number` is that of its first number.
template <class F>
void for_each_frequency(int n, F f) {
  int number = 0;
  for (int x = 0; x <= n / 2; x += n / 2) {
    for (int y = 0; y <= n / 2; y += n / 2) f(y, x, number++);
  }
  for (int x = 0; x <= n / 2; x += n / 2) {
    for (int y = 1; y < n / 2; ++y, number += 2) f(y, x, number);
  }
  for (int x = 1; x < n / 2; ++x) {
    for (int y = 0; y < n; ++y, number += 2) f(y, x, number);
  }
}

}  // namespace
}  // namespace linnet
