// Plain loops for every kind of problem in every layout: what the other algorithms are checked
// against in C++, and what runs where they all refuse. Sums are taken in double.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"
#include "algorithms/epilogue.h"
#include "algorithms/resize.h"

namespace linnet {
namespace {

// Of a problem whose family has `Params`.
template <typename Params>
struct RefArgs {
  Params params;
  int64_t n;
  Dims in, out, other;  // other: of z, where it may broadcast
  Strides x, y, z;
  int64_t x_image, z_image;  // from one to the next
  int64_t first, channels;   // written: all but of a move to a part of the output
  int64_t lanes;             // of a pixel of y, or of its channels where they are planes
  Epilogue end;
};
// What a move has in place of family::Move; its weights are the atoms.
struct RefMove {
  int64_t atoms;
};
// Weights of the others.
enum : uint8_t { kWeights, kBias };
enum : uint8_t { kRows, kRowTaps, kCols, kColTaps };

// Taps of a row or column of a resize, and where they begin.
struct TapRange {
  int64_t first, count;
  bool outside;
};

// A place in the output of an image, where the images lie, and what else the code is given.
struct Place {
  const float *x, *operand;
  int64_t c, h, w;
  const FloatOperands& o;
};

template <typename Params>
float finish(const RefArgs<Params>& a, const Place& at, double sum) {
  if (const float* bias = at.o.floats(kBias)) sum += bias[at.c];
  if (a.end.residual) sum += at.operand[at.c * a.y.c + at.h * a.y.h + at.w * a.y.w];
  return static_cast<float>(limited(sum, a.end.limits));
}

template <typename Params>
float then(const RefArgs<Params>& a, float result) {
  return static_cast<float>(mapped(a.end.then, result, 0));
}

double conv(const RefArgs<family::Conv>& a, const Place& at, int64_t oh, int64_t ow) {
  const Window& w = a.params.window;
  const int64_t channels = a.in.c / a.params.groups, rows = w.kernel[0], cols = w.kernel[1];
  const int64_t first = at.c / (a.out.c / a.params.groups) * channels;
  const int64_t top = oh * w.stride[0] - w.pad[0], left = ow * w.stride[1] - w.pad[1];
  const int64_t width = a.in.w, step = a.x.w, dilation = w.dilation[1];
  const float* weight = at.o.floats(kWeights) + at.c * channels * rows * cols;
  double sum = 0;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t r = 0; r < rows; ++r, weight += cols) {
      const int64_t ih = top + r * w.dilation[0];
      if (ih < 0 || ih >= a.in.h) continue;
      const float* x = at.x + (first + c) * a.x.c + ih * a.x.h;
      for (int64_t s = 0; s < cols; ++s) {
        const int64_t iw = left + s * dilation;
        if (iw >= 0 && iw < width) sum += static_cast<double>(x[iw * step]) * weight[s];
      }
    }
  }
  return sum;
}

float element(const RefArgs<family::Conv>& a, const Place& at) {
  const int64_t* pool = a.end.pool;
  float most = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < pool[0]; ++i) {
    for (int64_t j = 0; j < pool[1]; ++j)
      most = larger(most, finish(a, at, conv(a, at, at.h * pool[0] + i, at.w * pool[1] + j)));
  }
  return then(a, most);
}

float element(const RefArgs<family::Matmul>& a, const Place& at) {
  const float* weight = at.o.floats(kWeights) + at.c * a.in.count();
  double sum = 0;
  for (int64_t c = 0; c < a.in.c; ++c) {
    for (int64_t h = 0; h < a.in.h; ++h) {
      for (int64_t w = 0; w < a.in.w; ++w)
        sum += static_cast<double>(at.x[c * a.x.c + h * a.x.h + w * a.x.w]) * *weight++;
    }
  }
  return then(a, finish(a, at, sum));
}

float element(const RefArgs<family::Pool>& a, const Place& at) {
  const Window& w = a.params.window;
  const float* x = at.x + at.c * a.x.c;
  const int64_t top = at.h * w.stride[0] - w.pad[0], left = at.w * w.stride[1] - w.pad[1];
  float most = -std::numeric_limits<float>::infinity();
  double sum = 0;
  int64_t inside = 0;
  // Only the taps inside the image: a window may be any larger than it.
  const auto first = [](int64_t start, int64_t step) {
    return start < 0 ? ceil_div(-start, step) : 0;
  };
  for (int64_t r = first(top, w.dilation[0]); r < w.kernel[0]; ++r) {
    const int64_t ih = top + r * w.dilation[0];
    if (ih >= a.in.h) break;
    for (int64_t s = first(left, w.dilation[1]); s < w.kernel[1]; ++s) {
      const int64_t iw = left + s * w.dilation[1];
      if (iw >= a.in.w) break;
      const float value = x[ih * a.x.h + iw * a.x.w];
      most = larger(most, value);
      sum += value;
      ++inside;
    }
  }
  if (a.params.code == PoolCode::kMax) return most;
  if (w.include_pad) {
    // Caffe and ONNX clip the window at the padded image's edge.
    inside = (std::min(top + w.kernel[0], a.in.h + w.pad[2]) - top) *
             (std::min(left + w.kernel[1], a.in.w + w.pad[3]) - left);
  }
  return static_cast<float>(sum / static_cast<double>(inside));
}

float element(const RefArgs<family::Map>& a, const Place& at) {
  const Dims& b = a.other;
  const float x = at.x[at.c * a.x.c + at.h * a.x.h + at.w * a.x.w];
  const int64_t z = (b.c > 1) * at.c * a.z.c + (b.h > 1) * at.h * a.z.h + (b.w > 1) * at.w * a.z.w;
  const bool binary = info(a.params.code).inputs == 2;
  const double value = mapped(a.params, x, binary ? at.operand[z] : 0);
  return static_cast<float>(limited(value, a.end.limits));
}

float element(const RefArgs<RefMove>& a, const Place& at) {
  if (a.params.atoms == 0) return at.x[at.c * a.x.c + at.h * a.x.h + at.w * a.x.w];
  const auto* atoms = static_cast<const Atom*>(at.o.weights[0]);
  int64_t number = (at.c * a.in.h + at.h) * a.in.w + at.w, place = 0;
  for (int64_t i = a.params.atoms; i-- > 0; number /= atoms[i].count)
    place += number % atoms[i].count * atoms[i].stride;
  return at.x[place];
}

float element(const RefArgs<family::Resize>& a, const Place& at) {
  const TapRange row = static_cast<const TapRange*>(at.o.weights[kRows])[at.h],
                 col = static_cast<const TapRange*>(at.o.weights[kCols])[at.w];
  if (row.outside || col.outside) return a.params.outside;
  const Tap* rows = static_cast<const Tap*>(at.o.weights[kRowTaps]) + row.first;
  const Tap* cols = static_cast<const Tap*>(at.o.weights[kColTaps]) + col.first;
  const float* x = at.x + at.c * a.x.c;
  double sum = 0;
  for (int64_t i = 0; i < row.count; ++i) {
    for (int64_t j = 0; j < col.count; ++j)
      sum += static_cast<double>(x[rows[i].at * a.x.h + cols[j].at * a.x.w]) * rows[i].weight *
             cols[j].weight;
  }
  return static_cast<float>(sum);
}

float element(const RefArgs<family::Reduce>& a, const Place& at) {
  const family::Reduce& r = a.params;
  const Dims span{r.axes[0] ? a.in.c : 1, r.axes[1] ? a.in.h : 1, r.axes[2] ? a.in.w : 1};
  double sum = 0, product = 1;
  float most = -std::numeric_limits<float>::infinity(), least = -most;
  for (int64_t i = 0; i < span.c; ++i) {
    for (int64_t j = 0; j < span.h; ++j) {
      for (int64_t k = 0; k < span.w; ++k) {
        const float value = at.x[(at.c + i) * a.x.c + (at.h + j) * a.x.h + (at.w + k) * a.x.w];
        const double real = value;
        most = larger(most, value), least = -larger(-least, -value), product *= real;
        sum += r.code == ReduceCode::kSumOfMagnitudes ? std::abs(real)
               : r.code == ReduceCode::kSumOfSquares  ? real * real
                                                      : real;
      }
    }
  }
  switch (r.code) {
    case ReduceCode::kMax:
      return most;
    case ReduceCode::kMin:
      return least;
    case ReduceCode::kProduct:
      return static_cast<float>(product);
    case ReduceCode::kMean:
      return static_cast<float>(sum / static_cast<double>(span.count()));
    case ReduceCode::kSum:
    case ReduceCode::kSumOfMagnitudes:
    case ReduceCode::kSumOfSquares:
      return static_cast<float>(sum);
    case ReduceCode::kFirstMax:
    case ReduceCode::kFirstMin:
    case ReduceCode::kLastMax:
    case ReduceCode::kLastMin:
      break;  // int64, which is refused
  }
  return 0;
}

template <typename Params>
void zero_padding(const RefArgs<Params>& a, float* y, int64_t h) {
  if (a.first + a.channels < a.out.c) return;
  for (int64_t w = 0; w < a.out.w; ++w) {
    for (int64_t c = a.out.c; c < a.lanes; ++c) y[h * a.y.h + w * a.y.w + c] = 0;
  }
}

// Each task writes one output row of one image.
template <typename Params>
void run_ref(const RefArgs<Params>& a, const FloatOperands& o) {
  o.pool.parallel_for(a.n * a.out.h, [&](int64_t task, int) {
    const int64_t image = task / a.out.h, h = task % a.out.h;
    float* y = o.y + image * a.y.n;
    Place at{o.x + image * a.x_image, o.operand + image * a.z_image, 0, h, 0, o};
    for (at.c = 0; at.c < a.channels; ++at.c) {
      for (at.w = 0; at.w < a.out.w; ++at.w)
        y[(a.first + at.c) * a.y.c + h * a.y.h + at.w * a.y.w] = element(a, at);
    }
    zero_padding(a, y, h);
  });
}

void softmax(std::vector<double>& row) {
  const double most = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (double& value : row) value = std::exp(value - most), sum += value;
  for (double& value : row) value /= sum;
}

void lrn(const family::Normalize& n, std::vector<double>& row) {
  const auto count = static_cast<int64_t>(row.size());
  const int64_t before = (n.size - 1) / 2;
  const std::vector<double> x = row;
  for (int64_t i = 0; i < count; ++i) {
    double sum = 0;
    for (int64_t j = std::max<int64_t>(i - before, 0); j < std::min(i - before + n.size, count);
         ++j)
      sum += x[j] * x[j];
    row[i] *= std::pow(n.c + n.a / static_cast<double>(n.size) * sum, -n.b);
  }
}

// Each row along the axis on its own.
void normalize(const RefArgs<family::Normalize>& a, const float* x, float* y) {
  const int64_t sizes[3] = {a.in.c, a.in.h, a.in.w};
  const int64_t xs[3] = {a.x.c, a.x.h, a.x.w}, ys[3] = {a.y.c, a.y.h, a.y.w};
  const int axis = a.params.axis - 1, i_axis = (axis + 1) % 3, j_axis = (axis + 2) % 3;
  std::vector<double> row(static_cast<size_t>(sizes[axis]));
  for (int64_t i = 0; i < sizes[i_axis]; ++i) {
    for (int64_t j = 0; j < sizes[j_axis]; ++j) {
      const float* from = x + i * xs[i_axis] + j * xs[j_axis];
      float* to = y + i * ys[i_axis] + j * ys[j_axis];
      for (double& value : row) value = *from, from += xs[axis];
      switch (a.params.code) {
        case NormalizeCode::kSoftmax:
          softmax(row);
          break;
        case NormalizeCode::kLrn:
          lrn(a.params, row);
          break;
      }
      for (const double value : row) *to = static_cast<float>(value), to += ys[axis];
    }
  }
}

// A normalisation needs a whole image.
void run_normalize_ref(const RefArgs<family::Normalize>& a, const FloatOperands& o) {
  o.pool.parallel_for(a.n, [&](int64_t image, int) {
    float* y = o.y + image * a.y.n;
    normalize(a, o.x + image * a.x_image, y);
    for (int64_t h = 0; h < a.out.h; ++h) zero_padding(a, y, h);
  });
}

template <typename Params>
RefArgs<Params> args_of(const Problem& p, const Params& params, int width) {
  const Strides x(p.x, width), y(p.y, width), z(p.z, width);
  const bool constant = p.kind() == Kind::kMap && p.map().z_constant;
  const int64_t z_image = p.binary() && !constant ? z.n : 0;
  const int64_t lanes = p.y.layout == Layout::kNhwc ? round_up(p.y.dims.c, width) : p.y.dims.c;
  return {params, p.n, p.x.dims, p.y.dims, p.z.dims,   x,     y,
          z,      x.n, z_image,  0,        p.y.dims.c, lanes, p.end};
}

constexpr auto kConv = plan_code<&run_ref<family::Conv>>("ref_conv");
constexpr auto kMatmul = plan_code<&run_ref<family::Matmul>>("ref_matmul");
constexpr auto kPool = plan_code<&run_ref<family::Pool>>("ref_pool");
constexpr auto kMap = plan_code<&run_ref<family::Map>>("ref_map");
constexpr auto kNormalize = plan_code<&run_normalize_ref>("ref_normalize");
constexpr auto kMove = plan_code<&run_ref<RefMove>>("ref_move");
constexpr auto kResize = plan_code<&run_ref<family::Resize>>("ref_resize");
constexpr auto kReduce = plan_code<&run_ref<family::Reduce>>("ref_reduce");

Plan prepare_move(const Problem& p, const Context& context) {
  const family::Move& move = p.move();
  auto a = args_of(p, RefMove{static_cast<int64_t>(move.atoms.size())}, context.kernels.width);
  a.first = move.first, a.channels = p.x.dims.c;
  if (!move.atoms.empty()) a.x_image = move.image;
  return make_plan(kMove, a, context, 0, {plan_table(move.atoms)});
}

Plan prepare_resize(const Problem& p, const Context& context) {
  std::vector<PlanData> tables;
  for (int axis = 0; axis < 2; ++axis) {
    std::vector<TapRange> ranges;
    std::vector<Tap> taps;
    for (const Resampled& each : resized(p, axis)) {
      ranges.push_back({static_cast<int64_t>(taps.size()), static_cast<int64_t>(each.taps.size()),
                        each.outside});
      taps.insert(taps.end(), each.taps.begin(), each.taps.end());
    }
    tables.push_back(plan_table(ranges));
    tables.push_back(plan_table(taps));
  }
  return make_plan(kResize, args_of(p, p.resize(), context.kernels.width), context, 0,
                   std::move(tables));
}

class Algorithm_ final : public Algorithm {
 public:
  const char* name() const override { return "direct-ref"; }
  // The others have one plain algorithm anyway.
  Kinds kinds() const override {
    return {Kind::kConv,      Kind::kMatmul, Kind::kPool,   Kind::kMap,
            Kind::kNormalize, Kind::kMove,   Kind::kResize, Kind::kReduce};
  }
  bool any_weights() const override { return true; }
  std::string objection(const Problem&, const Context&) const override { return ""; }
  bool uses_kernels() const override { return false; }
  double cost(const Problem& p, const Context&) const override {
    const double elements = static_cast<double>(p.n) * std::max(p.x.dims.count(), p.y.dims.count());
    double window = 1;
    if (p.kind() == Kind::kPool) {
      const int64_t* kernel = p.pool().window.kernel;
      window = static_cast<double>(kernel[0]) * static_cast<double>(kernel[1]);
    }
    if (p.kind() == Kind::kResize) window = resize_taps(p, 0) * resize_taps(p, 1);
    double per_element = p.kind() == Kind::kNormalize ? 60 : 8;
    if (p.kind() == Kind::kMap) per_element += 2 * info(p.map().code).cycles;
    const double cycles = 10 * p.macs() + per_element * elements * window;
    return parallel_cycles(cycles, elements, p.threads) + 1000;
  }
  Plan prepare(const Problem& p, const Weight* weight, const Weight* bias,
               const Context& context) const override {
    const int width = context.kernels.width;
    const auto weights = [&]() -> std::vector<PlanData> {
      return {context.weights.get_floats(weight), context.weights.get_floats(bias)};
    };
    switch (p.kind()) {
      case Kind::kConv:
        return make_plan(kConv, args_of(p, p.conv(), width), context, 0, weights());
      case Kind::kMatmul: {
        const auto& matmul = std::get<family::Matmul>(p.params);
        return make_plan(kMatmul, args_of(p, matmul, width), context, 0, weights());
      }
      case Kind::kPool:
        return make_plan(kPool, args_of(p, p.pool(), width), context);
      case Kind::kMap:
        return make_plan(kMap, args_of(p, p.map(), width), context);
      case Kind::kNormalize:
        return make_plan(kNormalize, args_of(p, p.normalize(), width), context);
      case Kind::kMove:
        return prepare_move(p, context);
      case Kind::kResize:
        return prepare_resize(p, context);
      case Kind::kReduce:
        return make_plan(kReduce, args_of(p, p.reduce(), width), context);
      case Kind::kGather:
      case Kind::kDetect:
      case Kind::kRegions:
      case Kind::kProduct:
      case Kind::kSample:
        break;
    }
    throw std::logic_error("a problem of no kind");
  }
};

const Algorithm_ kDirectRef;
const RegisterAlgorithm kRegistered(&kDirectRef);

}  // namespace
}  // namespace linnet
