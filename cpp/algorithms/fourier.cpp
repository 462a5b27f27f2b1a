// Convolution in the frequency domain, by tiles of 8x8 (fourier-8) or 16x16 (fourier-16) pixels, for kernels up to that size,
// stride 1. The image is cut into overlapping tiles, of which the circular convolution is right in all but the first rows and
// columns of the overlap (overlap-save); these N - R + 1 by N - S + 1 results are kept. Transforms are real, products follow
// Karatsuba (kernels/fourier_points.h), the epilogue is part of the output transform. Mathieu, Henaff and LeCun, "Fast
// Training of Convolutional Networks through FFTs", ICLR 2014; small tiles: Vasilache et al., "Fast Convolutional Nets With
// fbfft", ICLR 2015.
//
// Each size is an algorithm of its own, so that the planner measures and reports both like any other candidates.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "../algorithm.h"
#include "../cost.h"
#include "../kernels/fourier_points.h"

namespace linnet {
namespace {

// What one thread's buffers may fill of a core's second-level cache, with weights streaming past.
constexpr int64_t kBlockBytes = 768 * 1024;
// Cycles of the transforms by the tile's points, one vector of channels, for the cost estimate.
constexpr double kCyclesPerPoint8 = 4.5, kCyclesPerPoint16 = 5.5;
constexpr double kTurn = 6.283185307179586;

// How tiles are cut: each yields `stored` results, after a pool, from `computed` ones along an axis.
struct Grid {
  int64_t computed[2], stored[2];
  int64_t rows, cols;  // of tiles, of an image
  Grid(const Problem& p, int n) {
    for (int axis = 0; axis < 2; ++axis) {
      stored[axis] = (n + 1 - p.window.extent(axis)) / p.pool[axis];
      computed[axis] = stored[axis] * p.pool[axis];
    }
    const Dims out = p.out();
    rows = ceil_div(out.h, stored[0]);
    cols = ceil_div(out.w, stored[1]);
  }
};

// Panels of output channels for the products, in which tiles take the place of pixels.
struct Blocking {
  int vecs = 1;       // vectors of output channels of a panel
  int64_t cols = 1;   // tiles of one product
  double cycles = 0;  // of all products of one point
};

Blocking choose_blocking(const Kernels& kernels, int64_t k, int64_t c, int64_t tiles) {
  const int64_t vectors = ceil_div(k, kernels.width);
  const double fma = std::max(0.5, kernels.flops_per_cycle / (2.0 * kernels.width));
  Blocking best;
  best.cycles = std::numeric_limits<double>::infinity();
  for (int vecs = 1; vecs <= kernels.direct_vecs && vecs <= vectors; ++vecs) {
    const int64_t most = std::min<int64_t>(kernels.direct_cols[vecs], tiles);
    const int64_t panels = ceil_div(vectors, vecs), groups = ceil_div(tiles, most);
    // Bound by multiply-adds, of which 8 in flight wait for each other, or by loads; and the ends of the loop.
    const double step = std::max(std::max<double>(vecs * most, 8) / fma, (vecs + most) / 2.0);
    const double cycles = static_cast<double>(panels * groups) * (c * step + 25 + vecs * most);
    if (cycles < best.cycles) best = {vecs, most, cycles};
  }
  return best;
}

class FourierPlan final : public Plan {
 public:
  FourierPlan(const Problem& problem, int n, const Weight& weight, const Weight* bias, const Context& context)
      : p_(problem),
        kernels_(context.kernels),
        n_(n),
        points_(fourier_points(n)),
        width_(kernels_.width),
        out_(p_.out()),
        grid_(problem, n),
        c_(round_up(p_.in.c, width_)),
        k_(round_up(p_.k, width_)),
        tiles_(p_.n * grid_.rows * grid_.cols) {
    const Blocking blocking = choose_blocking(kernels_, p_.k, p_.in.c, tiles_);
    lanes_ = static_cast<int64_t>(blocking.vecs) * width_;
    panels_ = ceil_div(k_, lanes_);
    // A block is what one thread multiplies by one panel at a time; a round is what all threads transform together.
    const int64_t tile_bytes = points_ * (c_ + lanes_) * static_cast<int64_t>(sizeof(float));
    block_ = std::max(blocking.cols, kBlockBytes / tile_bytes / blocking.cols * blocking.cols);
    rounds_ = ceil_div(tiles_, block_ * p_.threads);
    round_ = ceil_div(tiles_, rounds_);
    // Smaller blocks where there is not enough to do for the threads.
    const int64_t wanted = p_.threads > 1 ? ceil_div(4 * p_.threads, panels_) : 1;
    blocks_ = std::max(ceil_div(round_, block_), std::min(wanted, ceil_div(round_, blocking.cols)));
    // Steps between tiles stay off multiples of a cache way.
    v_tile_ = points_ * c_ + 16;
    m_tile_ = points_ * lanes_ + 16;
    pack_weights(weight, context);
    static const float zero = 0;
    bias_ = context.weights.get(bias ? bias->data : &zero, "bias " + std::to_string(k_), k_, [&](float* out) {
      if (bias) std::memcpy(out, bias->data, static_cast<size_t>(p_.k) * sizeof(float));
    });
    zeros_ = context.weights.get(&zero, "bias " + std::to_string(k_), k_, [](float*) {});
  }

  size_t workspace() const override {
    return static_cast<size_t>(round_floats() + p_.threads * thread_floats()) * sizeof(float);
  }

  void run(const Operands& o) const override {
    float* v = o.workspace;
    const int64_t vectors = c_ / width_;
    for (int64_t round = 0; round < rounds_; ++round) {
      const int64_t first = tiles_ * round / rounds_, tiles = tiles_ * (round + 1) / rounds_ - first;
      o.pool.parallel_for(tiles * vectors, [&](int64_t task, int) {
        const int64_t tile = task / vectors, c = task % vectors * width_;
        transform_input(o.x, first + tile, c, v + tile * v_tile_ + c);
      });
      const int64_t blocks = std::min(blocks_, tiles);
      o.pool.parallel_for(panels_ * blocks, [&](int64_t task, int thread) {
        // Neighbouring tasks share a block of tiles, which is the larger part to keep in cache.
        const int64_t panel = task % panels_, block = task / panels_;
        const int64_t begin = tiles * block / blocks, end = tiles * (block + 1) / blocks;
        float* m = v + round_floats() + thread * thread_floats();
        multiply(v + begin * v_tile_, end - begin, panel, m);
        for (int64_t tile = begin; tile < end; ++tile) transform_output(o, first + tile, panel, m + (tile - begin) * m_tile_);
      });
    }
  }

 private:
  int64_t round_floats() const { return round_up(round_ * v_tile_, 64); }
  int64_t thread_floats() const { return round_up(ceil_div(round_, blocks_) * m_tile_, 64); }
  int panel_vecs(int64_t panel) const { return static_cast<int>(std::min(lanes_, k_ - panel * lanes_) / width_); }

  // U[panel][point][c][vecs * width]: the transformed kernels, conjugated since a convolutional layer correlates, over the
  // number of pixels of a tile. Computed in double.
  void pack_weights(const Weight& weight, const Context& context) {
    const int64_t rows = p_.window.kernel[0], cols = p_.window.kernel[1];
    const std::string packing = "fourier-" + std::to_string(n_) + " d" + std::to_string(p_.window.dilation[0]) + "x" +
                                std::to_string(p_.window.dilation[1]) + " v" + std::to_string(width_) + "x" + std::to_string(lanes_ / width_);
    weights_ = context.weights.get(weight.data, packing, points_ * p_.in.c * k_, [&](float* out) {
      double cosine[16], sine[16];
      for (int i = 0; i < n_; ++i) cosine[i] = std::cos(kTurn * i / n_), sine[i] = std::sin(kTurn * i / n_);
      double half_re[16][9], half_im[16][9];  // rows of the kernel, transformed
      for (int64_t k = 0; k < p_.k; ++k) {
        const int64_t panel = k / lanes_, lanes = static_cast<int64_t>(panel_vecs(panel)) * width_;
        float* to_panel = out + panel * lanes_ * points_ * p_.in.c + k % lanes_;
        for (int64_t c = 0; c < p_.in.c; ++c) {
          const float* w = weight.data + (k * p_.in.c + c) * rows * cols;
          for (int64_t r = 0; r < rows; ++r) {
            for (int x = 0; x <= n_ / 2; ++x) {
              double re = 0, im = 0;
              for (int64_t s = 0; s < cols; ++s) {
                const int64_t turn = s * p_.window.dilation[1] * x % n_;
                re += w[r * cols + s] * cosine[turn];
                im += w[r * cols + s] * sine[turn];
              }
              half_re[r][x] = re / (n_ * n_), half_im[r][x] = im / (n_ * n_);
            }
          }
          for_each_frequency(n_, [&](const FourierPoint& f, int point) {
            double re = 0, im = 0;
            for (int64_t r = 0; r < rows; ++r) {
              const int64_t turn = r * p_.window.dilation[0] * f.y % n_;
              re += half_re[r][f.x] * cosine[turn] - half_im[r][f.x] * sine[turn];
              im += half_re[r][f.x] * sine[turn] + half_im[r][f.x] * cosine[turn];
            }
            float* to = to_panel + (point * p_.in.c + c) * lanes;
            to[0] = static_cast<float>(re);
            if (f.real) return;
            to[p_.in.c * lanes] = static_cast<float>(im - re);
            to[2 * p_.in.c * lanes] = static_cast<float>(re + im);
          });
        }
      }
    });
  }

  void transform_input(const float* x, int64_t tile, int64_t c, float* v) const {
    const int64_t image = tile / (grid_.rows * grid_.cols), row = tile / grid_.cols % grid_.rows, col = tile % grid_.cols;
    const int64_t top = row * grid_.computed[0] - p_.window.pad[0], left = col * grid_.computed[1] - p_.window.pad[1];
    const auto inside = [&](int64_t at) { return static_cast<int>(std::max<int64_t>(0, std::min<int64_t>(n_, at))); };
    FourierInput in{};
    in.x_row = p_.in.w * c_, in.x_col = c_;
    in.x = x + ((image * p_.in.h + top) * p_.in.w + left) * c_ + c;
    in.first_row = inside(-top), in.last_row = inside(p_.in.h - top);
    in.first_col = inside(-left), in.last_col = inside(p_.in.w - left);
    in.v = v, in.v_point = c_;
    kernels_.fourier_input[n_ / 16](in);
  }

  // m[tile][point][lane] = sum over c of v[tile][point][c] * U[panel][point][c][lane]
  void multiply(const float* v, int64_t tiles, int64_t panel, float* m) const {
    const int vecs = panel_vecs(panel);
    const int64_t lanes = static_cast<int64_t>(vecs) * width_;
    DirectTile tile{};
    tile.outer = tile.middle = 1;
    tile.inner = p_.in.c;
    tile.x_col = v_tile_, tile.y_col = m_tile_;
    tile.bias = zeros_->floats();
    tile.low = -std::numeric_limits<float>::infinity();
    tile.pool_cols = 1;
    tile.w = weights_->floats() + panel * lanes_ * points_ * p_.in.c;
    const int64_t groups = ceil_div(tiles, kernels_.direct_cols[vecs]);
    for (int64_t point = 0; point < points_; ++point, tile.w += p_.in.c * lanes) {
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t begin = tiles * g / groups, end = tiles * (g + 1) / groups;
        tile.x = v + begin * v_tile_ + point * c_;
        tile.y = m + begin * m_tile_ + point * lanes;
        kernels_.direct[vecs][end - begin](tile);
      }
    }
  }

  void transform_output(const Operands& o, int64_t tile, int64_t panel, const float* m) const {
    const int64_t image = tile / (grid_.rows * grid_.cols), row = tile / grid_.cols % grid_.rows, col = tile % grid_.cols;
    const int64_t top = row * grid_.stored[0], left = col * grid_.stored[1];
    const int vecs = panel_vecs(panel);
    const int64_t at = ((image * out_.h + top) * out_.w + left) * k_ + panel * lanes_;
    FourierOutput out{};
    out.m_point = static_cast<int64_t>(vecs) * width_;
    out.y_row = out_.w * k_, out.y_col = k_;
    out.low = p_.relu ? 0.0f : -std::numeric_limits<float>::infinity();
    out.pool_rows = static_cast<int>(p_.pool[0]), out.pool_cols = static_cast<int>(p_.pool[1]);
    out.rows = static_cast<int>(std::min(grid_.stored[0], out_.h - top)) * out.pool_rows;
    out.cols = static_cast<int>(std::min(grid_.stored[1], out_.w - left)) * out.pool_cols;
    for (int64_t k = 0; k < out.m_point; k += width_) {
      out.m = m + k;
      out.bias = bias_->floats() + panel * lanes_ + k;
      out.y = o.y + at + k;
      out.residual = p_.residual ? o.operand + at + k : nullptr;
      kernels_.fourier_output[n_ / 16](out);
    }
  }

  const Problem p_;
  const Kernels& kernels_;
  const int n_;  // tiles are n x n
  const int64_t points_;
  const int width_;
  const Dims out_;
  const Grid grid_;
  const int64_t c_, k_;  // channels, padded
  const int64_t tiles_;  // of the batch
  int64_t lanes_;        // output channels of a panel
  int64_t panels_;
  int64_t block_, blocks_, round_, rounds_;  // tiles of a block, blocks of a round, tiles of a round, rounds
  int64_t v_tile_, m_tile_;                  // floats between tiles
  WeightStore::Buffer weights_, bias_, zeros_;
};

class Fourier final : public Algorithm {
 public:
  Fourier(const char* name, int n) : name_(name), n_(n) {}

  const char* name() const override { return name_; }
  bool exact() const override { return false; }

  std::string refuse(const Problem& p, const Context&) const override {
    const Window& w = p.window;
    if (p.kind != Kind::kConv) return "not a convolution";
    if (w.stride[0] != 1 || w.stride[1] != 1) return "the stride is not 1";
    if (p.groups != 1) return "the convolution is grouped";
    if (w.extent(0) > n_ || w.extent(1) > n_) {
      return "kernel " + std::to_string(w.extent(0)) + "x" + std::to_string(w.extent(1)) + " does not fit tiles of " + std::to_string(n_);
    }
    if (p.in_layout != Layout::kNhwc || p.out_layout != Layout::kNhwc) return "works on channels-last only";
    if (p.pooled()) {
      if (p.pool[0] > n_ + 1 - w.extent(0) || p.pool[1] > n_ + 1 - w.extent(1)) return "a pool window does not fit the results of a tile";
      if (p.residual) return "a residual cannot be added before a fused pool";
    }
    return "";
  }

  double cost(const Problem& p, const Context& context) const override {
    const Kernels& kernels = context.kernels;
    const Grid grid(p, n_);
    const int64_t tiles = p.n * grid.rows * grid.cols, points = fourier_points(n_);
    const int64_t c = round_up(p.in.c, kernels.width), k = round_up(p.k, kernels.width);
    const Blocking blocking = choose_blocking(kernels, p.k, p.in.c, tiles);
    const double lanes = static_cast<double>(blocking.vecs * kernels.width), panels = std::ceil(static_cast<double>(k) / lanes);
    // The blocks of FourierPlan; a panel's weights pass once for each.
    const double tile_bytes = static_cast<double>(points) * (static_cast<double>(c) + lanes) * sizeof(float);
    const double cols = static_cast<double>(blocking.cols);
    const double most = std::max(cols, std::floor(static_cast<double>(kBlockBytes) / tile_bytes / cols) * cols);
    const double blocks = std::ceil(static_cast<double>(tiles) / most), in_block = static_cast<double>(tiles) / blocks;
    const double groups = std::ceil(in_block / cols);
    const double slice_bytes = static_cast<double>(p.in.c) * lanes * sizeof(float);
    const double weight_bytes = static_cast<double>(points * p.in.c * k) * sizeof(float);
    double cycles = blocks * static_cast<double>(points) * panels * groups *
                    tile_cycles(kernels, blocking.vecs, in_block / groups, static_cast<double>(p.in.c), slice_bytes);
    cycles += stream_cycles(weight_bytes * blocks, weight_bytes + in_block * tile_bytes);
    cycles += stream_cycles(2 * static_cast<double>(tiles * points * (c + k)) * sizeof(float), in_block * tile_bytes);
    // A transform's spills matter more than its logarithm.
    cycles += static_cast<double>(tiles * points * (c + k)) / kernels.width * (n_ == 16 ? kCyclesPerPoint16 : kCyclesPerPoint8);
    return parallel_cycles(cycles, panels * std::max(blocks, 4.0 * p.threads / panels), p.threads) + parallel_cycles(0, 1, p.threads) + 1000;
  }

  double memory(const Problem& p, const Context& context) const override {
    const int width = context.kernels.width;
    const double points = static_cast<double>(fourier_points(n_));
    return points * static_cast<double>(p.in.c * round_up(p.k, width)) * sizeof(float) + p.threads * static_cast<double>(kBlockBytes);
  }

  std::unique_ptr<Plan> prepare(const Problem& p, const Weight* weight, const Weight* bias, const Context& context) const override {
    return std::make_unique<FourierPlan>(p, n_, *weight, bias, context);
  }

 private:
  const char* const name_;
  const int n_;
};

const Fourier kFourier8("fourier-8", 8), kFourier16("fourier-16", 16);
const RegisterAlgorithm kRegistered8(&kFourier8), kRegistered16(&kFourier16);

}  // namespace
}  // namespace linnet
