// Pools of planes, long sums and NaN in pools.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernel_tests.h"

using linnet::PoolPlane;
using linnet::PoolRow;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct PlaneCase {
  int64_t w, out_w, rows;
  int kernel, stride, dilation, pad_l, pad_r;
};

// The numbers of a row of windows, computed plainly in double.
std::vector<double> expected(const PlaneCase& c, const float* x, int64_t x_row, bool average,
                             bool include_pad) {
  std::vector<double> y;
  for (int64_t o = 0; o < c.out_w; ++o) {
    double sum = 0, most = -std::numeric_limits<double>::infinity();
    int64_t counted = 0;
    for (int j = 0; j < c.kernel; ++j) {
      const int64_t at = o * c.stride - c.pad_l + j * c.dilation;
      const bool inside = at >= 0 && at < c.w;
      counted += inside || (include_pad && at < c.w + c.pad_r);
      for (int64_t r = 0; inside && r < c.rows; ++r) {
        const double value = x[r * x_row + at];
        sum += value;
        if (value > most || std::isnan(value)) most = value;
        if (std::isnan(most)) break;
      }
      if (std::isnan(most)) break;
    }
    y.push_back(average ? sum / static_cast<double>(counted * c.rows) : most);
  }
  return y;
}

// What the kernel makes of it; guards are checked.
std::vector<float> pooled(const Kernels& k, const PlaneCase& c, const Buffer& x, int64_t x_row,
                          bool average, bool include_pad) {
  const int64_t columns = (c.out_w - 1) * c.stride + (c.kernel - 1) * c.dilation + 1;
  const int64_t length = (columns + c.stride - 1) / c.stride + 2 * k.width;
  Buffer line(columns + 4 * k.width), lines(c.stride * length), y(c.out_w);
  line.fill(kNan), lines.fill(kNan), y.fill(7);
  std::vector<int32_t> taps;
  for (int j = 0; j < c.kernel; ++j) {
    const int64_t at = j * c.dilation;
    taps.push_back(static_cast<int32_t>(at % c.stride * length + at / c.stride));
  }
  std::vector<float> scales(static_cast<size_t>(c.out_w + k.width));
  for (int64_t o = 0; o < c.out_w; ++o) {
    int64_t counted = 0;
    for (int j = 0; j < c.kernel; ++j) {
      const int64_t at = o * c.stride - c.pad_l + j * c.dilation;
      counted += (at >= 0 && at < c.w) || (include_pad && at < c.w + c.pad_r);
    }
    scales[static_cast<size_t>(o)] = 1.0f / static_cast<float>(counted);
  }
  PoolPlane t{};
  t.x = x.get(), t.x_row = x_row, t.rows = c.rows;
  t.w = std::min(c.w, columns - c.pad_l), t.pad_l = c.pad_l;
  t.columns = columns, t.stride = c.stride;
  t.line = line.get(), t.lines = lines.get(), t.length = length;
  t.taps = taps.data(), t.kernel = c.kernel;
  t.y = y.get(), t.out_w = c.out_w;
  t.scales = scales.data(), t.divisor_rows = c.rows;
  (average ? k.average_pool_plane : k.max_pool_plane)(t);
  CHECK(line.guards_intact());
  CHECK(lines.guards_intact());
  CHECK(y.guards_intact());
  return {y.get(), y.get() + c.out_w};
}

}  // namespace

TEST_CASE("planes: windows inside, over the edges, strided, dilated, few columns and many") {
  std::mt19937 random(6);
  const PlaneCase cases[] = {
      {12, 6, 2, 2, 2, 1, 0, 0},       {13, 7, 2, 2, 2, 1, 0, 1},   {70, 23, 3, 3, 3, 1, 0, 0},
      {67, 67, 3, 3, 1, 1, 1, 1},      {1, 1, 1, 1, 1, 1, 0, 0},    {1, 1, 2, 3, 2, 1, 1, 1},
      {51, 25, 3, 3, 2, 2, 1, 2},      {33, 12, 2, 5, 3, 1, 2, 3},  {64, 64, 1, 1, 1, 1, 0, 0},
      {130, 65, 2, 2, 2, 1, 0, 0},     {130, 33, 4, 3, 4, 1, 0, 0}, {5, 1, 300, 5, 1, 1, 0, 0},
      {1000, 1, 70, 1000, 1, 1, 0, 0}, {90, 10, 9, 81, 1, 1, 0, 0}, {40, 19, 100, 40, 2, 1, 20, 18},
  };
  for (const Kernels* k : tables()) {
    for (const PlaneCase& c : cases) {
      for (const bool average : {false, true}) {
        for (const bool include_pad : {false, true}) {
          const int64_t x_row = c.w + 3;
          Buffer x((c.rows - 1) * x_row + c.w);
          x.fill(random);
          const auto want = expected(c, x.get(), x_row, average, include_pad);
          const auto got = pooled(*k, c, x, x_row, average, include_pad);
          double worst = 0;
          for (size_t i = 0; i < want.size(); ++i)
            worst = std::max(worst, std::fabs(want[i] - static_cast<double>(got[i])));
          CHECK_MESSAGE(worst <= (average ? 2e-7 : 0.0), "isa ", k->isa, ", kernel ", c.kernel,
                        ", stride ", c.stride, ", rows ", c.rows, ": off by ", worst);
        }
      }
    }
  }
}

TEST_CASE("averages of one grey are that grey, of pixels and of planes") {
  const float grey = 0.1f;
  for (const Kernels* k : tables()) {
    for (const int64_t rows : {1, 7, 63, 256, 1023}) {
      for (const int64_t cols : {3, 8, 100, 1021}) {
        const PlaneCase c{cols, 1, rows, static_cast<int>(cols), 1, 1, 0, 0};
        Buffer x(rows * cols);
        x.fill(grey);
        const float plane = pooled(*k, c, x, cols, true, false)[0];
        CHECK(std::fabs(plane / grey - 1) < 1e-6f);

        Buffer pixels(cols * k->width), y(k->width);  // the same row over and over
        pixels.fill(grey);
        PoolRow t{};
        t.x = pixels.get(), t.x_col = k->width, t.rows = static_cast<int>(rows);
        t.w = cols, t.kernel_w = static_cast<int>(cols), t.stride_w = t.dilation_w = 1;
        t.channels = k->width, t.y = y.get(), t.y_col = k->width, t.out_w = 1;
        t.divisor_rows = t.rows;
        k->average_pool_row(t);
        CHECK(std::fabs(y.get()[k->width - 1] / grey - 1) < 1e-6f);
      }
    }
  }
}

TEST_CASE("averages hold infinities and NaN as plain sums do") {
  for (const Kernels* k : tables()) {
    const PlaneCase c{200, 2, 100, 200, 7, 1, 0, 7};
    for (const float value : {kInfinity, -kInfinity, kNan}) {
      Buffer x(c.rows * c.w);
      x.fill(1);
      x.get()[3 * c.w + 2] = value;
      const auto y = pooled(*k, c, x, c.w, true, false);
      CHECK((std::isnan(value) ? std::isnan(y[0]) : y[0] == value));
      CHECK(y[1] == doctest::Approx(1));
    }
  }
}

TEST_CASE("the maximum of a window is NaN wherever in it NaN is, of pixels and of planes") {
  for (const Kernels* k : tables()) {
    for (const int stride : {1, 2, 3}) {
      for (int64_t at = 0; at < 3 * 25; ++at) {
        const PlaneCase c{25, (25 - 3) / stride + 1, 3, 3, stride, 1, 0, 0};
        Buffer x(c.rows * c.w), pixels(c.rows * c.w * k->width), y(c.out_w * k->width);
        for (int64_t i = 0; i < x.count(); ++i) x.get()[i] = static_cast<float>((i * 7) % 11) - 5;
        x.get()[at] = at % 2 ? kNan : -kNan;
        for (int64_t i = 0; i < pixels.count(); ++i) pixels.get()[i] = x.get()[i / k->width];
        PoolRow t{};
        t.x = pixels.get(), t.x_col = k->width, t.x_row = c.w * k->width;
        t.rows = 3, t.w = c.w, t.kernel_w = 3, t.stride_w = stride, t.dilation_w = 1;
        t.channels = k->width, t.y = y.get(), t.y_col = k->width, t.out_w = c.out_w;
        k->max_pool_row(t);
        const auto want = expected(c, x.get(), c.w, false, false);
        const auto got = pooled(*k, c, x, c.w, false, false);
        for (size_t i = 0; i < want.size(); ++i) {
          const double pixel = y.get()[static_cast<int64_t>(i) * k->width + k->width - 1];
          CHECK(std::isnan(want[i]) == std::isnan(got[i]));
          CHECK(std::isnan(want[i]) == std::isnan(pixel));
          if (!std::isnan(want[i])) CHECK((got[i] == want[i] && pixel == want[i]));
        }
      }
    }
  }
}
