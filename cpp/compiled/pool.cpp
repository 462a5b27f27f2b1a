// The runtime's way to divide a loop (run/threads.h) without its libraries: each thread has a share
// of the tasks, claimed one by one, and helps with the others' when it is done. Workers spin while
// a run goes on, else they sleep on a futex.
#include "pool.h"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <climits>
#include <cstddef>
#include <new>

#include "core/wait.h"

namespace {

using linnet::futex_wait, linnet::futex_wake, linnet::now_ns, linnet::relax;
using linnet::kRegionSpinNs, linnet::kSpinNs, linnet::kWaitNs;
using std::ptrdiff_t;

constexpr uint32_t kOpen = 1u << 31;  // workers may enter
constexpr uint32_t kCallerSleeps = 1u << 30;

}  // namespace

struct alignas(LINNET_POOL_LINE) linnet_pool {
  struct alignas(LINNET_POOL_LINE) Share {
    std::atomic<ptrdiff_t> next;
    linnet_pool* pool;
    pthread_t worker;
  };

  // Of the loop; written while nobody is inside.
  void (*call)(void*, int64_t, int);
  void* function;
  ptrdiff_t tasks;
  int threads;
  std::atomic<uint32_t> running, stop;
  alignas(LINNET_POOL_LINE) std::atomic<uint32_t> gate;  // workers inside, and the flags above
  alignas(LINNET_POOL_LINE) std::atomic<uint32_t> epoch;
  std::atomic<int> sleepers;

  Share* shares() { return reinterpret_cast<Share*>(this + 1); }
  ptrdiff_t begin_of(int thread) const {
    return static_cast<ptrdiff_t>((int64_t{tasks} * thread + threads - 1) / threads);
  }

  void wake(int most) {
    epoch.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers.load(std::memory_order_seq_cst) != 0) futex_wake(&epoch, most);
  }

  void work(int thread) {
    for (int i = 0; i < threads; ++i) {
      const int share = thread + i < threads ? thread + i : thread + i - threads;
      const ptrdiff_t end = begin_of(share + 1);
      std::atomic<ptrdiff_t>& next = shares()[share].next;
      while (next.load(std::memory_order_relaxed) < end) {
        const ptrdiff_t task = next.fetch_add(1, std::memory_order_relaxed);
        if (task >= end) break;
        call(function, task, thread);
      }
    }
  }

  uint32_t wait_for_epoch(uint32_t seen) {
    const int64_t start = now_ns();
    for (;;) {
      const uint32_t now = epoch.load(std::memory_order_acquire);
      if (now != seen) return now;
      const int64_t waited = now_ns() - start;
      if (waited >= (running.load(std::memory_order_relaxed) ? kRegionSpinNs : kSpinNs)) break;
      relax(waited, [&] { return epoch.load(std::memory_order_relaxed) != seen; });
    }
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    uint32_t now;
    while ((now = epoch.load(std::memory_order_seq_cst)) == seen) futex_wait(&epoch, seen);
    sleepers.fetch_sub(1, std::memory_order_relaxed);
    return now;
  }

  void serve(int thread) {
    for (uint32_t seen = 0;;) {
      seen = wait_for_epoch(seen);
      if (stop.load(std::memory_order_relaxed)) return;
      uint32_t now = gate.load(std::memory_order_relaxed);
      bool entered = false;
      while ((now & kOpen) && !entered)
        entered = gate.compare_exchange_weak(now, now + 1, std::memory_order_acquire,
                                             std::memory_order_relaxed);
      if (!entered) continue;
      work(thread);
      if (gate.fetch_sub(1, std::memory_order_release) == (kCallerSleeps | 1)) futex_wake(&gate, 1);
    }
  }

  void wait_for_workers() {
    uint32_t now = gate.fetch_and(~kOpen, std::memory_order_acquire) & ~kOpen;
    const int64_t start = now == 0 ? 0 : now_ns();
    while (now != 0) {
      const int64_t waited = now_ns() - start;
      if (waited >= kWaitNs) break;
      relax(waited, [&] { return (gate.load(std::memory_order_relaxed) & ~kCallerSleeps) == 0; });
      now = gate.load(std::memory_order_acquire);
    }
    if (now == 0) return;
    now = gate.fetch_or(kCallerSleeps, std::memory_order_acquire);
    while ((now & ~kCallerSleeps) != 0) {
      futex_wait(&gate, now | kCallerSleeps);
      now = gate.load(std::memory_order_acquire);
    }
    gate.store(0, std::memory_order_relaxed);
  }
};
static_assert(sizeof(linnet_pool) == LINNET_POOL_BYTES(0));
static_assert(sizeof(linnet_pool::Share) == LINNET_POOL_LINE);

extern "C" {

static void* serve(void* share) {
  const auto own = static_cast<linnet_pool::Share*>(share);
  own->pool->serve(static_cast<int>(own - own->pool->shares()));
  return nullptr;
}

int linnet_pool_start(linnet_pool* pool, int threads) {
  new (pool) linnet_pool{};
  pool->threads = threads;
  // Workers take no signals: those are the program's own threads'.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = 0;
  for (int i = 0; i < threads && !error; ++i) {
    linnet_pool::Share* share = new (pool->shares() + i) linnet_pool::Share{};
    share->pool = pool;
    if (i > 0) error = pthread_create(&share->worker, nullptr, serve, share);
    if (error) {
      pool->threads = i;
      linnet_pool_stop(pool);
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

void linnet_pool_stop(linnet_pool* pool) {
  pool->stop.store(1, std::memory_order_relaxed);  // published by the epoch
  pool->wake(INT_MAX);
  for (int i = 1; i < pool->threads; ++i) pthread_join(pool->shares()[i].worker, nullptr);
}

void linnet_pool_begin(linnet_pool* pool) {
  pool->running.store(1, std::memory_order_relaxed);
  pool->wake(INT_MAX);
}

void linnet_pool_end(linnet_pool* pool) { pool->running.store(0, std::memory_order_relaxed); }

void linnet_pool_loop(linnet_pool* pool, int64_t tasks, void (*call)(void*, int64_t, int),
                      void* function) {
  pool->call = call, pool->function = function, pool->tasks = static_cast<ptrdiff_t>(tasks);
  for (int t = 0; t < pool->threads; ++t)
    pool->shares()[t].next.store(pool->begin_of(t), std::memory_order_relaxed);
  pool->gate.store(kOpen, std::memory_order_release);
  pool->wake(INT_MAX);
  pool->work(0);
  pool->wait_for_workers();
}

}  // extern "C"
