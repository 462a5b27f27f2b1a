#include <doctest/doctest.h>

#include <stdexcept>

#include "problem/problem.h"

using namespace linnet;

TEST_CASE("a problem's key reads back to the same problem") {
  Problem p;
  family::Conv conv;
  conv.window.kernel[0] = 6, conv.window.kernel[1] = 5;
  conv.window.stride[0] = 2;
  conv.window.pad[0] = 1, conv.window.pad[3] = 2;
  conv.window.dilation[1] = 3;
  conv.groups = 4;
  p.params = conv;
  p.n = 7;
  p.x.dims = {16, 41, 40};
  p.y.dims = {48, 19, 30};
  p.end.limits.low = 0, p.end.residual = true;
  p.x.layout = Layout::kNchw, p.y.layout = Layout::kNhwc;
  p.threads = 3;
  CHECK(p.key() == "conv f32 n7 c16h41w40 k48r6x5s2x1p1,0,0,2d1x3 g4 add relu nchw>nhwc t3");
  CHECK(Problem::parse(p.key()).key() == p.key());
  CHECK(Problem::parse(p.key()).y.dims == p.y.dims);
}

TEST_CASE("every field of a key is read and written") {
  for (const char* key :
       {"matmul f32 n2 c96h8w8 k128 wf16 relu nhwc t1",
        "conv f32 n1 c37h7w7 k53r1x1s2 wint8 nchw>nhwc t4",
        "conv f32 n1 c8h7w7 k8r3x3d2 g8 relu6 maxpool2x3 nhwc t1",
        "conv int8>uint8 n1 c8h7w7 k8r3x3 wint8 clip-0.5,2.25 nhwc/64>nhwc/16 t1",
        "matmul f32 n1 c9h1w1 k3 add nhwc/16 t1",
        "conv uint8>f32 n1 c8h7w7 k8r3x3 wuint8 g2 nhwc t1",
        "map f32>uint8 n1 c9h2w1 quantize:0.5,3 nchw t1",
        "map int8>f32 n1 c9h2w1 dequantize:0.5,-3 nchw t1",
        "map bool n1 c9h2w1 nhwc>nhwc/16 t1",
        "map f32 n1 c9h2w3 add z1x2x1c/4 relu nchw t1",
        "map f32 n1 c9h2w3 add nhwc/16>nchw t1",
        "pool f32 n1 c9h5w5 r2x3s2x1p1,0,0,1 average ceil pads nhwc t1",
        "pool f32 n1 c9h5w5 r2x3s2x1p1,0,0,1d1x2 max ceil nhwc t1",
        "reduce f32>int64 n1 c9h5w5 firstmin ofh top3 nchw t1",
        "gather int8 n2 c3h7w5 rows9 elements byint32 nchw t1",
        "sample f32 n2 c3h7w5 to4x6 cubic zeros corners nchw t1",
        "gather f32 n2 c3h7w5 rows9 byint64c nchw t1",
        "product f32 n2 c3h7w5 by9 nchw t1",
        "detect f32 n2 c9h3w4 k5 classes3 but1 centers priors own pixels clip grouped candidates7 "
        "each4 score-0.5 overlap0.25 eta0.75 nchw t1",
        "detect f32>int64 n2 c9h1w4 k5 classes3 planar together2 score0 overlap1 nchw t2",
        "regions f32 n1 c24h7w5 k3 to2x3 own images2 scale0.5 nchw t1",
        "regions f32 n1 c4h7w5 k3 to2x3 samples each2 offset-0.5 nchw t1",
        "normalize f32 n1 c9h2w3 softmax axis2 nchw t1",
        "map f32>int32 n2 c13h5w7 nchw/20 t1",
        "move int32 n2 c13h5w7 k40 at11 nchw>nhwc/48 t1"}) {
    CAPTURE(key);
    CHECK(Problem::parse(key).key() == key);
  }
}

TEST_CASE("a move may write a part of its output") {
  const Problem p = Problem::parse("move f32 n2 c13h5w7 k40 at11 nchw>nhwc t1");
  CHECK(p.y.dims == Dims{40, 5, 7});
  CHECK(p.move().first == 11);
  CHECK(Problem::parse("move f32 n2 c13h5w7 k40 nhwc t1").move().first == 0);
  CHECK(Problem::parse("move f32 n2 c13h5w7 nhwc t1").y.dims == Dims{13, 5, 7});
}

TEST_CASE("sizes follow from the fields") {
  const Problem p = Problem::parse("conv f32 n2 c16h41w41 k48r6x6 relu maxpool3x3 nhwc t1");
  CHECK(p.unpooled() == Dims{48, 36, 36});
  CHECK(p.y.dims == Dims{48, 12, 12});
  CHECK(p.macs() == 2.0 * 48 * 36 * 36 * 16 * 36);
  CHECK(Problem::parse("matmul f32 n3 c4h2w2 k5 nhwc t1").macs() == 3.0 * 16 * 5);
  CHECK(Problem::parse("pool f32 n1 c1h7w7 r2x2s2 max ceil nhwc t1").y.dims == Dims{1, 4, 4});
  CHECK(Problem::parse("pool f32 n1 c1h7w7 r2x2s2 max nhwc t1").y.dims == Dims{1, 3, 3});
}

TEST_CASE("an operand knows its strides") {
  const Operand whole{DType::kF32, {5, 2, 3}, Layout::kNhwc, 0};
  CHECK(whole.pixel(4) == 8);
  CHECK(whole.image(4) == 48);
  CHECK(whole.extent(2, 4) == 96);
  const Operand slice{DType::kF32, {5, 2, 3}, Layout::kNhwc, 20};
  CHECK(slice.pixel(4) == 20);
  CHECK(slice.image(4) == 120);
  CHECK(slice.extent(2, 4) == 240 - 12);
  CHECK(slice.in(Layout::kNhwc).pitch == 20);
  CHECK(slice.in(Layout::kNchw).pitch == 0);
  const Operand planes{DType::kF32, {5, 2, 3}, Layout::kNchw, 7};
  CHECK(planes.image(4) == 42);
  CHECK(planes.extent(2, 4) == 84 - 12);
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
  for (const char* key : {"conv f32 n1 c1h1w1 k1r1x1 nhwc",
                          "conv f32 n1 c1h1w1 k1r1x1 nhwc t1 x",
                          "pool f32",
                          "conv f32 n1 c2h3w3 k4r1x1 g3 nhwc t1",
                          "conv f32 n1 c2h3w3 k4r3x3 wf16 nhwc t1",
                          "conv f32 n1 c2h3w3 k4r1x1 wint32 nhwc t1",
                          "conv f32 n1 c1h1w1 k1r1x1 clip2,1 nhwc t1",
                          "conv f32 n1 c1h1w1 k1r1x1 relu relu nhwc t1",
                          "conv f32 n1 c1h1w1 k1r1x1 relu7 nhwc t1",
                          "matmul f32 n1 c1h1w1 nhwc t1",
                          "pool f32 n1 c1h3w3 k1r2x2 max nhwc t1",
                          "pool f32 n1 c1h3w3 r2x2 nhwc t1",
                          "pool f32 n1 c1h3w3 r2x2 max relu nhwc t1",
                          "normalize f32 n1 c1h1w1 softmax axis4 nchw t1",
                          "normalize f32 n1 c1h1w1 axis1 nchw t1",
                          "move f32 n1 c4h1w1 k4 at1 nchw t1",
                          "move f32 n1 c4h1w1 k8 at5 nchw t1",
                          "move f32 n1 c4h1w1 at1 nchw t1",
                          "map f32 n1 c4h1w1 k8 nchw t1",
                          "map f32 n1 c4h1w1 add z2x1x1 nchw t1",
                          "map f32 n1 c4h1w1 z1x1x1 nchw t1"}) {
    CAPTURE(key);
    CHECK_THROWS_AS(Problem::parse(key), std::invalid_argument);
  }
  const auto message = [](const char* key) -> std::string {
    try {
      Problem::parse(key);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message("") == "problem: the kind is missing in ''");
  CHECK(message("fc f32 n1") == "problem: cannot read the field 'fc'");
  CHECK(message("conv f32 n1 c1h1") == "problem: cannot read the field 'c1h1'");
  CHECK(message("conv f32 n1 c1h1w1 k1r1x1x nhwc t1") ==
        "problem: cannot read the field 'k1r1x1x'");
  CHECK(message("conv f32 n1 c1h1w1 k1r1x1 nhwc") ==
        "problem: the number of threads is missing in 'conv f32 n1 c1h1w1 k1r1x1 nhwc'");
}
