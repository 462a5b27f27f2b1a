// Why no layer has these fields, for keys and operators; null if one may.
#pragma once

#include "problem/problem.h"

namespace linnet {

const char* objection(const Problem& p);
const char* objection(const family::Detect& d);
// Of an input with so many channels.
const char* objection(const family::Regions& r, int64_t channels);

}  // namespace linnet
