#include "compile/fuse.h"

#include <algorithm>

#include "ops/op.h"

namespace linnet {
namespace {

class Fuser {
 public:
  Fuser(const Graph& graph, const std::vector<int>& wanted,
        const std::function<bool(const Problem&)>& takes)
      : graph_(graph),
        takes_(takes),
        users_(graph.values.size(), -1),
        readers_(graph.values.size()) {
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      for (const Input& input : graph.nodes[n].inputs) {
        if (input.value < 0) continue;
        users_[input.value] = static_cast<int>(n);
        ++readers_[input.value];
      }
    }
    for (const int value : wanted) ++readers_[value];
  }

  // The node and what its step takes besides.
  Group group(int first, int64_t batch, int threads) const {
    const Node& node = graph_.nodes[first];
    Group g;
    g.nodes = {first};
    if (!node.op->problem) return g;
    Problem& p = g.problem;
    p = node.op->problem(graph_, node);
    const Value &x = graph_.values[node.value(0)], &y = graph_.values[node.output()];
    p.x.dims = x.dims(), p.x.dtype = x.type.dtype;
    p.n = graph_.fixed ? x.shape()[0] : batch, p.threads = threads;
    p.y.dims = y.dims(), p.y.dtype = y.type.dtype;
    if (p.y.dtype != DType::kF32) return g;
    for (const Fuse fuse : node.op->takes) {
      const Node* n = sole_user(g.output(graph_));
      if (n && n->op->becomes == fuse && take(*n, fuse, g))
        g.nodes.push_back(static_cast<int>(n - graph_.nodes.data()));
      if (fuse == Fuse::kFunction) take_swish(g);
    }
    return g;
  }

 private:
  // The one node that reads a value nobody else wants; null if there is none.
  const Node* sole_user(int value) const {
    return readers_[value] == 1 && users_[value] >= 0 ? &graph_.nodes[users_[value]] : nullptr;
  }

  bool take(const Node& node, Fuse fuse, Group& g) const {
    switch (fuse) {
      case Fuse::kNothing:
        return false;
      case Fuse::kResidual:
        return take_residual(node, g);
      case Fuse::kActivation:
        return take_limits(node, g.problem.end);
      case Fuse::kFunction:
        g.problem.end.then = node.op->problem(graph_, node).map();
        return true;
      case Fuse::kPool:
        return take_pool(node, g.problem);
    }
    return false;
  }

  // The other summand must exist before this step runs.
  bool take_residual(const Node& node, Group& g) const {
    if (node.weight(1) >= 0) return false;
    const int mine = g.output(graph_);
    const int other = node.value(0) == mine ? node.value(1) : node.value(0);
    if (other == mine || graph_.values[other].shape() != graph_.values[mine].shape() ||
        graph_.values[other].producer >= g.nodes[0])
      return false;
    g.residual = other;
    g.problem.z.dims = g.problem.y.dims;
    return g.problem.end.residual = true;
  }

  // A product with the value's own sigmoid, which nobody else reads.
  void take_swish(Group& g) const {
    const int value = g.output(graph_);
    if (readers_[value] != 2 || users_[value] < 0) return;
    const Node& product = graph_.nodes[users_[value]];
    if (product.op->name != std::string("Mul")) return;
    const int other = product.value(product.value(0) == value ? 1 : 0);
    if (other < 0 || other == value || graph_.values[other].producer < 0) return;
    const int factor = graph_.values[other].producer;
    const Node& sigmoid = graph_.nodes[factor];
    if (sigmoid.op->name != std::string("Sigmoid") || sigmoid.value(0) != value ||
        readers_[other] != 1)
      return;
    g.problem.end.then = {MapCode::kSwish};
    g.nodes.insert(g.nodes.end(), {factor, users_[value]});
  }

  // Padding must stay zero.
  bool take_limits(const Node& node, Epilogue& end) const {
    const Limits limits = node.op->problem(graph_, node).end.limits;
    if (limits.low > 0 || limits.high < 0) return false;
    end.limits = limits;
    return true;
  }

  bool take_pool(const Node& node, Problem& p) const {
    const Window& w = std::get<PoolParams>(node.params).window;
    const Dims& d = p.y.dims;
    const bool tiles =
        w.kernel[0] == w.stride[0] && w.kernel[1] == w.stride[1] && !w.dilated() && !w.padded();
    const bool whole = !w.ceil || (d.h % w.kernel[0] == 0 && d.w % w.kernel[1] == 0);
    if (p.end.residual || !tiles || !whole) return false;
    Problem pooled = p;
    pooled.end.pool[0] = w.kernel[0], pooled.end.pool[1] = w.kernel[1];
    pooled.y.dims = graph_.values[node.output()].dims();
    pooled.x.layout = pooled.y.layout = Layout::kNhwc;
    if (!takes_(pooled)) return false;
    p.end = pooled.end, p.y.dims = pooled.y.dims;
    return true;
  }

  const Graph& graph_;
  const std::function<bool(const Problem&)>& takes_;
  std::vector<int> users_;    // of each value: the last node that reads it
  std::vector<int> readers_;  // how often each value is read or wanted
};

}  // namespace

std::vector<Group> fuse(const Graph& graph, int64_t batch, const std::vector<int>& wanted,
                        int threads, const std::function<bool(const Problem&)>& takes) {
  const Fuser fuser(graph, wanted, takes);
  std::vector<bool> done(graph.nodes.size());
  std::vector<Group> groups;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (done[n]) continue;
    groups.push_back(fuser.group(static_cast<int>(n), batch, threads));
    for (const int node : groups.back().nodes) done[node] = true;
  }
  return groups;
}

}  // namespace linnet
