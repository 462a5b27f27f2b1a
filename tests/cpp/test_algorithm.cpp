#include <doctest/doctest.h>

#include "layer.h"

using namespace linnet;

TEST_CASE("an algorithm is not asked about what is not its own") {
  const LayerContext context("");
  const auto refusal = [&](const char* name, const Problem& p) {
    return algorithm(name).refuse(p, context.get());
  };
  CHECK(refusal("pool", Problem::parse("matmul f32 n1 c8h1w1 k8 nhwc t1")) == "not for matmul");
  for (const Algorithm* a : algorithms(Kind::kPool)) CHECK(a->kinds().has(Kind::kPool));
  CHECK(algorithms(Kind::kPool).size() == 4);
}

TEST_CASE("types and slices that kernels cannot take are refused for all algorithms") {
  const LayerContext context("");
  const int width = context.get().kernels.width;
  const auto refusal = [&](const char* name, const Problem& p) {
    return algorithm(name).refuse(p, context.get());
  };
  // A key has no such weights yet: the graph turns them into floats.
  Problem p = Problem::parse("conv f32 n1 c64h20w20 k64r3x3 nhwc t1");
  for (const char* name : {"winograd", "winograd-rows", "fourier-8"}) {
    CHECK(refusal(name, p) == "");
    family::Conv small = p.conv();
    small.weights = DType::kI8;
    Problem other = p;
    other.params = small;
    CHECK(refusal(name, other) == "the weights are int8, not f32");
  }
  p.x.dtype = p.y.dtype = DType::kI8;
  CHECK(refusal("direct", p) == "does not run on int8");
  p.x.dtype = p.y.dtype = DType::kF32;

  p.y.pitch = 64 + width;
  CHECK(refusal("direct", p) == "");
  p.y.pitch = 64 + 1;
  if (width > 1) {
    CHECK(refusal("direct", p) ==
          "a slice of 64 of 65 channels is not whole vectors of " + std::to_string(width));
  }
  p.y.pitch = 0, p.x.pitch = 64 - width;
  CHECK(refusal("direct-ref", p) != "");
}
