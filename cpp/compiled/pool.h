/* Threads of a compiled network, which its caller starts; in C. */
#ifndef LINNET_COMPILED_POOL_H
#define LINNET_COMPILED_POOL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In memory of the caller's, aligned to 64: LINNET_POOL_BYTES. */
struct linnet_pool;
enum { LINNET_POOL_LINE = 64, LINNET_POOL_LINES = 3 };
#define LINNET_POOL_BYTES(threads) (LINNET_POOL_LINE * (LINNET_POOL_LINES + (threads)))

/* Starts threads - 1 workers. 0, or the system's error; then none is left. */
int linnet_pool_start(struct linnet_pool* pool, int threads);
void linnet_pool_stop(struct linnet_pool* pool);

/* Around the loops of one run: workers stay awake between them. */
void linnet_pool_begin(struct linnet_pool* pool);
void linnet_pool_end(struct linnet_pool* pool);

/* Calls call(function, task, thread) for every task and returns when all calls have ended. */
void linnet_pool_loop(struct linnet_pool* pool, int64_t tasks,
                      void (*call)(void* function, int64_t task, int thread), void* function);

#ifdef __cplusplus
}
#endif

#endif
