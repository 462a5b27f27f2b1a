// Plans are code and data: copies of their bytes run as they do.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "algorithms/algorithm.h"

using namespace linnet;

namespace {

// Every algorithm takes one of these, and they run all code there is.
const char* const kKeys[] = {
    "conv f32 n2 c20h13w11 k24r3x3p1,1,1,1 add relu nhwc t2",
    "conv f32 n2 c20h13w11 k24r3x3p1,1,1,1 sigmoid nhwc t1",
    "conv f32 n1 c16h40w40 k24r3x3p1,1,1,1 relu nhwc t1",
    "conv f32 n1 c16h40w40 k24r3x3p1,1,1,1 relu nhwc t3",
    "conv f32 n1 c3h23w21 k16r7x7 relu maxpool2x2 nchw>nhwc t1",
    "conv f32 n1 c24h14w14 k16r5x5 relu maxpool2x2 nhwc t2",
    "conv f32 n3 c21h9w8 k21r3x3p1,1,1,1 g21 add nhwc t2",
    "conv f32 n1 c64h9w9 k48r1x1 wint8 relu nhwc t1",
    "conv int8 n2 c20h13w11 k24r3x3p1,1,1,1 wint8 add relu nhwc t2",
    "conv uint8 n1 c24h14w14 k33r1x1 wuint8 nhwc t1",
    "conv uint8>f32 n3 c21h9w8 k21r3x3p1,1,1,1 wint8 g21 nhwc t2",
    "map uint8 n2 c21h9w8 add nhwc t1",
    "pool int8 n2 c21h9w8 r3x3s2 average nhwc t1",
    "resize int8 n2 c21h9w8 to18x24 nearest nhwc t1",
    "resize int8 n2 c21h9w8 to18x24 linear nhwc t2",
    "conv f32 n1 c9h17w15 k18r3x3s2p1,1,1,1 nchw t1",
    "conv f32 n1 c16h16w16 k16r3x3p1,1,1,1 relu nchw t2",
    "conv f32 n2 c5h3w4 k6r1x1 relu nchw t1",
    "matmul f32 n1 c12h3w3 k37 relu nhwc t1",
    "matmul f32 n9 c12h3w3 k37 wint8 relu nhwc t2",
    "matmul f32 n4 c64h1w1 k21 add nchw t1",
    "pool f32 n2 c19h9w9 r3x3s2p1,1,1,1 max nhwc t2",
    "pool f32 n2 c3h9w9 r3x3s2p1,1,1,1 average nchw t2",
    "map f32 n2 c5h7w6 add z5x1x1 relu nhwc t2",
    "map f32>uint8 n2 c5h7w6 nchw t2",
    "normalize f32 n2 c19h4w5 softmax axis1 nhwc t1",
    "move f32 n2 c5h4w6 k12 at3 nchw>nhwc t1",
    "move f32 n3 c5h7w6 steps240:5x1,7x5,6x35 nchw t4",
    "move int8 n2 c24h9w7 steps2016:12x1,2x12,63x32 nchw>nhwc t2",
    "resize f32 n2 c6h5w7 to9x11 cubic nhwc t2",
    "resize f32 n2 c3h7w8 to1x5 cubic tf_crop_and_resize roi0.1,0.2,0.7,0.6 nhwc t1",
    "reduce f32 n2 c6h5w7 mean ofhw nhwc t1",
    "reduce f32>int64 n2 c6h5w70 firstmax ofc nhwc t2",
    "reduce f32>int64 n2 c6h5w7 firstmin ofw top3 nchw t1",
    "gather f32 n2 c3h7w5 rows4 byint64 nchw t1",
    "sample f32 n2 c3h7w5 to4x6 linear reflection nchw t2",
    "product f32 n2 c3h17w5 by9 nchw t2",
    "gather f32 n2 c3h7w5 rows4 elements byint32 nchw t2",
    "gather f32 n2 c3h7w5 rows4 byint64c nchw t1",
    "map int64 n2 c5h7w6 add z5x1x1 nchw t2",
    "detect f32 n2 c40h1w4 k9 classes3 but0 centers grouped score0.1 overlap0.4 nchw t2",
    "detect f32>int64 n1 c40h1w4 k9 classes3 planar each3 score0.1 overlap0.4 nchw t1",
    "regions f32 n1 c6h9w8 k4 to2x3 max images2 nchw t2",
    "regions f32 n1 c6h9w8 k4 to2x3 samples scale3 nchw t1",
};

std::vector<float> numbers(int64_t count, int seed) {
  std::vector<float> v(static_cast<size_t>(count));
  for (size_t i = 0; i < v.size(); ++i)
    v[i] = std::sin(static_cast<float>(i * 37 % 1013) + static_cast<float>(seed));
  return v;
}

PlanData copied(const void* from, size_t bytes) {
  if (!from) return {nullptr, 0};
  const auto to = std::make_shared<AlignedBuffer>(bytes);
  std::memcpy(to->data(), from, bytes);
  return std::shared_ptr<const AlignedBuffer>(to);
}

// A copy of a plan's bytes, which shares nothing with it.
Plan copied(const Plan& plan) {
  Plan copy = plan;
  copy.args = copied(plan.args.get(), plan.code->args_bytes).data;
  for (PlanData& each : copy.weights) each = copied(each.data.get(), each.bytes);
  return copy;
}

// A layer's weights and its plan.
struct Prepared {
  Prepared(const Problem& p, const Algorithm& algorithm, const Kernels& kernels, Backends& backends)
      : w(numbers(p.y.dims.c * p.taps(), 1)), b(numbers(p.y.dims.c, 2)) {
    Weight weight, bias;
    weight.shape = {p.y.dims.c, p.taps()}, weight.data = w.data();
    bias.shape = {p.y.dims.c}, bias.data = b.data();
    const Weight typed = p.weighted() ? weight.as(p.weights()) : weight;
    plan = algorithm.prepare(p, p.weighted() ? &typed : nullptr, p.weighted() ? &bias : nullptr,
                             {kernels, store, backends});
  }

  std::vector<float> w, b;
  WeightStore store;
  Plan plan;
};

std::vector<char> run(const Problem& p, const Plan& plan, bool extreme) {
  const int width = plan.kernels->width;
  std::vector<float> x = numbers(p.x_extent(width) * (size_of(p.x.dtype) > 4 ? 2 : 1), 3);
  // What transforms cannot carry, for the code that repairs it.
  if (extreme) x[x.size() / 2] = 1e25f, x[x.size() / 3] = std::numeric_limits<float>::infinity();
  const int64_t count = p.binary() ? p.z.extent(p.n, width) : 0;
  const std::vector<float> z = numbers(count, 4);
  // Places are whole numbers.
  std::vector<int64_t> wide(p.z.dtype == DType::kI64 ? static_cast<size_t>(count) : 0);
  std::vector<int32_t> narrow(p.z.dtype == DType::kI32 ? static_cast<size_t>(count) : 0);
  for (size_t i = 0; i < wide.size(); ++i) wide[i] = static_cast<int64_t>(i) % 9 - 4;
  for (size_t i = 0; i < narrow.size(); ++i) narrow[i] = static_cast<int32_t>(i) % 9 - 4;
  const void* operand = z.data();
  if (!wide.empty()) operand = wide.data();
  if (!narrow.empty()) operand = narrow.data();
  std::vector<char> y(bytes_of(p.y.extent(p.n, width), p.y.dtype));
  const AlignedBuffer workspace(plan.workspace);
  ThreadPool pool(p.threads);
  plan.run({x.data(), operand, y.data(), workspace.data(), pool});
  return y;
}

}  // namespace

TEST_CASE("plan: copies of arguments and weights give the same bits") {
  Backends backends("", LINNET_NNPACK_STANDIN);
  std::set<std::string> ran;
  std::map<std::string, const PlanCode*> codes;
  for (const char* const* isa = available_isas(); *isa; ++isa) {
    const Kernels& kernels = kernels_for(*isa);
    for (const char* key : kKeys) {
      const Problem p = Problem::parse(key);
      for (const Algorithm* algorithm : algorithms(p.kind())) {
        WeightStore store;
        const Context context{kernels, store, backends};
        if (!algorithm->refuse(p, context).empty()) continue;
        CAPTURE(std::string(key));
        CAPTURE(std::string(algorithm->name()));
        CAPTURE(std::string(*isa));
        auto prepared = std::make_unique<Prepared>(p, *algorithm, kernels, backends);
        const std::vector<char> plain = run(p, prepared->plan, false),
                                extreme = run(p, prepared->plan, true);
        const Plan copy = copied(prepared->plan);
        prepared = nullptr;
        CHECK(run(p, copy, false) == plain);
        CHECK(run(p, copy, true) == extreme);
        ran.insert(algorithm->name());
        CHECK(codes.insert({copy.code->name, copy.code}).first->second == copy.code);
      }
    }
  }
  for (const Algorithm* algorithm : algorithms()) {
    const bool missing =
        std::string(algorithm->name()) == "im2col-openblas" && !backends.openblas.library();
    const bool found = ran.count(algorithm->name()) > 0;
    CHECK_MESSAGE((missing || found), std::string(algorithm->name()));
  }
}
