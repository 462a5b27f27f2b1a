// Direct convolution and fully connected layers: no im2col; weights packed into panels of a few
// vectors of output channels, register tiles over pixels (or images) x channels, bias, residual,
// activation and a following max pool in the tile's epilogue. The layout and blocking follow
// Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures",
// SC 2018.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

constexpr double kMostScratch = 1 << 24;      // floats of one thread
constexpr int64_t kExpandedBytes = 16 << 10;  // of weights turned into floats, to stay in L1
constexpr int64_t kPlaceTaps = 8;             // where weights are read in several places by turns
constexpr int64_t kRow = 48;  // about as many pixels are taken as a row by a 1x1 convolution

// Cycles to convert a vector of weights of another type, and to write it as floats as well.
constexpr double kConvertCycles = 1.5, kExpandCycles = 2;
// Cycles of a task's beginning, of the end of a run of taps, and of copying a byte of input,
// channels last or planar.
constexpr double kTaskCycles = 300, kRunCycles = 4, kCopyCycles[2] = {0.08, 0.4};

// How output channels are cut into panels of 1..direct_vecs vectors: `full` panels of `vecs`, then
// one of `rest`.
struct Panels {
  int64_t full = 0;
  int vecs = 1, rest = 0;
  int64_t count() const { return full + (rest > 0); }
  int size(int64_t panel) const { return panel < full ? vecs : rest; }
};

// Cycles to produce one row of `stored` pixels (each the max of `pool` computed ones) with panels
// of `vecs` vectors: bound by multiply-adds, by loads, and by streaming the panel's
// weights from L2 once per tile.
double row_cycles(const Kernels& kernels, int vecs, int64_t stored, int64_t pool, int64_t taps) {
  const int64_t most = std::max<int64_t>(1, kernels.direct_cols[vecs] / pool);
  const int64_t tiles = ceil_div(stored, most);
  const double cols = static_cast<double>(stored * pool) / tiles;
  const double fma =
      std::max(vecs * cols, 8.0) / fma_rate(kernels);  // fewer than 8 in flight wait for each other
  const double loads = (vecs + cols) / machine().loads;
  const double panel_bytes = static_cast<double>(taps) * vecs * kernels.width * sizeof(float);
  const double stream = panel_bytes > 24 * 1024 ? vecs * kernels.width * sizeof(float) / 24.0 : 0;
  return tiles * (taps * std::max({fma, loads, stream}) + 20 + vecs * cols);
}

double panels_cycles(const Kernels& kernels, const Panels& p, int64_t stored, int64_t pool,
                     int64_t taps) {
  return p.full * row_cycles(kernels, p.vecs, stored, pool, taps) +
         (p.rest ? row_cycles(kernels, p.rest, stored, pool, taps) : 0);
}

Panels best_panels(const Kernels& kernels, int64_t channels, int64_t stored, int64_t pool,
                   int64_t taps) {
  const int64_t vectors = ceil_div(channels, kernels.width);
  Panels best;
  double least = std::numeric_limits<double>::infinity();
  for (int vecs = 1; vecs <= kernels.direct_vecs && vecs <= vectors; ++vecs) {
    if (kernels.direct_cols[vecs] < pool) continue;
    const Panels p{vectors / vecs, vecs, static_cast<int>(vectors % vecs)};
    const double cycles = panels_cycles(kernels, p, stored, pool, taps);
    if (cycles < least) least = cycles, best = p;
  }
  return best;
}

// Where the taps of a reduction lie in the input the tiles read: outer x middle x inner, inner ones
// contiguous.
struct Taps {
  int64_t outer = 1, middle = 1, inner = 1;
  int64_t x_outer = 0, x_middle = 0;
  int64_t count() const { return outer * middle * inner; }
};

// The packed weights of a layer, whatever their type, and their way to a tile.
class PackedWeights {
 public:
  PackedWeights() = default;
  PackedWeights(const Context& context, DType type, WeightStore::Buffer packed,
                WeightStore::Buffer scales)
      : type_(type),
        expand_(context.kernels.expand[static_cast<int>(type)]),
        packed_(std::move(packed)),
        scales_(std::move(scales)) {}

  DType type() const { return type_; }
  bool floats() const { return type_ == DType::kF32; }
  // Points `tile` to weight number `at`, of output channel `channel`.
  void point(DirectTile* tile, int64_t at, int64_t channel) const {
    tile->w = packed_->data() + at * size_of(type_);
    tile->scale = scales_ ? scales_->floats() + channel : nullptr;
  }
  // Turns `taps` of the weights `tile` points to into floats at `to`, and points it there.
  void expand(DirectTile* tile, float* to, int64_t taps, int vecs) const {
    expand_(tile->w, tile->scale, to, taps, vecs);
    tile->w = to;
  }

 private:
  DType type_ = DType::kF32;
  void (*expand_)(const void*, const float*, float*, int64_t, int64_t) = nullptr;
  WeightStore::Buffer packed_, scales_;  // scales of int8 weights, padded
};

// Packs weights as [group][panel][tap][vecs * width], in their own type; source(k, tap) is the
// offset of a tap of output channel k.
template <typename Source>
PackedWeights pack(const Context& context, const Weight& weight, const std::string& name,
                   int64_t groups, int64_t k, const Panels& panels, int64_t taps, Source source) {
  const int width = context.kernels.width;
  const int64_t per_group = k / groups;
  const int64_t padded = round_up(per_group, width);
  const std::string packing = name + " g" + std::to_string(groups) + " v" + std::to_string(width) +
                              "x" + std::to_string(panels.vecs);
  const auto fill = [&](auto* out) {
    const auto* from = static_cast<const char*>(weight.bytes());
    for (int64_t g = 0; g < groups; ++g) {
      int64_t channel = 0;
      for (int64_t p = 0; p < panels.count(); ++p) {
        const int64_t lanes = static_cast<int64_t>(panels.size(p)) * width;
        const int64_t used = std::min(lanes, per_group - channel);
        for (int64_t t = 0; t < taps; ++t, out += lanes) {
          for (int64_t l = 0; l < used; ++l) {
            const int64_t at = source(g * per_group + channel + l, t);
            std::memcpy(out + l, from + at * sizeof *out, sizeof *out);  // it may be misaligned
          }
        }
        channel += lanes;
      }
    }
  };
  const auto size = static_cast<size_t>(size_of(weight.type));
  const size_t bytes = float_bytes(groups * padded * taps) / sizeof(float) * size;
  auto packed = context.weights.get_bytes(&weight, packing, bytes, [&](void* out) {
    if (weight.type == DType::kF32) {
      fill(static_cast<float*>(out));
    } else if (weight.type == DType::kF16) {
      fill(static_cast<uint16_t*>(out));
    } else {
      fill(static_cast<int8_t*>(out));
    }
  });
  WeightStore::Buffer scales;
  if (weight.type == DType::kI8) {
    scales = context.weights.get(
        &weight, "scales v" + std::to_string(width), padded,
        [&](float* out) { std::copy(weight.scales.begin(), weight.scales.end(), out); });
  }
  return {context, weight.type, std::move(packed), std::move(scales)};
}

// How a convolution is computed: what its plan and its cost both follow from.
struct ConvScheme {
  bool planar;                      // the input lies in planes
  bool copy;                        // bands of it are copied first: padded, channels last
  int64_t x_pixel, x_row, x_image;  // strides of what the tiles read; x_image of the input itself
  Taps taps;
  Panels panels;
  // Rows of stored pixels in each image. A 1x1 convolution knows no rows: its pixels, those of all
  // images together, are cut into rows of some tiles, of which the last may be shorter.
  int64_t images, rows, row, last_row;
  // A task is a band of rows, or some whole images, by a part of the panels.
  int64_t band_images = 1, bands = 1, band_rows, splits = 1;
  double cycles = 0;

  ConvScheme(const Problem& p, const Kernels& kernels);
  int64_t input_rows(const Problem& p, int64_t output_rows) const {
    return (output_rows * p.end.pool[0] - 1) * p.conv().window.stride[0] +
           p.conv().window.extent(0);
  }
  // Of the input that the tiles read for a band of one image.
  int64_t band_floats(const Problem& p) const { return input_rows(p, band_rows) * x_row; }
  int64_t image_groups() const { return ceil_div(images, band_images); }
  int64_t tasks() const { return image_groups() * bands * splits; }

 private:
  double tile_cycles(const Problem& p, const Kernels& kernels) const;
  double all_cycles(const Problem& p, const Kernels& kernels, double tiles) const;
};

ConvScheme::ConvScheme(const Problem& p, const Kernels& kernels) {
  const Window& w = p.conv().window;
  const int64_t channels = p.x.dims.c / p.conv().groups;
  planar = p.x.layout == Layout::kNchw && (p.x.dims.c > 1 || p.x.pitch);
  copy = w.padded() || (planar && (w.dilation[1] != 1 || p.conv().groups != 1));
  x_image = p.x.image(kernels.width);
  if (planar && !copy) {
    x_pixel = 1, x_row = p.x.dims.w;
    taps = {channels, w.kernel[0], w.kernel[1], p.x.dims.h * p.x.dims.w, x_row * w.dilation[0]};
  } else {
    x_pixel = p.x.layout == Layout::kNchw ? p.x.dims.c
              : copy                      ? round_up(p.x.dims.c, kernels.width)
                                          : p.x.pixel(kernels.width);
    x_row = (p.x.dims.w + w.pad[1] + w.pad[3]) * x_pixel;
    taps = {w.kernel[0], w.kernel[1], channels, x_row * w.dilation[0], x_pixel * w.dilation[1]};
    if (x_pixel == channels && w.dilation[1] == 1) taps.inner *= taps.middle, taps.middle = 1;
  }

  const Dims out = p.y.dims;
  images = p.n, rows = out.h, row = last_row = out.w;
  const bool flat =
      w.kernel[0] == 1 && w.kernel[1] == 1 && w.unit_stride() && !p.end.pooled() && !copy;
  // Panels must not depend on the batch, so that all plans share one packed copy.
  panels = best_panels(kernels, p.y.dims.c / p.conv().groups, flat ? out.h * out.w : out.w,
                       p.end.pool[1], taps.count());
  if (flat) {
    const int64_t pixels = out.h * out.w * (planar ? 1 : p.n);
    if (!planar) images = 1;
    const int64_t cols = kernels.direct_cols[panels.vecs];
    row = std::min(pixels, cols * std::max<int64_t>(1, kRow / cols));
    rows = ceil_div(pixels, row);
    last_row = pixels - (rows - 1) * row;
    x_row = row * x_pixel;
  }
  // Of cuts into 1, 2, 3, 4, 6, 8... the one that costs least.
  const double tiles = tile_cycles(p, kernels);
  const int64_t wanted =
      p.threads > 1 ? 8 * p.threads : 1;  // a slow core must not hold up the rest
  ConvScheme best = *this;
  best.cycles = std::numeric_limits<double>::infinity();
  const auto consider = [&](int64_t some_images, int64_t some_bands) {
    band_images = some_images;
    band_rows = ceil_div(rows, some_bands);
    bands = ceil_div(rows, band_rows);
    splits = std::min(panels.count() * p.conv().groups, ceil_div(wanted, image_groups() * bands));
    const double scratch = static_cast<double>(band_floats(p));
    const bool least = band_images == 1 && band_rows == 1;  // Direct::refuse() has bounded it
    if (copy && !least && scratch * static_cast<double>(band_images) > kMostScratch) return;
    cycles = all_cycles(p, kernels, tiles);
    if (cycles < best.cycles) best = *this;
  };
  consider(1, rows);
  for (int64_t two = 1; two <= std::max(rows, images); two *= 2) {
    for (const int64_t cut : {two, two + two / 2}) {
      if (cut <= rows) consider(1, cut);
      if (cut > 1 && cut <= images) consider(cut, 1);
    }
  }
  *this = best;
}

// Cycles of all tiles, which find their weights in the second level or nearer.
double ConvScheme::tile_cycles(const Problem& p, const Kernels& kernels) const {
  // Runs of taps that lie together, each with the end of a loop.
  const auto runs = static_cast<double>(taps.outer * taps.middle);
  const auto line = [&](int vecs) {
    if (!vecs) return 0.0;
    const auto tiles =
        static_cast<double>(ceil_div(row, kernels.direct_cols[vecs] / p.end.pool[1]));
    const double tap_bytes = static_cast<double>(vecs) * kernels.width * sizeof(float);
    const double cols = static_cast<double>(row * p.end.pool[1]) / tiles;
    return tiles * (linnet::tile_cycles(kernels, vecs, cols, static_cast<double>(taps.count()),
                                        tap_bytes * static_cast<double>(taps.count())) +
                    kRunCycles * runs + (p.end.pooled() ? 2 * vecs * cols : 0));
  };
  const double lines = static_cast<double>(images * p.conv().groups * p.end.pool[0]) *
                       (static_cast<double>(rows - 1) + static_cast<double>(last_row) / row);
  return lines * (static_cast<double>(panels.full) * line(panels.vecs) + line(panels.rest));
}

// With what passes by the tiles: weights from farther away, pixels, copies.
double ConvScheme::all_cycles(const Problem& p, const Kernels& kernels, double tiles) const {
  const Window& w = p.conv().window;
  const auto passes = static_cast<double>(image_groups() * bands);
  const auto weights = static_cast<double>(
      p.conv().groups * round_up(p.y.dims.c / p.conv().groups, kernels.width) * taps.count());
  const double band_bytes = static_cast<double>(band_images * band_floats(p)) * sizeof(float);
  double sum = tiles;
  if (p.weights() != DType::kF32) sum += kExpandCycles * weights / kernels.width * passes;
  sum += weight_cycles(weights * static_cast<double>(size_of(p.weights())), passes, band_bytes,
                       p.threads);
  const double used = std::min(1.0, static_cast<double>(w.extent(0)) / w.stride[0]) *
                      std::min(1.0, static_cast<double>(w.extent(1)) / w.stride[1]);
  // A band's pixels pass once for each panel, whose weights and results come between.
  const auto all_panels = static_cast<double>(panels.count() * p.conv().groups);
  const double between = (weights / all_panels + static_cast<double>(band_images * band_rows * row *
                                                                     panels.vecs * kernels.width)) *
                         sizeof(float);
  sum =
      std::hypot(sum, stream_cycles(band_bytes * used * passes * all_panels, band_bytes + between));
  if (copy) {
    const double each =
        kCopyCycles[planar] * band_bytes + 2 * stream_cycles(band_bytes, band_bytes);
    sum += each * passes * static_cast<double>(splits);
  }
  sum += kTaskCycles * static_cast<double>(tasks());
  return parallel_cycles(sum, static_cast<double>(tasks()), p.threads);
}

class DirectConv final : public Plan {
 public:
  DirectConv(const Problem& problem, const Weight& weight, const Weight* bias,
             const Context& context)
      : p_(problem), kernels_(context.kernels), scheme_(problem, kernels_) {
    const Window& w = p_.conv().window;
    const Taps& taps = scheme_.taps;
    const int64_t channels = p_.x.dims.c / p_.conv().groups, rs = w.kernel[0] * w.kernel[1];
    if (scheme_.planar && !scheme_.copy) {
      weights_ =
          pack(context, weight, "conv crs", p_.conv().groups, p_.y.dims.c, scheme_.panels,
               taps.count(), [=](int64_t k, int64_t tap) { return k * channels * rs + tap; });
    } else {
      weights_ = pack(context, weight, "conv rsc", p_.conv().groups, p_.y.dims.c, scheme_.panels,
                      taps.count(), [=](int64_t k, int64_t tap) {
                        return (k * channels + tap % channels) * rs + tap / channels;
                      });
    }
    bias_ = context.weights.get_bias(bias, p_.y.dims.c, round_up(p_.y.dims.c, kernels_.width));
  }

  size_t workspace() const override {
    return float_bytes(p_.threads * (scratch_floats() + expanded_floats()));
  }

  void run(const Operands& o) const override {
    o.pool.parallel_for(scheme_.tasks(), [&](int64_t task, int thread) {
      run_band(o, task / scheme_.splits, task % scheme_.splits, thread);
    });
  }

 private:
  // Rounded up so that threads' scratches share no cache line.
  int64_t scratch_floats() const {
    return scheme_.copy ? round_up(scheme_.band_images * scheme_.band_floats(p_), 64) : 0;
  }
  // One panel's weights as floats, where they are not.
  int64_t expanded_floats() const {
    return weights_.floats()
               ? 0
               : scheme_.panels.size(0) * kernels_.width * round_up(scheme_.taps.count(), 64);
  }

  // Copies the input rows of a band, padding included, into channels-last scratch.
  void copy_band(const float* image, int64_t first_row, int64_t rows, float* scratch) const {
    const Strides s(p_.x, kernels_.width);
    const int64_t left = p_.conv().window.pad[1], pixel = scheme_.x_pixel;
    for (int64_t r = 0; r < rows; ++r, scratch += scheme_.x_row) {
      const int64_t y = first_row + r - p_.conv().window.pad[0];
      if (y < 0 || y >= p_.x.dims.h) {
        std::memset(scratch, 0, static_cast<size_t>(scheme_.x_row) * sizeof(float));
        continue;
      }
      float* row = scratch + left * pixel;
      std::memset(scratch, 0, static_cast<size_t>(left * pixel) * sizeof(float));
      std::memset(row + p_.x.dims.w * pixel, 0,
                  static_cast<size_t>(p_.conv().window.pad[3] * pixel) * sizeof(float));
      const float* source = image + y * s.h;
      if (s.c == 1 || s.w == pixel) {
        copy_pixels(source, s.w, row, pixel, p_.x.dims.w);
      } else {
        for (int64_t c = 0; c < p_.x.dims.c; ++c) {
          for (int64_t x = 0; x < p_.x.dims.w; ++x) row[x * pixel + c] = source[c * s.c + x];
        }
      }
    }
  }

  // Part number `part` of the panels, for band number `pass` of all images.
  void run_band(const Operands& o, int64_t pass, int64_t part, int thread) const {
    const ConvScheme& s = scheme_;
    const Window& w = p_.conv().window;
    const int64_t band = pass % s.bands, first_image = pass / s.bands * s.band_images;
    const int64_t images = std::min(s.band_images, s.images - first_image);
    const int64_t first = band * s.band_rows, last = std::min(s.rows, first + s.band_rows);
    const int64_t input_row = first * p_.end.pool[0] * w.stride[0];
    float* scratch = o.workspace + thread * (scratch_floats() + expanded_floats());
    const float* x = o.x + first_image * s.x_image;
    int64_t x_image = s.x_image;
    if (s.copy) {
      const int64_t rows =
          std::min(s.input_rows(p_, last - first), p_.x.dims.h + w.pad[0] + w.pad[2] - input_row);
      for (int64_t i = 0; i < images; ++i)
        copy_band(x + i * x_image, input_row, rows, scratch + i * scheme_.band_floats(p_));
      x = scratch, x_image = scheme_.band_floats(p_);
    } else {
      x += input_row * s.x_row;
    }

    const int width = kernels_.width;
    const int64_t y_pixel = p_.y.pixel(width);
    const int64_t y_image = p_.y.image(width), y_row = s.row * y_pixel;
    const int64_t per_group = p_.y.dims.c / p_.conv().groups;
    const int64_t taps = s.taps.count(), group_floats = round_up(per_group, width) * taps;
    const int64_t panels = s.panels.count() * p_.conv().groups;

    DirectTile tile{};
    tile.x_col = w.stride[1] * s.x_pixel;
    tile.x_outer = s.taps.x_outer, tile.x_middle = s.taps.x_middle;
    tile.outer = s.taps.outer, tile.middle = s.taps.middle, tile.inner = s.taps.inner;
    tile.y_col = y_pixel;
    tile.limits = p_.end.limits;
    tile.pool_cols = static_cast<int>(p_.end.pool[1]);

    for (int64_t panel = panels * part / s.splits; panel < panels * (part + 1) / s.splits;
         ++panel) {
      const int64_t group = panel / s.panels.count(), in_group = panel % s.panels.count();
      const int vecs = s.panels.size(in_group);
      const int64_t channel = in_group * s.panels.vecs * width;
      const int64_t y_channel = group * per_group + channel;
      const int64_t most = kernels_.direct_cols[vecs] / p_.end.pool[1];
      weights_.point(&tile, group * group_floats + channel * taps, channel);
      if (!weights_.floats()) weights_.expand(&tile, scratch + scratch_floats(), taps, vecs);
      tile.bias = bias_->floats() + y_channel;
      for (int64_t i = 0; i < images; ++i) {
        const float* x_group = x + i * x_image + group * (p_.x.dims.c / p_.conv().groups);
        const int64_t at = (first_image + i) * y_image + y_channel;
        for (int64_t row = first; row < last; ++row) {
          const int64_t cols = row + 1 < s.rows ? s.row : s.last_row;
          const int64_t tiles = ceil_div(cols, most);
          for (int64_t sub = 0; sub < p_.end.pool[0]; ++sub) {
            const float* x_line =
                x_group + ((row - first) * p_.end.pool[0] + sub) * w.stride[0] * s.x_row;
            tile.pool_merge = sub > 0;
            for (int64_t t = 0; t < tiles; ++t) {
              // Even shares: 13 pixels become 7 + 6, not 9 + 4.
              const int64_t begin = cols * t / tiles, end = cols * (t + 1) / tiles;
              const int64_t y = at + row * y_row + begin * y_pixel;
              tile.x = x_line + begin * p_.end.pool[1] * tile.x_col;
              tile.y = o.y + y;
              tile.residual = p_.end.residual ? o.operand + y : nullptr;
              kernels_.direct[vecs][(end - begin) * p_.end.pool[1]](tile);
            }
          }
        }
      }
    }
  }

  const Problem p_;
  const Kernels& kernels_;
  const ConvScheme scheme_;
  PackedWeights weights_;
  WeightStore::Buffer bias_;
};

// A fully connected layer: images take the place of pixels. The reduction is cut into blocks whose
// weights stay in L2 while all images pass, so each weight is read from memory once per run.
class DirectFullyConnected final : public Plan {
 public:
  DirectFullyConnected(const Problem& problem, const Weight& weight, const Weight* bias,
                       const Context& context)
      : p_(problem), kernels_(context.kernels) {
    const int width = kernels_.width;
    const Dims d = p_.x.dims;
    x_step_ = x_image_ = p_.x.image(width);
    y_image_ = p_.y.image(width);
    // Images that lie whole ways of the first-level cache apart would meet in a few lines of it.
    const auto bytes = static_cast<int64_t>(sizeof(float)) * x_image_;
    if (p_.n > 1 && machine().way > 0 && bytes % machine().way == 0) x_step_ += 16;
    // Padded lanes of the input are zero, but their products must not need weights: skip them pixel
    // by pixel.
    pixel_ = p_.x.layout == Layout::kNhwc ? p_.x.pixel(width) : d.count();
    pixels_ = p_.x.layout == Layout::kNhwc ? d.h * d.w : 1;
    channels_ = p_.x.layout == Layout::kNhwc ? d.c : d.count();
    if (channels_ == pixel_) channels_ *= pixels_, pixel_ *= pixels_, pixels_ = 1;
    const int64_t taps = d.count();
    // Panels must not depend on the batch, so that all plans share one packed copy: sized for
    // batches.
    panels_ = best_panels(kernels_, p_.y.dims.c,
                          kernels_.direct_cols[kernels_.direct_vecs > 1 ? 2 : 1], 1, taps);
    if (panels_.vecs > kernels_.gemv_vecs) panels_ = {ceil_div(p_.y.dims.c, width), 1, 0};
    const bool last = p_.x.layout == Layout::kNhwc;
    const std::string name =
        last ? "fc hwc " + std::to_string(d.h) + "x" + std::to_string(d.w) : "fc chw";
    weights_ =
        pack(context, weight, name, 1, p_.y.dims.c, panels_, taps, [=](int64_t k, int64_t tap) {
          return k * taps + (last ? tap % d.c * (d.h * d.w) + tap / d.c : tap);
        });
    bias_ = context.weights.get_bias(bias, p_.y.dims.c, round_up(p_.y.dims.c, kernels_.width));
    const int64_t tap_bytes = static_cast<int64_t>(panels_.vecs) * width * sizeof(float);
    block_ = pixels_ > 1 ? pixels_ : channels_;  // taps (or pixels) of one block
    if (p_.n > kernels_.direct_cols[panels_.vecs] || expands()) {
      // Floats made on the spot should stay in the first-level cache until all images have passed.
      const int64_t bytes = expands() ? kExpandedBytes : 128 * 1024;
      block_ = std::min(block_, std::max<int64_t>(1, bytes / (tap_bytes * block_step())));
    }
  }

  size_t workspace() const override {
    return float_bytes(copied_floats() + (expands() ? p_.threads * expanded_floats() : 0));
  }

  void run(const Operands& given) const override {
    Operands o = given;
    if (copied_floats()) {
      o.pool.parallel_for(p_.n, [&](int64_t image, int) {
        const int64_t count = (pixels_ - 1) * pixel_ + channels_;
        std::memcpy(given.workspace + image * x_step_, given.x + image * x_image_,
                    static_cast<size_t>(count) * sizeof(float));
      });
      o.x = given.workspace;
      o.workspace += copied_floats();
    }
    // Few panels and many threads: split the images too.
    const int64_t most = kernels_.direct_cols[panels_.vecs];
    const int64_t image_splits =
        std::min(ceil_div(p_.n, most), ceil_div(2 * p_.threads, panels_.count()));
    o.pool.parallel_for(panels_.count() * image_splits, [&](int64_t task, int thread) {
      const int64_t split = task % image_splits;
      run_panel(o, task / image_splits, p_.n * split / image_splits,
                p_.n * (split + 1) / image_splits, thread);
    });
  }

 private:
  // A single image multiplies weights of any type as they stream by; for several they are turned
  // into floats once, block by block.
  bool expands() const { return !weights_.floats() && p_.n > 1; }
  int64_t block_step() const { return pixels_ > 1 ? channels_ : 1; }  // taps
  int64_t copied_floats() const { return x_step_ == x_image_ ? 0 : round_up(p_.n * x_step_, 64); }
  int64_t expanded_floats() const {
    return panels_.size(0) * kernels_.width * round_up(block_ * block_step(), 16);
  }

  void run_panel(const Operands& o, int64_t panel, int64_t first, int64_t last, int thread) const {
    const int vecs = panels_.size(panel);
    const int64_t channel = panel * panels_.vecs * kernels_.width;
    const int64_t lanes = static_cast<int64_t>(vecs) * kernels_.width;
    const int64_t length = pixels_ > 1 ? pixels_ : channels_;
    const int64_t x_unit = pixels_ > 1 ? pixel_ : 1;
    const int64_t places = expands() ? 1 : kernels_.weight_places;
    const int64_t tiles = ceil_div(last - first, kernels_.direct_cols[vecs]);

    DirectTile tile{};
    tile.x_col = x_step_, tile.y_col = y_image_;
    tile.pool_cols = 1;
    for (int64_t begin = 0, size; begin < length; begin += size) {
      size = std::min(block_, length - begin);
      // A tile takes the places by turns, a single image takes them all at once.
      const int64_t turn = places == 1        ? 0
                           : pixels_ > 1      ? 1
                           : last - first > 1 ? kPlaceTaps
                                              : size / places;
      if (turn > 0 && size >= places * turn) {
        const int64_t part = size / (places * turn) * turn;
        size = places * part;  // what does not come out even is left to the next block
        tile.outer = part / turn, tile.x_outer = turn * x_unit;
        tile.middle = places, tile.x_middle = part * x_unit;
        tile.inner = turn * block_step();
        tile.w_middle = (part - turn) * block_step() * lanes;
        tile.w_outer = (turn - size) * block_step() * lanes;
      } else {
        tile.outer = 1;
        tile.middle = pixels_ > 1 ? size : 1, tile.x_middle = x_unit;
        tile.inner = pixels_ > 1 ? channels_ : size;
        tile.w_middle = tile.w_outer = 0;
      }
      const bool ends = begin + size == length;
      weights_.point(&tile, channel * p_.x.dims.count() + begin * block_step() * lanes, channel);
      if (expands()) {
        float* space = o.workspace + thread * expanded_floats();
        weights_.expand(&tile, space, size * block_step(), vecs);
      }
      tile.bias = begin == 0 ? bias_->floats() + channel : nullptr;
      tile.limits = ends ? p_.end.limits : Limits();
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t from = first + (last - first) * t / tiles,
                      to = first + (last - first) * (t + 1) / tiles;
        tile.x = o.x + from * x_step_ + begin * x_unit;
        tile.y = o.y + from * y_image_ + channel;
        tile.residual = p_.end.residual && ends ? o.operand + from * y_image_ + channel : nullptr;
        if (to - from == 1) {
          kernels_.gemv[static_cast<int>(expands() ? DType::kF32 : weights_.type())][vecs](tile);
        } else {
          kernels_.direct[vecs][to - from](tile);
        }
      }
    }
  }

  const Problem p_;
  const Kernels& kernels_;
  int64_t x_image_, y_image_;
  int64_t x_step_;  // from one image to the next where they are read, after copying if that differs
  // The input of one image: pixels_ runs of channels_ contiguous taps, pixel_ apart.
  int64_t pixels_, channels_, pixel_;
  int64_t block_;
  Panels panels_;
  PackedWeights weights_;
  WeightStore::Buffer bias_;
};

class Direct final : public Algorithm {
 public:
  const char* name() const override { return "direct"; }

  Kinds kinds() const override { return {Kind::kConv, Kind::kMatmul}; }
  bool any_weights() const override { return true; }

  std::string objection(const Problem& p, const Context& context) const override {
    if (p.y.layout != Layout::kNhwc) return "writes channels-last only";
    if (p.kind() == Kind::kMatmul) return "";
    const Kernels& kernels = context.kernels;
    if (p.conv().groups != 1 && (p.y.dims.c / p.conv().groups) % kernels.width != 0) {
      return "groups of " + std::to_string(p.y.dims.c / p.conv().groups) +
             " output channels are not whole vectors of " + std::to_string(kernels.width);
    }
    if (p.end.pooled() && p.end.residual)
      return "a residual cannot be added before a pool in registers";
    if (p.end.pool[1] > 3 || p.end.pool[1] > kernels.direct_cols[1])
      return "pool windows wider than 3 do not fit the registers";
    // What is copied for one output row, in double: the sizes of a window alone may overflow.
    const Window& w = p.conv().window;
    const double rows = static_cast<double>(p.end.pool[0] - 1) * w.stride[0] + w.extent(0);
    const double row = static_cast<double>(p.x.dims.w + w.pad[1] + w.pad[3]) * p.x.dims.c;
    if (rows * row > kMostScratch) return "the padded window is too large";
    return "";
  }

  double cost(const Problem& p, const Context& context) const override {
    const Kernels& kernels = context.kernels;
    return p.kind() == Kind::kConv ? ConvScheme(p, kernels).cycles : 500 + fc_cycles(p, kernels);
  }

  double memory(const Problem& p, const Context& context) const override {
    const int64_t groups = p.kind() == Kind::kConv ? p.conv().groups : 1;
    return static_cast<double>(p.taps()) *
           static_cast<double>(groups * round_up(p.y.dims.c / groups, context.kernels.width)) *
           static_cast<double>(size_of(p.weights()));
  }

  std::unique_ptr<Plan> prepare(const Problem& p, const Weight* weight, const Weight* bias,
                                const Context& context) const override {
    if (p.kind() == Kind::kMatmul)
      return std::make_unique<DirectFullyConnected>(p, *weight, bias, context);
    return std::make_unique<DirectConv>(p, *weight, bias, context);
  }

 private:
  static double fc_cycles(const Problem& p, const Kernels& kernels) {
    const auto taps = static_cast<double>(p.x.dims.count());
    const Panels panels =
        best_panels(kernels, p.y.dims.c, kernels.direct_cols[kernels.direct_vecs > 1 ? 2 : 1], 1,
                    p.x.dims.count());
    const auto vectors = static_cast<double>(ceil_div(p.y.dims.c, kernels.width));
    const bool floats = p.weights() == DType::kF32;
    const double bytes = vectors * taps * static_cast<double>(kernels.width * size_of(p.weights()));
    const auto count = static_cast<double>(panels.count());
    if (p.n == 1) {
      const double each = floats ? 1 / machine().loads : kConvertCycles;
      const double cycles = std::max(vectors * taps * each, weight_cycles(bytes, 1, 0, 1));
      return parallel_cycles(cycles + 40 * count, count, p.threads);
    }
    // The first tile of images brings a block's weights in, the others find them in L2.
    const auto tiles = static_cast<double>(ceil_div(p.n, kernels.direct_cols[panels.vecs]));
    const auto tile = [&](double footprint) {
      return tile_cycles(kernels, panels.vecs, p.n / tiles, taps, footprint);
    };
    const double l2 = machine().l2;
    double panel = tile(std::max(bytes, 2 * l2)) + (tiles - 1) * tile(l2 / 4);
    if (!floats) {
      // They stream in as they are; as floats they are in the first level.
      panel = tiles * tile(kExpandedBytes) +
              std::max(kExpandCycles * taps * panels.vecs,
                       stream_cycles(bytes * panels.vecs / vectors, std::max(bytes, 2 * l2)));
    }
    return parallel_cycles(panel * vectors / panels.vecs, count * tiles, p.threads);
  }
};

const Direct kDirect;
const RegisterAlgorithm kRegistered(&kDirect);

}  // namespace
}  // namespace linnet
