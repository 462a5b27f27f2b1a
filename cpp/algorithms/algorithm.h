// Algorithms: named strategies for one layer. An Algorithm is stateless: it refuses a Problem with
// a reason, estimates its cost, or prepares a Plan: it fills the arguments of its code and packs
// weights. To add one, add a file to cpp/algorithms/ whose last line registers it.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "algorithms/plan.h"
#include "problem/problem.h"

namespace linnet {

class Algorithm {
 public:
  virtual const char* name() const = 0;
  // The kinds of problems it is for; the planner asks about no others.
  virtual Kinds kinds() const = 0;
  // The reason why `problem` is refused; empty if it is accepted. What follows is for those.
  std::string refuse(const Problem& problem, const Context& context) const;
  // Estimated cycles of one core's worth of wall time.
  virtual double cost(const Problem& problem, const Context& context) const = 0;
  // Bytes of packed weights and workspace its plan takes, about.
  virtual double memory(const Problem&, const Context&) const { return 0; }
  // Whether results are as exact as a plain sum of products; `strict` sessions refuse others.
  virtual bool exact() const { return true; }
  // Whether it takes weights of any type, not only float32.
  virtual bool any_weights() const { return false; }
  // Whether it runs on operands of any type, not only float32.
  virtual bool any_types() const { return false; }
  // Whether `refuse` would load a library first. `cost` does without, as if it were the best build.
  virtual bool loads(const Context&) const { return false; }
  // False for what runs the same scalar code whatever the ISA.
  virtual bool uses_kernels() const { return true; }
  virtual Plan prepare(const Problem& problem, const Weight* weight, const Weight* bias,
                       const Context& context) const = 0;

 protected:
  ~Algorithm() = default;  // all are constants, which nobody deletes

 private:
  // A reason of its own against a problem of its kinds and types.
  virtual std::string objection(const Problem& problem, const Context& context) const = 0;
};

// All algorithms, in order of their names.
const std::vector<const Algorithm*>& algorithms();
// Those for a kind of problem, in the same order.
const std::vector<const Algorithm*>& algorithms(Kind kind);
// Throws std::invalid_argument listing the names there are.
const Algorithm& algorithm(const std::string& name);
// The algorithm of that name; else all of a family: "fourier" is fourier-8 and fourier-16. Throws
// as algorithm() does.
std::vector<const Algorithm*> algorithms(const std::string& name);

struct RegisterAlgorithm {
#ifdef LINNET_COMPILED  // for one network: it has plans, and nothing that prepares others
  constexpr explicit RegisterAlgorithm(const Algorithm*) {}
#else
  explicit RegisterAlgorithm(const Algorithm* algorithm);
#endif
};

// Products that are summed in float32 one after the other at most: longer sums err too much where
// all products have one sign, and are cut into parts.
constexpr int64_t kMostTerms = 4096;

// A convolution as its code knows it.
struct Convolution : family::Conv {
  explicit Convolution(const Problem& p)
      : family::Conv(p.conv()), n(p.n), x(p.x), y(p.y), end(p.end), threads(p.threads) {}
  std::string key() const;  // of its problem, for the log

  int64_t n;
  Operand x, y;
  Epilogue end;
  int threads;
};

// Element strides of an activation in a layout, for code that walks any of them.
struct Strides {
  int64_t n, c, h, w;
  Strides(const Operand& o, int width) {
    const bool planar = o.layout == Layout::kNchw;
    n = o.image(width);
    c = planar ? o.dims.h * o.dims.w : 1;
    w = planar ? 1 : o.pixel(width);
    h = o.dims.w * w;
  }
};

// The same as copy_pixels(), so many floats at a time. Those beyond a pixel are overwritten by the
// next; of the last, both `x` and `y` must have them.
constexpr int64_t kCopied = 4;
inline void copy_narrow(const float* x, int64_t x_pixel, float* y, int64_t y_pixel, int64_t count) {
  for (int64_t i = 0; i < count; ++i, x += x_pixel, y += y_pixel) {
    for (int64_t c = 0; c < y_pixel; c += kCopied)
      std::memcpy(y + c, x + c, kCopied * sizeof(float));
  }
}

// Copies pixels of `y_pixel` floats that lie `x_pixel` apart to where they lie side by side.
inline void copy_pixels(const float* x, int64_t x_pixel, float* y, int64_t y_pixel, int64_t count) {
  if (x_pixel == y_pixel) {
    std::memcpy(y, x, static_cast<size_t>(count * y_pixel) * sizeof(float));
    return;
  }
  constexpr int64_t kNarrow = 16;
  if (y_pixel < kNarrow && count > kCopied) {
    const int64_t some = count - kCopied;
    copy_narrow(x, x_pixel, y, y_pixel, some);
    x += some * x_pixel, y += some * y_pixel, count = kCopied;
  }
  for (int64_t i = 0; i < count; ++i, x += x_pixel, y += y_pixel)
    std::memcpy(y, x, static_cast<size_t>(y_pixel) * sizeof(float));
}

}  // namespace linnet
