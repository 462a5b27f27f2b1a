#include <doctest/doctest.h>

#include <set>
#include <stdexcept>
#include <string>

#include "emit/outline.h"
#include "kernels/cores.h"
#include "kernels/kernels.h"

namespace linnet {
namespace {

TEST_CASE("outlines of this CPU's tables are the stored ones") {
  for (const char* const* name = available_isas(); *name; ++name) {
    const std::string isa = *name;
    if (isa == "scalar") continue;
    CAPTURE(isa);
    const std::string own = to_string(outline_of(kernels_for(*name)));
    // An ISA without what not all its CPUs have is the one with intrinsics alone.
    const bool plain =
        isa == "avx512" && !outline_of(kernels_for(*name)).numbers.count("bytes.vecs");
    // Where assembly does not suit the core, the names of tables are others.
    const bool other = isa == "neon" && !own_core().core.in_order;
    const std::string known = isa == "neon_ordered" ? "neon" : other ? "neon_intrinsics" : isa;
    const std::string stored = to_string(outline_of(plain ? known + "_intrinsics" : known));
    CHECK_MESSAGE(own == stored, "run make outlines");
  }
  CHECK_THROWS_AS(outline_of(std::string("avx3")), std::invalid_argument);
}

TEST_CASE("outlines are read as they are written") {
  const Outline outline = outline_of(std::string("neon_vfpv4"));
  CHECK(outline.numbers.at("width") == 4);
  CHECK(outline.kernels.count("direct[2][6]") == 1);
  CHECK(outline.kernels.count("direct[2][7]") == 0);
  CHECK(outline.kernels.count("bytes.tile[2][4]") == 1);
  CHECK(outline.kernels.count("softmax") == 0);
  CHECK(parse_outline(to_string(outline)) == outline);
  const Outline dot = outline_of(std::string("neon_vfpv4_dot"));
  CHECK(dot.numbers.at("bytes.group") == 4);
  CHECK(dot.numbers.count("bytes.pairs") == 0);
}

TEST_CASE("kernels that record do nothing else") {
  RecordingKernels recording("neon_vfpv4", outline_of(std::string("neon_vfpv4")));
  const Kernels& table = recording.table();
  CHECK(table.width == 4);
  CHECK(table.direct_cols[2] == 6);
  CHECK(!table.direct[2][7]);
  CHECK(recording.called().empty());
  table.direct[2][6]({});
  table.depthwise[3][1].tile[1][8]({});
  table.integer_max({});
  const std::set<std::string> called{"depthwise[3][1].tile[1][8]", "direct[2][6]", "integer_max"};
  CHECK(recording.called(true) == called);
  float most = 1, total = 1;
  Energy one{};
  one.tiles = 1;
  table.energy(one, &most, &total);
  CHECK(most == kInfinity);
  CHECK(recording.called() == std::set<std::string>{"energy"});
  table.energy(one, &most, &total);
  CHECK(most == 0);
}

}  // namespace
}  // namespace linnet
