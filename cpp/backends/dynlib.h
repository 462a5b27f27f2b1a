#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "../third_party/nnpack/nnpack_decl.h"
#include "../third_party/openblas/cblas_decl.h"

namespace linnet {

// A shared library opened at run time, its symbols kept apart from those of other libraries of the
// process (NumPy may bring another OpenBLAS). It is never closed: its threads may outlive every use
// we make of it.
class DynLib {
 public:
  // `name` is a path, or a file name for the system's search path. On failure the result is false
  // and `*why` says why. A file cut short is refused before it is mapped, which would end the
  // process.
  static DynLib open(const std::string& name, std::string* why);

  explicit operator bool() const { return handle_ != nullptr; }

  // The address of a function, or null if the library does not export it.
  template <typename Function>
  Function* symbol(const char* name) const {
    return reinterpret_cast<Function*>(address(name));
  }

  // The file that is mapped, symbolic links resolved.
  const std::string& path() const { return path_; }

 private:
  void* address(const char* name) const;

  void* handle_ = nullptr;
  std::string path_;
};

// The functions of a loaded OpenBLAS and what is known about it. Copyable: the library stays
// loaded.
struct OpenBlas {
  CblasSgemm* cblas_sgemm = nullptr;
  OpenblasSetNumThreads* openblas_set_num_threads = nullptr;
  OpenblasGetNumThreads* openblas_get_num_threads = nullptr;
  OpenblasGetCorename* openblas_get_corename = nullptr;
  OpenblasGetConfig* openblas_get_config = nullptr;
  std::string path;       // the mapped file
  std::string threading;  // "sequential", "pthreads" or "openmp"
  std::string warning;    // why it may be slow here, or empty
};

// Loads the OpenBLAS that `request` names: "master" or "dl", the flavours linnet may come with (see
// third_party/openblas/build.sh), or a path or file name; empty: the packaged master, else the
// system's. On failure `*why` gives one reason per place tried.
//
// A DYNAMIC_ARCH OpenBLAS takes CPUs newer than itself for very old ones, so the core type is set
// for the time of loading (environment variable OPENBLAS_CORETYPE, unless the user has set it) and
// checked afterwards. It is also kept from starting threads nobody asked for.
std::optional<OpenBlas> find_openblas(const std::string& request, std::string* why);

// The functions of a loaded and initialized NNPACK. Copyable: the library stays loaded.
struct NnPack {
  NnpConvolutionInference* convolution_inference = nullptr;
  PthreadpoolCreate* pthreadpool_create = nullptr;
  PthreadpoolDestroy* pthreadpool_destroy = nullptr;
  std::string path;  // the mapped file
};

// Loads the NNPACK that `request` names, a path or file name; empty or "auto": what the
// environment's LINNET_NNPACK names, else libnnpack.so. Any library that exports NNPACK's and
// pthreadpool's functions will do. On failure `*why` gives the reason: there is none, it is another
// library or too old, or it cannot run on this CPU.
std::optional<NnPack> find_nnpack(const std::string& request, std::string* why);

// Holds OpenBLAS, whose threads and buffers belong to the whole process, for one step of one
// session: other sessions' steps wait. It runs on `threads` threads meanwhile and on as many as
// before afterwards.
class OpenBlasLock {
 public:
  OpenBlasLock(const OpenBlas& blas, int threads);
  ~OpenBlasLock();
  OpenBlasLock(const OpenBlasLock&) = delete;
  OpenBlasLock& operator=(const OpenBlasLock&) = delete;

 private:
  std::unique_lock<std::mutex> lock_;
  const OpenBlas& blas_;
  int before_;
};

}  // namespace linnet
