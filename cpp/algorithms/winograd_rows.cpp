// Winograd convolution along rows, F(m, s) for kernels of 3 to 9 columns and any number of rows,
// horizontal stride 1: each row of the kernel is a filter of s taps, and the rows and channels are
// summed between the transforms. It saves less than two dimensions, but takes more kernels, errs
// less for long ones and is worth it with a single input channel. The points and their error:
// kernels/winograd_points.h.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "../kernels/winograd_points.h"
#include "algorithms/algorithm.h"
#include "algorithms/cost.h"
#include "algorithms/epilogue.h"
#include "algorithms/repair.h"

namespace linnet {
namespace {

// What the transformed rows of one band may fill of a core's second-level cache.
constexpr int64_t kBandBytes = 192 * 1024;
// Energies beyond so many times the rest's are too large (docs/numerics.md).
constexpr float kMostEnergy = 4;
constexpr double kMostRow = 1 << 24;  // floats of a band of one row

int64_t taps_of(const Problem& p) { return p.conv().window.kernel[0] * p.x.dims.c; }

// Longer kernels in tiles of 12 err by more than half of what is allowed.
constexpr int64_t kMostColumns = 9;

// Pairs of points that keep the error of sums over this many rows and channels well below 1e-4 of
// the results' rms (measured by bench/errors.py).
int most_pairs(int64_t taps) {
  return taps <= 32 ? 5 : taps <= 1024 ? 4 : taps <= kMostTerms ? 3 : 0;
}

// What products may fill of a core's first-level cache.
constexpr double kProductShare = 0.5;
// Cycles of the transforms for one vector and point, for the cost estimate.
constexpr double kInputCycles = 6, kOutputCycles = 2.8, kTransposeCycles = 3.5;
constexpr double kEnds = 0.5;  // of a direct tile's beginning and end, those of a product's

// One way to cut the rows of a problem.
struct Tiling {
  int pairs = 0;      // of points; 0 if the kernel fits none
  int64_t points, m;  // m outputs a tile
  int64_t tiles;      // of an output row
  int vecs;           // vectors of output channels of a panel
};

// Floats of the transformed input of one stored row, in double: a stride alone may overflow.
double row_floats(const Problem& p, const Tiling& t) {
  const double rows = static_cast<double>(p.end.pool[0] - 1) * p.conv().window.stride[0] +
                      p.conv().window.kernel[0];
  return rows * static_cast<double>(p.x.dims.c * t.points) * static_cast<double>(t.tiles);
}

double row_cycles(const Problem& p, const Kernels& kernels, const Tiling& t) {
  constexpr double kSize = sizeof(float);
  const int64_t vectors = ceil_div(p.y.dims.c, kernels.width);
  const auto taps = static_cast<double>(taps_of(p)), points = static_cast<double>(t.points);
  const double groups = static_cast<double>(ceil_div(t.tiles, kernels.direct_cols[t.vecs]));
  const double panels = static_cast<double>(ceil_div(vectors, t.vecs));
  const double tile =
      tile_cycles(kernels, t.vecs, static_cast<double>(t.tiles) / groups, taps, 0, kEnds);
  // A panel's weights pass once for each row, with too few tiles to hide that.
  const double panel = points * taps * t.vecs * kernels.width * kSize;
  const double inputs = points * static_cast<double>(t.tiles) * taps * kSize;
  const double compute = points * groups * tile;
  const double stream = stream_cycles(panel, 2 * panel + inputs);
  return panels * (std::max(compute, stream) + 0.5 * std::min(compute, stream)) +
         machine().transforms * kOutputCycles * static_cast<double>(t.tiles * t.points * vectors);
}

// The cheapest tiling, whose pools lie within tiles.
Tiling choose_tiling(const Problem& p, const Kernels& kernels) {
  Tiling best;
  if (p.conv().window.kernel[1] > kMostColumns) return best;
  double least = std::numeric_limits<double>::infinity();
  for (int pairs = kWinogradPairs; pairs <= most_pairs(taps_of(p)); ++pairs) {
    Tiling t;
    t.pairs = pairs;
    t.points = winograd_points(pairs);
    t.m = t.points + 1 - p.conv().window.kernel[1];
    if (t.m < 2 || t.m > kMaxLineOutputs || t.m % p.end.pool[1] != 0) continue;
    t.tiles = ceil_div(p.y.dims.w * p.end.pool[1], t.m);
    for (t.vecs = 1;
         t.vecs <= std::min<int64_t>(kernels.direct_vecs, ceil_div(p.y.dims.c, kernels.width));
         ++t.vecs) {
      const double cycles = row_cycles(p, kernels, t);
      if (cycles < least) least = cycles, best = t;
    }
  }
  return best;
}

struct RowsArgs {
  Convolution p;
  Tiling t;
  int64_t taps;              // rows and channels
  int width;                 // of a vector
  int64_t k;                 // output channels, padded
  int64_t x_pixel, y_pixel;  // from one to the next
  bool planar;
  bool narrow;      // pixels of less than a vector
  int64_t columns;  // pixel columns that the tiles of a row cover
  int64_t panels;   // of output channels
  int64_t bands, band_rows, splits;
  int64_t span;  // tiles multiplied at a time
  int64_t v_tile, v_point, m_point;
  int32_t energy_points[8] = {};
  int energy_count;
  bool compared;    // energies are
  int64_t scratch;  // floats before the energies

  RowsArgs(const Problem& problem, const Kernels& kernels);
  int64_t all_parts() const { return p.n * p.x.dims.h * t.tiles; }
  // The first of the input rows, padding included, of a stored row.
  int64_t input_row(int64_t stored) const {
    return stored * p.end.pool[0] * p.window.stride[0] - p.window.pad[0];
  }
  int64_t input_rows(int64_t rows) const {
    return (rows * p.end.pool[0] - 1) * p.window.stride[0] + p.window.kernel[0];
  }
  // A tile of one point: its rows, channels innermost, and what whole vectors write beyond. An odd
  // number of cache lines, so that neighbouring tiles lie in different sets.
  int64_t tile_floats(int64_t rows) const {
    constexpr int64_t kLine = 16;
    return (ceil_div(round_up(input_rows(rows) * p.x.dims.c, width) + width, kLine) | 1) * kLine;
  }
  // V, M, the band's input transposed or a patch of one pixel row at the image's border, and a line
  // for energies.
  int64_t thread_floats() const {
    const int64_t input = planar ? columns * v_tile : t.points * round_up(p.x.dims.c, width);
    return round_up(t.points * (v_point + m_point) + input + (planar || narrow ? v_tile : 0), 64);
  }

 private:
  void choose_bands();
};
enum : uint8_t { kWeights, kBias };

// An input row by a tile is what leaves an energy.
Parts parts_of(const RowsArgs& a) {
  // Other rows of a window have their part of the errors.
  const float share = 1 + 1.5f * static_cast<float>(a.p.window.kernel[0]);
  // The squares of the factors of the points in an energy, by pairs.
  constexpr float kWhite[] = {0, 0, 0, 179.9f, 527.6f, 4620.1f};
  return {a.p.x.dims.h * a.t.tiles,
          ceil_div(a.t.points, a.t.m),
          kMostEnergy,
          share,
          kWhite[a.t.pairs],
          a.t.tiles,
          1,
          1,
          0};
}

Repair repair_of(const RowsArgs& a, const Kernels& kernels) {
  return {a.p, kernels, parts_of(a), 1, a.t.m / a.p.end.pool[1]};
}

RowsArgs::RowsArgs(const Problem& problem, const Kernels& kernels)
    : p(problem),
      t(choose_tiling(problem, kernels)),
      taps(taps_of(problem)),
      width(kernels.width),
      k(round_up(p.y.dims.c, width)),
      x_pixel(p.x.pixel(width)),
      y_pixel(p.y.pixel(width)),
      planar(p.x.layout == Layout::kNchw),
      narrow(p.x.dims.c < width),
      columns((t.tiles - 1) * t.m + t.points),
      panels(ceil_div(k / width, t.vecs)) {
  choose_bands();
  v_tile = tile_floats(band_rows);
  v_point = t.tiles * v_tile + 16;
  // Products of as many tiles at a time as the first-level cache holds.
  const int64_t tile_bytes_of_m = t.points * t.vecs * width * static_cast<int64_t>(sizeof(float));
  const int64_t fitting = static_cast<int64_t>(kProductShare * machine().l1) / tile_bytes_of_m;
  span = std::clamp<int64_t>(fitting, 1, t.tiles);
  span = ceil_div(t.tiles, ceil_div(t.tiles, span));
  m_point = span * t.vecs * width + 16;
  // One point of each pair but the first stands for all in the energy of a tile's row, with the
  // points 0 and infinity; an even number of them.
  energy_count = 0;
  const auto add = [&](int64_t point) {
    energy_points[energy_count++] = static_cast<int32_t>(point * v_point);
  };
  for (int j = 3; j < t.points - 1; j += 2) add(j);
  add(0), add(t.points - 1);
  if (energy_count % 2) add(1);
  compared = parts_of(*this).compared();
  scratch = std::max(p.threads * thread_floats(), repair_of(*this, kernels).scratch_floats());
}

void RowsArgs::choose_bands() {
  const auto tile_bytes = [&](int64_t rows) {
    // In double: rows that a vertical stride has spread far apart.
    return static_cast<double>(tile_floats(rows)) * static_cast<double>(t.points * t.tiles) *
           sizeof(float);
  };
  const int64_t height = p.y.dims.h;
  int64_t rows = height;
  while (rows > 1 && tile_bytes(rows) > kBandBytes) rows = ceil_div(rows, 2);
  // Bands overlap: one to four for each thread, whichever makes the most loaded one's rows
  // fewest.
  if (p.threads > 1 && p.n < 4 * p.threads) {
    int64_t least = std::numeric_limits<int64_t>::max();
    for (int64_t share = 1, most = rows; share <= 4; ++share) {
      const int64_t band = std::min(ceil_div(p.n * height, share * p.threads), most);
      const int64_t turns = ceil_div(p.n * ceil_div(height, band), p.threads);
      const int64_t cost = turns * (input_rows(band) + 4 * band * p.end.pool[0]);
      if (cost < least) least = cost, rows = band;
    }
  }
  bands = ceil_div(height, rows);
  band_rows = ceil_div(height, bands);
  bands = ceil_div(height, band_rows);
  splits = p.threads == 1 ? 1 : std::min(panels, ceil_div(2 * p.threads, p.n * bands));
}

// G.
LeftInverse inverse_of(const RowsArgs& a) {
  const int taps = static_cast<int>(a.p.window.kernel[1]);
  LeftInverse::Transform g;
  for (int j = 0; j < a.t.points; ++j) {
    for (int i = 0; i < taps; ++i) g[j][i] = winograd_weight(a.t.pairs, j, i, taps);
  }
  return {g, static_cast<int>(a.t.points), taps};
}

// U[panel][j][row][c][vecs * width] = G g, computed in double.
PlanData pack(const RowsArgs& a, const Weight& weight, const Context& context) {
  const int64_t rows = a.p.window.kernel[0], s = a.p.window.kernel[1], taps = a.taps;
  const std::string packing = "winograd line " + std::to_string(a.t.points) + " v" +
                              std::to_string(a.width) + "x" + std::to_string(a.t.vecs);
  return context.weights.get(
      &weight, packing, a.t.points * taps * a.k, [&](const Weight& loaded, float* out) {
        const int64_t lanes = a.t.vecs * a.width;
        for (int64_t k = 0; k < a.p.y.dims.c; ++k) {
          const int64_t first = k / lanes * lanes;  // channel of the panel
          const int64_t panel_lanes = std::min(lanes, a.k - first);
          for (int64_t c = 0; c < a.p.x.dims.c; ++c) {
            for (int64_t r = 0; r < rows; ++r) {
              const float* w = loaded.data + ((k * a.p.x.dims.c + c) * rows + r) * s;
              for (int j = 0; j < a.t.points; ++j) {
                double sum = 0;
                for (int i = 0; i < s; ++i)
                  sum += winograd_weight(a.t.pairs, j, i, static_cast<int>(s)) * w[i];
                out[first * a.t.points * taps + ((j * rows + r) * a.p.x.dims.c + c) * panel_lanes +
                    k - first] = static_cast<float>(sum);
              }
            }
          }
        }
      });
}

// The way back from U.
void recover_weights(const RowsArgs& a, const LeftInverse& inverse, const float* packed, int64_t k,
                     float* weights) {
  const int64_t taps = a.taps, cols = a.p.window.kernel[1], channels = a.p.x.dims.c;
  const int64_t lanes = a.t.vecs * a.width, first = k / lanes * lanes;
  const int64_t panel_lanes = std::min(lanes, a.k - first);
  const float* u = packed + first * a.t.points * taps + k - first;
  for (int64_t tap = 0; tap < taps; ++tap) {
    for (int64_t s = 0; s < cols; ++s) {
      float* to = weights + ((tap / channels * cols + s) * channels + tap % channels) * a.width;
      RecoveredSums sums;
      for (int j = 0; j < a.t.points; ++j)
        if (inverse.uses(j))
          sums.add(inverse.at(static_cast<int>(s), j), u + (j * taps + tap) * panel_lanes, a.width);
      sums.weights(to, a.width);
    }
  }
}

// Where a band leaves the energies of its rows: those that no later band begins with, which
// number `first` to `last` of its input. Nowhere where another part of the panels does.
struct Energies {
  float* first_row;  // of the band's input, [row][tile]
  int64_t first, last;
};
Energies energies_of(const RowsArgs& a, const FloatOperands& o, int64_t image, int64_t band,
                     bool leaves) {
  const int64_t row = band * a.band_rows, top = a.input_row(row);
  const int64_t end = band + 1 == a.bands ? a.p.x.dims.h : a.input_row(row + a.band_rows);
  float* of_image = o.workspace + a.scratch + image * a.p.x.dims.h * a.t.tiles;
  return {of_image + top * a.t.tiles, std::max<int64_t>(0, -top),
          leaves ? std::min(end, a.p.x.dims.h) - top : 0};
}
Energy energy_of(const RowsArgs& a, const float* v, int64_t vecs) {
  return {v, a.energy_points, a.energy_count, vecs, 1, 0};
}

// Of all rows of a tile at once.
void leave_energies(const RowsArgs& a, const Kernels& kernels, const float* v, int64_t rows,
                    const Energies& energies, int64_t tile, float* line) {
  if (energies.last <= energies.first) return;
  const int64_t channels = a.p.x.dims.c, all = a.all_parts();
  kernels.energies(energy_of(a, v, ceil_div(rows * channels, a.width)), line);
  float* at = energies.first_row + energies.first * a.t.tiles + tile;
  const int64_t last = std::min(rows, energies.last);
  const auto leave = [&](auto channels_of) {
    for (int64_t r = energies.first; r < last; ++r, at += a.t.tiles) {
      const int64_t count = channels_of();
      const float* each = line + r * count;
      float most = each[0], total = each[0];
      for (int64_t c = 1; c < count; ++c) most = std::max(most, each[c]), total += each[c];
      at[0] = total == total ? most : total;  // NaN if one is
      at[all] = total;
    }
  };
  // As many channels as pictures have are a loop that need not be one.
  if (channels == 1) return leave([] { return int64_t{1}; });
  if (channels == 3) return leave([] { return int64_t{3}; });
  leave([&] { return channels; });
}

// Lanes are rows and channels of one pixel column, once these lie together.
void transform_planar(const RowsArgs& a, const Kernels& kernels, const float* x, int64_t top,
                      int64_t rows, float* v, float* columns, const Energies& energies) {
  float* line = columns + a.columns * a.v_tile;
  std::memset(columns, 0, static_cast<size_t>(a.columns * a.v_tile) * sizeof(float));
  const int64_t left = a.p.window.pad[1];
  const int64_t count = std::min(a.p.x.dims.w, a.columns - left);
  // Strips narrow enough for the first-level cache.
  constexpr int64_t kStrip = 32;
  for (int64_t strip = 0; strip < count; strip += kStrip) {
    const int64_t end = std::min(count, strip + kStrip);
    for (int64_t r = std::max<int64_t>(0, -top); r < std::min(rows, a.p.x.dims.h - top); ++r) {
      for (int64_t c = 0; c < a.p.x.dims.c; ++c) {
        const float* from = x + (c * a.p.x.dims.h + top + r) * a.p.x.dims.w;
        float* to = columns + left * a.v_tile + r * a.p.x.dims.c + c;
        for (int64_t i = strip; i < end; ++i) to[i * a.v_tile] = from[i];
      }
    }
  }
  const int64_t vecs = ceil_div(rows * a.p.x.dims.c, a.width);
  for (int64_t tile = 0; tile < a.t.tiles; ++tile) {
    kernels.winograd_line_input[a.t.pairs](columns + tile * a.t.m * a.v_tile, a.v_tile, vecs,
                                           v + tile * a.v_tile, a.v_point);
    leave_energies(a, kernels, v + tile * a.v_tile, rows, energies, tile, line);
  }
}

// Lanes are channels. Rows come in order, so what the last vector of one writes beyond its
// channels is overwritten by the next. Energies read right after such writes would wait for them:
// those of narrow pixels are left once a tile has all its rows.
void transform_pixels(const RowsArgs& a, const Kernels& kernels, const float* x, int64_t top,
                      int64_t rows, float* v, float* patch, const Energies& energies) {
  const int64_t pixel = round_up(a.p.x.dims.c, a.width), vecs = pixel / a.width;
  float* line = patch + a.t.points * pixel;
  for (int64_t tile = 0; tile < a.t.tiles; ++tile) {
    const int64_t left = tile * a.t.m - a.p.window.pad[1];
    const int64_t from = std::max<int64_t>(0, -left),
                  to = std::min(a.t.points, a.p.x.dims.w - left);
    const bool whole = from == 0 && to == a.t.points;
    if (!whole) std::memset(patch, 0, static_cast<size_t>(a.t.points * pixel) * sizeof(float));
    for (int64_t r = 0; r < rows; ++r) {
      float* at = v + tile * a.v_tile + r * a.p.x.dims.c;
      if (top + r < 0 || top + r >= a.p.x.dims.h || from >= to) {
        for (int64_t j = 0; j < a.t.points; ++j)
          std::memset(at + j * a.v_point, 0, static_cast<size_t>(pixel) * sizeof(float));
        continue;
      }
      const float* row = x + ((top + r) * a.p.x.dims.w + left) * a.x_pixel;
      if (!whole)
        copy_pixels(row + from * a.x_pixel, a.x_pixel, patch + from * pixel, pixel, to - from);
      kernels.winograd_line_input[a.t.pairs](whole ? row : patch, whole ? a.x_pixel : pixel, vecs,
                                             at, a.v_point);
      float* most = energies.first_row + r * a.t.tiles + tile;
      if (r < energies.last && !a.narrow)
        kernels.energy(energy_of(a, at, vecs), most, most + a.all_parts());
    }
    if (a.narrow) leave_energies(a, kernels, v + tile * a.v_tile, rows, energies, tile, line);
  }
}

void run_band(const RowsArgs& a, const FloatOperands& o, int64_t image, int64_t band,
              int64_t first_panel, int64_t last_panel, float* scratch) {
  float* v = scratch;
  float* m = v + a.t.points * a.v_point;
  float* rest = m + a.t.points * a.m_point;
  const int64_t first = band * a.band_rows, last = std::min(a.p.y.dims.h, first + a.band_rows);
  const float* x = o.x + image * a.p.x.image(a.width);
  const int64_t top = a.input_row(first);
  const Energies energies = energies_of(a, o, image, band, a.compared && first_panel == 0);
  if (a.planar) {
    transform_planar(a, o.kernels, x, top, a.input_rows(last - first), v, rest, energies);
  } else {
    transform_pixels(a, o.kernels, x, top, a.input_rows(last - first), v, rest, energies);
  }

  const int64_t y_row = a.p.y.dims.w * a.y_pixel, y_image = image * a.p.y.dims.h * y_row;
  const int64_t stored = a.t.m / a.p.end.pool[1];  // pixels of a tile
  Product product{};
  product.points = static_cast<int>(a.t.points);
  product.taps = a.taps;
  product.x_point = a.v_point, product.x_col = a.v_tile;
  product.y = m, product.y_point = a.m_point;
  WinogradLine line{};
  line.m = m, line.m_point = a.m_point;
  line.y_col = a.y_pixel;
  line.limits = a.p.end.limits;
  line.pool = static_cast<int>(a.p.end.pool[1]);
  for (int64_t panel = first_panel; panel < last_panel; ++panel) {
    const int64_t channel = panel * a.t.vecs * a.width;
    line.vecs = static_cast<int>(std::min<int64_t>(a.t.vecs, (a.k - channel) / a.width));
    line.bias = o.floats(kBias) + channel;
    product.w = o.floats(kWeights) + channel * a.t.points * product.taps;
    for (int64_t row = first; row < last; ++row) {
      for (int64_t sub = 0; sub < a.p.end.pool[0]; ++sub) {
        const int64_t v_row =
            ((row - first) * a.p.end.pool[0] + sub) * a.p.window.stride[0] * a.p.x.dims.c;
        line.merge = sub > 0;
        for (int64_t tile = 0; tile < a.t.tiles; tile += a.span) {
          product.cols = line.tiles = std::min(a.span, a.t.tiles - tile);
          product.x = v + tile * a.v_tile + v_row;
          o.kernels.product[line.vecs](product);
          const int64_t pixel = tile * stored,
                        at = y_image + row * y_row + pixel * a.y_pixel + channel;
          line.y = o.y + at;
          line.residual = a.p.end.residual ? o.operand + at : nullptr;
          line.last =
              static_cast<int>(std::min(stored, a.p.y.dims.w - pixel - (line.tiles - 1) * stored));
          o.kernels.winograd_line[a.t.pairs][a.t.m](line);
        }
      }
      map_results(o.kernels, a.p.end.then, o.y + y_image + row * y_row + channel, a.p.y.dims.w,
                  a.y_pixel, std::min<int64_t>(line.vecs * a.width, a.p.y.dims.c - channel));
    }
  }
}

void run_winograd_rows(const RowsArgs& a, const FloatOperands& o) {
  const Dims& out = a.p.y.dims;
  float* energies = o.workspace + a.scratch;
  std::fill(energies, energies + 2 * a.all_parts(), 0.0f);  // of rows no window meets
  o.pool.parallel_for(a.p.n * a.bands * a.splits, [&](int64_t task, int thread) {
    const int64_t split = task % a.splits, band = task / a.splits % a.bands,
                  image = task / a.splits / a.bands;
    run_band(a, o, image, band, a.panels * split / a.splits, a.panels * (split + 1) / a.splits,
             o.workspace + thread * a.thread_floats());
  });
  const Repair repair = repair_of(a, o.kernels);
  if (repair.find(o, energies) == 0) return;
  const LeftInverse inverse = inverse_of(a);
  const auto patch = [&](int64_t i, Patch* at) {
    const int64_t tile = i % a.t.tiles, row = i / a.t.tiles % out.h,
                  stored = a.t.m / a.p.end.pool[1];
    *at = {i / a.t.tiles / out.h, row, tile * stored, 1, std::min(stored, out.w - tile * stored)};
    const int64_t first = a.input_row(row), last = first + a.input_rows(1);
    for (int64_t r = std::max<int64_t>(0, first); r < std::min(last, a.p.x.dims.h); ++r) {
      if (energies[(at->image * a.p.x.dims.h + r) * a.t.tiles + tile] != 0) return true;
    }
    return false;
  };
  const auto weights = [&](int64_t k, float* to, float*) {
    recover_weights(a, inverse, o.floats(kWeights), k, to);
  };
  repair.run(o, a.scratch, a.p.n * out.h * a.t.tiles, patch, weights, o.floats(kBias));
}

constexpr auto kCode = plan_code<&run_winograd_rows>("winograd_rows");

class WinogradRows final : public Algorithm {
 public:
  const char* name() const override { return "winograd-rows"; }
  bool exact() const override { return false; }

  Kinds kinds() const override { return {Kind::kConv}; }

  std::string objection(const Problem& p, const Context& context) const override {
    const Window& w = p.conv().window;
    if (w.stride[1] != 1) return "the horizontal stride is not 1";
    if (w.dilated()) return "the kernel is dilated";
    if (p.conv().groups != 1) return "the convolution is grouped";
    if (p.y.layout != Layout::kNhwc) return "writes channels-last only";
    if (p.end.pooled() && p.end.residual) return "a residual cannot be added before a fused pool";
    if (p.end.pool[1] > 3) return "pool windows wider than 3 do not fit the registers";
    const Tiling t = choose_tiling(p, context.kernels);
    if (!t.pairs) {
      return "no tile is exact enough and has room for a kernel of " + std::to_string(w.kernel[1]) +
             " columns" + (p.end.pooled() ? " and whole pool windows" : "");
    }
    if (row_floats(p, t) > kMostRow) return "the padded window is too large";
    return "";
  }

  double cost(const Problem& p, const Context& context) const override {
    const Kernels& kernels = context.kernels;
    const Tiling t = choose_tiling(p, kernels);
    const Dims out = p.y.dims;
    const double lines = static_cast<double>(p.n * out.h * p.end.pool[0]);
    const double input_rows = static_cast<double>(p.n * p.x.dims.h);
    const double lanes = p.x.layout == Layout::kNchw
                             ? static_cast<double>(p.x.dims.c) / kernels.width
                             : static_cast<double>(ceil_div(p.x.dims.c, kernels.width));
    double cycles = lines * row_cycles(p, kernels, t) + machine().transforms * input_rows * lanes *
                                                            kInputCycles *
                                                            static_cast<double>(t.tiles * t.points);
    if (p.x.layout == Layout::kNchw)
      cycles += kTransposeCycles * input_rows * static_cast<double>(p.x.dims.c * p.x.dims.w);
    const double weight_bytes =
        static_cast<double>(t.points * taps_of(p) * round_up(p.y.dims.c, kernels.width)) *
        sizeof(float);
    // All weights pass once for each band.
    const double rows_bytes =
        input_rows * static_cast<double>(t.points * t.tiles * p.x.dims.c) * sizeof(float);
    const double bands = std::min(std::ceil(rows_bytes / kBandBytes), lines);
    cycles += weight_cycles(weight_bytes, std::max(static_cast<double>(p.n), bands),
                            std::min<double>(kBandBytes, rows_bytes), p.threads);
    return parallel_cycles(cycles, std::min(lines, 4.0 * p.threads), p.threads) + 1000;
  }

  double memory(const Problem& p, const Context& context) const override {
    const Tiling t = choose_tiling(p, context.kernels);
    return static_cast<double>(t.points * taps_of(p) *
                               round_up(p.y.dims.c, context.kernels.width)) *
               sizeof(float) +
           p.threads * 2 *
               std::max(static_cast<double>(kBandBytes), row_floats(p, t) * sizeof(float));
  }

  Plan prepare(const Problem& p, const Weight* weight, const Weight* bias,
               const Context& context) const override {
    const RowsArgs a(p, context.kernels);
    const int64_t floats = a.scratch + repair_of(a, context.kernels).energy_floats();
    return make_plan(kCode, a, context, float_bytes(floats),
                     {pack(a, *weight, context), context.weights.get_bias(bias, p.y.dims.c, a.k)});
  }
};

const WinogradRows kWinogradRows;
const RegisterAlgorithm kRegistered(&kWinogradRows);

}  // namespace
}  // namespace linnet
