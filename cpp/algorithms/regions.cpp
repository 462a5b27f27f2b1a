// Parts of images cut into bins: the largest pixel of each (Girshick, "Fast R-CNN", 2015), the mean
// of a channel of its own (Dai et al., "R-FCN", 2016), or of samples between pixels (He et al.,
// "Mask R-CNN", 2017).

#include <algorithm>
#include <cmath>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

struct RegionsArgs {
  family::Regions r;
  int64_t n, regions, channels;  // of y, and channels of an image
  Dims in;
};

// Where a region lies, in pixels of x.
struct Region {
  int64_t image;
  float top, left, height, width;
};

// Pixels of a bin.
struct Bin {
  int64_t top, bottom, left, right;

  static int64_t clipped(float at, int64_t size) {
    return static_cast<int64_t>(std::min(std::max(at, 0.0f), static_cast<float>(size)));
  }
  Bin(const RegionsArgs& a, const Region& at, int64_t row, int64_t column) {
    const float h = at.height / static_cast<float>(a.r.bins[0]);
    const float w = at.width / static_cast<float>(a.r.bins[1]);
    const auto place = [](int64_t i, float size, float first, bool whole) {
      const auto begin = static_cast<float>(i);
      // Regions whose corners are pixels are cut before they are moved.
      return whole ? std::make_pair(std::floor(begin * size) + first,
                                    std::ceil((begin + 1) * size) + first)
                   : std::make_pair(std::floor(begin * size + first),
                                    std::ceil((begin + 1) * size + first));
    };
    const bool whole = a.r.code == RegionCode::kMax;
    const auto rows = place(row, h, at.top, whole), columns = place(column, w, at.left, whole);
    top = clipped(rows.first, a.in.h), bottom = clipped(rows.second, a.in.h);
    left = clipped(columns.first, a.in.w), right = clipped(columns.second, a.in.w);
  }
};

// -1 for an image that there is not, or numbers that are none.
Region region_of(const RegionsArgs& a, const float* z) {
  Region at{};
  at.image = -1;
  for (int i = 0; i < 5; ++i) {
    if (!(std::abs(z[i]) < 1e9f)) return at;
  }
  const auto image = static_cast<int64_t>(z[0]);
  if (image < 0 || image >= a.r.images) return at;
  at.image = image;
  const float s = a.r.scale, o = a.r.offset;
  if (a.r.code == RegionCode::kMax) {
    at.left = std::round(z[1] * s), at.top = std::round(z[2] * s);
    at.width = std::max(std::round(z[3] * s) - at.left + 1, 1.0f);
    at.height = std::max(std::round(z[4] * s) - at.top + 1, 1.0f);
  } else if (a.r.code == RegionCode::kOwnMean) {
    at.left = std::round(z[1]) * s, at.top = std::round(z[2]) * s;
    at.width = std::max((std::round(z[3]) + 1) * s - at.left, 0.1f);
    at.height = std::max((std::round(z[4]) + 1) * s - at.top, 0.1f);
  } else {
    at.left = z[1] * s + o, at.top = z[2] * s + o;
    at.width = z[3] * s + o - at.left, at.height = z[4] * s + o - at.top;
    // Without an offset a region is one pixel at least.
    if (o == 0) at.width = std::max(at.width, 1.0f), at.height = std::max(at.height, 1.0f);
  }
  return at;
}

// Two pixels of an axis that a place lies between, and the share of the second; none outside.
struct Between {
  int64_t first, second;
  float share;
  bool outside;

  Between(float at, int64_t size) : first(0), second(0), share(0), outside(false) {
    outside = !(at >= -1.0f && at <= static_cast<float>(size));
    if (outside) return;
    at = std::max(at, 0.0f);
    first = static_cast<int64_t>(at);
    if (first >= size - 1) {
      first = second = size - 1;
    } else {
      second = first + 1, share = at - static_cast<float>(first);
    }
  }
};

float sampled(const RegionsArgs& a, const float* plane, const Region& at, int64_t row,
              int64_t column) {
  const float h = at.height / static_cast<float>(a.r.bins[0]);
  const float w = at.width / static_cast<float>(a.r.bins[1]);
  // No region has more samples than pixels of the image matter.
  const auto count = [&](float size, int64_t most) {
    if (a.r.samples) return a.r.samples;
    return std::clamp<int64_t>(static_cast<int64_t>(std::ceil(size)), 0, 4 * most + 4);
  };
  const int64_t rows = count(h, a.in.h), columns = count(w, a.in.w);
  float sum = 0, top = -kInfinity;
  for (int64_t i = 0; i < rows; ++i) {
    const float y = at.top + static_cast<float>(row) * h +
                    (static_cast<float>(i) + 0.5f) * h / static_cast<float>(rows);
    const Between v(y, a.in.h);
    for (int64_t j = 0; j < columns; ++j) {
      const float x = at.left + static_cast<float>(column) * w +
                      (static_cast<float>(j) + 0.5f) * w / static_cast<float>(columns);
      const Between u(x, a.in.w);
      if (u.outside || v.outside) {
        top = std::max(top, 0.0f);
        continue;
      }
      const float* upper = plane + v.first * a.in.w;
      const float* lower = plane + v.second * a.in.w;
      const float parts[] = {
          (1 - v.share) * (1 - u.share) * upper[u.first], (1 - v.share) * u.share * upper[u.second],
          v.share * (1 - u.share) * lower[u.first], v.share * u.share * lower[u.second]};
      sum += parts[0] + parts[1] + parts[2] + parts[3];
      top = std::max({top, parts[0], parts[1], parts[2], parts[3]});
    }
  }
  const int64_t samples = rows * columns;
  if (a.r.code == RegionCode::kSampleMax) return samples ? top : 0;
  return sum / static_cast<float>(std::max<int64_t>(samples, 1));
}

float pooled(const RegionsArgs& a, const float* plane, const Bin& bin) {
  float sum = 0, top = -kInfinity;
  for (int64_t i = bin.top; i < bin.bottom; ++i) {
    for (int64_t j = bin.left; j < bin.right; ++j) {
      const float v = plane[i * a.in.w + j];
      sum += v;
      if (v > top || v != v) top = v;
    }
  }
  const int64_t count =
      std::max<int64_t>(0, bin.bottom - bin.top) * std::max<int64_t>(0, bin.right - bin.left);
  if (count == 0) return 0;
  return a.r.code == RegionCode::kMax ? top : sum / static_cast<float>(count);
}

void run_regions(const RegionsArgs& a, const FloatOperands& o) {
  const int64_t bins = a.r.bins[0] * a.r.bins[1];
  const bool own = a.r.code == RegionCode::kOwnMean;
  const bool samples = a.r.code == RegionCode::kSampleMean || a.r.code == RegionCode::kSampleMax;
  o.pool.parallel_for(a.n * a.regions, [&](int64_t task, int) {
    const float* image = o.x + task / a.regions * a.in.count();
    const Region at = region_of(a, o.operand + task * 5);
    float* y = o.y + task * a.channels * bins;
    if (at.image < 0) {
      std::fill_n(y, a.channels * bins, 0.0f);
      return;
    }
    image += at.image * (a.in.c / a.r.images) * a.in.h * a.in.w;
    for (int64_t bin = 0; bin < bins; ++bin) {
      const int64_t row = bin / a.r.bins[1], column = bin % a.r.bins[1];
      const Bin pixels(a, at, row, column);
      for (int64_t c = 0; c < a.channels; ++c) {
        const float* plane = image + (own ? c * bins + bin : c) * a.in.h * a.in.w;
        y[c * bins + bin] = samples ? sampled(a, plane, at, row, column) : pooled(a, plane, pixels);
      }
    }
  });
}

constexpr auto kCode = plan_code<&run_regions>("regions");

class RegionPool final : public Algorithm {
 public:
  const char* name() const override { return "regions"; }
  Kinds kinds() const override { return {Kind::kRegions}; }
  bool uses_kernels() const override { return false; }
  double cost(const Problem& p, const Context&) const override {
    const auto numbers = static_cast<double>(p.n * p.y.dims.count());
    return parallel_cycles(60 * numbers + stream_cycles(16 * numbers, 4 * numbers),
                           static_cast<double>(p.n * p.y.dims.c), p.threads) +
           200;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    const RegionsArgs a{p.regions(), p.n, p.y.dims.c, p.y.dims.h, p.x.dims};
    return make_plan(kCode, a, context);
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    return p.x.layout == Layout::kNchw && p.y.layout == Layout::kNchw ? "" : "reads planes only";
  }
};

const RegionPool kRegionPool;
const RegisterAlgorithm kRegistered(&kRegionPool);

}  // namespace
}  // namespace linnet
