#include "run/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

#include "core/wait.h"
#include "run/cgroup.h"

namespace linnet {
namespace {

// Which pool's tasks this thread is running, and as which of its threads.
struct Place {
  const ThreadPool* pool = nullptr;
  int thread = 0;
};
thread_local Place place;

uint32_t now_us() { return static_cast<uint32_t>(now_ns() / 1000); }

// The pools alive in this process. Neither object has a destructor to run, so pools of any storage
// duration may use it.
std::mutex registry_mutex;
ThreadPool* registry_head = nullptr;

// The CPUs on which workers of all pools woke and have not gone to sleep since, and on which
// callers began a Region, a bit each. It is a hint: the system moves threads, and two may share a
// bit.
std::atomic<uint32_t> occupied[CPU_SETSIZE / 32];

// `cpu` is -1 where the system does not tell.
int occupy(int cpu) {
  if (cpu >= 0 && cpu < CPU_SETSIZE)
    occupied[cpu / 32].fetch_or(1u << cpu % 32, std::memory_order_relaxed);
  return cpu;
}

void vacate(int cpu) {
  if (cpu >= 0 && cpu < CPU_SETSIZE)
    occupied[cpu / 32].fetch_and(~(1u << cpu % 32), std::memory_order_relaxed);
}

cpu_set_t occupied_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int word = 0; word < CPU_SETSIZE / 32; ++word)
    for (uint32_t bits = occupied[word].load(std::memory_order_relaxed); bits; bits &= bits - 1)
      CPU_SET(32 * word + __builtin_ctz(bits), &set);
  return set;
}

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

cpu_set_t wake_mask(const cpu_set_t& mask, const cpu_set_t& taken, int own) {
  cpu_set_t aim;
  CPU_AND(&aim, &mask, &taken);
  CPU_XOR(&aim, &aim, &mask);  // the mask without `taken`
  if (own >= 0 && CPU_ISSET(own, &mask)) CPU_SET(own, &aim);
  return CPU_COUNT(&aim) > 0 ? aim : mask;
}

struct ThreadPool::Bed {
  static constexpr int kAwake = -1;
  std::atomic<int> cpu{kAwake};  // where the worker sleeps
  std::atomic<pid_t> worker{0};  // the system's number of the thread
  int occupied = -1;             // the CPU it woke on; its own

  // Of who wakes it: the worker's affinity mask, whether it is changed at the moment, and the mask
  // that it would have if no cpuset had taken CPUs away, which is every CPU until that is refuted.
  cpu_set_t mask, widest;
  bool aimed = false;
  bool stays = false;  // where it sleeps, as nobody else is there

  Bed() { std::memset(&widest, 0xff, sizeof widest); }
};

ThreadPool::ThreadPool(int threads) : threads_(threads) {
  if (threads < 1 || threads > kMaxThreads)
    throw std::invalid_argument("threads must be 1 to " + std::to_string(kMaxThreads) + ", got " +
                                std::to_string(threads));
  shares_.reset(new Share[threads]);
  beds_.reset(new Bed[threads]);
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
  for (std::atomic<uint32_t>& cpus : occupied) cpus.store(0, std::memory_order_relaxed);
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
  for (int t = 1; t < threads_; ++t) {
    beds_[t].cpu.store(Bed::kAwake, std::memory_order_relaxed);
    beds_[t].aimed = false;
  }
  aiming_.store(false, std::memory_order_relaxed);
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
  if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
  const bool aiming = !aiming_.exchange(true, std::memory_order_acquire);
  if (aiming) aim_sleepers();
  futex_wake(&epoch_, most);
  if (!aiming) return;
  release_aimed();
  aiming_.store(false, std::memory_order_release);
}

// Takes CPUs on which somebody works out of the masks of sleeping workers, until they are woken.
// The system may else wake them on their caller's CPU, and does where an idle CPU does not look
// idle, as in a virtual machine; there they wait for the caller to stop or for the next balancing,
// some milliseconds later. A worker for whom no CPU is left is the system's to place.
void ThreadPool::aim_sleepers() {
  cpu_set_t taken = occupied_cpus();
  const int here = sched_getcpu();
  if (here >= 0) CPU_SET(here, &taken);
  for (int t = 1; t < threads_; ++t) {
    Bed& bed = beds_[t];
    const int cpu = bed.cpu.load(std::memory_order_acquire);
    bed.stays = cpu >= 0 && !CPU_ISSET(cpu, &taken);
    if (bed.stays) CPU_SET(cpu, &taken);
  }
  for (int t = 1; t < threads_; ++t) {
    Bed& bed = beds_[t];
    const int cpu = bed.cpu.load(std::memory_order_acquire);
    const pid_t worker = bed.worker.load(std::memory_order_relaxed);
    if (cpu < 0 || sched_getaffinity(worker, sizeof bed.mask, &bed.mask) != 0) continue;
    const cpu_set_t aim = wake_mask(bed.mask, taken, bed.stays ? cpu : -1);
    if (!CPU_EQUAL(&aim, &bed.mask)) bed.aimed = sched_setaffinity(worker, sizeof aim, &aim) == 0;
  }
}

// Gives the woken workers their masks back, so that the system can move them where other processes
// leave room. CPUs that only a cpuset keeps from them stay in the mask: they come back with it.
void ThreadPool::release_aimed() {
  for (int t = 1; t < threads_; ++t) {
    Bed& bed = beds_[t];
    if (!bed.aimed) continue;
    bed.aimed = false;
    const pid_t worker = bed.worker.load(std::memory_order_relaxed);
    cpu_set_t now;
    if (sched_setaffinity(worker, sizeof bed.widest, &bed.widest) == 0 &&
        sched_getaffinity(worker, sizeof now, &now) == 0 && CPU_EQUAL(&now, &bed.mask))
      continue;
    sched_setaffinity(worker, sizeof bed.mask, &bed.mask);
    bed.widest = bed.mask;
  }
}

int64_t ThreadPool::spin_ns() const {
  if (parked_.load(std::memory_order_relaxed)) return 0;
  if (regions_.load(std::memory_order_relaxed) > 0) return kRegionSpinNs;
  return paused_.load(std::memory_order_relaxed) ? 0 : kSpinNs;
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
    if (waited >= kWaitNs) break;
    relax(waited, [&] { return gate_.load(std::memory_order_relaxed) == 0; });
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
  Bed& bed = beds_[thread];
  bed.worker.store(static_cast<pid_t>(syscall(SYS_gettid)), std::memory_order_relaxed);
  bed.occupied = -1;
  uint32_t seen = 0;
  for (;;) {
    seen = wait_for_epoch(bed, seen);
    if (stop_.load(std::memory_order_relaxed)) {
      vacate(bed.occupied);
      return;
    }
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

uint32_t ThreadPool::wait_for_epoch(Bed& bed, uint32_t seen) {
  const int64_t start = now_ns();
  for (;;) {
    const uint32_t epoch = epoch_.load(std::memory_order_acquire);
    if (epoch != seen) return epoch;
    const int64_t waited = now_ns() - start;
    if (waited >= spin_ns()) break;
    relax(waited, [&] { return epoch_.load(std::memory_order_relaxed) != seen; });
  }
  vacate(bed.occupied);
  bed.cpu.store(sched_getcpu(), std::memory_order_release);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  uint32_t epoch;
  while ((epoch = epoch_.load(std::memory_order_seq_cst)) == seen) futex_wait(&epoch_, seen);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
  bed.cpu.store(Bed::kAwake, std::memory_order_relaxed);
  bed.occupied = occupy(sched_getcpu());
  return epoch;
}

ThreadPool::Region::Region(ThreadPool& pool) : pool_(pool) {
  if (pool.threads_ == 1) return;
  const uint32_t pause = now_us() - pool.region_ended_.load(std::memory_order_relaxed);
  pool.paused_.store(pause >= kSpinNs / 1000, std::memory_order_relaxed);
  pool.regions_.fetch_add(1, std::memory_order_relaxed);
  pool.parked_.store(false, std::memory_order_relaxed);
  cpu_ = occupy(sched_getcpu());
  pool.wake(INT_MAX);
}

ThreadPool::Region::~Region() {
  if (pool_.threads_ == 1) return;
  vacate(cpu_);
  pool_.region_ended_.store(now_us(), std::memory_order_relaxed);
  pool_.regions_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace linnet
