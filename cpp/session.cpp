#include "session.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <tuple>

#include "compile/arena.h"
#include "run/cgroup.h"

namespace linnet {
namespace {

constexpr size_t kProgramsKept = 4, kChunkingsKept = 16;
// Activations of a chunk beyond this no longer stay in a core's own cache; beyond kMaxChunk images
// nothing more is gained.
constexpr size_t kChunkBytes = 3 << 20;
constexpr int64_t kMaxChunk = 16;

// Floats of one image of a value, exact: the graph bounds them to 2^40.
double count(const Shape& shape) {
  double floats = 1;
  for (size_t axis = 1; axis < shape.size(); ++axis) floats *= static_cast<double>(shape[axis]);
  return floats;
}

// Bytes of memory that this process can have: the machine's, its cgroup's, or half of a 32-bit
// address space.
double process_memory() {
  const double physical =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  const double limit = cgroup_memory_limit();
  return std::min(limit > 0 ? std::min(physical, limit) : physical,
                  static_cast<double>(std::numeric_limits<ptrdiff_t>::max()));
}

}  // namespace

const Kernels& select_kernels(const std::string& isa) {
  const char* forced = std::getenv("LINNET_ISA");
  return kernels_for(isa.empty() && forced ? forced : isa.c_str());
}

// The graph compiled for one batch size and one set of wanted values; see session.h. Immutable but
// for the arena.
class Program {
 public:
  Program(const Graph& graph, int64_t batch, const std::vector<int>& wanted, const Planner& planner,
          const Context& context, int threads);
  // Makes all plans anew, as the constructor does: that may count their weights, this packs them.
  void prepare();

  bool serves(int64_t batch, const std::vector<int>& wanted) const {
    return batch == batch_ && wanted == wanted_;
  }
  int64_t batch() const { return batch_; }
  size_t arena_bytes() const { return arena_plan_.total; }
  size_t activation_bytes() const { return activation_bytes_; }  // of the arena without workspaces
  const std::vector<StepReport>& reports() const { return reports_; }

  // Reads inputs from image `first` on and writes outputs there; see Session::run.
  void run(int64_t first, const std::vector<const float*>& inputs,
           const std::vector<float*>& outputs, ThreadPool& pool, std::vector<StepTime>* times);

 private:
  // A block of memory that values live in: a slot of the arena, or an input or output of the
  // caller.
  struct Storage {
    enum Where { kArena, kInput, kOutput } where = kArena;
    int index = 0;       // of the input or output
    int64_t floats = 0;  // per image, for inputs and outputs
    size_t bytes = 0;
    int first_step = -1, last_step = -1;
  };
  // Where a value is and in which form. `dims` differ from the value's own where a flattened image
  // kept its pixels.
  struct Location {
    int storage = -1;
    Dims dims;
    Layout layout = Layout::kNchw;
  };
  struct Step {
    const Weight* weight = nullptr;
    const Weight* bias = nullptr;
    const Weight* addend = nullptr;  // an Add's constant operand
    std::unique_ptr<Plan> plan;  // prepared once the layouts are settled, since it packs weights
    int x = -1, operand = -1, y = -1;  // storages
    WeightStore::Buffer constant;      // the addend in the layout of the step
    size_t workspace_offset = 0;
  };
  // A node with the followers fused into it.
  struct Fused {
    std::vector<int> nodes;
    Problem problem;
    int residual = -1;  // value
  };

  double compile(Layout preferred);
  Fused fuse(int node) const;
  int sole_user(int value) const;
  void add_step(const std::string& name, const std::string& op, const Choice& choice,
                const Weight* weight, const Weight* bias, int x, int operand, const Weight* addend,
                int y);
  WeightStore::Buffer constant(const Weight& w, const Problem& problem) const;
  int new_storage(const Dims& dims, Layout layout);
  Location in_layout(const Location& location, Layout layout, const std::string& name);
  Choice reorder_choice(const Dims& dims, Layout from, Layout to) const;
  Location with_dims(const Location& location, const Dims& dims, const std::string& name);
  void compile_node(const Fused& fused, Layout preferred);
  void compile_concat(const Node& node, Layout preferred);
  void compile_view(const Node& node);
  void bind_outputs();
  void place();
  const Weight* weight(int index) const { return index < 0 ? nullptr : &graph_.weights[index]; }

  const Graph& graph_;
  const int64_t batch_;
  const std::vector<int> wanted_;
  const Planner& planner_;
  const Context& context_;
  const int threads_;
  std::vector<std::vector<int>> users_;  // of each value: nodes
  std::vector<Location> locations_;      // of each value
  // By storage, dims and layout: copies in another layout. A reshaped storage is several images.
  std::map<std::tuple<int, int64_t, int64_t, int64_t, Layout>, Location> reordered_;
  std::vector<Storage> storages_;
  std::vector<Step> steps_;
  std::vector<StepReport> reports_;
  ArenaPlan arena_plan_;
  size_t activation_bytes_ = 0;
  AlignedBuffer arena_;
  std::vector<size_t> offsets_;   // of each storage in the arena
  std::vector<float*> pointers_;  // of each storage, for the run at hand
};

Program::Program(const Graph& graph, int64_t batch, const std::vector<int>& wanted,
                 const Planner& planner, const Context& context, int threads)
    : graph_(graph),
      batch_(batch),
      wanted_(wanted),
      planner_(planner),
      context_(context),
      threads_(threads) {
  users_.resize(graph_.values.size());
  for (size_t n = 0; n < graph_.nodes.size(); ++n) {
    for (int value : graph_.nodes[n].inputs) users_[value].push_back(static_cast<int>(n));
  }
  const double planar = compile(Layout::kNchw);
  if (compile(Layout::kNhwc) > planar) compile(Layout::kNchw);
  prepare();
  place();
}

void Program::prepare() {
  for (size_t i = 0; i < steps_.size(); ++i) {
    Step& step = steps_[i];
    const Choice& choice = reports_[i].choice;
    step.plan = choice.algorithm->prepare(choice.problem, step.weight, step.bias, context_);
    if (step.addend) step.constant = constant(*step.addend, choice.problem);
  }
}

// The second operand of an addition, in the layout of its result.
WeightStore::Buffer Program::constant(const Weight& w, const Problem& problem) const {
  const Dims d = problem.operand;
  const Strides to(d, problem.out_layout, context_.kernels.width);
  return context_.weights.get(&w,
                              "constant " + std::to_string(static_cast<int>(problem.out_layout)) +
                                  " " + std::to_string(d.c),
                              to.n, [&](float* out) {
                                for (int64_t c = 0; c < d.c; ++c) {
                                  for (int64_t i = 0; i < d.h; ++i) {
                                    for (int64_t j = 0; j < d.w; ++j)
                                      out[c * to.c + i * to.h + j * to.w] =
                                          w.data[(c * d.h + i) * d.w + j];
                                  }
                                }
                              });
}

// Compiles the whole graph preferring one layout; returns the estimated seconds of one run.
double Program::compile(Layout preferred) {
  locations_.assign(graph_.values.size(), {});
  reordered_.clear();
  storages_.clear();
  steps_.clear();
  reports_.clear();
  for (size_t i = 0; i < graph_.inputs.size(); ++i) {
    const Value& v = graph_.values[graph_.inputs[i]];
    Storage s;
    s.where = Storage::kInput;
    s.index = static_cast<int>(i);
    Dims dims;
    if (v.shape.size() <= 4) {
      dims = v.dims();
    } else {
      for (size_t axis = 1; axis < v.shape.size(); ++axis) dims.c *= v.shape[axis];
    }
    s.floats = dims.count();
    locations_[graph_.inputs[i]] = {static_cast<int>(storages_.size()), dims, Layout::kNchw};
    storages_.push_back(s);
  }
  std::vector<bool> done(graph_.nodes.size());
  for (size_t n = 0; n < graph_.nodes.size(); ++n) {
    if (done[n]) continue;
    const Node& node = graph_.nodes[n];
    if (node.op == Op::kFlatten || node.op == Op::kReshape) {
      compile_view(node);
      continue;
    }
    if (node.op == Op::kConcat) {
      compile_concat(node, preferred);
      continue;
    }
    const Fused fused = fuse(static_cast<int>(n));
    for (int f : fused.nodes) done[f] = true;
    compile_node(fused, preferred);
  }
  bind_outputs();
  double seconds = 0;
  for (const StepReport& r : reports_) seconds += r.choice.seconds;
  return seconds;
}

// The one node that reads a value nobody else wants; -1 if there is none.
int Program::sole_user(int value) const {
  if (users_[value].size() != 1 || std::count(wanted_.begin(), wanted_.end(), value)) return -1;
  return users_[value][0];
}

Program::Fused Program::fuse(int first) const {
  const Node& node = graph_.nodes[first];
  Fused f;
  f.nodes = {first};
  Problem& p = f.problem;
  p.n = batch_, p.threads = threads_;
  p.in = p.operand = graph_.values[node.inputs[0]].dims();
  p.window = node.window, p.groups = node.groups, p.axis = node.axis;
  switch (node.op) {
    case Op::kConv:
      p.kind = Kind::kConv;
      break;
    case Op::kGemm:
      p.kind = Kind::kFullyConnected;
      break;
    case Op::kMaxPool:
      p.kind = Kind::kMaxPool;
      break;
    case Op::kAveragePool:
      p.kind = Kind::kAveragePool;
      break;
    case Op::kAdd:
      p.kind = Kind::kAdd;
      break;
    case Op::kRelu:
      p.kind = Kind::kRelu, p.relu = true;
      break;
    default:
      p.kind = Kind::kSoftmax;
      break;
  }
  const bool weighted = node.op == Op::kConv || node.op == Op::kGemm;
  if (weighted) {
    p.k = graph_.weights[node.weight].shape[0];
    p.weights = graph_.weights[node.weight].type;
  }
  if (node.op == Op::kAdd) {
    if (node.weight >= 0) {
      Value operand;
      operand.shape = graph_.weights[node.weight].shape;
      operand.shape.insert(operand.shape.begin(),
                           graph_.values[node.inputs[0]].shape.size() - operand.shape.size(), 1);
      p.operand = operand.dims();
      p.operand_constant = true;
    } else {
      p.operand = graph_.values[node.inputs[1]].dims();
    }
  }
  // Of a softmax over rank 3, [N, C, W], axis 2 is the width.
  if (node.op == Op::kSoftmax && graph_.values[node.inputs[0]].shape.size() == 3 && node.axis == 2)
    p.axis = 3;

  auto next = [&]() -> const Node* {
    const int user = sole_user(graph_.nodes[f.nodes.back()].output);
    return user < 0 ? nullptr : &graph_.nodes[user];
  };
  auto take = [&](const Node* n) { f.nodes.push_back(static_cast<int>(n - graph_.nodes.data())); };

  const Node* n = next();
  if (weighted && n && n->op == Op::kAdd && n->inputs.size() == 2 && n->inputs[0] != n->inputs[1]) {
    const int mine = graph_.nodes[first].output;
    const int other = n->inputs[0] == mine ? n->inputs[1] : n->inputs[0];
    // The residual must exist before this step runs.
    if (graph_.values[other].shape == graph_.values[mine].shape &&
        graph_.values[other].producer < first) {
      f.residual = other;
      p.residual = true;
      take(n);
      n = next();
    }
  }
  if ((weighted || node.op == Op::kAdd) && n && n->op == Op::kRelu) {
    p.relu = true;
    take(n);
    n = next();
  }
  if (node.op == Op::kConv && !p.residual && n && n->op == Op::kMaxPool) {
    const Window& w = n->window;
    const Dims d = p.conv_out();
    const bool tiles = w.kernel[0] == w.stride[0] && w.kernel[1] == w.stride[1] &&
                       w.dilation[0] == 1 && w.dilation[1] == 1;
    const bool pads = w.pad[0] || w.pad[1] || w.pad[2] || w.pad[3];
    const bool whole = !w.ceil || (d.h % w.kernel[0] == 0 && d.w % w.kernel[1] == 0);
    if (tiles && !pads && whole) {
      Problem pooled = p;
      pooled.pool[0] = w.kernel[0], pooled.pool[1] = w.kernel[1];
      pooled.in_layout = pooled.out_layout = Layout::kNhwc;
      // Fused only where a fast algorithm takes it; the reference would accept anything.
      bool taken = false;
      for (const Algorithm* a : algorithms())
        taken |= a->uses_kernels() && planner_.allows(*a, pooled);
      if (taken) {
        p.pool[0] = w.kernel[0], p.pool[1] = w.kernel[1];
        take(n);
      }
    }
  }
  return f;
}

int Program::new_storage(const Dims& dims, Layout layout) {
  Storage s;
  s.floats = image_stride(dims, layout, context_.kernels.width);
  if (s.floats > std::numeric_limits<int64_t>::max() / batch_) throw std::bad_alloc();
  s.bytes = float_bytes(batch_ * s.floats);
  storages_.push_back(s);
  return static_cast<int>(storages_.size()) - 1;
}

void Program::add_step(const std::string& name, const std::string& op, const Choice& choice,
                       const Weight* weight, const Weight* bias, int x, int operand,
                       const Weight* addend, int y) {
  Step step;
  step.weight = weight, step.bias = bias, step.addend = addend;
  step.x = x, step.operand = operand, step.y = y;
  const int index = static_cast<int>(steps_.size());
  for (int s : {x, operand, y}) {
    if (s < 0) continue;
    if (storages_[s].first_step < 0) storages_[s].first_step = index;
    storages_[s].last_step = index;
  }
  steps_.push_back(std::move(step));
  reports_.push_back({name, op, choice, choice.algorithm->uses_kernels(), 0});
}

Choice Program::reorder_choice(const Dims& dims, Layout from, Layout to) const {
  return planner_.reorder(batch_, dims, from, to);
}

// The same value in another layout, through a reorder step the first time.
Program::Location Program::in_layout(const Location& location, Layout layout,
                                     const std::string& name) {
  if (location.layout == layout) return location;
  if (layouts_coincide(location.dims, context_.kernels.width))
    return {location.storage, location.dims, layout};
  const Dims& d = location.dims;
  const auto key = std::make_tuple(location.storage, d.c, d.h, d.w, layout);
  const auto known = reordered_.find(key);
  if (known != reordered_.end()) return known->second;
  const Location fresh{new_storage(location.dims, layout), location.dims, layout};
  add_step(name + ".reorder", "Reorder", reorder_choice(location.dims, location.layout, layout),
           nullptr, nullptr, location.storage, -1, nullptr, fresh.storage);
  reordered_[key] = fresh;
  return fresh;
}

// The same value where its pixels lie as `dims` say.
Program::Location Program::with_dims(const Location& location, const Dims& dims,
                                     const std::string& name) {
  if (location.dims == dims) return location;
  Location other = in_layout(location, Layout::kNchw, name);
  other.dims = dims;
  return other;
}

void Program::compile_node(const Fused& fused, Layout preferred) {
  const Node& node = graph_.nodes[fused.nodes[0]];
  const Value& result = graph_.values[graph_.nodes[fused.nodes.back()].output];
  std::string name, op;
  for (int n : fused.nodes) {
    const Node& part = graph_.nodes[n];
    name += (name.empty() ? "" : "+") + part.name;
    op += (op.empty() ? "" : "+") + std::string(part.global ? "Global" : "") + to_string(part.op);
  }
  Location x = locations_[node.inputs[0]];
  Problem p = fused.problem;
  if (node.op == Op::kGemm) {
    p.in = p.operand =
        x.dims;  // a flattened image keeps its pixels; the weights are packed to match
  } else {
    x = with_dims(x, p.in, name);
  }
  const Choice choice =
      planner_.choose(p, weight(node.weight), weight(node.bias), x.layout, preferred);
  x = in_layout(x, choice.problem.in_layout, name);

  int operand = -1;
  if (fused.residual >= 0 || (node.op == Op::kAdd && node.weight < 0)) {
    const int value = fused.residual >= 0 ? fused.residual : node.inputs[1];
    const Dims want = fused.residual >= 0 ? result.dims() : p.operand;
    const Location other = with_dims(locations_[value], want, name);
    operand = in_layout(other, choice.problem.out_layout, name).storage;
  }
  const Location y{new_storage(result.dims(), choice.problem.out_layout), result.dims(),
                   choice.problem.out_layout};
  const bool weighted = node.op == Op::kConv || node.op == Op::kGemm;
  add_step(name, op, choice, weighted ? weight(node.weight) : nullptr,
           weighted ? weight(node.bias) : nullptr, x.storage, operand,
           node.op == Op::kAdd ? weight(node.weight) : nullptr, y.storage);
  locations_[graph_.nodes[fused.nodes.back()].output] = y;
}

// A step for each input, which copies it to its channels of the result and changes its layout on
// the way if need be.
void Program::compile_concat(const Node& node, Layout preferred) {
  const Dims dims = graph_.values[node.output].dims();
  std::vector<Location> parts;
  for (const int value : node.inputs)
    parts.push_back(with_dims(locations_[value], graph_.values[value].dims(), node.name));
  std::vector<Choice> best;
  Layout layout = preferred;
  double least = std::numeric_limits<double>::infinity();
  for (const Layout to : {Layout::kNchw, Layout::kNhwc}) {
    std::vector<Choice> choices;
    double seconds = 0;
    int64_t first = 0;
    for (const Location& x : parts) {
      const Layout from = layouts_coincide(x.dims, context_.kernels.width) ? to : x.layout;
      choices.push_back(planner_.reorder(batch_, x.dims, from, to, dims.c, first));
      seconds += choices.back().seconds;
      first += x.dims.c;
    }
    if (to != preferred && !layouts_coincide(dims, context_.kernels.width))
      seconds += reorder_choice(dims, to, preferred).seconds;
    if (seconds < least) least = seconds, layout = to, best = std::move(choices);
  }
  const Location y{new_storage(dims, layout), dims, layout};
  for (size_t i = 0; i < parts.size(); ++i) {
    add_step(node.name + ".part" + std::to_string(i + 1), to_string(node.op), best[i], nullptr,
             nullptr, parts[i].storage, -1, nullptr, y.storage);
  }
  locations_[node.output] = y;
}

// Flatten and Reshape move nothing: the new value is the old one under other dims.
void Program::compile_view(const Node& node) {
  const Value& value = graph_.values[node.output];
  Location from = locations_[node.inputs[0]];
  const bool flat = value.shape.size() == 2;
  // Only a fully connected layer reads pixels as they lie; a value wanted by the caller or others
  // must be dense.
  bool keep =
      from.layout == Layout::kNchw || (value.shape.size() <= 4 && value.dims() == from.dims);
  if (!keep && flat && !std::count(wanted_.begin(), wanted_.end(), node.output)) {
    keep = std::all_of(users_[node.output].begin(), users_[node.output].end(),
                       [&](int user) { return graph_.nodes[user].op == Op::kGemm; });
    if (keep) {
      locations_[node.output] = from;
      return;
    }
  }
  if (!keep) from = in_layout(from, Layout::kNchw, node.name);
  if (value.shape.size() <= 4) {
    from.dims = value.dims();
  } else {
    from.dims = {from.dims.count(), 1, 1};
  }
  locations_[node.output] = from;
}

// Gives every wanted value its place in the caller's memory: the step that makes it writes there if
// it can.
void Program::bind_outputs() {
  const int width = context_.kernels.width;
  for (size_t i = 0; i < wanted_.size(); ++i) {
    const Location& at = locations_[wanted_[i]];
    Storage& s = storages_[at.storage];
    const bool dense = at.layout == Layout::kNchw || layouts_coincide(at.dims, width);
    if (dense && s.where == Storage::kArena) {
      s.where = Storage::kOutput;
      s.index = static_cast<int>(i);
      s.floats = at.dims.count();
      continue;
    }
    const int target = new_storage(at.dims, Layout::kNchw);
    storages_[target].where = Storage::kOutput;
    storages_[target].index = static_cast<int>(i);
    add_step(graph_.values[wanted_[i]].name + ".output", "Reorder",
             reorder_choice(at.dims, at.layout, Layout::kNchw), nullptr, nullptr, at.storage, -1,
             nullptr, target);
  }
}

void Program::place() {
  std::vector<ArenaItem> items;
  std::vector<size_t*> places;
  offsets_.resize(storages_.size());
  for (size_t s = 0; s < storages_.size(); ++s) {
    if (storages_[s].where != Storage::kArena || storages_[s].first_step < 0) continue;
    items.push_back({storages_[s].bytes, storages_[s].first_step, storages_[s].last_step});
    places.push_back(&offsets_[s]);
  }
  activation_bytes_ = plan_arena(items).total;
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (const size_t bytes = steps_[i].plan->workspace()) {
      items.push_back({bytes, static_cast<int>(i), static_cast<int>(i)});
      places.push_back(&steps_[i].workspace_offset);
    }
  }
  arena_plan_ = plan_arena(items);
  for (size_t i = 0; i < items.size(); ++i) *places[i] = arena_plan_.offsets[i];
  pointers_.resize(storages_.size());
}

void Program::run(int64_t first, const std::vector<const float*>& inputs,
                  const std::vector<float*>& outputs, ThreadPool& pool,
                  std::vector<StepTime>* times) {
  if (arena_.size() < arena_plan_.total) arena_ = AlignedBuffer(arena_plan_.total);
  for (size_t i = 0; i < storages_.size(); ++i) {
    const Storage& s = storages_[i];
    if (s.where == Storage::kInput) {
      pointers_[i] = const_cast<float*>(inputs[s.index]) + first * s.floats;
    } else if (s.where == Storage::kOutput) {
      pointers_[i] = outputs[s.index] + first * s.floats;
    } else {
      pointers_[i] = reinterpret_cast<float*>(arena_.data() + offsets_[i]);
    }
  }
  using Clock = std::chrono::steady_clock;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = steps_[i];
    const auto start = times ? Clock::now() : Clock::time_point();
    const float* operand = step.constant ? step.constant->floats() : nullptr;
    if (step.operand >= 0) operand = pointers_[step.operand];
    step.plan->run({pointers_[step.x], operand, pointers_[step.y],
                    reinterpret_cast<float*>(arena_.data() + step.workspace_offset), pool,
                    times ? &(*times)[i].phases : nullptr});
    if (times) (*times)[i].seconds += std::chrono::duration<double>(Clock::now() - start).count();
  }
}

Session::Session(std::shared_ptr<const Graph> graph, SessionOptions options)
    : graph_(options.weights ? with_weights(*graph, *options.weights) : std::move(graph)),
      options_(std::move(options)),
      kernels_(select_kernels(options_.isa)),
      backends_(options_.blas, options_.nnpack),
      pool_(options_.threads > 0 ? options_.threads : default_threads()) {
  // Without NNPACK, even one asked for, its algorithms refuse every layer with the reason.
  if (!options_.blas.empty() && !backends_.openblas.library())
    throw std::runtime_error("OpenBLAS '" + options_.blas + "': " + backends_.openblas.missing());
  context_.emplace(Context{kernels_, weights_, backends_});
  PlannerOptions planner = options_.planner;
  planner.memory_limit = options_.memory_limit;
  planner_.emplace(planner, *context_, pool_);
  planner.lean = true;
  planner.memory_limit = 0;
  lean_planner_.emplace(std::move(planner), *context_, pool_);

  std::vector<AlignedBuffer> buffers;
  std::vector<const float*> inputs;
  std::vector<float*> outputs;
  const auto buffer = [&](int value) {
    const double floats = count(graph_->values[value].shape);
    buffers.emplace_back(float_bytes(static_cast<int64_t>(floats)), true);
    return buffers.back().floats();
  };
  program(1, graph_->outputs);  // fails on a memory limit before anything large is allocated
  for (int i : graph_->inputs) inputs.push_back(buffer(i));
  for (int o : graph_->outputs) outputs.push_back(buffer(o));
  // The first pass touches memory for the first time, the second finds the caches as later calls
  // do.
  for (int pass = 0; pass < 2; ++pass) run(1, inputs, graph_->outputs, outputs);
}

Session::~Session() = default;

Program& Session::program(int64_t batch, const std::vector<int>& wanted) {
  for (auto p = programs_.begin(); p != programs_.end(); ++p) {
    if ((*p)->serves(batch, wanted)) {
      programs_.splice(programs_.begin(), programs_, p);
      return *programs_.front();
    }
  }
  try {
    programs_.push_front(compile(batch, wanted));
  } catch (const MemoryLimit&) {
    throw;
  } catch (const std::bad_alloc&) {
    // Sizes beyond the address space never come to a sum that could be stated.
    char text[96];
    std::snprintf(text, sizeof text,
                  "a batch of %lld needs more than the %.1f GB this process can have",
                  static_cast<long long>(batch), process_memory() / (1 << 30));
    throw MemoryLimit(text);
  }
  return *programs_.front();
}

// Nothing large is allocated until the sum is known and allowed: the system may grant more than it
// has, and end the process when that is written to.
std::unique_ptr<Program> Session::compile(int64_t batch, const std::vector<int>& wanted) {
  const double available = process_memory();
  double callers = 0;  // bytes of inputs and outputs
  for (const auto* values : {&graph_->inputs, &wanted}) {
    for (int v : *values)
      callers += sizeof(float) * static_cast<double>(batch) * count(graph_->values[v].shape);
  }
  std::unique_ptr<Program> fresh;
  const auto plan = [&](const Planner& planner) {
    fresh = std::make_unique<Program>(*graph_, batch, wanted, planner, *context_, pool_.threads());
  };
  const auto total = [&] {
    size_t bytes = fresh->arena_bytes() + weights_.bytes();
    for (const auto& p : programs_) bytes += p->arena_bytes();
    return bytes;
  };
  const auto beyond_limit = [&] {
    return options_.memory_limit && total() > options_.memory_limit;
  };
  const auto too_large = [&] {
    return beyond_limit() || static_cast<double>(total()) + callers > available;
  };
  try {
    weights_.set_counting(true);
    plan(*planner_);
    while (!programs_.empty() && (programs_.size() >= kProgramsKept || too_large())) {
      programs_.pop_back();
      if (too_large()) weights_.drop_unused();
    }
    if (too_large()) {
      fresh.reset();
      weights_.drop_unused();
      plan(*lean_planner_);
    }
    if (beyond_limit()) {
      throw MemoryLimit("memory_limit is " + std::to_string(options_.memory_limit) +
                        " bytes, but a batch of " + std::to_string(batch) + " needs " +
                        std::to_string(total()));
    }
    if (too_large()) {
      char text[96];
      std::snprintf(text, sizeof text,
                    "a batch of %lld needs %.1f GB, this process can have %.1f GB",
                    static_cast<long long>(batch),
                    (static_cast<double>(total()) + callers) / (1 << 30), available / (1 << 30));
      throw MemoryLimit(text);
    }
    weights_.set_counting(false);
    fresh->prepare();
  } catch (...) {
    fresh.reset();
    weights_.drop_unused();
    weights_.set_counting(false);
    throw;
  }
  return fresh;
}

// Images per run: equal chunks, as large as cache and memory limit allow.
int64_t Session::chunk_size(int64_t batch, const std::vector<int>& wanted) {
  if (batch == 1) return 1;
  for (const Chunking& c : chunkings_) {
    if (c.batch == batch && c.wanted == wanted) return c.chunk;
  }
  const Program& single = program(1, wanted);
  const size_t activations = std::max<size_t>(1, single.activation_bytes());
  int64_t most = std::clamp<int64_t>(static_cast<int64_t>(kChunkBytes / activations), 1, kMaxChunk);
  if (options_.memory_limit) {
    const size_t taken = weights_.bytes() + 2 * single.arena_bytes();
    const size_t spare = options_.memory_limit - std::min(options_.memory_limit, taken);
    most = std::clamp<int64_t>(static_cast<int64_t>(spare / activations), 1, most);
  }
  for (;; most = ceil_div(most, 2)) {
    int64_t chunk = ceil_div(batch, ceil_div(batch, most));
    try {
      program(chunk, wanted);
      if (batch % chunk) {
        program(batch % chunk, wanted);
        const bool both = std::any_of(programs_.begin(), programs_.end(),
                                      [&](const auto& p) { return p->serves(chunk, wanted); });
        // Equal chunks rather than two programs that drop each other again and again.
        while (!both && batch % chunk) --chunk;
      }
      if (chunkings_.size() == kChunkingsKept) chunkings_.erase(chunkings_.begin());
      chunkings_.push_back({batch, wanted, chunk});
      return chunk;
    } catch (const MemoryLimit&) {
      if (chunk == 1) throw;
    }
  }
}

void Session::run(int64_t batch, const std::vector<const float*>& inputs,
                  const std::vector<int>& wanted, const std::vector<float*>& outputs,
                  std::vector<StepTime>* times) {
  if (batch < 1) throw std::invalid_argument("the batch is empty");
  std::lock_guard<std::mutex> lock(pool_.turn());
  const int64_t chunk = chunk_size(batch, wanted);
  if (times) times->assign(program(chunk, wanted).reports().size(), {});
  std::vector<StepTime> rest;
  const ThreadPool::Region region(pool_);
  for (int64_t first = 0; first < batch; first += chunk) {
    const int64_t size = std::min(chunk, batch - first);
    Program& p = program(size, wanted);
    // A last, smaller chunk may have other steps; its time counts step by step where they are the
    // same.
    if (times) rest.assign(std::max(times->size(), p.reports().size()), {});
    p.run(first, inputs, outputs, pool_, times ? &rest : nullptr);
    if (times) {
      for (size_t i = 0; i < times->size(); ++i) {
        (*times)[i].seconds += rest[i].seconds;
        (*times)[i].phases.input += rest[i].phases.input;
        (*times)[i].phases.product += rest[i].phases.product;
        (*times)[i].phases.output += rest[i].phases.output;
      }
    }
  }
}

std::vector<StepReport> Session::plan(int64_t batch, const std::vector<int>& wanted) {
  if (batch < 1) throw std::invalid_argument("the batch is empty");
  std::lock_guard<std::mutex> lock(pool_.turn());
  return program(chunk_size(batch, wanted), wanted).reports();
}

std::string Session::wisdom_note() {
  std::lock_guard<std::mutex> lock(pool_.turn());
  return planner_->wisdom().note();
}

void Session::save_wisdom() {
  std::lock_guard<std::mutex> lock(pool_.turn());
  planner_->wisdom().save();
}

size_t Session::weight_bytes() {
  std::lock_guard<std::mutex> lock(pool_.turn());
  return weights_.bytes();
}

size_t Session::arena_bytes() {
  std::lock_guard<std::mutex> lock(pool_.turn());
  size_t bytes = 0;
  for (const auto& p : programs_) bytes += p->arena_bytes();
  return bytes;
}

}  // namespace linnet
