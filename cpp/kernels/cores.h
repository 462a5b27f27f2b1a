// The kinds of cores that kernels run on, in one table, and which of them this program runs on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace linnet {

// What one kind of core does in a cycle, and its caches.
struct Machine {
  double l1, l2, l3;  // bytes one core can count on when all are busy; l3 is 0 if there is none
  // Bytes of a way of the first level, where it has too few ways for the lines of a tile; else 0.
  int64_t way;
  double l2_rate, l3_rate, memory_rate;  // bytes streamed from there
  double loads;                          // vectors loaded
  double fmas;        // vector multiply-adds, against those the table of kernels assumes
  double efficiency;  // of the best multiply-add loop, against its bound
  double transforms;  // cycles of transforms that take one on x86-64
  double nnpack_width, nnpack_macs;  // floats of its vectors, its multiply-adds
};

struct Core {
  const char* name;
  // By which Linux tells Arm's cores apart: its own number, and those of cores alike. 0 ends them.
  unsigned parts[6];
  // Issues instructions in order, so that 64-bit kernels ordered for the Cortex-A53 suit it better
  // than what a compiler makes; other cores order them, and execute fewer of the compiler's.
  bool in_order;
  int l2_sharers, l3_sharers;  // cores that share one
  Machine machine;             // with its usual caches
};

// A kind of core, and the number of a processor that is one; -1 where none is known.
struct CoreFound {
  const Core& core;
  int cpu;
};

// The slowest kind among the `allowed` processors, or among all if none of these is listed, by what
// uname() calls the architecture and the text of /proc/cpuinfo: a thread may run on any of them.
CoreFound slowest_core(const std::string& architecture, const std::string& cpuinfo,
                       const std::vector<int>& allowed = {});

// The same of this process, once and for all.
const CoreFound& own_core();

}  // namespace linnet
