#pragma once

#include <sched.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace linnet {

// The number of threads this process may keep busy: the CPUs of its affinity mask, cut to its
// cgroup's CPU quota rounded up. At least 1.
int default_threads();

// The CPUs a sleeping worker may wake on: those of its `mask` without the `taken` ones, but with
// the one it sleeps on if that is its `own` (else -1). Where none is left, its mask: the system
// decides.
cpu_set_t wake_mask(const cpu_set_t& mask, const cpu_set_t& taken, int own);

// A fixed number of threads that run the tasks of one loop at a time; the caller is one of them. A
// Session owns one (or shares it) and every Plan splits itself over it.
//
// Each thread has a share of a loop's tasks, the same whenever the loop runs again: the weights
// they read stay in its core's cache. Tasks are claimed one by one from the share's atomic counter,
// and who is done helps with the others' shares, because a static split waits for its slowest share
// whenever another process takes a core. For the same reason a loop never waits for a worker
// that has not begun to work on it. Workers spin a bounded time for the next loop, then sleep on a
// futex; an idle pool uses no CPU. They wake on other CPUs than the caller's, as far as their
// affinity masks allow; nothing of the caller's is changed.
//
// Several threads may call one pool; their loops queue. After fork() the child's copy starts its
// own workers when it is first used (forking from inside a task is not supported).
class ThreadPool {
 public:
  // Keeps the workers awake between the loops of one inference, so that they are woken once for all
  // of them: the constructor wakes them, and while a Region lives they spin up to 2 ms for the next
  // loop. Afterwards they spin 50 us for the next Region if this one began that soon after the
  // last, and else sleep at once. Spinning workers give way to any other thread that wants their
  // core.
  class Region {
   public:
    explicit Region(ThreadPool& pool);
    ~Region();
    Region(const Region&) = delete;
    Region& operator=(const Region&) = delete;

   private:
    ThreadPool& pool_;
    int cpu_ = -1;  // the caller's, at the beginning
  };

#ifdef LINNET_SINGLE_THREAD
  static constexpr int kMaxThreads = 1;
#else
  static constexpr int kMaxThreads = 1024;
#endif

  // Starts threads - 1 workers. Throws std::invalid_argument if `threads` is not in 1..kMaxThreads,
  // std::runtime_error if the system refuses a thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Held by whoever runs loops that belong together. Free in a forked child whatever the threads of
  // its parent were doing.
  std::mutex& turn() { return turn_; }

  // Calls f(task, thread) for every task in [0, tasks) and returns when all calls have ended.
  // `thread` lies in [0, threads()); two calls that run at the same time within one loop have
  // different ones, so it can index scratch memory. Allocates nothing. A call from inside a task
  // (of any pool) runs its tasks inline, one after the other. If a task throws, the tasks not yet
  // begun are dropped and the first exception is rethrown here once all stopped.
  template <typename F>
  void parallel_for(int64_t tasks, F&& f) {
    if (tasks <= 1 || threads_ == 1 || inside_task()) {
      const int thread = inline_thread();
      for (int64_t i = 0; i < tasks; ++i) f(i, thread);
      return;
    }
    using Function = std::remove_reference_t<F>;
    run(
        tasks,
        [](void* function, int64_t task, int thread) {
          (*static_cast<Function*>(function))(task, thread);
        },
        const_cast<void*>(static_cast<const void*>(std::addressof(f))));
  }

  // Sends spinning workers to sleep until the next loop or Region, for a step that runs on other
  // threads (OpenBLAS's).
  void park() { parked_.store(true, std::memory_order_relaxed); }

 private:
  struct Bed;
  using Trampoline = void (*)(void* function, int64_t task, int thread);

  static bool inside_task();
  int inline_thread() const;
  void run(int64_t tasks, Trampoline call, void* function);
  ptrdiff_t share_begin(int thread) const;
  void work(int thread);
  void worker(int thread);
  uint32_t wait_for_epoch(Bed& bed, uint32_t seen);
  void wait_for_workers();
  void wake(int most);
  void aim_sleepers();
  void release_aimed();
  int64_t spin_ns() const;
  void start_workers();
  void stop_workers();
  void forget_workers();
  static void before_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();

  // gate_ is the number of workers inside the current loop plus these flags. A worker enters by a
  // compare-and-swap that fails once kOpen is cleared, so a late one can never touch a loop that is
  // over or the next one's counter.
  static constexpr uint32_t kOpen = 1u << 31;          // workers may enter
  static constexpr uint32_t kCallerSleeps = 1u << 30;  // the last worker out must wake the caller

  const int threads_;
  std::mutex turn_;
  std::mutex callers_;  // held by the caller whose loop is running; guards workers_ too
  std::vector<std::thread> workers_;

  // The current loop; written by the caller while the gate is shut and nobody is inside.
  Trampoline call_ = nullptr;
  void* function_ = nullptr;
  int64_t tasks_ = 0;
  std::exception_ptr error_;
  std::atomic<bool> failed_{false};

  // The next unclaimed task of each thread's share. No wider than a pointer: ARMv6 has no 64-bit
  // atomic instructions.
  struct alignas(64) Share {
    std::atomic<ptrdiff_t> next{0};
  };
  std::unique_ptr<Share[]> shares_;

  // Where each worker sleeps. Who wakes them holds aiming_ to change their affinity masks.
  std::unique_ptr<Bed[]> beds_;
  std::atomic<bool> aiming_{false};

  // Each on its own cache line: gate_ is written as workers come and go, epoch_ only read while
  // they spin.
  alignas(64) std::atomic<uint32_t> gate_{0};
  alignas(64) std::atomic<uint32_t> epoch_{
      0};  // counts the reasons to wake up; sleeping workers wait on it
  std::atomic<int> sleepers_{0};
  std::atomic<int> regions_{0};
  std::atomic<bool> parked_{false};
  std::atomic<bool> paused_{false};        // the last Region began long after the one before it
  std::atomic<uint32_t> region_ended_{0};  // when, in us
  std::atomic<bool> stop_{false};

  // All pools of the process, for the fork handlers.
  ThreadPool* previous_ = nullptr;
  ThreadPool* following_ = nullptr;
};

}  // namespace linnet
