// Micro-kernels against the peak of the core they run on.
//
//   bench_kernels [--isa NAME] [--rounds N] [--match TEXT] [--json]
//
// For typical layers, every tile the ISA has: GFLOP/s, FLOP per cycle, and the percentage of the
// measured peak (a loop of multiply-adds on registers). Machines are noisy and change frequency, so
// the peak is measured right before each tile in each round, and the percentage is the median of
// these ratios.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace {

using linnet::DirectTile;
using linnet::Kernels;

constexpr int64_t kPeakTurns = 16000;

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

// Cycles per second, from a chain of dependent one-cycle rotations.
double frequency() {
  constexpr int64_t kLinks = 1 << 20;
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    best = std::min(best, seconds([] {
                      uint32_t x = 12345;
                      for (int64_t i = 0; i < kLinks / 16; ++i) {
#pragma GCC unroll 16
                        for (int j = 0; j < 16; ++j) {
                          x = x << 7 | x >> 25;
                          __asm__ volatile("" : "+r"(x));
                        }
                      }
                    }));
  }
  return kLinks / best;
}

class AlignedFloats {
 public:
  explicit AlignedFloats(int64_t count) {
    const size_t bytes =
        (static_cast<size_t>(count) * sizeof(float) / linnet::kAlignment + 1) * linnet::kAlignment;
    data_ = static_cast<float*>(std::aligned_alloc(linnet::kAlignment, bytes));
    if (!data_) throw std::bad_alloc();
    for (int64_t i = 0; i < count; ++i) data_[i] = static_cast<float>(i % 17 - 8) * 0.01f;
  }
  ~AlignedFloats() { std::free(data_); }
  AlignedFloats(const AlignedFloats&) = delete;
  AlignedFloats& operator=(const AlignedFloats&) = delete;
  float* get() const { return data_; }

 private:
  float* data_;
};

// A row of a layer: `pixels` outputs of `channels` channels. A fully connected layer has images for
// pixels.
struct Layer {
  const char* name;
  int64_t channels, pixels;
  int64_t outer, inner;  // taps
  ptrdiff_t x_col, x_outer;
  int pool;
};

const Layer kLayers[] = {
    {"7x7 of 1, pool 2", 16, 84, 7, 7, 1, 88, 2},
    {"6x6 of 16, pool 3", 48, 36, 6, 96, 16, 41 * 16, 3},
    {"5x5 of 48", 96, 8, 5, 240, 48, 12 * 48, 1},
    {"3x3 of 64", 64, 56, 3, 192, 64, 58 * 64, 1},
    {"1x1 of 16", 48, 36, 1, 16, 16, 36 * 16, 1},
    {"1x1 of 48", 96, 36, 1, 48, 48, 36 * 48, 1},
    {"1x1 of 256", 128, 28, 1, 256, 256, 28 * 256, 1},
    {"7x7/2 of 3", 64, 112, 7, 21, 6, 230 * 3, 1},
    {"fully connected 6144, 12 images", 128, 12, 1, 6144, 6144, 0, 1},
    {"fully connected 6144, 1 image", 128, 1, 1, 6144, 0, 0, 1},
    {"fully connected 128, 1 image", 848, 1, 1, 128, 0, 0, 1},
};

struct Result {
  std::string layer, kernel;
  double gflops, per_cycle, percent;
};

struct Case {
  const Layer* layer;
  int vecs, cols;  // cols 0: gemv
};

Result measure(const Kernels& k, const Case& c, double hertz, int rounds) {
  const Layer& layer = *c.layer;
  const bool gemv = c.cols == 0;
  const int step = gemv ? 1 : c.cols;
  const int64_t lanes = static_cast<int64_t>(c.vecs) * k.width;
  const int64_t panels = std::max<int64_t>(1, layer.channels / lanes);
  const int64_t tiles = std::max<int64_t>(1, layer.pixels / step);
  const int64_t taps = layer.outer * layer.inner;
  const int64_t y_col = panels * lanes;
  AlignedFloats x(tiles * step * layer.x_col + layer.outer * layer.x_outer + layer.inner);
  AlignedFloats w(taps * lanes * panels), bias(panels * lanes), y(tiles * step * y_col);

  DirectTile tile{};
  tile.x_col = layer.x_col;
  tile.x_outer = layer.x_outer;
  tile.outer = layer.outer;
  tile.middle = 1;
  tile.inner = layer.inner;
  tile.y_col = y_col;
  tile.limits.low = 0;
  tile.pool_cols = layer.pool;
  const linnet::DirectKernel kernel = gemv ? k.gemv[0][c.vecs] : k.direct[c.vecs][c.cols];
  const auto row = [&] {
    for (int64_t p = 0; p < panels; ++p) {
      tile.w = w.get() + p * taps * lanes;
      tile.bias = bias.get() + p * lanes;
      for (int64_t t = 0; t < tiles; ++t) {
        tile.x = x.get() + t * step * layer.x_col;
        tile.y = y.get() + t * step / layer.pool * y_col + p * lanes;
        kernel(tile);
      }
    }
  };
  const double row_flops = 2.0 * static_cast<double>(taps * panels * lanes * tiles * step);

  float sink[64];
  double peak_flops = k.peak(kPeakTurns, sink);
  const double turn = seconds([&] { k.peak(kPeakTurns, sink); }) / kPeakTurns;
  const int64_t peak_turns = std::max<int64_t>(1000, static_cast<int64_t>(2e-4 / turn));
  row();
  const double once = seconds(row);
  const int64_t repeat = std::max<int64_t>(1, static_cast<int64_t>(5e-4 / once));

  std::vector<double> ratios;
  double best = 0;
  for (int r = 0; r < rounds; ++r) {
    const double peak_seconds = seconds([&] { peak_flops = k.peak(peak_turns, sink); });
    const double row_seconds = seconds([&] {
                                 for (int64_t i = 0; i < repeat; ++i) row();
                               }) /
                               static_cast<double>(repeat);
    ratios.push_back(row_flops / row_seconds / (peak_flops / peak_seconds));
    best = std::max(best, row_flops / row_seconds);
  }
  const std::string name = std::string(gemv ? "gemv " : "direct ") + std::to_string(c.vecs) +
                           (gemv ? "" : "x" + std::to_string(c.cols));
  return {layer.name, name, best * 1e-9, best / hertz, 100 * median(ratios)};
}

int run(int argc, char** argv) {
  std::string isa, match;
  int rounds = 41;
  bool json = false;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--json") {
      json = true;
    } else if (arg == "--isa" && i + 1 < argc) {
      isa = argv[++i];
    } else if (arg == "--match" && i + 1 < argc) {
      match = argv[++i];
    } else if (arg == "--rounds" && i + 1 < argc) {
      rounds = std::max(1, std::atoi(argv[++i]));
    } else {
      std::fprintf(stderr,
                   "usage: bench_kernels [--isa NAME] [--rounds N] [--match TEXT] [--json]\n");
      return 2;
    }
  }
  const Kernels& k = linnet::kernels_for(isa.c_str());
  const double hertz = frequency();
  double flops = 0, peak = 0;
  float sink[64];
  for (int r = 0; r < rounds; ++r) {
    const double time = seconds([&] { flops = k.peak(kPeakTurns, sink); });
    peak = std::max(peak, flops / time);
  }
  if (json) {
    std::printf("{\"isa\": \"%s\", \"ghz\": %.3f, \"peak_gflops\": %.2f, \"kernels\": [", k.isa,
                hertz * 1e-9, peak * 1e-9);
  } else {
    std::printf("%s, %.2f GHz, peak %.1f GFLOP/s = %.1f FLOP/cycle\n", k.isa, hertz * 1e-9,
                peak * 1e-9, peak / hertz);
    std::printf("%-32s %-12s %9s %11s %8s\n", "layer", "kernel", "GFLOP/s", "FLOP/cycle", "% peak");
  }

  bool first = true;
  for (const Layer& layer : kLayers) {
    if (std::string(layer.name).find(match) == std::string::npos) continue;
    std::vector<Case> cases;
    if (layer.pixels == 1) {
      for (int v = 1; v <= k.gemv_vecs; ++v) cases.push_back({&layer, v, 0});
    } else {
      for (int v = 1; v <= k.direct_vecs; ++v) {
        const int cols = std::min<int>(k.direct_cols[v], static_cast<int>(layer.pixels)) /
                         layer.pool * layer.pool;
        if (cols > 0) cases.push_back({&layer, v, cols});
      }
    }
    for (const Case& c : cases) {
      if (c.vecs * k.width > layer.channels) continue;
      const Result r = measure(k, c, hertz, rounds);
      if (json) {
        std::printf(
            "%s\n  {\"layer\": \"%s\", \"kernel\": \"%s\", \"gflops\": %.2f, \"flop_per_cycle\": "
            "%.2f, "
            "\"percent_of_peak\": %.1f}",
            first ? "" : ",", r.layer.c_str(), r.kernel.c_str(), r.gflops, r.per_cycle, r.percent);
      } else {
        std::printf("%-32s %-12s %9.1f %11.1f %8.1f\n", r.layer.c_str(), r.kernel.c_str(), r.gflops,
                    r.per_cycle, r.percent);
        std::fflush(stdout);
      }
      first = false;
    }
  }
  if (json) std::printf("\n]}\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_kernels: %s\n", error.what());
    return 1;
  }
}
