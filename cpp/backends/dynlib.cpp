#include "backends/dynlib.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

namespace linnet {
namespace {

// Prefer the library's own symbols to equal ones already in the process. The sanitizers' runtimes
// work by interposition and refuse the flag.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LINNET_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define LINNET_SANITIZED 1
#endif
#endif
#if defined(RTLD_DEEPBIND) && !defined(LINNET_SANITIZED)
constexpr int kOpenFlags = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#else
constexpr int kOpenFlags = RTLD_NOW | RTLD_LOCAL;
#endif

// Sets an environment variable the user has not set, and removes it at the end of the scope.
class ScopedEnv {
 public:
  ScopedEnv(const char* name, const char* value) : name_(name), ours_(value && !std::getenv(name)) {
    if (ours_) setenv(name, value, 0);
  }
  ~ScopedEnv() {
    if (ours_) unsetenv(name_);
  }
  ScopedEnv(const ScopedEnv&) = delete;
  ScopedEnv& operator=(const ScopedEnv&) = delete;

 private:
  const char* name_;
  bool ours_;
};

// Whether a shared library's file ends before its contents do, by its own headers. What is not one
// of this machine's is left to dlopen to refuse.
bool cut_short(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const auto size = static_cast<uint64_t>(std::max<std::streamoff>(0, file.tellg()));
  ElfW(Ehdr) header;
  file.seekg(0);
  if (!file.read(reinterpret_cast<char*>(&header), sizeof header) ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phentsize != sizeof(ElfW(Phdr)))
    return false;
  file.seekg(static_cast<std::streamoff>(header.e_phoff));
  for (int i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) part;
    if (!file.read(reinterpret_cast<char*>(&part), sizeof part)) return true;
    if (part.p_type == PT_LOAD && (part.p_offset > size || part.p_filesz > size - part.p_offset))
      return true;
  }
  return false;
}

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

std::mutex& openblas_mutex() {
  static std::mutex mutex;
  // A child forked while another thread computes must not inherit a lock that nobody will release.
  static const int registered =
      pthread_atfork([] { openblas_mutex().lock(); }, [] { openblas_mutex().unlock(); },
                     [] { openblas_mutex().unlock(); });
  (void)registered;
  return mutex;
}

// The two OpenBLAS flavours linnet may come with: in _blas/ beside the Python module, or beside the
// C library itself.
std::vector<std::string> packaged_openblas(const std::string& flavour) {
  std::vector<std::string> names;
  Dl_info self;
  if (!dladdr(reinterpret_cast<void*>(&openblas_mutex), &self) || !self.dli_fname) return names;
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

std::optional<OpenBlas> load_openblas(const std::string& name, std::string* why) {
  const DynLib lib = DynLib::open(name, why);
  if (!lib) return std::nullopt;
  OpenBlas blas;
  blas.path = lib.path();
  const char* missing = nullptr;
  const auto need = [&](auto*& function, const char* symbol) {
    function = lib.symbol<std::remove_reference_t<decltype(*function)>>(symbol);
    if (!function && !missing) missing = symbol;
  };
  need(blas.cblas_sgemm, "cblas_sgemm");
  need(blas.openblas_set_num_threads, "openblas_set_num_threads");
  need(blas.openblas_get_num_threads, "openblas_get_num_threads");
  need(blas.openblas_get_corename, "openblas_get_corename");
  need(blas.openblas_get_config, "openblas_get_config");
  OpenblasGetParallel* get_parallel = nullptr;
  need(get_parallel, "openblas_get_parallel");
  if (missing) {
    *why = blas.path + ": has no symbol " + missing;
    return std::nullopt;
  }
  if (std::strstr(blas.openblas_get_config(), "USE64BITINT")) {
    *why = blas.path + ": built with 64-bit integers (INTERFACE64)";
    return std::nullopt;
  }
  const int parallel = get_parallel();
  blas.threading = parallel == 0 ? "sequential" : parallel == 1 ? "pthreads" : "openmp";
  const std::string core = blas.openblas_get_corename();
  const char* wanted = openblas_core();
  if (wanted && !good_core(wanted, core))
    blas.warning = "OpenBLAS runs its " + core + " kernels where " + wanted +
                   " would be right; set OPENBLAS_CORETYPE=" + wanted +
                   " before the program starts";
  return blas;
}

}  // namespace

DynLib DynLib::open(const std::string& name, std::string* why) {
  DynLib lib;
#if defined(LINNET_STATIC)
  *why = name + ": a statically linked program loads no libraries";
#else
  if (name.find('/') != std::string::npos && cut_short(name)) {
    *why = name + ": the file is cut short";
    return lib;
  }
  lib.handle_ = dlopen(name.c_str(), kOpenFlags);
  if (!lib.handle_) {
    const char* error = dlerror();  // begins with the file's name
    *why = error ? error : name + ": cannot be opened";
    return lib;
  }
  link_map* map = nullptr;
  if (dlinfo(lib.handle_, RTLD_DI_LINKMAP, &map) == 0 && map && map->l_name)
    lib.path_ = map->l_name;
  if (char* real = realpath(lib.path_.c_str(), nullptr)) {
    lib.path_ = real;
    std::free(real);
  }
#endif
  return lib;
}

void* DynLib::address(const char* name) const { return handle_ ? dlsym(handle_, name) : nullptr; }

std::optional<OpenBlas> find_openblas(const std::string& request, std::string* why) {
  std::lock_guard<std::mutex> lock(openblas_mutex());
  const ScopedEnv core("OPENBLAS_CORETYPE", openblas_core());
  const ScopedEnv threads("OPENBLAS_NUM_THREADS", "1");
  why->clear();
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

std::optional<NnPack> find_nnpack(const std::string& request, std::string* why) {
  const char* named = std::getenv("LINNET_NNPACK");
  const bool any = request.empty() || request == "auto";
  const DynLib lib = DynLib::open(!any ? request : named && *named ? named : "libnnpack.so", why);
  if (!lib) return std::nullopt;
  NnPack nnpack;
  nnpack.path = lib.path();
  const char* missing = nullptr;
  const auto need = [&](auto*& function, const char* symbol) {
    function = lib.symbol<std::remove_reference_t<decltype(*function)>>(symbol);
    if (!function && !missing) missing = symbol;
  };
  NnpInitialize* initialize = nullptr;
  need(initialize, "nnp_initialize");
  need(nnpack.convolution_inference, "nnp_convolution_inference");
  need(nnpack.pthreadpool_create, "pthreadpool_create");
  need(nnpack.pthreadpool_destroy, "pthreadpool_destroy");
  if (missing) {
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

OpenBlasLock::OpenBlasLock(const OpenBlas& blas, int threads)
    : lock_(openblas_mutex()), blas_(blas), before_(blas.openblas_get_num_threads()) {
  if (threads != before_) blas_.openblas_set_num_threads(threads);
}

OpenBlasLock::~OpenBlasLock() {
  if (blas_.openblas_get_num_threads() != before_) blas_.openblas_set_num_threads(before_);
}

}  // namespace linnet
