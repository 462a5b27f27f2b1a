#include "formats/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace linnet {

Mapping map_file(const std::string& path) {
  const auto fail = [&](const std::string& what) -> std::invalid_argument {
    return std::invalid_argument("cannot read '" + path + "': " + what);
  };
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw fail(std::strerror(errno));
  auto file = std::make_shared<const File>(path, descriptor);
  struct stat status;
  if (fstat(descriptor, &status) != 0) throw fail(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw fail("not a file");
  if (status.st_size == 0) throw fail("the file is empty");
  if (static_cast<uint64_t>(status.st_size) > PTRDIFF_MAX)
    throw fail("the file exceeds the address space");
  const size_t size = static_cast<size_t>(status.st_size);
  void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (address == MAP_FAILED) throw fail(std::strerror(errno));
  const uint8_t* begin = static_cast<const uint8_t*>(address);
  return {{begin, begin + size},
          std::shared_ptr<const void>(
              address, [size](const void* a) { munmap(const_cast<void*>(a), size); }),
          std::move(file)};
}

}  // namespace linnet
