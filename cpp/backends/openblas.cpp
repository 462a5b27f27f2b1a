#include "backends/openblas.h"

#include <dlfcn.h>
#include <strings.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "backends/dynlib.h"

namespace linnet {
namespace {

// OpenBLAS's name for the kernels this CPU should run; null where its own detection can be trusted.
const char* openblas_core() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return "SkylakeX";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "Haswell";
#endif
  return nullptr;
}

// Cores whose kernels are at least those of openblas_core(). A build for one core alone spells its
// name in capitals.
bool good_core(const std::string& wanted, const std::string& core) {
  const auto is = [&](const char* name) { return strcasecmp(core.c_str(), name) == 0; };
  if (is(wanted.c_str())) return true;
  const bool avx512 = is("SkylakeX") || is("Cooperlake") || is("SapphireRapids");
  if (wanted == "SkylakeX") return avx512;
  return avx512 || is("Haswell") || is("Zen");
}

// For the time a product takes.
std::mutex& computing() { return process_mutex<OpenBlasLock>(); }

// The two OpenBLAS flavours linnet may come with: in _blas/ beside the Python module, or beside the
// C library itself.
std::vector<std::string> packaged_openblas(const std::string& flavour) {
  std::vector<std::string> names;
  Dl_info self;
  if (!dladdr(reinterpret_cast<void*>(&find_openblas), &self) || !self.dli_fname) return names;
  const std::string file = self.dli_fname;
  const size_t slash = file.rfind('/');
  if (slash == std::string::npos) return names;
  for (const char* folder : {"/_blas/", "/"})
    names.push_back(file.substr(0, slash) + folder + "liblinnet-openblas-" + flavour + ".so");
  return names;
}

std::vector<std::string> openblas_names() {
  std::vector<std::string> names;
  for (const std::string& name : packaged_openblas("master"))
    if (access(name.c_str(), F_OK) == 0) names.push_back(name);
  for (const char* name : {"libopenblas.so.0", "libopenblas.so"}) names.push_back(name);
#if defined(__x86_64__)
  const std::string multiarch = "x86_64-linux-gnu";
#elif defined(__aarch64__)
  const std::string multiarch = "aarch64-linux-gnu";
#elif defined(__arm__)
  const std::string multiarch = "arm-linux-gnueabihf";
#else
  const std::string multiarch;
#endif
  // Debian's flavours, installed but not chosen as the system's BLAS.
  if (!multiarch.empty())
    for (const char* flavour : {"pthread", "openmp", "serial"})
      names.push_back("/usr/lib/" + multiarch + "/openblas-" + flavour + "/libopenblas.so.0");
  return names;
}

// For a BLAS that is not OpenBLAS: it has as many threads as it was told by variables of its own.
void keep_threads(int) {}
int unknown_threads() { return 0; }
char* unnamed() {
  static char text[] = "";
  return text;
}

std::optional<OpenBlas> load_openblas(const std::string& name, std::string* why) {
  const bool ours = !DynLib::loaded(name);
  const DynLib lib = DynLib::open(name, why);
  if (!lib) return std::nullopt;
  OpenBlas blas;
  blas.path = lib.path();
  std::string missing;
  OpenblasGetParallel* get_parallel = nullptr;
  lib.symbol("cblas_sgemm", &blas.cblas_sgemm, &missing);
  if (missing.empty() && !lib.symbol<OpenblasGetConfig>("openblas_get_config")) {
    blas.openblas_set_num_threads = keep_threads;
    blas.openblas_get_num_threads = unknown_threads;
    blas.openblas_get_corename = blas.openblas_get_config = unnamed;
    blas.threading = "its own";
    return blas;
  }
  lib.symbol("openblas_set_num_threads", &blas.openblas_set_num_threads, &missing);
  lib.symbol("openblas_get_num_threads", &blas.openblas_get_num_threads, &missing);
  lib.symbol("openblas_get_corename", &blas.openblas_get_corename, &missing);
  lib.symbol("openblas_get_config", &blas.openblas_get_config, &missing);
  lib.symbol("openblas_get_parallel", &get_parallel, &missing);
  if (!missing.empty()) {
    *why = blas.path + ": has no symbol " + missing;
    return std::nullopt;
  }
  if (std::strstr(blas.openblas_get_config(), "USE64BITINT")) {
    *why = blas.path + ": built with 64-bit integers (INTERFACE64)";
    return std::nullopt;
  }
  const int parallel = get_parallel();
  // It has started a thread for every CPU. It starts them again for its first threaded product, as
  // it does in a forked child. One that others use already is left alone.
  if (auto* end_threads = lib.symbol<BlasThreadShutdown>("blas_thread_shutdown_");
      end_threads && ours && parallel == 1)
    end_threads();
  blas.threading = parallel == 0 ? "sequential" : parallel == 1 ? "pthreads" : "openmp";
  const std::string core = blas.openblas_get_corename();
  const char* wanted = openblas_core();
  if (wanted && !good_core(wanted, core))
    blas.warning = "OpenBLAS runs its " + core + " kernels where " + wanted +
                   " would be right; set OPENBLAS_CORETYPE=" + wanted +
                   " before the program starts";
  return blas;
}

std::optional<OpenBlas> open_openblas(const std::string& request, std::string* why) {
  if (request == "none") {
    *why = "switched off";
    return std::nullopt;
  }
  const bool packaged = request == "master" || request == "dl";
  for (const std::string& name : request.empty() ? openblas_names()
                                 : packaged      ? packaged_openblas(request)
                                                 : std::vector<std::string>{request}) {
    std::string reason;
    if (std::optional<OpenBlas> blas = load_openblas(name, &reason)) return blas;
    *why += (why->empty() ? "" : "; ") + reason;
  }
  return std::nullopt;
}

}  // namespace

const OpenBlas* find_openblas(const std::string& request, std::string* why) {
  return find_once<OpenBlas>(request, !request.empty(), why,
                             [&](std::string* reason) { return open_openblas(request, reason); });
}

OpenBlasLock::OpenBlasLock(const OpenBlas& blas, int threads)
    : lock_(computing()), blas_(blas), before_(blas.openblas_get_num_threads()) {
  if (threads != before_) blas_.openblas_set_num_threads(threads);
}

OpenBlasLock::~OpenBlasLock() {
  if (blas_.openblas_get_num_threads() != before_) blas_.openblas_set_num_threads(before_);
}

}  // namespace linnet
