#include "cores.h"

#include <sched.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace linnet {
namespace {

constexpr double kKb = 1024, kMb = 1024 * 1024;

// Those of x86-64 and the Cortex-A53 are measured: on AVX2 and AVX-512, and in cycles of
// bench/arm/estimate.py, whose model is checked on silicon. The A53 loads half a vector in a cycle
// and pairs no load with a multiply-add, see `efficiency`; input values come four to a load. The A7
// has half its vector unit, and what it streams from its second level is measured. The others
// follow from Arm's optimization guides.
constexpr Core kX86{
    "x86-64", {}, false, 1, 4, {32 * kKb, 512 * kKb, 8 * kMb, 0, 32, 12, 6, 2, 1, 0.9, 1, 8, 16}};
// Slowest first.
constexpr Core kArm[] = {
    // And the A5.
    {"Cortex-A7",
     {0xc07, 0xc05},
     true,
     4,
     1,
     {32 * kKb, 512 * kKb, 0, 8192, 2.2, 2, 1.2, 1, 0.5, 0.75, 2.7, 4, 2}},
    // And the A35.
    {"Cortex-A53",
     {0xd03, 0xd04},
     true,
     4,
     1,
     {32 * kKb, 512 * kKb, 0, 8192, 6, 4, 1.5, 1, 1, 0.75, 2.7, 4, 4}},
    // And the A510.
    {"Cortex-A55",
     {0xd05, 0xd46},
     true,
     1,
     4,
     {32 * kKb, 128 * kKb, 1 * kMb, 8192, 8, 4, 2, 1, 1, 0.8, 2.3, 4, 4}},
    // And the A57, A73, A15 and A17.
    {"Cortex-A72",
     {0xd08, 0xd07, 0xd09, 0xc0f, 0xc0e},
     false,
     4,
     1,
     {32 * kKb, 1 * kMb, 0, 16384, 10, 6, 2.5, 1, 1, 0.85, 1.8, 4, 4}},
    // And the A75, A77, A78 and Neoverse N1.
    {"Cortex-A76",
     {0xd0b, 0xd0a, 0xd0d, 0xd41, 0xd0c},
     false,
     1,
     4,
     {64 * kKb, 512 * kKb, 2 * kMb, 16384, 24, 12, 5, 2, 2, 0.9, 1.2, 4, 8}},
};
constexpr const Core& kA53 = kArm[1];
// Parts that are not known here, of other makers or newer, have mostly been large cores.
constexpr const Core& kUnknown = kArm[3];

const Core& core_of_part(unsigned implementer, unsigned part) {
  constexpr unsigned kArmLimited = 0x41;
  if (implementer == kArmLimited) {
    for (const Core& core : kArm) {
      for (const unsigned* known = core.parts; known != std::end(core.parts) && *known; ++known)
        if (*known == part) return core;
    }
  }
  return kUnknown;
}

struct Processor {
  int cpu;
  const Core* core;
};

// The processors of a text as /proc/cpuinfo of Linux on ARM, which names the part of each or, of
// old, one of all at the end.
std::vector<Processor> processors(const std::string& cpuinfo) {
  std::vector<Processor> found;
  unsigned implementer = 0x41;
  int cpu = -1;
  for (size_t at = 0, end; at < cpuinfo.size(); at = end + 1) {
    end = std::min(cpuinfo.find('\n', at), cpuinfo.size());
    const std::string line = cpuinfo.substr(at, end - at);
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const unsigned long value = std::strtoul(line.c_str() + colon + 1, nullptr, 0);
    const auto is = [&](const char* key) { return line.rfind(key, 0) == 0; };
    if (is("processor")) cpu = static_cast<int>(value);
    if (is("CPU implementer")) implementer = static_cast<unsigned>(value);
    if (is("CPU part"))
      found.push_back({cpu, &core_of_part(implementer, static_cast<unsigned>(value))});
  }
  return found;
}

// Of the core this thread is on, as emulators show it, whose /proc is another machine's.
[[maybe_unused]] const Core* core_of_register() {
#if defined(__aarch64__)
  constexpr unsigned long kCpuid = 1ul << 11;  // HWCAP_CPUID: the system lets programs read it
  if (getauxval(AT_HWCAP) & kCpuid) {
    uint64_t midr = 0;
    __asm__("mrs %0, MIDR_EL1" : "=r"(midr));
    return &core_of_part(midr >> 24 & 0xff, midr >> 4 & 0xfff);
  }
#endif
  return nullptr;
}

std::vector<int> allowed_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> found;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return found;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) found.push_back(cpu);
  return found;
}

CoreFound find_own_core() {
  utsname system{};
  uname(&system);
  std::ifstream file("/proc/cpuinfo");
  const std::string cpuinfo(std::istreambuf_iterator<char>(file), {});
  if (processors(cpuinfo).empty()) {
    if (const Core* core = core_of_register()) return {*core, -1};
  }
  return slowest_core(system.machine, cpuinfo, allowed_processors());
}

}  // namespace

CoreFound slowest_core(const std::string& architecture, const std::string& cpuinfo,
                       const std::vector<int>& allowed) {
  if (architecture == "x86_64") return {kX86, -1};
  std::vector<Processor> all = processors(cpuinfo), some;
  for (const Processor& p : all)
    if (std::find(allowed.begin(), allowed.end(), p.cpu) != allowed.end()) some.push_back(p);
  if (some.empty()) some = all;
  // An emulator may show another machine's, without part numbers: the A53 is the slowest of those
  // in use.
  if (some.empty()) return {kA53, -1};
  const auto slowest =
      std::min_element(some.begin(), some.end(),
                       [](const Processor& a, const Processor& b) { return a.core < b.core; });
  return {*slowest->core, slowest->cpu};
}

const CoreFound& own_core() {
  static const CoreFound found = find_own_core();
  return found;
}

}  // namespace linnet
