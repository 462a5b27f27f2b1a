// Convolution by NNPACK (Marat Dukhan), loaded at run time (find_nnpack): nnp_convolution_inference
// with kernels transformed beforehand, on a pthreadpool of the same library with as many threads as
// the session. Each of NNPACK's algorithms is one of ours, and nnpack-auto its own choice, so that
// the planner weighs them like any others. What NNPACK refuses it is asked itself, with the call
// that otherwise returns the size of the workspace.

#include <cstring>
#include <limits>
#include <stdexcept>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"
#include "algorithms/epilogue.h"

namespace linnet {
namespace {

// Meanings of the status codes. NNPACK's header gives some twice.
std::string status_text(int status) {
  static const std::map<int, const char*> texts = {
      {2, "the batch is empty"},
      {3, "there are no channels"},
      {4, "there are no input channels"},
      {5, "there are no output channels"},
      {10, "the image is empty"},
      {11, "the input stride is zero"},
      {12, "padding is not smaller than the kernel"},
      {13, "the kernel or the stride is zero"},
      {14, "the pooling size or the activation is invalid"},
      {15, "the pooling stride or the activation's parameters are invalid"},
      {16, "the algorithm is unknown to this NNPACK"},
      {17, "the transform strategy is unknown to this NNPACK"},
      {20, "the image size is not supported"},
      {21, "the input stride is not supported"},
      {22, "the padding is not supported"},
      {23, "the kernel size is not supported"},
      {24, "the pooling size is not supported"},
      {25, "the pooling stride is not supported"},
      {26, "the algorithm does not support this kernel and stride"},
      {27, "the algorithm does not support this transform strategy"},
      {28, "the activation is not supported"},
      {29, "the activation's parameters are not supported"},
      {50, "NNPACK is not initialized"},
      {51, "NNPACK does not support this CPU"},
      {52, "out of memory"},
      {53, "the workspace is too small"},
      {54, "the workspace is not aligned"},
  };
  const auto text = texts.find(status);
  return std::string("NNPACK: ") + (text == texts.end() ? "unknown error" : text->second) +
         " (status " + std::to_string(status) + ")";
}

// The arguments of NNPACK that follow from a problem.
struct Call {
  const NnPack& nnpack;
  NnpAlgorithm algorithm;
  const Convolution& p;

  int operator()(NnpStrategy strategy, const float* x, const float* kernel, const float* bias,
                 float* y, void* workspace, size_t* workspace_size, void* threads,
                 NnpProfile* profile = nullptr) const {
    const Window& w = p.window;
    const auto size = [](int64_t n) { return static_cast<size_t>(n); };
    return nnpack.convolution_inference(
        algorithm, strategy, size(p.x.dims.c), size(p.y.dims.c),
        {size(p.x.dims.w), size(p.x.dims.h)},
        {size(w.pad[0]), size(w.pad[3]), size(w.pad[2]), size(w.pad[1])},
        {size(w.kernel[1]), size(w.kernel[0])}, {size(w.stride[1]), size(w.stride[0])}, x, kernel,
        bias, y, workspace, workspace_size, relu() ? kNnpRelu : kNnpIdentity, nullptr, threads,
        profile);
  }

  // Whether NNPACK applies the activation.
  bool relu() const {
    return p.end.limits.low == 0 && p.end.limits.high == kInfinity && !p.end.residual;
  }

  // Asks for the bytes a strategy needs, which checks the arguments.
  int bytes(NnpStrategy strategy, size_t* bytes) const {
    return (*this)(strategy, nullptr, nullptr, nullptr, nullptr, nullptr, bytes, nullptr);
  }

  // How this layer is to be run, and the sizes of its transformed kernels and of its workspace. The
  // status says whether at all.
  struct Needs {
    int status = kNnpSuccess;
    NnpStrategy strategy = kNnpReuse;
    size_t kernels = 0, workspace = 0;
  };
  Needs needs() const {
    Needs n;
    n.status = bytes(kNnpReuse, &n.workspace);
    if (n.status == kNnpUnsupportedStrategy) {  // 1x1 kernels are taken as they are
      n.strategy = kNnpCompute;
      n.status = bytes(kNnpCompute, &n.workspace);
    } else if (n.status == kNnpSuccess) {
      n.status = bytes(kNnpPrecompute, &n.kernels);
    }
    return n;
  }
};

struct NnpArgs {
  Convolution p;
  NnpAlgorithm algorithm;
  NnpStrategy strategy;
  size_t workspace;
};
enum : uint8_t { kWeights, kBias };

void check(int status) {
  if (status == 52) throw std::bad_alloc();
  if (status != kNnpSuccess) throw std::runtime_error(status_text(status));
}

void run_nnpack(const NnpArgs& a, const FloatOperands& o) {
  const Convolution& p = a.p;
  o.pool.park();
  const Call call{*o.backends.nnpack.library(), a.algorithm, p};
  void* threads = o.backends.nnpack_threads(p.threads);
  const int64_t x_image = p.x.image(1), y_image = p.y.image(1), count = p.y.dims.count();
  for (int64_t image = 0; image < p.n; ++image) {
    NnpProfile profile{};
    float* y = o.y + image * y_image;
    size_t bytes = a.workspace;
    // Without a workspace neither pointer may be given: it would be asked for its size.
    check(call(a.strategy, o.x + image * x_image, o.floats(kWeights), o.floats(kBias), y,
               a.workspace ? o.workspace : nullptr, a.workspace ? &bytes : nullptr, threads,
               o.phases ? &profile : nullptr));
    if (o.phases) {
      o.phases->input += profile.input_transform;
      o.phases->product += profile.block_multiplication;
      o.phases->output += profile.output_transform;
    }
    if (p.end.residual || (p.end.limits.any() && !call.relu())) {
      MapRows rows{};
      rows.x = rows.y = y, rows.rows = 1, rows.count = count, rows.limits = p.end.limits;
      rows.z = p.end.residual ? o.operand + image * y_image : nullptr;
      o.kernels.map[static_cast<int>(rows.z ? MapCode::kAdd : MapCode::kCopy)](rows);
    }
    map_results(o.kernels, p.end.then, y, 1, count, count);
  }
}

constexpr auto kCode = plan_code<&run_nnpack>("nnpack");

// Kernels as NNPACK transforms them, or as they are.
PlanData pack(const Call& call, const Call::Needs& needs, const std::string& name,
              const Weight& weight, const Context& context) {
  if (needs.strategy != kNnpReuse) return context.weights.get_floats(&weight);
  // The size tells apart the layouts nnpack-auto may choose for the same kernels.
  const std::string packing = name + " " + std::to_string(needs.kernels);
  return context.weights.get(
      &weight, packing, ceil_div(needs.kernels, sizeof(float)),
      [&](const Weight& loaded, float* out) {
        size_t bytes = needs.kernels;
        check(call(kNnpPrecompute, nullptr, loaded.data, nullptr, nullptr, out, &bytes,
                   context.backends.nnpack_threads(call.p.threads)));
      });
}

class Nnp final : public Algorithm {
 public:
  Nnp(const char* name, NnpAlgorithm algorithm, bool exact)
      : name_(name), algorithm_(algorithm), exact_(exact) {}

  const char* name() const override { return name_; }
  Kinds kinds() const override { return {Kind::kConv}; }
  bool exact() const override { return exact_; }
  bool uses_kernels() const override { return false; }

  std::string objection(const Problem& p, const Context& context) const override {
    const NnPack* nnpack = context.backends.nnpack.library();
    if (!nnpack) return "no NNPACK: " + context.backends.nnpack.missing();
    if (p.x.layout != Layout::kNchw || p.y.layout != Layout::kNchw) return "works on nchw only";
    if (p.conv().groups != 1) return "the convolution is grouped";
    if (p.conv().window.dilated()) return "the kernel is dilated";
    if (p.end.pooled()) return "a following pool cannot be fused";
    const int status = Call{*nnpack, algorithm_, Convolution(p)}.needs().status;
    return status == kNnpSuccess ? "" : status_text(status);
  }

  double memory(const Problem& p, const Context& context) const override {
    const NnPack& nnpack = *context.backends.nnpack.library();
    const Call::Needs needs = Call{nnpack, algorithm_, Convolution(p)}.needs();
    return static_cast<double>(needs.kernels + needs.workspace);
  }

  double cost(const Problem& p, const Context&) const override {
    // Measured on AVX2, which NNPACK's kernels are on x86-64 whatever ours are.
    const double width = machine().nnpack_width, macs = machine().nnpack_macs;
    const int64_t taps = p.conv().window.kernel[0] * p.conv().window.kernel[1];
    NnpAlgorithm a = algorithm_;
    if (a == kNnpAuto) {
      const bool small = p.conv().window.unit_stride() && taps > 1;
      a = !small ? kNnpImplicitGemm : taps == 9 ? kNnpWt8x8 : taps <= 16 ? kNnpFt8x8 : kNnpFt16x16;
    }
    double cycles = p.macs() / (0.35 * macs);
    if (a == kNnpFt8x8 || a == kNnpFt16x16 || a == kNnpWt8x8) {
      const int64_t n = a == kNnpFt16x16 ? 16 : 8;
      const Dims out = p.unpooled();
      const double tiles =
          static_cast<double>(p.n * ceil_div(out.h, n + 1 - p.conv().window.kernel[0]) *
                              ceil_div(out.w, n + 1 - p.conv().window.kernel[1]));
      const double numbers = static_cast<double>(n * n), c = static_cast<double>(p.x.dims.c),
                   k = static_cast<double>(p.y.dims.c);
      cycles = tiles * numbers * (2 * c * k / (0.8 * macs) + 10 / width * (c + k));
      cycles += numbers * c * k * sizeof(float) / 24;
    }
    return cycles / p.threads + 5000.0 * p.n * (p.threads > 1 ? 4 : 1);
  }

  Plan prepare(const Problem& p, const Weight* weight, const Weight* bias,
               const Context& context) const override {
    const Convolution convolution(p);
    const Call call{*context.backends.nnpack.library(), algorithm_, convolution};
    const Call::Needs needs = call.needs();
    check(needs.status);
    context.backends.nnpack_threads(p.threads);  // which a run need not start then
    const NnpArgs a{convolution, algorithm_, needs.strategy, needs.workspace};
    return make_plan(kCode, a, context, needs.workspace,
                     {pack(call, needs, name_, *weight, context),
                      context.weights.get_bias(bias, p.y.dims.c, p.y.dims.c)});
  }

 private:
  const char* const name_;
  const NnpAlgorithm algorithm_;
  const bool exact_;
};

const Nnp kAuto("nnpack-auto", kNnpAuto, false), kFt8x8("nnpack-ft8x8", kNnpFt8x8, false),
    kFt16x16("nnpack-ft16x16", kNnpFt16x16, false), kWt8x8("nnpack-wt8x8", kNnpWt8x8, false),
    kImplicitGemm("nnpack-implicit-gemm", kNnpImplicitGemm, true),
    kDirect("nnpack-direct", kNnpDirect, true);
const RegisterAlgorithm kRegistered[] = {
    RegisterAlgorithm(&kAuto),  RegisterAlgorithm(&kFt8x8),        RegisterAlgorithm(&kFt16x16),
    RegisterAlgorithm(&kWt8x8), RegisterAlgorithm(&kImplicitGemm), RegisterAlgorithm(&kDirect)};

}  // namespace
}  // namespace linnet
