// What a table of kernels has, without its code: so networks are planned for CPUs that this one is
// not, and the kernels a network calls are found by running it with ones that do nothing.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "kernels/kernels.h"

namespace linnet {

// The numbers of a table that are not 0, as "direct_cols[2]", and the names of its kernels, as
// "direct[2][6]": in C++ the members they are.
struct Outline {
  std::map<std::string, double> numbers;
  std::set<std::string> kernels;

  bool operator==(const Outline& o) const { return numbers == o.numbers && kernels == o.kernels; }
};

Outline outline_of(const Kernels& table);

// As text, a line for each number and for each run of kernels; and back.
std::string to_string(const Outline& outline);
Outline parse_outline(const std::string& text);

// The outline of an instruction set's table, whatever CPU this is. Throws std::invalid_argument for
// a name there is none of.
Outline outline_of(const std::string& isa);

// A table whose kernels do nothing but remember that they were called, in this thread.
class RecordingKernels {
 public:
  RecordingKernels(const char* isa, const Outline& outline);

  const Kernels& table() const { return *table_; }
  // Those called since the last time. With `faulty`, energies that kernels are asked for from now
  // on are such as no transform can carry.
  std::set<std::string> called(bool faulty = false);

 private:
  std::unique_ptr<Kernels> table_;
};

}  // namespace linnet
