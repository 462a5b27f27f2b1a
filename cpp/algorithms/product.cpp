// Products of computed matrices by the direct convolution's tile: rows of the first take the place
// of pixels, columns of the second, packed as they come, that of output channels.

#include <algorithm>
#include <cstring>

#include "algorithms/cost.h"
#include "algorithms/direct.h"

namespace linnet {
namespace {

struct ProductArgs {
  int64_t matrices, rows, terms, columns;
  Panels panels;
  int64_t splits;         // of the rows, where there are few matrices and panels
  int64_t packed_floats;  // of a panel
  int64_t thread_floats;  // besides, a tile of results
};

ProductArgs args_of(const Problem& p, const Kernels& kernels) {
  ProductArgs a{p.n * p.x.dims.c, p.x.dims.h, p.x.dims.w, p.y.dims.w, {}, 1, 0, 0};
  a.panels = best_panels(kernels, a.columns, a.rows, 1, a.terms);
  const int64_t lanes = static_cast<int64_t>(a.panels.vecs) * kernels.width;
  const int64_t tiles = ceil_div(a.rows, kernels.direct_cols[a.panels.vecs]);
  a.splits = std::min(tiles, ceil_div(p.threads, a.matrices * a.panels.count()));
  a.packed_floats = round_up(a.terms * lanes, 16);
  // The narrower tiles of the last panel may be more numbers than those of the others.
  const auto tile = [&](int vecs) { return int64_t{vecs} * kernels.direct_cols[vecs]; };
  const int64_t most = std::max(tile(a.panels.vecs), a.panels.rest ? tile(a.panels.rest) : 0);
  a.thread_floats = a.packed_floats + round_up(most * kernels.width, 16);
  return a;
}

// Rows first to last of the results in one panel of columns.
void run_panel(const ProductArgs& a, const Kernels& kernels, const float* x, const float* z,
               float* y, int64_t panel, int64_t first, int64_t last, float* workspace) {
  const int vecs = a.panels.size(panel);
  const int64_t lanes = static_cast<int64_t>(vecs) * kernels.width;
  const int64_t column = panel * a.panels.vecs * kernels.width;
  const int64_t used = std::min(lanes, a.columns - column);
  float *packed = workspace, *results = workspace + a.packed_floats;
  for (int64_t t = 0; t < a.terms; ++t) {
    std::memcpy(packed + t * lanes, z + t * a.columns + column,
                static_cast<size_t>(used) * sizeof(float));
    std::fill(packed + t * lanes + used, packed + (t + 1) * lanes, 0.0f);
  }
  // Tiles write whole vectors, which only rows of whole vectors have room for.
  const bool straight = a.columns % kernels.width == 0;
  const int64_t tiles = ceil_div(last - first, kernels.direct_cols[vecs]);
  DirectTile tile{};
  tile.x_col = a.terms, tile.outer = tile.middle = 1, tile.inner = a.terms;
  tile.w = packed, tile.bias = kNoBias, tile.pool_cols = 1;
  tile.y_col = straight ? a.columns : lanes;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t from = first + (last - first) * t / tiles,
                  to = first + (last - first) * (t + 1) / tiles;
    float* to_y = y + from * a.columns + column;
    tile.x = x + from * a.terms;
    tile.y = straight ? to_y : results;
    run_in_parts(kernels.direct[vecs][to - from], tile, lanes);
    for (int64_t row = 0; !straight && row < to - from; ++row)
      std::memcpy(to_y + row * a.columns, results + row * lanes,
                  static_cast<size_t>(used) * sizeof(float));
  }
}

void run_product(const ProductArgs& a, const FloatOperands& o) {
  const int64_t panels = a.panels.count();
  o.pool.parallel_for(a.matrices * panels * a.splits, [&](int64_t task, int thread) {
    const int64_t split = task % a.splits, matrix = task / a.splits / panels;
    run_panel(a, o.kernels, o.x + matrix * a.rows * a.terms,
              o.operand + matrix * a.terms * a.columns, o.y + matrix * a.rows * a.columns,
              task / a.splits % panels, a.rows * split / a.splits, a.rows * (split + 1) / a.splits,
              o.workspace + thread * a.thread_floats);
  });
}

constexpr auto kCode = plan_code<&run_product>("product");

class Products final : public Algorithm {
 public:
  const char* name() const override { return "product"; }
  Kinds kinds() const override { return {Kind::kProduct}; }
  double cost(const Problem& p, const Context& context) const override {
    const Kernels& kernels = context.kernels;
    const ProductArgs a = args_of(p, kernels);
    const auto packed = static_cast<double>(round_up(a.columns, kernels.width) * a.terms);
    const double vectors = packed / kernels.width * static_cast<double>(a.rows);
    const double cycles = vectors / fma_rate(kernels) / machine().efficiency + packed / 4;
    const auto matrices = static_cast<double>(a.matrices);
    const auto tasks = static_cast<double>(a.panels.count() * a.splits);
    return 200 + parallel_cycles(matrices * cycles, matrices * tasks, p.threads);
  }
  double memory(const Problem& p, const Context& context) const override {
    return static_cast<double>(args_of(p, context.kernels).thread_floats * p.threads) *
           sizeof(float);
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    const ProductArgs a = args_of(p, context.kernels);
    return make_plan(kCode, a, context, float_bytes(a.thread_floats * p.threads));
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    return p.x.layout == Layout::kNchw && p.y.layout == Layout::kNchw ? "" : "reads planes only";
  }
};

const Products kProducts;
const RegisterAlgorithm kRegistered(&kProducts);

}  // namespace
}  // namespace linnet
