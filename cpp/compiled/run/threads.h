// What takes the place of the runtime's header of this name in a compiled network: loops run where
// they are or, if it was compiled for several threads, on those that its caller has started.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

#include "../pool.h"

namespace linnet {

class ThreadPool {
 public:
  explicit ThreadPool(linnet_pool* pool) : pool_(pool) {}

  template <typename F>
  void parallel_for(int64_t tasks, F&& f) {
#ifdef LINNET_THREADS
    if (tasks > 1 && pool_) {
      using Function = std::remove_reference_t<F>;
      linnet_pool_loop(
          pool_, tasks,
          [](void* function, int64_t task, int thread) {
            (*static_cast<Function*>(function))(task, thread);
          },
          const_cast<void*>(static_cast<const void*>(std::addressof(f))));
      return;
    }
#endif
    for (int64_t i = 0; i < tasks; ++i) f(i, 0);
  }

 private:
  [[maybe_unused]] linnet_pool* const pool_;
};

}  // namespace linnet
