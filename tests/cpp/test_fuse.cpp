#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "compile/fuse.h"
#include "graphs.h"

using namespace linnet;

namespace {

bool always(const Problem&) { return true; }
bool never(const Problem&) { return false; }

// The names of each group's nodes, joined by "+".
std::vector<std::string> groups(const Graph& graph, const std::vector<int>& wanted = {},
                                const std::function<bool(const Problem&)>& takes = always) {
  std::vector<std::string> names;
  for (const Group& g : fuse(graph, 1, wanted.empty() ? graph.outputs : wanted, 1, takes)) {
    std::string name;
    for (const int n : g.nodes) name += (name.empty() ? "" : "+") + graph.nodes[n].name;
    names.push_back(name);
  }
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("fuse: an activation and a pool go with the convolution before them") {
  const auto graph =
      Sketch().conv("c", "x", 16).node("Relu", "r", {"c"}).pool("p", "r", 2, 2).output("p");
  CHECK(groups(*graph) == Names{"c+r+p"});
  CHECK(groups(*graph, {}, never) == Names{"c+r", "p"});
  // What is wanted must exist.
  CHECK(groups(*graph, {graph->find_value("c"), graph->find_value("p")}) == Names{"c", "r", "p"});
  CHECK(groups(*graph, {graph->find_value("r")}) == Names{"c+r", "p"});
}

TEST_CASE("fuse: limits and functions go with the step before them where padding stays zero") {
  const auto one = [](const Sketch& sketch, const std::string& output) {
    Sketch copy = sketch;
    const auto graph = copy.output(output);
    return fuse(*graph, 1, graph->outputs, 1, always);
  };
  const auto clipped = [&](float low, float high) {
    return one(Sketch()
                   .conv("c", "x", 16)
                   .number("low", low)
                   .number("high", high)
                   .node("Clip", "y", {"c", "low", "high"}),
               "y");
  };
  REQUIRE(clipped(0, 6).size() == 1);
  CHECK(clipped(0, 6)[0].problem.end.limits.high == 6);
  CHECK(clipped(-1, 1)[0].problem.end.limits.low == -1);
  CHECK(clipped(0.5f, 6).size() == 2);
  CHECK(clipped(-3, -1).size() == 2);
  CHECK(clipped(0.5f, -1)[1].problem.end.limits.low == -1);  // crossed

  const auto sigmoid =
      one(Sketch().conv("c", "x", 16).pool("p", "c", 2, 2).node("Sigmoid", "y", {"p"}), "y");
  REQUIRE(sigmoid.size() == 1);
  CHECK(sigmoid[0].problem.end.then.code == MapCode::kSigmoid);
  CHECK(one(Sketch({1, 8}).fc("c", "x", 16).node("Sigmoid", "y", {"c"}), "y").size() == 1);
  CHECK(groups(*Sketch()
                    .conv("c", "x", 16)
                    .node("Sigmoid", "y", {"c"})
                    .pool("p", "y", 2, 2)
                    .output("p")) == Names{"c+y", "p"});
}

TEST_CASE("fuse: pools whose windows overlap or leave a rest stay") {
  CHECK(groups(*Sketch().conv("c", "x", 16).pool("p", "c", 3, 2).output("p")) == Names{"c", "p"});
  const auto rest = Sketch({1, 8, 13, 13})
                        .conv("c", "x", 16)
                        .node("MaxPool", "p", {"c"},
                              {{"kernel_shape", std::vector<int64_t>{2, 2}},
                               {"strides", std::vector<int64_t>{2, 2}},
                               {"ceil_mode", int64_t{1}}})
                        .output("p");
  CHECK(groups(*rest) == Names{"c", "p"});
}

TEST_CASE("fuse: a residual that exists before the convolution is added in its step") {
  const auto graph = Sketch()
                         .conv("a", "x", 8)
                         .conv("b", "a", 8)
                         .node("Add", "s", {"a", "b"})
                         .node("Relu", "r", {"s"})
                         .output("r");
  CHECK(groups(*graph) == Names{"a", "b+s+r"});
  const std::vector<Group> both = fuse(*graph, 3, graph->outputs, 2, always);
  CHECK(both[1].z == graph->find_value("a"));
  CHECK(both[1].problem.n == 3);
  CHECK(both[1].problem.threads == 2);
  CHECK(both[1].problem.end.residual);
  CHECK(both[1].problem.end.limits.low == 0);
}

TEST_CASE("fuse: two branches; only the later one takes the sum") {
  const auto graph =
      Sketch().conv("a", "x", 8).conv("b", "x", 8).node("Add", "s", {"a", "b"}).output("s");
  CHECK(groups(*graph) == Names{"a", "b+s"});
}

TEST_CASE("fuse: a sum of a value with itself, or with a constant, is a step of its own") {
  CHECK(groups(*Sketch().conv("c", "x", 8).node("Add", "s", {"c", "c"}).output("s")) ==
        Names{"c", "s"});
  CHECK(groups(*Sketch()
                    .conv("c", "x", 8)
                    .node("Add", "s", {"c", "x"})
                    .node("Relu", "r", {"s"})
                    .output("r")) == Names{"c+s+r"});
}

TEST_CASE("fuse: the last node takes nothing, whatever the first one is") {
  CHECK(groups(*Sketch().pool("p", "x", 2, 2).conv("y", "p", 16).output("y")) == Names{"p", "y"});
  CHECK(groups(*Sketch().node("Relu", "r", {"x"}).conv("y", "r", 16).output("y")) ==
        Names{"r", "y"});
}

TEST_CASE("fuse: a value with two readers is not swallowed") {
  const auto graph =
      Sketch().conv("c", "x", 8).node("Relu", "r", {"c"}).concat("j", {"c", "r"}).output("j");
  CHECK(groups(*graph) == Names{"c", "r", "j"});
}
