// Convolutions and fully connected layers of integers, without im2col: register tiles over pixels x
// output channels as in direct.cpp, of sums in int32, which are exact. Where there are tiles of
// bytes (VNNI, NEON), they read the image as it lies; elsewhere bands of it are copied as int16,
// less their zero point.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <vector>

#include "algorithms/cost.h"
#include "algorithms/integer.h"

namespace linnet {
namespace {

constexpr int64_t kRow = 48;        // about as many pixels are a row of a 1x1 convolution
constexpr int64_t kMostPlanes = 8;  // channels that are copied from planes
constexpr int64_t kSlack = 64;      // bytes behind what is copied, which groups may reach into
constexpr double kMostScratch = 1 << 25;  // bytes of one thread
constexpr double kTaskCycles = 300, kRunCycles = 4, kTileCycles = 20;
constexpr double kCopyCycles[] = {0.1, 1};  // of a byte, channels last or planar

// A fully connected layer is a convolution of the whole image.
Window window_of(const Problem& p) {
  if (p.kind() == Kind::kConv) return p.conv().window;
  Window w;
  w.kernel[0] = p.x.dims.h, w.kernel[1] = p.x.dims.w;
  return w;
}
int64_t groups_of(const Problem& p) { return p.kind() == Kind::kConv ? p.conv().groups : 1; }

const IntegerTiles& tiles_of(const Kernels& kernels, bool bytes) {
  return bytes ? kernels.bytes : kernels.wide;
}

struct IntegerConv {
  Window window;
  int64_t n, groups, channels;  // channels of a group
  Operand x, y;
  int threads;
  Rounding end;
  // Pixels of the result know no rows, as those of a 1x1 convolution or of whole images: those of
  // all images together are cut into rows. They lie `step` bytes apart.
  bool flat;
  bool planar;                   // the input lies in planes
  bool copy;                     // what tiles read is copied first
  int64_t together;              // columns of taps that are one run of numbers, without gaps
  bool bytes;                    // tiles read bytes, for weights of int8
  int64_t x_pixel, x_row, step;  // bytes, where tiles read
  int64_t pixel, x_image;        // bytes from one pixel, one image to the next where they lie
  int64_t outer, middle, inner;  // runs of taps; inner: groups of numbers
  int64_t x_outer, x_middle;     // bytes
  // Panels of `vecs` vectors of output channels, and one of `rest`, of each group.
  int64_t panels;
  int vecs, rest;
  int64_t images, rows, row, last_row;  // as in direct.cpp
  int64_t band, bands, splits;          // rows of a task, tasks of an image, of a band
  int64_t thread_bytes;
  double cycles;

  IntegerConv(const Problem& p, const Kernels& kernels, bool any_bytes = true);
  int64_t taps() const { return outer * middle * inner; }
  int64_t input_rows(int64_t output_rows) const {
    return flat ? output_rows : (output_rows - 1) * window.stride[0] + window.extent(0);
  }
  int64_t element() const { return bytes ? 1 : 2; }  // bytes of a number that tiles read
  int vecs_of(int64_t panel) const { return panel + 1 < panels || !rest ? vecs : rest; }

 private:
  double line(const IntegerTiles& tiles, int64_t count, int each) const;
  void choose_panels(const IntegerTiles& tiles, int width);
  void choose_bands(const Kernels& kernels);
};

IntegerConv::IntegerConv(const Problem& p, const Kernels& kernels, bool any_bytes)
    : window(window_of(p)),
      n(p.n),
      groups(groups_of(p)),
      channels(p.x.dims.c / groups),
      x(p.x),
      y(p.y),
      threads(p.threads),
      end(rounding(p)) {
  bytes = any_bytes && kernels.bytes.vecs > 0 && p.weights() == DType::kI8;
  const IntegerTiles& tiles = tiles_of(kernels, bytes);
  const int width = kernels.width;
  const int64_t pixels = x.dims.h * x.dims.w;
  planar = x.layout == Layout::kNchw && x.dims.c > 1 && pixels > 1;
  const bool single = window.kernel[0] == 1 && window.kernel[1] == 1 && window.unit_stride();
  const bool whole =
      y.dims.h * y.dims.w == 1 && window.kernel[0] == x.dims.h && window.kernel[1] == x.dims.w;
  flat = (single || whole) && !window.padded() && !planar;
  if (planar) {
    pixel = 1;
  } else {
    pixel = x.layout == Layout::kNchw ? x.dims.c : x.pixel(width);
  }
  // Groups of numbers reach behind the last channel: at the end of the image behind that.
  const bool reaches = groups > 1 || round_up(channels, tiles.group) > pixel;
  copy = !bytes || window.padded() || planar || (reaches && channels % tiles.group != 0);
  // Few channels fill no group: side by side those of a row of taps fill more.
  const int64_t cols = window.kernel[1], gapless = ceil_div(cols * channels, tiles.group);
  const bool fewer = gapless < cols * ceil_div(channels, tiles.group);
  together = copy && fewer && groups == 1 && window.dilation[1] == 1 ? cols : 1;
  x_pixel = element() * (together > 1 ? channels : copy ? round_up(x.dims.c, tiles.group) : pixel);
  x_image = x.image(width);
  const Dims out = y.dims;
  images = n, rows = out.h, row = last_row = out.w;
  if (flat) {
    const int64_t all = n * out.h * out.w;
    images = 1;
    row = std::min(all, kRow), rows = ceil_div(all, row);
    last_row = all - (rows - 1) * row;
    step = whole ? pixels * x_pixel : x_pixel;
    x_row = row * step;
    x_outer = x.dims.w * x_pixel * window.dilation[0];
  } else {
    step = window.stride[1] * x_pixel;
    x_row = (x.dims.w + window.pad[1] + window.pad[3]) * x_pixel;
  }
  outer = window.kernel[0], middle = cols / together;
  if (!flat) x_outer = x_row * window.dilation[0];
  x_middle = x_pixel * window.dilation[1];
  inner = ceil_div(together * channels, tiles.group);
  if (together == 1 && groups == 1 && window.dilation[1] == 1 &&
      inner * tiles.group * element() == x_pixel)
    inner *= middle, middle = 1;
  choose_panels(tiles, width);
  choose_bands(kernels);
}

// Cycles of a row of pixels by a panel of `each` vectors.
double IntegerConv::line(const IntegerTiles& tiles, int64_t count, int each) const {
  const auto parts = static_cast<double>(ceil_div(row, tiles.cols[each]));
  const double cols = static_cast<double>(row) / parts;
  const double rate =
      tiles.by_lane && element() == 2 ? 1.5 : 1;  // sums are instructions of their own
  const double step = std::max(rate * each * cols, 4.0) + 0.3 * (each + cols);
  const double steps = tiles.pairs ? 6 : tiles.by_lane ? 1 : 4;  // of a group
  const double taps = static_cast<double>(outer * middle * inner) * steps;
  return static_cast<double>(count) * parts *
         (taps * step + kRunCycles * static_cast<double>(outer * middle) + kTileCycles +
          4 * each * cols);
}

void IntegerConv::choose_panels(const IntegerTiles& tiles, int width) {
  const int64_t vectors = ceil_div(y.dims.c / groups, width);
  double least = 0;
  for (int each = 1; each <= std::min<int64_t>(tiles.vecs, vectors); ++each) {
    const int left = static_cast<int>(vectors % each);
    const double sum = line(tiles, vectors / each, each) + (left ? line(tiles, 1, left) : 0);
    if (each > 1 && sum >= least) continue;
    least = sum, vecs = each, rest = left, panels = ceil_div(vectors, each);
  }
  cycles = least * static_cast<double>(images * rows * groups);
}

void IntegerConv::choose_bands(const Kernels& kernels) {
  const int64_t all = panels * groups;
  const double weights = static_cast<double>(groups * round_up(y.dims.c / groups, kernels.width) *
                                             taps() * tiles_of(kernels, bytes).group * element());
  struct Cut {
    int64_t band, bands, splits;
  };
  std::vector<Cut> cuts;
  const int64_t wanted = threads > 1 ? 8 * threads : 1;
  for (int64_t two = 1; two <= rows; two *= 2) {
    for (const int64_t parts : {two, two + two / 2}) {
      if (parts > rows) continue;
      Cut c{ceil_div(rows, parts), 0, 0};
      c.bands = ceil_div(rows, c.band);
      c.splits = std::min(all, ceil_div(wanted, images * c.bands));
      const double scratch = static_cast<double>(input_rows(c.band) * x_row);
      if (!copy || c.band == 1 || scratch <= kMostScratch) cuts.push_back(c);
    }
  }
  if (cuts.empty()) cuts.push_back({1, rows, 1});
  const double tiles = cycles;
  const auto cost = [&](const Cut& c) {
    const auto count = static_cast<double>(images * c.bands);
    const auto bytes = static_cast<double>(input_rows(c.band) * x_row);
    double sum = tiles + weight_cycles(weights, count, bytes, threads);
    const double between = weights / static_cast<double>(all) +
                           static_cast<double>(c.band * row * vecs * kernels.width);
    sum = std::hypot(sum, stream_cycles(bytes * count * static_cast<double>(all), bytes + between));
    if (copy)
      sum += kCopyCycles[x.layout == Layout::kNchw] * bytes * count * static_cast<double>(c.splits);
    const double tasks = count * static_cast<double>(c.splits);
    return parallel_cycles(sum + kTaskCycles * tasks, tasks, threads);
  };
  Cut cut;
  std::tie(cut, cycles) = cheapest(cuts, cost);
  band = cut.band, bands = cut.bands, splits = cut.splits;
  thread_bytes = copy ? round_up(input_rows(band) * x_row + kSlack, 64) : 0;
}

// A row of pixels as tiles read them. `pixels` of planes lie side by side in each.
void copy_row(const IntegerConv& a, const Kernels& kernels, const uint8_t* from, int64_t pixels,
              char* to) {
  const int64_t channels = a.x.dims.c, packed = a.x_pixel / a.element();
  const auto flip = static_cast<uint8_t>(flip_of(a.x.dtype));
  const int32_t zero = unsigned_zero(a.x);
  if (a.planar) {
    const int64_t plane = a.x.dims.h * a.x.dims.w;
    for (int64_t c = 0; c < channels; ++c) {
      const uint8_t* source = from + c * plane;
      if (a.element() == 1) {
        auto* target = reinterpret_cast<uint8_t*>(to) + c;
        for (int64_t i = 0; i < pixels; ++i) target[i * packed] = source[i];
      } else {
        auto* target = reinterpret_cast<int16_t*>(to) + c;
        for (int64_t i = 0; i < pixels; ++i)
          target[i * packed] = static_cast<int16_t>((source[i] ^ flip) - zero);
      }
    }
    return;
  }
  const bool whole = a.pixel == packed;
  const int64_t runs = whole ? 1 : pixels, run = whole ? pixels * packed : channels;
  for (int64_t i = 0; i < runs; ++i) {
    if (a.element() == 1) {
      std::memcpy(to + i * a.x_pixel, from + i * a.pixel, static_cast<size_t>(run));
    } else {
      kernels.widen(from + i * a.pixel, flip, zero, reinterpret_cast<int16_t*>(to + i * a.x_pixel),
                    run);
    }
  }
}

// What the padding holds: the zero point, or nothing where it has been taken off.
void fill_row(const IntegerConv& a, int64_t pixels, char* to) {
  const int byte = a.element() == 1 ? static_cast<uint8_t>(a.x.zero) : 0;
  std::memset(to, byte, static_cast<size_t>(pixels * a.x_pixel));
}

// Some rows of the result, each of `row` pixels but the last.
struct Band {
  int64_t rows, last_row;
  // From where the tiles read; but where rows with padding are copied first, the image's row number
  // `x_first`.
  const uint8_t* x;
  int64_t x_first;
  int64_t input_row;  // the first, padding counted, that is copied
  char* y;
  const char* z;  // a residual, or null
};

void copy_band(const IntegerConv& a, const Kernels& kernels, const Band& band, char* scratch) {
  if (a.flat) {
    const int64_t pixels = (band.rows - 1) * a.row + band.last_row;
    return copy_row(a, kernels, band.x, pixels * a.step / a.x_pixel, scratch);
  }
  const Window& w = a.window;
  const int64_t row = a.x.dims.w * a.pixel;
  for (int64_t r = 0; r < a.input_rows(band.rows); ++r, scratch += a.x_row) {
    const int64_t at = band.input_row + r - w.pad[0];
    if (at < 0 || at >= a.x.dims.h) {
      fill_row(a, a.x_row / a.x_pixel, scratch);
      continue;
    }
    fill_row(a, w.pad[1], scratch);
    char* inside = scratch + w.pad[1] * a.x_pixel;
    copy_row(a, kernels, band.x + (at - band.x_first) * row, a.x.dims.w, inside);
    fill_row(a, w.pad[3], inside + a.x.dims.w * a.x_pixel);
  }
}

// Part number `part` of `parts` of the panels, for a band.
void run_band(const IntegerConv& a, const Operands& o, const Band& band, int64_t part,
              int64_t parts, int thread) {
  const Kernels& kernels = *o.kernels;
  const IntegerTiles& tiles = tiles_of(kernels, a.bytes);
  const int width = kernels.width;
  const int64_t y_pixel = a.y.pixel(width);
  const int64_t y_size = a.end.real ? sizeof(float) : 1;
  const char* x = reinterpret_cast<const char*>(band.x);
  if (a.copy) {
    char* scratch = static_cast<char*>(o.workspace) + thread * a.thread_bytes;
    copy_band(a, kernels, band, scratch);
    x = scratch;
  }
  const int64_t each = a.y.dims.c / a.groups, padded = round_up(each, width);
  const int64_t vector_bytes = a.taps() * tiles.group * a.element() * width;
  IntegerTile tile{};
  tile.x_col = a.step;
  tile.x_outer = a.x_outer, tile.x_middle = a.x_middle;
  tile.outer = a.outer, tile.middle = a.middle, tile.inner = a.inner;
  tile.flip = tiles.is_signed ? ~flip_of(a.x.dtype) & kFlip : flip_of(a.x.dtype);
  tile.y_col = y_pixel;
  const int64_t all = a.panels * a.groups;
  for (int64_t panel = all * part / parts; panel < all * (part + 1) / parts; ++panel) {
    const int64_t group = panel / a.panels, vector = panel % a.panels * a.vecs;
    const int vecs = a.vecs_of(panel % a.panels);
    const int64_t table = group * padded + vector * width;
    tile.w = static_cast<const char*>(o.weights[kIntegerWeights]) +
             (group * (padded / width) + vector) * vector_bytes;
    tile.bias = static_cast<const int32_t*>(o.weights[kIntegerBias]) + table;
    tile.end = a.end;
    tile.scale = static_cast<const float*>(o.weights[kIntegerScales]) + table;
    const char* x_group = x + group * a.channels * a.element();
    for (int64_t r = 0; r < band.rows; ++r) {
      const int64_t cols = r + 1 < band.rows ? a.row : band.last_row;
      const int64_t count = ceil_div(cols, tiles.cols[vecs]);
      const char* line = x_group + r * (a.flat ? 1 : a.window.stride[0]) * a.x_row;
      const int64_t at = r * a.row * y_pixel + group * each + vector * width;
      // As many pixels to each tile as can be, one more to the first of them.
      int64_t begin = 0, few = cols / count;
      for (const int64_t wide : {few + 1, few}) {
        tile.count = wide == few ? count - cols % count : cols % count;
        if (tile.count == 0) continue;
        const int64_t number = at + begin * y_pixel;
        tile.x = line + begin * tile.x_col;
        tile.y = band.y + number * y_size;
        if (band.z) tile.z = band.z + number;
        tiles.tile[vecs][wide](tile);
        begin += tile.count * wide;
      }
      if (parts > 1) look_up(o, band.y + at * y_size, cols, y_pixel, vecs * width);
    }
  }
  if (parts > 1) return;
  for (int64_t r = 0; r < band.rows; ++r) {
    look_up(o, band.y + r * a.row * y_pixel * y_size, r + 1 < band.rows ? a.row : band.last_row,
            y_pixel, round_up(a.y.dims.c, width));
  }
}

// Where a band begins that begins so many pixels, or rows, behind others.
Band band_of(const IntegerConv& a, const Operands& o, int64_t pixels, int64_t input_row) {
  Band band{};
  band.x = static_cast<const uint8_t*>(o.x);
  band.input_row = input_row;
  if (a.flat) {
    band.x += pixels * (a.step / a.x_pixel) * a.pixel;
  } else if (!a.copy) {
    band.x += input_row * a.x_row;
  }
  const int64_t number = pixels * a.y.pixel(o.kernels->width);
  band.y = static_cast<char*>(o.y) + number * (a.end.real ? sizeof(float) : 1);
  if (o.operand) band.z = static_cast<const char*>(o.operand) + number;
  return band;
}

void run_integer_conv(const IntegerConv& a, const Operands& o) {
  o.pool.parallel_for(a.images * a.bands * a.splits, [&](int64_t task, int thread) {
    const int64_t pass = task / a.splits, image = pass / a.bands, first = pass % a.bands * a.band;
    const int64_t rows = std::min(a.rows - first, a.band);
    Band band = band_of(a, o, (image * a.rows + first) * a.row, first * a.window.stride[0]);
    band.x += image * a.x_image;
    band.rows = rows, band.last_row = first + rows < a.rows ? a.row : a.last_row;
    run_band(a, o, band, task % a.splits, a.splits, thread);
  });
}

void run_integer_rows(const IntegerConv& a, const Operands& o, const RowRange& rows) {
  const int64_t pixels = (rows.last - rows.first) * a.y.dims.w, count = ceil_div(pixels, a.row);
  const int64_t wanted = a.threads > 1 ? kRowTasks * a.threads : 1;
  const int64_t each = std::min(a.band, ceil_div(count, wanted)), bands = ceil_div(count, each);
  const int64_t splits = a.copy ? 1 : std::min(a.panels * a.groups, ceil_div(wanted, bands));
  // The operands as if they began with the first of the rows.
  const int64_t begin = rows.first * a.window.stride[0],
                y_row = a.y.dims.w * a.y.pixel(o.kernels->width);
  Operands from = o;
  from.y = static_cast<char*>(o.y) +
           (rows.first - rows.y_first) * y_row * (a.end.real ? sizeof(float) : 1);
  if (o.operand) from.operand = static_cast<const char*>(o.operand) + rows.first * y_row;
  if (a.flat || !a.copy) {
    from.x = static_cast<const uint8_t*>(o.x) + (begin - rows.x_first) * a.x.dims.w * a.pixel;
  }
  o.pool.parallel_for(bands * splits, [&](int64_t task, int thread) {
    const int64_t first = task / splits * each;
    Band band = band_of(a, from, first * a.row, first * a.window.stride[0]);
    if (a.copy) band.input_row += begin, band.x_first = rows.x_first;
    band.rows = std::min(each, count - first);
    band.last_row = std::min(a.row, pixels - (first + band.rows - 1) * a.row);
    run_band(a, from, band, task % splits, splits, thread);
  });
}

constexpr auto kCode = plan_code<&run_integer_conv, &run_integer_rows>("integer_conv");

// Which of a tap's weights, of what channel of a vector, lies at a place of a group's.
struct Place {
  int64_t lane, number;
  Place(const IntegerTiles& tiles, int width, int64_t at) {
    lane = tiles.by_lane ? at / tiles.group : at % width;
    number = tiles.by_lane ? at % tiles.group : at / width;
    if (!tiles.pairs) return;
    lane = at / 2 % width;
    number = (lane + at / 2 / width) % width * 2 + at % 2;
  }
};

// Whether a CPU that sums pairs of products in 16 bits has all sums of these weights.
bool pairs_fit(const int8_t* w, size_t count, int width) {
  const size_t turn = 2 * static_cast<size_t>(width);
  for (size_t i = 0; i < count; ++i) {
    if (i / turn % 2 == 0 && w[i] == -128 && w[i + turn] == -128) return false;
  }
  return true;
}

// Weights as [group][vector][outer][middle][inner][width][group], or as else IntegerTiles has them,
// where the vectors of a panel lie side by side.
template <typename T>
void pack(const Problem& p, const IntegerConv& a, const IntegerTiles& tiles, int width,
          const Weight& from, T* out) {
  const int64_t each = p.y.dims.c / a.groups, group = tiles.group;
  const Window w = window_of(p);
  const int64_t rows = w.kernel[0], cols = w.kernel[1], taps = a.channels * rows * cols;
  // A run is all of a tap's channels, or those of a row of taps.
  const int64_t run = a.together * a.channels;
  for (int64_t g = 0; g < a.groups; ++g) {
    for (int64_t panel = 0; panel < a.panels; ++panel) {
      const int vecs = a.vecs_of(panel);
      for (int64_t first = 0; first < rows * cols; first += a.together) {
        for (int64_t i = 0; i < ceil_div(run, group); ++i) {
          for (int v = 0; v < vecs; ++v) {
            for (int64_t at = 0; at < group * width; ++at, ++out) {
              const Place place(tiles, width, at);
              const int64_t number = i * group + place.number;
              const int64_t k = (panel * a.vecs + v) * width + place.lane;
              const bool there = k < each && number < run;
              const int64_t row = g * each + k, tap = first + number / a.channels;
              const int64_t c = number % a.channels;
              *out = there ? static_cast<T>(from.integer(row, row * taps + c * rows * cols + tap))
                           : T{0};
            }
          }
        }
      }
    }
  }
}

class IntegerDirect final : public Algorithm {
 public:
  const char* name() const override { return "integer-direct"; }
  Kinds kinds() const override { return {Kind::kConv, Kind::kMatmul}; }
  bool any_weights() const override { return true; }
  bool any_types() const override { return true; }

  double cost(const Problem& p, const Context& context) const override {
    return IntegerConv(p, context.kernels).cycles;
  }
  double memory(const Problem& p, const Context& context) const override {
    return static_cast<double>(packed_bytes(p, IntegerConv(p, context.kernels), context.kernels));
  }
  Plan prepare(const Problem& p, const Weight* weight, const Weight* bias,
               const Context& context) const override {
    const Kernels& kernels = context.kernels;
    IntegerConv a(p, kernels);
    auto packed = pack_for(p, a, *weight, context);
    if (a.bytes && kernels.bytes.pairs &&
        !pairs_fit(reinterpret_cast<const int8_t*>(packed->data()), packed->size(),
                   kernels.width)) {
      a = IntegerConv(p, kernels, false);
      packed = pack_for(p, a, *weight, context);
    }
    const int32_t zero = unsigned_zero(p.x) - (kernels.bytes.is_signed ? 128 : 0);
    const IntegerTables tables =
        integer_tables(p, *weight, bias, a.groups, kernels.width, a.bytes ? zero : 0);
    return make_plan(
        kCode, a, context, static_cast<size_t>(a.threads * a.thread_bytes),
        {packed, plan_table(tables.bias), plan_table(tables.scales), plan_table(table_after(p))});
  }

 private:
  static WeightStore::Buffer pack_for(const Problem& p, const IntegerConv& a, const Weight& weight,
                                      const Context& context) {
    const Kernels& kernels = context.kernels;
    const IntegerTiles& tiles = tiles_of(kernels, a.bytes);
    const std::string packing = std::string("integer ") + (a.bytes ? "bytes" : "wide") + " g" +
                                std::to_string(a.groups) + " v" + std::to_string(kernels.width) +
                                "x" + std::to_string(a.vecs) + " " + std::to_string(a.channels) +
                                "x" + std::to_string(window_of(p).kernel[0]) +
                                (a.together > 1 ? " together" : "");
    return context.weights.get_bytes(
        &weight, packing, packed_bytes(p, a, kernels), [&](const Weight& loaded, void* out) {
          if (a.bytes) {
            pack(p, a, tiles, kernels.width, loaded, static_cast<int8_t*>(out));
          } else {
            pack(p, a, tiles, kernels.width, loaded, static_cast<int16_t*>(out));
          }
        });
  }
  static size_t packed_bytes(const Problem& p, const IntegerConv& a, const Kernels& kernels) {
    return static_cast<size_t>(a.groups * round_up(p.y.dims.c / a.groups, kernels.width) *
                               a.taps() * tiles_of(kernels, a.bytes).group * a.element());
  }
  std::string objection(const Problem& p, const Context& context) const override {
    if (!p.quantized()) return "for integers of 8 bits only";
    const bool planes = p.x.layout == Layout::kNchw && p.x.dims.h * p.x.dims.w > 1;
    if (planes && (p.x.pitch || p.x.dims.c > kMostPlanes)) return "reads few planes only";
    if (p.y.layout != Layout::kNhwc && p.y.dims.h * p.y.dims.w != 1)
      return "writes channels last only";
    const int width = context.kernels.width;
    if (p.y.layout != Layout::kNhwc && p.y.dims.c % width != 0)
      return "writes whole vectors of channels";
    if (groups_of(p) > 1 && p.y.dims.c / groups_of(p) % width != 0)
      return "writes whole vectors of channels of each group";
    const Window w = window_of(p);
    const double row = static_cast<double>(p.x.dims.w + w.pad[1] + w.pad[3]) *
                       static_cast<double>(round_up(p.x.dims.c, 4)) * 2;
    if (row * static_cast<double>(w.extent(0)) > kMostScratch) return "the window is too large";
    return "";
  }
};

const IntegerDirect kIntegerDirect;
const RegisterAlgorithm kRegistered(&kIntegerDirect);

}  // namespace
}  // namespace linnet
