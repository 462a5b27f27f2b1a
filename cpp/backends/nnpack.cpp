#include "backends/nnpack.h"

#include <cstdlib>
#include <map>
#include <stdexcept>
#include <utility>

#include "backends/dynlib.h"

namespace linnet {
namespace {

std::optional<NnPack> open_nnpack(const std::string& name, std::string* why) {
  const DynLib lib = DynLib::open(name, why);
  if (!lib) return std::nullopt;
  NnPack nnpack;
  nnpack.path = lib.path();
  std::string missing;
  NnpInitialize* initialize = nullptr;
  lib.symbol("nnp_initialize", &initialize, &missing);
  lib.symbol("nnp_convolution_inference", &nnpack.convolution_inference, &missing);
  lib.symbol("pthreadpool_create", &nnpack.pthreadpool_create, &missing);
  lib.symbol("pthreadpool_destroy", &nnpack.pthreadpool_destroy, &missing);
  if (!missing.empty()) {
    *why = nnpack.path + ": has no symbol " + missing;
    return std::nullopt;
  }
  if (const int status = initialize()) {
    *why = nnpack.path + ": cannot be initialized" +
           (status == 51 ? ", it does not support this CPU" : "") + " (status " +
           std::to_string(status) + ")";
    return std::nullopt;
  }
  // Versions before kernel transforms could be computed beforehand took fewer arguments; asked
  // this, they touch none of their pointers and refuse the third strategy.
  size_t bytes = 0;
  const int status = nnpack.convolution_inference(
      kNnpFt8x8, kNnpReuse, 1, 1, {8, 8}, {0, 0, 0, 0}, {3, 3}, {1, 1}, nullptr, nullptr, nullptr,
      nullptr, nullptr, &bytes, kNnpIdentity, nullptr, nullptr, nullptr);
  if (status != kNnpSuccess || bytes == 0) {
    *why = nnpack.path +
           ": does not take transformed kernels, it is an old NNPACK or another library (status " +
           std::to_string(status) + ")";
    return std::nullopt;
  }
  return nnpack;
}

}  // namespace

const NnPack* find_nnpack(const std::string& request, std::string* why) {
  std::string name = request == "auto" ? "" : request;
  if (const char* named = std::getenv("LINNET_NNPACK"); named && name.empty()) name = named;
  const bool named = !name.empty();
  if (!named) name = "libnnpack.so";
  return find_once<NnPack>(name, named, why,
                           [&](std::string* reason) { return open_nnpack(name, reason); });
}

std::shared_ptr<NnpThreads> NnpThreads::get(const NnPack& nnpack, int threads) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, int>, std::weak_ptr<NnpThreads>> all;
  std::lock_guard<std::mutex> lock(mutex);
  std::weak_ptr<NnpThreads>& known = all[{nnpack.path, threads}];
  std::shared_ptr<NnpThreads> shared = known.lock();
  if (!shared) known = shared = std::make_shared<NnpThreads>(nnpack, threads);
  return shared;
}

NnpThreads::NnpThreads(const NnPack& nnpack, int threads) : nnpack_(nnpack), threads_(threads) {
  create();
}

NnpThreads::~NnpThreads() {
  if (pool_ && process_ == getpid()) nnpack_.pthreadpool_destroy(pool_);
}

void* NnpThreads::pool() {
  if (threads_ > 1 && process_ != getpid()) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (process_ != getpid()) create();
  }
  return pool_;
}

void NnpThreads::create() {
  if (threads_ > 1) {
    pool_ = nnpack_.pthreadpool_create(static_cast<size_t>(threads_));
    if (!pool_)
      throw std::runtime_error("NNPACK: no " + std::to_string(threads_) + " threads to be had");
  }
  process_ = getpid();
}

}  // namespace linnet
