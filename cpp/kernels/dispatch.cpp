// Which kernel tables this CPU can run. Compiled for the baseline: nothing here may run an
// instruction of an ISA before it is known to be there.
#include <array>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "cores.h"
#include "kernels.h"

#if defined(__arm__) || defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

// LINNET_ISAS, from isas.cmake, is the list "X(best) X(next) ... X(scalar)" of what was compiled
// in.
#define X(isa)                                              \
  extern "C" void linnet_direct_##isa(linnet::Kernels*);    \
  extern "C" void linnet_depthwise_##isa(linnet::Kernels*); \
  extern "C" void linnet_pool_##isa(linnet::Kernels*);      \
  extern "C" void linnet_map_##isa(linnet::Kernels*);       \
  extern "C" void linnet_normalize_##isa(linnet::Kernels*); \
  extern "C" void linnet_resize_##isa(linnet::Kernels*);    \
  extern "C" void linnet_reduce_##isa(linnet::Kernels*);    \
  extern "C" void linnet_cast_##isa(linnet::Kernels*);      \
  extern "C" void linnet_winograd_##isa(linnet::Kernels*);  \
  extern "C" void linnet_fourier_##isa(linnet::Kernels*);   \
  extern "C" void linnet_integer_##isa(linnet::Kernels*);   \
  extern "C" bool linnet_dot_##isa(linnet::Kernels*);       \
  extern "C" void linnet_peak_##isa(linnet::Kernels*);      \
  extern "C" bool linnet_scheduled_##isa(linnet::Kernels*);
LINNET_ISAS
#undef X

namespace linnet {
namespace {

// Each returns what this CPU, or its operating system, lacks for the ISA: nullptr if nothing.
[[maybe_unused]] const char* missing_scalar() { return nullptr; }
#if defined(__arm__) || defined(__aarch64__)
constexpr const char* kNoDot = "dot products of bytes (asimddp)";
#endif

#if defined(__x86_64__)

// The compiler's check asks XGETBV as well as CPUID: a system that does not save the wide registers
// has no AVX.
const char* missing_avx2() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2")) return "AVX2";
  if (!__builtin_cpu_supports("fma")) return "FMA3";
  // Not all compilers know "f16c".
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_F16C)) return "F16C";
  return nullptr;
}

const char* missing_avx512() {
  if (const char* what = missing_avx2()) return what;
  if (!__builtin_cpu_supports("avx512f")) return "AVX-512F";
  if (!__builtin_cpu_supports("avx512bw")) return "AVX-512BW";
  if (!__builtin_cpu_supports("avx512dq")) return "AVX-512DQ";
  if (!__builtin_cpu_supports("avx512vl")) return "AVX-512VL";
  return nullptr;
}

#elif defined(__aarch64__)

const char* missing_neon() {
  constexpr unsigned long kAsimd = 1ul << 1;  // HWCAP_ASIMD
  return getauxval(AT_HWCAP) & kAsimd ? nullptr : "Advanced SIMD";
}

const char* missing_dot(const char*) {
  constexpr unsigned long kAsimddp = 1ul << 20;  // HWCAP_ASIMDDP
  return getauxval(AT_HWCAP) & kAsimddp ? nullptr : kNoDot;
}

#elif defined(__arm__)

const char* missing_neon_vfpv4() {
  constexpr unsigned long kNeon = 1ul << 12, kVfpv4 = 1ul << 16;  // HWCAP_NEON, HWCAP_VFPv4
  const unsigned long caps = getauxval(AT_HWCAP);
  if (!(caps & kNeon)) return "NEON";
  if (!(caps & kVfpv4)) return "VFPv4";
  return nullptr;
}

// Linux before 6.2 does not tell 32-bit programs: there, who names the ISA is believed.
const char* missing_dot(const char* isa) {
  constexpr unsigned long kAsimddp = 1ul << 24;  // HWCAP_ASIMDDP
  const char* named = std::getenv("LINNET_ISA");
  if (named && !std::strcmp(named, isa)) return nullptr;
  return getauxval(AT_HWCAP) & kAsimddp ? nullptr : kNoDot;
}

#endif

struct Isa {
  const char* missing;
  Kernels table;
};

#define X(isa) +3
constexpr int kMostTables = 0 LINNET_ISAS;
#undef X

// Every compiled-in ISA, best first. Only those with nothing missing have their table filled:
// filling runs ISA code. An ISA with kernels in assembly, or for instructions that not all its CPUs
// have, is there a second time without them, as <isa>_intrinsics, to test them against. Where the
// assembly does not suit this core, it is <isa>_ordered that has it. On ARM an ISA with dot
// products of bytes is one more, <isa>_dot; on x86-64 they are part of the ISA where the CPU has
// them.
struct Registry {
  std::array<Isa, kMostTables> isas{};
  int count = 0;
  std::array<const char*, kMostTables + 1> available{};

  Registry() {
#define X(name)                                                            \
  {                                                                        \
    Isa& entry = isas[count++];                                            \
    entry.table.isa = #name;                                               \
    entry.missing = missing_##name();                                      \
    if (!entry.missing) {                                                  \
      linnet_direct_##name(&entry.table);                                  \
      linnet_depthwise_##name(&entry.table);                               \
      linnet_pool_##name(&entry.table);                                    \
      linnet_map_##name(&entry.table);                                     \
      linnet_normalize_##name(&entry.table);                               \
      linnet_resize_##name(&entry.table);                                  \
      linnet_reduce_##name(&entry.table);                                  \
      linnet_cast_##name(&entry.table);                                    \
      linnet_winograd_##name(&entry.table);                                \
      linnet_fourier_##name(&entry.table);                                 \
      linnet_integer_##name(&entry.table);                                 \
      linnet_peak_##name(&entry.table);                                    \
      add_variants(linnet_scheduled_##name, linnet_dot_##name,             \
                   {#name "_dot", #name "_intrinsics", #name "_ordered"}); \
    }                                                                      \
  }
    LINNET_ISAS
#undef X
    int usable = 0;
    for (int i = 0; i < count; ++i) {
      if (!isas[i].missing) available[usable++] = isas[i].table.isa;
    }
  }

 private:
  // What there is of the last ISA besides what the compiler made of its kernels.
  struct Names {
    const char *dot, *intrinsics, *ordered;
  };
  void add_variants(bool (*scheduled)(Kernels*), bool (*dot)(Kernels*), const Names& names) {
    Isa* last = &isas[count - 1];
    const Kernels compiled = last->table;
    Kernels ordered = compiled;
    const bool any = scheduled(&ordered);
#if defined(__arm__) || defined(__aarch64__)
#if defined(__aarch64__)
    const bool suits = own_core().core.in_order;
#else
    constexpr bool suits = true;  // 32-bit compilers lack registers on any core
#endif
    if (!any) return;
    last->table = suits ? ordered : compiled;
    last->missing = missing_dot(names.dot);
    if (!last->missing) dot(&last->table);
    last->table.isa = names.dot;
    isas[count++].table = suits ? ordered : compiled;
    isas[count].table = suits ? compiled : ordered;
    isas[count++].table.isa = suits ? names.intrinsics : names.ordered;
#else
    static_cast<void>(any);
    if (!dot(&last->table)) return;
    isas[count].table = compiled;
    isas[count++].table.isa = names.intrinsics;
#endif
  }
};

const Registry& registry() {
  static const Registry instance;
  return instance;
}

}  // namespace

const Kernels& kernels_for(const char* isa) {
  const Registry& all = registry();
  const bool any = !isa || !*isa;
  std::string names;
  for (int i = 0; i < all.count; ++i) {
    const Isa& entry = all.isas[i];
    if (any ? !entry.missing : !std::strcmp(isa, entry.table.isa)) {
      if (!entry.missing) return entry.table;
      throw std::runtime_error("isa " + std::string(isa) +
                               ": this CPU (or its operating system) has no " + entry.missing);
    }
    names += (names.empty() ? "" : ", ") + std::string(entry.table.isa);
  }
  throw std::invalid_argument("isa " + std::string(isa) + " is unknown; this build has " + names);
}

const char* cpu_problem() {
#if defined(__arm__)
  if (missing_neon_vfpv4() && !std::getenv("LINNET_ISA")) {
    return "linnet needs a CPU with NEON and VFPv4, which every Raspberry Pi from the second on "
           "has and this one has not "
           "(LINNET_ISA=scalar runs without them, slowly)";
  }
#endif
  return nullptr;
}

const char* const* available_isas() { return registry().available.data(); }

}  // namespace linnet
