#include "emit/emit.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "algorithms/cost.h"
#include "ops/op.h"
#include "run/run.h"
#include "session.h"

namespace linnet {
namespace {

// A path where nothing is: what is compiled calls no other library.
const char kNoLibrary[] = "/dev/null/none";

constexpr int32_t kArenaBase = 0, kWeightsBase = 1, kFirstInput = 2;

// Why a step cannot be printed; empty if it can.
std::string objection(const Step& step) {
  const std::string code = step.plan.code->name;
  if (code == "ref_normalize") return "its code allocates memory";
  return "";
}

EmittedPlace placed(const Program& program, const Place& place, int32_t outputs) {
  if (place.block < 0) return {};
  const Block& block = program.blocks[place.block];
  const auto offset = static_cast<uint64_t>(place.offset);
  switch (block.where) {
    case Block::kArena:
      return {kArenaBase, block.offset + offset};
    case Block::kInput:
      return {kFirstInput + block.index, offset};
    case Block::kOutput:
      return {outputs + block.index, offset};
  }
  throw std::logic_error("a block is nowhere");
}

}  // namespace

Quantization quantization_of(const Graph& graph, int value) {
  const bool input = graph.values[value].producer < 0;
  const MapCode wanted = input ? MapCode::kDequantize : MapCode::kQuantize;
  const DType dtype = graph.values[value].type.dtype;
  // Along nodes that only move numbers; each leads to a value further on, or back.
  for (int at = value, last = -1; at != last && is_byte(dtype);) {
    last = at;
    for (const Node& node : graph.nodes) {
      const int near = input ? node.value(0) : node.output();
      const int far = input ? node.output() : node.value(0);
      if (near != last || far < 0) continue;
      const auto* map = std::get_if<MapParams>(&node.params);
      if (map && map->function.code == wanted)
        return {map->function.a, static_cast<int32_t>(map->function.b)};
      if (!map && node.op->any_type && graph.values[far].type.dtype == dtype) at = far;
    }
  }
  return {};
}

struct Emission::Planning {
  Planning(const Target& target, const Outline& outline, PlannerOptions options)
      : kernels(target.isa.c_str(), outline),
        backends(kNoLibrary, kNoLibrary),
        pool(target.threads),
        context{kernels.table(), weights, backends},
        planner(std::move(options), context, pool) {
    if (!target.architecture.empty())
      machine.emplace(machine_of(target.architecture, target.cpuinfo));
  }

  std::optional<Machine> machine;
  RecordingKernels kernels;
  Backends backends;
  WeightStore weights;
  ThreadPool pool;
  Context context;
  Planner planner;
};

Emission::Emission(std::shared_ptr<const Graph> graph, const Target& target, PlannerOptions options)
    : graph_(std::move(graph)), target_(target) {
  if (graph_->open) {
    std::string message = "the model leaves sizes of its inputs open: give them by shapes";
    for (const int i : graph_->inputs) {
      const Value& input = graph_->values[i];
      message +=
          (i == graph_->inputs[0] ? "; " : ", ") + input.name + " is " + to_string(input.shape());
    }
    throw std::invalid_argument(message);
  }
  Target known = target;
  if (target.isa.empty()) {
    const Kernels& own = select_kernels("");
    known.isa = own.isa;
    outline_ = outline_of(own);
    for (const char* const* isa = available_isas(); *isa; ++isa) {
      if (*isa != known.isa + "_intrinsics") continue;
      const Kernels& plain = kernels_for(*isa);
      if (known.isa == "avx512")
        features_ = own.look_up == plain.look_up ? "true, false" : "true, true";
    }
  } else {
    outline_ = outline_of(target.outline);
    if (target.outline == "avx512") features_ = "true, true";  // VNNI and VBMI
  }
  const std::string dot = "_dot";
  if (known.isa.size() > dot.size() && known.isa.substr(known.isa.size() - dot.size()) == dot)
    features_ = "true";
  options.foreign = true;
  planning_ = std::make_unique<Planning>(known, outline_, std::move(options));
}

Emission::~Emission() = default;

std::string Emission::wisdom_note() { return planning_->planner.wisdom().note(); }

EmittedProgram Emission::program(int64_t batch) {
  std::optional<OtherMachine> machine;
  if (planning_->machine) machine.emplace(*planning_->machine);
  for (const int output : graph_->outputs) Session::images(*graph_, batch, output);
  Program program = compile(*graph_, {batch, graph_->outputs}, planning_->planner,
                            planning_->context, target_.threads);
  std::string refused;
  for (const Step& step : program.steps) {
    const std::string reason = objection(step);
    if (!reason.empty()) refused += (refused.empty() ? "" : "; ") + step.name + ": " + reason;
  }
  if (!refused.empty()) throw std::invalid_argument("cannot be compiled: " + refused);

  EmittedProgram emitted;
  emitted.batch = batch, emitted.arena = program.arena, emitted.seconds = program.seconds();
  const int32_t outputs = kFirstInput + static_cast<int32_t>(graph_->inputs.size());
  for (const Step& step : program.steps) {
    EmittedStep e;
    e.name = step.name, e.op = step.op, e.algorithm = step.choice.algorithm->name();
    e.problem = step.choice.problem.key(), e.seconds = step.choice.seconds;
    e.measured = step.choice.source == Source::kMeasured;
    e.code = step.plan.code->name;
    e.args.assign(static_cast<const char*>(step.plan.args.get()), step.plan.code->args_bytes);
    e.x = placed(program, step.x, outputs);
    e.z = placed(program, step.z, outputs);
    e.y = placed(program, step.y, outputs);
    e.workspace = {kArenaBase, step.workspace};
    if (const auto& constant = step.constant_packed)
      e.z = {kWeightsBase, place(constant->data(), constant->size())};
    for (const PlanData& data : step.plan.weights) {
      e.weights.push_back(data.data ? EmittedPlace{kWeightsBase, place(data.data.get(), data.bytes)}
                                    : EmittedPlace());
    }
    emitted.steps.push_back(std::move(e));
  }
  for (const Chain& chain : program.chains) {
    EmittedStep& first = emitted.steps[static_cast<size_t>(chain.first)];
    first.chain.assign(reinterpret_cast<const char*>(&chain.args), chain.args.bytes());
    first.rows = {kArenaBase, chain.offset};
  }
  record(program);
  programs_.push_back(std::move(program));
  return emitted;
}

// The same data at the same place, aligned as in memory.
uint64_t Emission::place(const void* data, size_t bytes) {
  const std::pair<const void*, size_t> key{data, bytes};
  for (const auto& [known, at] : placed_) {
    if (known == key) return at;
  }
  data_.resize(static_cast<size_t>(round_up(static_cast<int64_t>(data_.size()), kAlignment)));
  placed_.emplace_back(key, data_.size());
  data_.append(static_cast<const char*>(data), bytes);
  return placed_.back().second;
}

// Runs the program with kernels that do nothing, once as if transforms carried all numbers and once
// as if they carried none, which is then computed directly.
void Emission::record(const Program& program) {
  std::vector<AlignedBuffer> buffers;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  const auto buffer = [&](int value) {
    const TensorType& type = graph_->values[value].type;
    int64_t count = Session::images(*graph_, program.batch, value);
    for (size_t axis = 1; axis < type.shape.size(); ++axis) count *= type.shape[axis];
    buffers.emplace_back(bytes_of(count, type.dtype), true);
    return buffers.back().data();
  };
  for (const int i : graph_->inputs) inputs.push_back(buffer(i));
  for (const int o : graph_->outputs) outputs.push_back(buffer(o));
  ThreadPool alone(1);
  for (const bool faulty : {false, true}) {
    planning_->kernels.called(faulty);
    Runner(program).run(0, inputs, outputs, alone, nullptr);
    called_.merge(planning_->kernels.called());
  }
  // Which pixels are computed directly depends on their numbers.
  if (!called_.count("energy") && !called_.count("energies") && !called_.count("squares")) return;
  called_.insert("energy");
  for (const std::string& kernel : outline_.kernels) {
    if (kernel.compare(0, 10, "direct[1][") == 0) called_.insert(kernel);
  }
}

}  // namespace linnet
