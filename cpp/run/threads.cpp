#include "run/threads.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

#include "run/cgroup.h"

namespace linnet {
namespace {

// How long a worker spins for the next loop: outside a Region, and inside one, where it offers its
// core to others at every look once the first bound has passed.
constexpr int64_t kSpinNs = 50'000;
constexpr int64_t kRegionSpinNs = 2'000'000;

// Which pool's tasks this thread is running, and as which of its threads.
struct Place {
  const ThreadPool* pool = nullptr;
  int thread = 0;
};
thread_local Place place;

int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

void spin_pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
  asm volatile("yield" ::: "memory");
#else
  asm volatile("" ::: "memory");
#endif
}

// One look's worth of waiting, `waited` ns into a spin.
void relax(int64_t waited) {
  if (waited >= kSpinNs) {
    sched_yield();
  } else {
    for (int i = 0; i < 8; ++i) spin_pause();
  }
}

// No timeout is ever passed, so the width of the kernel's time_t does not matter.
#ifdef SYS_futex
constexpr long kFutex = SYS_futex;
#else
constexpr long kFutex = SYS_futex_time64;
#endif
static_assert(sizeof(std::atomic<uint32_t>) == 4 && std::atomic<uint32_t>::is_always_lock_free);

// Returns at once if *word != expected; may also return for no reason.
void futex_wait(std::atomic<uint32_t>* word, uint32_t expected) {
  syscall(kFutex, word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void futex_wake(std::atomic<uint32_t>* word, int most) {
  syscall(kFutex, word, FUTEX_WAKE_PRIVATE, most, nullptr, nullptr, 0);
}

// The pools alive in this process. Neither object has a destructor to run, so pools of any storage
// duration may use it.
std::mutex registry_mutex;
ThreadPool* registry_head = nullptr;

int affinity_cpus() {
  // The kernel refuses a set smaller than its own, whose size it does not tell.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (!set) break;
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    CPU_ZERO_S(bytes, set);
    const bool ok = sched_getaffinity(0, bytes, set) == 0;
    const int error = errno;
    const int count = ok ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (ok) return std::max(1, count);
    if (error != EINVAL) break;
  }
  return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
}

}  // namespace

int default_threads() {
  const int cpus = std::min(affinity_cpus(), ThreadPool::kMaxThreads);
  const double quota = cgroup_cpu_quota();
  return quota > 0 && quota < cpus ? std::max(1, static_cast<int>(std::ceil(quota))) : cpus;
}

ThreadPool::ThreadPool(int threads) : threads_(threads) {
  if (threads < 1 || threads > kMaxThreads)
    throw std::invalid_argument("threads must be 1 to " + std::to_string(kMaxThreads) + ", got " +
                                std::to_string(threads));
  shares_.reset(new Share[threads]);
  start_workers();
  std::lock_guard<std::mutex> lock(registry_mutex);
  static const int registered =
      pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
  (void)registered;
  following_ = registry_head;
  if (following_) following_->previous_ = this;
  registry_head = this;
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(registry_mutex);
    (previous_ ? previous_->following_ : registry_head) = following_;
    if (following_) following_->previous_ = previous_;
  }
  stop_workers();
}

void ThreadPool::start_workers() {
  workers_.reserve(threads_ - 1);
  // Workers take no signals: those belong to the program's own threads (Python handles them on its
  // main thread).
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::string refused;
  try {
    for (int i = 1; i < threads_; ++i) workers_.emplace_back(&ThreadPool::worker, this, i);
  } catch (const std::exception& e) {
    refused = e.what();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (refused.empty()) return;
  const size_t started = workers_.size() + 1;
  stop_workers();
  throw std::runtime_error("cannot start thread " + std::to_string(started + 1) + " of " +
                           std::to_string(threads_) + ": " + refused);
}

void ThreadPool::stop_workers() {
  stop_.store(true, std::memory_order_relaxed);  // published by the epoch
  wake(INT_MAX);
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
  stop_.store(false, std::memory_order_relaxed);
}

void ThreadPool::before_fork() { registry_mutex.lock(); }
void ThreadPool::after_fork_in_parent() { registry_mutex.unlock(); }
void ThreadPool::after_fork_in_child() {
  for (ThreadPool* pool = registry_head; pool; pool = pool->following_) pool->forget_workers();
  registry_mutex.unlock();
}

// In the child only the forking thread exists: whatever the others held or counted is void. The
// dead threads' handles are abandoned, as a std::thread can neither be joined nor destroyed here.
void ThreadPool::forget_workers() {
  new (&turn_) std::mutex;
  new (&callers_) std::mutex;
  new (&workers_) std::vector<std::thread>;
  new (&error_) std::exception_ptr;
  failed_.store(false, std::memory_order_relaxed);
  gate_.store(0, std::memory_order_relaxed);
  epoch_.store(0, std::memory_order_relaxed);
  sleepers_.store(0, std::memory_order_relaxed);
  regions_.store(0, std::memory_order_relaxed);
}

bool ThreadPool::inside_task() { return place.pool != nullptr; }

// Nested loops keep their thread's index, so that scratch memory indexed by it stays private to the
// thread.
int ThreadPool::inline_thread() const { return place.pool == this ? place.thread : 0; }

void ThreadPool::wake(int most) {
  // Sequentially consistent against wait_for_epoch(): either it sees the new epoch or we see the
  // sleeper.
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) > 0) futex_wake(&epoch_, most);
}

int64_t ThreadPool::spin_ns() const {
  if (parked_.load(std::memory_order_relaxed)) return 0;
  return regions_.load(std::memory_order_relaxed) > 0 ? kRegionSpinNs : kSpinNs;
}

void ThreadPool::run(int64_t tasks, Trampoline call, void* function) {
  std::unique_lock<std::mutex> lock(callers_);
  if (workers_.empty()) start_workers();  // in a forked child
  call_ = call;
  function_ = function;
  tasks_ = tasks;
  for (int t = 0; t < threads_; ++t)
    shares_[t].next.store(share_begin(t), std::memory_order_relaxed);
  if (parked_.load(std::memory_order_relaxed)) parked_.store(false, std::memory_order_relaxed);
  gate_.store(kOpen, std::memory_order_release);
  wake(static_cast<int>(std::min<int64_t>(tasks - 1, threads_ - 1)));

  place = {this, 0};
  work(0);
  place = {};
  wait_for_workers();

  if (!failed_.load(std::memory_order_relaxed)) return;
  failed_.store(false, std::memory_order_relaxed);
  std::exception_ptr error = std::move(error_);
  error_ = nullptr;
  lock.unlock();
  std::rethrow_exception(std::move(error));
}

ptrdiff_t ThreadPool::share_begin(int thread) const {
  return static_cast<ptrdiff_t>((tasks_ * thread + threads_ - 1) / threads_);
}

// Claims and runs tasks until none is left, those of its own share first. The data that tasks
// exchange with the caller is ordered by gate_, so the counters themselves need no ordering.
void ThreadPool::work(int thread) {
  try {
    for (int i = 0; i < threads_; ++i) {
      const int share = thread + i < threads_ ? thread + i : thread + i - threads_;
      const ptrdiff_t end = share_begin(share + 1);
      std::atomic<ptrdiff_t>& next = shares_[share].next;
      while (next.load(std::memory_order_relaxed) < end) {
        const ptrdiff_t task = next.fetch_add(1, std::memory_order_relaxed);
        if (task >= end) break;
        call_(function_, task, thread);
      }
    }
  } catch (...) {
    if (!failed_.exchange(true, std::memory_order_relaxed)) error_ = std::current_exception();
    for (int t = 0; t < threads_; ++t)
      shares_[t].next.store(share_begin(t + 1), std::memory_order_relaxed);
  }
}

void ThreadPool::wait_for_workers() {
  uint32_t gate = gate_.fetch_and(~kOpen, std::memory_order_acquire) & ~kOpen;
  if (gate == 0) return;
  const int64_t start = now_ns();
  for (;;) {
    gate = gate_.load(std::memory_order_acquire);
    if (gate == 0) return;
    const int64_t waited = now_ns() - start;
    // Not longer, even in a Region: if a worker has lost its core to another process, the system
    // moves it to ours once we sleep.
    if (waited >= kSpinNs) break;
    relax(waited);
  }
  gate = gate_.fetch_or(kCallerSleeps, std::memory_order_acquire);
  while ((gate & ~kCallerSleeps) != 0) {
    futex_wait(&gate_, gate | kCallerSleeps);
    gate = gate_.load(std::memory_order_acquire);
  }
  gate_.store(0, std::memory_order_relaxed);
}

void ThreadPool::worker(int thread) {
  pthread_setname_np(pthread_self(), "linnet");
  place = {this, thread};
  uint32_t seen = 0;
  for (;;) {
    seen = wait_for_epoch(seen);
    if (stop_.load(std::memory_order_relaxed)) return;
    uint32_t gate = gate_.load(std::memory_order_relaxed);
    bool entered = false;
    while ((gate & kOpen) && !entered)
      entered = gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acquire,
                                            std::memory_order_relaxed);
    if (!entered) continue;
    work(thread);
    if (gate_.fetch_sub(1, std::memory_order_release) == (kCallerSleeps | 1)) futex_wake(&gate_, 1);
  }
}

uint32_t ThreadPool::wait_for_epoch(uint32_t seen) {
  const int64_t start = now_ns();
  for (;;) {
    const uint32_t epoch = epoch_.load(std::memory_order_acquire);
    if (epoch != seen) return epoch;
    const int64_t waited = now_ns() - start;
    if (waited >= spin_ns()) break;
    relax(waited);
  }
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  uint32_t epoch;
  while ((epoch = epoch_.load(std::memory_order_seq_cst)) == seen) futex_wait(&epoch_, seen);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
  return epoch;
}

ThreadPool::Region::Region(ThreadPool& pool) : pool_(pool) {
  if (pool.threads_ == 1) return;
  pool.regions_.fetch_add(1, std::memory_order_relaxed);
  pool.parked_.store(false, std::memory_order_relaxed);
  pool.wake(INT_MAX);
}

ThreadPool::Region::~Region() {
  if (pool_.threads_ > 1) pool_.regions_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace linnet
