// Convolution as a matrix product: im2col, then cblas_sgemm of a linked OpenBLAS; the scheme of
// Caffe (Chellapilla et al., "High Performance Convolutional Neural Networks for Document
// Processing", 2006). A fully connected layer needs no im2col. OpenBLAS splits the product over its
// own threads, as many as the session has; ours are parked meanwhile.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

class Im2colOpenBlas final : public Plan {
 public:
  Im2colOpenBlas(const Problem& problem, const Weight& weight, const Weight* bias,
                 const Context& context)
      : p_(problem),
        weight_(weight),
        bias_(bias ? *bias : Weight()),
        blas_(*context.backends.openblas.library()),
        out_(problem.out()) {
    if (weight.type != DType::kF32) {
      floats_ = context.weights.get(&weight, "floats", weight.count(), [&](float* out) {
        const Weight floats = weight.as(DType::kF32);
        std::copy_n(floats.data, floats.count(), out);
      });
      weight_.data = floats_->floats();
    }
    const Window& w = p_.window;
    // A 1x1 convolution's matrix is the image itself.
    if (p_.kind == Kind::kConv) {
      columns_ = w.kernel[0] != 1 || w.kernel[1] != 1 || w.stride[0] != 1 || w.stride[1] != 1 ||
                 w.pad[0] || w.pad[1] || w.pad[2] || w.pad[3];
    }
  }

  size_t workspace() const override {
    if (!columns_) return 0;
    return float_bytes(p_.in.c / p_.groups * p_.window.kernel[0] * p_.window.kernel[1] * out_.h *
                       out_.w);
  }

  void run(const Operands& o) const override {
    if (p_.kind == Kind::kFullyConnected) {
      const OpenBlasLock lock(blas_, p_.threads);
      o.pool.park();
      const auto taps = static_cast<int>(p_.in.count());
      blas_.cblas_sgemm(kCblasRowMajor, kCblasNoTrans, kCblasTrans, static_cast<int>(p_.n),
                        static_cast<int>(p_.k), taps, 1, o.x, taps, weight_.data, taps, 0, o.y,
                        static_cast<int>(p_.k));
      for (int64_t image = 0; image < p_.n; ++image) finish(o, image * p_.k, p_.k, bias_.data, 1);
      return;
    }
    const int64_t channels = p_.in.c / p_.groups, outputs = p_.k / p_.groups;
    const int64_t taps = channels * p_.window.kernel[0] * p_.window.kernel[1];
    const int64_t pixels = out_.h * out_.w;
    for (int64_t image = 0; image < p_.n; ++image) {
      for (int64_t g = 0; g < p_.groups; ++g) {
        const float* x = o.x + (image * p_.in.c + g * channels) * p_.in.h * p_.in.w;
        if (columns_) im2col(x, channels, o);
        const OpenBlasLock lock(blas_, p_.threads);
        o.pool.park();
        blas_.cblas_sgemm(kCblasRowMajor, kCblasNoTrans, kCblasNoTrans, static_cast<int>(outputs),
                          static_cast<int>(pixels), static_cast<int>(taps), 1,
                          weight_.data + g * outputs * taps, static_cast<int>(taps),
                          columns_ ? o.workspace : x, static_cast<int>(pixels), 0,
                          o.y + (image * p_.k + g * outputs) * pixels, static_cast<int>(pixels));
      }
      o.pool.parallel_for(p_.k, [&](int64_t k, int) {
        finish(o, (image * p_.k + k) * pixels, pixels, bias_.data + k, 0);
      });
    }
  }

 private:
  // Rows of the matrix are taps (channel, kernel row, kernel column), columns are output pixels.
  void im2col(const float* x, int64_t channels, const Operands& o) const {
    const Window& w = p_.window;
    const int64_t kernel = w.kernel[0] * w.kernel[1];
    o.pool.parallel_for(channels * kernel, [&](int64_t tap, int) {
      const float* plane = x + tap / kernel * p_.in.h * p_.in.w;
      const int64_t r = tap % kernel / w.kernel[1] * w.dilation[0],
                    s = tap % w.kernel[1] * w.dilation[1];
      float* column = o.workspace + tap * out_.h * out_.w;
      // Output columns whose input lies inside the image.
      const int64_t left =
          std::min(out_.w, ceil_div(std::max<int64_t>(0, w.pad[1] - s), w.stride[1]));
      const int64_t reach = p_.in.w - 1 + w.pad[1] - s;
      const int64_t right =
          reach < 0 ? left : std::max(left, std::min(out_.w, reach / w.stride[1] + 1));
      for (int64_t oh = 0; oh < out_.h; ++oh, column += out_.w) {
        const int64_t ih = oh * w.stride[0] - w.pad[0] + r;
        if (ih < 0 || ih >= p_.in.h) {
          std::memset(column, 0, static_cast<size_t>(out_.w) * sizeof(float));
          continue;
        }
        const float* row = plane + ih * p_.in.w + s - w.pad[1];
        std::memset(column, 0, static_cast<size_t>(left) * sizeof(float));
        std::memset(column + right, 0, static_cast<size_t>(out_.w - right) * sizeof(float));
        if (w.stride[1] == 1) {
          std::memcpy(column + left, row + left, static_cast<size_t>(right - left) * sizeof(float));
        } else {
          for (int64_t ow = left; ow < right; ++ow) column[ow] = row[ow * w.stride[1]];
        }
      }
    });
  }

  // Adds bias and residual to `count` results from `first` on and applies the activation; bias_step
  // 0 gives all the same bias.
  void finish(const Operands& o, int64_t first, int64_t count, const float* bias,
              int bias_step) const {
    static const float zero = 0;
    if (!bias_.data) bias = &zero, bias_step = 0;
    for (int64_t i = 0; i < count; ++i) {
      float value = o.y[first + i] + bias[i * bias_step];
      if (p_.residual) value += o.operand[first + i];
      o.y[first + i] = p_.relu ? std::max(value, 0.0f) : value;
    }
  }

  const Problem p_;
  Weight weight_;  // of float32, here or in floats_
  const Weight bias_;
  WeightStore::Buffer floats_;
  const OpenBlas blas_;
  const Dims out_;
  bool columns_ = false;
};

class Algorithm_ final : public Algorithm {
 public:
  const char* name() const override { return "im2col-openblas"; }
  bool uses_kernels() const override { return false; }

  std::string refuse(const Problem& p, const Context& context) const override {
    if (p.kind != Kind::kConv && p.kind != Kind::kFullyConnected)
      return "not a convolution or fully connected layer";
    if (!context.backends.openblas.library())
      return "no OpenBLAS: " + context.backends.openblas.missing();
    if (p.in_layout != Layout::kNchw || p.out_layout != Layout::kNchw) return "works on nchw only";
    if (p.pooled()) return "a following pool cannot be fused";
    const int64_t limit = std::numeric_limits<int>::max();
    const Dims out = p.out();
    if (p.n * p.in.count() > limit || p.n * p.k * out.h * out.w > limit ||
        p.in.c * p.window.kernel[0] * p.window.kernel[1] >
            limit / std::max<int64_t>(1, out.h * out.w)) {
      return "too large for OpenBLAS's 32-bit sizes";
    }
    return "";
  }

  double cost(const Problem& p, const Context& context) const override {
    // OpenBLAS has kernels of its own: for what this CPU can do, but for ARMv7, where it multiplies
    // in scalar registers.
    const OpenBlas* blas = context.backends.openblas.library();
    const char* core = blas ? blas->openblas_get_corename() : "";
    double peak = kernels_for(nullptr).flops_per_cycle / 2;
    if (std::strncmp(core, "ARMV", 4) == 0 && sizeof(void*) == 4) peak = 1;
    if (std::strcmp(core, "Haswell") == 0 || std::strcmp(core, "Zen") == 0)
      peak = std::min(peak, 16.0);
    if (blas && !blas->warning.empty()) peak = 4;  // those of a very old CPU
    const Window& w = p.window;
    const Dims out = p.out();
    const bool fc = p.kind == Kind::kFullyConnected;
    const double products = fc ? 1 : static_cast<double>(p.n * p.groups);
    const double m = static_cast<double>(fc ? p.n : p.k / p.groups),
                 n = static_cast<double>(fc ? p.k : out.h * out.w);
    const double k =
        static_cast<double>(fc ? p.in.count() : p.in.c / p.groups * w.kernel[0] * w.kernel[1]);
    // Both operands are packed first; a narrow one leaves vectors and cache blocks half empty.
    const double rate = 0.62 * peak * (m > 1 ? m / (m + 4) : 0.5) * n / (n + 8) * k / (k + 16);
    const double weights = 4 * (fc ? k * n : m * k), image = 4 * (fc ? m * k : k * n);
    double product = m * n * k / rate + weight_cycles(weights, products, image, 1) / products +
                     stream_cycles(image, image);
    if (m > 1) product += 0.5 * (m * k + k * n);
    double other = m * n * 0.5 + stream_cycles(8 * m * n, 4 * m * n);  // bias, activation
    const bool columns = !fc && (w.kernel[0] != 1 || w.kernel[1] != 1 || w.stride[0] != 1 ||
                                 w.stride[1] != 1 || w.pad[0] || w.pad[1] || w.pad[2] || w.pad[3]);
    if (columns)
      other += k * n * (w.stride[1] == 1 ? 0.5 : 1.2) + stream_cycles(8 * k * n, 4 * k * n);
    if (p.threads == 1) return products * (product + other + 1500);
    // Its threads are woken for each product and ours put to sleep, and a static split waits for
    // the slowest share.
    return products * (1.6 * product / p.threads + other / p.threads + 40000);
  }

  double memory(const Problem& p, const Context&) const override {
    double floats = 0;  // weights that OpenBLAS needs as float32
    if (p.weights != DType::kF32)
      floats = static_cast<double>(p.k) *
               static_cast<double>(p.kind == Kind::kConv ? p.in.c : p.in.count()) * sizeof(float);
    if (p.kind != Kind::kConv) return floats;
    const Dims out = p.out();
    return floats + static_cast<double>(p.in.c / p.groups * p.window.kernel[0] *
                                        p.window.kernel[1] * out.h * out.w) *
                        sizeof(float);
  }

  std::unique_ptr<Plan> prepare(const Problem& p, const Weight* weight, const Weight* bias,
                                const Context& context) const override {
    return std::make_unique<Im2colOpenBlas>(p, *weight, bias, context);
  }
};

const Algorithm_ kIm2colOpenBlas;
const RegisterAlgorithm kRegistered(&kIm2colOpenBlas);

}  // namespace
}  // namespace linnet
