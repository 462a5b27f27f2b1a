// Fully connected layers by the direct convolution's tile: images take the place of pixels.

#include <algorithm>
#include <cstring>
#include <string>

#include "algorithms/cost.h"
#include "algorithms/direct.h"
#include "algorithms/epilogue.h"

namespace linnet {
namespace {

constexpr int64_t kExpandedBytes = 16 << 10;  // of weights turned into floats, to stay in L1
constexpr int64_t kPlaceTaps = 8;             // where weights are read in several places by turns
constexpr double kConvertCycles = 1.5;        // of a vector of weights of another type

// Panels must not depend on the batch, so that all plans share one packed copy: sized for batches.
Panels fc_panels(const Problem& p, const Kernels& kernels) {
  return best_panels(kernels, p.y.dims.c, kernels.direct_cols[kernels.direct_vecs > 1 ? 2 : 1], 1,
                     p.x.dims.count());
}

// The reduction is cut into blocks whose weights stay in L2 while all images pass, so each weight
// is read from memory once per run.
struct FcArgs {
  int64_t n, taps, outputs;
  DType weights;
  Epilogue end;
  int threads;
  int64_t x_image, y_image;  // from one to the next
  int64_t x_step;            // the same where they are read, after copying if that differs
  // The input of one image: `pixels` runs of `channels` contiguous taps, `pixel` apart.
  int64_t pixels, channels, pixel;
  int64_t block;  // taps (or pixels) of one block
  Panels panels;
  int64_t copied_floats;    // of all images
  int64_t expanded_floats;  // of a thread

  FcArgs(const Problem& p, const Kernels& kernels);
  // A single image multiplies weights of any type as they stream by; for several they are turned
  // into floats once, block by block.
  bool expands() const { return weights != DType::kF32 && n > 1; }
  int64_t block_step() const { return pixels > 1 ? channels : 1; }  // taps
};

FcArgs::FcArgs(const Problem& p, const Kernels& kernels)
    : n(p.n),
      taps(p.x.dims.count()),
      outputs(p.y.dims.c),
      weights(p.weights()),
      end(p.end),
      threads(p.threads),
      x_image(p.x.image(kernels.width)),
      y_image(p.y.image(kernels.width)),
      x_step(x_image) {
  const int width = kernels.width;
  const Dims d = p.x.dims;
  // Images that lie whole ways of the first-level cache apart would meet in a few lines of it.
  const auto image_bytes = static_cast<int64_t>(sizeof(float)) * x_image;
  if (n > 1 && machine().way > 0 && image_bytes % machine().way == 0) x_step += 16;
  // Padded lanes of the input are zero, but their products must not need weights: skip them pixel
  // by pixel.
  pixel = p.x.layout == Layout::kNhwc ? p.x.pixel(width) : d.count();
  pixels = p.x.layout == Layout::kNhwc ? d.h * d.w : 1;
  channels = p.x.layout == Layout::kNhwc ? d.c : d.count();
  if (channels == pixel) channels *= pixels, pixel *= pixels, pixels = 1;
  panels = fc_panels(p, kernels);
  if (panels.vecs > kernels.gemv_vecs) panels = {ceil_div(outputs, width), 1, 0};
  const int64_t tap_bytes = static_cast<int64_t>(panels.vecs) * width * sizeof(float);
  block = pixels > 1 ? pixels : channels;
  block = std::min(block, std::max<int64_t>(1, kMostTerms / block_step()));
  if (n > kernels.direct_cols[panels.vecs] || expands()) {
    // Floats made on the spot should stay in the first-level cache until all images have passed.
    const int64_t bytes = expands() ? kExpandedBytes : 128 * 1024;
    block = std::min(block, std::max<int64_t>(1, bytes / (tap_bytes * block_step())));
  }
  copied_floats = x_step == x_image ? 0 : round_up(n * x_step, 64);
  expanded_floats = expands() ? panels.size(0) * width * round_up(block * block_step(), 16) : 0;
}

void run_panel(const FcArgs& a, const FloatOperands& o, int64_t panel, int64_t first, int64_t last,
               int thread) {
  const int vecs = a.panels.size(panel);
  const int64_t channel = panel * a.panels.vecs * o.kernels.width;
  const int64_t lanes = static_cast<int64_t>(vecs) * o.kernels.width;
  const int64_t length = a.pixels > 1 ? a.pixels : a.channels;
  const int64_t x_unit = a.pixels > 1 ? a.pixel : 1;
  const int64_t places = a.expands() ? 1 : o.kernels.weight_places;
  const int64_t tiles = ceil_div(last - first, o.kernels.direct_cols[vecs]);

  DirectTile tile{};
  tile.x_col = a.x_step, tile.y_col = a.y_image;
  tile.pool_cols = 1;
  for (int64_t begin = 0, size; begin < length; begin += size) {
    size = std::min(a.block, length - begin);
    // A tile takes the places by turns, a single image takes them all at once.
    const int64_t turn = places == 1        ? 0
                         : a.pixels > 1     ? 1
                         : last - first > 1 ? kPlaceTaps
                                            : size / places;
    if (turn > 0 && size >= places * turn) {
      const int64_t part = size / (places * turn) * turn;
      size = places * part;  // what does not come out even is left to the next block
      tile.outer = part / turn, tile.x_outer = turn * x_unit;
      tile.middle = places, tile.x_middle = part * x_unit;
      tile.inner = turn * a.block_step();
      tile.w_middle = (part - turn) * a.block_step() * lanes;
      tile.w_outer = (turn - size) * a.block_step() * lanes;
    } else {
      tile.outer = 1;
      tile.middle = a.pixels > 1 ? size : 1, tile.x_middle = x_unit;
      tile.inner = a.pixels > 1 ? a.channels : size;
      tile.w_middle = tile.w_outer = 0;
    }
    const bool ends = begin + size == length;
    point(&tile, o, a.weights, channel * a.taps + begin * a.block_step() * lanes, channel);
    if (a.expands()) {
      float* space = o.workspace + thread * a.expanded_floats;
      expand(&tile, o.kernels, a.weights, space, size * a.block_step(), vecs);
    }
    tile.bias = begin == 0 ? o.floats(kBias) + channel : kNoBias;
    tile.limits = ends ? a.end.limits : Limits();
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t from = first + (last - first) * t / tiles,
                    to = first + (last - first) * (t + 1) / tiles;
      tile.x = o.x + from * a.x_step + begin * x_unit;
      tile.y = o.y + from * a.y_image + channel;
      tile.residual = begin > 0        ? tile.y
                      : a.end.residual ? o.operand + from * a.y_image + channel
                                       : nullptr;
      if (to - from == 1) {
        o.kernels.gemv[static_cast<int>(a.expands() ? DType::kF32 : a.weights)][vecs](tile);
      } else {
        o.kernels.direct[vecs][to - from](tile);
      }
      if (ends)
        map_results(o.kernels, a.end.then, tile.y, to - from, a.y_image,
                    std::min(lanes, a.outputs - channel));
    }
  }
}

void run_fc(const FcArgs& a, const FloatOperands& operands) {
  FloatOperands o = operands;
  if (a.copied_floats) {
    o.pool.parallel_for(a.n, [&](int64_t image, int) {
      const int64_t count = (a.pixels - 1) * a.pixel + a.channels;
      std::memcpy(o.workspace + image * a.x_step, o.x + image * a.x_image,
                  static_cast<size_t>(count) * sizeof(float));
    });
    o.x = o.workspace;
    o.workspace += a.copied_floats;
  }
  // Few panels and many threads: split the images too.
  const int64_t most = o.kernels.direct_cols[a.panels.vecs];
  const int64_t image_splits =
      std::min(ceil_div(a.n, most), ceil_div(2 * a.threads, a.panels.count()));
  o.pool.parallel_for(a.panels.count() * image_splits, [&](int64_t task, int thread) {
    const int64_t split = task % image_splits;
    run_panel(a, o, task / image_splits, a.n * split / image_splits,
              a.n * (split + 1) / image_splits, thread);
  });
}

constexpr auto kCode = plan_code<&run_fc>("direct_fc");

}  // namespace

Plan prepare_direct_fc(const Problem& p, const Weight& weight, const Weight* bias,
                       const Context& context) {
  const FcArgs a(p, context.kernels);
  const Dims d = p.x.dims;
  const bool last = p.x.layout == Layout::kNhwc;
  const std::string name =
      last ? "fc hwc " + std::to_string(d.h) + "x" + std::to_string(d.w) : "fc chw";
  const auto source = [=](int64_t k, int64_t tap) {
    return k * d.count() + (last ? tap % d.c * (d.h * d.w) + tap / d.c : tap);
  };
  return make_plan(kCode, a, context, float_bytes(a.copied_floats + a.threads * a.expanded_floats),
                   pack(context, weight, bias, name, 1, a.outputs, a.panels, a.taps, source));
}

double direct_fc_cycles(const Problem& p, const Kernels& kernels) {
  const auto taps = static_cast<double>(p.x.dims.count());
  const Panels panels = fc_panels(p, kernels);
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

}  // namespace linnet
