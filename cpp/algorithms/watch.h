// Phases of a plan's run, timed for a profile.
#pragma once

#include <chrono>
#include <mutex>

#include "algorithms/plan.h"

namespace linnet {

// Divides the time of a run, for a profile only, in the proportion of what all threads spend in
// each phase.
class Watch {
 public:
  explicit Watch(Phases* phases) : phases_(phases) {
    if (phases_) start_ = Clock::now();
  }
  ~Watch() {
    const double all = spent_.input + spent_.product + spent_.output;
    if (!phases_ || all <= 0) return;
    const double scale = seconds_since(start_) / all;
    phases_->input += spent_.input * scale;
    phases_->product += spent_.product * scale;
    phases_->output += spent_.output * scale;
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  template <typename F>
  void time(double Phases::* phase, F&& part) {
    if (!phases_) return part();
    const auto start = Clock::now();
    part();
    const double seconds = seconds_since(start);
    const std::lock_guard<std::mutex> lock(mutex_);
    spent_.*phase += seconds;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  Phases* const phases_;
  Clock::time_point start_;
  std::mutex mutex_;
  Phases spent_;
};

}  // namespace linnet
