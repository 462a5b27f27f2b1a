// Shapes and memory layouts of activations. Plain values, owned by nobody.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace linnet {

// Axis 0 is the batch; a graph knows it only as 0 (free), a compiled program knows its number.
using Shape = std::vector<int64_t>;

// kNchw is dense in the order of the logical axes. kNhwc has channels last, each pixel's channels
// padded with zeros to a multiple of the vector width, so that kernels never need a channel tail.
enum class Layout : uint8_t { kNchw, kNhwc };

// One image of a batch, whatever the rank: [N,C] is 1x1 pixels, [N,C,W] one row.
struct Dims {
  int64_t c = 1, h = 1, w = 1;
  int64_t count() const { return c * h * w; }
  bool operator==(const Dims& o) const { return c == o.c && h == o.h && w == o.w; }
  bool operator!=(const Dims& o) const { return !(*this == o); }
};

constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Floats of one image in a layout, for vectors of `width` floats.
inline int64_t image_stride(const Dims& d, Layout layout, int width) {
  return layout == Layout::kNchw ? d.count() : d.h * d.w * round_up(d.c, width);
}

std::string to_string(const Shape& shape);  // "Nx3x224x224"

}  // namespace linnet
