// NNPACK, if there is one.
#pragma once

#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "../third_party/nnpack/nnpack_decl.h"

namespace linnet {

// The functions of a loaded and initialized NNPACK. Copyable: the library stays loaded.
struct NnPack {
  NnpConvolutionInference* convolution_inference = nullptr;
  PthreadpoolCreate* pthreadpool_create = nullptr;
  PthreadpoolDestroy* pthreadpool_destroy = nullptr;
  std::string path;  // the mapped file
};

// The NNPACK that `request` names, a path or file name, see find_once; empty or "auto": what the
// environment's LINNET_NNPACK names, else libnnpack.so. Any library that exports NNPACK's and
// pthreadpool's functions will do. Null if there is none; `*why` then gives the reason: no such
// file, another library, too old, or it cannot run on this CPU.
const NnPack* find_nnpack(const std::string& request, std::string* why);

// The threads NNPACK computes on, shared by all who want as many of the same library. Its
// workers do not survive a fork; the child makes new ones, and the parent's are left alone.
class NnpThreads {
 public:
  static std::shared_ptr<NnpThreads> get(const NnPack& nnpack, int threads);

  // Throws std::runtime_error where there are none to be had.
  NnpThreads(const NnPack& nnpack, int threads);
  ~NnpThreads();
  NnpThreads(const NnpThreads&) = delete;
  NnpThreads& operator=(const NnpThreads&) = delete;

  // Null for one thread: NNPACK then runs on its caller.
  void* pool();

 private:
  void create();

  const NnPack nnpack_;
  const int threads_;
  std::mutex mutex_;
  std::atomic<pid_t> process_{0};
  void* pool_ = nullptr;
};

}  // namespace linnet
