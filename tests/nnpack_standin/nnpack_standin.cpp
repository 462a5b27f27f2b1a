// A small library with the symbols of NNPACK and pthreadpool that linnet calls, to test the calling
// convention (structures by value among many arguments, threads, strategies) where no NNPACK is to
// be had. Its own declarations, written apart from linnet's; it computes convolutions by plain
// loops whatever the algorithm, and shares nothing else with NNPACK.
//
// The environment's NNPACK_STANDIN makes it misbehave: "old" does not take transformed kernels,
// "cpu" does not support this CPU, "memory" has none when it computes.

#include <cstdint>
#include <cstdlib>
#include <cstring>

#define STANDIN_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

enum Status {
  success = 0,
  invalid_input_padding = 12,
  unsupported_algorithm = 26,
  unsupported_transform_strategy = 27,
  unsupported_activation_parameters = 29,
  uninitialized = 50,
  unsupported_hardware = 51,
  out_of_memory = 52,
  insufficient_buffer = 53,
  misaligned_buffer = 54,
  unknown_threadpool = 99
};
enum Algorithm { automatic, ft8x8, ft16x16, wt8x8, implicit_gemm, direct };
enum Strategy { compute = 1, precompute = 2, reuse = 3 };
enum Activation { identity = 0, relu = 1 };

struct Size {
  size_t width, height;
};
struct Padding {
  size_t top, right, bottom, left;
};
struct Pool {
  uint32_t magic;
  size_t threads;
};
constexpr uint32_t kMagic = 0x706f6f6c;

bool initialized = false;
size_t pools = 0, pool_threads = 0;

bool is(const char* what) {
  const char* how = std::getenv("NNPACK_STANDIN");
  return how && !std::strcmp(how, what);
}

}  // namespace

// What the tests ask about: pools that live, and the threads of the pool last computed on (1 for
// none).
STANDIN_EXPORT size_t standin_pools() { return pools; }
STANDIN_EXPORT size_t standin_threads() { return pool_threads; }

STANDIN_EXPORT Status nnp_initialize() {
  if (is("cpu")) return unsupported_hardware;
  initialized = true;
  return success;
}

STANDIN_EXPORT Pool* pthreadpool_create(size_t threads) {
  ++pools;
  return new Pool{kMagic, threads};
}

STANDIN_EXPORT void pthreadpool_destroy(Pool* pool) {
  --pools;
  delete pool;
}

STANDIN_EXPORT Status nnp_convolution_inference(
    Algorithm algorithm, Strategy strategy, size_t input_channels, size_t output_channels,
    Size input_size, Padding padding, Size kernel_size, Size subsampling, const float* input,
    const float* kernel, const float* bias, float* output, void* workspace, size_t* workspace_size,
    Activation activation, const void* activation_parameters, Pool* pool, double* profile) {
  if (!initialized) return uninitialized;
  if (padding.top >= kernel_size.height || padding.bottom >= kernel_size.height ||
      padding.left >= kernel_size.width || padding.right >= kernel_size.width)
    return invalid_input_padding;
  if (activation_parameters) return unsupported_activation_parameters;
  const size_t longest =
      kernel_size.width > kernel_size.height ? kernel_size.width : kernel_size.height;
  const bool strided = subsampling.width != 1 || subsampling.height != 1;
  if ((algorithm == ft8x8 && (longest > 8 || strided)) ||
      (algorithm == ft16x16 && (longest > 16 || strided)) ||
      (algorithm == wt8x8 && (kernel_size.width != 3 || kernel_size.height != 3 || strided)) ||
      (algorithm == direct && (longest > 1 || strided)))
    return unsupported_algorithm;
  if (strategy != compute && (algorithm == direct || is("old")))
    return unsupported_transform_strategy;

  // A "transformed" kernel is the kernel behind a line that says whose it is; a workspace is used
  // only to be there.
  const size_t taps = input_channels * kernel_size.width * kernel_size.height;
  const size_t need = strategy == precompute ? 64 + output_channels * taps * sizeof(float)
                      : algorithm == direct  ? 0
                                             : 256;
  if (!workspace) {
    if (!workspace_size) {
      if (need) return insufficient_buffer;
    } else {
      *workspace_size = need;
      return success;
    }
  } else {
    if (*workspace_size < need) return insufficient_buffer;
    if (reinterpret_cast<uintptr_t>(workspace) % 64) return misaligned_buffer;
  }
  if (pool && pool->magic != kMagic) return unknown_threadpool;
  if (strategy == precompute) {
    std::memcpy(workspace, &kMagic, sizeof kMagic);
    std::memcpy(static_cast<char*>(workspace) + 64, kernel, output_channels * taps * sizeof(float));
    return success;
  }
  if (is("memory")) return out_of_memory;
  if (strategy == reuse) {
    if (std::memcmp(kernel, &kMagic, sizeof kMagic)) return unsupported_transform_strategy;
    kernel += 16;
  }
  if (workspace) std::memset(workspace, 0xff, need);
  if (profile) std::memset(profile, 0, 5 * sizeof *profile);
  pool_threads = pool ? pool->threads : 1;

  const size_t rows =
      (padding.top + input_size.height + padding.bottom - kernel_size.height) / subsampling.height +
      1;
  const size_t cols =
      (padding.left + input_size.width + padding.right - kernel_size.width) / subsampling.width + 1;
  for (size_t k = 0; k < output_channels; ++k) {
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < cols; ++j) {
        double sum = bias[k];
        const float* w = kernel + k * taps;
        for (size_t c = 0; c < input_channels; ++c) {
          for (size_t r = 0; r < kernel_size.height; ++r) {
            for (size_t s = 0; s < kernel_size.width; ++s, ++w) {
              const size_t y = i * subsampling.height + r - padding.top,
                           x = j * subsampling.width + s - padding.left;
              if (y < input_size.height && x < input_size.width)
                sum += static_cast<double>(*w) *
                       input[(c * input_size.height + y) * input_size.width + x];
            }
          }
        }
        *output++ = static_cast<float>(activation == relu && sum < 0 ? 0 : sum);
      }
    }
  }
  return success;
}
