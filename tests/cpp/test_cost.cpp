#include <doctest/doctest.h>

#include "algorithms/cost.h"

using namespace linnet;

TEST_CASE("a machine is that of its core") {
  const auto board = [](const char* part) {
    return machine_of("aarch64",
                      std::string("CPU implementer\t: 0x41\nCPU part\t: ") + part + "\n");
  };
  const Machine pi2 = board("0xc07"), pi3 = board("0xd03"), pi4 = board("0xd08"),
                pi5 = board("0xd0b");
  CHECK(pi2.memory_rate < pi3.memory_rate);
  CHECK(pi3.memory_rate < pi4.memory_rate);
  CHECK(pi4.memory_rate < pi5.memory_rate);
  CHECK(machine_of("armv7l", "CPU part : 0xd03\n").memory_rate == pi3.memory_rate);
  CHECK(board("0xfff").memory_rate == pi4.memory_rate);  // not known
}

TEST_CASE("this machine has caches") {
  CHECK(machine().l1 > 0);
  CHECK(machine().l2 > 0);
  CHECK(machine().l3 >= 0);
  CHECK(fma_rate(kernels_for(nullptr)) >= 0.5);
}
