// Program: a graph compiled for one batch size and one set of wanted values. Plain data: steps over
// blocks of memory, in the order they run.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "algorithms/chain.h"
#include "graph/graph.h"
#include "plan/planner.h"

namespace linnet {

// A piece of memory that values lie in: a part of the arena, or an input or output of the caller.
struct Block {
  enum Where : uint8_t { kArena, kInput, kOutput } where = kArena;
  int index = 0;                        // of the input or output
  int64_t image = 0;                    // bytes of one image
  size_t bytes = 0;                     // of all images
  int first_step = -1, last_step = -1;  // that use the block; -1 if none does
  size_t offset = 0;                    // in the arena
};

// Where a step's operand begins; what it is the step's problem says.
struct Place {
  int block = -1;
  int64_t offset = 0;  // bytes
};

struct Step {
  std::string name;  // of the nodes fused into it, joined by "+"
  std::string op;
  Choice choice;
  const Weight *weight = nullptr, *bias = nullptr;
  const Weight* constant = nullptr;  // second operand of a sum
  Place x, z, y;                     // z: residual or second operand, where there is one
  // What prepare() fills in.
  Plan plan;
  WeightStore::Buffer constant_packed;  // in the layout of y
  size_t workspace = 0;                 // offset in the arena
};

// Steps from number `first` on that are computed together, and the rows that lie between them.
struct Chain {
  int first = 0;
  ChainArgs args = {};
  size_t bytes = 0, offset = 0;  // in the arena

  int last() const { return first + static_cast<int>(args.length) - 1; }
};

struct Program {
  int64_t batch = 1;
  int width = 1;            // floats of a vector, to whose multiples channels are padded
  std::vector<int> wanted;  // values
  std::vector<Block> blocks;
  std::vector<Step> steps;
  std::vector<Chain> chains;  // in the order of their steps
  size_t arena = 0;           // bytes
  size_t activations = 0;     // bytes of an arena without workspaces

  const Chain* chain_of(int step) const;  // null for a step that is computed alone
  size_t widest() const;   // bytes of the arena's values at the step that has the most
  double seconds() const;  // of one run, as the planner knows it
  // A line for each step, then one for each block of the arena.
  void dump(std::ostream& out) const;
};

// What a program is compiled for.
struct Wanted {
  int64_t batch = 1;
  std::vector<int> values;
};

// Chooses algorithms and layouts, prepares all plans and places them. The graph, the planner's
// context and the weights must outlive the program.
Program compile(const Graph& graph, const Wanted& wanted, const Planner& planner,
                const Context& context, int threads);

// Makes all plans anew, as compile() does: that may count their weights, this packs them.
void prepare(Program& program, const Context& context);

}  // namespace linnet
