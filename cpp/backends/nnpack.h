// NNPACK, if there is one.
#pragma once

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

}  // namespace linnet
