// Resizing of channels-last data: the rows that an output row is made of are blended, then the
// pixels of that line. Which ones and how much of each is the same for every channel and image, so
// it is computed when the plan is prepared.

#include "algorithms/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

// Along one axis.
struct Axis {
  double in, out, scale;
  double begin, end;  // of the crop, in parts of the input

  Axis(const Problem& p, int axis)
      : in(static_cast<double>(axis ? p.x.dims.w : p.x.dims.h)),
        out(static_cast<double>(axis ? p.y.dims.w : p.y.dims.h)),
        scale(p.resize().scale[axis] > 0 ? static_cast<double>(p.resize().scale[axis]) : out / in),
        begin(p.resize().roi[axis]),
        end(p.resize().roi[2 + axis]) {}

  // Where number `o` of the output lies in the input.
  double source(Coordinates coordinates, double o) const {
    const double half_pixel = (o + 0.5) / scale - 0.5;
    switch (coordinates) {
      case Coordinates::kHalfPixel:
        return half_pixel;
      case Coordinates::kHalfPixelSymmetric:
        return in / 2 * (1 - out / (scale * in)) + half_pixel;
      case Coordinates::kPytorchHalfPixel:
        return out > 1 ? half_pixel : -0.5;
      case Coordinates::kAlignCorners:
        return out > 1 ? o * (in - 1) / (out - 1) : 0;
      case Coordinates::kAsymmetric:
        return o / scale;
      case Coordinates::kTfHalfPixelForNn:
        return (o + 0.5) / scale;
      case Coordinates::kTfCropAndResize:
        if (out > 1) return begin * (in - 1) + o * (end - begin) * (in - 1) / (out - 1);
        return (begin + end) / 2 * (in - 1);
    }
    return 0;
  }
};

// The kernel of interpolation at a distance.
double weight_at(const family::Resize& r, double distance) {
  const double d = std::abs(distance), a = static_cast<double>(r.cubic);
  if (r.code == ResizeCode::kLinear) return std::max(0.0, 1 - d);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

// Whether the nearest of two neighbours is the second, `part` of the way from the first to it.
bool nearest_is_second(Nearest nearest, double part) {
  switch (nearest) {
    case Nearest::kRoundPreferFloor:
      return part > 0.5;
    case Nearest::kRoundPreferCeil:
      return part >= 0.5;
    case Nearest::kFloor:
      return part == 1;
    case Nearest::kCeil:
      return true;
  }
  return false;
}

// The factor by which the kernel of interpolation is stretched over smaller pixels, at most 1.
double stretch(const family::Resize& r, double scale) {
  return r.antialias && r.code != ResizeCode::kNearest ? std::min(scale, 1.0) : 1;
}

// How far the kernel reaches to one side.
int64_t reach(const family::Resize& r, double stretched) {
  const double radius = r.code == ResizeCode::kCubic ? 2 : 1;
  return 1 - static_cast<int64_t>(std::floor(-radius / stretched) + 1);
}

Resampled resample(const family::Resize& r, const Axis& axis, int64_t in, double at) {
  Resampled result;
  if (r.coordinates == Coordinates::kTfCropAndResize && !(at >= 0 && at <= axis.in - 1)) {
    result.outside = true;
    return result;
  }
  // A place far outside has the border's numbers; what is converted to an integer fits one.
  at = std::clamp(at, -axis.in - 4, 2 * axis.in + 4);
  const double before = std::ceil(at) - 1, part = at - before;  // 0 < part <= 1
  const auto first = static_cast<int64_t>(before);
  const auto inside = [&](int64_t i) { return std::clamp<int64_t>(i, 0, in - 1); };
  if (r.code == ResizeCode::kNearest) {
    result.taps.push_back({inside(first + nearest_is_second(r.nearest, part)), 1});
    return result;
  }
  const double stretched = stretch(r, axis.scale);
  const int64_t side = reach(r, stretched);
  std::vector<double> weights;
  double sum = 0;
  for (int64_t i = 1 - side; i <= side; ++i) {
    const bool counts = !r.exclude_outside || inside(first + i) == first + i;
    weights.push_back(counts ? weight_at(r, stretched * (static_cast<double>(i) - part)) : 0);
    sum += weights.back();
  }
  if (!r.exclude_outside && stretched == 1) sum = 1;
  for (size_t i = 0; i < weights.size(); ++i) {
    const int64_t place = inside(first + 1 - side + static_cast<int64_t>(i));
    result.taps.push_back({place, static_cast<float>(weights[i] / sum)});
  }
  return result;
}

struct ResizeArgs {
  int64_t n;
  Dims in, out;
  int64_t channels;          // padded
  int64_t x_pixel, y_pixel;  // from one to the next
  int64_t row_taps, col_taps;
  int64_t bands;
  bool crop;      // numbers may lie outside
  float outside;  // what those become

  int64_t line() const { return in.w * x_pixel; }
};
// Of its weights: as Resampling has them, and of each row and column whether it lies outside.
enum : uint8_t { kRowPlaces, kRowWeights, kRowOutside, kColPlaces, kColWeights, kColOutside };

// Pixels of a row, all of them or those of some columns, that lie outside the crop's image.
void fill_outside(const ResizeArgs& a, const uint8_t* cols, bool row, float* y) {
  for (int64_t col = 0; col < a.out.w; ++col) {
    if (!row && !cols[col]) continue;
    float* pixel = y + col * a.y_pixel;
    std::fill(pixel, pixel + a.out.c, a.outside);
    std::fill(pixel + a.out.c, pixel + a.channels, 0.0f);
  }
}

void run_row(const ResizeArgs& a, const FloatOperands& o, const float* x, float* workspace,
             int64_t row, float* y) {
  const auto* places = static_cast<const int64_t*>(o.weights[kRowPlaces]) + row * a.row_taps;
  const float* line_of = x + places[0];
  if (a.row_taps > 1) {
    // The line is as long as a row is without the channels behind the last pixel's.
    const int64_t count = a.line() - a.x_pixel + a.channels;
    o.kernels.resample(
        {x, places, o.floats(kRowWeights) + row * a.row_taps, a.row_taps, 1, count, workspace, 0});
    line_of = workspace;
  }
  o.kernels.resample({line_of, static_cast<const int64_t*>(o.weights[kColPlaces]),
                      o.floats(kColWeights), a.col_taps, a.out.w, a.channels, y,
                      static_cast<ptrdiff_t>(a.y_pixel)});
  if (!a.crop) return;
  fill_outside(a, static_cast<const uint8_t*>(o.weights[kColOutside]),
               static_cast<const uint8_t*>(o.weights[kRowOutside])[row] != 0, y);
}

// Whether a row is made as the one before it.
bool same_row(const ResizeArgs& a, const FloatOperands& o, int64_t row) {
  const int64_t at = row * a.row_taps, taps = a.row_taps;
  const auto* places = static_cast<const int64_t*>(o.weights[kRowPlaces]);
  const auto* outside = static_cast<const uint8_t*>(o.weights[kRowOutside]);
  const float* weights = o.floats(kRowWeights);
  return outside[row] == outside[row - 1] &&
         std::equal(&places[at - taps], &places[at], &places[at]) &&
         std::equal(&weights[at - taps], &weights[at], &weights[at]);
}

void run_resize(const ResizeArgs& a, const FloatOperands& o) {
  const int64_t height = a.out.h, y_row = a.out.w * a.y_pixel;
  o.pool.parallel_for(a.n * a.bands, [&](int64_t task, int thread) {
    const int64_t image = task / a.bands, band = task % a.bands;
    const int64_t first = height * band / a.bands, last = height * (band + 1) / a.bands;
    const float* x = o.x + image * a.in.h * a.line();
    float* y = o.y + (image * height + first) * y_row;
    float* workspace = a.row_taps > 1 ? o.workspace + thread * a.line() : nullptr;
    for (int64_t row = first; row < last; ++row, y += y_row) {
      if (row > first && a.y_pixel == a.channels && same_row(a, o, row))
        std::memcpy(y, y - y_row, static_cast<size_t>(y_row) * sizeof(float));
      else
        run_row(a, o, x, workspace, row, y);
    }
  });
}

constexpr auto kCode = plan_code<&run_resize>("resize");

// Adds the tables of an axis, in whose input numbers lie `step` apart; returns its taps.
int64_t add_tables(const Problem& p, int axis, int64_t step, std::vector<PlanData>* tables) {
  const std::vector<Resampled> all = resized(p, axis);
  int64_t taps = 1;
  for (const Resampled& each : all) taps = std::max(taps, static_cast<int64_t>(each.taps.size()));
  std::vector<int64_t> places;
  std::vector<float> weights;
  std::vector<uint8_t> outside;
  for (const Resampled& each : all) {
    for (int64_t t = 0; t < taps; ++t) {
      const bool has = t < static_cast<int64_t>(each.taps.size());
      places.push_back(has ? each.taps[t].at * step : 0);
      weights.push_back(has ? each.taps[t].weight : 0);
    }
    outside.push_back(each.outside);
  }
  tables->push_back(plan_table(places));
  tables->push_back(plan_table(weights));
  tables->push_back(plan_table(outside));
  return taps;
}

class Resize final : public Algorithm {
 public:
  const char* name() const override { return "resize"; }
  Kinds kinds() const override { return {Kind::kResize}; }
  std::string objection(const Problem& p, const Context&) const override {
    if (p.x.layout != Layout::kNhwc || p.y.layout != Layout::kNhwc)
      return "works on channels-last only";
    return "";
  }
  double cost(const Problem& p, const Context& context) const override {
    const double rows = resize_taps(p, 0), cols = resize_taps(p, 1);
    const auto lines = static_cast<double>(p.n * p.y.dims.h);
    const auto vecs = static_cast<double>(ceil_div(p.x.dims.c, context.kernels.width));
    const double blended = rows > 1 ? (rows + 1) * static_cast<double>(p.x.dims.w) : 0;
    const double bytes =
        static_cast<double>(p.n) * sizeof(float) *
        static_cast<double>(p.x.image(context.kernels.width) + p.y.image(context.kernels.width));
    const double cycles = lines * vecs * (blended + (cols + 2) * static_cast<double>(p.y.dims.w)) +
                          stream_cycles(bytes, bytes);
    return parallel_cycles(cycles, lines, p.threads) + 200;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    const int width = context.kernels.width;
    ResizeArgs a{};
    a.n = p.n, a.in = p.x.dims, a.out = p.y.dims;
    a.channels = round_up(a.in.c, width);
    a.x_pixel = p.x.pixel(width), a.y_pixel = p.y.pixel(width);
    std::vector<PlanData> tables;
    a.row_taps = add_tables(p, 0, a.line(), &tables);
    a.col_taps = add_tables(p, 1, a.x_pixel, &tables);
    // Neighbouring rows are made of the same ones; several tasks for each thread, so that one slow
    // core cannot hold up the layer.
    a.bands = p.threads > 1 ? std::min(a.out.h, ceil_div(4 * p.threads, p.n)) : 1;
    a.crop = p.resize().coordinates == Coordinates::kTfCropAndResize;
    a.outside = p.resize().outside;
    const size_t workspace =
        a.row_taps > 1 ? static_cast<size_t>(p.threads * a.line()) * sizeof(float) : 0;
    return make_plan(kCode, a, context, workspace, std::move(tables));
  }
};

const Resize kResize;
const RegisterAlgorithm kRegistered(&kResize);

}  // namespace

std::vector<Resampled> resized(const Problem& p, int axis) {
  const Axis geometry(p, axis);
  const int64_t in = axis ? p.x.dims.w : p.x.dims.h, out = axis ? p.y.dims.w : p.y.dims.h;
  std::vector<Resampled> result;
  for (int64_t o = 0; o < out; ++o) {
    const double at = geometry.source(p.resize().coordinates, static_cast<double>(o));
    result.push_back(resample(p.resize(), geometry, in, at));
  }
  return result;
}

double resize_taps(const Problem& p, int axis) {
  const family::Resize& r = p.resize();
  if (r.code == ResizeCode::kNearest) return 1;
  return 2 * static_cast<double>(reach(r, stretch(r, Axis(p, axis).scale)));
}

}  // namespace linnet
