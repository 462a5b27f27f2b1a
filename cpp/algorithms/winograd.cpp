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
    const double cost = static_cast<double>(panels * groups) *
                        (p.x.dims.c * (v + most + 2.0 * v * most) + 40 + 3 * v * most);
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

class WinogradPlan final : public PlanObject {
 public:
  WinogradPlan(const Problem& problem, const Weight& weight, const Weight* bias,
               const Context& context)
      : p_(problem),
        kernels_(context.kernels),
        width_(kernels_.width),
        out_(p_.y.dims),
        blocking_(p_, kernels_),
        m_(static_cast<int>(blocking_.m)),
        c_(round_up(p_.x.dims.c, width_)),
        k_(round_up(p_.y.dims.c, width_)),
        x_pixel_(p_.x.pixel(width_)),
        y_pixel_(p_.y.pixel(width_)),
        repair_(p_, kernels_, parts(), m_ / p_.end.pool[0], m_ / p_.end.pool[1]),
        inverse_(filter_transform(), kPoints, static_cast<int>(p_.conv().window.kernel[0])) {
    pack_weights(weight, context);
    bias_ = context.weights.get_bias(bias, p_.y.dims.c, k_);
    // Steps between points stay off multiples of a cache way.
    v_point_ = blocking_.block.tiles * c_ + 16;
    panels_ = ceil_div(k_ / width_, blocking_.vecs);
    m_point_ = blocking_.span * blocking_.vecs * width_ + 16;
    z_tile_ = kPoints * m_ * k_ + 16;
    int number = 0;
    for (const int i : kEnergyPoints) {
      for (const int j : kEnergyPoints) energy_points_[number++] = (i * kPoints + j) * v_point_;
    }
  }

  size_t workspace() const override {
    return float_bytes(scratch_floats() + repair_.energy_floats());
  }

  void run(const Operands& operands) const override {
    const FloatOperands o(operands);
    const int64_t tiles = blocking_.all, blocks = blocking_.blocks();
    if (blocking_.block.together) {
      for (int64_t block = 0; block < blocks; ++block)
        run_together(o, tiles * block / blocks, tiles * (block + 1) / blocks);
    } else {
      o.pool.parallel_for(blocks, [&](int64_t block, int thread) {
        float* v = o.workspace + thread * (block_floats() + private_floats());
        run_block(o, tiles * block / blocks, tiles * (block + 1) / blocks, v, v + block_floats());
      });
    }
    float* energies = o.workspace + scratch_floats();
    if (repair_.find(o, energies) == 0) return;
    const auto patch = [&](int64_t tile, Patch* at) {
      if (energies[tile] == 0) return false;
      *at = patch_of(tile);
      return true;
    };
    repair_.run(
        o, scratch_floats(), tiles, patch,
        [this](int64_t k, float* weights) { recover_weights(k, weights); }, bias_->floats());
  }

 private:
  int64_t scratch_floats() const {
    const int64_t blocks = blocking_.block.together
                               ? block_floats() + p_.threads * private_floats()
                               : p_.threads * (block_floats() + private_floats());
    return std::max(round_up(blocks, 64), repair_.scratch_floats());
  }
  Parts parts() const {
    const int64_t across = ceil_div(kPoints, m_);  // tiles that a number may be in
    // Errors grow with the root of the channels (bench/errors.py): there is room for the larger
    // ones of tiles with more energy.
    const float room = 22 / (1 + static_cast<float>(p_.x.dims.c) / 28);
    const float share = 1 + std::max(0.3f, (room - 1) / 2);
    return {blocking_.rows * blocking_.cols,
            across * across,
            kMostEnergy,
            share,
            kWhite,
            blocking_.cols,
            m_,
            kPoints,
            -p_.conv().window.pad[0]};
  }
  // V and Z of a block.
  int64_t z_offset() const { return round_up(kTilePoints * v_point_, 16); }
  int64_t block_floats() const {
    return round_up(z_offset() + blocking_.block.tiles * z_tile_, 64);
  }
  // The products of a row of points and a patch: a tile's input, or one vector of its results and
  // as many residuals.
  int64_t patch_offset() const { return round_up(kPoints * m_point_, 16); }
  int64_t private_floats() const {
    return round_up(patch_offset() + kTilePoints * std::max<int64_t>(c_, 2 * width_), 64);
  }

  // G.
  std::vector<double> filter_transform() const {
    const int r = static_cast<int>(p_.conv().window.kernel[0]);
    std::vector<double> g;
    for (int j = 0; j < kPoints; ++j) {
      for (int i = 0; i < r; ++i) g.push_back(winograd_weight(kWinogradPairs, j, i, r));
    }
    return g;
  }

  // U[i][panel][j][c][vecs * width] = G g G^T at point (i, j), computed in double.
  void pack_weights(const Weight& weight, const Context& context) {
    const int r = static_cast<int>(p_.conv().window.kernel[0]);
    const std::string packing =
        "winograd rows v" + std::to_string(width_) + "x" + std::to_string(blocking_.vecs);
    weights_ = context.weights.get(
        &weight, packing, kTilePoints * p_.x.dims.c * k_, [&](const Weight& loaded, float* out) {
          double g[kPoints][kPoints];
          for (int j = 0; j < kPoints; ++j) {
            for (int i = 0; i < r; ++i) g[j][i] = winograd_weight(kWinogradPairs, j, i, r);
          }
          const int64_t lanes = blocking_.vecs * width_;
          for (int64_t k = 0; k < p_.y.dims.c; ++k) {
            const int64_t panel = k / lanes;
            const int64_t panel_lanes = std::min(lanes, k_ - panel * lanes);
            for (int64_t c = 0; c < p_.x.dims.c; ++c) {
              const float* w = loaded.data + (k * p_.x.dims.c + c) * r * r;
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
                  out[(i * k_ + panel * lanes) * kPoints * p_.x.dims.c +
                      (j * p_.x.dims.c + c) * panel_lanes + k % lanes] = static_cast<float>(sum);
                }
              }
            }
          }
        });
  }

  // The way back from U.
  void recover_weights(int64_t k, float* weights) const {
    const int r = static_cast<int>(p_.conv().window.kernel[0]);
    const int64_t lanes = blocking_.vecs * width_, first = k / lanes * lanes;
    const int64_t panel_lanes = std::min(lanes, k_ - first), channels = p_.x.dims.c;
    for (int64_t c = 0; c < channels; ++c) {
      for (int lane = 0; lane < width_; ++lane) {
        RecoveredSum half[kPoints][kPoints];
        for (int i = 0; i < kPoints; ++i) {
          const float* u = weights_->floats() + (i * k_ + first) * kPoints * channels +
                           c * panel_lanes + k - first + lane;
          for (int j = 0; j < kPoints; ++j) {
            const double number = u[j * channels * panel_lanes];
            for (int s = 0; s < r; ++s) half[i][s].add(inverse_.at(s, j), number);
          }
        }
        for (int t = 0; t < r; ++t) {
          for (int s = 0; s < r; ++s) {
            RecoveredSum sum;
            for (int i = 0; i < kPoints; ++i)
              sum.add(inverse_.at(t, i), half[i][s].value, half[i][s].most);
            weights[((t * r + s) * channels + c) * width_ + lane] = sum.weight();
          }
        }
      }
    }
  }

  Patch patch_of(int64_t tile) const {
    const int64_t stored = m_ / p_.end.pool[0];  // rows and columns of a whole tile
    Patch at{};
    at.image = tile / (blocking_.rows * blocking_.cols);
    at.top = tile / blocking_.cols % blocking_.rows * stored;
    at.left = tile % blocking_.cols * stored;
    at.rows = std::min(stored, out_.h - at.top), at.cols = std::min(stored, out_.w - at.left);
    return at;
  }

  void leave_energy(const FloatOperands& o, int64_t tile, const float* v) const {
    constexpr int kCount = sizeof kEnergyPoints / sizeof kEnergyPoints[0];
    float* most = o.workspace + scratch_floats() + tile;
    kernels_.energy({v, energy_points_, kCount * kCount, 1, c_ / width_, 0}, most,
                    most + blocking_.all);
  }

  void run_block(const FloatOperands& o, int64_t first, int64_t last, float* v, float* m) const {
    float *z = v + z_offset(), *patch = m + patch_offset();
    for (int64_t t = first; t < last; ++t) {
      transform_input(o.x, t, v + (t - first) * c_, patch);
      leave_energy(o, t, v + (t - first) * c_);
    }
    for (int i = 0; i < kPoints; ++i) {
      for (int64_t panel = 0; panel < panels_; ++panel) multiply(v, i, panel, last - first, m, z);
    }
    for (int64_t t = first; t < last; ++t)
      transform_output(o, t, z + (t - first) * z_tile_, 0, k_, patch);
  }

  // All threads on one block, each step of it divided anew; every thread meets the same part of the
  // weights each time.
  void run_together(const FloatOperands& o, int64_t first, int64_t last) const {
    float *v = o.workspace, *z = v + z_offset();
    const auto own = [&](int thread) {
      return o.workspace + block_floats() + thread * private_floats();
    };
    const int64_t tiles = last - first;
    o.pool.parallel_for(tiles, [&](int64_t t, int thread) {
      transform_input(o.x, first + t, v + t * c_, own(thread) + patch_offset());
      leave_energy(o, first + t, v + t * c_);
    });
    o.pool.parallel_for(kPoints * panels_, [&](int64_t task, int thread) {
      multiply(v, static_cast<int>(task / panels_), task % panels_, tiles, own(thread), z);
    });
    const int64_t parts = std::min(k_ / width_, ceil_div(2 * p_.threads, tiles));
    o.pool.parallel_for(tiles * parts, [&](int64_t task, int thread) {
      const int64_t t = task / parts, part = task % parts, vectors = k_ / width_;
      transform_output(o, first + t, z + t * z_tile_, vectors * part / parts * width_,
                       vectors * (part + 1) / parts * width_, own(thread) + patch_offset());
    });
  }

  void transform_input(const float* x, int64_t tile, float* v, float* patch) const {
    const int64_t image = tile / (blocking_.rows * blocking_.cols),
                  row = tile / blocking_.cols % blocking_.rows, col = tile % blocking_.cols;
    const int64_t top = row * m_ - p_.conv().window.pad[0],
                  left = col * m_ - p_.conv().window.pad[1];
    const int64_t x_row = p_.x.dims.w * x_pixel_;
    const float* from = x + image * p_.x.dims.h * x_row;
    if (top >= 0 && left >= 0 && top + kPoints <= p_.x.dims.h && left + kPoints <= p_.x.dims.w) {
      from += top * x_row + left * x_pixel_;
      for (int64_t c = 0; c < c_; c += width_)
        kernels_.winograd_input(from + c, x_row, x_pixel_, v + c, v_point_);
      return;
    }
    // At the border: a copy of the patch with zeros outside the image.
    std::memset(patch, 0, static_cast<size_t>(kTilePoints * c_) * sizeof(float));
    const int64_t from_col = std::max<int64_t>(0, -left),
                  to_col = std::min<int64_t>(kPoints, p_.x.dims.w - left);
    for (int64_t i = std::max<int64_t>(0, -top);
         i < std::min<int64_t>(kPoints, p_.x.dims.h - top) && from_col < to_col; ++i) {
      copy_pixels(from + (top + i) * x_row + (left + from_col) * x_pixel_, x_pixel_,
                  patch + (i * kPoints + from_col) * c_, c_, to_col - from_col);
    }
    for (int64_t c = 0; c < c_; c += width_)
      kernels_.winograd_input(patch + c, kPoints * c_, c_, v + c, v_point_);
  }

  // Row i of the points of a block's tiles.
  void multiply(const float* v, int i, int64_t panel, int64_t tiles, float* m, float* z) const {
    const int64_t channel = panel * blocking_.vecs * width_;
    const int vecs = static_cast<int>(std::min<int64_t>(blocking_.vecs, (k_ - channel) / width_));
    Product product{};
    product.points = kPoints;
    product.taps = p_.x.dims.c;
    product.x_point = v_point_, product.x_col = c_;
    product.w = weights_->floats() + (i * k_ + channel) * kPoints * p_.x.dims.c;
    product.y = m, product.y_point = m_point_;
    WinogradRow row{};
    row.m = m, row.m_point = m_point_;
    row.vecs = vecs;
    row.z_tile = z_tile_, row.z_vec = kPoints * m_ * width_;
    for (int64_t first = 0; first < tiles; first += blocking_.span) {
      product.cols = row.tiles = std::min(blocking_.span, tiles - first);
      product.x = v + i * kPoints * v_point_ + first * c_;
      kernels_.product[vecs](product);
      row.z = z + first * z_tile_ + i * m_ * width_ + kPoints * m_ * channel;
      kernels_.winograd_row[m_](row);
    }
  }

  // Channels first_k to last_k of a tile.
  void transform_output(const FloatOperands& o, int64_t tile, const float* z, int64_t first_k,
                        int64_t last_k, float* patch) const {
    const Patch place = patch_of(tile);
    const int64_t stored = m_ / p_.end.pool[0];  // rows and columns of a whole tile
    const int64_t at = ((place.image * out_.h + place.top) * out_.w + place.left) * y_pixel_;
    const int64_t height = place.rows, width = place.cols;
    WinogradOutput out{};
    out.limits = p_.end.limits;
    out.pool = static_cast<int>(p_.end.pool[0]);
    const auto transform = kernels_.winograd_output[m_];
    const bool whole = height == stored && width == stored;
    for (int64_t k = first_k; k < last_k; k += width_) {
      out.z = z + kPoints * m_ * k;
      out.bias = bias_->floats() + k;
      if (whole) {
        out.y = o.y + at + k, out.y_row = out_.w * y_pixel_, out.y_col = y_pixel_;
        out.residual = p_.end.residual ? o.operand + at + k : nullptr;
        transform(out);
        continue;
      }
      // At the border: into a patch, of which the part inside the image is copied.
      const int64_t vector = static_cast<int64_t>(width_) * sizeof(float);
      float* residual = patch + stored * stored * width_;
      if (p_.end.residual) {
        for (int64_t i = 0; i < height; ++i) {
          for (int64_t j = 0; j < width; ++j) {
            std::memcpy(residual + (i * stored + j) * width_,
                        o.operand + at + (i * out_.w + j) * y_pixel_ + k, vector);
          }
        }
        out.residual = residual;
      }
      out.y = patch, out.y_row = stored * width_, out.y_col = width_;
      transform(out);
      for (int64_t i = 0; i < height; ++i) {
        for (int64_t j = 0; j < width; ++j) {
          std::memcpy(o.y + at + (i * out_.w + j) * y_pixel_ + k, patch + (i * stored + j) * width_,
                      vector);
        }
      }
    }
    for (int64_t i = 0; i < height; ++i) {
      map_results(kernels_, p_.end.then, o.y + at + i * out_.w * y_pixel_ + first_k, width,
                  y_pixel_, std::min(last_k, out_.c) - first_k);
    }
  }

  const Problem p_;
  const Kernels& kernels_;
  const int width_;
  const Dims out_;
  const Blocking blocking_;
  const int m_;
  const int64_t c_, k_;  // channels, padded
  const int64_t x_pixel_, y_pixel_;
  int64_t panels_;  // of output channels
  int64_t v_point_, m_point_, z_tile_;
  const Repair repair_;
  const LeftInverse inverse_;
  ptrdiff_t energy_points_[16];
  WeightStore::Buffer weights_, bias_;
};

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
    return plan_of(std::make_unique<WinogradPlan>(p, *weight, bias, context), context);
  }
};

const Winograd kWinograd;
const RegisterAlgorithm kRegistered(&kWinograd);

}  // namespace
}  // namespace linnet
