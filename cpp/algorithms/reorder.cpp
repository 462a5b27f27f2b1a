// Copies an activation to a layout, or to a range of the channels of an image that has more.

#include <algorithm>
#include <cstring>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

// Pixels of one block: its strided side stays in the first-level cache.
constexpr int64_t kBlock = 64;
// A part of wide pixels is written in pieces too far apart for the processor to fetch ahead itself.
constexpr int64_t kAhead = 4;  // pixels

struct ReorderArgs {
  int64_t n;
  DType dtype;
  Layout from, to;
  int64_t channels, pixels;  // of an image of x
  int64_t first;             // number of y that the first of x becomes
  int64_t x_image, y_image;  // from one to the next
  int64_t x_pixel, y_pixel;  // the same, channels last
  int64_t lanes;  // what a pixel gets: behind the last channel the zeros of the padding too
};

template <typename T>
void copy(const T* x, T* y, int64_t count) {
  std::memcpy(y, x, static_cast<size_t>(count) * sizeof(T));
}

template <typename T>
void zero(const ReorderArgs& a, T* pixel) {
  for (int64_t c = a.channels; c < a.lanes; ++c) pixel[c] = 0;
}

template <typename T>
void move(const ReorderArgs& a, const T* images, T* results, ThreadPool& pool) {
  const int64_t blocks = ceil_div(a.pixels, kBlock);
  pool.parallel_for(a.n * blocks, [&](int64_t task, int) {
    const int64_t image = task / blocks, begin = task % blocks * kBlock,
                  end = std::min(a.pixels, begin + kBlock);
    const T* x = images + image * a.x_image;
    T* y = results + image * a.y_image + a.first;
    const int64_t channels = a.channels, pixels = a.pixels, x_pixel = a.x_pixel,
                  y_pixel = a.y_pixel;
    if (a.from == Layout::kNchw && a.to == Layout::kNchw) {
      copy(x + begin * channels, y + begin * channels,
           (end - begin) * channels);  // its share
    } else if (a.from == a.to) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t c = 0; c < channels; c += kAlignment / sizeof(T))
          __builtin_prefetch(y + (i + kAhead) * y_pixel + c, 1);
        copy(x + i * x_pixel, y + i * y_pixel, channels);
        zero(a, y + i * y_pixel);
      }
    } else if (a.to == Layout::kNhwc) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t c = 0; c < channels; ++c) y[i * y_pixel + c] = x[c * pixels + i];
        zero(a, y + i * y_pixel);
      }
    } else {
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t i = begin; i < end; ++i) y[c * pixels + i] = x[i * x_pixel + c];
      }
    }
  });
}

void run_reorder(const ReorderArgs& a, const Operands& o) {
  switch (size_of(a.dtype)) {
    case 1:
      return move(a, static_cast<const uint8_t*>(o.x), static_cast<uint8_t*>(o.y), o.pool);
    case 2:
      return move(a, static_cast<const uint16_t*>(o.x), static_cast<uint16_t*>(o.y), o.pool);
    case 4:
      return move(a, static_cast<const float*>(o.x), static_cast<float*>(o.y), o.pool);
    default:
      return move(a, static_cast<const uint64_t*>(o.x), static_cast<uint64_t*>(o.y), o.pool);
  }
}

constexpr auto kCode = plan_code<&run_reorder>("reorder");

class Reorder final : public Algorithm {
 public:
  const char* name() const override { return "reorder"; }
  Kinds kinds() const override { return {Kind::kMove}; }
  std::string objection(const Problem& p, const Context&) const override {
    return p.move().atoms.empty() ? "" : "the input is no image";
  }
  bool uses_kernels() const override { return false; }
  bool any_types() const override { return true; }
  double cost(const Problem& p, const Context& context) const override {
    const double dense = static_cast<double>(p.n * p.x.dims.count());
    const double padded =
        static_cast<double>(p.n * image_stride(p.x.dims, Layout::kNhwc, context.kernels.width));
    const bool same = p.x.layout == p.y.layout;
    const double moved = same ? 2 * (p.x.layout == Layout::kNhwc ? padded : dense) : dense + padded;
    const double bytes = moved * static_cast<double>(size_of(p.y.dtype));
    // Without a change of layout, whole vectors at a time, and a call for each pixel.
    const double cycles = same ? moved / context.kernels.width +
                                     10.0 * static_cast<double>(p.n * p.x.dims.h * p.x.dims.w)
                               : dense + 0.6 * padded;
    return parallel_cycles(cycles + stream_cycles(bytes, bytes),
                           static_cast<double>(p.n * ceil_div(p.x.dims.h * p.x.dims.w, kBlock)),
                           p.threads) +
           100;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    const int width = context.kernels.width;
    ReorderArgs a{};
    a.n = p.n, a.dtype = p.y.dtype;
    a.from = p.x.layout, a.to = p.y.layout;
    a.channels = p.x.dims.c, a.pixels = p.x.dims.h * p.x.dims.w;
    a.first = p.move().first * (a.to == Layout::kNchw ? a.pixels : 1);
    a.x_image = p.x.image(width), a.y_image = p.y.image(width);
    a.x_pixel = p.x.pixel(width), a.y_pixel = p.y.pixel(width);
    a.lanes = p.move().first + a.channels < p.y.dims.c
                  ? a.channels
                  : round_up(p.y.dims.c, width) - p.move().first;
    return make_plan(kCode, a, context);
  }
};

const Reorder kReorder;
const RegisterAlgorithm kRegistered(&kReorder);

}  // namespace
}  // namespace linnet
