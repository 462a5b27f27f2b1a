#include "run/peak.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace linnet {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kSeconds = 1e-3;  // of one measurement
constexpr int kRounds = 6;         // whatever else the machine does disturbs some of them
constexpr int64_t kLeastTurns = 1000;

// Operations per second, `turns` of the loop on every thread.
double rate(const Kernels& kernels, ThreadPool& pool, int64_t turns) {
  const auto start = Clock::now();
  std::vector<double> operations(static_cast<size_t>(pool.threads()));
  pool.parallel_for(pool.threads(), [&](int64_t task, int) {
    float sink[64];
    operations[static_cast<size_t>(task)] = kernels.peak(turns, sink);
  });
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return std::accumulate(operations.begin(), operations.end(), 0.0) / std::max(seconds, 1e-9);
}

}  // namespace

double peak_flops(const Kernels& kernels, ThreadPool& pool) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, int>, double> known;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto [entry, fresh] = known.try_emplace({kernels.isa, pool.threads()}, 0);
  double& best = entry->second;
  if (!fresh) return best;
  const ThreadPool::Region region(pool);
  float sink[64];
  const double turn = kernels.peak(1, sink) * pool.threads();  // operations
  double last = rate(kernels, pool, kLeastTurns);
  for (int round = 0; round < kRounds; ++round) {
    const auto turns = static_cast<int64_t>(kSeconds * last / turn);
    last = rate(kernels, pool, std::max(kLeastTurns, turns));
    best = std::max(best, last);
  }
  return best;
}

}  // namespace linnet
