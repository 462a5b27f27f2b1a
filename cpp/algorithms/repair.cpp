#include "algorithms/repair.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <utility>

#include "algorithms/direct.h"
#include "algorithms/epilogue.h"
#include "core/log.h"

namespace linnet {
namespace {

// Of the parts of an image, one in so many may have any energy.
constexpr int64_t kRare = 50;
// Squares of the values of an image with too few parts to compare, over their mean: the first, and
// more for each channel, over which errors are averaged.
constexpr float kPeak = 256, kPeakOfChannels = 6;

}  // namespace

Repair::Repair(const Convolution& problem, const Kernels& kernels, Parts parts, int64_t rows,
               int64_t cols, int64_t recovering)
    : p_(problem),
      kernels_(kernels),
      parts_(parts),
      pixel_(round_up(p_.x.dims.c, kernels.width)),
      rows_((rows * p_.end.pool[0] - 1) * p_.window.stride[0] + p_.window.extent(0)),
      cols_(cols * p_.end.pool[1] - 1 + p_.window.extent(1)),
      line_(cols * p_.end.pool[1]),
      recovering_(recovering) {}

int64_t Repair::weight_floats() const {
  const int64_t* kernel = p_.window.kernel;
  return round_up(kernel[0] * kernel[1] * p_.x.dims.c * kernels_.width, 16);
}

// Weights are there before the input of the first patch.
int64_t Repair::scratch_floats() const {
  const int64_t patch = round_up(rows_ * cols_ * pixel_, 16) + line_ * kernels_.width;
  return weight_floats() + round_up(std::max(patch, recovering_), 64);
}

// Whether so many energies come near the largest that all can be carried.
bool Repair::even(const float* energies) const {
  // Energies are not negative: their bits order them as integers, NaN and infinity last, and those
  // are compared without regard to NaN, several at a time.
  uint32_t most = 0;
  for (int64_t i = 0; i < parts_.count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, energies + i, sizeof bits);
    most = std::max(most, bits & 0x7fffffff);
  }
  float largest;
  std::memcpy(&largest, &most, sizeof largest);
  if (!std::isfinite(largest)) return false;
  const float near = largest / parts_.factor;
  int count = 0;
  for (int64_t i = 0; i < parts_.count; ++i) count += energies[i] >= near;
  return count > rare();
}

// Of the parts of an image, so many may have any energy.
int64_t Repair::rare() const { return std::max(parts_.touched, parts_.count / kRare); }

// The largest energy that can be carried, where they are not even.
float Repair::limit(const float* energies, float* copy) const {
  for (int64_t i = 0; i < parts_.count; ++i)
    copy[i] = std::isfinite(energies[i]) ? energies[i] : kInfinity;
  std::nth_element(copy, copy + rare(), copy + parts_.count, std::greater<float>());
  return parts_.factor * copy[rare()];
}

// The sum of the squares of some rows of an image, and the largest.
float Repair::squares(const float* image, int64_t first, int64_t last, float* most) const {
  const Dims& d = p_.x.dims;
  const int64_t pixels = (last - first) * d.w;
  float total;
  if (p_.x.layout == Layout::kNchw) {
    kernels_.squares(image + first * d.w, d.c, pixels, d.h * d.w, most, &total);
  } else {
    const int64_t pixel = p_.x.pixel(kernels_.width);
    const bool whole = pixel == pixel_;  // else a slice
    kernels_.squares(image + first * d.w * pixel, whole ? 1 : pixels,
                     whole ? pixels * pixel : pixel_, pixel, most, &total);
  }
  return total;
}

// Whether an image of few parts has a value far beyond the others.
bool Repair::uneven(const float* image) const {
  const Dims& d = p_.x.dims;
  float most;
  const float total = squares(image, 0, d.h, &most);
  const float mean = (total - most) / static_cast<float>(d.count());
  const float peak = kPeak + kPeakOfChannels * static_cast<float>(d.c);
  return !(most <= peak * mean) && most != 0;
}

// The energy of a part by the squares of those of the image's values that are in no part with an
// energy beyond `most`: what is smooth leaves less, but at borders, where zeros begin.
float Repair::usual(const float* image, const float* energies, float most) const {
  const int64_t rows = parts_.count / parts_.in_row;
  const auto clean = [&](int64_t row) {
    const float* begin = energies + std::clamp<int64_t>(row, 0, rows - 1) * parts_.in_row;
    return std::all_of(begin, begin + parts_.in_row, [&](float e) { return e <= most; });
  };
  double sum = 0;
  int64_t pixels = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t top = parts_.first + row * parts_.step;
    const int64_t first = std::max<int64_t>(0, top),
                  last = std::min(p_.x.dims.h, top + parts_.step);
    bool all = first < last;
    for (int64_t r = row - ceil_div(parts_.height, parts_.step) + 1; all && r <= row; ++r)
      all = clean(r);
    if (!all) continue;
    float largest;
    sum += squares(image, first, last, &largest);
    pixels += (last - first) * p_.x.dims.w;
  }
  return parts_.white * static_cast<float>(sum / static_cast<double>(std::max<int64_t>(1, pixels)));
}

int64_t Repair::find(const float* image, float* energies, const float* totals, float* copy) const {
  const int64_t count = parts_.count;
  if (!parts_.compared()) {
    const bool all = uneven(image);
    std::fill(energies, energies + count, all ? 1.0f : 0.0f);
    return all ? count : 0;
  }
  if (even(energies)) {
    std::memset(energies, 0, static_cast<size_t>(count) * sizeof(float));
    return 0;
  }
  const float most = limit(energies, copy);
  double rest = 0;
  int64_t ordinary = 0, odd = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (energies[i] <= most && most < kInfinity) {
      rest += totals[i], ++ordinary;
    } else {
      odd += energies[i] < kInfinity;
    }
  }
  double large = rest / static_cast<double>(std::max<int64_t>(1, ordinary));
  if (odd > 0) large = std::max<double>(large, usual(image, energies, most));
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i) {
    const bool carried =
        (energies[i] <= most || totals[i] <= parts_.share * large) && energies[i] < kInfinity;
    energies[i] = carried ? 0.0f : 1.0f;
    found += !carried;
  }
  return found;
}

int64_t Repair::find(const FloatOperands& o, float* energies) const {
  int64_t found = 0;
  const float* totals = energies + p_.n * parts_.count;
  float* copy = energies + 2 * p_.n * parts_.count;
  for (int64_t i = 0; i < p_.n; ++i) {
    const int64_t first = i * parts_.count;
    found += find(o.x + i * p_.x.image(kernels_.width), energies + first, totals + first, copy);
  }
  if (logs(Topic::kRun))
    log_event(Topic::kRun, "%s: %lld of %lld parts computed directly", p_.key().c_str(),
              static_cast<long long>(found), static_cast<long long>(p_.n) * parts_.count);
  return found;
}

void Repair::run(const FloatOperands& o, int64_t floats, int64_t patches, const Patches& patch,
                 const Weights& weights, const float* bias) const {
  const int64_t vectors = ceil_div(p_.y.dims.c, kernels_.width), each = scratch_floats();
  const int64_t parts =
      std::max<int64_t>(1, std::min({floats / each, vectors, static_cast<int64_t>(p_.threads)}));
  o.pool.parallel_for(parts, [&](int64_t part, int) {
    float* scratch = o.workspace + part * each;
    for (int64_t v = vectors * part / parts; v < vectors * (part + 1) / parts; ++v) {
      const int64_t k = v * kernels_.width;
      weights(k, scratch, scratch + weight_floats());
      Patch at{};
      for (int64_t i = 0; i < patches; ++i) {
        if (patch(i, &at)) compute(o, at, k, bias + k, scratch);
      }
    }
  });
}

// Rows of an image, with zeros around it.
void Repair::copy_input(const float* x, int64_t top, int64_t left, int64_t rows, int64_t cols,
                        float* to) const {
  const Strides s(p_.x, kernels_.width);
  const Dims& d = p_.x.dims;
  std::memset(to, 0, static_cast<size_t>(rows * cols * pixel_) * sizeof(float));
  const int64_t from = std::max<int64_t>(0, -left), end = std::min(cols, d.w - left);
  for (int64_t r = std::max<int64_t>(0, -top); r < std::min(rows, d.h - top); ++r) {
    float* row = to + r * cols * pixel_;
    const float* source = x + (top + r) * s.h + left * s.w;
    if (s.c == 1 && from < end) {
      copy_pixels(source + from * s.w, s.w, row + from * pixel_, pixel_, end - from);
      continue;
    }
    for (int64_t i = from; i < end; ++i) {
      for (int64_t c = 0; c < d.c; ++c) row[i * pixel_ + c] = source[i * s.w + c * s.c];
    }
  }
}

// The vector of output channels that begins with k, with its weights at the front of the scratch.
void Repair::compute(const FloatOperands& o, const Patch& patch, int64_t k, const float* bias,
                     float* scratch) const {
  const Window& w = p_.window;
  const int64_t* pool = p_.end.pool;
  const int64_t width = kernels_.width;
  const int64_t rows = (patch.rows * pool[0] - 1) * w.stride[0] + w.extent(0);
  const int64_t computed = patch.cols * pool[1], cols = computed - 1 + w.extent(1);
  float* input = scratch + weight_floats();
  float* line = input + round_up(rows_ * cols_ * pixel_, 16);
  copy_input(o.x + patch.image * p_.x.image(kernels_.width),
             patch.top * pool[0] * w.stride[0] - w.pad[0], patch.left * pool[1] - w.pad[1], rows,
             cols, input);

  DirectTile tile{};
  tile.x_col = pixel_;
  tile.outer = w.kernel[0], tile.x_outer = w.dilation[0] * cols * pixel_;
  tile.middle = w.kernel[1], tile.x_middle = w.dilation[1] * pixel_;
  tile.inner = p_.x.dims.c;
  tile.w = scratch;
  tile.limits = p_.end.limits;
  tile.pool_cols = 1;
  const int64_t y_pixel = p_.y.pixel(kernels_.width);
  const int64_t most = kernels_.direct_cols[1];
  for (int64_t row = 0; row < patch.rows * pool[0]; ++row) {
    const int64_t stored = patch.top + row / pool[0];
    const int64_t at = patch.image * p_.y.image(kernels_.width) +
                       (stored * p_.y.dims.w + patch.left) * y_pixel + k;
    tile.y_col = p_.end.pooled() ? width : y_pixel;
    for (int64_t col = 0; col < computed; col += most) {
      const int64_t count = std::min(most, computed - col);
      tile.x = input + (row * w.stride[0] * cols + col) * pixel_;
      tile.y = p_.end.pooled() ? line + col * width : o.y + at + col * y_pixel;
      tile.bias = bias;
      tile.residual = p_.end.residual ? o.operand + at + col * y_pixel : nullptr;
      run_in_parts(kernels_.direct[1][count], tile, width);
    }
    for (int64_t col = 0; p_.end.pooled() && col < computed; ++col) {
      float* y = o.y + at + col / pool[1] * y_pixel;
      const bool first = row % pool[0] == 0 && col % pool[1] == 0;
      for (int64_t l = 0; l < width; ++l)
        y[l] = first ? line[col * width + l] : larger(line[col * width + l], y[l]);
    }
    if ((row + 1) % pool[0] == 0)
      map_results(kernels_, p_.end.then, o.y + at, patch.cols, y_pixel,
                  std::min(width, p_.y.dims.c - k));
  }
}

LeftInverse::LeftInverse(const Transform& matrix, int transformed, int taps)
    : paired_(taps - 1 + taps % 2), last_(transformed - 1) {
  // The pseudo-inverse of the matrix with rows of length 1, by elimination in its normal equations:
  // transformed numbers err in proportion to their rows.
  double length[kMostTransformed] = {};
  for (int j = 0; j < transformed; ++j) {
    for (int i = 0; i < taps; ++i) length[j] += matrix[j][i] * matrix[j][i];
  }
  const int columns = taps + transformed;
  double a[kMostTaps][kMostTaps + kMostTransformed] = {};
  for (int i = 0; i < taps; ++i) {
    for (int j = 0; j < transformed; ++j) {
      if (!uses(j)) continue;
      const double scaled = matrix[j][i] / length[j];
      a[i][taps + j] = scaled;
      for (int l = 0; l < taps; ++l) a[i][l] += scaled * matrix[j][l];
    }
  }
  for (int i = 0; i < taps; ++i) {  // positive definite: no pivots
    const double pivot = a[i][i];
    for (int j = 0; j < columns; ++j) a[i][j] /= pivot;
    for (int l = 0; l < taps; ++l) {
      const double factor = a[l][i];
      for (int j = 0; l != i && j < columns; ++j) a[l][j] -= factor * a[i][j];
    }
  }
  for (int i = 0; i < taps; ++i) {
    for (int j = 0; j < transformed; ++j) factors_[i][j] = a[i][taps + j];
  }
}

}  // namespace linnet
