// A network compiled ahead for a CPU that need not be this one: its programs as numbers and bytes,
// which `linnet compile` prints.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "compile/program.h"
#include "emit/outline.h"
#include "graph/graph.h"

namespace linnet {

// What is compiled for; without an instruction set this machine.
struct Target {
  std::string isa;
  std::string outline;                // of its kernels
  std::string architecture, cpuinfo;  // of its core, as machine_of() takes them
  int threads = 1;
};

// Where an operand lies, in the words of cpp/compiled/program.h.
struct EmittedPlace {
  int32_t base = -1;
  uint64_t offset = 0;
};

struct EmittedStep {
  std::string name, op, algorithm, problem;  // for people
  double seconds = 0;                        // as planned
  bool measured = false;                     // rather than estimated
  std::string code;                          // PlanCode::name
  std::string args;                          // the bytes of its arguments
  EmittedPlace x, z, y, workspace;
  std::vector<EmittedPlace> weights;
  // Of the first step of a chain: the bytes of its numbers, and where its rows lie.
  std::string chain;
  EmittedPlace rows;
};

struct EmittedProgram {
  int64_t batch = 1;
  size_t arena = 0;  // bytes
  double seconds = 0;
  std::vector<EmittedStep> steps;
};

// What the integers of a value stand for: (q - zero) * scale. A scale of 0 where that is not said.
struct Quantization {
  float scale = 0;
  int32_t zero = 0;
};
// Of an input, by what reads it; of an output, by what makes it.
Quantization quantization_of(const Graph& graph, int value);

// Programs for some batch sizes, which share their weights.
class Emission {
 public:
  // Throws std::invalid_argument, naming the target.
  Emission(std::shared_ptr<const Graph> graph, const Target& target, PlannerOptions options);
  ~Emission();

  // Compiles for a batch. Throws std::invalid_argument with all reasons where a step cannot be
  // printed.
  EmittedProgram program(int64_t batch);

  const Graph& graph() const { return *graph_; }
  const Outline& outline() const { return outline_; }
  // Features that the kernels may use besides the instruction set's, as kernels/dot.cpp names them.
  const std::string& features() const { return features_; }
  // The kernels that the programs so far call.
  const std::set<std::string>& kernels() const { return called_; }
  // All packed weights and tables.
  const std::string& weights() const { return data_; }
  // One sentence on the wisdom used.
  std::string wisdom_note();

 private:
  uint64_t place(const void* data, size_t bytes);
  void record(const Program& program);

  const std::shared_ptr<const Graph> graph_;
  const Target target_;
  Outline outline_;
  std::string features_;
  struct Planning;
  std::unique_ptr<Planning> planning_;
  std::set<std::string> called_;
  std::string data_;
  std::vector<std::pair<std::pair<const void*, size_t>, uint64_t>> placed_;
  std::vector<Program> programs_;  // keep their weights where they are
};

}  // namespace linnet
