// Running a compiled program.
#pragma once

#include <vector>

#include "compile/program.h"

namespace linnet {

// Time of one step of a run.
struct StepTime {
  double seconds = 0;
  Phases phases;  // zero for plans without phases
};

// A program with the memory it runs in. Used by one caller at a time.
class Runner {
 public:
  explicit Runner(Program program) : program_(std::move(program)) {}

  const Program& program() const { return program_; }
  Program& program() { return program_; }

  // Reads inputs from image `first` on and writes outputs there: inputs[i] and outputs[i] are
  // dense, in the order of the graph's inputs and of program().wanted. The arena is allocated by
  // the first call.
  void run(int64_t first, const std::vector<const void*>& inputs, const std::vector<void*>& outputs,
           ThreadPool& pool, std::vector<StepTime>* times);

 private:
  Program program_;
  AlignedBuffer arena_;
  std::vector<char*> bases_;  // of each block, for the run at hand
};

}  // namespace linnet
