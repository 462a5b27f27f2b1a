#include <dirent.h>
#include <doctest/doctest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "run/threads.h"

using linnet::ThreadPool;

namespace {

#if defined(__SANITIZE_THREAD__)
constexpr bool kTsan = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr bool kTsan = true;
#else
constexpr bool kTsan = false;
#endif
#else
constexpr bool kTsan = false;
#endif

void sleep_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int threads_of_process() {
  DIR* folder = opendir("/proc/self/task");
  REQUIRE(folder);
  int count = 0;
  while (dirent* entry = readdir(folder)) count += entry->d_name[0] != '.';
  closedir(folder);
  return count;
}

// Runs one task on every thread of the pool at once.
template <typename F>
void on_every_thread(ThreadPool& pool, F&& f) {
  std::atomic<int> present{0};
  pool.parallel_for(pool.threads(), [&](int64_t, int thread) {
    f(thread);
    present.fetch_add(1);
    const auto start = std::chrono::steady_clock::now();
    while (present.load() < pool.threads() && seconds_since(start) < 20) std::this_thread::yield();
  });
  CHECK(present.load() == pool.threads());
}

// The sum of 0..n-1 taken by the pool, each task adding to its thread's own cell without
// synchronization: the result's being right (and the thread sanitizer's silence) shows that tasks
// and caller are ordered.
int64_t pooled_sum(ThreadPool& pool, int64_t n) {
  struct alignas(64) Cell {
    int64_t value = 0;
  };
  std::vector<Cell> cells(pool.threads());
  pool.parallel_for(n, [&](int64_t task, int thread) { cells.at(thread).value += task; });
  int64_t sum = 0;
  for (const Cell& cell : cells) sum += cell.value;
  return sum;
}

// Affinity masks as lists of CPUs; thread 0 is the calling one.
using Cpus = std::vector<int>;

Cpus cpus_of(const cpu_set_t& set) {
  Cpus cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

cpu_set_t cpu_set(const Cpus& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu : cpus) CPU_SET(cpu, &set);
  return set;
}

Cpus allowed(pid_t thread = 0) {
  cpu_set_t set;
  REQUIRE(sched_getaffinity(thread, sizeof set, &set) == 0);
  return cpus_of(set);
}

void allow(const Cpus& cpus, pid_t thread = 0) {
  const cpu_set_t set = cpu_set(cpus);
  REQUIRE(sched_setaffinity(thread, sizeof set, &set) == 0);
}

// The system's numbers of a pool's threads, the caller's first.
std::vector<pid_t> threads_of(ThreadPool& pool) {
  std::vector<pid_t> threads(pool.threads());
  on_every_thread(pool, [&](int i) { threads[i] = static_cast<pid_t>(syscall(SYS_gettid)); });
  return threads;
}

// Returns once every worker sleeps, as after a pause of the caller.
void wait_until_asleep(const std::vector<pid_t>& threads) {
  for (size_t i = 1; i < threads.size(); ++i) {
    const std::string path = "/proc/self/task/" + std::to_string(threads[i]) + "/stat";
    char state = 0;
    for (int look = 0; look < 20000 && state != 'S'; ++look) {
      std::string line;
      std::getline(std::ifstream(path), line);
      state = line.at(line.rfind(')') + 2);
      if (state != 'S') sleep_ms(1);
    }
    REQUIRE(state == 'S');
  }
}

}  // namespace

TEST_CASE("every task runs exactly once, for any number of threads and tasks") {
  for (int threads : {1, 2, 3, 4, 7}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (int64_t tasks : {0, 1, 2, 3, 5, 64, 1000}) {
      CAPTURE(threads);
      CAPTURE(tasks);
      std::vector<int> runs(tasks, 0);
      pool.parallel_for(tasks, [&](int64_t task, int) { ++runs.at(task); });
      CHECK(std::all_of(runs.begin(), runs.end(), [](int r) { return r == 1; }));
      CHECK(pooled_sum(pool, tasks) == tasks * (tasks - 1) / 2);
    }
  }
}

TEST_CASE("results of one loop are visible to the next") {
  ThreadPool pool(4);
  std::vector<int> a(64, 1), b(64);
  for (int round = 0; round < 2000; ++round) {
    pool.parallel_for(64, [&](int64_t i, int) { b[i] = a[(i + 1) % 64] + 1; });
    std::swap(a, b);
  }
  CHECK(std::all_of(a.begin(), a.end(), [](int v) { return v == 2001; }));
}

TEST_CASE("tasks are shared out dynamically") {
  ThreadPool pool(4);
  // Task 0 holds its thread until all others are done, which a static split could never finish.
  std::atomic<int> done{0};
  pool.parallel_for(40, [&](int64_t task, int) {
    if (task == 0) {
      const auto start = std::chrono::steady_clock::now();
      while (done.load() < 39 && seconds_since(start) < 20) std::this_thread::yield();
    } else {
      done.fetch_add(1);
    }
  });
  CHECK(done.load() == 39);
}

TEST_CASE("all threads take part, awake or asleep") {
  ThreadPool pool(4);
  for (int pause_ms : {0, 10}) {
    sleep_ms(pause_ms);
    int runs[4] = {};
    on_every_thread(pool, [&](int thread) { ++runs[thread]; });
    CHECK(std::all_of(runs, runs + 4, [](int r) { return r == 1; }));
  }
}

TEST_CASE("a loop inside a task runs inline on the task's thread") {
  ThreadPool pool(3), other(2);
  std::atomic<int> wrong_thread{0}, inner{0};
  pool.parallel_for(30, [&](int64_t, int outer) {
    pool.parallel_for(5, [&](int64_t, int thread) {
      inner.fetch_add(1);
      wrong_thread.fetch_add(thread != outer);
    });
    other.parallel_for(5, [&](int64_t, int thread) {
      inner.fetch_add(1);
      wrong_thread.fetch_add(thread != 0);
    });
  });
  CHECK(inner.load() == 300);
  CHECK(wrong_thread.load() == 0);
  CHECK(pooled_sum(pool, 100) == 4950);  // the caller is no longer inside a task
}

TEST_CASE("an exception reaches the caller after all tasks stopped, and the pool stays usable") {
  for (int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (int64_t bad : {0, 17, 99}) {
      std::atomic<int> running{0};
      int running_at_throw = -1;
      try {
        pool.parallel_for(100, [&](int64_t task, int) {
          running.fetch_add(1);
          if (task == bad) {
            running.fetch_sub(1);
            throw std::runtime_error("task " + std::to_string(task));
          }
          sleep_ms(task % 16 == 0);
          running.fetch_sub(1);
        });
      } catch (const std::runtime_error& e) {
        running_at_throw = running.load();
        CHECK(std::string(e.what()) == "task " + std::to_string(bad));
      }
      CHECK(running_at_throw == 0);
      CHECK(pooled_sum(pool, 100) == 4950);
    }
    CHECK_THROWS_AS(pool.parallel_for(50, [](int64_t, int) { throw 1; }), int);
  }
}

TEST_CASE("many pools live side by side and the number of threads is kept") {
  const int before = threads_of_process();
  {
    std::vector<std::unique_ptr<ThreadPool>> pools;
    for (int i = 0; i < 8; ++i) pools.push_back(std::make_unique<ThreadPool>(1 + i % 4));
    CHECK(threads_of_process() == before + 2 * (0 + 1 + 2 + 3));
    for (int round = 0; round < 50; ++round)
      for (auto& pool : pools) CHECK(pooled_sum(*pool, 33) == 528);
    CHECK(threads_of_process() == before + 12);
  }
  // A joined thread leaves /proc a moment after it ends.
  for (int i = 0; i < 100 && threads_of_process() != before; ++i) sleep_ms(1);
  CHECK(threads_of_process() == before);
  for (int i = 0; i < 50; ++i) ThreadPool pool(4);  // dies before its workers have begun to wait
}

TEST_CASE("many callers may share a pool") {
  ThreadPool pool(3);
  std::atomic<int> right{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 6; ++c)
    callers.emplace_back([&, c] {
      for (int i = 0; i < 200; ++i) {
        ThreadPool::Region region(pool);
        if (i % 50 == c) pool.park();
        right.fetch_add(pooled_sum(pool, 20) == 190);
      }
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(right.load() == 1200);
}

TEST_CASE("an idle pool uses no CPU, whatever came before") {
  ThreadPool pool(4);
  // Only the pool's own threads count: other libraries' (OpenBLAS's) may still be spinning.
  clockid_t clocks[4];
  on_every_thread(pool,
                  [&](int thread) { pthread_getcpuclockid(pthread_self(), &clocks[thread]); });
  const std::vector<pid_t> threads = threads_of(pool);
  const auto cpu_seconds = [&] {
    double sum = 0;
    for (clockid_t clock : clocks) {
      timespec t;
      clock_gettime(clock, &t);
      sum += t.tv_sec + 1e-9 * t.tv_nsec;
    }
    return sum;
  };
  // However late the system lets workers spin to their end.
  const auto idle_cpu = [&] {
    wait_until_asleep(threads);
    const double before = cpu_seconds();
    sleep_ms(50);
    return cpu_seconds() - before;
  };
  pooled_sum(pool, 100);
  CHECK(idle_cpu() < 0.002);
  {
    ThreadPool::Region region(pool);
    pooled_sum(pool, 100);
    CHECK(idle_cpu() < 0.002);  // the spin inside a Region is bounded too
    pooled_sum(pool, 100);
  }
  CHECK(idle_cpu() < 0.002);
  {
    ThreadPool::Region region(pool);
    pooled_sum(pool, 100);
    pool.park();
    CHECK(idle_cpu() < 0.002);
    CHECK(pooled_sum(pool, 100) == 4950);
  }
}

TEST_CASE("a forked child can use its copy of a pool" * doctest::skip(kTsan)) {
  // Skipped under the thread sanitizer, which does not support threads in a child of a threaded
  // process.
  ThreadPool pool(4);
  CHECK(pooled_sum(pool, 1000) == 499500);
  // Fork while another thread keeps the pool busy, so that its lock and counters are copied in
  // mid-flight. It allocates nothing: a sanitizer's allocator may not be forked while in use.
  std::atomic<bool> stop{false};
  std::atomic<unsigned> done{0};
  std::thread busy([&] {
    while (!stop.load()) pool.parallel_for(50, [&](int64_t, int) { ++done; });
  });
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(20);
      const int before = threads_of_process();
      int ok = 1;
      for (int i = 0; i < 20; ++i) ok &= pooled_sum(pool, 1000) == 499500;
      const Cpus all = allowed();
      const std::vector<pid_t> threads = threads_of(pool);
      wait_until_asleep(threads);
      ok &= pooled_sum(pool, 1000) == 499500;
      for (pid_t thread : threads) ok &= allowed(thread) == all;
      ThreadPool fresh(2);
      ok &= pooled_sum(fresh, 1000) == 499500;
      ok &= threads_of_process() == before + 3 + 1;
      _exit(ok ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
  stop = true;
  busy.join();
  CHECK(pooled_sum(pool, 1000) == 499500);
}

TEST_CASE("workers wake on CPUs that nobody uses, as far as their masks allow") {
  const Cpus none;
  const struct {
    Cpus mask, taken;
    int own;
    Cpus expected;
  } cases[] = {
      {{0, 1}, {0}, -1, {1}},                // the caller's CPU is left to the caller
      {{0, 1}, {1}, -1, {0}},                // wherever that is
      {{0, 1}, {0, 1}, 1, {1}},              // the worker's own is taken by nobody else
      {{0, 1, 2, 3}, {0, 2}, -1, {1, 3}},    // another pool's worker is left alone too
      {{0, 1, 2, 3}, {0, 2, 3}, 3, {1, 3}},  // and a choice remains
      {{0, 1}, {0, 1}, -1, {0, 1}},          // more threads than CPUs
      {{1}, {1}, -1, {1}},                   // a mask that leaves no choice is kept
      {{1}, {0, 3}, 3, {1}},                 // the mask changed while the worker slept
      {{0, 1}, none, -1, {0, 1}},            // the system does not tell who is where
      {{5, 1000}, {5}, -1, {1000}},
  };
  for (const auto& c : cases) {
    const cpu_set_t aim = linnet::wake_mask(cpu_set(c.mask), cpu_set(c.taken), c.own);
    CHECK(cpus_of(aim) == c.expected);
  }
}

TEST_CASE("workers keep their affinity masks, whoever sets them and whenever") {
  const Cpus all = allowed();
  const Cpus first{all.front()};
  for (int size : {2, 5}) {  // also more threads than CPUs
    ThreadPool pool(size);
    const std::vector<pid_t> threads = threads_of(pool);
    const auto kept = [&](const Cpus& caller, const Cpus& workers) {
      for (int call = 0; call < 4; ++call) {
        wait_until_asleep(threads);
        const ThreadPool::Region region(pool);
        CHECK(pooled_sum(pool, 100) == 4950);
      }
      CHECK(allowed() == caller);
      for (int i = 1; i < size; ++i) CHECK(allowed(threads[i]) == workers);
    };
    kept(all, all);
    allow(first);
    kept(first, all);
    for (const Cpus& workers : {Cpus{all.back()}, first, all}) {
      for (int i = 1; i < size; ++i) allow(workers, threads[i]);
      kept(first, workers);
      allow(all);
      kept(all, workers);
      allow(first);
    }
    allow(all);
  }
  allow(first);
  {
    ThreadPool pool(2);
    const std::vector<pid_t> threads = threads_of(pool);
    wait_until_asleep(threads);
    CHECK(pooled_sum(pool, 100) == 4950);
    CHECK(allowed(threads[1]) == first);
  }
  allow(all);
}

TEST_CASE("callers with pauses of several pools at once") {
  const Cpus all = allowed();
  std::atomic<int> right{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&, c] {
      ThreadPool pool(2 + c % 2);
      const std::vector<pid_t> threads = threads_of(pool);
      for (int call = 0; call < 30; ++call) {
        if (call % 3 != c % 3) wait_until_asleep(threads);
        const ThreadPool::Region region(pool);
        right.fetch_add(pooled_sum(pool, 20) == 190);
      }
      for (pid_t thread : threads) right.fetch_add(allowed(thread) == all);
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(right.load() == 4 * 30 + 10);
}

TEST_CASE("several callers with pauses of one pool") {
  const Cpus all = allowed();
  ThreadPool pool(3);
  const std::vector<pid_t> threads = threads_of(pool);
  std::atomic<int> right{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c)
    callers.emplace_back([&] {
      for (int call = 0; call < 30; ++call) {
        sleep_ms(call % 3);
        const ThreadPool::Region region(pool);
        right.fetch_add(pooled_sum(pool, 20) == 190);
      }
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(right.load() == 90);
  for (pid_t thread : threads) CHECK(allowed(thread) == all);
}

TEST_CASE("a bad number of threads is refused") {
  CHECK_THROWS_AS(ThreadPool(0), std::invalid_argument);
  CHECK_THROWS_AS(ThreadPool(-3), std::invalid_argument);
  CHECK_THROWS_AS(ThreadPool(ThreadPool::kMaxThreads + 1), std::invalid_argument);
}

TEST_CASE("default_threads follows the affinity mask") {
  cpu_set_t before, one;
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  CHECK(linnet::default_threads() >= 1);
  CHECK(linnet::default_threads() <= CPU_COUNT(&before));
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &before)) {
      CPU_SET(cpu, &one);
      break;
    }
  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
  const int pinned = linnet::default_threads();
  REQUIRE(sched_setaffinity(0, sizeof before, &before) == 0);
  CHECK(pinned == 1);
}
