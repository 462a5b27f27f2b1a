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
  Problem problem;  // layouts are open; of no kind where the node has no problem
  int x = -1;       // the value it reads, which of integers is what a DequantizeLinear reads
  int z = -1;       // the second, be it the residual or an operand

  int output(const Graph& graph) const { return graph.nodes[nodes.back()].output(); }
};

// All nodes of the graph in groups, in the order of their first nodes. A follower is fused where
// nobody else reads the value between and it is not among `wanted`; a pool only where `takes`
// accepts the problem with it.
//
// Where a DequantizeLinear makes what a node reads, and a QuantizeLinear integers of what it gives,
// the group computes with the integers; a DequantizeLinear whose readers all do is in no group.
std::vector<Group> fuse(const Graph& graph, int64_t batch, const std::vector<int>& wanted,
                        int threads, const std::function<bool(const Problem&)>& takes);

}  // namespace linnet
