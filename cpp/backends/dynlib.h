// Shared libraries opened at run time. None is ever closed: its threads may outlive every use we
// make of it.
#pragma once

#include <pthread.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace linnet {

// A shared library, its symbols kept apart from those of other libraries of the process (NumPy may
// bring another OpenBLAS).
class DynLib {
 public:
  // `name` is a path, or a file name for the system's search path. On failure the result is false
  // and `*why` says why. A file cut short is refused before it is mapped, which would end the
  // process.
  static DynLib open(const std::string& name, std::string* why);
  // Whether the process has that library already, be it ours or somebody else's doing.
  static bool loaded(const std::string& name);

  explicit operator bool() const { return handle_ != nullptr; }

  // The address of a function, or null if the library does not export it.
  template <typename Function>
  Function* symbol(const char* name) const {
    return reinterpret_cast<Function*>(address(name));
  }
  // The same for one of several that are needed: the first that is not there goes into `*missing`.
  template <typename Function>
  void symbol(const char* name, Function** function, std::string* missing) const {
    *function = symbol<Function>(name);
    if (!*function && missing->empty()) *missing = name;
  }

  // The file that is mapped, symbolic links resolved.
  const std::string& path() const { return path_; }

 private:
  void* address(const char* name) const;

  void* handle_ = nullptr;
  std::string path_;
};

// The mutex that the whole process has for `Purpose`. A child forked while another thread holds the
// mutex must not inherit a lock that nobody will release.
template <typename Purpose>
std::mutex& process_mutex() {
  static std::mutex mutex;
  static const int registered = pthread_atfork([] { process_mutex<Purpose>().lock(); },
                                               [] { process_mutex<Purpose>().unlock(); },
                                               [] { process_mutex<Purpose>().unlock(); });
  (void)registered;
  return mutex;
}

// The library of that name, opened by `open(&why)` when it is asked for the first time and kept;
// null, with the reason in `*why`, where there is none. That is kept too, unless somebody has
// `named` the library, who may mend what was wrong with it.
template <typename Library, typename Open>
const Library* find_once(const std::string& name, bool named, std::string* why, const Open& open) {
  struct Known {
    std::optional<Library> library;
    std::string why;
  };
  static auto& all = *new std::map<std::string, Known>;
  const std::lock_guard<std::mutex> lock(process_mutex<Known>());
  auto known = all.find(name);
  if (known == all.end() || (named && !known->second.library)) {
    Known fresh;
    fresh.library = open(&fresh.why);
    known = all.insert_or_assign(name, std::move(fresh)).first;
  }
  *why = known->second.why;
  return known->second.library ? &*known->second.library : nullptr;
}

}  // namespace linnet
