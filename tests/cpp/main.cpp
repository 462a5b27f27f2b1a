#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

// Under the sanitizers too an impossible allocation shall fail as it does in production, not end
// the process.
// Exported, or their libraries would not see it.
#define EXPORTED extern "C" __attribute__((visibility("default")))
EXPORTED const char* __asan_default_options() { return "allocator_may_return_null=1"; }
EXPORTED const char* __tsan_default_options() { return "allocator_may_return_null=1"; }
