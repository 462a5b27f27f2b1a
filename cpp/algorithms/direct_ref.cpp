// Plain loops for every kind of problem in every layout: what the other algorithms are checked
// against in C++, and what runs where they all refuse. Sums are taken in double.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"
#include "algorithms/epilogue.h"
#include "algorithms/resize.h"

namespace linnet {
namespace {

class DirectRef final : public PlanObject {
 public:
  DirectRef(const Problem& problem, const Weight* weight, const Weight* bias,
            const Context& context)
      : p_(problem),
        weight_(context.weights.get_floats(weight)),
        bias_(context.weights.get_floats(bias)),
        out_(p_.y.dims),
        first_(p_.kind() == Kind::kMove ? p_.move().first : 0),
        channels_(p_.kind() == Kind::kMove ? p_.x.dims.c : out_.c),
        x_(p_.x, context.kernels.width),
        y_(p_.y, context.kernels.width),
        z_(p_.z, context.kernels.width),
        padded_c_(p_.y.layout == Layout::kNhwc ? round_up(out_.c, context.kernels.width) : out_.c) {
    if (p_.kind() == Kind::kResize) {
      rows_ = resized(p_, 0);
      cols_ = resized(p_, 1);
    }
  }

  void run(const Operands& operands) const override {
    const FloatOperands o(operands);
    // A normalisation needs a whole image; all other kinds write one output row of one image per
    // task.
    const bool whole = p_.kind() == Kind::kNormalize;
    const bool constant = p_.kind() == Kind::kMap && p_.map().z_constant;
    o.pool.parallel_for(p_.n * (whole ? 1 : out_.h), [&](int64_t task, int) {
      const int64_t image = whole ? task : task / out_.h;
      const float* x = o.x + image * (strided() ? p_.move().image : x_.n);
      float* y = o.y + image * y_.n;
      const float* operand = o.operand && !constant ? o.operand + image * z_.n : o.operand;
      if (whole) {
        normalize(x, y);
        for (int64_t h = 0; h < out_.h; ++h) zero_padding(y, h);
      } else {
        row(x, operand, y, task % out_.h);
        zero_padding(y, task % out_.h);
      }
    });
  }

 private:
  void zero_padding(float* y, int64_t h) const {
    if (first_ + channels_ < out_.c) return;
    for (int64_t w = 0; w < out_.w; ++w) {
      for (int64_t c = out_.c; c < padded_c_; ++c) y[h * y_.h + w * y_.w + c] = 0;
    }
  }

  void row(const float* x, const float* operand, float* y, int64_t h) const {
    for (int64_t c = 0; c < channels_; ++c) {
      for (int64_t w = 0; w < out_.w; ++w)
        y[(first_ + c) * y_.c + h * y_.h + w * y_.w] = element(x, operand, c, h, w);
    }
  }

  float element(const float* x, const float* operand, int64_t c, int64_t h, int64_t w) const {
    const int64_t at = c * x_.c + h * x_.h + w * x_.w;
    switch (p_.kind()) {
      case Kind::kConv: {
        float most = -std::numeric_limits<float>::infinity();
        for (int64_t i = 0; i < p_.end.pool[0]; ++i) {
          for (int64_t j = 0; j < p_.end.pool[1]; ++j) {
            most = larger(most, finish(conv(x, c, h * p_.end.pool[0] + i, w * p_.end.pool[1] + j),
                                       operand, c, h, w));
          }
        }
        return then(most);
      }
      case Kind::kMatmul:
        return then(finish(fully_connected(x, c), operand, c, h, w));
      case Kind::kPool:
        return pool(x + c * x_.c, h, w);
      case Kind::kMap: {
        const Dims& b = p_.z.dims;
        const int64_t other = (b.c > 1) * c * z_.c + (b.h > 1) * h * z_.h + (b.w > 1) * w * z_.w;
        const double value = mapped(p_.map(), x[at], p_.binary() ? operand[other] : 0);
        return static_cast<float>(limited(value, p_.end.limits));
      }
      case Kind::kMove:
        if (strided()) return x[place((c * p_.x.dims.h + h) * p_.x.dims.w + w)];
        break;
      case Kind::kResize:
        return resize(x + c * x_.c, h, w);
      case Kind::kReduce:
        return reduce(x, c, h, w);
      case Kind::kNormalize:  // has its own loop
        break;
    }
    return x[at];
  }

  bool strided() const { return p_.kind() == Kind::kMove && !p_.move().atoms.empty(); }
  // Where number `i` of a move's input lies.
  int64_t place(int64_t i) const {
    int64_t at = 0;
    const std::vector<Atom>& atoms = p_.move().atoms;
    for (auto atom = atoms.rbegin(); atom != atoms.rend(); i /= atom->count, ++atom)
      at += i % atom->count * atom->stride;
    return at;
  }

  float finish(double sum, const float* residual, int64_t c, int64_t h, int64_t w) const {
    if (bias_.data()) sum += bias_.data()[c];
    if (p_.end.residual) sum += residual[c * y_.c + h * y_.h + w * y_.w];
    return static_cast<float>(limited(sum, p_.end.limits));
  }

  float then(float result) const { return static_cast<float>(mapped(p_.end.then, result, 0)); }

  double conv(const float* x, int64_t k, int64_t oh, int64_t ow) const {
    const Window& w = p_.conv().window;
    const int64_t channels = p_.x.dims.c / p_.conv().groups;
    const int64_t first = k / (p_.y.dims.c / p_.conv().groups) * channels;
    const float* weight = weight_.data() + k * channels * w.kernel[0] * w.kernel[1];
    double sum = 0;
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t r = 0; r < w.kernel[0]; ++r) {
        const int64_t ih = oh * w.stride[0] - w.pad[0] + r * w.dilation[0];
        for (int64_t s = 0; s < w.kernel[1]; ++s, ++weight) {
          const int64_t iw = ow * w.stride[1] - w.pad[1] + s * w.dilation[1];
          if (ih < 0 || ih >= p_.x.dims.h || iw < 0 || iw >= p_.x.dims.w) continue;
          sum += static_cast<double>(x[(first + c) * x_.c + ih * x_.h + iw * x_.w]) * *weight;
        }
      }
    }
    return sum;
  }

  double fully_connected(const float* x, int64_t k) const {
    const float* weight = weight_.data() + k * p_.x.dims.count();
    double sum = 0;
    for (int64_t c = 0; c < p_.x.dims.c; ++c) {
      for (int64_t h = 0; h < p_.x.dims.h; ++h) {
        for (int64_t w = 0; w < p_.x.dims.w; ++w)
          sum += static_cast<double>(x[c * x_.c + h * x_.h + w * x_.w]) * *weight++;
      }
    }
    return sum;
  }

  float pool(const float* x, int64_t oh, int64_t ow) const {
    const Window& w = p_.pool().window;
    const int64_t top = oh * w.stride[0] - w.pad[0], left = ow * w.stride[1] - w.pad[1];
    float most = -std::numeric_limits<float>::infinity();
    double sum = 0;
    int64_t inside = 0;
    // Only the taps inside the image: a window may be any larger than it.
    const auto first = [](int64_t at, int64_t step) { return at < 0 ? ceil_div(-at, step) : 0; };
    for (int64_t r = first(top, w.dilation[0]); r < w.kernel[0]; ++r) {
      const int64_t ih = top + r * w.dilation[0];
      if (ih >= p_.x.dims.h) break;
      for (int64_t s = first(left, w.dilation[1]); s < w.kernel[1]; ++s) {
        const int64_t iw = left + s * w.dilation[1];
        if (iw >= p_.x.dims.w) break;
        const float value = x[ih * x_.h + iw * x_.w];
        most = larger(most, value);
        sum += value;
        ++inside;
      }
    }
    if (p_.pool().code == PoolCode::kMax) return most;
    if (w.include_pad) {
      // Caffe and ONNX clip the window at the padded image's edge.
      inside = (std::min(top + w.kernel[0], p_.x.dims.h + w.pad[2]) - top) *
               (std::min(left + w.kernel[1], p_.x.dims.w + w.pad[3]) - left);
    }
    return static_cast<float>(sum / static_cast<double>(inside));
  }

  float reduce(const float* x, int64_t c, int64_t h, int64_t w) const {
    const family::Reduce& r = p_.reduce();
    const Dims span{r.axes[0] ? p_.x.dims.c : 1, r.axes[1] ? p_.x.dims.h : 1,
                    r.axes[2] ? p_.x.dims.w : 1};
    double sum = 0, product = 1;
    float most = -std::numeric_limits<float>::infinity(), least = -most;
    for (int64_t i = 0; i < span.c; ++i) {
      for (int64_t j = 0; j < span.h; ++j) {
        for (int64_t k = 0; k < span.w; ++k) {
          const float value = x[(c + i) * x_.c + (h + j) * x_.h + (w + k) * x_.w];
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
    }
    return 0;
  }

  float resize(const float* x, int64_t oh, int64_t ow) const {
    const Resampled &rows = rows_[oh], &cols = cols_[ow];
    if (rows.outside || cols.outside) return p_.resize().outside;
    double sum = 0;
    for (const Tap& row : rows.taps) {
      for (const Tap& col : cols.taps)
        sum += static_cast<double>(x[row.at * x_.h + col.at * x_.w]) * row.weight * col.weight;
    }
    return static_cast<float>(sum);
  }

  // Each row along the axis on its own.
  void normalize(const float* x, float* y) const {
    const int64_t sizes[3] = {p_.x.dims.c, p_.x.dims.h, p_.x.dims.w};
    const int64_t xs[3] = {x_.c, x_.h, x_.w}, ys[3] = {y_.c, y_.h, y_.w};
    const int axis = p_.normalize().axis - 1, a = (axis + 1) % 3, b = (axis + 2) % 3;
    std::vector<double> row(static_cast<size_t>(sizes[axis]));
    for (int64_t i = 0; i < sizes[a]; ++i) {
      for (int64_t j = 0; j < sizes[b]; ++j) {
        const float* from = x + i * xs[a] + j * xs[b];
        float* to = y + i * ys[a] + j * ys[b];
        for (double& value : row) value = *from, from += xs[axis];
        switch (p_.normalize().code) {
          case NormalizeCode::kSoftmax:
            softmax(row);
            break;
          case NormalizeCode::kLrn:
            lrn(row);
            break;
        }
        for (const double value : row) *to = static_cast<float>(value), to += ys[axis];
      }
    }
  }

  static void softmax(std::vector<double>& row) {
    const double most = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (double& value : row) value = std::exp(value - most), sum += value;
    for (double& value : row) value /= sum;
  }

  void lrn(std::vector<double>& row) const {
    const family::Normalize& n = p_.normalize();
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

  const Problem p_;
  const WeightStore::Floats weight_, bias_;
  const Dims out_;
  const int64_t first_, channels_;  // written: all but of a move to a part of the output
  const Strides x_, y_, z_;
  const int64_t padded_c_;
  std::vector<Resampled> rows_, cols_;  // of a resize
};

class Algorithm_ final : public Algorithm {
 public:
  const char* name() const override { return "direct-ref"; }
  Kinds kinds() const override { return Kinds::all(); }
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
    const double per_element = p.kind() == Kind::kNormalize ? 60 : 8;
    const double cycles = 10 * p.macs() + per_element * elements * window;
    return parallel_cycles(cycles, elements, p.threads) + 1000;
  }
  Plan prepare(const Problem& p, const Weight* weight, const Weight* bias,
               const Context& context) const override {
    return plan_of(std::make_unique<DirectRef>(p, weight, bias, context), context);
  }
};

const Algorithm_ kDirectRef;
const RegisterAlgorithm kRegistered(&kDirectRef);

}  // namespace
}  // namespace linnet
