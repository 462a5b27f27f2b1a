#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "algorithms/cost.h"
#include "kernels/cores.h"
#include "kernels/kernels.h"

using namespace linnet;

namespace {

// /proc/cpuinfo of a board with a core of such parts for each processor.
std::string cpuinfo(const std::vector<const char*>& parts, const char* implementer = "0x41") {
  std::string text;
  for (size_t cpu = 0; cpu < parts.size(); ++cpu) {
    text += "processor\t: " + std::to_string(cpu) +
            "\nBogoMIPS\t: 38.40\nCPU implementer\t: " + implementer +
            "\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: " + parts[cpu] +
            "\nCPU revision\t: 4\n\n";
  }
  return text + "Revision\t: a02082\nModel\t\t: Raspberry Pi 3 Model B Rev 1.2\n";
}

std::string name(const std::vector<const char*>& parts, const std::vector<int>& allowed = {}) {
  return slowest_core("aarch64", cpuinfo(parts), allowed).core.name;
}

}  // namespace

TEST_CASE("a core is known by its part number") {
  struct Known {
    const char *part, *name;
    bool in_order;
    double fmas, l2;  // bytes of what one core can count on
  };
  for (const Known& known : {Known{"0xc07", "Cortex-A7", true, 0.5, 128 * 1024},
                             {"0xd03", "Cortex-A53", true, 1, 128 * 1024},
                             {"0xd05", "Cortex-A55", true, 1, 128 * 1024},
                             {"0xd08", "Cortex-A72", false, 1, 256 * 1024},
                             {"0xd0b", "Cortex-A76", false, 2, 512 * 1024}}) {
    CAPTURE(known.part);
    const std::string board = cpuinfo(std::vector<const char*>(4, known.part));
    for (const char* architecture : {"armv7l", "aarch64"}) {
      const CoreFound found = slowest_core(architecture, board);
      CHECK(found.core.name == std::string(known.name));
      CHECK(found.core.in_order == known.in_order);
      CHECK(found.cpu == 0);
      const Machine machine = machine_of(architecture, board);
      CHECK(machine.fmas == known.fmas);
      CHECK(machine.l2 == known.l2);
    }
  }
}

TEST_CASE("cores alike, and of other makers") {
  CHECK(name({"0xd04"}) == "Cortex-A53");
  CHECK(name({"0xd07"}) == "Cortex-A72");
  CHECK(name({"0xd0c"}) == "Cortex-A76");
  CHECK(name({"0xfff"}) == "Cortex-A72");
  // Another maker's part of the same number.
  CHECK(slowest_core("aarch64", cpuinfo({"0xd03"}, "0x51")).core.name == std::string("Cortex-A72"));
  CHECK(slowest_core("x86_64", "vendor_id : AuthenticAMD\n").core.name == std::string("x86-64"));
  CHECK(machine_of("x86_64", "vendor_id : AuthenticAMD\n").loads == 2);
}

TEST_CASE("of cores of several kinds the slowest that may run") {
  const std::vector<const char*> little_big = {"0xd05", "0xd05", "0xd0b", "0xd0b"};
  CHECK(name(little_big) == "Cortex-A55");
  CHECK(name(little_big, {0, 1, 2, 3}) == "Cortex-A55");
  CHECK(name(little_big, {2, 3}) == "Cortex-A76");
  CHECK(name(little_big, {1}) == "Cortex-A55");
  CHECK(slowest_core("aarch64", cpuinfo(little_big), {2, 3}).cpu == 2);
  // The larger first, as some boards have them; three kinds.
  CHECK(name({"0xd08", "0xd08", "0xd03", "0xd03", "0xd03", "0xd03"}) == "Cortex-A53");
  CHECK(name({"0xd08", "0xd08", "0xd03", "0xd03"}, {0, 1}) == "Cortex-A72");
  CHECK(name({"0xd0b", "0xd05", "0xd08"}) == "Cortex-A55");
  CHECK(name({"0xc07", "0xc0f"}) == "Cortex-A7");
  // One that is not known is taken for a large one.
  CHECK(name({"0xd0b", "0xfff"}) == "Cortex-A72");
  CHECK(name({"0xd03", "0xfff"}, {1}) == "Cortex-A72");
  // None of the allowed is listed.
  CHECK(name(little_big, {17}) == "Cortex-A55");
}

TEST_CASE("texts without parts") {
  // Linux of old names one part, at the end, and no processor beside it.
  CHECK(slowest_core("armv7l",
                     "Processor\t: ARMv7 Processor rev 5 (v7l)\nprocessor\t: 0\n\nprocessor\t: 1\n"
                     "\nCPU implementer\t: 0x41\nCPU part\t: 0xc07\n",
                     {0})
            .core.name == std::string("Cortex-A7"));
  // An emulator shows the host's processors.
  for (const char* text : {"vendor_id : AuthenticAMD\n", "", "CPU part", "processor", "\n:\n"}) {
    CAPTURE(text);
    CHECK(slowest_core("armv7l", text).core.name == std::string("Cortex-A53"));
    CHECK(slowest_core("aarch64", text).cpu == -1);
  }
}

TEST_CASE("kernels are those that suit this core") {
  // Compiled for this CPU's architecture, so only one of these has anything to choose.
  const Core& own = own_core().core;
  const std::string best = kernels_for(nullptr).isa;
  CHECK(best.find('_') == best.find("_vfpv4"));
  bool ordered = false, compiled = false;
  for (const char* const* isa = available_isas(); *isa; ++isa) {
    ordered = ordered || std::string(*isa) == best + "_ordered";
    compiled = compiled || std::string(*isa) == best + "_intrinsics";
  }
  if (best == "neon") {
    CHECK(ordered == !own.in_order);
    const auto other = kernels_for(own.in_order ? "neon_intrinsics" : "neon_ordered").product[4];
    CHECK((kernels_for("neon").product[4] != other));
  } else {
    CHECK(!ordered);
  }
  // What is emulated, where make/arm.mk says so.
  const char* emulated = std::getenv("EMULATED_CORE");
  if (emulated && *emulated) CHECK(own.name == std::string(emulated));
}
