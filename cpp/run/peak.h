// What the cores of this machine can compute at best, for percentages of it.
#pragma once

#include "kernels/kernels.h"
#include "run/threads.h"

namespace linnet {

// Floating-point operations per second of all threads of the pool together, a multiply-add being
// two. Measured by some milliseconds of multiply-adds in registers, once in a process for each
// instruction set and number of threads. The caller has the pool's turn.
double peak_flops(const Kernels& kernels, ThreadPool& pool);

}  // namespace linnet
