// OpenBLAS, if there is one.
#pragma once

#include <mutex>
#include <string>

#include "../third_party/openblas/cblas_decl.h"

namespace linnet {

// The functions of a loaded OpenBLAS and what is known about it. Copyable: the library stays
// loaded. Any other BLAS with cblas_sgemm will do: nothing is known about it then, and its threads
// are not to be had.
struct OpenBlas {
  CblasSgemm* cblas_sgemm = nullptr;
  OpenblasSetNumThreads* openblas_set_num_threads = nullptr;
  OpenblasGetNumThreads* openblas_get_num_threads = nullptr;
  OpenblasGetCorename* openblas_get_corename = nullptr;
  OpenblasGetConfig* openblas_get_config = nullptr;
  std::string path;       // the mapped file
  std::string threading;  // "sequential", "pthreads", "openmp"; "its own" if not OpenBLAS
  std::string warning;    // why it may be slow here, or empty
};

// The OpenBLAS that `request` names, see find_once: "master" or "dl", the flavours linnet may come
// with (see third_party/openblas/build.sh), or a path or file name; empty: the packaged master,
// else the system's. Null if there is none; `*why` then gives one reason per place tried.
//
// Loading starts no threads that last. A DYNAMIC_ARCH OpenBLAS takes CPUs newer than itself for
// very old ones; `warning` then says so.
const OpenBlas* find_openblas(const std::string& request, std::string* why);

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
