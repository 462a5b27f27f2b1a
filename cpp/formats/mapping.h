// Files mapped into memory.
#pragma once

#include <memory>
#include <string>

#include "formats/protobuf.h"

namespace linnet {

struct Mapping {
  Bytes bytes;
  std::shared_ptr<const void> owner;  // unmaps the file when the last copy is gone
};

// Throws std::invalid_argument naming the file and what is wrong with it.
Mapping map_file(const std::string& path);

// An owner of a part of a mapping that gives its whole pages back to the system when the last user
// of the part is gone. They are clean pages of a file: touched again, they are read again.
std::shared_ptr<const void> releasing_owner(Bytes part, std::shared_ptr<const void> mapping);

}  // namespace linnet
