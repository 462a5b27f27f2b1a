// What transforms cannot carry. The rounding errors of a tile's largest number, and NaN and
// infinity, spread over all results of the tile. So each part of the input leaves the energy of its
// transform, and tiles with one far beyond the rest of their image are computed directly in the
// end, with weights recovered from the transformed ones. docs/numerics.md says how far is too far.
#pragma once

#include "algorithms/algorithm.h"
#include "core/function_ref.h"

namespace linnet {

// Some results of an image, as they are stored: after a pool.
struct Patch {
  int64_t image, top, left, rows, cols;
};

// The parts that an image's input is cut into for the transforms.
struct Parts {
  int64_t count;         // of an image
  int64_t touched;       // by one number of the input at most
  float factor;          // energies beyond so many times the largest of the rest are too large,
  float share;           // in parts whose total is beyond so many times what is usual
  float white;           // usual: the energy of white noise of rms 1, one channel
  int64_t in_row;        // parts that lie side by side
  int64_t step, height;  // rows of the input from such a row to the next, and in each
  int64_t first;         // row where the first begins

  // Whether energies are looked at: where one number can touch half of the parts, the others do not
  // tell what is usual.
  bool compared() const { return count > 2 * touched + 1; }
};

// For one run of a plan, or to ask how much memory one takes.
class Repair {
 public:
  // `rows` x `cols` are the results of the largest patch, `recovering` the floats that finding
  // weights takes.
  Repair(const Convolution& problem, const Kernels& kernels, Parts parts, int64_t rows,
         int64_t cols, int64_t recovering = 0);

  // Floats for the energies: of each part of each image that of the channel with most, then all of
  // them together, and those of an image more. And for computing patches, at least.
  int64_t energy_floats() const { return (2 * p_.n + 1) * parts_.count; }
  int64_t scratch_floats() const;

  // Which parts cannot be carried: the first energies of all others become zero. The number of
  // those that cannot.
  int64_t find(const FloatOperands& o, float* energies) const;

  // Patch number `i` of all images; false if it may stay as it is.
  using Patches = FunctionRef<bool(int64_t i, Patch*)>;
  // The weights [row][col][channel][lane] of the vector of output channels that begins with k, with
  // `recovering` floats to work in.
  using Weights = FunctionRef<void(int64_t k, float* weights, float* space)>;
  // Computes patches with `floats` of the workspace.
  void run(const FloatOperands& o, int64_t floats, int64_t patches, const Patches& patch,
           const Weights& weights, const float* bias) const;

 private:
  bool even(const float* energies) const;
  int64_t rare() const;
  float limit(const float* energies, float* copy) const;
  bool uneven(const float* image) const;
  int64_t find(const float* image, float* energies, const float* totals, float* copy) const;
  float usual(const float* image, const float* energies, float most) const;
  float squares(const float* image, int64_t first, int64_t last, float* most) const;
  int64_t weight_floats() const;
  void compute(const FloatOperands& o, const Patch& patch, int64_t k, const float* bias,
               float* scratch) const;
  void copy_input(const float* x, int64_t top, int64_t left, int64_t rows, int64_t cols,
                  float* to) const;

  const Convolution& p_;
  const Kernels& kernels_;
  const Parts parts_;
  const int64_t pixel_;        // of copied input
  const int64_t rows_, cols_;  // of the copied input of the largest patch
  const int64_t line_;         // results of a row of it, before a pool
  const int64_t recovering_;
};

// The way back from the transformed taps of a filter, as float32 holds them, to the taps.
class LeftInverse {
 public:
  static constexpr int kMostTaps = 9, kMostTransformed = 12;
  // Factor of tap `i` in transformed number `j`.
  using Transform = double[kMostTransformed][kMostTaps];

  // Of a transform whose columns are independent; its points are 0, pairs of numbers and infinity,
  // of which as few as tell the taps are enough.
  LeftInverse(const Transform& matrix, int transformed, int taps);
  // Factor of transformed number `j` in tap `i`.
  double at(int i, int j) const { return factors_[i][j]; }
  // Whether transformed number `j` has a factor.
  bool uses(int j) const { return j < paired_ || j == last_; }

 private:
  double factors_[kMostTaps][kMostTransformed];
  int paired_, last_;
};

// For each lane of a vector a sum of float32 numbers times factors, and how far rounding may have
// moved it at most: less than that is zero, so that zero weights are.
struct RecoveredSums {
  static constexpr int64_t kFloats = 4 * kMaxWidth;  // of memory
  double value[kMaxWidth] = {}, most[kMaxWidth] = {};
  void add(double factor, const float* numbers, int width) {
    for (int l = 0; l < width; ++l) {
      const double each = factor * static_cast<double>(numbers[l]);
      value[l] += each, most[l] += each < 0 ? -each : each;
    }
  }
  void add(double factor, const RecoveredSums& sums, int width) {
    const double size = factor < 0 ? -factor : factor;
    for (int l = 0; l < width; ++l)
      value[l] += factor * sums.value[l], most[l] += size * sums.most[l];
  }
  void weights(float* to, int width) const {
    constexpr double kRounding = 0x1p-24;
    for (int l = 0; l < width; ++l) {
      const bool zero = value[l] <= kRounding * most[l] && -value[l] <= kRounding * most[l];
      to[l] = zero ? 0 : static_cast<float>(value[l]);
    }
  }
};

}  // namespace linnet
