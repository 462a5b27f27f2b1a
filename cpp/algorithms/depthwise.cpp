// Depthwise convolution on channels-last data: every channel has a window of its own, so vectors of
// channels are computed side by side; and one with groups of which a vector holds several, whose
// channels take turns. Tiles of neighbouring pixels stay in registers while the inputs slide past
// them. Nothing is padded: pixels whose window crosses the left or right border are computed one by
// one from the taps inside the image, rows that cross the upper or lower one from fewer rows of
// taps.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"
#include "algorithms/epilogue.h"

namespace linnet {
namespace {

constexpr int64_t kBlockFloats = 4 << 10;  // weights of a block of channels, to stay in L1
constexpr int64_t kBandRows = 4;           // the fewest output rows of a task
constexpr int64_t kLineFloats = 16;        // of a cache line
constexpr int64_t kPairedRows = 2;         // whose tiles share inputs

// Channels of a group.
int members_of(const Problem& p) { return static_cast<int>(p.x.dims.c / p.conv().groups); }

// The tiles for any window.
const DepthwiseTiles& plain_tiles(const Kernels& kernels, int members) {
  return members > 1 ? kernels.grouped[0][0] : kernels.depthwise[0][0];
}

// The tiles for a window's inner columns.
const DepthwiseTiles& inner_tiles(const Kernels& kernels, const Window& w, int members) {
  if (w.dilation[1] == 1 && w.kernel[1] <= kMaxDepthwiseKernel &&
      w.stride[1] <= kMaxDepthwiseStride) {
    const auto& table = members > 1 ? kernels.grouped : kernels.depthwise;
    const DepthwiseTiles& tiles = table[w.kernel[1]][w.stride[1]];
    if (tiles.cols[1] > 0) return tiles;
  }
  return plain_tiles(kernels, members);
}

// The half-open range of taps k of 0..kernel with 0 <= start + k * dilation < size.
struct Range {
  int64_t first, last;
};
Range taps_inside(int64_t start, int64_t kernel, int64_t dilation, int64_t size) {
  const int64_t first = start < 0 ? ceil_div(-start, dilation) : 0;
  const int64_t last = start < size ? std::min(kernel, ceil_div(size - start, dilation)) : 0;
  return {std::min(first, last), last};
}

// The outputs along an axis whose whole window lies inside the image; empty, at `first`, if none
// is.
Range inner(const Window& w, int axis, int64_t in, int64_t out) {
  const int64_t first = std::min(out, ceil_div(w.pad[axis], w.stride[axis]));
  const int64_t room = in + w.pad[axis] - w.extent(axis);
  const int64_t last = room < 0 ? 0 : std::min(out, room / w.stride[axis] + 1);
  return {first, std::max(first, last)};
}

struct DepthwiseArgs {
  Convolution p;
  int width;              // of a vector
  int members;            // of a group
  int64_t vecs, taps;     // of channels, of a window for each channel of a group
  Range rows, cols;       // whose windows lie inside the image
  int64_t bands, blocks;  // of rows and of channels: tasks

  DepthwiseArgs(const Problem& problem, int width);
};
enum : uint8_t { kWeights, kBias };

DepthwiseArgs::DepthwiseArgs(const Problem& problem, int vector)
    : p(problem),
      width(vector),
      members(members_of(problem)),
      vecs(ceil_div(p.y.dims.c, width)),
      taps(p.window.kernel[0] * p.window.kernel[1] * members),
      rows(inner(p.window, 0, p.x.dims.h, p.y.dims.h)),
      cols(inner(p.window, 1, p.x.dims.w, p.y.dims.w)) {
  // About eight tasks for each thread, so that one slow core cannot hold up the layer: bands of
  // output rows, and blocks of channels where there are too few rows. A band needs some rows,
  // since the inputs of its first and last are read by its neighbours too; a block some lines.
  const int64_t wanted = p.threads > 1 ? 8 * p.threads : 1;
  bands = std::min(ceil_div(p.y.dims.h, kBandRows), ceil_div(wanted, p.n));
  blocks = std::max(ceil_div(vecs * taps * width, kBlockFloats), ceil_div(wanted, p.n * bands));
  blocks = std::min(blocks, ceil_div(vecs * width, kLineFloats));
}

WeightStore::Buffer pack(const DepthwiseArgs& a, const Weight& weight, const Context& context) {
  const int width = a.width;
  const int64_t members = a.members, window = a.taps / members;
  const std::string groups = members > 1 ? " groups of " + std::to_string(members) : "";
  return context.weights.get(&weight, "depthwise v" + std::to_string(width) + groups,
                             a.vecs * a.taps * width, [&](const Weight& loaded, float* out) {
                               const auto* from = static_cast<const char*>(loaded.bytes());
                               for (int64_t k = 0; k < a.p.y.dims.c; ++k) {
                                 float* vec = out + k / width * a.taps * width + k % width;
                                 for (int64_t c = 0; c < members; ++c) {
                                   const int64_t turn = (c - k % members + members) % members;
                                   for (int64_t t = 0; t < window; ++t, from += sizeof *out)
                                     std::memcpy(vec + (t * members + turn) * width, from,
                                                 sizeof *out);  // it may be misaligned
                                 }
                               }
                             });
}

// tile.vecs vectors of channels, from number `vec` on, of an output row, or of two; `begin` is
// where rows of the first image begin.
void run_row(const DepthwiseArgs& a, const FloatOperands& o, const RowRange& begin,
             const DepthwiseTiles& tiles, int64_t image, int64_t row, int rows, int64_t vec,
             DepthwiseTile tile) {
  const Convolution& p = a.p;
  const Window& w = p.window;
  const int width = a.width;
  const Dims& out = p.y.dims;
  const int64_t x_pixel = p.x.pixel(width), y_pixel = p.y.pixel(width);
  const int64_t channel = vec * width;
  const int64_t top = row * w.stride[0] - w.pad[0];
  const Range taps = taps_inside(top, w.kernel[0], w.dilation[0], p.x.dims.h);
  tile.rows = taps.last - taps.first, tile.row_step = w.stride[0];
  tile.x_row = p.x.dims.w * x_pixel * w.dilation[0], tile.x_col = x_pixel * w.dilation[1];
  tile.x_pixel = x_pixel * w.stride[1];
  tile.members = a.members;
  tile.w_vec = a.taps * width, tile.w_row = w.kernel[1] * a.members * width;
  tile.bias = o.floats(kBias) + channel;
  tile.y_row = out.w * y_pixel, tile.y_pixel = y_pixel;
  tile.limits = p.end.limits;
  // Where no tap lies inside the image, the first may lie too far away for a pointer.
  const int64_t first = tile.rows > 0 ? top + taps.first * w.dilation[0] : begin.x_first;
  const float* x =
      o.x + (image * p.x.dims.h + first - begin.x_first) * p.x.dims.w * x_pixel + channel;
  const float* weights = o.floats(kWeights) + vec * tile.w_vec + taps.first * tile.w_row;
  int64_t z = (image * out.h + row) * tile.y_row + channel;
  int64_t y = z - begin.y_first * tile.y_row;

  const auto run_tile = [&](DepthwiseKernel kernel, int64_t col) {
    const int64_t left = col * w.stride[1] - w.pad[1];
    const Range inside = taps_inside(left, w.kernel[1], w.dilation[1], p.x.dims.w);
    tile.cols = inside.last - inside.first;
    tile.x = x + (tile.cols > 0 ? left + inside.first * w.dilation[1] : 0) * x_pixel;
    tile.w = weights + inside.first * a.members * width;
    tile.y = o.y + y + col * y_pixel;
    tile.residual = p.end.residual ? o.operand + z + col * y_pixel : nullptr;
    kernel(tile);
  };
  const int64_t length = a.cols.last - a.cols.first;
  const int64_t count = ceil_div(length, tiles.cols[rows]);
  for (int64_t t = 0; t < count; ++t) {
    // Even shares, as in a direct convolution.
    const int64_t begin = length * t / count, end = length * (t + 1) / count;
    run_tile(tiles.tile[rows][end - begin], a.cols.first + begin);
  }
  const DepthwiseKernel one = plain_tiles(o.kernels, a.members).tile[1][1];
  for (int r = 0; r < rows; ++r) {
    if (r > 0) x += w.stride[0] * tile.x_row, y += tile.y_row, z += tile.y_row;
    for (int64_t col = 0; col < a.cols.first; ++col) run_tile(one, col);
    for (int64_t col = a.cols.last; col < out.w; ++col) run_tile(one, col);
    map_results(o.kernels, p.end.then, o.y + y, out.w, y_pixel,
                std::min<int64_t>(tile.vecs * width, out.c - channel));
  }
}

// Rows first..end of an image, from the last to the first, of part number `block` of `blocks` of
// the channels.
void run_block(const DepthwiseArgs& a, const FloatOperands& o, const RowRange& begin, int64_t image,
               int64_t first, int64_t end, int64_t block, int64_t blocks) {
  const Window& w = a.p.window;
  const DepthwiseTiles& tiles = inner_tiles(o.kernels, w, a.members);
  // Whether two rows of pixels can share their inputs.
  const bool pairs = tiles.cols[2] > 0 && w.dilation[0] == 1 && w.stride[0] <= w.kernel[0];
  const int64_t vec = a.vecs * block / blocks;
  DepthwiseTile tile = {};
  tile.vecs = a.vecs * (block + 1) / blocks - vec;
  for (int64_t row; end > first; end = row) {
    const bool pair = pairs && end <= a.rows.last && end - 2 >= std::max(first, a.rows.first);
    row = end - (pair ? 2 : 1);
    run_row(a, o, begin, tiles, image, row, pair ? 2 : 1, vec, tile);
  }
}

void run_depthwise(const DepthwiseArgs& a, const FloatOperands& o) {
  const int64_t height = a.p.y.dims.h;
  // From the end to the beginning: the step before wrote the end last and left it in the cache,
  // and the step after starts with the beginning.
  const int64_t tasks = a.p.n * a.bands * a.blocks;
  o.pool.parallel_for(tasks, [&](int64_t index, int) {
    const int64_t task = tasks - 1 - index;
    const int64_t block = task % a.blocks;
    const int64_t band = task / a.blocks % a.bands;
    const int64_t image = task / a.blocks / a.bands;
    run_block(a, o, {}, image, height * band / a.bands, height * (band + 1) / a.bands, block,
              a.blocks);
  });
}

void run_depthwise_rows(const DepthwiseArgs& a, const FloatOperands& o, const RowRange& rows) {
  const int64_t count = rows.last - rows.first,
                wanted = a.p.threads > 1 ? kRowTasks * a.p.threads : 1;
  const int64_t bands = std::min(ceil_div(count, kPairedRows), wanted);
  const int64_t most = ceil_div(a.vecs * a.width, kLineFloats);
  const int64_t least = ceil_div(a.vecs * a.taps * a.width, kBlockFloats);
  const int64_t blocks = std::min(std::max(least, ceil_div(wanted, bands)), most);
  // From the beginning to the end, as the other steps of a chain: a thread reads what it wrote.
  o.pool.parallel_for(bands * blocks, [&](int64_t task, int) {
    const int64_t band = task / blocks;
    run_block(a, o, rows, 0, rows.first + count * band / bands,
              rows.first + count * (band + 1) / bands, task % blocks, blocks);
  });
}

constexpr auto kCode = plan_code<&run_depthwise, &run_depthwise_rows>("depthwise");

class Depthwise final : public Algorithm {
 public:
  const char* name() const override { return "depthwise"; }

  Kinds kinds() const override { return {Kind::kConv}; }

  std::string objection(const Problem& p, const Context& context) const override {
    const int members = members_of(p), width = context.kernels.width;
    if (p.y.dims.c != p.x.dims.c) return "not as many filters as channels";
    if (members > 1 && (members >= width || width % members != 0))
      return "groups of " + std::to_string(members) + " channels do not fill a vector together";
    if (plain_tiles(context.kernels, members).cols[1] == 0)
      return "no kernel for groups of several channels";
    if (p.x.layout != Layout::kNhwc || p.y.layout != Layout::kNhwc)
      return "works on channels-last only";
    if (p.end.pooled()) return "does not pool";
    const int64_t* kernel = p.conv().window.kernel;
    if (kernel[0] > kMostTerms / (kernel[1] * members)) return "sums no more than 4096 products";
    return "";
  }

  double cost(const Problem& p, const Context& context) const override {
    const Kernels& kernels = context.kernels;
    const Dims out = p.y.dims;
    const int64_t* kernel = p.conv().window.kernel;
    const int members = members_of(p);
    const DepthwiseTiles& tiles = inner_tiles(kernels, p.conv().window, members);
    const bool slides = &tiles != &plain_tiles(kernels, members);
    const double cols = std::min(static_cast<double>(tiles.cols[1]), static_cast<double>(out.w));
    const auto taps = static_cast<double>(kernel[0]) * static_cast<double>(kernel[1]);
    // For an output vector: its inputs, and its share of the tile's weights.
    const double inputs =
        slides ? kernel[0] * ((cols - 1) * p.conv().window.stride[1] + kernel[1]) / cols : taps;
    // Inputs are turned by the unit that multiplies.
    const double computed = taps * members + inputs * (members - 1);
    const double each = std::max(computed / (fma_rate(kernels) * machine().efficiency),
                                 members * (inputs + taps / cols) / machine().loads);
    const auto vectors =
        static_cast<double>(p.n * out.h * out.w * ceil_div(p.y.dims.c, kernels.width));
    // Data comes in from afar once; the next rows read it again from where the window's rows stay.
    const auto input = static_cast<double>(p.n * image_stride(p.x.dims, p.x.layout, kernels.width));
    const auto output = static_cast<double>(p.n * image_stride(out, p.y.layout, kernels.width));
    const double bytes = (input + output) * sizeof(float);
    const double row_bytes = input / static_cast<double>(p.n * p.x.dims.h) * sizeof(float);
    const double again =
        stream_cycles(vectors * inputs * kernels.width * sizeof(float), row_bytes * kernel[0]);
    const double cycles =
        std::hypot(vectors * (each + kTileCycles), stream_cycles(bytes, bytes) + again) +
        weight_cycles(memory(p, context), 1, bytes, p.threads);
    return 500 + parallel_cycles(cycles, 8.0 * p.threads, p.threads);
  }

  double memory(const Problem& p, const Context& context) const override {
    return static_cast<double>(p.conv().window.kernel[0]) *
           static_cast<double>(p.conv().window.kernel[1]) * members_of(p) *
           static_cast<double>(round_up(p.y.dims.c, context.kernels.width)) * sizeof(float);
  }

  Plan prepare(const Problem& p, const Weight* weight, const Weight* bias,
               const Context& context) const override {
    const DepthwiseArgs a(p, context.kernels.width);
    return make_plan(
        kCode, a, context, 0,
        {pack(a, *weight, context), context.weights.get_bias(bias, p.y.dims.c, a.vecs * a.width)});
  }

 private:
  static constexpr double kTileCycles = 5;  // of the beginning and end of a tile, for each vector
};

const Depthwise kDepthwise;
const RegisterAlgorithm kRegistered(&kDepthwise);

}  // namespace
}  // namespace linnet
