#include "compile/fuse.h"

#include <algorithm>
#include <optional>
#include <utility>

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
        readers_(graph.values.size()),
        integer_readers_(graph.values.size()) {
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
  Group group(int first, int64_t batch, int threads) {
    const Node& node = graph_.nodes[first];
    Group g;
    g.nodes = {first};
    if (!node.op->problem) return g;
    g.x = node.value(0), g.z = node.value(1);
    Problem& p = g.problem;
    p = node.op->problem(graph_, node);
    const Value &x = graph_.values[node.value(0)], &y = graph_.values[node.output()];
    p.x.dims = x.dims(), p.x.dtype = x.type.dtype;
    p.n = graph_.fixed ? x.shape()[0] : batch, p.threads = threads;
    p.y.dims = y.dims(), p.y.dtype = y.type.dtype;
    if (node.op->quantized) {
      if (const auto integers = quantized(g)) return *integers;
    }
    if (p.y.dtype != DType::kF32) return g;
    for (const Fuse fuse : node.op->takes) {
      const Node* n = sole_user(g.output(graph_));
      if (n && n->op->becomes == fuse && take(*n, fuse, g)) push(g, n);
      if (fuse == Fuse::kFunction) take_swish(g);
    }
    return g;
  }

  // Whether all that read the result of a DequantizeLinear read its integers.
  bool unread(const Group& g) const {
    const int value = g.output(graph_);
    return g.nodes.size() == 1 && integer_readers_[value] > 0 &&
           integer_readers_[value] == readers_[value];
  }

 private:
  static const MapParams* scale_of(const Node& node, MapCode code) {
    const auto* map = std::get_if<MapParams>(&node.params);
    return map && map->function.code == code ? map : nullptr;
  }
  static void stand_for(const MapParams& scale, Operand& o) {
    o.dtype = scale.integers;
    o.scale = scale.function.a, o.zero = static_cast<int32_t>(scale.function.b);
  }

  // Has `o` be the integers that a value is made of.
  bool read_integers(int value, Operand& o) const {
    if (graph_.integers_of(value) < 0) return false;
    const Node& node = graph_.nodes[graph_.values[value].producer];
    stand_for(std::get<MapParams>(node.params), o);
    return true;
  }

  // The node that alone reads the group's result, and is a QuantizeLinear or DequantizeLinear.
  const Node* scaled_by(const Group& g, MapCode code) const {
    const Node* n = sole_user(g.output(graph_));
    return n && scale_of(*n, code) ? n : nullptr;
  }
  void push(Group& g, const Node* node) const {
    g.nodes.push_back(static_cast<int>(node - graph_.nodes.data()));
  }

  // What the epilogue computes next is of the group's integers, no longer of its sums.
  static void round_between(Problem& p) {
    p.end.between = {p.y.scale, p.y.zero, p.y.dtype, p.end.limits};
    p.end.limits = {};
  }

  // The QuantizeLinear that alone reads the group's result, which says what y stands for.
  bool take_quantize(Group& g) const {
    const Node* q = scaled_by(g, MapCode::kQuantize);
    if (!q) return false;
    push(g, q);
    stand_for(std::get<MapParams>(q->params), g.problem.y);
    return true;
  }

  void take_followers(Group& g) const {
    const Node* n = sole_user(g.output(graph_));
    if (n && n->op->becomes == Fuse::kActivation && take_limits(*n, g.problem.end)) push(g, n);
  }

  // The group where it computes with integers; nothing where it cannot.
  std::optional<Group> quantized(Group g) {
    const Node& node = graph_.nodes[g.nodes[0]];
    Problem& p = g.problem;
    const int x = g.x, z = g.z;
    if (p.weighted() && !is_byte(p.weights())) return std::nullopt;
    if (!p.weighted() && node.weight(1) >= 0 && p.binary()) return std::nullopt;
    if (!read_integers(x, p.x)) return std::nullopt;
    if (p.binary() && (!read_integers(z, p.z) || p.z.dims != p.x.dims)) return std::nullopt;
    const MapParams* own = scale_of(node, MapCode::kQuantize);
    if (!own) {
      take_followers(g);
      const Node* q = scaled_by(g, MapCode::kQuantize);
      if (!q && !p.weighted()) return std::nullopt;
      if (q) push(g, q), own = &std::get<MapParams>(q->params);
    }
    if (own) stand_for(*own, p.y);
    auto* map = std::get_if<family::Map>(&p.params);
    if (map && map->code == MapCode::kCopy)
      static_cast<Function&>(*map) = {MapCode::kQuantize, p.y.scale, static_cast<float>(p.y.zero)};
    g.x = graph_.integers_of(x), ++integer_readers_[x];
    if (p.binary()) g.z = graph_.integers_of(z), ++integer_readers_[z];
    if (p.weighted() && own && !take_sum(g) && !take_function(g)) take_other_integers(g);
    if (p.kind() == Kind::kMap && !p.binary() && own && take_product(g, x)) ++integer_readers_[x];
    return g;
  }

  // A function of the group's integers, and integers again of what it gives.
  bool take_function(Group& g) const {
    const Node* reals = scaled_by(g, MapCode::kDequantize);
    if (!reals) return false;
    Group other = g;
    push(other, reals);
    const int value = other.output(graph_);
    const Node* f = readers_[value] == 2 ? factor_of(value) : sole_user(value);
    if (!f || f->op->becomes != Fuse::kFunction || f->value(0) != value) return false;
    round_between(other.problem);
    other.problem.end.then = f->op->problem(graph_, *f).map();
    push(other, f);
    if (!take_quantize(other)) return false;
    if (readers_[value] == 2 && !take_product(other, value)) return false;
    g = std::move(other);
    return true;
  }

  const Node* producer_of(int value) const {
    const int producer = value < 0 ? -1 : graph_.values[value].producer;
    return producer < 0 ? nullptr : &graph_.nodes[producer];
  }

  // The node whose result, as integers, the last reader of a value multiplies it by.
  const Node* factor_of(int value) const {
    if (users_[value] < 0) return nullptr;
    const Node& product = graph_.nodes[users_[value]];
    const int other = product.value(0) == value ? product.value(1) : product.value(0);
    const Node* q = producer_of(graph_.integers_of(other));
    return q ? producer_of(q->value(0)) : nullptr;
  }

  // The product of the value that the group's function is of, `x`, with its integers, where nobody
  // else reads these.
  bool take_product(Group& g, int x) const {
    const Node* reals = scaled_by(g, MapCode::kDequantize);
    if (!reals || readers_[x] != 2) return false;
    Group product = g;
    push(product, reals);
    const int mine = product.output(graph_);
    const Node* node = sole_user(mine);
    if (!node || node->op->name != std::string("Mul") || node->weight(1) >= 0) return false;
    if ((node->value(0) == mine ? node->value(1) : node->value(0)) != x) return false;
    push(product, node);
    Problem& p = product.problem;
    p.end.gate = {p.y.scale, p.y.zero, p.y.dtype, {}};
    if (!take_quantize(product)) return false;
    g = std::move(product);
    return true;
  }

  // Integers of another scale that the group's alone become.
  void take_other_integers(Group& g) const {
    const Node* reals = scaled_by(g, MapCode::kDequantize);
    if (!reals) return;
    Group other = g;
    push(other, reals);
    round_between(other.problem);
    if (take_quantize(other)) g = std::move(other);
  }

  // A residual that is added to the reals of the group's integers, and integers again of the sum.
  bool take_sum(Group& g) {
    const Node* reals = scaled_by(g, MapCode::kDequantize);
    if (!reals) return false;
    Group sum = g;
    Problem& p = sum.problem;
    push(sum, reals);
    const int mine = sum.output(graph_);
    const Node* add = sole_user(mine);
    if (!add || add->op->becomes != Fuse::kResidual || add->weight(1) >= 0) return false;
    const int other = add->value(0) == mine ? add->value(1) : add->value(0);
    p.z = p.y;
    if (!read_integers(other, p.z)) return false;
    sum.z = graph_.integers_of(other);
    if (graph_.values[other].shape() != graph_.values[mine].shape() ||
        graph_.values[sum.z].producer >= g.nodes[0])
      return false;
    push(sum, add);
    round_between(p);
    p.end.residual = true;
    take_followers(sum);
    if (!take_quantize(sum)) return false;
    ++integer_readers_[other];
    g = std::move(sum);
    return true;
  }

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
    g.z = other;
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
  std::vector<int> users_;            // of each value: the last node that reads it
  std::vector<int> readers_;          // how often each value is read or wanted
  std::vector<int> integer_readers_;  // how often groups read the integers that it is made of
};

}  // namespace

std::vector<Group> fuse(const Graph& graph, int64_t batch, const std::vector<int>& wanted,
                        int threads, const std::function<bool(const Problem&)>& takes) {
  Fuser fuser(graph, wanted, takes);
  std::vector<bool> done(graph.nodes.size());
  std::vector<Group> groups;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (done[n]) continue;
    groups.push_back(fuser.group(static_cast<int>(n), batch, threads));
    for (const int node : groups.back().nodes) done[node] = true;
  }
  groups.erase(
      std::remove_if(groups.begin(), groups.end(), [&](const Group& g) { return fuser.unread(g); }),
      groups.end());
  return groups;
}

}  // namespace linnet
