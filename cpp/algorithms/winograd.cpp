// Winograd convolution F(m x m, r x r) with 8x8 tiles, for square kernels r = 2..7 (m = 9 - r),
// stride 1. Per block of tiles: transform the input, multiply channels point by point, transform
// back; bias, residual, activation and a pool that tiles the m x m outputs happen in the output
// transform. The products of a row of points go through the first half of that transform at once,
// so only m of 8 numbers leave the first-level cache. Lavin and Gray, "Fast
// Algorithms for Convolutional Neural Networks", CVPR 2016; the points and their error:
// kernels/winograd_points.h.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <tuple>
#include <vector>

#include "../kernels/winograd_points.h"
#include "algorithms/algorithm.h"
#include "algorithms/cost.h"
#include "algorithms/epilogue.h"
#include "algorithms/repair.h"

namespace linnet {
namespace {

constexpr int kPoints = kWinogradPoints;
constexpr int kTilePoints = kPoints * kPoints;
// Cycles of the transforms of one tile and vector of channels, for the cost estimate; measured on
// AVX2 and AVX-512.
constexpr double kInputCycles = 250, kOutputCycles = 160;
// The same of copying a tile that reaches beyond the image.
constexpr double kCopyCycles = 150;
// Points that stand for all in the energy of a tile: each number of it is in some.
constexpr int kEnergyPoints[] = {0, 3, 5, 7};
// Energies beyond so many times the rest's are too large (docs/numerics.md).
constexpr float kMostEnergy = 4;
// Floats of transformed tiles of which these are found together.
constexpr int64_t kEnergyFloats = 8192;
// The squares of the factors of those points, summed.
constexpr float kWhite = 179.875f * 179.875f;
// What the products of a row of points may fill of a core's first-level cache; and the transformed
// tiles of one block of its second level, weights beside them, unless larger blocks pay. Where all
// cores share a small second level (ARM), several threads have to do with less.
constexpr double kRowShare = 0.6, kBlockShare = 0.33;
constexpr int64_t kLeastBlock = 192 * 1024, kLeastSharedBlock = 112 * 1024;
// Bytes of the largest blocks.
constexpr int64_t kMostBlock = 32 << 20;
// Sums over more would err by more than 1e-4 of the results' rms (bench/errors.py); with 2x2
// kernels, over half as many.
constexpr int64_t kMostChannels = 512;
// Weights of so many input channels are recovered at a time: numbers of a point lie far from the
// next one's.
constexpr int64_t kRecovered = 8;

// Some tiles, transformed and multiplied with all weights before the next; small ones stay in the
// second-level cache, large ones need weights that do not fit there less often.
struct Block {
  int64_t tiles = 1;
  bool together = false;  // all threads work on one block, else on one each
};

// How a problem is cut.
struct Blocking {
  int64_t m;           // outputs of a tile, in both directions
  int64_t rows, cols;  // tiles of an image
  int64_t all;         // of the batch
  int vecs;            // vectors of output channels of a panel
  int64_t group;       // tiles of one product
  int64_t span;        // tiles multiplied before the first half of the output transform
  Block block;
  double cycles;

  Blocking(const Problem& p, const Kernels& kernels);
  int64_t blocks() const { return ceil_div(all, block.tiles); }
  int64_t tile_bytes(const Problem& p, const Kernels& kernels) const {
    const int64_t c = round_up(p.x.dims.c, kernels.width), k = round_up(p.y.dims.c, kernels.width);
    return (kTilePoints * c + kPoints * m * k) * static_cast<int64_t>(sizeof(float));
  }
  static double weight_bytes(const Problem& p, const Kernels& kernels) {
    return static_cast<double>(kTilePoints * p.x.dims.c * round_up(p.y.dims.c, kernels.width)) *
           sizeof(float);
  }
  // Of all blocks that are worked on at a time.
  double bytes(const Problem& p, const Kernels& kernels) const {
    return static_cast<double>(block.tiles * tile_bytes(p, kernels)) *
           (block.together ? 1 : p.threads);
  }

 private:
  void choose_panels(const Problem& p, const Kernels& kernels);
  std::vector<Block> choices(const Problem& p, const Kernels& kernels) const;
  double all_cycles(const Problem& p, const Kernels& kernels, const Block& b) const;
};

Blocking::Blocking(const Problem& p, const Kernels& kernels) {
  const Dims out = p.y.dims;
  m = kPoints + 1 - p.conv().window.kernel[0];
  // Rows and columns a pool drops need not be computed.
  rows = ceil_div(out.h * p.end.pool[0], m), cols = ceil_div(out.w * p.end.pool[1], m);
  all = p.n * rows * cols;
  choose_panels(p, kernels);
  group = std::min<int64_t>(kernels.direct_cols[vecs], all);

  constexpr auto kSize = static_cast<int64_t>(sizeof(float));
  const int64_t row_bytes = kPoints * vecs * kernels.width * kSize;
  span = group *
         std::max<int64_t>(1, static_cast<int64_t>(kRowShare * machine().l1) / row_bytes / group);
  std::tie(block, cycles) =
      cheapest(choices(p, kernels), [&](const Block& b) { return all_cycles(p, kernels, b); });
  span = ceil_div(block.tiles, ceil_div(block.tiles, span));  // even shares of a block
}

// Blocks for each thread, or one for all together; larger ones if the weights are much larger than
// what stays in the second level.
std::vector<Block> Blocking::choices(const Problem& p, const Kernels& kernels) const {
  const int64_t each = tile_bytes(p, kernels);
  const int64_t block_bytes = std::max(p.threads > 1 ? kLeastSharedBlock : kLeastBlock,
                                       static_cast<int64_t>(kBlockShare * machine().l2));
  const int64_t fitting = std::min(span, group * std::max<int64_t>(1, block_bytes / each / group));

  std::vector<Block> found;
  const auto add = [&](int64_t tiles, bool together) {
    found.push_back({std::min(tiles, all), together});
  };
  add(fitting, p.threads > 1);
  for (int share = 1; p.threads > 1 && share <= 4; ++share)
    add(std::min(fitting, ceil_div(all, share * p.threads)), false);
  const bool heavy = weight_bytes(p, kernels) > 4.0 * static_cast<double>(block_bytes);
  for (int64_t tiles = 2 * fitting; heavy && tiles < 2 * all && tiles * each <= kMostBlock;
       tiles *= 2) {
    add(tiles, p.threads > 1);
    const int64_t part = ceil_div(tiles, p.threads);
    if (part > fitting) add(part, false);
  }
  return found;
}

// Panels must not depend on the batch, so that all plans share one packed copy.
void Blocking::choose_panels(const Problem& p, const Kernels& kernels) {
  const int64_t vectors = ceil_div(p.y.dims.c, kernels.width);
  double least = std::numeric_limits<double>::infinity();
  for (int v = 1; v <= kernels.direct_vecs && v <= vectors; ++v) {
    const int64_t most = std::min<int64_t>(kernels.direct_cols[v], rows * cols);
    // Instructions of a product per vector of results: loads of tiles and weights, multiply-adds.
    const int64_t panels = ceil_div(vectors, v), groups = ceil_div(rows * cols, most);
    const double each = v + most + 2.0 * v * most * disorder(kernels, v);
    const double cost =
        static_cast<double>(panels * groups) * (p.x.dims.c * each + 40 + 3 * v * most);
    if (cost < least) least = cost, vecs = v;
  }
}

double Blocking::all_cycles(const Problem& p, const Kernels& kernels, const Block& b) const {
  const int64_t c = round_up(p.x.dims.c, kernels.width), k = round_up(p.y.dims.c, kernels.width);
  const auto count = static_cast<double>(ceil_div(all, b.tiles));
  const double in_block = static_cast<double>(all) / count;
  const double panels = static_cast<double>(ceil_div(k / kernels.width, vecs));

  const double weights = weight_bytes(p, kernels);
  const double block_bytes = in_block * static_cast<double>(tile_bytes(p, kernels));
  const double groups = std::ceil(in_block / static_cast<double>(group));
  const double slice_bytes = static_cast<double>(p.x.dims.c * vecs * kernels.width) * sizeof(float);
  double cycles =
      kTilePoints * panels * groups *
      tile_cycles(kernels, vecs, in_block / groups, static_cast<double>(p.x.dims.c), slice_bytes);
  // What the transforms write is read from where it stays, with weights passing between; those pass
  // once for each block.
  cycles += stream_cycles(block_bytes, block_bytes + weights);
  cycles += machine().transforms * in_block / kernels.width *
            (static_cast<double>(c) * kInputCycles + static_cast<double>(k) * kOutputCycles);
  // Whole tiles, of those that start at -pad with m steps between.
  const auto whole = [&](int axis, int64_t count) {
    const int64_t pad = p.conv().window.pad[axis], size = axis ? p.x.dims.w : p.x.dims.h;
    const int64_t from = ceil_div(pad, m), to = (size + pad - kPoints) / m;
    return static_cast<double>(std::clamp<int64_t>(to - from + 1, 0, count));
  };
  const double at_border =
      static_cast<double>(all) - static_cast<double>(p.n) * whole(0, rows) * whole(1, cols);
  cycles = count * cycles + kCopyCycles * at_border * static_cast<double>(c) / kernels.width +
           weight_cycles(weights, count, block_bytes, b.together ? 1 : p.threads);
  if (!b.together) return parallel_cycles(cycles, count, p.threads) + 1000;
  cycles += count * exchange_cycles(block_bytes, p.threads);
  const double launch = parallel_cycles(0, 2, p.threads);
  return parallel_cycles(cycles, kPoints * panels, p.threads) + (3 * count - 1) * launch + 1000;
}

struct WinogradArgs {
  Convolution p;
  Blocking blocking;
  int width;                 // of a vector
  int m;                     // outputs of a tile
  int64_t c, k;              // channels, padded
  int64_t x_pixel, y_pixel;  // from one to the next
  int64_t panels;            // of output channels
  int64_t v_point, m_point;  // from one point to the next, off multiples of a cache way
  int64_t z_tile;
  int64_t scratch;  // floats before the energies
  int32_t energy_points[16];
  bool compared;  // energies are

  WinogradArgs(const Problem& problem, const Kernels& kernels);
  // V and Z of a block.
  int64_t z_offset() const { return round_up(kTilePoints * v_point, 16); }
  int64_t block_floats() const { return round_up(z_offset() + blocking.block.tiles * z_tile, 64); }
  // The products of a row of points and a patch: a tile's input, or one vector of its results and
  // as many residuals.
  int64_t patch_offset() const { return round_up(kPoints * m_point, 16); }
  int64_t private_floats() const {
    return round_up(patch_offset() + kTilePoints * std::max<int64_t>(c, 2 * width), 64);
  }
};
enum : uint8_t { kWeights, kBias };

Parts parts_of(const WinogradArgs& a) {
  const int64_t across = ceil_div(kPoints, a.m);  // tiles that a number may be in
  // Errors grow with the root of the channels (bench/errors.py): there is room for the larger
  // ones of tiles with more energy.
  const float room = 22 / (1 + static_cast<float>(a.p.x.dims.c) / 28);
  const float share = 1 + std::max(0.3f, (room - 1) / 2);
  return {a.blocking.rows * a.blocking.cols,
          across * across,
          kMostEnergy,
          share,
          kWhite,
          a.blocking.cols,
          a.m,
          kPoints,
          -a.p.window.pad[0]};
}

Repair repair_of(const WinogradArgs& a, const Kernels& kernels) {
  const int64_t r = a.p.window.kernel[0];
  const int64_t recovering = kRecovered * (r * r + r) * RecoveredSums::kFloats;
  return {a.p, kernels, parts_of(a), a.m / a.p.end.pool[0], a.m / a.p.end.pool[1], recovering};
}

WinogradArgs::WinogradArgs(const Problem& problem, const Kernels& kernels)
    : p(problem),
      blocking(problem, kernels),
      width(kernels.width),
      m(static_cast<int>(blocking.m)),
      c(round_up(p.x.dims.c, width)),
      k(round_up(p.y.dims.c, width)),
      x_pixel(p.x.pixel(width)),
      y_pixel(p.y.pixel(width)),
      panels(ceil_div(k / width, blocking.vecs)),
      v_point(blocking.block.tiles * c + 16),
      m_point(blocking.span * blocking.vecs * width + 16),
      z_tile(kPoints * m * k + 16) {
  int number = 0;
  for (const int i : kEnergyPoints) {
    for (const int j : kEnergyPoints)
      energy_points[number++] = static_cast<int32_t>((i * kPoints + j) * v_point);
  }
  compared = parts_of(*this).compared();
  const int64_t blocks = blocking.block.together ? block_floats() + p.threads * private_floats()
                                                 : p.threads * (block_floats() + private_floats());
  scratch = std::max(round_up(blocks, 64), repair_of(*this, kernels).scratch_floats());
}

// G.
LeftInverse inverse_of(const WinogradArgs& a) {
  const int r = static_cast<int>(a.p.window.kernel[0]);
  LeftInverse::Transform g;
  for (int j = 0; j < kPoints; ++j) {
    for (int i = 0; i < r; ++i) g[j][i] = winograd_weight(kWinogradPairs, j, i, r);
  }
  return {g, kPoints, r};
}

// U[i][panel][j][c][vecs * width] = G g G^T at point (i, j), computed in double.
PlanData pack(const WinogradArgs& a, const Weight& weight, const Context& context) {
  const int r = static_cast<int>(a.p.window.kernel[0]);
  const std::string packing =
      "winograd rows v" + std::to_string(a.width) + "x" + std::to_string(a.blocking.vecs);
  return context.weights.get(
      &weight, packing, kTilePoints * a.p.x.dims.c * a.k, [&](const Weight& loaded, float* out) {
        double g[kPoints][kPoints];
        for (int j = 0; j < kPoints; ++j) {
          for (int i = 0; i < r; ++i) g[j][i] = winograd_weight(kWinogradPairs, j, i, r);
        }
        const int64_t lanes = a.blocking.vecs * a.width;
        for (int64_t k = 0; k < a.p.y.dims.c; ++k) {
          const int64_t panel = k / lanes;
          const int64_t panel_lanes = std::min(lanes, a.k - panel * lanes);
          for (int64_t c = 0; c < a.p.x.dims.c; ++c) {
            const float* w = loaded.data + (k * a.p.x.dims.c + c) * r * r;
            double half[kPoints][kPoints];
            for (int i = 0; i < kPoints; ++i) {
              for (int s = 0; s < r; ++s) {
                half[i][s] = 0;
                for (int t = 0; t < r; ++t) half[i][s] += g[i][t] * w[t * r + s];
              }
            }
            for (int i = 0; i < kPoints; ++i) {
              for (int j = 0; j < kPoints; ++j) {
                double sum = 0;
                for (int s = 0; s < r; ++s) sum += half[i][s] * g[j][s];
                out[(i * a.k + panel * lanes) * kPoints * a.p.x.dims.c +
                    (j * a.p.x.dims.c + c) * panel_lanes + k % lanes] = static_cast<float>(sum);
              }
            }
          }
        }
      });
}

// The way back from U. `space`: kRecovered times r rows of sums, and one more.
void recover_weights(const WinogradArgs& a, const LeftInverse& inverse, const float* packed,
                     int64_t k, float* weights, float* space) {
  const int r = static_cast<int>(a.p.window.kernel[0]);
  const int64_t lanes = a.blocking.vecs * a.width, first = k / lanes * lanes;
  const int64_t panel_lanes = std::min(lanes, a.k - first), channels = a.p.x.dims.c;
  RecoveredSums* const sums = reinterpret_cast<RecoveredSums*>(space);  // [channel][tap]
  RecoveredSums* const rows = sums + kRecovered * r * r;                // [channel][column]
  for (int64_t begin = 0; begin < channels; begin += kRecovered) {
    const int64_t count = std::min(kRecovered, channels - begin);
    std::uninitialized_value_construct_n(sums, count * r * r);
    for (int i = 0; i < kPoints; ++i) {
      if (!inverse.uses(i)) continue;
      std::uninitialized_value_construct_n(rows, count * r);
      const float* u =
          packed + (i * a.k + first) * kPoints * channels + begin * panel_lanes + k - first;
      for (int j = 0; j < kPoints; ++j, u += channels * panel_lanes) {
        if (!inverse.uses(j)) continue;
        for (int64_t c = 0; c < count; ++c) {
          for (int s = 0; s < r; ++s)
            rows[c * r + s].add(inverse.at(s, j), u + c * panel_lanes, a.width);
        }
      }
      for (int64_t c = 0; c < count; ++c) {
        for (int tap = 0; tap < r * r; ++tap)
          sums[c * r * r + tap].add(inverse.at(tap / r, i), rows[c * r + tap % r], a.width);
      }
    }
    for (int64_t c = 0; c < count; ++c) {
      for (int tap = 0; tap < r * r; ++tap)
        sums[c * r * r + tap].weights(weights + (tap * channels + begin + c) * a.width, a.width);
    }
  }
}

Patch patch_of(const WinogradArgs& a, int64_t tile) {
  const int64_t stored = a.m / a.p.end.pool[0];  // rows and columns of a whole tile
  Patch at{};
  at.image = tile / (a.blocking.rows * a.blocking.cols);
  at.top = tile / a.blocking.cols % a.blocking.rows * stored;
  at.left = tile % a.blocking.cols * stored;
  at.rows = std::min(stored, a.p.y.dims.h - at.top);
  at.cols = std::min(stored, a.p.y.dims.w - at.left);
  return at;
}

void leave_energy(const WinogradArgs& a, const FloatOperands& o, int64_t first, int64_t tiles,
                  const float* v) {
  constexpr int kCount = sizeof kEnergyPoints / sizeof kEnergyPoints[0];
  float* most = o.workspace + a.scratch + first;
  o.kernels.energy({v, a.energy_points, kCount * kCount, a.c / a.width, tiles, a.c}, most,
                   most + a.blocking.all);
}

void transform_input(const WinogradArgs& a, const FloatOperands& o, int64_t tile, float* v,
                     float* patch) {
  const int64_t image = tile / (a.blocking.rows * a.blocking.cols),
                row = tile / a.blocking.cols % a.blocking.rows, col = tile % a.blocking.cols;
  const int64_t top = row * a.m - a.p.window.pad[0], left = col * a.m - a.p.window.pad[1];
  const int64_t x_row = a.p.x.dims.w * a.x_pixel;
  const float* from = o.x + image * a.p.x.dims.h * x_row;
  if (top >= 0 && left >= 0 && top + kPoints <= a.p.x.dims.h && left + kPoints <= a.p.x.dims.w) {
    from += top * x_row + left * a.x_pixel;
    for (int64_t c = 0; c < a.c; c += a.width)
      o.kernels.winograd_input(from + c, x_row, a.x_pixel, v + c, a.v_point);
    return;
  }
  // At the border: a copy of the patch with zeros outside the image.
  std::memset(patch, 0, static_cast<size_t>(kTilePoints * a.c) * sizeof(float));
  const int64_t from_col = std::max<int64_t>(0, -left),
                to_col = std::min<int64_t>(kPoints, a.p.x.dims.w - left);
  for (int64_t i = std::max<int64_t>(0, -top);
       i < std::min<int64_t>(kPoints, a.p.x.dims.h - top) && from_col < to_col; ++i) {
    copy_pixels(from + (top + i) * x_row + (left + from_col) * a.x_pixel, a.x_pixel,
                patch + (i * kPoints + from_col) * a.c, a.c, to_col - from_col);
  }
  for (int64_t c = 0; c < a.c; c += a.width)
    o.kernels.winograd_input(patch + c, kPoints * a.c, a.c, v + c, a.v_point);
}

// Row i of the points of a block's tiles.
void multiply(const WinogradArgs& a, const FloatOperands& o, const float* v, int i, int64_t panel,
              int64_t tiles, float* m, float* z) {
  const int64_t channel = panel * a.blocking.vecs * a.width;
  const int vecs = static_cast<int>(std::min<int64_t>(a.blocking.vecs, (a.k - channel) / a.width));
  Product product{};
  product.points = kPoints;
  product.taps = a.p.x.dims.c;
  product.x_point = a.v_point, product.x_col = a.c;
  product.w = o.floats(kWeights) + (i * a.k + channel) * kPoints * a.p.x.dims.c;
  product.y = m, product.y_point = a.m_point;
  WinogradRow row{};
  row.m = m, row.m_point = a.m_point;
  row.vecs = vecs;
  row.z_tile = a.z_tile, row.z_vec = kPoints * a.m * a.width;
  for (int64_t first = 0; first < tiles; first += a.blocking.span) {
    product.cols = row.tiles = std::min(a.blocking.span, tiles - first);
    product.x = v + i * kPoints * a.v_point + first * a.c;
    o.kernels.product[vecs](product);
    row.z = z + first * a.z_tile + i * a.m * a.width + kPoints * a.m * channel;
    o.kernels.winograd_row[a.m](row);
  }
}

// Channels first_k to last_k of a tile.
void transform_output(const WinogradArgs& a, const FloatOperands& o, int64_t tile, const float* z,
                      int64_t first_k, int64_t last_k, float* patch) {
  const Patch place = patch_of(a, tile);
  const int64_t stored = a.m / a.p.end.pool[0];  // rows and columns of a whole tile
  const int64_t at =
      ((place.image * a.p.y.dims.h + place.top) * a.p.y.dims.w + place.left) * a.y_pixel;
  const int64_t height = place.rows, width = place.cols;
  WinogradOutput out{};
  out.limits = a.p.end.limits;
  out.pool = static_cast<int>(a.p.end.pool[0]);
  const auto transform = o.kernels.winograd_output[a.m];
  const bool whole = height == stored && width == stored;
  for (int64_t k = first_k; k < last_k; k += a.width) {
    out.z = z + kPoints * a.m * k;
    out.bias = o.floats(kBias) + k;
    if (whole) {
      out.y = o.y + at + k, out.y_row = a.p.y.dims.w * a.y_pixel, out.y_col = a.y_pixel;
      out.residual = a.p.end.residual ? o.operand + at + k : nullptr;
      transform(out);
      continue;
    }
    // At the border: into a patch, of which the part inside the image is copied.
    const int64_t vector = static_cast<int64_t>(a.width) * sizeof(float);
    float* residual = patch + stored * stored * a.width;
    if (a.p.end.residual) {
      for (int64_t i = 0; i < height; ++i) {
        for (int64_t j = 0; j < width; ++j) {
          std::memcpy(residual + (i * stored + j) * a.width,
                      o.operand + at + (i * a.p.y.dims.w + j) * a.y_pixel + k, vector);
        }
      }
      out.residual = residual;
    }
    out.y = patch, out.y_row = stored * a.width, out.y_col = a.width;
    transform(out);
    for (int64_t i = 0; i < height; ++i) {
      for (int64_t j = 0; j < width; ++j) {
        std::memcpy(o.y + at + (i * a.p.y.dims.w + j) * a.y_pixel + k,
                    patch + (i * stored + j) * a.width, vector);
      }
    }
  }
  for (int64_t i = 0; i < height; ++i) {
    map_results(o.kernels, a.p.end.then, o.y + at + i * a.p.y.dims.w * a.y_pixel + first_k, width,
                a.y_pixel, std::min(last_k, a.p.y.dims.c) - first_k);
  }
}

void run_block(const WinogradArgs& a, const FloatOperands& o, int64_t first, int64_t last, float* v,
               float* m) {
  float *z = v + a.z_offset(), *patch = m + a.patch_offset();
  // Energies of as many tiles at a time as the first-level cache holds.
  const int64_t some = std::max<int64_t>(1, kEnergyFloats / (kTilePoints * a.c));
  for (int64_t t = first; t < last; t += some) {
    const int64_t end = std::min(last, t + some);
    for (int64_t i = t; i < end; ++i) transform_input(a, o, i, v + (i - first) * a.c, patch);
    if (a.compared) leave_energy(a, o, t, end - t, v + (t - first) * a.c);
  }
  for (int i = 0; i < kPoints; ++i) {
    for (int64_t panel = 0; panel < a.panels; ++panel)
      multiply(a, o, v, i, panel, last - first, m, z);
  }
  for (int64_t t = first; t < last; ++t)
    transform_output(a, o, t, z + (t - first) * a.z_tile, 0, a.k, patch);
}

// All threads on one block, each step of it divided anew; every thread meets the same part of the
// weights each time.
void run_together(const WinogradArgs& a, const FloatOperands& o, int64_t first, int64_t last) {
  float *v = o.workspace, *z = v + a.z_offset();
  const auto own = [&](int thread) {
    return o.workspace + a.block_floats() + thread * a.private_floats();
  };
  const int64_t tiles = last - first;
  o.pool.parallel_for(tiles, [&](int64_t t, int thread) {
    transform_input(a, o, first + t, v + t * a.c, own(thread) + a.patch_offset());
    if (a.compared) leave_energy(a, o, first + t, 1, v + t * a.c);
  });
  o.pool.parallel_for(kPoints * a.panels, [&](int64_t task, int thread) {
    multiply(a, o, v, static_cast<int>(task / a.panels), task % a.panels, tiles, own(thread), z);
  });
  const int64_t parts = std::min(a.k / a.width, ceil_div(2 * a.p.threads, tiles));
  o.pool.parallel_for(tiles * parts, [&](int64_t task, int thread) {
    const int64_t t = task / parts, part = task % parts, vectors = a.k / a.width;
    transform_output(a, o, first + t, z + t * a.z_tile, vectors * part / parts * a.width,
                     vectors * (part + 1) / parts * a.width, own(thread) + a.patch_offset());
  });
}

void run_winograd(const WinogradArgs& a, const FloatOperands& o) {
  const int64_t tiles = a.blocking.all, blocks = a.blocking.blocks();
  if (a.blocking.block.together) {
    for (int64_t block = 0; block < blocks; ++block)
      run_together(a, o, tiles * block / blocks, tiles * (block + 1) / blocks);
  } else {
    o.pool.parallel_for(blocks, [&](int64_t block, int thread) {
      float* v = o.workspace + thread * (a.block_floats() + a.private_floats());
      run_block(a, o, tiles * block / blocks, tiles * (block + 1) / blocks, v,
                v + a.block_floats());
    });
  }
  float* energies = o.workspace + a.scratch;
  const Repair repair = repair_of(a, o.kernels);
  if (repair.find(o, energies) == 0) return;
  const LeftInverse inverse = inverse_of(a);
  const auto patch = [&](int64_t tile, Patch* at) {
    if (energies[tile] == 0) return false;
    *at = patch_of(a, tile);
    return true;
  };
  const auto weights = [&](int64_t k, float* to, float* space) {
    recover_weights(a, inverse, o.floats(kWeights), k, to, space);
  };
  repair.run(o, a.scratch, tiles, patch, weights, o.floats(kBias));
}

constexpr auto kCode = plan_code<&run_winograd>("winograd");

class Winograd final : public Algorithm {
 public:
  const char* name() const override { return "winograd"; }
  bool exact() const override { return false; }

  Kinds kinds() const override { return {Kind::kConv}; }

  std::string objection(const Problem& p, const Context&) const override {
    const Window& w = p.conv().window;
    if (w.kernel[0] != w.kernel[1]) return "the kernel is not square";
    if (w.kernel[0] < 2 || w.kernel[0] > 7) {
      return "kernel " + std::to_string(w.kernel[0]) + "x" + std::to_string(w.kernel[1]) +
             " does not fit tiles of 8";
    }
    if (!w.unit_stride()) return "the stride is not 1";
    if (w.dilated()) return "the kernel is dilated";
    if (p.conv().groups != 1) return "the convolution is grouped";
    if (p.x.dims.c > kMostChannels / (w.kernel[0] == 2 ? 2 : 1))
      return "sums over so many channels would err too much";
    if (p.x.layout != Layout::kNhwc || p.y.layout != Layout::kNhwc)
      return "works on channels-last only";
    if (p.end.pooled()) {
      const int64_t m = kPoints + 1 - w.kernel[0];
      if (p.end.pool[0] != p.end.pool[1] || p.end.pool[0] > 3 || m % p.end.pool[0] != 0) {
        return "pool windows do not tile its " + std::to_string(m) + "x" + std::to_string(m) +
               " outputs";
      }
      if (p.end.residual) return "a residual cannot be added before a fused pool";
    }
    return "";
  }

  double cost(const Problem& p, const Context& context) const override {
    return Blocking(p, context.kernels).cycles;
  }

  double memory(const Problem& p, const Context& context) const override {
    const Kernels& kernels = context.kernels;
    return Blocking::weight_bytes(p, kernels) + Blocking(p, kernels).bytes(p, kernels);
  }

  Plan prepare(const Problem& p, const Weight* weight, const Weight* bias,
               const Context& context) const override {
    const WinogradArgs a(p, context.kernels);
    const int64_t floats = a.scratch + repair_of(a, context.kernels).energy_floats();
    return make_plan(kCode, a, context, float_bytes(floats),
                     {pack(a, *weight, context), context.weights.get_bias(bias, p.y.dims.c, a.k)});
  }
};

const Winograd kWinograd;
const RegisterAlgorithm kRegistered(&kWinograd);

}  // namespace
}  // namespace linnet
