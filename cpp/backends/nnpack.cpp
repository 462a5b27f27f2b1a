#include "backends/nnpack.h"

#include <cstdlib>

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

}  // namespace linnet
