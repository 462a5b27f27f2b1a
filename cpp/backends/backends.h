// The libraries that algorithms may compute with besides linnet's own kernels.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "backends/nnpack.h"
#include "backends/openblas.h"

namespace linnet {

// A library that is looked for when an algorithm first asks.
template <typename Library, const Library* (*kFind)(const std::string& request, std::string* why)>
class Backend {
 public:
  explicit Backend(std::string request) : request_(std::move(request)) {}

  // Null where there is none.
  const Library* library() {
    look();
    return library_;
  }
  // The same, but null as well where nobody asked yet.
  const Library* known() const { return library_; }
  bool asked() const { return asked_; }
  // Why there is none.
  const std::string& missing() {
    look();
    return missing_;
  }

 private:
  void look() {
    if (!asked_) library_ = kFind(request_, &missing_);
    asked_ = true;
  }

  const std::string request_;
  bool asked_ = false;
  const Library* library_ = nullptr;
  std::string missing_;
};

// Owned by a session or a layer, used by one thread at a time.
struct Backends {
  explicit Backends(std::string openblas_request = "", std::string nnpack_request = "")
      : openblas(std::move(openblas_request)), nnpack(std::move(nnpack_request)) {}

  Backend<OpenBlas, find_openblas> openblas;
  Backend<NnPack, find_nnpack> nnpack;

  // The pthreadpool of so many threads that NNPACK computes on, kept as long as this; null for one.
  void* nnpack_threads(int threads) {
    std::shared_ptr<NnpThreads>& known = nnpack_threads_[threads];
    if (!known) known = NnpThreads::get(*nnpack.library(), threads);
    return known->pool();
  }

 private:
  std::map<int, std::shared_ptr<NnpThreads>> nnpack_threads_;
};

}  // namespace linnet
