/* A compiled network as data, in C: the steps of a run and where what they work on lies. The
   network's own file fills these in, program.cpp runs them. */
#ifndef LINNET_COMPILED_PROGRAM_H
#define LINNET_COMPILED_PROGRAM_H

#include <stdint.h>

#include "pool.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LINNET_MOST_WEIGHTS = 8 };

/* The code of a step; one is defined for each algorithm that the network uses. */
struct linnet_code;

/* Bytes after a base: 0 is the arena, 1 the weights; then come inputs, then outputs. -1: absent. */
struct linnet_place {
  int32_t base;
  uint64_t offset;
};

struct linnet_step {
  const struct linnet_code* code;
  const void* args;
  struct linnet_place x, z, y, workspace;
  struct linnet_place weights[LINNET_MOST_WEIGHTS];
};

/* Steps that are computed together, some rows at a time. */
struct linnet_chain {
  uint32_t first, length;
  const void* args;
  struct linnet_place rows;
};

struct linnet_program {
  const struct linnet_step* steps;
  uint32_t count;
  uint32_t inputs;                   /* outputs come after them */
  const struct linnet_chain* chains; /* in the order of their steps; the last has the length 0 */
};

/* On the threads of a pool, or without one on the caller's alone. */
void linnet_run(const struct linnet_program* program, const void* weights,
                const void* const* inputs, void* const* outputs, void* arena,
                struct linnet_pool* pool);

#ifdef __cplusplus
}
#endif

#endif
