#pragma once

// The parts of the C interfaces of NNPACK and of its pthreadpool that linnet calls, as types of the
// functions looked up at run time. Declared here so that building linnet needs neither. Of NNPACK
// this is the interface since 2017, with kernel transforms computed beforehand; enumerations are
// ints.

#include <cstddef>

namespace linnet {

enum NnpAlgorithm : int {
  kNnpAuto = 0,
  kNnpFt8x8 = 1,
  kNnpFt16x16 = 2,
  kNnpWt8x8 = 3,
  kNnpImplicitGemm = 4,
  kNnpDirect = 5
};

// What a call does about kernels: transforms and uses them, only transforms them (into the
// workspace), or is given transformed ones.
enum NnpStrategy : int { kNnpCompute = 1, kNnpPrecompute = 2, kNnpReuse = 3 };

enum NnpActivation : int { kNnpIdentity = 0, kNnpRelu = 1 };

// Status 0 is success; nnpack.cpp has the others' meanings.
constexpr int kNnpSuccess = 0, kNnpUnsupportedStrategy = 27;

extern "C" {

struct NnpSize {
  size_t width, height;
};
struct NnpPadding {
  size_t top, right, bottom, left;
};
// Seconds of the phases of one call.
struct NnpProfile {
  double total, input_transform, kernel_transform, output_transform, block_multiplication;
};

using NnpInitialize = int();

// One image, channels first. With a null workspace and a workspace size, only checks the arguments
// and sets the size in bytes of the workspace, or for kNnpPrecompute of the transformed kernels.
using NnpConvolutionInference = int(NnpAlgorithm algorithm, NnpStrategy strategy,
                                    size_t input_channels, size_t output_channels,
                                    NnpSize input_size, NnpPadding input_padding,
                                    NnpSize kernel_size, NnpSize output_subsampling,
                                    const float* input, const float* kernel, const float* bias,
                                    float* output, void* workspace, size_t* workspace_size,
                                    NnpActivation activation, const void* activation_parameters,
                                    void* threadpool, NnpProfile* profile);

// Null on failure. The thread that computes is one of the pool's.
using PthreadpoolCreate = void*(size_t threads);
using PthreadpoolDestroy = void(void* threadpool);

}  // extern "C"

}  // namespace linnet
