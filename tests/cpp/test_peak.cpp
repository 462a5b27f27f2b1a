#include <doctest/doctest.h>

#include "run/peak.h"

using namespace linnet;

TEST_CASE("what the machine can compute at best is measured once") {
  ThreadPool pool(2);
  const std::lock_guard<std::mutex> turn(pool.turn());
  for (const char* const* isa = available_isas(); *isa; ++isa) {
    CAPTURE(*isa);
    const Kernels& kernels = kernels_for(*isa);
    float sink[64];
    CHECK(kernels.peak(10, sink) == 10 * kernels.peak(1, sink));
    const double flops = peak_flops(kernels, pool);
    CHECK(flops > 1e6);
    CHECK(peak_flops(kernels, pool) == flops);
  }
}
