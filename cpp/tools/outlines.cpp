// Prints the outlines of this CPU's tables of kernels, for cpp/emit/outlines.inc; see
// make/outlines.
#include <cstdio>

#include "emit/outline.h"

int main() {
  for (const char* const* isa = linnet::available_isas(); *isa; ++isa)
    std::printf("\nisa %s\n%s", *isa, to_string(outline_of(linnet::kernels_for(*isa))).c_str());
}
