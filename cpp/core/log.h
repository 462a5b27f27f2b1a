// What the library tells of its work, a line for each event on stderr, where the environment's
// LINNET_LOG asks for it: a list of topics, as "load,plan". Else it prints nothing.
#pragma once

#include <chrono>
#include <cstdint>

namespace linnet {

// The parts of loading and their times; the algorithm and layouts chosen for each layer; steps and
// memory of each compiled program; each run and its time.
enum class Topic : uint8_t { kLoad, kPlan, kCompile, kRun };

// Whether LINNET_LOG named the topic when it was first looked at.
bool logs(Topic topic);

// Writes "linnet TOPIC: " and the text, without a line's end, where logs(topic).
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void log_event(Topic topic, const char* format, ...);

// Logs how long something took since the object was made.
class LogTimer {
 public:
  explicit LogTimer(Topic topic) : topic_(topic) {
    if (logs(topic)) start_ = std::chrono::steady_clock::now();
  }
  // The text, ": " and the milliseconds; begins anew.
#if defined(__GNUC__)
  __attribute__((format(printf, 2, 3)))
#endif
  void log(const char* format, ...);

 private:
  const Topic topic_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace linnet
