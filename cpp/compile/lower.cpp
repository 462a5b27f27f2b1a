#include "compile/lower.h"

#include <algorithm>
#include <limits>
#include <map>
#include <new>
#include <tuple>

#include "ops/op.h"

namespace linnet {
namespace {

class Lowerer final : public Lowering {
 public:
  Lowerer(const Graph& graph, const Wanted& wanted, Layout preferred, const Planner& planner,
          int width)
      : graph_(graph),
        wanted_(wanted.values),
        preferred_(preferred),
        planner_(planner),
        width_(width),
        views_(graph.values.size()) {
    program_.batch = wanted.batch, program_.wanted = wanted.values;
    for (size_t i = 0; i < graph.inputs.size(); ++i) {
      Block block;
      block.where = Block::kInput, block.index = static_cast<int>(i);
      const Dims dims = flat_dims(graph.values[graph.inputs[i]].shape());
      block.image = dims.count() * static_cast<int64_t>(sizeof(float));
      views_[graph.inputs[i]] = {add(block), dims, Layout::kNchw};
    }
  }

  void add(const Group& group) {
    const Node& node = graph_.nodes[group.nodes[0]];
    if (node.op->problem) {
      solve(group);
    } else {
      node.op->lower(node, *this);
    }
  }

  // Moves nothing: the new value is the old one under other dims.
  void alias(int from, int to) override {
    const Shape& shape = graph_.values[to].shape();
    View view = views_[from];
    // Only a fully connected layer reads pixels as they lie; a value wanted by the caller or others
    // must be dense.
    if (view.layout != Layout::kNchw && !(shape.size() <= 4 && dims_of(shape) == view.dims)) {
      if (shape.size() == 2 && read_by_matrices_only(to)) {
        views_[to] = view;
        return;
      }
      view = in_layout(view, Layout::kNchw, graph_.nodes[graph_.values[to].producer].name);
    }
    view.dims = flat_dims(shape);
    views_[to] = view;
  }

  // A step for each part, which copies it to its channels of the result and changes its layout on
  // the way if need be.
  void join(const Node& node, const std::vector<int>& values, int to) override {
    const Dims dims = graph_.values[to].dims();
    std::vector<View> parts;
    for (const int value : values)
      parts.push_back(with_dims(views_[value], graph_.values[value].dims(), node.name));
    std::vector<Choice> best;
    Layout layout = preferred_;
    double least = std::numeric_limits<double>::infinity();
    for (const Layout candidate : {Layout::kNchw, Layout::kNhwc}) {
      std::vector<Choice> choices;
      double seconds = 0;
      int64_t first = 0;
      for (const View& x : parts) {
        const Layout from = layouts_coincide(x.dims, width_) ? candidate : x.layout;
        choices.push_back(planner_.reorder(program_.batch, x.dims, from, candidate, dims.c, first));
        seconds += choices.back().seconds;
        first += x.dims.c;
      }
      if (candidate != preferred_ && !layouts_coincide(dims, width_))
        seconds += planner_.reorder(program_.batch, dims, candidate, preferred_).seconds;
      if (seconds < least) {
        least = seconds;
        layout = candidate;
        best = std::move(choices);
      }
    }
    const View y = fresh(dims, layout);
    for (size_t i = 0; i < parts.size(); ++i) {
      Step step;
      step.name = node.name + ".part" + std::to_string(i + 1), step.op = node.op->name;
      step.choice = std::move(best[i]);
      step.x = parts[i], step.y = y;
      add(std::move(step));
    }
    views_[to] = y;
  }

  // Gives every wanted value its place in the caller's memory: the step that makes it writes there
  // if it can.
  Program finish() {
    for (size_t i = 0; i < wanted_.size(); ++i) {
      const View at = views_[wanted_[i]];
      const bool dense = at.layout == Layout::kNchw || layouts_coincide(at.dims, width_);
      const bool own = program_.blocks[at.block].where == Block::kArena;
      const View target = dense && own ? at : fresh(at.dims, Layout::kNchw);
      Block& block = program_.blocks[target.block];
      block.where = Block::kOutput, block.index = static_cast<int>(i);
      block.image = at.dims.count() * static_cast<int64_t>(sizeof(float));
      if (target.block != at.block) reorder(graph_.values[wanted_[i]].name + ".output", at, target);
    }
    return std::move(program_);
  }

 private:
  // One image of any rank; what has more than four axes lies flat.
  static Dims flat_dims(const Shape& shape) {
    Dims dims = dims_of(shape);
    return shape.size() <= 4 ? dims : Dims{dims.count(), 1, 1};
  }

  bool read_by_matrices_only(int value) const {
    if (std::count(wanted_.begin(), wanted_.end(), value)) return false;
    for (const Node& node : graph_.nodes) {
      for (const Input& input : node.inputs) {
        if (input.value == value &&
            !(node.op->problem && node.op->problem(graph_, node).kind() == Kind::kMatmul))
          return false;
      }
    }
    return true;
  }

  int add(const Block& block) {
    program_.blocks.push_back(block);
    return static_cast<int>(program_.blocks.size()) - 1;
  }

  View fresh(const Dims& dims, Layout layout) {
    const int64_t floats = image_stride(dims, layout, width_);
    if (floats > std::numeric_limits<int64_t>::max() / program_.batch) throw std::bad_alloc();
    Block block;
    block.bytes = float_bytes(program_.batch * floats);
    return {add(block), dims, layout};
  }

  void add(Step step) {
    const int index = static_cast<int>(program_.steps.size());
    for (const int block : {step.x.block, step.z.block, step.y.block}) {
      if (block < 0) continue;
      Block& b = program_.blocks[block];
      if (b.first_step < 0) b.first_step = index;
      b.last_step = index;
    }
    program_.steps.push_back(std::move(step));
  }

  void reorder(const std::string& name, const View& x, const View& y) {
    Step step;
    step.name = name, step.op = "Reorder";
    step.choice = planner_.reorder(program_.batch, x.dims, x.layout, y.layout);
    step.x = x, step.y = y;
    add(std::move(step));
  }

  // The same value in another layout, through a step the first time.
  View in_layout(View view, Layout layout, const std::string& name) {
    if (view.layout == layout) return view;
    if (layouts_coincide(view.dims, width_)) {
      view.layout = layout;
      return view;
    }
    const Dims& d = view.dims;
    const auto key = std::make_tuple(view.block, d.c, d.h, d.w, layout);
    const auto known = reordered_.find(key);
    if (known != reordered_.end()) return known->second;
    const View copy = fresh(d, layout);
    reorder(name + ".reorder", view, copy);
    reordered_[key] = copy;
    return copy;
  }

  // The same value where its pixels lie as `dims` say.
  View with_dims(const View& view, const Dims& dims, const std::string& name) {
    if (view.dims == dims) return view;
    View other = in_layout(view, Layout::kNchw, name);
    other.dims = dims;
    return other;
  }

  // A step for the group's problem.
  void solve(const Group& group) {
    const Node& node = graph_.nodes[group.nodes[0]];
    Step step;
    for (const int n : group.nodes) {
      const Node& part = graph_.nodes[n];
      step.name += (step.name.empty() ? "" : "+") + part.name;
      step.op += (step.op.empty() ? "" : "+") + std::string(part.op->name);
    }
    step.x = views_[node.value(0)];
    Problem p = group.problem;
    if (p.kind() == Kind::kMatmul) {
      // A flattened image keeps its pixels; the weights are packed to match.
      p.x.dims = step.x.dims;
    } else {
      step.x = with_dims(step.x, p.x.dims, step.name);
    }
    if (node.op->role(1) == Role::kWeight) {
      step.weight = graph_.weight(node.weight(1)), step.bias = graph_.weight(node.weight(2));
    } else {
      step.constant = graph_.weight(node.weight(1));
    }
    step.choice = planner_.choose(p, step.weight, step.bias, step.x.layout, preferred_);
    const Layout out = step.choice.problem.y.layout;
    step.x = in_layout(step.x, step.choice.problem.x.layout, step.name);
    const int second = group.residual >= 0 ? group.residual : node.value(1);
    if (second >= 0)
      step.z = in_layout(with_dims(views_[second], p.z.dims, step.name), out, step.name);
    step.y = fresh(p.y.dims, out);
    views_[group.output(graph_)] = step.y;
    add(std::move(step));
  }

  const Graph& graph_;
  const std::vector<int>& wanted_;
  const Layout preferred_;
  const Planner& planner_;
  const int width_;
  Program program_;
  std::vector<View> views_;  // of each value
  // By block, dims and layout: copies in another layout. A reshaped block is several images.
  std::map<std::tuple<int, int64_t, int64_t, int64_t, Layout>, View> reordered_;
};

}  // namespace

Program lower(const Graph& graph, const std::vector<Group>& groups, const Wanted& wanted,
              Layout preferred, const Planner& planner, int width) {
  Lowerer lowerer(graph, wanted, preferred, planner, width);
  for (const Group& group : groups) lowerer.add(group);
  return lowerer.finish();
}

}  // namespace linnet
