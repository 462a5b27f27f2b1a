// What a debug build (LINNET_DEBUG) checks of every step of a run: a step reads only what was
// written, writes nothing beside its blocks and workspace, and leaves the padding lanes of its
// result zero. What does not hold ends the program with a line that names the step. In other builds
// these functions do nothing.
#pragma once

#include "compile/program.h"

namespace linnet {

#if defined(LINNET_DEBUG)

// Before a run: fills the arena with NaN.
void debug_begin(const Program& program, char* arena);
// Before step `i`: checks the padding lanes of what it reads, fills its workspace with NaN and the
// guards around it and all blocks in use with a pattern.
void debug_before(const Program& program, size_t i, char* arena);
// After step `i`: checks the guards, fills what is no longer used with NaN.
void debug_after(const Program& program, size_t i, char* arena);

#else

inline void debug_begin(const Program&, char*) {}
inline void debug_before(const Program&, size_t, char*) {}
inline void debug_after(const Program&, size_t, char*) {}

#endif

}  // namespace linnet
