// Groups of nodes become steps: layouts, the changes between them, and which block each value lies
// in.
#pragma once

#include <vector>

#include "compile/fuse.h"
#include "compile/program.h"

namespace linnet {

// The steps and blocks of `groups`, preferring one layout for values between them; no plan is
// prepared and no block placed yet.
Program lower(const Graph& graph, const std::vector<Group>& groups, const Wanted& wanted,
              Layout preferred, const Planner& planner, int width);

}  // namespace linnet
