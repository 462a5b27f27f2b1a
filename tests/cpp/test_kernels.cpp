// Every kernel of every ISA this CPU has, against plain loops, with guard zones around what may be
// written.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "graph/builder.h"
#include "kernel_tests.h"
#include "kernels/kernels.h"
#include "kernels/winograd_points.h"

using linnet::DepthwiseTile;
using linnet::DirectTile;
using linnet::PoolRow;

namespace {

struct Reduction {
  int64_t outer, middle, inner;
};
struct Variant {
  const char* name;
  bool accumulate, residual, merge;
  Limits limits;
  int pool;
};

const Limits kNone{}, kRelu{0, kInfinity}, kRelu6{0, 0.75f}, kBelow{-kInfinity, 0.5f};
const Variant kVariants[] = {
    {"plain", false, false, false, kNone, 1},
    {"relu", false, false, false, kRelu, 1},
    {"relu6", false, false, false, kRelu6, 1},
    {"below", false, false, false, kBelow, 1},
    {"accumulate", true, false, false, {0.25f, kInfinity}, 1},
    {"residual", false, true, false, kRelu, 1},
    {"residual relu6", false, true, false, kRelu6, 1},
    {"pool2", false, false, false, kRelu, 2},
    {"pool2 relu6", false, false, false, kRelu6, 2},
    {"pool3", false, false, false, kNone, 3},
    {"pool3 below", false, false, false, kBelow, 3},
    {"merge", false, false, true, kRelu, 1},
    {"merge relu6", false, false, true, kRelu6, 1},
    {"pool2 merge", false, false, true, kRelu, 2},
    {"pool3 merge", false, false, true, kRelu6, 3},
};

double limited(double value, Limits limits) {
  return std::min<double>(std::max<double>(value, limits.low), limits.high);
}

// Runs one tile and compares every stored value, and every one that must stay, with DirectTile's
// definition.
void check_direct(const Kernels& k, linnet::DirectKernel kernel, int vecs, int cols,
                  const Reduction& r, const Variant& variant, ptrdiff_t x_col,
                  std::mt19937& random) {
  const int channels = vecs * k.width;
  const int stored = cols / variant.pool;
  const ptrdiff_t x_middle = r.inner + 2, x_outer = r.middle * x_middle + 3,
                  y_col = channels + k.width;
  Buffer x((cols - 1) * x_col + (r.outer - 1) * x_outer + (r.middle - 1) * x_middle + r.inner);
  Buffer w(r.outer * r.middle * r.inner * channels);
  Buffer bias(channels), y((stored - 1) * y_col + channels), residual(y.count());
  x.fill(random);
  w.fill(random);
  bias.fill(random);
  y.fill(random);
  residual.fill(random);

  std::vector<float> expected(y.get(), y.get() + y.count());
  for (int s = 0; s < stored; ++s) {
    for (int c = 0; c < channels; ++c) {
      const ptrdiff_t at = s * y_col + c;
      double best = -std::numeric_limits<double>::infinity();
      for (int p = s * variant.pool; p < (s + 1) * variant.pool; ++p) {
        double sum = bias.get()[c];
        const float* weight = w.get() + c;
        for (int64_t o = 0; o < r.outer; ++o) {
          for (int64_t m = 0; m < r.middle; ++m) {
            for (int64_t i = 0; i < r.inner; ++i, weight += channels) {
              sum += static_cast<double>(x.get()[p * x_col + o * x_outer + m * x_middle + i]) *
                     *weight;
            }
          }
        }
        if (variant.accumulate) sum += y.get()[at];
        if (variant.residual) sum += residual.get()[at];
        best = std::max(best, sum);
      }
      best = limited(best, variant.limits);
      if (variant.merge) best = std::max(best, static_cast<double>(y.get()[at]));
      expected[static_cast<size_t>(at)] = static_cast<float>(best);
    }
  }

  DirectTile t;
  t.x = x.get();
  t.x_col = x_col;
  t.x_outer = x_outer;
  t.x_middle = x_middle;
  t.outer = r.outer;
  t.middle = r.middle;
  t.inner = r.inner;
  t.w = w.get();
  t.bias = bias.get();
  t.residual = variant.accumulate ? y.get() : variant.residual ? residual.get() : nullptr;
  t.y = y.get();
  t.y_col = y_col;
  t.limits = variant.limits;
  t.pool_cols = variant.pool;
  t.pool_merge = variant.merge;
  kernel(t);

  const double tolerance = 3e-7 * static_cast<double>(8 + r.outer * r.middle * r.inner);
  double worst = 0;
  for (int64_t i = 0; i < y.count(); ++i) {
    const bool written = i % y_col < channels;
    const double error =
        std::fabs(static_cast<double>(y.get()[i]) - expected[static_cast<size_t>(i)]);
    if (!(error <= (written ? tolerance : 0.0)))
      worst = std::max(worst, std::isnan(error) ? 1e30 : error);
  }
  CHECK_MESSAGE(worst == 0, "isa ", k.isa, ", ", variant.name, ", vecs ", vecs, ", cols ", cols,
                ", reduction ", r.outer, "x", r.middle, "x", r.inner, ": off by ", worst);
  CHECK_MESSAGE(y.guards_intact(), "isa ", k.isa, ", ", variant.name, ", vecs ", vecs, ", cols ",
                cols, ": wrote outside its tile");
}

// A tile of pixels of six vectors of channels, or three with a residual. Kernel and stride are 0
// for the tiles of any window: then taps lie apart, and there may be none.
void check_depthwise(const Kernels& k, int kernel, int stride, int rows, int cols, int taps,
                     int members, std::mt19937& random) {
  const bool any = kernel == 0, residual = taps % 2 == 1;
  const int64_t vecs = residual ? 3 : 6, pixel = (vecs + 1) * k.width;
  DepthwiseTile t{};
  t.rows = taps, t.cols = any ? taps * 2 : kernel;
  t.x_col = any ? 2 * pixel : pixel;
  t.x_pixel = any ? 3 * pixel : stride * pixel;
  t.x_row = cols * t.x_pixel + t.cols * t.x_col;
  t.row_step = std::min(2, taps);
  t.members = members;
  t.w_row = (t.cols * members + 1) * k.width, t.w_vec = (taps + 1) * t.w_row;
  t.vecs = vecs, t.y_pixel = pixel, t.y_row = (cols + 1) * pixel;
  t.limits = residual ? kBelow : taps % 4 ? kRelu : kRelu6;
  Buffer x((taps + t.row_step + 1) * t.x_row), w(vecs * t.w_vec), bias(vecs * k.width),
      y(rows * t.y_row), added(rows * t.y_row);
  for (Buffer* b : {&x, &w, &bias, &added}) b->fill(random);
  y.fill(kGuard);
  t.x = x.get(), t.w = w.get(), t.bias = bias.get(), t.y = y.get();
  t.residual = residual ? added.get() : nullptr;
  (members > 1 ? k.grouped : k.depthwise)[kernel][stride].tile[rows][cols](t);
  CHECK(y.guards_intact());
  int wrong = 0;
  for (int64_t at = 0; at < y.count(); ++at) {
    const int64_t r = at / t.y_row, p = at % t.y_row / pixel, c = at % pixel;
    double sum = kGuard;
    if (p < cols && c < vecs * k.width) {
      sum = bias.get()[c];
      for (int64_t i = 0; i < t.rows; ++i) {
        for (int64_t j = 0; j < t.cols * members; ++j) {
          const int64_t from = c / members * members + (c + j) % members;
          const int64_t tap = (r * t.row_step + i) * t.x_row + p * t.x_pixel + from;
          sum += static_cast<double>(x.get()[tap + j / members * t.x_col]) *
                 w.get()[c / k.width * t.w_vec + i * t.w_row + j * k.width + c % k.width];
        }
      }
      if (residual) sum += added.get()[at];
      sum = limited(sum, t.limits);
    }
    wrong += std::abs(y.get()[at] - sum) > 1e-5;
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("isas: the best comes first, an empty name means it, others are refused") {
  const char* const* isas = linnet::available_isas();
  REQUIRE(isas[0] != nullptr);
  CHECK(&linnet::kernels_for("") == &linnet::kernels_for(isas[0]));
  CHECK(&linnet::kernels_for(nullptr) == &linnet::kernels_for(isas[0]));
  bool scalar = false;
  for (const Kernels* k : tables()) {
    scalar = scalar || std::string(k->isa) == "scalar";
    CHECK(&linnet::kernels_for(k->isa) == k);
    CHECK(k->width >= 1);
    CHECK(k->flops_per_cycle > 0);
  }
  CHECK(scalar);
  CHECK_THROWS_WITH_AS(linnet::kernels_for("sse9"), doctest::Contains("sse9"),
                       std::invalid_argument);
}

TEST_CASE("isas: every promised table entry is there") {
  for (const Kernels* k : tables()) {
    INFO("isa ", k->isa);
    REQUIRE(k->direct_vecs >= 1);
    REQUIRE(k->direct_vecs <= linnet::kMaxTileVecs);
    REQUIRE(k->gemv_vecs <= linnet::kMaxTileVecs);
    for (int vecs = 1; vecs <= k->direct_vecs; ++vecs) {
      REQUIRE(k->direct_cols[vecs] >= 1);
      REQUIRE(k->direct_cols[vecs] <= linnet::kMaxTileCols);
      for (int cols = 1; cols <= k->direct_cols[vecs]; ++cols)
        CHECK(static_cast<bool>(k->direct[vecs][cols]));
    }
    for (const auto& gemv : k->gemv) {
      for (int vecs = 1; vecs <= k->gemv_vecs; ++vecs) CHECK(static_cast<bool>(gemv[vecs]));
    }
    CHECK(k->depthwise[0][0].cols[1] >= 1);
    CHECK((k->grouped[0][0].cols[1] >= 1) == (k->width > 4));
    CHECK(static_cast<bool>(k->max_pool_row));
    CHECK(static_cast<bool>(k->average_pool_row));
    for (int code = 0; code < static_cast<int>(linnet::MapCode::kQuantize); ++code)
      CHECK(static_cast<bool>(k->map[code]));
    for (const linnet::IntegerTiles* tiles : {&k->wide, &k->bytes}) {
      REQUIRE(tiles->vecs <= linnet::kMaxTileVecs);
      for (int vecs = 1; vecs <= tiles->vecs; ++vecs) {
        REQUIRE(tiles->cols[vecs] <= linnet::kMaxTileCols);
        for (int cols = 1; cols <= tiles->cols[vecs]; ++cols)
          CHECK(static_cast<bool>(tiles->tile[vecs][cols]));
      }
    }
    CHECK(k->wide.vecs >= 1);
    CHECK(static_cast<bool>(k->depthwise_wide.run));
    CHECK(static_cast<bool>(k->quantize));
    CHECK(static_cast<bool>(k->normalize[0]));
  }
}

TEST_CASE("direct: every tile, reduction length and epilogue") {
  std::mt19937 random(1);
  const Reduction reductions[] = {{1, 1, 1}, {2, 1, 3},  {1, 3, 2}, {3, 2, 7},
                                  {2, 2, 8}, {1, 1, 37}, {7, 1, 7}};
  for (const Kernels* k : tables()) {
    for (int vecs = 1; vecs <= k->direct_vecs; ++vecs) {
      for (int cols = 1; cols <= k->direct_cols[vecs]; ++cols) {
        for (const Reduction& r : reductions) {
          for (const Variant& variant : kVariants) {
            if (cols % variant.pool == 0) {
              check_direct(*k, k->direct[vecs][cols], vecs, cols, r, variant, r.inner + 1, random);
            }
          }
        }
        // Pixels that overlap (one input channel) or are one and the same.
        for (const int64_t inner : {1, 2, 3, 4, 5, 7, 11}) {
          const Reduction r{3, 2, inner};
          check_direct(*k, k->direct[vecs][cols], vecs, cols, r, kVariants[1], 1, random);
        }
        check_direct(*k, k->direct[vecs][cols], vecs, cols, {2, 3, 5}, kVariants[1], 0, random);
      }
    }
  }
}

TEST_CASE("depthwise: every tile, some windows, with residual or activation") {
  std::mt19937 random(9);
  for (const Kernels* k : tables()) {
    for (int kernel = 0; kernel <= linnet::kMaxDepthwiseKernel; ++kernel) {
      for (int stride = 0; stride <= linnet::kMaxDepthwiseStride; ++stride) {
        const linnet::DepthwiseTiles& tiles = k->depthwise[kernel][stride];
        for (int rows = 1; rows <= linnet::kMaxDepthwiseRows; ++rows) {
          for (int cols = 1; cols <= tiles.cols[rows]; ++cols) {
            for (int taps = rows - 1; taps <= 5; ++taps) {
              INFO("isa ", k->isa, " kernel ", kernel, " stride ", stride, " rows ", rows, " cols ",
                   cols, " taps ", taps);
              check_depthwise(*k, kernel, stride, rows, cols, taps, 1, random);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("grouped: every tile, some windows, groups of every size that vectors hold several of") {
  std::mt19937 random(10);
  for (const Kernels* k : tables()) {
    for (int kernel = 0; kernel <= linnet::kMaxDepthwiseKernel; ++kernel) {
      for (int stride = 0; stride <= linnet::kMaxDepthwiseStride; ++stride) {
        for (int cols = 1; cols <= k->grouped[kernel][stride].cols[1]; ++cols) {
          for (int members = 2; members < k->width; members *= 2) {
            for (int taps = 0; taps <= 3; ++taps) {
              INFO("isa ", k->isa, " kernel ", kernel, " stride ", stride, " cols ", cols,
                   " members ", members, " taps ", taps);
              check_depthwise(*k, kernel, stride, 1, cols, taps, members, random);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("direct: long reductions") {
  std::mt19937 random(2);
  for (const Kernels* k : tables()) {
    for (int vecs = 1; vecs <= k->direct_vecs; ++vecs) {
      const int cols = k->direct_cols[vecs];
      check_direct(*k, k->direct[vecs][cols], vecs, cols, {6, 1, 96}, kVariants[0], 16, random);
      check_direct(*k, k->direct[vecs][cols], vecs, cols, {1, 1, 2051}, kVariants[0], 2051, random);
    }
  }
}

TEST_CASE("product: every number of columns up to a few tiles, and reduction length") {
  std::mt19937 random(6);
  for (const Kernels* k : tables()) {
    for (int vecs = 1; vecs <= k->direct_vecs; ++vecs) {
      const int64_t lanes = static_cast<int64_t>(vecs) * k->width;
      for (int64_t cols = 1; cols <= 2 * k->direct_cols[vecs] + 3; ++cols) {
        for (const int64_t taps : {1, 2, 3, 4, 5, 16, 37}) {
          const int points = 3;
          const int64_t x_col = taps + 5, x_point = cols * x_col + 1, y_point = cols * lanes + 4;
          Buffer x((points - 1) * x_point + (cols - 1) * x_col + taps), w(points * taps * lanes),
              y((points - 1) * y_point + cols * lanes);
          x.fill(random);
          w.fill(random);
          y.fill(kGuard);
          linnet::Product p{};
          p.points = points, p.cols = cols, p.taps = taps;
          p.x = x.get(), p.x_point = x_point, p.x_col = x_col;
          p.w = w.get();
          p.y = y.get(), p.y_point = y_point;
          k->product[vecs](p);
          bool right = y.guards_intact();
          for (int64_t i = 0; i < y.count(); ++i) {
            const int64_t point = i / y_point, col = i % y_point / lanes,
                          lane = i % y_point % lanes;
            double expected = col < cols ? 0.0 : static_cast<double>(kGuard);
            for (int64_t t = 0; t < taps && col < cols; ++t) {
              expected += static_cast<double>(x.get()[point * x_point + col * x_col + t]) *
                          w.get()[(point * taps + t) * lanes + lane];
            }
            right = right && std::fabs(y.get()[i] - expected) <= 3e-7 * static_cast<double>(taps);
          }
          CHECK_MESSAGE(right, "isa ", k->isa, ", vecs ", vecs, ", cols ", cols, ", taps ", taps);
        }
      }
    }
  }
}

TEST_CASE("winograd: the input transform") {
  using linnet::kWinogradPoints;
  constexpr int kN = kWinogradPoints;
  // Rows of B^T: the coefficients of the product of (x - a_l) over all l but j; see
  // winograd_points.h.
  double bt[kN][kN] = {};
  for (int j = 0; j < kN; ++j) {
    bt[j][0] = 1;
    for (int l = 0; l < kN - 1; ++l) {
      if (l == j) continue;
      for (int i = kN - 1; i >= 0; --i)
        bt[j][i] = (i ? bt[j][i - 1] : 0.0) - linnet::winograd_point(l) * bt[j][i];
    }
  }
  std::mt19937 random(7);
  for (const Kernels* k : tables()) {
    const ptrdiff_t x_col = k->width + 4, x_row = kN * x_col + 3, v_point = k->width + 12;
    Buffer x((kN - 1) * (x_row + x_col) + k->width), v((kN * kN - 1) * v_point + k->width);
    x.fill(random);
    v.fill(kGuard);
    k->winograd_input(x.get(), x_row, x_col, v.get(), v_point);
    CHECK(v.guards_intact());
    for (int i = 0; i < kN; ++i) {
      for (int j = 0; j < kN; ++j) {
        for (ptrdiff_t lane = 0; lane < v_point && (i < kN - 1 || j < kN - 1); ++lane) {
          double expected = lane < k->width ? 0.0 : static_cast<double>(kGuard);
          for (int r = 0; r < kN && lane < k->width; ++r) {
            for (int c = 0; c < kN; ++c)
              expected += bt[i][r] * bt[j][c] * x.get()[r * x_row + c * x_col + lane];
          }
          const double error = std::fabs(v.get()[(i * kN + j) * v_point + lane] - expected);
          CHECK_MESSAGE(error <= 2e-5, "isa ", k->isa, ", point ", i, ", ", j, ", lane ", lane);
        }
      }
    }
  }
}

TEST_CASE("energy: of any number of tiles and vectors, NaN and infinity among them") {
  const int32_t points[] = {0, 640, 1280, 2560};
  std::mt19937 random(8);
  for (const Kernels* k : tables()) {
    for (const int64_t tiles : {1, 2, 3, 5, 9, 16, 17, 36}) {
      for (const int64_t vecs : {1, 3}) {
        const int64_t step = vecs * k->width + 4;
        Buffer v(2560 + (tiles - 1) * step + vecs * k->width), most(tiles), total(tiles);
        v.fill(random);
        // A lane that no other tile has.
        v.get()[640 + (tiles - 1) * step + vecs * k->width - 1] = tiles % 2 ? NAN : kInfinity;
        k->energy({v.get(), points, 4, vecs, tiles, step}, most.get(), total.get());
        CHECK((most.guards_intact() && total.guards_intact()));
        for (int64_t t = 0; t < tiles; ++t) {
          double largest = 0, sum = 0;
          for (int64_t lane = 0; lane < vecs * k->width; ++lane) {
            double each = 0;
            for (const int32_t point : points) {
              const double number = v.get()[point + t * step + lane];
              each += number * number;
            }
            sum += each;
            largest = each > largest || each != each ? each : largest;
          }
          for (const auto& [found, right] :
               {std::pair(most.get()[t], largest), std::pair(total.get()[t], sum)}) {
            const bool same = std::isfinite(right)
                                  ? std::fabs(found - right) <= 1e-6 * right
                                  : std::isnan(right) == std::isnan(found) && !std::isfinite(found);
            CHECK_MESSAGE(same, "isa ", k->isa, ", tile ", t, " of ", tiles, ", vecs ", vecs);
          }
        }
      }
    }
  }
}

TEST_CASE("squares: of any number of runs and neighbours, NaN among them") {
  std::mt19937 random(9);
  for (const Kernels* k : tables()) {
    for (const int64_t count : {1, 7, 16, 63, 64, 65, 200}) {
      for (const int64_t runs : {1, 3}) {
        Buffer x(runs * (count + 5));
        for (const int64_t odd : {int64_t{-1}, int64_t{0}, count / 2, count - 1}) {
          x.fill(random);
          for (int64_t i = 0; i < runs * 5; ++i)
            x.get()[i / 5 * (count + 5) + count + i % 5] = kInfinity;  // between runs
          double largest = 0, sum = 0;
          for (int64_t i = 0; i < runs * count; ++i) {
            const double number = x.get()[i / count * (count + 5) + i % count];
            largest = std::max(largest, number * number), sum += number * number;
          }
          if (odd >= 0) x.get()[(runs - 1) * (count + 5) + odd] = NAN;
          float most = 0, total = 0;
          k->squares(x.get(), runs, count, count + 5, &most, &total);
          const bool same = odd >= 0 ? std::isnan(most) && std::isnan(total)
                                     : std::fabs(most - largest) <= 1e-6 * largest &&
                                           std::fabs(total - sum) <= 1e-5 * sum;
          CHECK_MESSAGE(same, "isa ", k->isa, ", runs ", runs, " of ", count, ", odd ", odd);
        }
      }
    }
  }
}

TEST_CASE("winograd: the output transform, every size, pool and residual") {
  constexpr int kN = linnet::kWinogradPoints, kTiles = 3, kVecs = 2;
  std::mt19937 random(8);
  for (const Kernels* k : tables()) {
    for (int m = 2; m <= 7; ++m) {
      for (const int pool : {1, 2, 3, -1}) {  // -1: a residual
        const int window = std::abs(pool), stored = m / window;
        if (m % window != 0) continue;
        const ptrdiff_t m_point = kTiles * kVecs * k->width + 8;
        const ptrdiff_t z_vec = kN * m * k->width + 4, z_tile = kVecs * z_vec + 8;
        Buffer points((kN * kN - 1) * m_point + kTiles * kVecs * k->width), z(kTiles * z_tile);
        points.fill(random);
        z.fill(kGuard);
        for (int i = 0; i < kN; ++i) {
          linnet::WinogradRow r{};
          r.m = points.get() + i * kN * m_point, r.m_point = m_point;
          r.tiles = kTiles, r.vecs = kVecs;
          r.z = z.get() + i * m * k->width, r.z_tile = z_tile, r.z_vec = z_vec;
          k->winograd_row[m](r);
        }
        CHECK(z.guards_intact());

        for (int which = 0; which < kTiles * kVecs; ++which) {
          const ptrdiff_t y_col = k->width + 4, y_row = m * y_col + 5;
          Buffer bias(k->width), y((stored - 1) * (y_row + y_col) + k->width), residual(y.count());
          bias.fill(random);
          residual.fill(random);
          y.fill(kGuard);
          linnet::WinogradOutput o{};
          o.z = z.get() + which / kVecs * z_tile + which % kVecs * z_vec;
          o.bias = bias.get();
          o.residual = pool < 0 ? residual.get() : nullptr;
          o.y = y.get(), o.y_row = y_row, o.y_col = y_col;
          o.limits = {0.125f, which % 2 ? kInfinity : 0.5f};
          o.pool = window;
          k->winograd_output[m](o);
          CHECK(y.guards_intact());

          const auto power = [&](int i, int j) {  // A^T
            return j == kN - 1 ? (i == m - 1 ? 1.0 : 0.0)
                               : linnet::winograd_power(linnet::winograd_point(j), i);
          };
          double worst = 0, largest = 1;
          std::vector<double> expected(static_cast<size_t>(y.count()), static_cast<double>(kGuard));
          for (int i = 0; i < m; ++i) {
            for (int j = 0; j < m; ++j) {
              for (int lane = 0; lane < k->width; ++lane) {
                const ptrdiff_t at = i / window * y_row + j / window * y_col + lane;
                double sum = bias.get()[lane];
                for (int r = 0; r < kN; ++r) {
                  for (int c = 0; c < kN; ++c) {
                    sum += power(i, r) * power(j, c) *
                           points.get()[(r * kN + c) * m_point + which * k->width + lane];
                  }
                }
                largest = std::max(largest, std::fabs(sum));
                if (pool < 0) sum += residual.get()[at];
                double& most = expected[static_cast<size_t>(at)];
                most = std::max(most, limited(sum, o.limits));
              }
            }
          }
          for (ptrdiff_t i = 0; i < y.count(); ++i)
            worst = std::max(worst, std::fabs(y.get()[i] - expected[static_cast<size_t>(i)]));
          CHECK_MESSAGE(worst <= 1e-6 * largest, "isa ", k->isa, ", ", m, " pixels, pool ", pool);
        }
      }
    }
  }
}

TEST_CASE("gemv: every width, reduction length and epilogue") {
  std::mt19937 random(3);
  const Reduction reductions[] = {{1, 1, 1}, {1, 1, 2}, {2, 3, 5}, {1, 1, 17}, {1, 1, 1024}};
  for (const Kernels* k : tables()) {
    for (int vecs = 1; vecs <= k->gemv_vecs; ++vecs) {
      for (const Reduction& r : reductions) {
        for (const Variant& variant : kVariants) {
          if (variant.pool == 1) check_direct(*k, k->gemv[0][vecs], vecs, 1, r, variant, 0, random);
        }
      }
    }
  }
}

namespace {

// Random numbers of a type, [taps][lanes], and what they stand for.
struct Typed {
  Typed(linnet::DType type, int64_t taps, int64_t lanes, std::mt19937& random)
      : scale(lanes), floats(taps * lanes) {
    std::uniform_int_distribution<int> byte(-128, 127);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    for (int64_t lane = 0; lane < lanes; ++lane) scale.get()[lane] = uniform(random) / 100;
    bytes.resize(static_cast<size_t>(taps * lanes) * sizeof(float));
    for (int64_t i = 0; i < taps * lanes; ++i) {
      if (type == linnet::DType::kI8) {
        const auto q = static_cast<int8_t>(byte(random));
        std::memcpy(&bytes[static_cast<size_t>(i)], &q, sizeof q);
        floats.get()[i] = static_cast<float>(q) * scale.get()[i % lanes];
      } else {
        // A multiple of 1/1024 below 1 is a float16 whose bits are easily said.
        const int n = byte(random);
        const float value = static_cast<float>(n) / 256;
        uint16_t half = n < 0 ? 0x8000 : 0;
        if (n != 0) {
          int exponent;
          const float fraction = std::frexp(std::fabs(value), &exponent);
          half = static_cast<uint16_t>(half | (exponent + 14) << 10 |
                                       static_cast<int>((2 * fraction - 1) * 1024));
        }
        std::memcpy(&bytes[2 * static_cast<size_t>(i)], &half, sizeof half);
        floats.get()[i] = value;
      }
    }
  }
  Buffer scale, floats;
  std::vector<char> bytes;
};

}  // namespace

TEST_CASE("gemv: weights of fewer bits multiply as the floats they stand for") {
  std::mt19937 random(4);
  for (const Kernels* k : tables()) {
    for (int type = 1; type < linnet::kWeightTypes; ++type) {
      for (int vecs = 1; vecs <= k->gemv_vecs; ++vecs) {
        for (const int64_t taps : {1, 2, 5, 17, 256}) {
          const int lanes = vecs * k->width;
          Typed w(static_cast<linnet::DType>(type), taps, lanes, random);
          Buffer x(taps), bias(lanes), want(lanes), got(lanes), expanded(taps * lanes);
          x.fill(random);
          bias.fill(random);
          DirectTile t{};
          t.x = x.get();
          t.outer = t.middle = 1;
          t.inner = taps;
          t.w = w.floats.get();
          t.scale = w.scale.get();
          t.bias = bias.get();
          t.limits = {-0.25f, 0.5f};
          t.pool_cols = 1;
          t.y = want.get();
          k->gemv[0][vecs](t);
          t.w = w.bytes.data();
          t.y = got.get();
          k->gemv[type][vecs](t);
          float worst = 0;
          for (int c = 0; c < lanes; ++c)
            worst = std::max(worst, std::fabs(got.get()[c] - want.get()[c]));
          CHECK_MESSAGE(worst <= 1e-6f * static_cast<float>(8 + taps), "isa ", k->isa, ", type ",
                        type, ", vecs ", vecs, ", taps ", taps, ": off by ", worst);
          CHECK(got.guards_intact());

          k->expand[type](w.bytes.data(), w.scale.get(), expanded.get(), taps, vecs);
          CHECK(std::memcmp(expanded.get(), w.floats.get(),
                            static_cast<size_t>(taps * lanes) * sizeof(float)) == 0);
          CHECK(expanded.guards_intact());
        }
      }
    }
  }
}

TEST_CASE("expand: every float16") {
  std::vector<uint16_t> halves(65536);
  std::iota(halves.begin(), halves.end(), uint16_t{0});
  linnet::Weight w;
  w.shape = {65536};
  w.type = linnet::DType::kF16;
  w.stored = halves.data();
  const linnet::Weight want = w.as(linnet::DType::kF32);  // checked in test_onnx_reader.cpp
  for (const Kernels* k : tables()) {
    Buffer got(65536);
    k->expand[1](halves.data(), nullptr, got.get(), 65536 / k->width, 1);
    int wrong = 0;
    for (int i = 0; i < 65536; ++i) {
      wrong += std::isnan(want.data[i]) ? !std::isnan(got.get()[i])
                                        : std::memcmp(&want.data[i], &got.get()[i], 4) != 0;
    }
    CHECK_MESSAGE(wrong == 0, "isa ", k->isa);
  }
}

TEST_CASE("direct and gemv: infinities and NaN are not hidden") {
  for (const Kernels* k : tables()) {
    for (const linnet::DirectKernel kernel : {k->direct[1][1], +k->gemv[0][1]}) {
      Buffer x(1), w(k->width), bias(k->width), y(k->width);
      w.fill(1);
      bias.fill(0);
      DirectTile t{};
      t.x = x.get();
      t.outer = t.middle = t.inner = 1;
      t.w = w.get();
      t.bias = bias.get();
      t.y = y.get();
      t.pool_cols = 1;
      x.get()[0] = std::numeric_limits<float>::quiet_NaN();
      for (const Limits& l : {kNone, kRelu6, kRelu}) {
        t.limits = l;
        kernel(t);
        CHECK(std::isnan(y.get()[0]));
      }
      x.get()[0] = kInfinity;
      kernel(t);
      CHECK(y.get()[k->width - 1] == kInfinity);
      x.get()[0] = -kInfinity;
      kernel(t);
      CHECK(y.get()[0] == 0);
    }
  }
}

namespace {

struct PoolCase {
  int64_t w, out_w;
  int rows, kernel, stride, dilation, pad_l, pad_r;
};

// `rows` are the window rows inside the image; the kernel's own height is one more, all of it
// counted for include_pad.
void check_pool(const Kernels& k, const PoolCase& c, int64_t channels, bool average,
                bool include_pad, std::mt19937& random) {
  const ptrdiff_t x_col = channels, x_row = c.w * x_col + k.width, y_col = channels + k.width;
  Buffer x((c.rows - 1) * x_row + c.w * x_col), y((c.out_w - 1) * y_col + channels);
  x.fill(random);
  y.fill(7);
  PoolRow t{};
  t.x = x.get();
  t.x_row = x_row;
  t.x_col = x_col;
  t.rows = c.rows;
  t.w = c.w;
  t.kernel_w = c.kernel;
  t.stride_w = c.stride;
  t.dilation_w = c.dilation;
  t.pad_l = c.pad_l;
  t.pad_r = c.pad_r;
  t.channels = channels;
  t.y = y.get();
  t.y_col = y_col;
  t.out_w = c.out_w;
  t.divisor_rows = include_pad ? c.rows + 1 : c.rows;
  t.include_pad = include_pad;
  (average ? k.average_pool_row : k.max_pool_row)(t);

  double worst = 0;
  for (int64_t o = 0; o < c.out_w; ++o) {
    for (int64_t ch = 0; ch < y_col && o * y_col + ch < y.count(); ++ch) {
      double expected = 7;
      if (ch < channels) {
        double sum = 0, best = -1e30;
        int64_t counted = 0;
        for (int j = 0; j < c.kernel; ++j) {
          const int64_t at = o * c.stride - c.pad_l + j * c.dilation;
          const bool inside = at >= 0 && at < c.w;
          if (inside || (include_pad && at < c.w + c.pad_r)) ++counted;
          if (!inside) continue;
          for (int r = 0; r < c.rows; ++r) {
            const double value = x.get()[r * x_row + at * x_col + ch];
            sum += value;
            best = std::max(best, value);
          }
        }
        expected = average ? sum / static_cast<double>(counted * t.divisor_rows) : best;
      }
      worst = std::max(worst, std::fabs(expected - static_cast<double>(y.get()[o * y_col + ch])));
    }
  }
  CHECK_MESSAGE(worst <= (average ? 1e-6 : 0.0), "isa ", k.isa, average ? ", average" : ", max",
                ", kernel ", c.kernel, ", stride ", c.stride, ", dilation ", c.dilation,
                ", channels ", channels, ": off by ", worst);
  CHECK(y.guards_intact());
}

}  // namespace

TEST_CASE("pooling: windows inside, over the edges, strided, dilated") {
  std::mt19937 random(4);
  const PoolCase cases[] = {
      {12, 6, 2, 2, 2, 1, 0, 0}, {13, 7, 2, 2, 2, 1, 0, 1}, {9, 3, 3, 3, 3, 1, 0, 0},
      {7, 7, 1, 3, 1, 1, 1, 1},  {1, 1, 1, 1, 1, 1, 0, 0},  {1, 1, 2, 3, 2, 1, 1, 1},
      {11, 5, 3, 3, 2, 2, 1, 2}, {10, 4, 2, 5, 3, 1, 2, 3},
  };
  for (const Kernels* k : tables()) {
    for (const PoolCase& c : cases) {
      for (const int64_t vecs : {1, 3, 4, 9}) {
        check_pool(*k, c, vecs * k->width, false, false, random);
        check_pool(*k, c, vecs * k->width, true, false, random);
        check_pool(*k, c, vecs * k->width, true, true, random);
      }
    }
  }
}

TEST_CASE("pooling: a window wholly in the padding is zero, so padded channels stay zero") {
  for (const Kernels* k : tables()) {
    Buffer x(2 * k->width), y(2 * k->width);
    x.fill(5);
    PoolRow t{};
    t.x = x.get();
    t.x_row = 2 * k->width;
    t.x_col = k->width;
    t.rows = 1;
    t.w = 2;
    t.kernel_w = 2;
    t.stride_w = 2;
    t.dilation_w = 1;
    t.pad_l = 2;
    t.channels = k->width;
    t.y = y.get();
    t.y_col = k->width;
    t.out_w = 2;
    t.divisor_rows = 1;
    for (const auto pool : {k->max_pool_row, k->average_pool_row}) {
      pool(t);
      CHECK(y.get()[0] == 0);
      CHECK(y.get()[k->width] == 5);
      CHECK(y.guards_intact());
    }
  }
}

// Both transforms back, whose results are tested layer by layer, without limits.
TEST_CASE("winograd lines and fourier: limits keep results within and NaN as it is") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::mt19937 random(10);
  for (const Kernels* k : tables()) {
    INFO("isa ", k->isa);
    const auto check = [&](int64_t pixels, const auto& run) {
      Buffer bias(k->width), none(pixels * k->width), got(none.count());
      bias.fill(random);
      bias.get()[0] = nan;
      none.fill(kGuard);
      run(bias, kNone, none.get());
      for (const Limits& l : {kRelu, kRelu6, kBelow}) {
        got.fill(kGuard);
        run(bias, l, got.get());
        int wrong = 0;
        for (int64_t i = 0; i < got.count(); ++i) {
          const float plain = none.get()[i], value = got.get()[i];
          wrong += i % k->width == 0 ? !std::isnan(plain) || !std::isnan(value)
                                     : value != static_cast<float>(limited(plain, l));
        }
        CHECK(wrong == 0);
        CHECK(got.guards_intact());
      }
    };
    for (int pairs = 3; pairs <= 5; ++pairs) {
      Buffer m(linnet::winograd_points(pairs) * k->width);
      m.fill(random);
      for (int outputs = 2; outputs <= linnet::kMaxLineOutputs; ++outputs) {
        check(outputs, [&](const Buffer& bias, Limits limits, float* y) {
          linnet::WinogradLine l{};
          l.m = m.get(), l.m_point = k->width;
          l.tiles = l.vecs = 1;
          l.bias = bias.get();
          l.y = y, l.y_col = k->width, l.last = outputs, l.pool = 1;
          l.limits = limits;
          k->winograd_line[pairs][outputs](l);
        });
      }
    }
    for (int size = 0; size < 2; ++size) {
      const int n = 8 << size;
      Buffer m(n * n * k->width);
      m.fill(random);
      check(n * n, [&](const Buffer& bias, Limits limits, float* y) {
        linnet::FourierOutput o{};
        o.m = m.get();
        o.bias = bias.get();
        o.y = y, o.y_row = n * k->width, o.y_col = k->width;
        o.rows = o.cols = n, o.pool_rows = o.pool_cols = 1;
        o.limits = limits;
        k->fourier_output[size](o);
      });
    }
  }
}
