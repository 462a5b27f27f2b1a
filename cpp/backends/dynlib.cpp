#include "backends/dynlib.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>

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
  if (dlinfo(lib.handle_, RTLD_DI_LINKMAP, static_cast<void*>(&map)) == 0 && map && map->l_name)
    lib.path_ = map->l_name;
  if (char* real = realpath(lib.path_.c_str(), nullptr)) {
    lib.path_ = real;
    std::free(real);
  }
#endif
  return lib;
}

bool DynLib::loaded(const std::string& name) {
#if defined(LINNET_STATIC)
  (void)name;
  return false;
#else
  void* handle = dlopen(name.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (handle) dlclose(handle);
  return handle != nullptr;
#endif
}

void* DynLib::address(const char* name) const { return handle_ ? dlsym(handle_, name) : nullptr; }

}  // namespace linnet
