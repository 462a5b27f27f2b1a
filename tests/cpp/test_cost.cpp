#include <doctest/doctest.h>

#include "algorithms/cost.h"

using namespace linnet;

TEST_CASE("a core is known by its part number") {
  const auto board = [](const char* part) {
    return machine_of("aarch64",
                      std::string("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: ") + part +
                          "\nCPU revision\t: 4\n");
  };
  const Machine pi3 = board("0xd03"), pi4 = board("0xd08"), pi5 = board("0xd0b");
  CHECK(pi3.memory_rate < pi4.memory_rate);
  CHECK(pi4.memory_rate < pi5.memory_rate);
  CHECK(pi3.fmas == 1);
  CHECK(pi5.fmas == 2);
  CHECK(board("0xc07").fmas == 0.5);
  CHECK(board("0xd05").l2 == 128 * 1024);
  CHECK(board("0xfff").memory_rate == pi4.memory_rate);  // not known

  // A 32-bit system on the same board; cores of two kinds, of which the last are the larger.
  CHECK(machine_of("armv7l", "CPU part : 0xd03\n").memory_rate == pi3.memory_rate);
  CHECK(machine_of("aarch64", "CPU part : 0xd05\n\nCPU part : 0xd0b\n").fmas == 2);
  // An emulator shows the host's processors.
  CHECK(machine_of("armv7l", "vendor_id : AuthenticAMD\n").memory_rate == pi3.memory_rate);
  CHECK(machine_of("x86_64", "vendor_id : AuthenticAMD\n").loads == 2);
}

TEST_CASE("this machine has caches") {
  CHECK(machine().l1 > 0);
  CHECK(machine().l2 > 0);
  CHECK(machine().l3 >= 0);
  CHECK(fma_rate(kernels_for(nullptr)) >= 0.5);
}
