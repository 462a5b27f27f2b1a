// Normalisations along the axis whose numbers lie side by side: channels of channels-last data,
// rows of planar data.

#include <algorithm>
#include <cstring>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

constexpr double kCycles = 40;  // of a vector

// How many numbers of the axis lie side by side; 0 where they do not.
int64_t row_length(const Problem& p) {
  const Dims& d = p.x.dims;
  const bool pixel = d.h == 1 && d.w == 1;
  switch (p.normalize().axis) {
    case 1:
      return p.x.layout == Layout::kNhwc || pixel ? d.c : 0;
    case 2:
      return p.x.layout == Layout::kNchw && d.w == 1 ? d.h : 0;
    default:
      return p.x.layout == Layout::kNchw ? d.w : 0;
  }
}

struct NormalizeArgs {
  NormalizeCode code;
  int64_t n, rows, parts;    // images, rows of each, tasks of those
  int64_t x_image, y_image;  // from one to the next
  int64_t count;             // numbers of a row
  int64_t x_row, y_row;      // from one to the next
  int64_t padding;           // zeros behind a row of y
  int64_t size;              // neighbours, and numbers, as family::Normalize has them
  float a, b, c;
};

void run_normalize(const NormalizeArgs& a, const FloatOperands& o) {
  const auto kernel = o.kernels.normalize[static_cast<int>(a.code)];
  o.pool.parallel_for(a.n * a.parts, [&](int64_t task, int) {
    const int64_t image = task / a.parts, part = task % a.parts;
    const int64_t first = a.rows * part / a.parts;
    NormalizeRows tile{};
    tile.count = a.count;
    tile.x_row = a.x_row, tile.y_row = a.y_row;
    tile.size = a.size, tile.a = a.a, tile.b = a.b, tile.c = a.c;
    tile.rows = a.rows * (part + 1) / a.parts - first;
    tile.x = o.x + image * a.x_image + first * a.x_row;
    tile.y = o.y + image * a.y_image + first * a.y_row;
    kernel(tile);
    for (int64_t row = 0; a.padding && row < tile.rows; ++row) {
      std::memset(tile.y + row * a.y_row + a.count, 0,
                  static_cast<size_t>(a.padding) * sizeof(float));
    }
  });
}

constexpr auto kCode = plan_code<&run_normalize>("normalize");

class Normalize final : public Algorithm {
 public:
  const char* name() const override { return "normalize"; }
  Kinds kinds() const override { return {Kind::kNormalize}; }
  double cost(const Problem& p, const Context& context) const override {
    const auto rows = static_cast<double>(p.n * p.x.dims.count() / row_length(p));
    const auto vectors = static_cast<double>(ceil_div(row_length(p), context.kernels.width));
    const double bytes = 2 * static_cast<double>(p.n * p.x.dims.count()) * sizeof(float);
    return parallel_cycles(rows * (vectors * kCycles + 20) + stream_cycles(bytes, bytes), rows,
                           p.threads) +
           100;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    const int width = context.kernels.width;
    const family::Normalize& normalize = p.normalize();
    const bool last = p.y.layout == Layout::kNhwc;  // rows are the channels of pixels
    NormalizeArgs a{};
    a.code = normalize.code;
    a.n = p.n;
    a.count = row_length(p);
    a.rows = p.x.dims.count() / a.count;
    a.parts = p.threads > 1 ? std::min<int64_t>(a.rows, 4 * p.threads) : 1;
    a.x_image = p.x.image(width), a.y_image = p.y.image(width);
    a.x_row = last ? Strides(p.x, width).w : a.count;
    a.y_row = last ? Strides(p.y, width).w : a.count;
    a.padding = last ? round_up(a.count, width) - a.count : 0;
    a.size = normalize.size, a.a = normalize.a, a.b = normalize.b, a.c = normalize.c;
    return make_plan(kCode, a, context);
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    const bool pixel = p.x.dims.h == 1 && p.x.dims.w == 1;
    if (p.x.layout != p.y.layout && !(pixel && p.normalize().axis == 1))
      return "does not change the layout";
    return row_length(p) ? "" : "the numbers of the axis do not lie side by side";
  }
};

const Normalize kNormalize;
const RegisterAlgorithm kRegistered(&kNormalize);

}  // namespace
}  // namespace linnet
