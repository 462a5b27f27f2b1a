#include "session.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <sstream>
#include <stdexcept>

#include "core/log.h"
#include "graph/builder.h"
#include "graph/resolve.h"
#include "run/cgroup.h"
#include "run/peak.h"

namespace linnet {
namespace {

constexpr size_t kProgramsKept = 8, kChunkingsKept = 16, kSizesKept = 8;
// Activations of a chunk beyond this no longer stay in a core's own cache; beyond kMaxChunk images
// nothing more is gained.
constexpr size_t kChunkBytes = 3 << 20;
constexpr int64_t kMaxChunk = 16;

// Bytes of one image of a value, exact: the graph bounds its numbers to 2^40.
double image_bytes(const TensorType& type) {
  auto bytes = static_cast<double>(size_of(type.dtype));
  for (size_t axis = 1; axis < type.shape.size(); ++axis)
    bytes *= static_cast<double>(type.shape[axis]);
  return bytes;
}

// What transformed weights may take more than plain ones, for each image of a batch, where nobody
// has named a limit: bytes, or a share of the memory that is free if that is more.
constexpr double kSpareWeights = 96 << 20, kSpareOfFree = 0.125;
constexpr double kMostOfFree = 0.75;  // all of it, before time is given for memory
// Seconds that a byte may be worth, and how many prices between are tried.
constexpr double kLowestPrice = 1e-13, kHighestPrice = 1e-6;
constexpr int kPrices = 8;

// Images of one program's run of a fixed graph.
int64_t fixed_batch(const Graph& graph) { return graph.own_images(graph.inputs[0]); }

// Bytes of memory that this process can have: the machine's, its cgroup's, or half of a 32-bit
// address space.
double process_memory() {
  const double physical =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  const double limit = cgroup_memory_limit();
  return std::min(limit > 0 ? std::min(physical, limit) : physical,
                  static_cast<double>(std::numeric_limits<ptrdiff_t>::max()));
}

std::shared_ptr<const Graph> with_dtype(std::shared_ptr<const Graph> graph,
                                        const std::string& weights, std::string* note) {
  if (weights.empty()) return graph;
  if (weights != "auto") return with_weights(*graph, weight_type(weights));
  auto changed = with_weights(*graph, {}, note);
  log_event(Topic::kLoad, "%s", note->c_str());
  return changed;
}

// What each layer runs with, and where values lie.
void log_program(const Program& program) {
  if (logs(Topic::kPlan)) {
    for (const Step& step : program.steps)
      log_event(Topic::kPlan, "%s: %s, %s, %.1f us %s", step.name.c_str(),
                step.choice.problem.key().c_str(), step.choice.algorithm->name(),
                step.choice.seconds * 1e6,
                step.choice.source == Source::kMeasured ? "measured" : "estimated");
  }
  if (logs(Topic::kCompile)) {
    std::stringstream text;
    program.dump(text);
    for (std::string line; std::getline(text, line);)
      log_event(Topic::kCompile, "%s", line.c_str());
  }
}

}  // namespace

const Kernels& select_kernels(const std::string& isa) {
  const char* forced = std::getenv("LINNET_ISA");
  return kernels_for(isa.empty() && forced ? forced : isa.c_str());
}

Session::Session(std::shared_ptr<const Graph> graph, SessionOptions options, bool to_plan)
    : graph_(with_dtype(std::move(graph), options.weights_dtype, &weights_note_)),
      options_(std::move(options)),
      kernels_(select_kernels(options_.isa)),
      backends_(options_.blas, options_.nnpack),
      pool_(options_.threads > 0 ? options_.threads : default_threads()) {
  // Without NNPACK, even one asked for, its algorithms refuse every layer with the reason.
  const bool wanted = !options_.blas.empty() && options_.blas != "none";
  if (wanted && !backends_.openblas.library())
    throw std::runtime_error("OpenBLAS '" + options_.blas + "': " + backends_.openblas.missing());
  context_.emplace(Context{kernels_, weights_, backends_});
  PlannerOptions planner = options_;
  planner_.emplace(planner, *context_, pool_);
  planner.lean = true;
  planner.memory_limit = 0;
  lean_planner_.emplace(std::move(planner), *context_, pool_);

  if (graph_->open) return;
  resolved_.push_front(graph_);
  if (!to_plan) warm_up();
}

void Session::warm_up() {
  std::vector<AlignedBuffer> buffers;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  const auto buffer = [&](int value) {
    const double bytes =
        image_bytes(graph_->values[value].type) * static_cast<double>(graph_->own_images(value));
    buffers.emplace_back(bytes_of(static_cast<int64_t>(bytes), DType::kU8), true);
    return buffers.back().data();
  };
  const int64_t batch = fixed_batch(*graph_);
  // Fails on a memory limit before anything large is allocated.
  runner({graph_, batch, graph_->outputs});
  for (int i : graph_->inputs) inputs.push_back(buffer(i));
  for (int o : graph_->outputs) outputs.push_back(buffer(o));
  // The first pass touches memory for the first time, the second finds the caches as later calls
  // do.
  LogTimer timer(Topic::kLoad);
  for (int pass = 1; pass <= 2; ++pass) {
    run(batch, inputs, graph_->outputs, outputs);
    timer.log("run %d", pass);
  }
}

Session::~Session() = default;

int64_t Session::images(const Graph& graph, int64_t batch, int value) {
  if (batch < 1) throw std::invalid_argument("the batch is empty");
  if (!graph.fixed) return batch;
  const int64_t own = fixed_batch(graph);
  const auto along = [&](int v) { return graph.own_images(v) == own; };
  // Groups of that size, where each value has an image for each of the input's.
  const bool groups = batch % own == 0 && along(value) &&
                      std::all_of(graph.inputs.begin(), graph.inputs.end(), along);
  if (batch != own && !groups)
    throw std::invalid_argument("a batch of " + std::to_string(batch) + ": the model is for " +
                                std::to_string(own) + ", since it mixes axis 0 with others");
  return batch / own * graph.own_images(value);
}

Session::Resolved Session::resolved(const std::vector<Shape>& inputs) {
  if (!graph_->open) return graph_;
  std::lock_guard<std::mutex> lock(resolving_);
  const auto known = std::find_if(resolved_.begin(), resolved_.end(), [&](const Resolved& graph) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Shape& shape = graph->values[graph->inputs[i]].shape();
      if (graph->fixed && shape[0] != inputs[i][0]) return false;
      if (!std::equal(shape.begin() + 1, shape.end(), inputs[i].begin() + 1, inputs[i].end()))
        return false;
    }
    return true;
  });
  if (known != resolved_.end()) {
    resolved_.splice(resolved_.begin(), resolved_, known);
  } else {
    resolved_.push_front(resolve(*graph_, inputs));
    if (resolved_.size() > kSizesKept) resolved_.pop_back();
  }
  return resolved_.front();
}

Session::Resolved Session::resolved() {
  std::lock_guard<std::mutex> lock(resolving_);
  if (resolved_.empty())
    throw std::invalid_argument("the model leaves sizes of its inputs open; run it first");
  return resolved_.front();
}

Runner& Session::runner(const Request& request) {
  for (auto k = kept_.begin(); k != kept_.end(); ++k) {
    if (k->serves(request)) {
      kept_.splice(kept_.begin(), kept_, k);
      return kept_.front().runner;
    }
  }
  try {
    Program program = compile(request);
    kept_.push_front({request.graph, Runner(std::move(program))});
  } catch (const MemoryLimit&) {
    throw;
  } catch (const std::bad_alloc&) {
    // Sizes beyond the address space never come to a sum that could be stated.
    char text[96];
    std::snprintf(text, sizeof text,
                  "a batch of %lld needs more than the %.1f GB this process can have",
                  static_cast<long long>(request.batch), process_memory() / (1 << 30));
    throw MemoryLimit(text);
  }
  return kept_.front().runner;
}

size_t Session::plain_bytes() const {
  size_t bytes = 0;
  for (const Weight& w : graph_->weights) {
    if (w.integers.empty()) bytes += bytes_of(w.count(), w.type);
  }
  return bytes;
}

double Session::callers_bytes(const Request& request) const {
  double bytes = 0;
  for (const auto* values : {&request.graph->inputs, &request.wanted}) {
    for (int v : *values) {
      bytes += static_cast<double>(images(*request.graph, request.batch, v)) *
               image_bytes(request.graph->values[v].type);
    }
  }
  return bytes;
}

bool Session::lavish(const Program& fresh, const Request& request, double already) const {
  const double free = available_memory(), spare = std::max(kSpareWeights, kSpareOfFree * free);
  const auto plain = static_cast<double>(plain_bytes());
  const auto weights = static_cast<double>(weights_.bytes());
  if (weights > plain + spare * static_cast<double>(request.batch)) return true;
  const double more = weights + static_cast<double>(fresh.arena + arenas()) - already;
  return more > kMostOfFree * free;
}

void Session::bargain(const Graph& graph, const std::function<bool()>& fits) {
  double low = kLowestPrice, high = kHighestPrice;
  for (int step = 0; step < kPrices; ++step) {
    const double price = std::sqrt(low * high);
    planner_->set_price({price, price});
    (fits() ? high : low) = price;
  }
  // Layers that are alike are worth the same, and what fits of them are the first ones.
  size_t first = 0, last = graph.weights.size();
  while (first < last) {
    const size_t middle = (first + last + 1) / 2;
    planner_->set_price({low, high, graph.weights.data() + middle});
    if (fits()) {
      first = middle;
    } else {
      last = middle - 1;
    }
  }
  planner_->set_price({low, high, graph.weights.data() + first});
  fits();
}

// Nothing large is allocated until the sum is known and allowed: the system may grant more than it
// has, and end the process when that is written to.
Program Session::planned(const Request& request) {
  const Graph& graph = *request.graph;
  const int64_t batch = request.batch;
  const double most = process_memory(), callers = callers_bytes(request);
  const auto already = static_cast<double>(weights_.bytes() + arenas());
  Program fresh;
  const auto plan = [&](const Planner& planner) {
    fresh = {};
    weights_.drop_unused();
    fresh = linnet::compile(graph, {batch, request.wanted}, planner, *context_, pool_.threads());
  };
  const auto total = [&] { return fresh.arena + arenas() + weights_.bytes(); };
  const auto beyond_limit = [&] {
    return options_.memory_limit && total() > options_.memory_limit;
  };
  const auto too_large = [&] {
    return beyond_limit() || static_cast<double>(total()) + callers > most;
  };
  const auto wasteful = [&] {
    return too_large() || (!options_.memory_limit && lavish(fresh, request, already));
  };
  plan(*planner_);
  while (!kept_.empty() && (kept_.size() >= kProgramsKept || too_large())) {
    kept_.pop_back();
    if (too_large()) weights_.drop_unused();
  }
  if (wasteful()) {
    bargain(graph, [&] {
      plan(*planner_);
      return !wasteful();
    });
    planner_->set_price({});
  }
  if (too_large()) plan(*lean_planner_);
  if (beyond_limit()) {
    throw MemoryLimit("memory_limit is " + std::to_string(options_.memory_limit) +
                      " bytes, but a batch of " + std::to_string(batch) + " needs " +
                      std::to_string(total()));
  }
  if (too_large()) {
    char text[96];
    std::snprintf(text, sizeof text, "a batch of %lld needs %.1f GB, this process can have %.1f GB",
                  static_cast<long long>(batch),
                  (static_cast<double>(total()) + callers) / (1 << 30), most / (1 << 30));
    throw MemoryLimit(text);
  }
  return fresh;
}

Program Session::compile(const Request& request) {
  Program fresh;
  LogTimer timer(Topic::kLoad);
  try {
    weights_.set_counting(true);
    fresh = planned(request);
    timer.log("planned batch %lld, %zu steps", static_cast<long long>(request.batch),
              fresh.steps.size());
    weights_.set_counting(false);
    prepare(fresh, *context_);
    timer.log("packed weights, %zu bytes now", weights_.bytes());
  } catch (...) {
    planner_->set_price({});
    fresh = {};
    weights_.drop_unused();
    weights_.set_counting(false);
    throw;
  }
  log_program(fresh);
  return fresh;
}

Needs Session::needs(int64_t batch) {
  std::lock_guard<std::mutex> lock(pool_.turn());
  const Resolved graph = resolved();
  const Request request{graph, batch, graph->outputs};
  images(*graph, batch, graph->outputs[0]);
  Needs needs;
  for (const Weight& w : graph_->weights) {
    if (w.data || w.stored) needs.read += bytes_of(w.count(), w.type);
  }
  const auto counted = [&] {
    planner_->set_price({});
    weights_.set_counting(false);
    weights_.drop_unused();
  };
  try {
    weights_.set_counting(true);
    const Program program = planned(request);
    needs.weights = weights_.bytes(), needs.plain = plain_bytes();
    needs.arena = program.arena, needs.values = program.widest();
    needs.callers = callers_bytes(request);
  } catch (...) {
    counted();
    throw;
  }
  counted();
  return needs;
}

// Images per run: equal chunks, as large as cache and memory limit allow.
int64_t Session::chunk_size(const Request& request) {
  const int64_t batch = request.batch;
  for (const int value : request.wanted) images(*request.graph, batch, value);
  if (batch == 1 || request.graph->fixed) return fixed_batch(*request.graph);
  for (const Chunking& c : chunkings_) {
    if (c.graph == request.graph && c.batch == batch && c.wanted == request.wanted) return c.chunk;
  }
  const Program& single = runner(request.of(1)).program();
  const size_t activations = std::max<size_t>(1, single.activations);
  int64_t most = std::clamp<int64_t>(static_cast<int64_t>(kChunkBytes / activations), 1, kMaxChunk);
  if (options_.memory_limit) {
    const size_t taken = weights_.bytes() + 2 * single.arena;
    const size_t spare = options_.memory_limit - std::min(options_.memory_limit, taken);
    most = std::clamp<int64_t>(static_cast<int64_t>(spare / activations), 1, most);
  }
  for (;; most = ceil_div(most, 2)) {
    int64_t chunk = ceil_div(batch, ceil_div(batch, most));
    try {
      runner(request.of(chunk));
      if (batch % chunk) {
        runner(request.of(batch % chunk));
        const Request first = request.of(chunk);
        const bool both =
            std::any_of(kept_.begin(), kept_.end(), [&](const Kept& k) { return k.serves(first); });
        // Equal chunks rather than two programs that drop each other again and again.
        while (!both && batch % chunk) --chunk;
      }
      if (chunkings_.size() == kChunkingsKept) chunkings_.erase(chunkings_.begin());
      chunkings_.push_back({request.graph, batch, request.wanted, chunk});
      return chunk;
    } catch (const MemoryLimit&) {
      if (chunk == 1) throw;
    }
  }
}

void Session::run(const Resolved& graph, int64_t batch, const std::vector<const void*>& inputs,
                  const std::vector<int>& wanted, const std::vector<void*>& outputs,
                  std::vector<StepTime>* times) {
  std::lock_guard<std::mutex> lock(pool_.turn());
  const ThreadPool::Region region(pool_);
  const Request request{graph, batch, wanted};
  const int64_t chunk = chunk_size(request);
  LogTimer timer(Topic::kRun);
  if (times) times->assign(runner(request.of(chunk)).program().steps.size(), {});
  std::vector<StepTime> rest;
  for (int64_t first = 0; first < batch; first += chunk) {
    const int64_t size = std::min(chunk, batch - first);
    Runner& r = runner(request.of(size));
    // A last, smaller chunk may have other steps; its time counts step by step where they are the
    // same.
    if (times) rest.assign(std::max(times->size(), r.program().steps.size()), {});
    r.run(first, inputs, outputs, pool_, times ? &rest : nullptr);
    if (times) {
      for (size_t i = 0; i < times->size(); ++i) {
        (*times)[i].seconds += rest[i].seconds;
        (*times)[i].phases.input += rest[i].phases.input;
        (*times)[i].phases.product += rest[i].phases.product;
        (*times)[i].phases.output += rest[i].phases.output;
      }
    }
  }
  timer.log("batch %lld in chunks of %lld", static_cast<long long>(batch),
            static_cast<long long>(chunk));
}

std::vector<StepReport> Session::plan(const Resolved& graph, int64_t batch,
                                      const std::vector<int>& wanted) {
  std::lock_guard<std::mutex> lock(pool_.turn());
  const Request request{graph, batch, wanted};
  std::vector<StepReport> reports;
  const Program& program = runner(request.of(chunk_size(request))).program();
  for (const Step& step : program.steps) {
    const int i = static_cast<int>(reports.size());
    const Chain* chain = program.chain_of(i);
    reports.push_back({step.name, step.op, step.choice});
    if (!chain) continue;
    reports.back().rows = chain->args.rows;
    reports.back().reads_rows = i > chain->first, reports.back().writes_rows = i < chain->last();
  }
  return reports;
}

std::string Session::dump(const Resolved& graph, int64_t batch, const std::vector<int>& wanted) {
  std::lock_guard<std::mutex> lock(pool_.turn());
  const Request request{graph, batch, wanted};
  std::ostringstream text;
  runner(request.of(chunk_size(request))).program().dump(text);
  return text.str();
}

std::string Session::wisdom_note() {
  std::lock_guard<std::mutex> lock(pool_.turn());
  return planner_->wisdom().note();
}

void Session::save_wisdom() {
  std::lock_guard<std::mutex> lock(pool_.turn());
  planner_->wisdom().save();
}

double Session::peak() {
  std::lock_guard<std::mutex> lock(pool_.turn());
  return peak_flops(kernels_, pool_);
}

size_t Session::weight_bytes() {
  std::lock_guard<std::mutex> lock(pool_.turn());
  return weights_.bytes();
}

size_t Session::arena_bytes() {
  std::lock_guard<std::mutex> lock(pool_.turn());
  return arenas();
}

size_t Session::arenas() const {
  size_t bytes = 0;
  for (const Kept& k : kept_) bytes += k.runner.program().arena;
  return bytes;
}

}  // namespace linnet
