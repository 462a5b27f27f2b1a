// Where the largest or smallest numbers along an axis are; NaN is larger and smaller than all
// others.

#include <algorithm>
#include <numeric>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

constexpr int64_t kColumns = 64;  // compared side by side

struct Axis {
  int64_t size, x, y;  // numbers from one to the next
};

struct PlaceArgs {
  int64_t n, x_image, y_image;  // images, and from one to the next
  Dims out;
  int64_t padding;  // lanes of a pixel of y beside its channels
  bool smallest, last;
  Axis along, kept[2];
  int64_t top;
};

bool better(const PlaceArgs& a, float v, float best) {
  if (v != v) return a.last || best == best;
  return (a.smallest ? v < best : v > best) || (a.last && v == best);
}

// The best ones of an axis, those of equal numbers in their order.
void rank(const PlaceArgs& a, const float* from, int32_t* places, int64_t* to) {
  std::iota(places, places + a.along.size, 0);
  const auto before = [&](int32_t i, int32_t j) {
    const float v = from[i * a.along.x], w = from[j * a.along.x];
    return better(a, v, w) || (!better(a, w, v) && i < j);
  };
  if (a.top < a.along.size) std::nth_element(places, places + a.top, places + a.along.size, before);
  std::sort(places, places + a.top, before);
  for (int64_t i = 0; i < a.top; ++i) to[i * a.along.y] = places[i];
}

void clear_padding(const PlaceArgs& a, int64_t* y) {
  if (a.padding == 0) return;
  const int64_t pixels = a.out.h * a.out.w, pixel = a.y_image / pixels;
  for (int64_t k = 0; k < a.n * pixels; ++k) std::fill_n(y + k * pixel + a.out.c, a.padding, 0);
}

void run_ranks(const PlaceArgs& a, const Operands& o) {
  const auto* x = static_cast<const float*>(o.x);
  auto* y = static_cast<int64_t*>(o.y);
  const Axis &rows = a.kept[0], &columns = a.kept[1];
  o.pool.parallel_for(a.n * rows.size * columns.size, [&](int64_t task, int thread) {
    const int64_t column = task % columns.size, row = task / columns.size % rows.size;
    const int64_t image = task / columns.size / rows.size;
    rank(a, x + image * a.x_image + row * rows.x + column * columns.x,
         static_cast<int32_t*>(o.workspace) + thread * a.along.size,
         y + image * a.y_image + row * rows.y + column * columns.y);
  });
  clear_padding(a, y);
}

void run_place(const PlaceArgs& a, const Operands& o) {
  const auto* x = static_cast<const float*>(o.x);
  auto* y = static_cast<int64_t*>(o.y);
  const Axis &rows = a.kept[0], &columns = a.kept[1];
  const int64_t parts = ceil_div(columns.size, kColumns);
  o.pool.parallel_for(a.n * rows.size * parts, [&](int64_t task, int) {
    const int64_t row = task / parts % rows.size, image = task / parts / rows.size;
    const int64_t first = task % parts * kColumns;
    const int64_t count = std::min(kColumns, columns.size - first);
    const float* from = x + image * a.x_image + row * rows.x + first * columns.x;
    int64_t* to = y + image * a.y_image + row * rows.y + first * columns.y;
    float best[kColumns];
    int64_t place[kColumns];
    for (int64_t k = 0; k < count; ++k) best[k] = from[k * columns.x], place[k] = 0;
    for (int64_t i = 1; i < a.along.size; ++i) {
      for (int64_t k = 0; k < count; ++k) {
        const float v = from[i * a.along.x + k * columns.x];
        if (better(a, v, best[k])) best[k] = v, place[k] = i;
      }
    }
    for (int64_t k = 0; k < count; ++k) to[k * columns.y] = place[k];
  });
  clear_padding(a, y);
}

constexpr auto kCode = plan_code<&run_place>("place");
constexpr auto kRanksCode = plan_code<&run_ranks>("place_ranks");

class Place final : public Algorithm {
 public:
  const char* name() const override { return "place"; }
  Kinds kinds() const override { return {Kind::kReduce}; }
  bool any_types() const override { return true; }
  bool uses_kernels() const override { return false; }
  double cost(const Problem& p, const Context&) const override {
    const auto numbers = static_cast<double>(p.n * p.x.dims.count());
    const double each = p.reduce().top == 1 ? 3 : 20;
    return parallel_cycles(each * numbers + stream_cycles(4 * numbers, 4 * numbers),
                           numbers / kColumns, p.threads) +
           200;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    const int width = context.kernels.width;
    const ReduceCode code = p.reduce().code;
    PlaceArgs a{};
    a.n = p.n, a.x_image = p.x.image(width), a.y_image = p.y.image(width);
    a.out = p.y.dims;
    if (p.y.layout == Layout::kNhwc) a.padding = round_up(a.out.c, width) - a.out.c;
    a.smallest = code == ReduceCode::kFirstMin || code == ReduceCode::kLastMin;
    a.last = code == ReduceCode::kLastMax || code == ReduceCode::kLastMin;
    const Strides x(p.x, width), y(p.y, width);
    const Axis all[] = {{p.x.dims.c, x.c, y.c}, {p.x.dims.h, x.h, y.h}, {p.x.dims.w, x.w, y.w}};
    int kept = 0;
    for (int i = 0; i < 3; ++i) (p.reduce().axes[i] ? a.along : a.kept[kept++]) = all[i];
    // The kept axis whose numbers lie closest is gone through fastest.
    if (a.kept[0].x < a.kept[1].x || a.kept[1].size == 1) std::swap(a.kept[0], a.kept[1]);
    a.top = p.reduce().top;
    if (a.top == 1) return make_plan(kCode, a, context);
    return make_plan(kRanksCode, a, context,
                     static_cast<size_t>(p.threads * a.along.size) * sizeof(int32_t));
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    if (!is_place(p.reduce().code)) return "computes places only";
    if (p.x.dims.count() >= int64_t{1} << 31) return "too many numbers";
    return p.x.dtype == DType::kF32 ? "" : "compares float32 only";
  }
};

const Place kPlace;
const RegisterAlgorithm kRegistered(&kPlace);

}  // namespace
}  // namespace linnet
