// regions.h for Python: a shared library to be called through ctypes.
#include "regions.h"

extern "C" void begin() { begin_region(); }
extern "C" void end() { end_region(); }
