// Numbers of one type become another, where they lie side by side in memory.

#include <algorithm>
#include <cstring>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

constexpr int64_t kPiece = 4096;  // numbers of a task

struct CastArgs {
  DType from, to;
  int64_t n;                 // images
  int64_t x_image, y_image;  // from one to the next
  // Numbers side by side, and how many times so many, so far apart.
  int64_t run, runs, x_step, y_step;
  int64_t zeros;   // behind each run of y
  int64_t pieces;  // of a run, a task each
};

void run_cast(const CastArgs& a, const Operands& o) {
  const auto* x = static_cast<const char*>(o.x);
  auto* y = static_cast<char*>(o.y);
  o.pool.parallel_for(a.n * a.pieces, [&](int64_t task, int) {
    const int64_t image = task / a.pieces, piece = task % a.pieces;
    const int64_t begin = a.run * piece / a.pieces, count = a.run * (piece + 1) / a.pieces - begin;
    for (int64_t i = 0; i < a.runs; ++i) {
      o.kernels->cast(a.from, a.to,
                      x + (image * a.x_image + i * a.x_step + begin) * size_of(a.from),
                      y + (image * a.y_image + i * a.y_step + begin) * size_of(a.to), count);
      if (a.zeros > 0 && piece + 1 == a.pieces)
        std::memset(y + (image * a.y_image + i * a.y_step + a.run) * size_of(a.to), 0,
                    static_cast<size_t>(a.zeros * size_of(a.to)));
    }
  });
}

constexpr auto kCode = plan_code<&run_cast>("cast");

class Cast final : public Algorithm {
 public:
  const char* name() const override { return "cast"; }
  Kinds kinds() const override { return {Kind::kMap}; }
  bool any_types() const override { return true; }
  double cost(const Problem& p, const Context& context) const override {
    const double numbers = static_cast<double>(p.n * p.x.image(context.kernels.width));
    const double bytes = numbers * static_cast<double>(size_of(p.x.dtype) + size_of(p.y.dtype));
    return parallel_cycles(2 * numbers / context.kernels.width + stream_cycles(bytes, bytes),
                           numbers / kPiece, p.threads) +
           100;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    const int width = context.kernels.width;
    CastArgs a{p.x.dtype, p.y.dtype, p.n, p.x.image(width), p.y.image(width), 0, 1, 0, 0, 0, 1};
    // The padding behind a pixel's channels stays zero. Slices are whole images in planes; of
    // channels that come last, a row of vectors for each pixel. Behind channels of bytes may be
    // anything.
    Operand own = p.x;
    own.pitch = 0;
    a.run = own.image(width);
    const bool any = is_byte(p.x.dtype) && p.x.dims.c % width != 0;
    if ((p.x.pitch || p.y.pitch || any) && p.x.layout == Layout::kNhwc) {
      a.runs = p.x.dims.h * p.x.dims.w;
      a.run /= a.runs;
      if (any) a.zeros = a.run - p.x.dims.c, a.run = p.x.dims.c;
      a.x_step = p.x.pixel(width), a.y_step = p.y.pixel(width);
    }
    if (p.threads > 1) a.pieces = ceil_div(a.run, kPiece);
    return make_plan(kCode, a, context);
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    if (p.x.dtype == p.y.dtype) return "the type stays";
    if (p.map().code != MapCode::kCopy || p.end.then.code != MapCode::kCopy || p.end.limits.any())
      return "does more than a cast";
    if (p.x.layout != p.y.layout) return "does not change the layout";
    return "";
  }
};

const Cast kCast;
const RegisterAlgorithm kRegistered(&kCast);

}  // namespace
}  // namespace linnet
