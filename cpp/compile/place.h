// Where the blocks and workspaces of a program lie in its arena.
#pragma once

#include "compile/program.h"

namespace linnet {

// Fills in the offsets and sizes of the arena; plans must be prepared, since their workspaces
// count.
void place(Program& program);

}  // namespace linnet
