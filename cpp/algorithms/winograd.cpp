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

#include "../algorithm.h"
#include "../cost.h"
#include "../kernels/winograd_points.h"

namespace linnet {
namespace {

constexpr int kPoints = kWinogradPoints;
constexpr int kTilePoints = kPoints * kPoints;
// Cycles of the transforms of one tile and vector of channels, for the cost estimate; measured on
// AVX2 and AVX-512.
constexpr double kInputCycles = 250, kOutputCycles = 160;
// The same of copying a tile that reaches beyond the image.
constexpr double kCopyCycles = 150;
// What the transformed tiles of one block may fill of a core's second-level cache, weights beside
// them, at least; and the products of a row of points, of its first level. Where all cores share a
// small second level (ARM), several threads have to do with less.
constexpr double kBlockShare = 0.33, kRowShare = 0.6;
constexpr int64_t kLeastBlock = 192 * 1024, kLeastSharedBlock = 112 * 1024;
// Sums over more would err by more than 1e-4 of the results' rms (bench/errors.py).
constexpr int64_t kMostChannels = 512;

// Panels of output channels for the products; tiles take the place of pixels.
struct Blocking {
  int vecs;       // vectors of output channels of a panel
  int64_t cols;   // tiles of one product
  int64_t tiles;  // tiles of one block
};

// For F(m x m, .) of `tiles` tiles.
Blocking choose_blocking(const Kernels& kernels, int64_t m, int64_t k, int64_t c, int64_t tiles,
                         int threads) {
  const int64_t vectors = ceil_div(k, kernels.width);
  Blocking best{1, 1, 1};
  double least = std::numeric_limits<double>::infinity();
  for (int vecs = 1; vecs <= kernels.direct_vecs && vecs <= vectors; ++vecs) {
    const int64_t most = std::min<int64_t>(kernels.direct_cols[vecs], tiles);
    // Instructions of a product per vector of results: loads of tiles and weights, multiply-adds.
    // Threads take turns if there are more products of an image than threads.
    const int64_t panels = ceil_div(vectors, vecs), groups = ceil_div(tiles, most);
    const double cost = static_cast<double>(ceil_div(panels * groups, threads)) *
                        (c * (vecs + most + 2.0 * vecs * most) + 40 + 3 * vecs * most);
    if (cost < least) least = cost, best = {vecs, most, most};
  }
  constexpr auto kSize = static_cast<int64_t>(sizeof(float));
  const int64_t c_padded = round_up(c, kernels.width), k_padded = round_up(k, kernels.width);
  const int64_t tile_bytes = (kTilePoints * c_padded + kPoints * m * k_padded) * kSize;
  const int64_t row_bytes = kPoints * best.vecs * kernels.width * kSize;
  const int64_t block_bytes = std::max(threads > 1 ? kLeastSharedBlock : kLeastBlock,
                                       static_cast<int64_t>(kBlockShare * machine().l2));
  const int64_t fitting = std::min(block_bytes / tile_bytes,
                                   static_cast<int64_t>(kRowShare * machine().l1) / row_bytes);
  best.tiles = best.cols * std::max<int64_t>(1, fitting / best.cols);
  return best;
}

class WinogradPlan final : public Plan {
 public:
  WinogradPlan(const Problem& problem, const Weight& weight, const Weight* bias,
               const Context& context)
      : p_(problem),
        kernels_(context.kernels),
        width_(kernels_.width),
        out_(p_.out()),
        m_(kPoints + 1 - static_cast<int>(p_.window.kernel[0])),
        c_(round_up(p_.in.c, width_)),
        k_(round_up(p_.k, width_)) {
    // Rows and columns a pool drops need not be computed.
    rows_ = ceil_div(out_.h * p_.pool[0], m_);
    cols_ = ceil_div(out_.w * p_.pool[1], m_);
    tiles_ = p_.n * rows_ * cols_;
    blocking_ = choose_blocking(kernels_, m_, p_.k, p_.in.c, rows_ * cols_, p_.threads);
    split();
    pack_weights(weight, context);
    bias_ = context.weights.get_bias(bias, p_.k, k_);
    // Steps between points stay off multiples of a cache way.
    v_point_ = blocking_.tiles * c_ + 16;
    m_point_ = blocking_.tiles * blocking_.vecs * width_ + 16;
    z_tile_ = kPoints * m_ * k_ + 16;
  }

  size_t workspace() const override { return float_bytes(p_.threads * thread_floats()); }

  void run(const Operands& o) const override {
    const int64_t blocks = ceil_div(tiles_, blocking_.tiles);
    o.pool.parallel_for(blocks * splits_, [&](int64_t task, int thread) {
      const int64_t block = task / splits_, split = task % splits_;
      run_block(o, tiles_ * block / blocks, tiles_ * (block + 1) / blocks,
                panels() * split / splits_, panels() * (split + 1) / splits_,
                o.workspace + thread * thread_floats());
    });
  }

 private:
  int64_t panels() const { return ceil_div(k_ / width_, blocking_.vecs); }
  int64_t thread_floats() const {
    // The patch holds a tile's input, or one vector of its results and as many residuals.
    return round_up(kTilePoints * v_point_ + kPoints * m_point_ + blocking_.tiles * z_tile_ +
                        kTilePoints * std::max<int64_t>(c_, 2 * width_),
                    64);
  }

  // Smaller blocks, then splits of the output channels, where there are too few blocks for the
  // threads.
  void split() {
    if (p_.threads == 1) return;
    const int64_t wanted = 4 * p_.threads;
    const int64_t share = round_up(ceil_div(tiles_, wanted), blocking_.cols);
    blocking_.tiles = std::min(blocking_.tiles, std::max(share, blocking_.cols));
    const int64_t blocks = ceil_div(tiles_, blocking_.tiles);
    if (blocks < p_.threads) splits_ = std::min(panels(), ceil_div(2 * p_.threads, blocks));
  }

  // U[i][panel][j][c][vecs * width] = G g G^T at point (i, j), computed in double.
  void pack_weights(const Weight& weight, const Context& context) {
    const int r = static_cast<int>(p_.window.kernel[0]);
    const std::string packing =
        "winograd rows v" + std::to_string(width_) + "x" + std::to_string(blocking_.vecs);
    weights_ = context.weights.get(&weight, packing, kTilePoints * p_.in.c * k_, [&](float* out) {
      double g[kPoints][kPoints];
      for (int j = 0; j < kPoints; ++j) {
        for (int i = 0; i < r; ++i) g[j][i] = winograd_weight(kWinogradPairs, j, i, r);
      }
      const int64_t lanes = blocking_.vecs * width_;
      for (int64_t k = 0; k < p_.k; ++k) {
        const int64_t panel = k / lanes;
        const int64_t panel_lanes = std::min(lanes, k_ - panel * lanes);
        for (int64_t c = 0; c < p_.in.c; ++c) {
          const float* w = weight.data + (k * p_.in.c + c) * r * r;
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
              out[(i * k_ + panel * lanes) * kPoints * p_.in.c + (j * p_.in.c + c) * panel_lanes +
                  k % lanes] = static_cast<float>(sum);
            }
          }
        }
      }
    });
  }

  void run_block(const Operands& o, int64_t first, int64_t last, int64_t first_panel,
                 int64_t last_panel, float* scratch) const {
    float* v = scratch;
    float* m = v + kTilePoints * v_point_;
    float* z = m + kPoints * m_point_;
    float* patch = z + blocking_.tiles * z_tile_;
    for (int64_t t = first; t < last; ++t) transform_input(o.x, t, v + (t - first) * c_, patch);
    for (int i = 0; i < kPoints; ++i) {
      for (int64_t panel = first_panel; panel < last_panel; ++panel)
        multiply(v + i * kPoints * v_point_, i, panel, last - first, m, z + i * m_ * width_);
    }
    for (int64_t t = first; t < last; ++t)
      transform_output(o, t, z + (t - first) * z_tile_, first_panel, last_panel, patch);
  }

  void transform_input(const float* x, int64_t tile, float* v, float* patch) const {
    const int64_t image = tile / (rows_ * cols_), row = tile / cols_ % rows_, col = tile % cols_;
    const int64_t top = row * m_ - p_.window.pad[0], left = col * m_ - p_.window.pad[1];
    const float* from = x + image * p_.in.h * p_.in.w * c_;
    const int64_t x_row = p_.in.w * c_;
    if (top >= 0 && left >= 0 && top + kPoints <= p_.in.h && left + kPoints <= p_.in.w) {
      from += top * x_row + left * c_;
      for (int64_t c = 0; c < c_; c += width_)
        kernels_.winograd_input(from + c, x_row, c_, v + c, v_point_);
      return;
    }
    // At the border: a copy of the patch with zeros outside the image.
    std::memset(patch, 0, static_cast<size_t>(kTilePoints * c_) * sizeof(float));
    const int64_t from_col = std::max<int64_t>(0, -left),
                  to_col = std::min<int64_t>(kPoints, p_.in.w - left);
    for (int64_t i = std::max<int64_t>(0, -top);
         i < std::min<int64_t>(kPoints, p_.in.h - top) && from_col < to_col; ++i) {
      std::memcpy(patch + (i * kPoints + from_col) * c_,
                  from + (top + i) * x_row + (left + from_col) * c_,
                  static_cast<size_t>((to_col - from_col) * c_) * sizeof(float));
    }
    for (int64_t c = 0; c < c_; c += width_)
      kernels_.winograd_input(patch + c, kPoints * c_, c_, v + c, v_point_);
  }

  // Row i of the points of some tiles.
  void multiply(const float* v, int i, int64_t panel, int64_t tiles, float* m, float* z) const {
    const int64_t channel = panel * blocking_.vecs * width_;
    const int vecs = static_cast<int>(std::min<int64_t>(blocking_.vecs, (k_ - channel) / width_));
    Product product{};
    product.points = kPoints;
    product.cols = tiles, product.taps = p_.in.c;
    product.x = v, product.x_point = v_point_, product.x_col = c_;
    product.w = weights_->floats() + (i * k_ + channel) * kPoints * p_.in.c;
    product.y = m, product.y_point = m_point_;
    kernels_.product[vecs](product);
    WinogradRow row{};
    row.m = m, row.m_point = m_point_;
    row.tiles = tiles, row.vecs = vecs;
    row.z = z + kPoints * m_ * channel;
    row.z_tile = z_tile_, row.z_vec = kPoints * m_ * width_;
    kernels_.winograd_row[m_](row);
  }

  void transform_output(const Operands& o, int64_t tile, const float* z, int64_t first_panel,
                        int64_t last_panel, float* patch) const {
    const int64_t image = tile / (rows_ * cols_), row = tile / cols_ % rows_, col = tile % cols_;
    const int64_t stored = m_ / p_.pool[0];  // rows and columns of a whole tile
    const int64_t top = row * stored, left = col * stored;
    const int64_t at = ((image * out_.h + top) * out_.w + left) * k_;
    const int64_t height = std::min(stored, out_.h - top), width = std::min(stored, out_.w - left);
    WinogradOutput out{};
    out.low = p_.relu ? 0.0f : -std::numeric_limits<float>::infinity();
    out.pool = static_cast<int>(p_.pool[0]);
    const auto transform = kernels_.winograd_output[m_];
    const bool whole = height == stored && width == stored;
    const int64_t end = std::min(k_, last_panel * blocking_.vecs * width_);
    for (int64_t k = first_panel * blocking_.vecs * width_; k < end; k += width_) {
      out.z = z + kPoints * m_ * k;
      out.bias = bias_->floats() + k;
      if (whole) {
        out.y = o.y + at + k, out.y_row = out_.w * k_, out.y_col = k_;
        out.residual = p_.residual ? o.operand + at + k : nullptr;
        transform(out);
        continue;
      }
      // At the border: into a patch, of which the part inside the image is copied.
      const int64_t vector = static_cast<int64_t>(width_) * sizeof(float);
      float* residual = patch + stored * stored * width_;
      if (p_.residual) {
        for (int64_t i = 0; i < height; ++i) {
          for (int64_t j = 0; j < width; ++j) {
            std::memcpy(residual + (i * stored + j) * width_,
                        o.operand + at + (i * out_.w + j) * k_ + k, vector);
          }
        }
        out.residual = residual;
      }
      out.y = patch, out.y_row = stored * width_, out.y_col = width_;
      transform(out);
      for (int64_t i = 0; i < height; ++i) {
        for (int64_t j = 0; j < width; ++j) {
          std::memcpy(o.y + at + (i * out_.w + j) * k_ + k, patch + (i * stored + j) * width_,
                      vector);
        }
      }
    }
  }

  const Problem p_;
  const Kernels& kernels_;
  const int width_;
  const Dims out_;
  const int m_;
  const int64_t c_, k_;  // channels, padded
  int64_t rows_, cols_;  // tiles of an image
  int64_t tiles_;        // of the batch
  Blocking blocking_;
  int64_t splits_ = 1;
  int64_t v_point_, m_point_, z_tile_;
  WeightStore::Buffer weights_, bias_;
};

class Winograd final : public Algorithm {
 public:
  const char* name() const override { return "winograd"; }
  bool exact() const override { return false; }

  std::string refuse(const Problem& p, const Context&) const override {
    const Window& w = p.window;
    if (p.kind != Kind::kConv) return "not a convolution";
    if (w.kernel[0] != w.kernel[1]) return "the kernel is not square";
    if (w.kernel[0] < 2 || w.kernel[0] > 7) {
      return "kernel " + std::to_string(w.kernel[0]) + "x" + std::to_string(w.kernel[1]) +
             " does not fit tiles of 8";
    }
    if (w.stride[0] != 1 || w.stride[1] != 1) return "the stride is not 1";
    if (w.dilation[0] != 1 || w.dilation[1] != 1) return "the kernel is dilated";
    if (p.groups != 1) return "the convolution is grouped";
    if (p.in.c > kMostChannels) return "sums over so many channels would err too much";
    if (p.in_layout != Layout::kNhwc || p.out_layout != Layout::kNhwc)
      return "works on channels-last only";
    if (p.pooled()) {
      const int64_t m = kPoints + 1 - w.kernel[0];
      if (p.pool[0] != p.pool[1] || p.pool[0] > 3 || m % p.pool[0] != 0) {
        return "pool windows do not tile its " + std::to_string(m) + "x" + std::to_string(m) +
               " outputs";
      }
      if (p.residual) return "a residual cannot be added before a fused pool";
    }
    return "";
  }

  double cost(const Problem& p, const Context& context) const override {
    const Kernels& kernels = context.kernels;
    const Dims out = p.out();
    const int64_t m = kPoints + 1 - p.window.kernel[0];
    const int64_t rows = ceil_div(out.h * p.pool[0], m), cols = ceil_div(out.w * p.pool[1], m),
                  tiles = p.n * rows * cols;
    const int64_t c = round_up(p.in.c, kernels.width), k = round_up(p.k, kernels.width);
    const Blocking blocking = choose_blocking(kernels, m, p.k, p.in.c, rows * cols, p.threads);
    // The blocks of WinogradPlan::split.
    int64_t block = std::min(blocking.tiles, tiles);
    if (p.threads > 1)
      block = std::min(
          block, std::max(blocking.cols, round_up(ceil_div(tiles, 4 * p.threads), blocking.cols)));
    const double blocks = static_cast<double>(ceil_div(tiles, block)),
                 in_block = static_cast<double>(tiles) / blocks;
    const double panels = static_cast<double>(ceil_div(k / kernels.width, blocking.vecs));
    const double splits =
        blocks < p.threads ? std::min(panels, std::ceil(2 * p.threads / blocks)) : 1;

    const double weight_bytes = static_cast<double>(kTilePoints * p.in.c * k) * sizeof(float);
    const double block_bytes =
        in_block * static_cast<double>(kTilePoints * c + kPoints * m * k) * sizeof(float);
    const double groups = std::ceil(in_block / static_cast<double>(blocking.cols));
    const double slice_bytes =
        static_cast<double>(p.in.c * blocking.vecs * kernels.width) * sizeof(float);
    double cycles = kTilePoints * panels * groups *
                    tile_cycles(kernels, blocking.vecs, in_block / groups,
                                static_cast<double>(p.in.c), slice_bytes);
    // What the transforms write and read passes through L2; transformed weights pass once for each
    // block.
    cycles += stream_cycles(block_bytes, block_bytes);
    cycles +=
        machine().transforms * in_block / kernels.width *
        (static_cast<double>(c) * kInputCycles * splits + static_cast<double>(k) * kOutputCycles);
    // Whole tiles, of those that start at -pad with m steps between.
    const auto whole = [&](int axis, int64_t count) {
      const int64_t pad = p.window.pad[axis], size = axis ? p.in.w : p.in.h;
      const int64_t from = ceil_div(pad, m), to = (size + pad - kPoints) / m;
      return static_cast<double>(std::clamp<int64_t>(to - from + 1, 0, count));
    };
    const double at_border =
        static_cast<double>(tiles) - static_cast<double>(p.n) * whole(0, rows) * whole(1, cols);
    cycles = blocks * cycles + kCopyCycles * at_border * static_cast<double>(c) / kernels.width +
             weight_cycles(weight_bytes, blocks, block_bytes, p.threads);
    return parallel_cycles(cycles, blocks * splits, p.threads) + 1000;
  }

  double memory(const Problem& p, const Context& context) const override {
    return static_cast<double>(kTilePoints * p.in.c * round_up(p.k, context.kernels.width)) *
               sizeof(float) +
           p.threads * std::max<double>(kLeastBlock, kBlockShare * machine().l2);
  }

  std::unique_ptr<Plan> prepare(const Problem& p, const Weight* weight, const Weight* bias,
                                const Context& context) const override {
    return std::make_unique<WinogradPlan>(p, *weight, bias, context);
  }
};

const Winograd kWinograd;
const RegisterAlgorithm kRegistered(&kWinograd);

}  // namespace
}  // namespace linnet
