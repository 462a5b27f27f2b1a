// Sums and activations over contiguous memory.

#include <algorithm>
#include <cstring>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

class Elementwise final : public Plan {
 public:
  Elementwise(const Problem& problem, const Context& context)
      : p_(problem),
        kernels_(context.kernels),
        image_(image_stride(p_.x.dims, p_.x.layout, kernels_.width)),
        x_(p_.x, kernels_.width),
        y_(p_.y, kernels_.width),
        z_(p_.z, kernels_.width) {}

  void run(const Operands& operands) const override {
    const FloatOperands o(operands);
    if (p_.x.pitch || p_.y.pitch || p_.z.pitch || fills()) {
      run_slices(o);
    } else {
      run_images(o);
    }
  }

 private:
  void map(const float* x, const float* z, float* y, int64_t count) const {
    switch (p_.map().code) {
      case MapCode::kCopy:
        return kernels_.clamp(x, y, count, p_.end.limits);
      case MapCode::kAdd:
        return kernels_.add(x, z, y, count, p_.end.limits);
      case MapCode::kSigmoid:
        kernels_.map[static_cast<int>(p_.map().code)](x, y, 1, count, count);
        if (p_.end.limits.any()) kernels_.clamp(y, y, count, p_.end.limits);
    }
  }

  // Whether there is padding that the function, or a limit, would make anything but zero.
  bool fills() const {
    const Limits& l = p_.end.limits;
    const bool moves = p_.map().code == MapCode::kSigmoid || l.low > 0 || l.high < 0;
    return moves && p_.y.layout == Layout::kNhwc && p_.y.dims.c % kernels_.width != 0;
  }

  void run_images(const FloatOperands& o) const {
    // One operand for all images keeps tasks within an image.
    const bool constant = p_.map().z_constant;
    const int64_t span = constant ? image_ : image_ * p_.n;
    const int64_t pieces =
        p_.threads > 1 ? std::min<int64_t>(ceil_div(span, 4096), 4 * p_.threads) : 1;
    o.pool.parallel_for(image_ * p_.n / span * pieces, [&](int64_t task, int) {
      const int64_t base = task / pieces * span, piece = task % pieces;
      const int64_t begin = span * piece / pieces, count = span * (piece + 1) / pieces - begin;
      const int64_t at = base + begin;
      map(o.x + at, o.operand + (constant ? begin : at), o.y + at, count);
    });
  }

  // A pixel's channels at a time, or an image's planes.
  void run_slices(const FloatOperands& o) const {
    const bool last = p_.y.layout == Layout::kNhwc;
    const int64_t rows = last ? p_.y.dims.h : 1, pixels = last ? p_.y.dims.w : 1;
    const int64_t count = image_ / (rows * pixels), mapped = fills() ? p_.y.dims.c : count;
    o.pool.parallel_for(p_.n * rows, [&](int64_t task, int) {
      const int64_t image = task / rows, row = task % rows;
      const float* x = o.x + image * x_.n + row * x_.h;
      const float* z = o.operand + (p_.map().z_constant ? 0 : image * z_.n) + row * z_.h;
      float* y = o.y + image * y_.n + row * y_.h;
      for (int64_t i = 0; i < pixels; ++i, x += x_.w, z += z_.w, y += y_.w) {
        map(x, z, y, mapped);
        std::memset(y + mapped, 0, static_cast<size_t>(count - mapped) * sizeof(float));
      }
    });
  }

  const Problem p_;
  const Kernels& kernels_;
  const int64_t image_;  // floats, padding included, without the rest of what it is a slice of
  const Strides x_, y_, z_;
};

class Algorithm_ final : public Algorithm {
 public:
  const char* name() const override { return "elementwise"; }
  Kinds kinds() const override { return {Kind::kMap}; }
  std::string objection(const Problem& p, const Context& context) const override {
    const Dims& d = p.x.dims;
    const bool same = image_stride(d, p.x.layout, context.kernels.width) ==
                      image_stride(d, p.y.layout, context.kernels.width);
    if (p.x.layout != p.y.layout && !(same && d.h == 1 && d.w == 1))
      return "does not change the layout";
    if (p.binary() && p.z.dims != d) return "the second operand broadcasts";
    return "";
  }
  double cost(const Problem& p, const Context& context) const override {
    const double elements =
        static_cast<double>(p.n * image_stride(p.x.dims, p.x.layout, context.kernels.width));
    const double bytes = elements * sizeof(float) * (p.binary() ? 3 : 2);
    const bool sigmoid = p.map().code == MapCode::kSigmoid;
    const double cycles = elements * (sigmoid ? 25.0 : 2.0) / context.kernels.width;
    const double tasks = elements / 4096;
    return parallel_cycles(cycles + stream_cycles(bytes, bytes), tasks, p.threads) + 100;
  }
  std::unique_ptr<Plan> prepare(const Problem& p, const Weight*, const Weight*,
                                const Context& context) const override {
    return std::make_unique<Elementwise>(p, context);
  }
};

const Algorithm_ kElementwise;
const RegisterAlgorithm kRegistered(&kElementwise);

}  // namespace
}  // namespace linnet
