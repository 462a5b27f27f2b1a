#include <doctest/doctest.h>

#include <stdexcept>

#include "problem/problem.h"

using namespace linnet;

TEST_CASE("a problem's key reads back to the same problem") {
  Problem p;
  p.kind = Kind::kConv;
  p.n = 7;
  p.in = p.operand = {16, 41, 40};
  p.k = 48;
  p.window.kernel[0] = 6, p.window.kernel[1] = 5;
  p.window.stride[0] = 2;
  p.window.pad[0] = 1, p.window.pad[3] = 2;
  p.window.dilation[1] = 3;
  p.groups = 4;
  p.relu = p.residual = true;
  p.in_layout = Layout::kNchw, p.out_layout = Layout::kNhwc;
  p.threads = 3;
  CHECK(p.key() == "conv f32 n7 c16h41w40 k48r6x5s2x1p1,0,0,2d1x3 g4 add relu nchw>nhwc t3");
  CHECK(Problem::parse(p.key()).key() == p.key());
  for (const char* key : {"fc f32 n2 c96h8w8 k128 wf16 relu nhwc t1",
                          "conv f32 n1 c37h7w7 k53r1x1s2 wint8 nchw>nhwc t4"}) {
    CHECK(Problem::parse(key).key() == key);
    CHECK(Problem::parse(key).weights != DType::kF32);
  }
}

TEST_CASE("a reorder may write a part of its output") {
  const char* key = "reorder f32 n2 c13h5w7 k40 at11 nchw>nhwc t1";
  const Problem p = Problem::parse(key);
  CHECK(p.key() == key);
  CHECK(p.out() == Dims{40, 5, 7});
  CHECK(p.first == 11);
  CHECK(Problem::parse("reorder f32 n2 c13h5w7 k40 nhwc t1").first == 0);
  CHECK(Problem::parse("reorder f32 n2 c13h5w7 nhwc t1").out() == Dims{13, 5, 7});
}

TEST_CASE("sizes follow from the fields") {
  const Problem p = Problem::parse("conv f32 n2 c16h41w41 k48r6x6 relu maxpool3x3 nhwc t1");
  CHECK(p.conv_out() == Dims{48, 36, 36});
  CHECK(p.out() == Dims{48, 12, 12});
  CHECK(p.macs() == 2.0 * 48 * 36 * 36 * 16 * 36);
  CHECK(Problem::parse("maxpool f32 n1 c1h7w7 r2x2s2 ceil nhwc t1").out() == Dims{1, 4, 4});
  CHECK(Problem::parse("maxpool f32 n1 c1h7w7 r2x2s2 nhwc t1").out() == Dims{1, 3, 3});
}

TEST_CASE("a window that would start in the far padding is dropped") {
  // Size 4, padding 1, stride 3: windows start at -1 and 2; one at 5 would lie in padding alone.
  Window w;
  w.kernel[0] = w.kernel[1] = 3;
  w.stride[0] = w.stride[1] = 3;
  w.pad[0] = w.pad[1] = w.pad[2] = w.pad[3] = 1;
  w.ceil = true;
  CHECK(w.output(0, 4) == 2);
  CHECK(w.output(0, 5) == 2);
  CHECK(w.output(0, 6) == 3);
  CHECK(w.output(0, 1) == 1);
}

TEST_CASE("what does not parse is named") {
  for (const char* key :
       {"conv f32 n1 c1h1w1 k1r1x1 nhwc", "conv f32 n1 c1h1w1 k1r1x1 nhwc t1 x", "pool f32",
        "conv f32 n1 c2h3w3 k4r1x1 g3 nhwc t1", "conv f32 n1 c2h3w3 k4r3x3 wf16 nhwc t1",
        "fc f32 n1 c1h1w1 nhwc t1", "maxpool f32 n1 c1h3w3 k1r2x2 nhwc t1",
        "softmax f32 n1 c1h1w1 axis4 nchw t1", "reorder f32 n1 c4h1w1 k4 nchw t1",
        "reorder f32 n1 c4h1w1 k8 at5 nchw t1", "reorder f32 n1 c4h1w1 at1 nchw t1",
        "relu f32 n1 c4h1w1 k8 nchw t1"}) {
    CAPTURE(key);
    CHECK_THROWS_AS(Problem::parse(key), std::invalid_argument);
  }
}
