// Convolution as a matrix product: im2col, then cblas_sgemm of a linked OpenBLAS; the scheme of
// Caffe (Chellapilla et al., "High Performance Convolutional Neural Networks for Document
// Processing", 2006). A fully connected layer needs no im2col. OpenBLAS splits the product over its
// own threads, as many as the session has; ours are parked meanwhile.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"
#include "algorithms/epilogue.h"

namespace linnet {
namespace {

// Whether a convolution's matrix has to be made; that of a plain 1x1 one is the image itself.
bool has_columns(const Problem& p) {
  if (p.kind() != Kind::kConv) return false;
  const Window& w = p.conv().window;
  return w.kernel[0] != 1 || w.kernel[1] != 1 || !w.unit_stride() || w.padded();
}

enum : uint8_t { kWeights, kBias };

// Adds bias and residual to `count` results from `first` on and applies the activation; bias_step
// 0 gives all the same bias.
void finish(const Epilogue& end, const FloatOperands& o, int64_t first, int64_t count,
            int64_t channel, int bias_step) {
  static const float zero = 0;
  const float* bias = o.floats(kBias);
  if (bias) {
    bias += channel;
  } else {
    bias = &zero, bias_step = 0;
  }
  const Limits limits = end.limits;  // which no result can change
  for (int64_t i = 0; i < count; ++i) {
    float value = o.y[first + i] + bias[i * bias_step];
    if (end.residual) value += o.operand[first + i];
    o.y[first + i] = limited(value, limits);
  }
  map_results(o.kernels, end.then, o.y + first, 1, count, count);
}

struct BlasFcArgs {
  int64_t n, taps, outputs;
  int64_t x_image, y_image;  // from one to the next
  Epilogue end;
  int threads;
};

void run_fc(const BlasFcArgs& a, const FloatOperands& o) {
  const OpenBlas& blas = *o.backends.openblas.library();
  const OpenBlasLock lock(blas, a.threads);
  o.pool.park();
  const auto taps = static_cast<int>(a.taps);
  blas.cblas_sgemm(kCblasRowMajor, kCblasNoTrans, kCblasTrans, static_cast<int>(a.n),
                   static_cast<int>(a.outputs), taps, 1, o.x, static_cast<int>(a.x_image),
                   o.floats(kWeights), taps, 0, o.y, static_cast<int>(a.y_image));
  for (int64_t image = 0; image < a.n; ++image)
    finish(a.end, o, image * a.y_image, a.outputs, 0, 1);
}

struct BlasConvArgs {
  Convolution p;
  int64_t taps;  // of a group
  bool columns;  // whether a matrix has to be made
};

// Rows of the matrix are taps (channel, kernel row, kernel column), columns are output pixels.
void im2col(const Convolution& p, const FloatOperands& o, const float* x, int64_t channels) {
  const Window& w = p.window;
  const Dims& out = p.y.dims;
  const int64_t kernel = w.kernel[0] * w.kernel[1];
  o.pool.parallel_for(channels * kernel, [&](int64_t tap, int) {
    const float* plane = x + tap / kernel * p.x.dims.h * p.x.dims.w;
    const int64_t r = tap % kernel / w.kernel[1] * w.dilation[0],
                  s = tap % w.kernel[1] * w.dilation[1];
    float* column = o.workspace + tap * out.h * out.w;
    // Output columns whose input lies inside the image.
    const int64_t left = std::min(out.w, ceil_div(std::max<int64_t>(0, w.pad[1] - s), w.stride[1]));
    const int64_t reach = p.x.dims.w - 1 + w.pad[1] - s;
    const int64_t right =
        reach < 0 ? left : std::max(left, std::min(out.w, reach / w.stride[1] + 1));
    for (int64_t oh = 0; oh < out.h; ++oh, column += out.w) {
      const int64_t ih = oh * w.stride[0] - w.pad[0] + r;
      if (ih < 0 || ih >= p.x.dims.h) {
        std::memset(column, 0, static_cast<size_t>(out.w) * sizeof(float));
        continue;
      }
      const float* row = plane + ih * p.x.dims.w + s - w.pad[1];
      std::memset(column, 0, static_cast<size_t>(left) * sizeof(float));
      std::memset(column + right, 0, static_cast<size_t>(out.w - right) * sizeof(float));
      if (w.stride[1] == 1) {
        std::memcpy(column + left, row + left, static_cast<size_t>(right - left) * sizeof(float));
      } else {
        for (int64_t ow = left; ow < right; ++ow) column[ow] = row[ow * w.stride[1]];
      }
    }
  });
}

void run_conv(const BlasConvArgs& a, const FloatOperands& o) {
  const Convolution& p = a.p;
  const OpenBlas& blas = *o.backends.openblas.library();
  const int64_t x_image = p.x.image(1), y_image = p.y.image(1);
  const int64_t channels = p.x.dims.c / p.groups, outputs = p.y.dims.c / p.groups;
  const int64_t taps = a.taps, pixels = p.y.dims.h * p.y.dims.w;
  for (int64_t image = 0; image < p.n; ++image) {
    for (int64_t g = 0; g < p.groups; ++g) {
      const float* x = o.x + image * x_image + g * channels * p.x.dims.h * p.x.dims.w;
      if (a.columns) im2col(p, o, x, channels);
      const OpenBlasLock lock(blas, p.threads);
      o.pool.park();
      blas.cblas_sgemm(kCblasRowMajor, kCblasNoTrans, kCblasNoTrans, static_cast<int>(outputs),
                       static_cast<int>(pixels), static_cast<int>(taps), 1,
                       o.floats(kWeights) + g * outputs * taps, static_cast<int>(taps),
                       a.columns ? o.workspace : x, static_cast<int>(pixels), 0,
                       o.y + image * y_image + g * outputs * pixels, static_cast<int>(pixels));
    }
    o.pool.parallel_for(p.y.dims.c, [&](int64_t k, int) {
      finish(p.end, o, image * y_image + k * pixels, pixels, k, 0);
    });
  }
}

constexpr auto kFcCode = plan_code<&run_fc>("openblas_fc");
constexpr auto kConvCode = plan_code<&run_conv>("openblas_conv");

class Algorithm_ final : public Algorithm {
 public:
  const char* name() const override { return "im2col-openblas"; }
  Kinds kinds() const override { return {Kind::kConv, Kind::kMatmul}; }
  bool any_weights() const override { return true; }
  bool loads(const Context& context) const override { return !context.backends.openblas.asked(); }
  bool uses_kernels() const override { return false; }

  std::string objection(const Problem& p, const Context& context) const override {
    if (p.x.layout != Layout::kNchw || p.y.layout != Layout::kNchw) return "works on nchw only";
    if (p.end.pooled()) return "a following pool cannot be fused";
    const int64_t limit = std::numeric_limits<int>::max();
    const Dims& out = p.y.dims;
    const int64_t taps = p.kind() == Kind::kConv ? p.taps() * p.conv().groups : p.x.dims.c;
    if (p.x.extent(p.n, 1) > limit || p.y.extent(p.n, 1) > limit || taps > limit / (out.h * out.w))
      return "too large for OpenBLAS's 32-bit sizes";
    if (!context.backends.openblas.library())
      return "no OpenBLAS: " + context.backends.openblas.missing();
    return "";
  }

  double cost(const Problem& p, const Context& context) const override {
    // OpenBLAS has kernels of its own: for what this CPU can do, but for ARMv7, where it multiplies
    // in scalar registers.
    const OpenBlas* blas = context.backends.openblas.known();
    const char* core = blas ? blas->openblas_get_corename() : "";
    double peak = machine().fmas * kernels_for(nullptr).flops_per_cycle / 2;
    if (std::strncmp(core, "ARMV", 4) == 0 && sizeof(void*) == 4) peak = 1;
    if (std::strcmp(core, "Haswell") == 0 || std::strcmp(core, "Zen") == 0)
      peak = std::min(peak, 16.0);
    if (blas && !blas->warning.empty()) peak = 4;  // those of a very old CPU
    const Dims& out = p.y.dims;
    const bool fc = p.kind() == Kind::kMatmul;
    const int64_t groups = fc ? 1 : p.conv().groups;
    const double products = fc ? 1 : static_cast<double>(p.n * groups);
    const double m = static_cast<double>(fc ? p.n : out.c / groups),
                 n = static_cast<double>(fc ? out.c : out.h * out.w);
    const auto k = static_cast<double>(p.taps());
    // Both operands are packed first; a narrow one leaves vectors and cache blocks half empty.
    const double rate = 0.62 * peak * (m > 1 ? m / (m + 4) : 0.5) * n / (n + 8) * k / (k + 16);
    const double weights = 4 * (fc ? k * n : m * k), image = 4 * (fc ? m * k : k * n);
    double product = m * n * k / rate + weight_cycles(weights, products, image, 1) / products +
                     stream_cycles(image, image);
    if (m > 1) product += 0.5 * (m * k + k * n);
    double other = m * n * 0.5 + stream_cycles(8 * m * n, 4 * m * n);  // bias, activation
    if (has_columns(p)) {
      other += k * n * (p.conv().window.stride[1] == 1 ? 0.5 : 1.2) +
               stream_cycles(8 * k * n, 4 * k * n);
    }
    if (p.threads == 1) return products * (product + other + 1500);
    // Its threads are woken for each product and ours put to sleep, and a static split waits for
    // the slowest share.
    return products * (1.6 * product / p.threads + other / p.threads + 40000);
  }

  double memory(const Problem& p, const Context&) const override {
    const auto taps = static_cast<double>(p.taps());
    double floats = 0;  // weights that OpenBLAS needs as float32
    if (p.weights() != DType::kF32) floats = static_cast<double>(p.y.dims.c) * taps;
    if (p.kind() == Kind::kConv) floats += taps * static_cast<double>(p.y.dims.h * p.y.dims.w);
    return floats * sizeof(float);
  }

  Plan prepare(const Problem& p, const Weight* weight, const Weight* bias,
               const Context& context) const override {
    std::vector<PlanData> weights = {context.weights.get_floats(weight),
                                     context.weights.get_floats(bias)};
    if (p.kind() == Kind::kMatmul) {
      const BlasFcArgs a{p.n, p.taps(), p.y.dims.c, p.x.image(1), p.y.image(1), p.end, p.threads};
      return make_plan(kFcCode, a, context, 0, std::move(weights));
    }
    const BlasConvArgs a{Convolution(p), p.taps(), has_columns(p)};
    const size_t workspace = a.columns ? float_bytes(a.taps * p.y.dims.h * p.y.dims.w) : 0;
    return make_plan(kConvCode, a, context, workspace, std::move(weights));
  }
};

const Algorithm_ kIm2colOpenBlas;
const RegisterAlgorithm kRegistered(&kIm2colOpenBlas);

}  // namespace
}  // namespace linnet
