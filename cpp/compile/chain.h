// Which steps of a program are computed together, some rows at a time: algorithms/chain.h.
#pragma once

#include "compile/program.h"

namespace linnet {

// Chains those convolutions and pools between which a value lies that no other step reads and that
// is too large to stay in the cache, while the rows between them and their weights stay there.
// Their plans must be prepared; values that are no longer needed as a whole leave the arena.
void find_chains(Program& program, const Context& context, int threads);

}  // namespace linnet
