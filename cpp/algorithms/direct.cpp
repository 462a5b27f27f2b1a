// Direct convolution: no im2col; weights packed into panels of a few vectors of output channels,
// register tiles over pixels x channels, bias, residual, activation and a following max pool in the
// tile's epilogue. The layout and blocking follow Georganas et al., "Anatomy of High-Performance
// Deep Learning Convolutions on SIMD Architectures", SC 2018. Fully connected layers:
// direct_fc.cpp.

#include "algorithms/direct.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <vector>

#include "algorithms/cost.h"
#include "algorithms/epilogue.h"

namespace linnet {
namespace {

// Of a first-level cache: bytes of a way, and how many there are at least, on x86-64; others have
// larger and fewer ones.
constexpr int64_t kWay = 4096;
constexpr int kWays = 8;

constexpr double kMostScratch = 1 << 24;  // floats of one thread
constexpr int64_t kRow = 48;  // about as many pixels are taken as a row by a 1x1 convolution

// Cycles of a task's beginning, of the end of a run of taps, and of copying a byte of input,
// channels last or planar.
constexpr double kTaskCycles = 300, kRunCycles = 4, kCopyCycles[2] = {0.08, 0.4};

// Where the taps of a reduction lie in the input the tiles read: outer x middle x inner, inner ones
// contiguous.
struct Taps {
  int64_t outer = 1, middle = 1, inner = 1;
  int64_t x_outer = 0, x_middle = 0;
  int64_t count() const { return outer * middle * inner; }
};

// A tile whose sums are cut into parts, with a pool: its window's pixels lie in `scratch` before
// they are compared.
void run_pooled_in_parts(DirectKernel kernel, const DirectTile& pooled, int64_t cols, int64_t lanes,
                         float* scratch) {
  DirectTile tile = pooled;
  tile.pool_cols = 1, tile.pool_merge = false;
  tile.y = scratch, tile.y_col = lanes;
  run_in_parts(kernel, tile, lanes);
  for (int64_t col = 0; col < cols; ++col) {
    float* y = pooled.y + col / pooled.pool_cols * pooled.y_col;
    const bool merge = pooled.pool_merge || col % pooled.pool_cols != 0;
    for (int64_t l = 0; l < lanes; ++l) {
      const float value = scratch[col * lanes + l];
      y[l] = merge ? larger(y[l], value) : value;
    }
  }
}

// A task is a band of rows, or some whole images, by a part of the panels.
struct Cut {
  int64_t images = 1, rows = 1;  // of a band
  int64_t bands = 1, splits = 1;
};

// How a convolution is computed: what its plan and its cost both follow from.
struct ConvScheme {
  bool planar;                      // the input lies in planes
  bool copy;                        // bands of it are copied first: padded, channels last
  bool flat;                        // a 1x1 convolution, which knows no rows
  int64_t x_pixel, x_row, x_image;  // strides of what the tiles read; x_image of the input itself
  Taps taps;
  Panels panels;
  // Rows of stored pixels in each image. Where it is flat its pixels, those of all images together,
  // are cut into rows of some tiles, of which the last may be shorter.
  int64_t images, rows, row, last_row;
  Cut cut;
  double cycles;

  ConvScheme(const Convolution& p, const Kernels& kernels);
  int64_t input_rows(const Convolution& p, int64_t output_rows) const {
    return (output_rows * p.end.pool[0] - 1) * p.window.stride[0] + p.window.extent(0);
  }
  // Of the input that the tiles read for a band of one image.
  int64_t band_floats(const Convolution& p) const { return band_floats(p, cut); }
  int64_t tasks() const { return passes(cut) * cut.splits; }

 private:
  int64_t band_floats(const Convolution& p, const Cut& c) const {
    return input_rows(p, c.rows) * x_row;
  }
  int64_t passes(const Cut& c) const { return ceil_div(images, c.images) * c.bands; }
  std::vector<Cut> cuts(const Convolution& p) const;
  double tile_cycles(const Convolution& p, const Kernels& kernels) const;
  double all_cycles(const Convolution& p, const Kernels& kernels, double tiles, const Cut& c) const;
};

ConvScheme::ConvScheme(const Convolution& p, const Kernels& kernels) {
  const Window& w = p.window;
  const int64_t channels = p.x.dims.c / p.groups;
  planar = p.x.layout == Layout::kNchw && (p.x.dims.c > 1 || p.x.pitch);
  copy = w.padded() || (planar && (w.dilation[1] != 1 || p.groups != 1));
  x_image = p.x.image(kernels.width);
  if (planar && !copy) {
    x_pixel = 1, x_row = p.x.dims.w;
    taps = {channels, w.kernel[0], w.kernel[1], p.x.dims.h * p.x.dims.w, x_row * w.dilation[0]};
  } else {
    x_pixel = copy || p.x.layout == Layout::kNchw ? p.x.dims.c : p.x.pixel(kernels.width);
    // A copy's pixels need not meet in the cache, as below.
    if (copy && x_pixel * static_cast<int64_t>(sizeof(float)) % (kWay / 4) == 0) x_pixel += 16;
    x_row = (p.x.dims.w + w.pad[1] + w.pad[3]) * x_pixel;
    taps = {w.kernel[0], w.kernel[1], channels, x_row * w.dilation[0], x_pixel * w.dilation[1]};
    if (x_pixel == channels && w.dilation[1] == 1) taps.inner *= taps.middle, taps.middle = 1;
  }

  const Dims out = p.y.dims;
  images = p.n, rows = out.h, row = last_row = out.w;
  flat = w.kernel[0] == 1 && w.kernel[1] == 1 && w.unit_stride() && !p.end.pooled() && !copy;
  // Panels must not depend on the batch, so that all plans share one packed copy.
  // Pixels whole ways of the first-level cache apart meet in a few lines of it, which have to hold
  // those of all columns until their channels are used up.
  const int64_t apart = x_pixel * w.stride[1] * static_cast<int64_t>(sizeof(float));
  const bool meet = taps.inner > 1 && apart % kWay == 0;
  panels = best_panels(kernels, p.y.dims.c / p.groups, flat ? out.h * out.w : out.w, p.end.pool[1],
                       taps.count(), meet ? kWays - 1 : kMaxTileCols);
  if (flat) {
    const int64_t pixels = out.h * out.w * (planar ? 1 : p.n);
    if (!planar) images = 1;
    const int64_t cols = kernels.direct_cols[panels.vecs];
    row = std::min(pixels, cols * std::max<int64_t>(1, kRow / cols));
    rows = ceil_div(pixels, row);
    last_row = pixels - (rows - 1) * row;
    x_row = row * x_pixel;
  }
  const double tiles = tile_cycles(p, kernels);
  std::tie(cut, cycles) =
      cheapest(cuts(p), [&](const Cut& c) { return all_cycles(p, kernels, tiles, c); });
}

// Into 1, 2, 3, 4, 6, 8... parts.
std::vector<Cut> ConvScheme::cuts(const Convolution& p) const {
  // A slow core must not hold up the rest.
  const int64_t wanted = p.threads > 1 ? 8 * p.threads : 1;
  std::vector<Cut> all;
  const auto add = [&](int64_t some_images, int64_t some_bands) {
    Cut c;
    c.images = some_images, c.rows = ceil_div(rows, some_bands);
    c.bands = ceil_div(rows, c.rows);
    c.splits = std::min(panels.count() * p.groups, ceil_div(wanted, passes(c)));
    const double scratch = static_cast<double>(band_floats(p, c)) * static_cast<double>(c.images);
    const bool least = c.images == 1 && c.rows == 1;  // Direct::objection() has bounded it
    if (!copy || least || scratch <= kMostScratch) all.push_back(c);
  };
  add(1, rows);
  for (int64_t two = 1; two <= std::max(rows, images); two *= 2) {
    for (const int64_t parts : {two, two + two / 2}) {
      if (parts <= rows) add(1, parts);
      if (parts > 1 && parts <= images) add(parts, 1);
    }
  }
  return all;
}

// Cycles of all tiles, which find their weights in the second level or nearer.
double ConvScheme::tile_cycles(const Convolution& p, const Kernels& kernels) const {
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
  const double lines = static_cast<double>(images * p.groups * p.end.pool[0]) *
                       (static_cast<double>(rows - 1) + static_cast<double>(last_row) / row);
  return lines * (static_cast<double>(panels.full) * line(panels.vecs) + line(panels.rest));
}

// With what passes by the tiles: weights from farther away, pixels, copies.
double ConvScheme::all_cycles(const Convolution& p, const Kernels& kernels, double tiles,
                              const Cut& c) const {
  const Window& w = p.window;
  const auto count = static_cast<double>(passes(c));
  const auto weights =
      static_cast<double>(p.groups * round_up(p.y.dims.c / p.groups, kernels.width) * taps.count());
  const double band_bytes = static_cast<double>(c.images * band_floats(p, c)) * sizeof(float);
  double sum = tiles;
  if (p.weights != DType::kF32) sum += kExpandCycles * weights / kernels.width * count;
  sum += weight_cycles(weights * static_cast<double>(size_of(p.weights)), count, band_bytes,
                       p.threads);
  const double used = std::min(1.0, static_cast<double>(w.extent(0)) / w.stride[0]) *
                      std::min(1.0, static_cast<double>(w.extent(1)) / w.stride[1]);
  // A band's pixels pass once for each panel, whose weights and results come between.
  const auto all_panels = static_cast<double>(panels.count() * p.groups);
  const double between = (weights / all_panels + static_cast<double>(c.images * c.rows * row *
                                                                     panels.vecs * kernels.width)) *
                         sizeof(float);
  sum =
      std::hypot(sum, stream_cycles(band_bytes * used * count * all_panels, band_bytes + between));
  if (copy) {
    const double each =
        kCopyCycles[planar] * band_bytes + 2 * stream_cycles(band_bytes, band_bytes);
    sum += each * count * static_cast<double>(c.splits);
  }
  const double tasks = count * static_cast<double>(c.splits);
  return parallel_cycles(sum + kTaskCycles * tasks, tasks, p.threads);
}

struct DirectArgs {
  Convolution p;
  ConvScheme scheme;
  int64_t scratch_floats;   // copied input; rounded up so that threads share no cache line
  int64_t expanded_floats;  // one panel's weights as floats, where they are not
  int64_t thread_floats;    // and, of long sums, the results of a tile before the pool

  DirectArgs(const Problem& problem, const Kernels& kernels);
};

DirectArgs::DirectArgs(const Problem& problem, const Kernels& kernels)
    : p(problem), scheme(p, kernels) {
  scratch_floats = scheme.copy ? round_up(scheme.cut.images * scheme.band_floats(p), 64) : 0;
  expanded_floats = p.weights == DType::kF32
                        ? 0
                        : scheme.panels.size(0) * kernels.width * round_up(scheme.taps.count(), 64);
  const bool tail = p.end.pooled() && scheme.taps.count() > kMostTerms;
  thread_floats =
      scratch_floats + expanded_floats + (tail ? kMaxTileCols * kMaxTileVecs * kernels.width : 0);
}

// A row of planes becomes one of pixels; the three colours of pictures in one pass.
void copy_planes(const float* x, int64_t plane, int64_t channels, float* y, int64_t pixel,
                 int64_t count) {
  if (channels == 3 && pixel == 3) {
    for (int64_t i = 0; i < count; ++i) {
      const float r = x[i], g = x[plane + i], b = x[2 * plane + i];
      y[3 * i] = r, y[3 * i + 1] = g, y[3 * i + 2] = b;
    }
    return;
  }
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t i = 0; i < count; ++i) y[i * pixel + c] = x[c * plane + i];
  }
}

// Copies the input rows of a band, padding included, into channels-last scratch; `image` begins
// with row `begin`.
void copy_band(const DirectArgs& a, int width, const float* image, int64_t begin, int64_t first_row,
               int64_t rows, float* scratch) {
  const Operand& in = a.p.x;
  const Window& w = a.p.window;
  const Strides s(in, width);
  const int64_t left = w.pad[1], pixel = a.scheme.x_pixel;
  for (int64_t r = 0; r < rows; ++r, scratch += a.scheme.x_row) {
    const int64_t y = first_row + r - w.pad[0];
    if (y < 0 || y >= in.dims.h) {
      std::memset(scratch, 0, static_cast<size_t>(a.scheme.x_row) * sizeof(float));
      continue;
    }
    float* row = scratch + left * pixel;
    std::memset(scratch, 0, static_cast<size_t>(left * pixel) * sizeof(float));
    std::memset(row + in.dims.w * pixel, 0, static_cast<size_t>(w.pad[3] * pixel) * sizeof(float));
    const float* source = image + (y - begin) * s.h;
    if (s.c == 1 && pixel > in.dims.c) {
      for (int64_t x = 0; x < in.dims.w; ++x)
        std::memcpy(row + x * pixel, source + x * s.w, in.dims.c * sizeof(float));
    } else if (s.c == 1 || s.w == pixel) {
      copy_pixels(source, s.w, row, pixel, in.dims.w);
    } else {
      copy_planes(source, s.c, in.dims.c, row, pixel, in.dims.w);
    }
  }
}

void run_tile(const DirectArgs& a, const Kernels& kernels, const DirectTile& tile, int vecs,
              int64_t cols, float* tail) {
  const DirectKernel kernel = kernels.direct[vecs][cols];
  const int64_t lanes = static_cast<int64_t>(vecs) * kernels.width;
  if (a.scheme.taps.count() <= kMostTerms) {
    kernel(tile);
  } else if (a.p.end.pooled()) {
    run_pooled_in_parts(kernel, tile, cols, lanes, tail);
  } else {
    run_in_parts(kernel, tile, lanes);
  }
}

// Some of the scheme's rows of some images, one after the other, each of `row` pixels but the last.
struct Band {
  int64_t images, rows, last_row;
  // Of the first image: from where the tiles read, or where it is copied first, its row `x_first`.
  const float* x;
  int64_t x_first;
  int64_t input_row;  // the first, padding counted, that is copied
  float* y;
  const float* z;  // the residual
};

// Part number `part` of `parts` of the panels, for a band.
void run_band(const DirectArgs& a, const FloatOperands& o, const Band& band, int64_t part,
              int64_t parts, int thread) {
  const Convolution& p = a.p;
  const ConvScheme& s = a.scheme;
  const Window& w = p.window;
  float* scratch = o.workspace + thread * a.thread_floats;
  const float* x = band.x;
  int64_t x_image = s.x_image;
  if (s.copy) {
    const int64_t rows =
        std::min(s.input_rows(p, band.rows), p.x.dims.h + w.pad[0] + w.pad[2] - band.input_row);
    for (int64_t i = 0; i < band.images; ++i)
      copy_band(a, o.kernels.width, x + i * x_image, band.x_first, band.input_row, rows,
                scratch + i * s.band_floats(p));
    x = scratch, x_image = s.band_floats(p);
  }

  const int width = o.kernels.width;
  const int64_t y_pixel = p.y.pixel(width);
  const int64_t y_image = p.y.image(width), y_row = s.row * y_pixel;
  const int64_t per_group = p.y.dims.c / p.groups;
  const int64_t taps = s.taps.count(), group_floats = round_up(per_group, width) * taps;
  const int64_t panels = s.panels.count() * p.groups;

  float* tail = scratch + a.scratch_floats + a.expanded_floats;
  DirectTile tile{};
  tile.x_col = w.stride[1] * s.x_pixel;
  tile.x_outer = s.taps.x_outer, tile.x_middle = s.taps.x_middle;
  tile.outer = s.taps.outer, tile.middle = s.taps.middle, tile.inner = s.taps.inner;
  tile.y_col = y_pixel;
  tile.limits = p.end.limits;
  tile.pool_cols = static_cast<int>(p.end.pool[1]);

  for (int64_t panel = panels * part / parts; panel < panels * (part + 1) / parts; ++panel) {
    const int64_t group = panel / s.panels.count(), in_group = panel % s.panels.count();
    const int vecs = s.panels.size(in_group);
    const int64_t channel = in_group * s.panels.vecs * width;
    const int64_t y_channel = group * per_group + channel;
    const int64_t channels = std::min<int64_t>(vecs * width, per_group - channel);
    const int64_t most = o.kernels.direct_cols[vecs] / p.end.pool[1];
    point(&tile, o, p.weights, group * group_floats + channel * taps, channel);
    if (p.weights != DType::kF32)
      expand(&tile, o.kernels, p.weights, scratch + a.scratch_floats, taps, vecs);
    tile.bias = o.floats(kBias) + y_channel;
    for (int64_t i = 0; i < band.images; ++i) {
      const float* x_group = x + i * x_image + group * (p.x.dims.c / p.groups);
      for (int64_t row = 0; row < band.rows; ++row) {
        const int64_t cols = row + 1 < band.rows ? s.row : band.last_row;
        const int64_t at = i * y_image + row * y_row + y_channel;
        const int64_t tiles = ceil_div(cols, most);
        for (int64_t sub = 0; sub < p.end.pool[0]; ++sub) {
          const float* x_line = x_group + (row * p.end.pool[0] + sub) * w.stride[0] * s.x_row;
          tile.pool_merge = sub > 0;
          for (int64_t t = 0; t < tiles; ++t) {
            // Even shares: 13 pixels become 7 + 6, not 9 + 4.
            const int64_t begin = cols * t / tiles, end = cols * (t + 1) / tiles;
            tile.x = x_line + begin * p.end.pool[1] * tile.x_col;
            tile.y = band.y + at + begin * y_pixel;
            tile.residual = p.end.residual ? band.z + at + begin * y_pixel : nullptr;
            run_tile(a, o.kernels, tile, vecs, (end - begin) * p.end.pool[1], tail);
          }
        }
        map_results(o.kernels, p.end.then, band.y + at, cols, y_pixel, channels);
      }
    }
  }
}

void run_direct(const DirectArgs& a, const FloatOperands& o) {
  const ConvScheme& s = a.scheme;
  const Convolution& p = a.p;
  const Cut& cut = s.cut;
  const int width = o.kernels.width;
  const int64_t y_row = s.row * p.y.pixel(width);
  o.pool.parallel_for(s.tasks(), [&](int64_t task, int thread) {
    const int64_t pass = task / cut.splits;
    const int64_t first_image = pass / cut.bands * cut.images, first = pass % cut.bands * cut.rows;
    Band band{};
    band.images = std::min(cut.images, s.images - first_image);
    band.rows = std::min(cut.rows, s.rows - first);
    band.last_row = first + band.rows < s.rows ? s.row : s.last_row;
    band.input_row = first * p.end.pool[0] * p.window.stride[0];
    band.x = o.x + first_image * s.x_image + (s.copy ? 0 : band.input_row * s.x_row);
    const int64_t y = first_image * p.y.image(width) + first * y_row;
    band.y = o.y + y;
    if (p.end.residual) band.z = o.operand + y;
    run_band(a, o, band, task % cut.splits, cut.splits, thread);
  });
}

void run_direct_rows(const DirectArgs& a, const FloatOperands& o, const RowRange& rows) {
  const ConvScheme& s = a.scheme;
  const Convolution& p = a.p;
  const int64_t y_row = p.y.dims.w * p.y.pixel(o.kernels.width);
  const int64_t x_row = s.flat ? p.x.dims.w * s.x_pixel : s.x_row;
  const int64_t step = p.end.pool[0] * p.window.stride[0];  // rows of x for one of y
  const int64_t pixels = (rows.last - rows.first) * p.y.dims.w;
  const int64_t count = ceil_div(pixels, s.row);  // of the scheme's rows
  const int64_t wanted = p.threads > 1 ? kRowTasks * p.threads : 1;
  const int64_t each = std::min(s.cut.rows, ceil_div(count, wanted)), bands = ceil_div(count, each);
  const int64_t splits =
      s.copy ? 1 : std::min(s.panels.count() * p.groups, ceil_div(wanted, bands));
  o.pool.parallel_for(bands * splits, [&](int64_t task, int thread) {
    const int64_t first = task / splits * each, pixel = first * s.row;
    Band band{};
    band.images = 1;
    band.rows = std::min(each, count - first);
    band.last_row = std::min(s.row, pixels - pixel - (band.rows - 1) * s.row);
    band.input_row = (rows.first + (s.flat ? 0 : first)) * step;
    band.x = o.x;
    band.x_first = rows.x_first;
    if (!s.copy)
      band.x += (band.input_row - rows.x_first) * x_row + (s.flat ? pixel * s.x_pixel : 0);
    const int64_t y = pixel * p.y.pixel(o.kernels.width);
    band.y = o.y + (rows.first - rows.y_first) * y_row + y;
    if (p.end.residual) band.z = o.operand + rows.first * y_row + y;
    run_band(a, o, band, task % splits, splits, thread);
  });
}

constexpr auto kCode = plan_code<&run_direct, &run_direct_rows>("direct_conv");

Plan prepare_direct_conv(const Problem& p, const Weight& weight, const Weight* bias,
                         const Context& context) {
  const DirectArgs a(p, context.kernels);
  const ConvScheme& scheme = a.scheme;
  const Window& w = a.p.window;
  const int64_t channels = p.x.dims.c / a.p.groups, rs = w.kernel[0] * w.kernel[1];
  const bool planes = scheme.planar && !scheme.copy;
  const auto source = [=](int64_t k, int64_t tap) {
    return planes ? k * channels * rs + tap : (k * channels + tap % channels) * rs + tap / channels;
  };
  return make_plan(kCode, a, context, float_bytes(p.threads * a.thread_floats),
                   pack(context, weight, bias, planes ? "conv crs" : "conv rsc", a.p.groups,
                        p.y.dims.c, scheme.panels, scheme.taps.count(), source));
}

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
    return p.kind() == Kind::kConv ? ConvScheme(Convolution(p), kernels).cycles
                                   : 500 + direct_fc_cycles(p, kernels);
  }

  double memory(const Problem& p, const Context& context) const override {
    const int64_t groups = p.kind() == Kind::kConv ? p.conv().groups : 1;
    return static_cast<double>(p.taps()) *
           static_cast<double>(groups * round_up(p.y.dims.c / groups, context.kernels.width)) *
           static_cast<double>(size_of(p.weights()));
  }

  Plan prepare(const Problem& p, const Weight* weight, const Weight* bias,
               const Context& context) const override {
    if (p.kind() == Kind::kMatmul) return prepare_direct_fc(p, *weight, bias, context);
    return prepare_direct_conv(p, *weight, bias, context);
  }
};

const Direct kDirect;
const RegisterAlgorithm kRegistered(&kDirect);

}  // namespace
}  // namespace linnet
