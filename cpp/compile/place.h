// Where the blocks and workspaces of a program lie in its arena.
#pragma once

#include "compile/program.h"

namespace linnet {

// Bytes on either side of each block and workspace that no step may write.
#if defined(LINNET_DEBUG)
constexpr size_t kGuardBytes = kAlignment;
#else
constexpr size_t kGuardBytes = 0;
#endif

// Fills in the offsets and sizes of the arena; plans must be prepared, since their workspaces
// count.
void place(Program& program);

}  // namespace linnet
