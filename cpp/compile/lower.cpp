#include "compile/lower.h"

#include <algorithm>
#include <limits>
#include <new>
#include <optional>
#include <tuple>
#include <utility>

#include "compile/view.h"
#include "ops/op.h"

namespace linnet {
namespace {

// The channels of another value that a value is a part of, and so may be written to where that
// lies.
struct Slot {
  int whole = -1;       // value; -1 for none
  int64_t first = 0;    // channel
  bool filled = false;  // the value has been written there
};

// Finds the parts of concatenations, each once: a value that is a part twice has to be copied.
class SlotFinder final : public Lowering {
 public:
  SlotFinder(const Graph& graph, const std::vector<Group>& groups)
      : graph_(graph), slots_(graph.values.size()), made_(graph.values.size()) {
    for (const Group& group : groups) {
      const Node& node = graph.nodes[group.nodes[0]];
      // What is added to the result of a step must lie like it.
      if (node.op->problem) made_[group.output(graph)] = !group.problem.end.residual;
      if (!node.op->problem) node.op->lower(node, *this);
    }
  }
  std::vector<Slot> slots() { return std::move(slots_); }

  const Shape& shape(int value) const override { return graph_.values[value].shape(); }
  void alias(int, int) override {}
  void permute(int, int, const std::vector<int64_t>&) override {}
  void slice(int, int, const std::vector<Section>&) override {}
  void join(const Node&, const std::vector<int>& parts, int to) override {
    int64_t first = 0;
    for (const int part : parts) {
      const bool once = slots_[part].whole < 0 && std::count(parts.begin(), parts.end(), part) == 1;
      if (made_[part] && once) slots_[part] = {to, first};
      first += graph_.values[part].dims().c;
    }
    made_[to] = true;
  }

 private:
  const Graph& graph_;
  std::vector<Slot> slots_;
  std::vector<bool> made_;  // by a step or a concatenation, and not as another name of a value
};

class Lowerer final : public Lowering {
 public:
  Lowerer(const Graph& graph, const std::vector<Group>& groups, const Wanted& wanted,
          Layout preferred, const Planner& planner, int width)
      : graph_(graph),
        wanted_(wanted.values),
        preferred_(preferred),
        planner_(planner),
        width_(width),
        slots_(SlotFinder(graph, groups).slots()),
        views_(graph.values.size()),
        readers_(graph.values.size()) {
    program_.batch = wanted.batch, program_.wanted = wanted.values, program_.width = width;
    for (const int value : wanted_) slots_[value] = {}, ++readers_[value];
    for (const Group& group : groups) {
      const Node& node = graph.nodes[group.nodes[0]];
      std::vector<int> read = {group.x, group.z};
      if (!node.op->problem) {
        read.clear();
        for (const Input& input : node.inputs) read.push_back(input.value);
      }
      for (const int value : read) {
        if (value >= 0) ++readers_[value];
      }
    }
    for (size_t i = 0; i < graph.inputs.size(); ++i) {
      Block block;
      block.where = Block::kInput, block.index = static_cast<int>(i);
      const TensorType& type = graph.values[graph.inputs[i]].type;
      const Operand dense = image(flat_dims(type.shape), Layout::kNchw, type.dtype);
      block.image = dense.dims.count() * size_of(type.dtype);
      views_[graph.inputs[i]] = view_of(add(block), 0, dense, images(graph.inputs[i]));
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

  const Shape& shape(int value) const override { return graph_.values[value].shape(); }

  // The atoms are the same, whatever the shape.
  void alias(int from, int to) override {
    views_[to] = views_[from];
    if (images(from) != images(to)) regroup(joined(views_[from]), to);
  }

  void permute(int from, int to, const std::vector<int64_t>& axes) override {
    const Shape& shape = graph_.values[from].shape();
    View view = views_[from];
    if (axes[0] != 0) {
      Shape whole = shape;
      whole.insert(whole.begin(), 1);
      std::vector<int64_t> order = {0};
      for (const int64_t axis : axes) order.push_back(axis + 1);
      view = joined(view);
      if (!transpose(view, whole, order)) {
        view = joined(
            copied(views_[from], image(flat_dims(shape), Layout::kNchw, view.type), name_of(to)));
        transpose(view, whole, order);
      }
      return regroup(view, to);
    }
    if (!transpose(view, shape, axes)) {
      view = copied(view, image(flat_dims(shape), Layout::kNchw, view.type), name_of(to));
      transpose(view, shape, axes);
    }
    views_[to] = view;
  }

  void slice(int from, int to, const std::vector<Section>& sections) override {
    const Shape& whole = shape(from);
    const auto sliced = [&](View& view) {
      Shape now = whole;
      for (const Section& s : sections) {
        if (s.axis == 0) {
          view.offset += s.first * view.image;
          view.image *= s.step, view.n = s.count;
        } else if (!linnet::slice(view, now, s.axis, s.first, s.step, s.count)) {
          return false;
        }
        now[s.axis] = s.count;
      }
      return true;
    };
    View view = views_[from];
    if (!sliced(view)) {
      view = copied(views_[from], image(flat_dims(whole), Layout::kNchw, view.type), name_of(to));
      sliced(view);
    }
    views_[to] = view;
  }

  // The parts that do not lie there yet are copied to their channels of the result.
  void join(const Node& node, const std::vector<int>& parts, int to) override {
    const Dims dims = graph_.values[to].dims();
    if (views_[to].block < 0) {
      const auto slot = slot_operand(to);
      const Operand own = image_of(to, cheapest_layout(parts, to));
      views_[to] = place(to, slot && slot->layout == own.layout ? *slot : own);
    }
    const View whole = views_[to];
    const Operand o = *as_image(whole, dims);
    int64_t first = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (!slots_[parts[i]].filled || slots_[parts[i]].whole != to) {
        copy(node.name + ".part" + std::to_string(i + 1), node.op->name, views_[parts[i]], o, first,
             whole);
      }
      first += graph_.values[parts[i]].dims().c;
    }
  }

  // Gives every wanted value its place in the caller's memory: the step that makes it writes there
  // if it can.
  Program finish() {
    for (size_t i = 0; i < wanted_.size(); ++i) {
      const View& at = views_[wanted_[i]];
      const TensorType& type = graph_.values[wanted_[i]].type;
      const Operand dense = image(flat_dims(type.shape), Layout::kNchw, type.dtype);
      const bool own = program_.blocks[at.block].where == Block::kArena && at.offset == 0 &&
                       bytes(dense, at.n) == program_.blocks[at.block].bytes && lies_as(at, dense);
      const View target = own ? at : fresh(dense, at.n);
      Block& block = program_.blocks[target.block];
      block.where = Block::kOutput, block.index = static_cast<int>(i);
      block.image = dense.dims.count() * size_of(type.dtype);
      if (!own) copy(graph_.values[wanted_[i]].name + ".output", "Reorder", at, dense, 0, target);
    }
    return std::move(program_);
  }

 private:
  // One image of any rank; what has more than four axes lies flat.
  static Dims flat_dims(const Shape& shape) {
    Dims dims = dims_of(shape);
    return shape.size() <= 4 ? dims : Dims{dims.count(), 1, 1};
  }

  static Operand image(const Dims& dims, Layout layout, DType type) {
    return {type, dims, layout, 0};
  }
  Operand image_of(int value, Layout layout) const {
    return image(graph_.values[value].dims(), layout, graph_.values[value].type.dtype);
  }

  // How many images a value is: the batch, or what a fixed graph says.
  int64_t images(int value) const {
    return graph_.fixed ? graph_.values[value].shape()[0] : program_.batch;
  }

  // `to` is the numbers of a single image, cut into its own.
  void regroup(View whole, int to) {
    const Shape& shape = graph_.values[to].shape();
    int64_t count = 1;
    for (const Atom& atom : whole.atoms) count *= atom.count;
    if (!part(whole, shape)) {
      whole = copied(whole, image({count, 1, 1}, Layout::kNchw, whole.type), name_of(to));
      part(whole, shape);
    }
    if (whole.n == 1) whole.image = count;
    whole.made = {}, whole.zeros = false;
    views_[to] = whole;
  }

  const std::string& name_of(int value) const {
    return graph_.nodes[graph_.values[value].producer].name;
  }

  // Views and operands

  View view_of(int block, int64_t offset, const Operand& o, int64_t n) const {
    View view;
    view.block = block, view.n = n, view.type = o.dtype, view.offset = offset;
    view.image = o.image(width_);
    view.atoms = atoms_of(o.dims, o.layout, o.pitch, width_);
    view.made = o.dims;
    view.zeros = o.layout == Layout::kNhwc;
    return view;
  }

  static Place place_of(const View& view) { return {view.block, view.offset * size_of(view.type)}; }

  bool lies_as(const View& view, const Operand& o) const {
    return (view.image == o.image(width_) || view.n == 1) &&
           merged(view.atoms) == merged(atoms_of(o.dims, o.layout, o.pitch, width_));
  }

  // The view as an image of `dims` in a layout, a slice of a larger one perhaps; nothing where its
  // numbers lie otherwise. Kernels read and write whole vectors of channels.
  std::optional<Operand> as_image(const View& view, const Dims& dims, Layout layout) const {
    Operand o = image(dims, layout, view.type);
    const int64_t pixels = dims.h * dims.w, own = o.image(width_) / pixels;
    if (view.image % pixels != 0) return std::nullopt;
    if (view.image / pixels != own) o.pitch = view.image / pixels;
    const bool vectors = layout == Layout::kNchw ||
                         (view.offset % width_ == 0 && (dims.c % width_ == 0 || view.zeros));
    const bool room =
        !o.pitch || (o.pitch >= own && (layout == Layout::kNchw || o.pitch % width_ == 0));
    if (!vectors || !room || !lies_as(view, o)) return std::nullopt;
    return o;
  }
  // In the preferred layout if it is both.
  std::optional<Operand> as_image(const View& view, const Dims& dims) const {
    const Layout other = preferred_ == Layout::kNchw ? Layout::kNhwc : Layout::kNchw;
    const auto o = as_image(view, dims, preferred_);
    return o ? o : as_image(view, dims, other);
  }

  // Memory

  size_t bytes(const Operand& o, int64_t n) const {
    const int64_t numbers = o.image(width_);
    if (numbers > std::numeric_limits<int64_t>::max() / n) throw std::bad_alloc();
    return bytes_of(n * numbers, o.dtype);
  }

  int add(const Block& block) {
    program_.blocks.push_back(block);
    return static_cast<int>(program_.blocks.size()) - 1;
  }

  View fresh(const Operand& o, int64_t n) {
    Block block;
    block.bytes = bytes(o, n);
    return view_of(add(block), 0, o, n);
  }

  // What a value may be written as where the concatenation it is a part of lies: its channels must
  // begin and end with vectors. Nothing where it has to lie on its own.
  std::optional<Operand> slot_operand(int value) const {
    const Slot& slot = slots_[value];
    if (slot.whole < 0) return std::nullopt;
    const Dims dims = graph_.values[value].dims(), whole = graph_.values[slot.whole].dims();
    if (preferred_ == Layout::kNhwc &&
        (slot.first % width_ != 0 || (dims.c % width_ != 0 && slot.first + dims.c != whole.c)))
      return std::nullopt;
    Operand o = image_of(slot.whole, preferred_);
    if (const auto larger = slot_operand(slot.whole)) o = *larger;
    const int64_t pitch = o.image(width_) / (whole.h * whole.w);
    o.dims = dims, o.pitch = 0;
    if (o.image(width_) != pitch * dims.h * dims.w) o.pitch = pitch;
    return o;
  }

  // Where a value lies that is written as `o` says.
  View place(int value, const Operand& o) {
    const auto in_slot = slot_operand(value);
    if (!in_slot || in_slot->layout != o.layout || in_slot->pitch != o.pitch)
      return fresh(o, images(value));
    const Slot& slot = slots_[value];
    View& whole = views_[slot.whole];
    if (whole.block < 0) {
      const auto larger = slot_operand(slot.whole);
      whole = place(slot.whole, larger ? *larger : image_of(slot.whole, preferred_));
    }
    const int64_t step = o.layout == Layout::kNhwc ? 1 : o.dims.h * o.dims.w;
    slots_[value].filled = true;
    return view_of(whole.block, whole.offset + slot.first * step, o, whole.n);
  }

  // Steps

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

  // A step that copies a view to the channels of the image `o` at `y`, from `first` on.
  void copy(const std::string& name, const char* op, View from, const Operand& o, int64_t first,
            const View& y) {
    Step step;
    step.name = name, step.op = op;
    Problem p = move_problem(from, o, first);
    if (!planner_.moves(p)) {
      from = copied(from, image(p.x.dims, Layout::kNchw, from.type), name);
      p = move_problem(from, o, first);
    }
    step.choice = planner_.move(p);
    step.x = place_of(from), step.y = place_of(y);
    add(std::move(step));
  }

  Problem move_problem(const View& from, const Operand& o, int64_t first) const {
    Problem p;
    p.n = from.n, p.threads = planner_.threads();
    p.y = o;
    Dims dims = o.dims;
    dims.c = 1;
    for (const Atom& atom : from.atoms) dims.c *= atom.count;
    dims.c /= dims.h * dims.w;  // as many channels as there are numbers for
    auto x = as_image(from, dims, o.layout);
    if (!x) x = as_image(from, dims, o.layout == Layout::kNchw ? Layout::kNhwc : Layout::kNchw);
    p.x = x ? *x : image(dims, Layout::kNchw, from.type);
    family::Move move;
    move.first = first;
    if (!x) move.image = from.image, move.atoms = merged(from.atoms);
    p.params = std::move(move);
    return p;
  }

  // The same numbers as an image of its own, by a step the first time.
  View copied(const View& from, const Operand& o, const std::string& name) {
    for (const auto& [source, operand, known] : copies_) {
      if (source.block == from.block && source.offset == from.offset &&
          source.atoms == from.atoms && source.n == from.n && operand.dims == o.dims &&
          operand.layout == o.layout)
        return known;
    }
    const View to = fresh(o, from.n);
    copy(name + ".reorder", "Reorder", from, o, 0, to);
    copies_.push_back({from, o, to});
    return to;
  }

  // The view where it is the image `o`, else a copy that is.
  View image_view(const View& view, const Operand& o, const std::string& name) {
    const auto found = as_image(view, o.dims, o.layout);
    return found && found->pitch == o.pitch
               ? view
               : copied(view, image(o.dims, o.layout, view.type), name);
  }
  // The same as an image in whatever layout it lies.
  std::pair<View, Operand> image_view(const View& view, const Dims& dims, const std::string& name) {
    if (const auto found = as_image(view, dims)) return {view, *found};
    const Operand o = image(dims, preferred_, view.type);
    return {copied(view, o, name), o};
  }

  // A step for the group's problem.
  void solve(const Group& group) {
    const Node& node = graph_.nodes[group.nodes[0]];
    const int result = group.output(graph_);
    Step step;
    for (const int n : group.nodes) {
      const Node& part = graph_.nodes[n];
      step.name += (step.name.empty() ? "" : "+") + part.name;
      step.op += (step.op.empty() ? "" : "+") + std::string(part.op->name);
    }
    for (size_t i = 1; i < node.inputs.size(); ++i) {
      const Weight* weight = graph_.weight(node.weight(i));
      if (node.op->role(i) == Role::kWeight) step.weight = weight;
      if (node.op->role(i) == Role::kBias) step.bias = weight;
      if (node.op->role(i) == Role::kEither) step.constant = weight;
    }
    Problem p = group.problem;
    // A flattened image keeps its pixels where a matrix reads it; the weights are packed to match.
    const View source = views_[group.x];
    if (p.kind() == Kind::kMatmul && source.made.count() == p.x.dims.count() &&
        as_image(source, source.made))
      p.x.dims = source.made;
    View x, z;
    const int second = group.z;
    if (node.op->planar) {
      x = image_view(source, p.x = image(p.x.dims, Layout::kNchw, p.x.dtype), step.name);
      if (second >= 0) {
        const DType type = graph_.values[second].type.dtype;
        z = image_view(views_[second], p.z = image(p.z.dims, Layout::kNchw, type), step.name);
        step.z = place_of(z);
      }
      p.y = image(p.y.dims, Layout::kNchw, p.y.dtype);
      step.choice = planner_.choose(p, step.weight, step.bias);
      const View y = fresh(p.y, images(result));
      step.x = place_of(x), step.y = place_of(y);
      views_[result] = y;
      return add(std::move(step));
    }
    std::tie(x, p.x) = image_view(source, p.x.dims, step.name);
    if (second >= 0) std::tie(z, p.z) = image_view(views_[second], p.z.dims, step.name);
    const auto slot = slot_operand(result);
    p.y = slot ? *slot : image(p.y.dims, preferred_, p.y.dtype);
    // A residual is read like the result is written, which has no slot then.
    p.z = p.end.residual ? image(p.z.dims, preferred_, p.z.dtype) : p.z.in(preferred_);
    p.scale_as(group.problem);
    step.choice = planner_.choose(p, step.weight, step.bias);
    const Problem& chosen = step.choice.problem;
    x = image_view(x, chosen.x, step.name);
    if (second >= 0) z = image_view(z, chosen.z, step.name);
    const bool in_place = dies_here(group.x, x) && chosen.kind() == Kind::kMap && !slot &&
                          chosen.x.dims == chosen.y.dims && chosen.x.layout == chosen.y.layout &&
                          chosen.x.dtype == chosen.y.dtype && chosen.x.pitch == 0 &&
                          z.block != x.block;
    const View y = in_place ? x : place(result, chosen.y);
    step.x = place_of(x), step.z = place_of(z), step.y = place_of(y);
    views_[result] = y;
    add(std::move(step));
  }

  // Whether nobody needs what lies at `view`, a whole block, once the one reader of `value` has
  // read it.
  bool dies_here(int value, const View& view) const {
    const int producer = graph_.values[value].producer;
    const bool own = producer >= 0 && graph_.nodes[producer].op->problem && readers_[value] == 1 &&
                     slots_[value].whole < 0;
    return own && view.block == views_[value].block &&
           program_.blocks[view.block].where == Block::kArena;
  }

  double copy_seconds(const View& from, const Operand& o, int64_t first) const {
    const Problem p = move_problem(from, o, first);
    if (planner_.moves(p)) return planner_.move(p).seconds;
    const Problem dense = move_problem(from, image(p.x.dims, Layout::kNchw, from.type), 0);
    return planner_.move(dense).seconds + planner_.reorder(p.n, dense.y, o.layout).seconds;
  }

  // The layout in which the copies that a concatenation takes are the cheapest.
  Layout cheapest_layout(const std::vector<int>& parts, int whole) const {
    Layout best = preferred_;
    double least = std::numeric_limits<double>::infinity();
    for (const Layout layout : {Layout::kNchw, Layout::kNhwc}) {
      double seconds = 0;
      int64_t first = 0;
      for (const int part : parts) {
        seconds += copy_seconds(views_[part], image_of(whole, layout), first);
        first += graph_.values[part].dims().c;
      }
      const Operand o = image_of(whole, layout);
      if (layout != preferred_ && !layouts_coincide(o.dims, width_))
        seconds += planner_.reorder(images(whole), o, preferred_).seconds;
      if (seconds < least) {
        least = seconds;
        best = layout;
      }
    }
    return best;
  }

  struct Copy {
    View from;
    Operand operand;
    View to;
  };

  const Graph& graph_;
  const std::vector<int>& wanted_;
  const Layout preferred_;
  const Planner& planner_;
  const int width_;
  std::vector<Slot> slots_;  // of each value
  Program program_;
  std::vector<View> views_;   // of each value
  std::vector<int> readers_;  // of each value, callers included
  std::vector<Copy> copies_;
};

}  // namespace

Program lower(const Graph& graph, const std::vector<Group>& groups, const Wanted& wanted,
              Layout preferred, const Planner& planner, int width) {
  Lowerer lowerer(graph, groups, wanted, preferred, planner, width);
  for (const Group& group : groups) lowerer.add(group);
  return lowerer.finish();
}

}  // namespace linnet
