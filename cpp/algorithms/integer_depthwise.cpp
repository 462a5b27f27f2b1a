// Depthwise convolutions of integers: sums of int32 for vectors of channels side by side.

#include <algorithm>
#include <cstring>
#include <vector>

#include "algorithms/cost.h"
#include "algorithms/integer.h"

namespace linnet {
namespace {

constexpr double kMostScratch = 1 << 25;  // bytes of one thread

struct IntegerDepthwiseArgs {
  Window window;
  int64_t n, channels;  // padded to whole vectors
  Operand x, y;
  Rounding end;
  int64_t bands, band;  // of rows of an image
  int threads;
  int64_t thread_bytes;
  bool bytes;  // the tile's weights are int8
  bool copy() const { return window.padded(); }
  int64_t input_rows(int64_t rows) const {
    return (rows - 1) * window.stride[0] + window.extent(0);
  }
  int64_t row_bytes() const { return (x.dims.w + window.pad[1] + window.pad[3]) * channels; }
};

const DepthwiseIntegers& tile_of(const Kernels& kernels, bool bytes) {
  return bytes ? kernels.depthwise_bytes : kernels.depthwise_wide;
}

// A band of the image, which begins with row `begin`, with its padding, which holds the zero point.
void copy_band(const IntegerDepthwiseArgs& a, int64_t x_pixel, const uint8_t* image, int64_t begin,
               int64_t first, int64_t count, uint8_t* to) {
  const Window& w = a.window;
  const auto zero = static_cast<uint8_t>(a.x.zero);
  for (int64_t r = 0; r < count; ++r, to += a.row_bytes()) {
    const int64_t at = first + r - w.pad[0];
    if (at < 0 || at >= a.x.dims.h) {
      std::memset(to, zero, static_cast<size_t>(a.row_bytes()));
      continue;
    }
    std::memset(to, zero, static_cast<size_t>(w.pad[1] * a.channels));
    uint8_t* inside = to + w.pad[1] * a.channels;
    const uint8_t* from = image + (at - begin) * a.x.dims.w * x_pixel;
    if (x_pixel == a.channels) {
      std::memcpy(inside, from, static_cast<size_t>(a.x.dims.w * a.channels));
    } else {
      for (int64_t i = 0; i < a.x.dims.w; ++i)
        std::memcpy(inside + i * a.channels, from + i * x_pixel, static_cast<size_t>(a.channels));
    }
    std::memset(inside + a.x.dims.w * a.channels, zero, static_cast<size_t>(w.pad[3] * a.channels));
  }
}

// Rows first..last of the image whose operands are given.
void run_band(const IntegerDepthwiseArgs& a, const Operands& o, const RowRange& begin,
              int64_t first, int64_t last, int thread) {
  const Kernels& kernels = *o.kernels;
  const int width = kernels.width;
  const int64_t x_pixel = a.x.pixel(width), y_pixel = a.y.pixel(width);
  const int64_t y_size = a.end.real ? sizeof(float) : 1, y_row = a.y.dims.w * y_pixel;
  const auto* x = static_cast<const uint8_t*>(o.x);
  int64_t pixel = x_pixel, row = a.x.dims.w * x_pixel;
  if (a.copy()) {
    auto* scratch = static_cast<uint8_t*>(o.workspace) + thread * a.thread_bytes;
    copy_band(a, x_pixel, x, begin.x_first, first * a.window.stride[0], a.input_rows(last - first),
              scratch);
    x = scratch, pixel = a.channels, row = a.row_bytes();
  } else {
    x += (first * a.window.stride[0] - begin.x_first) * row;
  }
  IntegerDepthwise tile{};
  tile.flip = static_cast<uint8_t>(flip_of(a.x.dtype));
  tile.x_pixel = a.window.stride[1] * pixel;
  tile.x_row = a.window.dilation[0] * row, tile.x_col = a.window.dilation[1] * pixel;
  tile.rows = a.window.kernel[0], tile.cols = a.window.kernel[1];
  tile.w = o.weights[kIntegerWeights];
  tile.bias = static_cast<const int32_t*>(o.weights[kIntegerBias]);
  tile.end = a.end;
  tile.scale = static_cast<const float*>(o.weights[kIntegerScales]);
  tile.channels = a.channels, tile.pixels = a.y.dims.w, tile.y_pixel = y_pixel;
  for (int64_t r = first; r < last; ++r) {
    tile.x = x + (r - first) * a.window.stride[0] * row;
    tile.y = static_cast<char*>(o.y) + (r - begin.y_first) * y_row * y_size;
    if (o.operand) tile.z = static_cast<const char*>(o.operand) + r * y_row;
    tile_of(kernels, a.bytes).run(tile);
    look_up(o, tile.y, a.y.dims.w, y_pixel, a.channels);
  }
}

void run_integer_depthwise(const IntegerDepthwiseArgs& a, const Operands& o) {
  const int width = o.kernels->width;
  o.pool.parallel_for(a.n * a.bands, [&](int64_t task, int thread) {
    const int64_t image = task / a.bands, first = task % a.bands * a.band;
    const int64_t y = image * a.y.image(width);
    Operands from = o;
    from.x = static_cast<const uint8_t*>(o.x) + image * a.x.image(width);
    from.y = static_cast<char*>(o.y) + y * (a.end.real ? sizeof(float) : 1);
    if (o.operand) from.operand = static_cast<const char*>(o.operand) + y;
    run_band(a, from, {}, first, std::min(a.y.dims.h, first + a.band), thread);
  });
}

void run_integer_depthwise_rows(const IntegerDepthwiseArgs& a, const Operands& o,
                                const RowRange& rows) {
  const int64_t count = rows.last - rows.first, wanted = a.threads > 1 ? kRowTasks * a.threads : 1;
  const int64_t bands = std::max(std::min(count, wanted), ceil_div(count, a.band));
  o.pool.parallel_for(bands, [&](int64_t task, int thread) {
    run_band(a, o, rows, rows.first + count * task / bands, rows.first + count * (task + 1) / bands,
             thread);
  });
}

// By vectors and groups of rows, as IntegerDepthwise has them.
template <typename T>
void pack(const Window& w, int64_t channels, const Kernels& kernels, int group, const Weight& from,
          T* out) {
  const int64_t rows = w.kernel[0], cols = w.kernel[1];
  const int width = kernels.width;
  for (int64_t first = 0; first < channels; first += width) {
    for (int64_t r = 0; r < rows; r += group) {
      for (int64_t c = 0; c < cols; ++c, out += group * width) {
        for (int lane = 0; lane < std::min<int64_t>(width, channels - first); ++lane) {
          for (int i = 0; i < std::min<int64_t>(group, rows - r); ++i) {
            const int at = kernels.wide.by_lane ? lane * group + i : i * width + lane;
            const int64_t channel = first + lane;
            out[at] = static_cast<T>(from.integer(channel, (channel * rows + r + i) * cols + c));
          }
        }
      }
    }
  }
}

constexpr auto kCode =
    plan_code<&run_integer_depthwise, &run_integer_depthwise_rows>("integer_depthwise");

class Algorithm_ final : public Algorithm {
 public:
  const char* name() const override { return "integer-depthwise"; }
  Kinds kinds() const override { return {Kind::kConv}; }
  bool any_weights() const override { return true; }
  bool any_types() const override { return true; }

  double cost(const Problem& p, const Context& context) const override {
    const double numbers = static_cast<double>(p.n * p.y.image(context.kernels.width));
    const Window& w = p.conv().window;
    const double taps = static_cast<double>(w.kernel[0]) * static_cast<double>(w.kernel[1]);
    return parallel_cycles(numbers / context.kernels.width * (2 * taps + 8),
                           static_cast<double>(p.n * p.y.dims.h), p.threads) +
           200;
  }
  Plan prepare(const Problem& p, const Weight* weight, const Weight* bias,
               const Context& context) const override {
    const int width = context.kernels.width;
    const Window& w = p.conv().window;
    IntegerDepthwiseArgs a{};
    a.window = w, a.n = p.n, a.x = p.x, a.y = p.y, a.end = rounding(p), a.threads = p.threads;
    a.channels = round_up(p.y.dims.c, width);
    // Rows of input that one band shares with the next are copied twice.
    const int64_t most = p.threads > 1 ? ceil_div(p.y.dims.h, 4 * p.threads) : p.y.dims.h;
    a.band = std::clamp<int64_t>((96 << 10) / (a.row_bytes() * w.stride[0]), 1, most);
    a.bands = ceil_div(p.y.dims.h, a.band);
    a.thread_bytes = a.copy() ? round_up(a.input_rows(a.band) * a.row_bytes() + 64, 64) : 0;
    const Kernels& kernels = context.kernels;
    a.bytes = kernels.depthwise_bytes.run && p.weights() == DType::kI8;
    const int group = tile_of(kernels, a.bytes).rows;
    auto packed = context.weights.get_bytes(
        weight, "integer depthwise v" + std::to_string(width) + "x" + std::to_string(group),
        static_cast<size_t>(ceil_div(w.kernel[0], group) * w.kernel[1] * a.channels) *
            sizeof(int32_t),
        [&](const Weight& loaded, void* out) {
          if (a.bytes) {
            pack(w, p.y.dims.c, kernels, group, loaded, static_cast<int8_t*>(out));
          } else {
            pack(w, p.y.dims.c, kernels, group, loaded, static_cast<int16_t*>(out));
          }
        });
    const IntegerTables tables = integer_tables(p, *weight, bias, 1, width, unsigned_zero(p.x));
    return make_plan(
        kCode, a, context, static_cast<size_t>(p.threads * a.thread_bytes),
        {packed, plan_table(tables.bias), plan_table(tables.scales), plan_table(table_after(p))});
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    if (!p.quantized()) return "for integers of 8 bits only";
    if (p.conv().groups != p.x.dims.c || p.y.dims.c != p.x.dims.c)
      return "for one filter for each channel";
    if (p.x.layout != Layout::kNhwc || p.y.layout != Layout::kNhwc) return "channels last only";
    const Window& w = p.conv().window;
    const double row = static_cast<double>(p.x.dims.w + w.pad[1] + w.pad[3]) *
                       static_cast<double>(p.x.dims.c + 16);
    if (row * static_cast<double>(w.extent(0)) > kMostScratch) return "the window is too large";
    return "";
  }
};

const Algorithm_ kAlgorithm;
const RegisterAlgorithm kRegistered(&kAlgorithm);

}  // namespace
}  // namespace linnet
