#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "compile/program.h"
#include "graphs.h"

using namespace linnet;

namespace {

// What compiling needs, without a session.
struct Compiler {
  WeightStore weights;
  ThreadPool pool{1};
  const Kernels& kernels = kernels_for(nullptr);
  Backends backends;
  Context context{kernels, weights, backends};
  Planner planner{options(), context, pool};

  static PlannerOptions options() {
    PlannerOptions o;
    o.wisdom.clear();
    return o;
  }
  Program operator()(const Graph& graph, int64_t batch = 1) {
    return compile(graph, {batch, graph.outputs}, planner, context, 1);
  }
};

std::vector<std::string> ops(const Program& program) {
  std::vector<std::string> names;
  for (const Step& step : program.steps) names.push_back(step.op);
  return names;
}

}  // namespace

TEST_CASE("lower: steps follow each other through blocks that live as long as they are read") {
  const auto graph = Sketch().conv("a", "x", 16).conv("b", "a", 16).conv("c", "b", 16).output("c");
  Compiler compiler;
  const Program program = compiler(*graph, 2);
  CHECK(program.batch == 2);
  REQUIRE(program.steps.size() >= 3);
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    CHECK(step.plan != nullptr);
    CHECK(program.blocks[step.x.block].last_step >= static_cast<int>(i));
    CHECK(program.blocks[step.y.block].first_step <= static_cast<int>(i));
    if (i > 0) CHECK(step.x.block == program.steps[i - 1].y.block);
  }
  CHECK(program.blocks[program.steps[0].x.block].where == Block::kInput);
  CHECK(program.blocks[program.steps.back().y.block].where == Block::kOutput);
  CHECK(program.blocks[program.steps.back().y.block].image == 16 * 12 * 12 * 4);
}

TEST_CASE("lower: Flatten before a fully connected layer moves nothing") {
  const auto graph = Sketch()
                         .conv("c", "x", 16)
                         .node("Flatten", "f", {"c"}, {{"axis", int64_t{1}}})
                         .fc("y", "f", 10)
                         .output("y");
  Compiler compiler;
  const Program program = compiler(*graph);
  const auto fc = std::find_if(program.steps.begin(), program.steps.end(),
                               [](const Step& step) { return step.op == "Gemm"; });
  REQUIRE(fc - program.steps.begin() >= 1);
  CHECK(fc->x.dims == Dims{16, 12, 12});
  CHECK(fc->x.block == std::prev(fc)->y.block);
}

TEST_CASE("lower: an input that is wanted itself is copied") {
  const auto graph = Sketch().node("Relu", "r", {"x"}).output("r");
  Compiler compiler;
  const Program program = compile(*graph, {1, {graph->inputs[0], graph->outputs[0]}},
                                  compiler.planner, compiler.context, 1);
  CHECK(ops(program) == std::vector<std::string>{"Relu", "Reorder"});
}

TEST_CASE("lower: a program prints its steps and blocks") {
  const auto graph = Sketch().conv("a", "x", 16).node("Relu", "r", {"a"}).output("r");
  Compiler compiler;
  std::ostringstream text;
  compiler(*graph).dump(text);
  CHECK(text.str().find("a+r (Conv+Relu)") != std::string::npos);
  CHECK(text.str().find("input 0 nchw 8x12x12") != std::string::npos);
  CHECK(text.str().find("output 0 nchw 16x12x12") != std::string::npos);
  CHECK(text.str().find("arena: ") != std::string::npos);
}
