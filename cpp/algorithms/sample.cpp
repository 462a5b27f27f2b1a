// Numbers between those of an image, at places that another value says: ONNX's GridSample, after
// Jaderberg et al., "Spatial Transformer Networks", 2015.

#include <algorithm>
#include <cmath>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

struct SampleArgs {
  family::Sample s;
  int64_t n;
  Dims in, out;
};

constexpr int kMostTaps = 4;  // along an axis

// Numbers of an axis and their shares of a result.
struct Taps {
  int count = 0;
  int64_t at[kMostTaps];
  float share[kMostTaps];
};

// A place beyond `low` or `high` mirrored there until it is between them.
float mirrored(float at, float low, float high) {
  const float range = high - low;
  if (range <= 0) return low;
  const float beyond = at < low ? low - at : at > high ? at - high : -1;
  if (beyond < 0) return at;
  const float turns = std::floor(beyond / range), rest = beyond - turns * range;
  const bool even = std::fmod(turns, 2.0f) == 0;
  return even == (at < low) ? low + rest : high - rest;
}

Taps taps_of(const family::Sample& s, float place, int64_t size) {
  Taps taps;
  const auto length = static_cast<float>(size);
  const float low = s.corners ? 0 : -0.5f, high = s.corners ? length - 1 : length - 0.5f;
  float at = s.corners ? (place + 1) / 2 * (length - 1) : ((place + 1) * length - 1) / 2;
  if (!(std::abs(at) < 1e9f)) return taps;
  if (s.code == ResizeCode::kNearest) at = std::nearbyint(at);
  if (at < low || at > high) {
    if (s.beyond == Beyond::kBorder) at = std::clamp(at, 0.0f, length - 1);
    if (s.beyond == Beyond::kReflection) at = mirrored(at, low, high);
  }
  const auto add = [&](float number, float share) {
    if (s.beyond == Beyond::kZeros && (number < 0 || number >= length)) return;
    if (s.beyond == Beyond::kReflection) number = mirrored(number, low, high);
    taps.at[taps.count] = std::clamp<int64_t>(static_cast<int64_t>(number), 0, size - 1);
    taps.share[taps.count++] = share;
  };
  const float first = std::floor(at), rest = at - first;
  if (s.code == ResizeCode::kNearest) {
    add(at, 1);
  } else if (s.code == ResizeCode::kLinear) {
    add(first, 1 - rest);
    add(first + 1, rest);
  } else {
    // Keys, "Cubic convolution interpolation", 1981.
    constexpr float kA = -0.75f;
    const auto far = [&](float d) { return ((kA * d - 5 * kA) * d + 8 * kA) * d - 4 * kA; };
    const auto near = [&](float d) { return ((kA + 2) * d - (kA + 3)) * d * d + 1; };
    add(first - 1, far(rest + 1));
    add(first, near(rest));
    add(first + 1, near(1 - rest));
    add(first + 2, far(2 - rest));
  }
  return taps;
}

void run_sample(const SampleArgs& a, const FloatOperands& o) {
  const int64_t plane = a.in.h * a.in.w, places = a.out.h * a.out.w;
  o.pool.parallel_for(a.n * a.out.h, [&](int64_t line, int) {
    const int64_t image = line / a.out.h, row = line % a.out.h;
    const float* z = o.operand + line * a.out.w * 2;
    const float* x = o.x + image * a.in.c * plane;
    float* y = o.y + image * a.in.c * places + row * a.out.w;
    for (int64_t i = 0; i < a.out.w; ++i) {
      const Taps columns = taps_of(a.s, z[2 * i], a.in.w),
                 rows = taps_of(a.s, z[2 * i + 1], a.in.h);
      for (int64_t c = 0; c < a.in.c; ++c) {
        float sum = 0;
        for (int r = 0; r < rows.count; ++r) {
          const float* from = x + c * plane + rows.at[r] * a.in.w;
          float part = 0;
          for (int t = 0; t < columns.count; ++t) part += columns.share[t] * from[columns.at[t]];
          sum += rows.share[r] * part;
        }
        y[c * places + i] = sum;
      }
    }
  });
}

constexpr auto kCode = plan_code<&run_sample>("sample");

class Samples final : public Algorithm {
 public:
  const char* name() const override { return "sample"; }
  Kinds kinds() const override { return {Kind::kSample}; }
  bool uses_kernels() const override { return false; }
  double cost(const Problem& p, const Context&) const override {
    const int taps = p.sample().code == ResizeCode::kCubic    ? 16
                     : p.sample().code == ResizeCode::kLinear ? 4
                                                              : 1;
    const auto places = static_cast<double>(p.n * p.y.dims.h * p.y.dims.w);
    const double each = 60 + static_cast<double>(p.y.dims.c) * (5 + 3 * taps);
    return parallel_cycles(places * each, static_cast<double>(p.n * p.y.dims.h), p.threads) + 100;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    return make_plan(kCode, SampleArgs{p.sample(), p.n, p.x.dims, p.y.dims}, context);
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    return p.x.layout == Layout::kNchw && p.y.layout == Layout::kNchw ? "" : "reads planes only";
  }
};

const Samples kSamples;
const RegisterAlgorithm kRegistered(&kSamples);

}  // namespace
}  // namespace linnet
