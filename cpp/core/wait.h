// How threads of a pool wait for each other: a bounded time by looking, then asleep on a futex. The
// runtime's pool has it, and that of compiled networks.
#pragma once

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace linnet {

// How long a worker spins for the next loop: outside a Region, and inside one, where it offers its
// core to others at every look once the first bound has passed.
inline constexpr int64_t kSpinNs = 50'000;
inline constexpr int64_t kRegionSpinNs = 2'000'000;

// How long a caller spins for workers inside its loop. Not longer: if one has lost its core to
// another process, the system moves it to the caller's once the caller sleeps. Nor shorter: until
// then the system holds a thread's data for cached where it ran last and leaves it there, and who
// wakes the caller draws it to its own CPU.
inline constexpr int64_t kWaitNs = 500'000;

inline int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

inline void spin_pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
  asm volatile("yield" ::: "memory");
#else
  asm volatile("" ::: "memory");
#endif
}

// The wait between two looks at the clock, `waited` ns into a spin, unless that is over before: a
// pause takes 140 cycles of some CPUs, and a layer has several waits.
template <typename Over>
void relax(int64_t waited, const Over& over) {
  if (waited >= kSpinNs) {
    sched_yield();
  } else {
    for (int i = 0; i < 8 && !over(); ++i) spin_pause();
  }
}

// No timeout is ever passed, so the width of the kernel's time_t does not matter.
#ifdef SYS_futex
inline constexpr long kFutex = SYS_futex;
#else
inline constexpr long kFutex = SYS_futex_time64;
#endif
static_assert(sizeof(std::atomic<uint32_t>) == 4 && std::atomic<uint32_t>::is_always_lock_free);

// Returns at once if *word != expected; may also return for no reason.
inline void futex_wait(std::atomic<uint32_t>* word, uint32_t expected) {
  syscall(kFutex, word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

inline void futex_wake(std::atomic<uint32_t>* word, int most) {
  syscall(kFutex, word, FUTEX_WAKE_PRIVATE, most, nullptr, nullptr, 0);
}

}  // namespace linnet
