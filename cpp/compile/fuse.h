// Which nodes of a graph become one step.
#pragma once

#include <functional>
#include <vector>

#include "graph/graph.h"
#include "problem/problem.h"

namespace linnet {

// A node with the followers that its step does as well, and the problem they come to together.
struct Group {
  std::vector<int> nodes;
  Problem problem;    // layouts are open; of no kind where the node has no problem
  int residual = -1;  // value

  int output(const Graph& graph) const { return graph.nodes[nodes.back()].output(); }
};

// All nodes of the graph in groups, in the order of their first nodes. A follower is fused where
// nobody else reads the value between and it is not among `wanted`; a pool only where `takes`
// accepts the problem with it.
std::vector<Group> fuse(const Graph& graph, int64_t batch, const std::vector<int>& wanted,
                        int threads, const std::function<bool(const Problem&)>& takes);

}  // namespace linnet
