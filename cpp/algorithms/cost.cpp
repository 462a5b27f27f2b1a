#include "algorithms/cost.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>

namespace linnet {
namespace {

// Cycles a loop over the pool costs beside its tasks: claiming the last ones, waiting for them.
// Wake-ups happen once for a whole run.
constexpr double kLaunch = 8000;
// Bytes per cycle of lines another core has written, there and back.
constexpr double kExchangeRate = 1.2;
// What of a shared third level is left for us in a virtual machine, where it looks larger.
constexpr double kMostL3 = 12 * 1024 * 1024;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The CPUs in a list such as "0-3,8".
int count_cpus(const std::string& list) {
  int count = 0;
  const char* at = list.c_str();
  while (*at) {
    char* end = nullptr;
    const long from = std::strtol(at, &end, 10);
    long to = from;
    if (end == at) break;
    if (*end == '-') to = std::strtol(at = end + 1, &end, 10);
    count += static_cast<int>(std::max(0L, std::min(to - from + 1, 4096L)));
    at = *end == ',' ? end + 1 : end;
    if (*end && *end != ',') break;
  }
  return std::max(1, count);
}

// Bytes of a CPU's data cache of a level and how many CPUs share it; 0 bytes if Linux does not say.
void read_cache(int level, int cpu, double* bytes, int* sharers) {
  *bytes = 0, *sharers = 1;
  for (int i = 0; i < 8; ++i) {
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                               "/cache/index" + std::to_string(i) + "/";
    if (first_line(folder + "level") != std::to_string(level) ||
        first_line(folder + "type") == "Instruction")
      continue;
    const std::string size = first_line(folder + "size");
    char* end = nullptr;
    *bytes = std::strtod(size.c_str(), &end);
    if (*end == 'K') *bytes *= 1024;
    if (*end == 'M') *bytes *= 1024 * 1024;
    *sharers = count_cpus(first_line(folder + "shared_cpu_list"));
  }
#ifdef _SC_LEVEL1_DCACHE_SIZE
  const int names[] = {_SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE};
  if (*bytes <= 0) *bytes = static_cast<double>(std::max(0L, sysconf(names[level - 1])));
#endif
}

// What one core can count on of caches that some share; usual ones where a size is 0.
Machine sharing(const Core& core, double (&size)[4], int (&sharers)[4]) {
  Machine m = core.machine;
  if (size[1] <= 0) size[1] = m.l1;
  if (size[2] <= 0) size[2] = m.l2, sharers[2] = core.l2_sharers;
  if (size[3] <= 0) size[3] = m.l3, sharers[3] = core.l3_sharers;
  // Hyperthreads of one core share its second level too, but seldom all compute.
  m.l1 = size[1];
  m.l2 = size[2] / (sharers[2] > 2 ? sharers[2] : 1);
  m.l3 = std::min(size[3] / std::min(sharers[3], 4), kMostL3);
  return m;
}

Machine read_machine() {
  const CoreFound& own = own_core();
  double size[4];
  int sharers[4];
  for (int level = 1; level <= 3; ++level)
    read_cache(level, std::max(0, own.cpu), &size[level], &sharers[level]);
  return sharing(own.core, size, sharers);
}

thread_local const Machine* other_machine = nullptr;

}  // namespace

const Machine& machine() {
  static const Machine m = read_machine();
  return other_machine ? *other_machine : m;
}

OtherMachine::OtherMachine(const Machine& machine) : machine_(machine), before_(other_machine) {
  other_machine = &machine_;
}
OtherMachine::~OtherMachine() { other_machine = before_; }

Machine machine_of(const std::string& architecture, const std::string& cpuinfo) {
  double size[4] = {};
  int sharers[4] = {};
  return sharing(slowest_core(architecture, cpuinfo).core, size, sharers);
}

double fma_rate(const Kernels& kernels) {
  return std::max(0.5, machine().fmas * kernels.flops_per_cycle / (2.0 * kernels.width));
}

double stream_cycles(double bytes, double footprint) {
  const Machine& m = machine();
  // A set that nearly fills a cache loses lines to whatever else passes through; of one somewhat
  // larger than the cache many stay, since caches do not simply drop what was used least recently.
  const auto held = [&](double cache) {
    return std::clamp((2 - footprint / cache) / 1.25, 0.0, 1.0);
  };
  const double in_l1 = held(m.l1), in_l2 = held(m.l2), in_l3 = m.l3 > 0 ? held(m.l3) : 0;
  const double beyond_l2 = in_l3 / m.l3_rate + (1 - in_l3) / m.memory_rate;
  return bytes * (1 - in_l1) * (in_l2 / m.l2_rate + (1 - in_l2) * beyond_l2);
}

double weight_cycles(double bytes, double passes, double others, int threads) {
  const double cold = std::min<double>(passes, threads);
  return stream_cycles(bytes * cold, std::max(bytes, 2 * machine().l2)) +
         stream_cycles(bytes * (passes - cold), bytes + others);
}

double disorder(const Kernels& kernels, int vecs) {
  return kernels.ordered_vecs && vecs != kernels.ordered_vecs ? 1.5 : 1;
}

double tile_cycles(const Kernels& kernels, int vecs, double cols, double taps, double footprint,
                   double ends) {
  const Machine& m = machine();
  const double rate = fma_rate(kernels);
  // Each waits four cycles for the last of its sum.
  const double fma = std::max(vecs * cols, 4 * rate) / rate * disorder(kernels, vecs);
  const double loads = (vecs + cols) / m.loads;
  const double weights = stream_cycles(vecs * kernels.width * sizeof(float), footprint);
  // Computing and streaming overlap, but not wholly where both take about as long.
  return taps * std::max(std::hypot(fma / m.efficiency, weights), loads) +
         ends * (20 + 1.5 * vecs * cols);
}

double exchange_cycles(double bytes, int threads) {
  return bytes * (threads - 1) / threads / kExchangeRate;
}

double parallel_cycles(double cycles, double tasks, int threads) {
  tasks = std::ceil(tasks);
  if (threads <= 1 || tasks <= 1) return cycles;
  return cycles * std::ceil(tasks / threads) / tasks + kLaunch;
}

}  // namespace linnet
