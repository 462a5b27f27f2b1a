// What takes the place of the runtime's header of this name in a network compiled for one thread:
// loops run where they are.
#pragma once

#include <cstdint>

namespace linnet {

class ThreadPool {
 public:
  static constexpr int threads() { return 1; }

  template <typename F>
  void parallel_for(int64_t tasks, F&& f) {
    for (int64_t i = 0; i < tasks; ++i) f(i, 0);
  }
};

}  // namespace linnet
