#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "algorithms/cost.h"
#include "compile/chain.h"
#include "compile/fuse.h"
#include "compile/lower.h"
#include "compile/place.h"
#include "graphs.h"
#include "kernel_tests.h"
#include "run/run.h"

using namespace linnet;

namespace {

// What compiling needs, without a session.
struct Compiler {
  explicit Compiler(const Kernels& kernels, int threads) : pool(threads), kernels(kernels) {}

  WeightStore weights;
  ThreadPool pool;
  const Kernels& kernels;
  Backends backends{"none", "none"};
  Context context{kernels, weights, backends};
  Planner planner{options(), context, pool};

  static PlannerOptions options() {
    PlannerOptions o;
    o.wisdom.clear();
    return o;
  }
  // With the chains for a cache of so many bytes, if there is one.
  Program operator()(const Graph& graph, int64_t batch, double cache) {
    const auto pools = [](const Problem& p) { return p.end.pool[0] <= 3; };
    const auto groups = fuse(graph, batch, graph.outputs, pool.threads(), pools);
    Program p = lower(graph, groups, {batch, graph.outputs}, Layout::kNhwc, planner, kernels.width);
    prepare(p, context);
    if (cache > 0) {
      Machine small = machine();
      small.l2 = cache;
      const OtherMachine other(small);
      find_chains(p, context, 1);
    }
    place(p);
    return p;
  }
};

std::vector<float> run(const Program& program, const Graph& graph, const std::vector<float>& x,
                       ThreadPool& pool) {
  int64_t count = program.batch;
  const Shape& shape = graph.values[graph.outputs[0]].shape();
  for (size_t axis = 1; axis < shape.size(); ++axis) count *= shape[axis];
  std::vector<float> y(static_cast<size_t>(count));
  Runner runner(program);
  for (int i = 0; i < 2; ++i) runner.run(0, {x.data()}, {y.data()}, pool, nullptr);
  return y;
}

std::string chains(const Program& program) {
  std::string all;
  for (const Chain& chain : program.chains) {
    for (int i = chain.first; i <= chain.last(); ++i)
      all += program.steps[i].name + (i < chain.last() ? " " : ";");
  }
  return all;
}

const Shape kImage = {1, 5, 75, 61};

std::vector<std::shared_ptr<const Graph>> nets() {
  std::vector<std::shared_ptr<const Graph>> all;
  // As MobileNet v2 has it, with a residual.
  all.push_back(Sketch(kImage)
                    .conv("in", "x", 24, 1)
                    .node("Relu", "a", {"in"})
                    .conv("b", "a", 50, 1)
                    .depthwise("c", "b", 3, 1)
                    .node("Relu", "d", {"c"})
                    .conv("e", "d", 24, 1)
                    .node("Add", "f", {"e", "a"})
                    .conv("y", "f", 3, 1)
                    .output("y"));
  // Two rows of padding, and rows that nobody reads.
  all.push_back(Sketch(kImage)
                    .conv("a", "x", 31, 1)
                    .depthwise("b", "a", 5, 2)
                    .conv("c", "b", 64, 1)
                    .depthwise("d", "c", 3, 2)
                    .conv("y", "d", 8, 1)
                    .output("y"));
  // Windows of a single row, of which each other is read, and of rows apart.
  all.push_back(Sketch(kImage)
                    .conv("a", "x", 33, 1)
                    .depthwise("b", "a", 1, 2)
                    .conv("c", "b", 70, 1)
                    .depthwise("d", "c", 3, 1, 2)
                    .conv("y", "d", 8, 1)
                    .output("y"));
  // An input that is copied with its padding, and one with a pool in the same step; one as a step.
  all.push_back(Sketch(kImage)
                    .conv("a", "x", 20)
                    .depthwise("b", "a", 3, 1)
                    .conv("c", "b", 20)
                    .pool("p", "c", 2, 2)
                    .conv("d", "p", 40, 1)
                    .pool("q", "d", 3, 2)
                    .conv("y", "q", 8, 1)
                    .output("y"));
  return all;
}

}  // namespace

TEST_CASE("chains: rows computed together are those of whole images, to the bit") {
  std::mt19937 random(1);
  for (const Kernels* kernels : tables()) {
    for (const int threads : {1, 2, 5}) {
      Compiler compiler(*kernels, threads);
      for (const auto& net : nets()) {
        for (const int64_t batch : {1, 2}) {
          std::vector<float> x(static_cast<size_t>(batch * kImage[1] * kImage[2] * kImage[3]));
          for (float& number : x) number = std::uniform_real_distribution<float>(-1, 1)(random);
          const Program plain = compiler(*net, batch, 0);
          const auto wanted = run(plain, *net, x, compiler.pool);
          size_t found = 0;
          for (const double cache : {48e3, 130e3, 400e3}) {
            CAPTURE(kernels->isa);
            CAPTURE(threads);
            CAPTURE(batch);
            CAPTURE(cache);
            const Program chained = compiler(*net, batch, cache);
            CAPTURE(chains(chained));
            found += chained.chains.size();
            const auto y = run(chained, *net, x, compiler.pool);
            CHECK(std::memcmp(wanted.data(), y.data(), wanted.size() * sizeof(float)) == 0);
          }
          CHECK(found > 0);
        }
      }
    }
  }
}

TEST_CASE("chains: what others read stays whole, and so does what is small") {
  Compiler compiler(kernels_for(nullptr), 1);
  const auto forked = Sketch({1, 5, 37, 29})
                          .conv("a", "x", 24, 1)
                          .depthwise("b", "a", 3, 1)
                          .conv("c", "b", 24, 1)
                          .depthwise("d", "c", 3, 2)
                          .depthwise("e", "c", 5, 2)
                          .node("Add", "y", {"d", "e"})
                          .output("y");
  const Program chained = compiler(*forked, 1, 130e3);
  CHECK(chains(chained) == "a b c;");
  CHECK(chained.arena < compiler(*forked, 1, 0).arena);
  CHECK(compiler(*forked, 1, 1e6).chains.empty());
}
