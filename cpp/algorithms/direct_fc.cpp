// Fully connected layers by the direct convolution's tile: images take the place of pixels.

#include <algorithm>
#include <cstring>

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
class DirectFullyConnected final : public PlanObject {
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
    panels_ = fc_panels(p_, kernels_);
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
    block_ = std::min(block_, std::max<int64_t>(1, kMostTerms / block_step()));
    if (p_.n > kernels_.direct_cols[panels_.vecs] || expands()) {
      // Floats made on the spot should stay in the first-level cache until all images have passed.
      const int64_t bytes = expands() ? kExpandedBytes : 128 * 1024;
      block_ = std::min(block_, std::max<int64_t>(1, bytes / (tap_bytes * block_step())));
    }
  }

  size_t workspace() const override {
    return float_bytes(copied_floats() + (expands() ? p_.threads * expanded_floats() : 0));
  }

  void run(const Operands& operands) const override {
    FloatOperands o(operands);
    if (copied_floats()) {
      o.pool.parallel_for(p_.n, [&](int64_t image, int) {
        const int64_t count = (pixels_ - 1) * pixel_ + channels_;
        std::memcpy(o.workspace + image * x_step_, o.x + image * x_image_,
                    static_cast<size_t>(count) * sizeof(float));
      });
      o.x = o.workspace;
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

  void run_panel(const FloatOperands& o, int64_t panel, int64_t first, int64_t last,
                 int thread) const {
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
      tile.bias = begin == 0 ? bias_->floats() + channel : kNoBias;
      tile.limits = ends ? p_.end.limits : Limits();
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t from = first + (last - first) * t / tiles,
                      to = first + (last - first) * (t + 1) / tiles;
        tile.x = o.x + from * x_step_ + begin * x_unit;
        tile.y = o.y + from * y_image_ + channel;
        tile.residual = begin > 0         ? tile.y
                        : p_.end.residual ? o.operand + from * y_image_ + channel
                                          : nullptr;
        if (to - from == 1) {
          kernels_.gemv[static_cast<int>(expands() ? DType::kF32 : weights_.type())][vecs](tile);
        } else {
          kernels_.direct[vecs][to - from](tile);
        }
        if (ends)
          map_results(kernels_, p_.end.then, tile.y, to - from, y_image_,
                      std::min(lanes, p_.y.dims.c - channel));
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

}  // namespace

Plan prepare_direct_fc(const Problem& p, const Weight& weight, const Weight* bias,
                       const Context& context) {
  return plan_of(std::make_unique<DirectFullyConnected>(p, weight, bias, context), context);
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
