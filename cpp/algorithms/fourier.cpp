// Convolution in the frequency domain, by tiles of 8x8 (fourier-8) or 16x16 (fourier-16) pixels,
// for kernels up to that size, stride 1. The image is cut into overlapping tiles, of which the
// circular convolution is right in all but the last rows and columns (overlap-save): n + 1 - R by n
// + 1 - S results of a tile of n x n are kept. Transforms are real, products of frequencies are
// summed over input channels, bias, residual, activation and pool are part of the output transform.
// Mathieu, Henaff and LeCun, "Fast Training of Convolutional Networks through FFTs", ICLR 2014;
// small tiles: Vasilache et al., "Fast Convolutional Nets With fbfft", ICLR 2015.
//
// Each size is an algorithm of its own, so that the planner measures and reports both like any
// other candidates.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <vector>

#include "../kernels/fourier_points.h"
#include "algorithms/algorithm.h"
#include "algorithms/cost.h"
#include "algorithms/epilogue.h"
#include "algorithms/repair.h"
#include "algorithms/watch.h"

namespace linnet {
namespace {

// Cycles of the transforms by number of the tile, one vector of channels, for the cost estimate.
constexpr double kCyclesPerNumber8 = 2.5, kCyclesPerNumber16 = 5;
// What three multiplications take of two vectors' columns. It would be 1.5 if weights streamed past
// as freely beside three loads as beside two; measured on layers of 16 to 64 channels.
constexpr double kColumnsOfThree = 1.65;
// Weights of one product, for the first-level cache.
constexpr int64_t kSliceFloats = 4096;
constexpr double kTurn = 6.283185307179586;
// Numbers that stand for all in the energy of a tile: every pixel is in each.
constexpr int kEnergyNumbers = 8;
// Energies beyond so many times the rest's are too large (docs/numerics.md).
constexpr float kMostEnergy = 64, kMostShare = 100;

// How the work is cut into tasks: a block of tiles is transformed and multiplied by one vector of
// output channels at a time, and its buffers stay in a core's second-level cache while the weights
// stream past. Each thread works on blocks of its own; or, of few tiles, all threads transform a
// round of blocks together, and then divide blocks times vectors.
struct Rounds {
  int64_t rounds = 1, blocks = 1;  // blocks of a round; 1 where each thread has its own
  bool together = false;
};

// How images are cut into tiles, and those into tasks.
struct Tiling {
  int64_t computed[2], stored[2];  // results of a tile by axis, before and after a pool
  int64_t rows, cols;              // tiles of an image
  int64_t all;                     // of the batch
  int64_t v_chunk;                 // floats of a column of a transformed tile's channels
  int64_t v_tile, m_tile;          // floats from one transformed tile, or column of it, to the next
  Rounds cut;
  double cycles;

  Tiling(const Problem& p, int n, const Kernels& kernels);
  int64_t round_tiles() const { return ceil_div(all, cut.rounds); }
  int64_t block_tiles() const { return ceil_div(round_tiles(), cut.blocks); }
  int64_t v_floats(int n) const { return round_up(n / 2 * round_tiles() * v_tile, 64); }
  int64_t m_floats() const { return round_up(block_tiles() * m_tile, 64); }
  // Of all threads.
  int64_t workspace(int n, int64_t threads) const {
    return (cut.together ? 1 : threads) * v_floats(n) + threads * m_floats();
  }

 private:
  std::vector<Rounds> choices(const Problem& p, int n, const Kernels& kernels) const;
  double all_cycles(const Problem& p, int n, const Kernels& kernels, const Rounds& r) const;
};

Tiling::Tiling(const Problem& p, int n, const Kernels& kernels) {
  for (int axis = 0; axis < 2; ++axis) {
    stored[axis] = (n + 1 - p.conv().window.extent(axis)) / p.end.pool[axis];
    computed[axis] = stored[axis] * p.end.pool[axis];
  }
  const Dims out = p.y.dims;
  rows = ceil_div(out.h, stored[0]);
  cols = ceil_div(out.w, stored[1]);
  all = p.n * rows * cols;
  v_chunk = kernels.fourier_stored * n * kFourierChunk;
  // A cache line more keeps the tiles off multiples of a cache way.
  v_tile = ceil_div(p.x.dims.c, kFourierChunk) * v_chunk + 16;
  m_tile = n * n * kernels.width + 16;
  std::tie(cut, cycles) = cheapest(choices(p, n, kernels),
                                   [&](const Rounds& r) { return all_cycles(p, n, kernels, r); });
}

std::vector<Rounds> Tiling::choices(const Problem& p, int n, const Kernels& kernels) const {
  const auto room = static_cast<int64_t>(0.8 * machine().l2) /
                    ((n / 2 * v_tile + m_tile) * static_cast<int64_t>(sizeof(float)));
  const int64_t most = std::max<int64_t>(1, room / kernels.fourier_tiles) * kernels.fourier_tiles;

  // As many for each thread.
  const int64_t least = round_up(ceil_div(all, most), p.threads);
  std::vector<Rounds> found{{std::min(least, all), 1, false}};
  if (p.threads > 1) {
    found.push_back({std::min(2 * least, all), 1, false});
    const int64_t some_rounds = ceil_div(all, most * p.threads);
    const int64_t tiles = ceil_div(all, some_rounds);
    // Smaller blocks where there are too few output channels for the threads.
    const int64_t wanted = ceil_div(4 * p.threads, ceil_div(p.y.dims.c, kernels.width));
    const int64_t blocks =
        std::max(ceil_div(tiles, most), std::min(wanted, ceil_div(tiles, kernels.fourier_tiles)));
    found.push_back({std::min(some_rounds, all), blocks, true});
  }
  return found;
}

double Tiling::all_cycles(const Problem& p, int n, const Kernels& kernels, const Rounds& r) const {
  const double numbers = n * n, tiles = static_cast<double>(all),
               c = static_cast<double>(p.x.dims.c);
  const double in_vectors = static_cast<double>(ceil_div(p.x.dims.c, kernels.width)),
               out_vectors = static_cast<double>(ceil_div(p.y.dims.c, kernels.width));
  const double count = static_cast<double>(r.rounds * r.blocks), in_block = tiles / count;
  const double groups = std::ceil(in_block / kernels.fourier_tiles);
  const double v_bytes = in_block * static_cast<double>(n / 2 * v_tile) * sizeof(float);
  const double block_bytes = v_bytes + in_block * static_cast<double>(m_tile) * sizeof(float);
  const double slice_bytes = 2 * c * kernels.width * sizeof(float);
  const double weight_bytes = numbers * c * out_vectors * kernels.width * sizeof(float);
  // A frequency's product is like a tile of two vectors and twice the taps, or, by three
  // multiplications, of more columns.
  const double group = in_block / groups;
  double sum = count * groups * out_vectors * numbers / 2 *
               (kernels.fourier_stored == 2
                    ? tile_cycles(kernels, 2, group, 2 * c, slice_bytes)
                    : tile_cycles(kernels, 2, kColumnsOfThree * group, c, slice_bytes));
  sum += weight_cycles(weight_bytes, count, block_bytes, p.threads);
  // A block's transformed input passes once for each vector of output channels.
  sum += stream_cycles(count * out_vectors * block_bytes, block_bytes);
  sum +=
      stream_cycles(2 * tiles * numbers * out_vectors * kernels.width * sizeof(float), block_bytes);
  // A transform's spills matter more than its logarithm.
  sum += machine().transforms * tiles * numbers * (in_vectors + out_vectors) *
         (n == 16 ? kCyclesPerNumber16 : kCyclesPerNumber8);
  if (!r.together) return parallel_cycles(sum, count, p.threads) + 1000;
  sum += exchange_cycles(count * v_bytes, p.threads);
  return parallel_cycles(sum, out_vectors * count, p.threads) + parallel_cycles(0, 2, p.threads) +
         1000;
}

struct FourierArgs {
  Convolution p;
  Tiling t;
  int n;                     // tiles are n x n
  int width;                 // of a vector
  int stored;                // numbers of V for each complex one
  int64_t c, k;              // channels, padded
  int64_t x_pixel, y_pixel;  // from one to the next
  int64_t scratch;           // floats before the energies
  int32_t energy_points[kEnergyNumbers];
  bool compared;  // energies are

  FourierArgs(const Problem& problem, int n, const Kernels& kernels);
  // V[column][tile][c / kFourierChunk][number][c % kFourierChunk]: what a product reads lies
  // together.
  int64_t v_column() const { return t.round_tiles() * t.v_tile; }
  // Where a number that is real or begins a complex one is among its column's in V.
  int64_t stored_number(int64_t column, int64_t number) const {
    const int64_t real = column == 0 ? std::min<int64_t>(number, kFourierReal) : 0;
    return real + (number - real) / 2 * stored;
  }
};
enum : uint8_t { kWeights, kBias };

Parts parts_of(const FourierArgs& a) {
  return {a.t.rows * a.t.cols,
          ceil_div(a.n, a.t.computed[0]) * ceil_div(a.n, a.t.computed[1]),
          kMostEnergy,
          kMostShare,
          static_cast<float>(kEnergyNumbers / 2 * a.n * a.n),
          a.t.cols,
          a.t.computed[0],
          a.n,
          -a.p.window.pad[0]};
}

Repair repair_of(const FourierArgs& a, const Kernels& kernels) {
  return {a.p, kernels, parts_of(a), a.t.stored[0], a.t.stored[1]};
}

FourierArgs::FourierArgs(const Problem& problem, int size, const Kernels& kernels)
    : p(problem),
      t(problem, size, kernels),
      n(size),
      width(kernels.width),
      stored(kernels.fourier_stored),
      c(round_up(p.x.dims.c, width)),
      k(round_up(p.y.dims.c, width)),
      x_pixel(p.x.pixel(width)),
      y_pixel(p.y.pixel(width)),
      scratch(std::max(round_up(t.workspace(n, p.threads), 64),
                       repair_of(*this, kernels).scratch_floats())),
      compared(parts_of(*this).compared()) {
  for (int i = 0; i < kEnergyNumbers; ++i)
    energy_points[i] = static_cast<int32_t>(v_column() + (i / 2 * stored + i % 2) * kFourierChunk);
}

// Cosines and sines of the n-th parts of a turn.
struct Circle {
  double cosine[16], sine[16];
  explicit Circle(int n) {
    for (int i = 0; i < n; ++i)
      cosine[i] = std::cos(kTurn * i / n), sine[i] = std::sin(kTurn * i / n);
  }
};

// U[vector of k][number][c][lane], as FourierProduct wants it: the transformed kernels,
// conjugated since a convolutional layer correlates, over the number of pixels of a tile.
// Computed in double.
PlanData pack(const FourierArgs& a, const Weight& weight, const Context& context) {
  const int64_t rows = a.p.window.kernel[0], cols = a.p.window.kernel[1], numbers = a.n * a.n;
  const std::string packing =
      "fourier-" + std::to_string(a.n) + " d" + std::to_string(a.p.window.dilation[0]) + "x" +
      std::to_string(a.p.window.dilation[1]) + " v" + std::to_string(a.width);
  return context.weights.get(
      &weight, packing, numbers * a.p.x.dims.c * a.k, [&](const Weight& loaded, float* out) {
        const Circle circle(a.n);
        double half_re[16][9], half_im[16][9];  // rows of the kernel, transformed
        for (int64_t k = 0; k < a.p.y.dims.c; ++k) {
          float* to_vector = out + k / a.width * a.width * numbers * a.p.x.dims.c + k % a.width;
          for (int64_t c = 0; c < a.p.x.dims.c; ++c) {
            const float* w = loaded.data + (k * a.p.x.dims.c + c) * rows * cols;
            for (int64_t r = 0; r < rows; ++r) {
              for (int x = 0; x <= a.n / 2; ++x) {
                double re = 0, im = 0;
                for (int64_t s = 0; s < cols; ++s) {
                  const int64_t turn = s * a.p.window.dilation[1] * x % a.n;
                  re += w[r * cols + s] * circle.cosine[turn];
                  im += w[r * cols + s] * circle.sine[turn];
                }
                half_re[r][x] = re / (a.n * a.n), half_im[r][x] = im / (a.n * a.n);
              }
            }
            for_each_frequency(a.n, [&](int y, int x, int number) {
              double re = 0, im = 0;
              for (int64_t r = 0; r < rows; ++r) {
                const int64_t turn = r * a.p.window.dilation[0] * y % a.n;
                re += half_re[r][x] * circle.cosine[turn] - half_im[r][x] * circle.sine[turn];
                im += half_re[r][x] * circle.sine[turn] + half_im[r][x] * circle.cosine[turn];
              }
              const bool real = number < kFourierReal;
              float* to = to_vector + (number * a.p.x.dims.c + (real ? 1 : 2) * c) * a.width;
              to[0] = static_cast<float>(re);
              if (!real) to[a.width] = static_cast<float>(im);
            });
          }
        }
      });
}

// The way back from U.
void recover_weights(const FourierArgs& a, const Circle& circle, const float* packed, int64_t k,
                     float* weights) {
  const int64_t rows = a.p.window.kernel[0], cols = a.p.window.kernel[1], channels = a.p.x.dims.c;
  const int64_t *dilation = a.p.window.dilation, numbers = a.n * a.n;
  const auto turn = [&](int64_t tap, int64_t step, int64_t frequency) {
    return tap * step * frequency % a.n;
  };
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t r = 0; r < rows; ++r) {
      RecoveredSums re[9], im[9];  // of that row of the kernel, columns transformed
      for_each_frequency(a.n, [&](int y, int x, int number) {
        const bool real = number < kFourierReal;
        const float* u =
            packed + k * numbers * channels + (number * channels + (real ? 1 : 2) * c) * a.width;
        // The half of the frequencies that is not stored mirrors this one.
        const int64_t at = turn(r, dilation[0], y);
        const double twice = real ? 1 : 2, cosine = twice * circle.cosine[at],
                     sine = twice * circle.sine[at];
        re[x].add(cosine, u, a.width), im[x].add(-sine, u, a.width);
        if (!real) re[x].add(sine, u + a.width, a.width), im[x].add(cosine, u + a.width, a.width);
      });
      for (int64_t s = 0; s < cols; ++s) {
        RecoveredSums sums;
        for (int x = 0; x <= a.n / 2; ++x) {
          const int64_t at = turn(s, dilation[1], x);
          sums.add(circle.cosine[at], re[x], a.width), sums.add(circle.sine[at], im[x], a.width);
        }
        sums.weights(weights + ((r * cols + s) * channels + c) * a.width, a.width);
      }
    }
  }
}

Patch patch_of(const FourierArgs& a, int64_t tile) {
  Patch at{};
  at.image = tile / (a.t.rows * a.t.cols);
  at.top = tile / a.t.cols % a.t.rows * a.t.stored[0];
  at.left = tile % a.t.cols * a.t.stored[1];
  at.rows = std::min(a.t.stored[0], a.p.y.dims.h - at.top);
  at.cols = std::min(a.t.stored[1], a.p.y.dims.w - at.left);
  return at;
}

void leave_energy(const FourierArgs& a, const FloatOperands& o, int64_t tile, const float* v) {
  float most = 0, all = 0;
  for (int64_t c = 0; c < a.c; c += kFourierChunk, v += a.t.v_chunk) {
    float some, total;
    const int64_t vecs = std::min<int64_t>(kFourierChunk, a.c - c) / a.width;
    o.kernels.energy({v, a.energy_points, kEnergyNumbers, vecs, 1, 0}, &some, &total);
    most = larger(some, most), all += total;
  }
  float* energies = o.workspace + a.scratch + tile;
  energies[0] = most, energies[a.t.all] = all;
}

// Channels c.. of a tile.
void transform_input(const FourierArgs& a, const FloatOperands& o, int64_t tile, int64_t c,
                     float* v) {
  const int64_t image = tile / (a.t.rows * a.t.cols), row = tile / a.t.cols % a.t.rows,
                col = tile % a.t.cols;
  const int64_t top = row * a.t.computed[0] - a.p.window.pad[0],
                left = col * a.t.computed[1] - a.p.window.pad[1];
  const auto inside = [&](int64_t at) {
    return static_cast<int>(std::max<int64_t>(0, std::min<int64_t>(a.n, at)));
  };
  FourierInput in{};
  in.x_row = a.p.x.dims.w * a.x_pixel, in.x_col = a.x_pixel;
  in.x = o.x + ((image * a.p.x.dims.h + top) * a.p.x.dims.w + left) * a.x_pixel + c;
  in.first_row = inside(-top), in.last_row = inside(a.p.x.dims.h - top);
  in.first_col = inside(-left), in.last_col = inside(a.p.x.dims.w - left);
  in.v = v + c / kFourierChunk * a.t.v_chunk + c % kFourierChunk, in.v_column = a.v_column();
  o.kernels.fourier_input[a.n / 16](in);
}

void multiply(const FourierArgs& a, const FloatOperands& o, const float* v, int64_t tiles,
              int64_t k, float* m) {
  FourierProduct product{};
  product.v_tile = a.t.v_tile, product.v_chunk = a.t.v_chunk;
  product.channels = a.p.x.dims.c;
  product.m_tile = a.t.m_tile;
  const int64_t groups = ceil_div(tiles, o.kernels.fourier_tiles);
  // So many numbers at a time that their weights stay in the first-level cache while the groups
  // of tiles pass.
  const int64_t number_floats = a.p.x.dims.c * a.width;
  int64_t most = 2 * a.n;
  while (most > kFourierReal && most * number_floats > kSliceFloats) most /= 2;
  for (int64_t number = 0; number < a.n * a.n; number += most) {
    product.real = number == 0 ? kFourierReal : 0;
    product.complex = static_cast<int>(most - product.real) / 2;
    product.u = o.floats(kWeights) + k * a.n * a.n * a.p.x.dims.c + number * number_floats;
    const int64_t column = number / (2 * a.n), in_column = number % (2 * a.n);
    const float* v_number =
        v + column * a.v_column() + a.stored_number(column, in_column) * kFourierChunk;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t begin = tiles * g / groups, end = tiles * (g + 1) / groups;
      product.v = v_number + begin * a.t.v_tile;
      product.m = m + begin * a.t.m_tile + number * a.width;
      o.kernels.fourier_product[end - begin](product);
    }
  }
}

void transform_output(const FourierArgs& a, const FloatOperands& o, int64_t tile, int64_t k,
                      const float* m) {
  const Patch place = patch_of(a, tile);
  const int64_t at =
      ((place.image * a.p.y.dims.h + place.top) * a.p.y.dims.w + place.left) * a.y_pixel + k;
  FourierOutput out{};
  out.m = m;
  out.bias = o.floats(kBias) + k;
  out.residual = a.p.end.residual ? o.operand + at : nullptr;
  out.y = o.y + at;
  out.y_row = a.p.y.dims.w * a.y_pixel, out.y_col = a.y_pixel;
  out.limits = a.p.end.limits;
  out.pool_rows = static_cast<int>(a.p.end.pool[0]),
  out.pool_cols = static_cast<int>(a.p.end.pool[1]);
  out.rows = static_cast<int>(place.rows) * out.pool_rows;
  out.cols = static_cast<int>(place.cols) * out.pool_cols;
  o.kernels.fourier_output[a.n / 16](out);
  for (int64_t i = 0; i < out.rows / out.pool_rows; ++i) {
    map_results(o.kernels, a.p.end.then, out.y + i * out.y_row, out.cols / out.pool_cols, out.y_col,
                std::min<int64_t>(a.width, a.p.y.dims.c - k));
  }
}

void run_block(const FourierArgs& a, const FloatOperands& o, int64_t first, int64_t tiles,
               int64_t k, const float* v, float* m, Watch& watch) {
  for (int64_t tile = 0; a.compared && k == 0 && tile < tiles; ++tile)
    leave_energy(a, o, first + tile, v + tile * a.t.v_tile);
  watch.time(&Phases::product, [&] { multiply(a, o, v, tiles, k, m); });
  watch.time(&Phases::output, [&] {
    for (int64_t tile = 0; tile < tiles; ++tile)
      transform_output(a, o, first + tile, k, m + tile * a.t.m_tile);
  });
}

void transform(const FourierArgs& a, const FloatOperands& o) {
  const int64_t in_vectors = a.c / a.width, out_vectors = a.k / a.width;
  Watch watch(o.phases);
  if (!a.t.cut.together) {
    o.pool.parallel_for(a.t.cut.rounds, [&](int64_t round, int thread) {
      const int64_t first = a.t.all * round / a.t.cut.rounds,
                    tiles = a.t.all * (round + 1) / a.t.cut.rounds - first;
      float* v = o.workspace + thread * (a.t.v_floats(a.n) + a.t.m_floats());
      watch.time(&Phases::input, [&] {
        for (int64_t tile = 0; tile < tiles; ++tile) {
          for (int64_t c = 0; c < a.c; c += a.width)
            transform_input(a, o, first + tile, c, v + tile * a.t.v_tile);
        }
      });
      for (int64_t k = 0; k < a.k; k += a.width)
        run_block(a, o, first, tiles, k, v, v + a.t.v_floats(a.n), watch);
    });
    return;
  }
  float* v = o.workspace;
  for (int64_t round = 0; round < a.t.cut.rounds; ++round) {
    const int64_t first = a.t.all * round / a.t.cut.rounds,
                  tiles = a.t.all * (round + 1) / a.t.cut.rounds - first;
    o.pool.parallel_for(tiles * in_vectors, [&](int64_t task, int) {
      const int64_t tile = task / in_vectors, c = task % in_vectors * a.width;
      watch.time(&Phases::input,
                 [&] { transform_input(a, o, first + tile, c, v + tile * a.t.v_tile); });
    });
    const int64_t blocks = std::min(a.t.cut.blocks, tiles);
    o.pool.parallel_for(blocks * out_vectors, [&](int64_t task, int thread) {
      // Neighbouring tasks share a block of tiles, the larger part to keep in cache.
      const int64_t k = task % out_vectors * a.width, block = task / out_vectors;
      const int64_t begin = tiles * block / blocks, end = tiles * (block + 1) / blocks;
      run_block(a, o, first + begin, end - begin, k, v + begin * a.t.v_tile,
                v + a.t.v_floats(a.n) + thread * a.t.m_floats(), watch);
    });
  }
}

void run_fourier(const FourierArgs& a, const FloatOperands& o) {
  transform(a, o);
  float* energies = o.workspace + a.scratch;
  const Repair repair = repair_of(a, o.kernels);
  if (repair.find(o, energies) == 0) return;
  const Circle circle(a.n);
  const auto patch = [&](int64_t tile, Patch* at) {
    if (energies[tile] == 0) return false;
    *at = patch_of(a, tile);
    return true;
  };
  const auto weights = [&](int64_t k, float* to, float*) {
    recover_weights(a, circle, o.floats(kWeights), k, to);
  };
  repair.run(o, a.scratch, a.t.all, patch, weights, o.floats(kBias));
}

constexpr auto kCode = plan_code<&run_fourier>("fourier");

class Fourier final : public Algorithm {
 public:
  Fourier(const char* name, int n) : name_(name), n_(n) {}

  const char* name() const override { return name_; }
  bool exact() const override { return false; }

  Kinds kinds() const override { return {Kind::kConv}; }

  std::string objection(const Problem& p, const Context&) const override {
    const Window& w = p.conv().window;
    if (!w.unit_stride()) return "the stride is not 1";
    if (p.conv().groups != 1) return "the convolution is grouped";
    if (p.x.dims.c > kMostTerms) return "sums over so many channels would err too much";
    if (w.extent(0) > n_ || w.extent(1) > n_) {
      return "kernel " + std::to_string(w.extent(0)) + "x" + std::to_string(w.extent(1)) +
             " does not fit tiles of " + std::to_string(n_);
    }
    if (p.x.layout != Layout::kNhwc || p.y.layout != Layout::kNhwc)
      return "works on channels-last only";
    if (p.end.pooled()) {
      if (p.end.pool[0] > n_ + 1 - w.extent(0) || p.end.pool[1] > n_ + 1 - w.extent(1))
        return "a pool window does not fit the results of a tile";
      if (p.end.residual) return "a residual cannot be added before a fused pool";
    }
    return "";
  }

  double cost(const Problem& p, const Context& context) const override {
    return Tiling(p, n_, context.kernels).cycles;
  }

  double memory(const Problem& p, const Context& context) const override {
    const Tiling t(p, n_, context.kernels);
    const int64_t weights = n_ * n_ * p.x.dims.c * round_up(p.y.dims.c, context.kernels.width);
    return static_cast<double>(weights + t.workspace(n_, p.threads)) * sizeof(float);
  }

  Plan prepare(const Problem& p, const Weight* weight, const Weight* bias,
               const Context& context) const override {
    const FourierArgs a(p, n_, context.kernels);
    const int64_t floats = a.scratch + repair_of(a, context.kernels).energy_floats();
    return make_plan(kCode, a, context, float_bytes(floats),
                     {pack(a, *weight, context), context.weights.get_bias(bias, p.y.dims.c, a.k)});
  }

 private:
  const char* const name_;
  const int n_;
};

const Fourier kFourier8("fourier-8", 8), kFourier16("fourier-16", 16);
const RegisterAlgorithm kRegistered8(&kFourier8), kRegistered16(&kFourier16);

}  // namespace
}  // namespace linnet
