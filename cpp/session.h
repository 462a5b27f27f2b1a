// Session: a graph compiled for one machine and thread number, ready to run batches of any size.
//
// A Program is the graph for one batch size and one set of wanted values: fused steps, each a
// prepared Plan, and one arena for all values and workspaces. A Session compiles programs as batch
// sizes come up, keeps the last few, and cuts large batches into chunks whose activations stay in
// cache. An open graph, which leaves sizes of its inputs free, is resolved for each that comes up.
// All programs share the packed weights.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "run/run.h"

namespace linnet {

// What a session is made with; core/options.h lists it. The memory limit is that of packed weights
// and activations together.
struct SessionOptions : PlannerOptions {
  int threads = 0;            // 0: as many as this process may use
  std::string isa;            // empty: LINNET_ISA, else the best this CPU has
  std::string weights_dtype;  // of layers that take any; empty: as the graph has them
  std::string blas, nnpack;   // as find_openblas and find_nnpack take them
};

// The kernels of the named ISA; for an empty name those LINNET_ISA names, else the best this CPU
// has. Throws like kernels_for.
const Kernels& select_kernels(const std::string& isa);

// One step of a program as explain() and profile() report it.
struct StepReport {
  std::string name;  // of the nodes fused into it, joined by "+"
  std::string op;
  Choice choice;
  // Of the last of the steps that are computed together, at a time; 0: it is computed alone. Then
  // whether what it reads, and what it writes, lies between two of these steps.
  int64_t rows = 0;
  bool reads_rows = false, writes_rows = false;
};

// What a program needs, in bytes.
struct Needs {
  size_t weights = 0;  // packed
  size_t plain = 0;    // of the graph's weights
  size_t read = 0;     // of those that are in memory already, and stay there
  size_t arena = 0;    // values and workspaces
  size_t values = 0;   // of the step that has the most
  double callers = 0;  // inputs and outputs
};

class Session {
 public:
  using Resolved = std::shared_ptr<const Graph>;  // a graph that is not open

  // Packs weights, starts the threads and runs once, so that the first call is as fast as later
  // ones; the first run of each size of an open graph does so for that. Throws
  // std::invalid_argument, std::runtime_error, or MemoryLimit. Where it is only `to_plan`, nothing
  // is packed before it is run.
  Session(std::shared_ptr<const Graph> graph, SessionOptions options, bool to_plan = false);
  ~Session();

  const Graph& graph() const { return *graph_; }
  int threads() const { return pool_.threads(); }
  const char* isa() const { return kernels_.isa; }

  // The graph for inputs of these shapes, whose axis 0 is ignored. Throws std::invalid_argument
  // where they do not fit.
  Resolved resolved(const std::vector<Shape>& inputs);
  // The graph of the sizes last asked for. Throws std::invalid_argument before the first.
  Resolved resolved();

  // How many images of a value a run of `batch` has. Throws std::invalid_argument for a batch that
  // the graph does not take.
  static int64_t images(const Graph& graph, int64_t batch, int value);

  // Runs `batch` images: inputs[i] and outputs[i] are dense, in the order of graph.inputs and of
  // `wanted` (value indices). Callers queue. Fills `times`, one entry per step of plan(graph,
  // batch, wanted), when given.
  void run(const Resolved& graph, int64_t batch, const std::vector<const void*>& inputs,
           const std::vector<int>& wanted, const std::vector<void*>& outputs,
           std::vector<StepTime>* times = nullptr);
  void run(int64_t batch, const std::vector<const void*>& inputs, const std::vector<int>& wanted,
           const std::vector<void*>& outputs) {
    run(resolved(), batch, inputs, wanted, outputs);
  }

  // The steps a batch runs in; for a batch cut into chunks, those of its first chunk.
  std::vector<StepReport> plan(const Resolved& graph, int64_t batch,
                               const std::vector<int>& wanted);
  // The same steps with the memory they use, as text; see Program::dump.
  std::string dump(const Resolved& graph, int64_t batch, const std::vector<int>& wanted);

  // What a batch would need beside what is there.
  Needs needs(int64_t batch);
  // What became of weights_dtype "auto"; empty without it.
  const std::string& weights_note() const { return weights_note_; }

  // What its threads can compute at best, see peak_flops().
  double peak();
  size_t weight_bytes();
  size_t arena_bytes();  // of all programs kept
  // What the wisdom file held; and writing what was measured into it. See wisdom.h.
  std::string wisdom_note();
  void save_wisdom();

 private:
  // What a program is compiled for; of a caller's, hence no copies.
  struct Request {
    const Resolved& graph;
    int64_t batch;
    const std::vector<int>& wanted;
    Request of(int64_t images) const { return {graph, images, wanted}; }
  };
  struct Kept {
    Resolved graph;
    Runner runner;
    bool serves(const Request& request) const {
      const Program& program = runner.program();
      return graph == request.graph && program.batch == request.batch &&
             program.wanted == request.wanted;
    }
  };
  // What chunk_size() found: under a memory limit that takes programs that do not fit.
  struct Chunking {
    Resolved graph;
    int64_t batch;
    std::vector<int> wanted;
    int64_t chunk;
  };

  int64_t chunk_size(const Request& request);
  Runner& runner(const Request& request);
  Program compile(const Request& request);
  // The program with its weights counted, not packed.
  Program planned(const Request& request);
  double callers_bytes(const Request& request) const;
  // Sets the planner's price of memory to the lowest at which `fits`, which plans, says yes.
  void bargain(const Graph& graph, const std::function<bool()>& fits);
  // Whether packed weights, or all, take more than they should where nobody has named a limit.
  bool lavish(const Program& fresh, const Request& request, double already) const;
  size_t plain_bytes() const;  // of the graph's weights
  void warm_up();
  size_t arenas() const;

  std::string weights_note_;
  const std::shared_ptr<const Graph> graph_;
  std::mutex resolving_;
  std::list<Resolved> resolved_;  // most recently asked for first
  const SessionOptions options_;
  const Kernels& kernels_;
  Backends backends_;
  WeightStore weights_;
  ThreadPool pool_;
  std::optional<Context> context_;
  std::optional<Planner> planner_, lean_planner_;
  std::list<Kept> kept_;  // most recently used first
  std::vector<Chunking> chunkings_;
};

// A model does not fit the memory limit; what() names the smallest limit it fits.
class MemoryLimit : public std::bad_alloc {
 public:
  explicit MemoryLimit(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

}  // namespace linnet
