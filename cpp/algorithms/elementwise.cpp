// Sums, activations and softmax over contiguous memory.

#include <algorithm>
#include <cstring>
#include <limits>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

bool element_by_element(const Problem& p) { return p.kind == Kind::kAdd || p.kind == Kind::kRelu; }

class Elementwise final : public Plan {
 public:
  Elementwise(const Problem& problem, const Context& context)
      : p_(problem),
        kernels_(context.kernels),
        image_(image_stride(p_.in, p_.in_layout, context.kernels.width)) {}

  void run(const Operands& o) const override {
    if (p_.kind == Kind::kSoftmax) {
      // Channels-last padding lies behind each row and stays zero.
      o.pool.parallel_for(p_.n, [&](int64_t i, int) {
        float* y = o.y + i * image_;
        kernels_.softmax(o.x + i * image_, y, p_.in.count());
        std::memset(y + p_.in.count(), 0,
                    static_cast<size_t>(image_ - p_.in.count()) * sizeof(float));
      });
      return;
    }
    // One operand for all images keeps tasks within an image.
    const int64_t span = p_.operand_constant ? image_ : image_ * p_.n;
    const int64_t pieces =
        p_.threads > 1 ? std::min<int64_t>(ceil_div(span, 4096), 4 * p_.threads) : 1;
    const float low = p_.relu ? 0.0f : -std::numeric_limits<float>::infinity();
    o.pool.parallel_for(image_ * p_.n / span * pieces, [&](int64_t task, int) {
      const int64_t base = task / pieces * span, piece = task % pieces;
      const int64_t begin = span * piece / pieces, count = span * (piece + 1) / pieces - begin;
      const int64_t at = base + begin;
      if (p_.kind == Kind::kRelu) {
        kernels_.clamp(o.x + at, o.y + at, count, 0.0f);
      } else {
        kernels_.add(o.x + at, o.operand + (p_.operand_constant ? begin : at), o.y + at, count,
                     low);
      }
    });
  }

 private:
  const Problem p_;
  const Kernels& kernels_;
  const int64_t image_;  // floats, padding included
};

class Algorithm_ final : public Algorithm {
 public:
  const char* name() const override { return "elementwise"; }
  std::string refuse(const Problem& p, const Context& context) const override {
    if (p.kind == Kind::kSoftmax) {
      if (p.in.h != 1 || p.in.w != 1 || p.axis != 1) return "softmax over contiguous rows only";
    } else if (!element_by_element(p)) {
      return "not a sum, activation or softmax";
    }
    const bool same = image_stride(p.in, p.in_layout, context.kernels.width) ==
                      image_stride(p.in, p.out_layout, context.kernels.width);
    if (p.in_layout != p.out_layout && !(same && p.in.h == 1 && p.in.w == 1))
      return "does not change the layout";
    if (p.kind == Kind::kAdd && p.operand != p.in) return "the second operand broadcasts";
    return "";
  }
  double cost(const Problem& p, const Context& context) const override {
    const double elements =
        static_cast<double>(p.n * image_stride(p.in, p.in_layout, context.kernels.width));
    const double bytes = elements * sizeof(float) * (p.kind == Kind::kAdd ? 3 : 2);
    const double cycles =
        elements * (p.kind == Kind::kSoftmax ? 40.0 : 2.0) / context.kernels.width;
    const double tasks = p.kind == Kind::kSoftmax ? static_cast<double>(p.n) : elements / 4096;
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
