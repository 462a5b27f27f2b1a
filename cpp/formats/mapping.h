// Files mapped into memory.
#pragma once

#include <memory>
#include <string>

#include "formats/protobuf.h"
#include "graph/file_part.h"

namespace linnet {

struct Mapping {
  Bytes bytes;
  std::shared_ptr<const void> owner;  // unmaps the file when the last copy is gone
  std::shared_ptr<const File> file;   // to read from it afterwards
};

// Throws std::invalid_argument naming the file and what is wrong with it.
Mapping map_file(const std::string& path);
}  // namespace linnet
