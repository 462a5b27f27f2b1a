// Winograd convolution along rows, F(m, s) for kernels of 3 to 9 columns and any number of rows,
// horizontal stride 1: each row of the kernel is a filter of s taps, and the rows and channels are
// summed between the transforms. It saves less than two dimensions, but takes more kernels, errs
// less for long ones and is worth it with a single input channel. The points and their error:
// kernels/winograd_points.h.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

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

class WinogradRowsPlan final : public PlanObject {
 public:
  WinogradRowsPlan(const Problem& problem, const Weight& weight, const Weight* bias,
                   const Context& context)
      : p_(problem),
        kernels_(context.kernels),
        width_(kernels_.width),
        out_(p_.y.dims),
        t_(choose_tiling(p_, kernels_)),
        k_(round_up(p_.y.dims.c, width_)),
        x_pixel_(p_.x.pixel(width_)),
        y_pixel_(p_.y.pixel(width_)),
        planar_(p_.x.layout == Layout::kNchw),
        columns_((t_.tiles - 1) * t_.m + t_.points),
        repair_(p_, kernels_, parts(), 1, t_.m / p_.end.pool[1]),
        inverse_(filter_transform(), static_cast<int>(t_.points),
                 static_cast<int>(p_.conv().window.kernel[1])) {
    pack_weights(weight, context);
    bias_ = context.weights.get_bias(bias, p_.y.dims.c, k_);
    const auto tile_bytes = [&](int64_t rows) {
      // In double: rows that a vertical stride has spread far apart.
      return static_cast<double>(tile_floats(rows)) * static_cast<double>(t_.points * t_.tiles) *
             sizeof(float);
    };
    int64_t rows = out_.h;
    while (rows > 1 && tile_bytes(rows) > kBandBytes) rows = ceil_div(rows, 2);
    // Bands overlap: one to four for each thread, whichever makes the most loaded one's rows
    // fewest.
    if (p_.threads > 1 && p_.n < 4 * p_.threads) {
      int64_t least = std::numeric_limits<int64_t>::max();
      for (int64_t share = 1, most = rows; share <= 4; ++share) {
        const int64_t band = std::min(ceil_div(p_.n * out_.h, share * p_.threads), most);
        const int64_t turns = ceil_div(p_.n * ceil_div(out_.h, band), p_.threads);
        const int64_t cost = turns * (input_rows(band) + 4 * band * p_.end.pool[0]);
        if (cost < least) least = cost, rows = band;
      }
    }
    bands_ = ceil_div(out_.h, rows);
    band_rows_ = ceil_div(out_.h, bands_);
    bands_ = ceil_div(out_.h, band_rows_);
    splits_ = std::min(panels(), ceil_div(2 * p_.threads, p_.n * bands_));
    if (p_.threads == 1) splits_ = 1;
    v_tile_ = tile_floats(band_rows_);
    v_point_ = t_.tiles * v_tile_ + 16;
    // Products of as many tiles at a time as the first-level cache holds.
    const int64_t tile_bytes_of_m =
        t_.points * t_.vecs * width_ * static_cast<int64_t>(sizeof(float));
    const int64_t fitting = static_cast<int64_t>(kProductShare * machine().l1) / tile_bytes_of_m;
    span_ = std::clamp<int64_t>(fitting, 1, t_.tiles);
    span_ = ceil_div(t_.tiles, ceil_div(t_.tiles, span_));
    m_point_ = span_ * t_.vecs * width_ + 16;
    // One point of each pair but the first stands for all in the energy of a tile's row, with the
    // points 0 and infinity; an even number of them.
    for (int j = 3; j < t_.points - 1; j += 2) energy_points_.push_back(j * v_point_);
    energy_points_.push_back(0), energy_points_.push_back((t_.points - 1) * v_point_);
    if (energy_points_.size() % 2) energy_points_.push_back(v_point_);
  }

  size_t workspace() const override {
    return float_bytes(scratch_floats() + repair_.energy_floats());
  }

  void run(const Operands& operands) const override {
    const FloatOperands o(operands);
    float* energies = o.workspace + scratch_floats();
    std::fill(energies, energies + 2 * all_parts(), 0.0f);  // of rows no window meets
    o.pool.parallel_for(p_.n * bands_ * splits_, [&](int64_t task, int thread) {
      const int64_t split = task % splits_, band = task / splits_ % bands_,
                    image = task / splits_ / bands_;
      run_band(o, image, band, panels() * split / splits_, panels() * (split + 1) / splits_,
               o.workspace + thread * thread_floats());
    });
    if (repair_.find(o, energies) == 0) return;
    const auto patch = [&](int64_t i, Patch* at) {
      const int64_t tile = i % t_.tiles, row = i / t_.tiles % out_.h,
                    stored = t_.m / p_.end.pool[1];
      *at = {i / t_.tiles / out_.h, row, tile * stored, 1,
             std::min(stored, out_.w - tile * stored)};
      const int64_t first = input_row(row), last = first + input_rows(1);
      for (int64_t r = std::max<int64_t>(0, first); r < std::min(last, p_.x.dims.h); ++r) {
        if (energies[(at->image * p_.x.dims.h + r) * t_.tiles + tile] != 0) return true;
      }
      return false;
    };
    repair_.run(
        o, scratch_floats(), p_.n * out_.h * t_.tiles, patch,
        [this](int64_t k, float* weights) { recover_weights(k, weights); }, bias_->floats());
  }

 private:
  int64_t all_parts() const { return p_.n * p_.x.dims.h * t_.tiles; }
  // An input row by a tile is what leaves an energy.
  Parts parts() const {
    // Other rows of a window have their part of the errors.
    const float share = 1 + 1.5f * static_cast<float>(p_.conv().window.kernel[0]);
    // The squares of the factors of the points in an energy, by pairs.
    constexpr float kWhite[] = {0, 0, 0, 179.9f, 527.6f, 4620.1f};
    return {p_.x.dims.h * t_.tiles,
            ceil_div(t_.points, t_.m),
            kMostEnergy,
            share,
            kWhite[t_.pairs],
            t_.tiles,
            1,
            1,
            0};
  }
  int64_t scratch_floats() const {
    return std::max(p_.threads * thread_floats(), repair_.scratch_floats());
  }
  // The first of the input rows, padding included, of a stored row.
  int64_t input_row(int64_t stored) const {
    return stored * p_.end.pool[0] * p_.conv().window.stride[0] - p_.conv().window.pad[0];
  }
  int64_t panels() const { return ceil_div(k_ / width_, t_.vecs); }
  int64_t input_rows(int64_t rows) const {
    return (rows * p_.end.pool[0] - 1) * p_.conv().window.stride[0] + p_.conv().window.kernel[0];
  }
  // A tile of one point: its rows, channels innermost, and what whole vectors write beyond. An odd
  // number of cache lines, so that neighbouring tiles lie in different sets.
  int64_t tile_floats(int64_t rows) const {
    constexpr int64_t kLine = 16;
    return (ceil_div(round_up(input_rows(rows) * p_.x.dims.c, width_) + width_, kLine) | 1) * kLine;
  }
  // V, M, and the band's input transposed with a line for its energies, or a patch of one pixel row
  // at the image's border.
  int64_t thread_floats() const {
    const int64_t input = planar_ ? columns_ * v_tile_ : t_.points * round_up(p_.x.dims.c, width_);
    return round_up(t_.points * (v_point_ + m_point_) + input + (planar_ ? v_tile_ : 0), 64);
  }

  // G.
  std::vector<double> filter_transform() const {
    const int taps = static_cast<int>(p_.conv().window.kernel[1]);
    std::vector<double> g;
    for (int j = 0; j < t_.points; ++j) {
      for (int i = 0; i < taps; ++i) g.push_back(winograd_weight(t_.pairs, j, i, taps));
    }
    return g;
  }

  // The way back from U.
  void recover_weights(int64_t k, float* weights) const {
    const int64_t taps = taps_of(p_), cols = p_.conv().window.kernel[1], channels = p_.x.dims.c;
    const int64_t lanes = t_.vecs * width_, first = k / lanes * lanes;
    const int64_t panel_lanes = std::min(lanes, k_ - first);
    const float* u = weights_->floats() + first * t_.points * taps + k - first;
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t s = 0; s < cols; ++s) {
        float* to = weights + ((tap / channels * cols + s) * channels + tap % channels) * width_;
        for (int lane = 0; lane < width_; ++lane) {
          RecoveredSum sum;
          for (int j = 0; j < t_.points; ++j)
            sum.add(inverse_.at(static_cast<int>(s), j), u[(j * taps + tap) * panel_lanes + lane]);
          to[lane] = sum.weight();
        }
      }
    }
  }

  // Where a band leaves the energies of its rows: those that no later band begins with, which
  // number `first` to `last` of its input. Nowhere where another part of the panels does.
  struct Energies {
    float* first_row;  // of the band's input, [row][tile]
    int64_t first, last;
  };
  Energies energies_of(const FloatOperands& o, int64_t image, int64_t band, bool leaves) const {
    const int64_t row = band * band_rows_, top = input_row(row);
    const int64_t end = band + 1 == bands_ ? p_.x.dims.h : input_row(row + band_rows_);
    float* of_image = o.workspace + scratch_floats() + image * p_.x.dims.h * t_.tiles;
    return {of_image + top * t_.tiles, std::max<int64_t>(0, -top),
            leaves ? std::min(end, p_.x.dims.h) - top : 0};
  }
  Energy energy_of(const float* v, int64_t vecs) const {
    return {v, energy_points_.data(), static_cast<int>(energy_points_.size()), 1, vecs, 0};
  }

  // U[panel][j][row][c][vecs * width] = G g, computed in double.
  void pack_weights(const Weight& weight, const Context& context) {
    const int64_t rows = p_.conv().window.kernel[0], s = p_.conv().window.kernel[1],
                  taps = taps_of(p_);
    const std::string packing = "winograd line " + std::to_string(t_.points) + " v" +
                                std::to_string(width_) + "x" + std::to_string(t_.vecs);
    weights_ = context.weights.get(
        &weight, packing, t_.points * taps * k_, [&](const Weight& loaded, float* out) {
          const int64_t lanes = t_.vecs * width_;
          for (int64_t k = 0; k < p_.y.dims.c; ++k) {
            const int64_t first = k / lanes * lanes;  // channel of the panel
            const int64_t panel_lanes = std::min(lanes, k_ - first);
            for (int64_t c = 0; c < p_.x.dims.c; ++c) {
              for (int64_t r = 0; r < rows; ++r) {
                const float* w = loaded.data + ((k * p_.x.dims.c + c) * rows + r) * s;
                for (int j = 0; j < t_.points; ++j) {
                  double sum = 0;
                  for (int i = 0; i < s; ++i)
                    sum += winograd_weight(t_.pairs, j, i, static_cast<int>(s)) * w[i];
                  out[first * t_.points * taps + ((j * rows + r) * p_.x.dims.c + c) * panel_lanes +
                      k - first] = static_cast<float>(sum);
                }
              }
            }
          }
        });
  }

  void run_band(const FloatOperands& o, int64_t image, int64_t band, int64_t first_panel,
                int64_t last_panel, float* scratch) const {
    float* v = scratch;
    float* m = v + t_.points * v_point_;
    float* rest = m + t_.points * m_point_;
    const int64_t first = band * band_rows_, last = std::min(out_.h, first + band_rows_);
    const float* x = o.x + image * p_.x.image(width_);
    const int64_t top = input_row(first);
    const Energies energies = energies_of(o, image, band, first_panel == 0);
    if (planar_) {
      transform_planar(x, top, input_rows(last - first), v, rest, energies);
    } else {
      transform_pixels(x, top, input_rows(last - first), v, rest, energies);
    }

    const int64_t y_row = out_.w * y_pixel_, y_image = image * out_.h * y_row;
    const int64_t stored = t_.m / p_.end.pool[1];  // pixels of a tile
    Product product{};
    product.points = static_cast<int>(t_.points);
    product.taps = taps_of(p_);
    product.x_point = v_point_, product.x_col = v_tile_;
    product.y = m, product.y_point = m_point_;
    WinogradLine line{};
    line.m = m, line.m_point = m_point_;
    line.y_col = y_pixel_;
    line.limits = p_.end.limits;
    line.pool = static_cast<int>(p_.end.pool[1]);
    for (int64_t panel = first_panel; panel < last_panel; ++panel) {
      const int64_t channel = panel * t_.vecs * width_;
      line.vecs = static_cast<int>(std::min<int64_t>(t_.vecs, (k_ - channel) / width_));
      line.bias = bias_->floats() + channel;
      product.w = weights_->floats() + channel * t_.points * product.taps;
      for (int64_t row = first; row < last; ++row) {
        for (int64_t sub = 0; sub < p_.end.pool[0]; ++sub) {
          const int64_t v_row =
              ((row - first) * p_.end.pool[0] + sub) * p_.conv().window.stride[0] * p_.x.dims.c;
          line.merge = sub > 0;
          for (int64_t tile = 0; tile < t_.tiles; tile += span_) {
            product.cols = line.tiles = std::min(span_, t_.tiles - tile);
            product.x = v + tile * v_tile_ + v_row;
            kernels_.product[line.vecs](product);
            const int64_t pixel = tile * stored,
                          at = y_image + row * y_row + pixel * y_pixel_ + channel;
            line.y = o.y + at;
            line.residual = p_.end.residual ? o.operand + at : nullptr;
            line.last =
                static_cast<int>(std::min(stored, out_.w - pixel - (line.tiles - 1) * stored));
            kernels_.winograd_line[t_.pairs][t_.m](line);
          }
        }
        map_results(kernels_, p_.end.then, o.y + y_image + row * y_row + channel, out_.w, y_pixel_,
                    std::min<int64_t>(line.vecs * width_, out_.c - channel));
      }
    }
  }

  // Lanes are rows and channels of one pixel column, once these lie together.
  void transform_planar(const float* x, int64_t top, int64_t rows, float* v, float* columns,
                        const Energies& energies) const {
    float* line = columns + columns_ * v_tile_;
    std::memset(columns, 0, static_cast<size_t>(columns_ * v_tile_) * sizeof(float));
    const int64_t left = p_.conv().window.pad[1];
    const int64_t count = std::min(p_.x.dims.w, columns_ - left);
    // Strips narrow enough for the first-level cache.
    constexpr int64_t kStrip = 32;
    for (int64_t strip = 0; strip < count; strip += kStrip) {
      const int64_t end = std::min(count, strip + kStrip);
      for (int64_t r = std::max<int64_t>(0, -top); r < std::min(rows, p_.x.dims.h - top); ++r) {
        for (int64_t c = 0; c < p_.x.dims.c; ++c) {
          const float* from = x + (c * p_.x.dims.h + top + r) * p_.x.dims.w;
          float* to = columns + left * v_tile_ + r * p_.x.dims.c + c;
          for (int64_t i = strip; i < end; ++i) to[i * v_tile_] = from[i];
        }
      }
    }
    const int64_t vecs = ceil_div(rows * p_.x.dims.c, width_);
    for (int64_t tile = 0; tile < t_.tiles; ++tile) {
      kernels_.winograd_line_input[t_.pairs](columns + tile * t_.m * v_tile_, v_tile_, vecs,
                                             v + tile * v_tile_, v_point_);
      if (energies.last <= energies.first) continue;
      kernels_.energies(energy_of(v + tile * v_tile_, vecs), line);
      for (int64_t r = energies.first; r < std::min(rows, energies.last); ++r) {
        float most = 0, total = 0;
        for (int64_t c = 0; c < p_.x.dims.c; ++c) {
          const float each = line[r * p_.x.dims.c + c];
          most = larger(each, most), total += each;
        }
        float* at = energies.first_row + r * t_.tiles + tile;
        at[0] = most, at[all_parts()] = total;
      }
    }
  }

  // Lanes are channels. Rows come in order, so what the last vector of one writes beyond its
  // channels is overwritten by the next.
  void transform_pixels(const float* x, int64_t top, int64_t rows, float* v, float* patch,
                        const Energies& energies) const {
    const int64_t pixel = round_up(p_.x.dims.c, width_), vecs = pixel / width_;
    for (int64_t tile = 0; tile < t_.tiles; ++tile) {
      const int64_t left = tile * t_.m - p_.conv().window.pad[1];
      const int64_t from = std::max<int64_t>(0, -left),
                    to = std::min(t_.points, p_.x.dims.w - left);
      const bool whole = from == 0 && to == t_.points;
      if (!whole) std::memset(patch, 0, static_cast<size_t>(t_.points * pixel) * sizeof(float));
      for (int64_t r = 0; r < rows; ++r) {
        float* at = v + tile * v_tile_ + r * p_.x.dims.c;
        if (top + r < 0 || top + r >= p_.x.dims.h || from >= to) {
          for (int64_t j = 0; j < t_.points; ++j)
            std::memset(at + j * v_point_, 0, static_cast<size_t>(pixel) * sizeof(float));
          continue;
        }
        const float* row = x + ((top + r) * p_.x.dims.w + left) * x_pixel_;
        if (!whole)
          copy_pixels(row + from * x_pixel_, x_pixel_, patch + from * pixel, pixel, to - from);
        kernels_.winograd_line_input[t_.pairs](whole ? row : patch, whole ? x_pixel_ : pixel, vecs,
                                               at, v_point_);
        float* most = energies.first_row + r * t_.tiles + tile;
        if (r < energies.last) kernels_.energy(energy_of(at, vecs), most, most + all_parts());
      }
    }
  }

  const Problem p_;
  const Kernels& kernels_;
  const int width_;
  const Dims out_;
  const Tiling t_;
  const int64_t k_;  // output channels, padded
  const int64_t x_pixel_, y_pixel_;
  const bool planar_;
  const int64_t columns_;  // pixel columns that the tiles of a row cover
  int64_t bands_, band_rows_, splits_;
  int64_t span_;  // tiles multiplied at a time
  int64_t v_tile_, v_point_, m_point_;
  const Repair repair_;
  const LeftInverse inverse_;
  std::vector<ptrdiff_t> energy_points_;
  WeightStore::Buffer weights_, bias_;
};

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
    return plan_of(std::make_unique<WinogradRowsPlan>(p, *weight, bias, context), context);
  }
};

const WinogradRows kWinogradRows;
const RegisterAlgorithm kRegistered(&kWinogradRows);

}  // namespace
}  // namespace linnet
