// Every tile of integers of every ISA this CPU has, and depthwise ones, against plain loops: the
// same bytes, and none where nothing may be written.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/buffer.h"
#include "kernel_tests.h"

namespace {

using linnet::IntegerDepthwise;
using linnet::IntegerTile;
using linnet::IntegerTiles;
using linnet::Rounding;

constexpr uint8_t kUntouched = 0xa5;

struct End {
  const char* name;
  Rounding how;
  bool residual;
};

std::vector<End> ends() {
  Rounding u8{}, i8{}, relu{}, between{}, real{};
  u8.low = -7, u8.high = 248, u8.zero = 7;
  i8.low = -131, i8.high = 124, i8.zero = 3;
  relu.low = 0, relu.high = 100, relu.zero = -128;
  between = i8, between.between = true, between.between_low = -128, between.between_high = 127;
  between.factor = 0.75f, between.z_factor = 1.25f, between.z_zero = 131;
  between.flip = 0x80808080u;
  real.real = true, real.low = -1.5f, real.high = 1e30f;
  Rounding sum = u8;
  sum.z_factor = 0.5f, sum.z_zero = 9;
  return {{"u8", u8, false},          {"i8", i8, false},     {"relu", relu, false},
          {"between", between, true}, {"real", real, false}, {"residual", sum, true}};
}

float rounded(float v, float low, float high) {
  return std::nearbyint(std::min(std::max(v, low), high));
}

// What a sum becomes, one operation after the other.
float after(int32_t sum, float scale, const Rounding& end, const uint8_t* z) {
  volatile float v = static_cast<float>(sum);
  v = v * scale;
  if (end.between) {
    v = rounded(v, end.between_low, end.between_high);
    v = v * end.factor;
  }
  if (z) {
    volatile float other = static_cast<float>(*z ^ (end.flip & 0xff)) - end.z_zero;
    other = other * end.z_factor;
    v = v + other;
  }
  const float last = v;
  if (end.real) return std::min(std::max(last, end.low), end.high);
  return rounded(last, end.low, end.high) + static_cast<float>(end.zero);
}

class Numbers {
 public:
  int upto(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  // Often one of the ends.
  int extreme(int low, int high) {
    const int which = upto(0, 7);
    return which == 0 ? low : which == 1 ? high : upto(low, high);
  }
  std::vector<uint8_t> bytes(int64_t count) {
    std::vector<uint8_t> v(static_cast<size_t>(count));
    for (uint8_t& b : v) b = static_cast<uint8_t>(extreme(0, 255));
    return v;
  }
  // Scales from those that make nothing of a sum to those that make the largest.
  std::vector<float> scales(int64_t count) {
    std::vector<float> v(static_cast<size_t>(count));
    for (float& f : v) f = std::ldexp(static_cast<float>(upto(513, 1023)), -upto(0, 26));
    return v;
  }
  std::vector<int32_t> biases(int64_t count) {
    std::vector<int32_t> v(static_cast<size_t>(count));
    for (int32_t& b : v) b = upto(-100000, 100000);
    return v;
  }

 private:
  std::mt19937 random_{5};
};

struct Runs {
  ptrdiff_t outer, middle, inner;  // inner: groups
};

// y as a kernel wrote it against what it should be; `made(pixel, channel)` is that.
template <typename Made>
bool as_made(const std::vector<uint8_t>& y, bool real, int64_t pixels, int64_t channels,
             ptrdiff_t y_col, const Made& made) {
  const int64_t size = real ? sizeof(float) : 1;
  std::vector<uint8_t> want(y.size(), kUntouched);
  for (int64_t p = 0; p < pixels; ++p) {
    for (int64_t c = 0; c < channels; ++c) {
      const float v = made(p, c);
      const auto byte = static_cast<uint8_t>(real ? 0 : static_cast<int32_t>(v));
      const void* from = real ? static_cast<const void*>(&v) : &byte;
      std::memcpy(&want[static_cast<size_t>((p * y_col + c) * size)], from,
                  static_cast<size_t>(size));
    }
  }
  return y == want;
}

void check_tile(const Kernels& k, const IntegerTiles& tiles, bool bytes, int vecs, int cols,
                const Runs& r, ptrdiff_t count, uint32_t flip, const End& end, Numbers& numbers) {
  const int64_t width = k.width, channels = vecs * width, group = tiles.group;
  const int64_t each = group * r.inner, pixels = cols * count, element = bytes ? 1 : 2;
  const int64_t x_middle = each + 8, x_outer = r.middle * x_middle + 16, x_col = each + 4;
  const int64_t size = (pixels - 1) * x_col + r.outer * x_outer + 64;
  const std::vector<uint8_t> x_bytes = numbers.bytes(size);
  std::vector<int16_t> x_wide;
  for (int64_t i = 0; i < size; ++i)
    x_wide.push_back(static_cast<int16_t>(numbers.extreme(-255, 255)));
  const auto x_at = [&](int64_t i) -> int32_t {
    const auto at = static_cast<size_t>(i);
    if (!bytes) return x_wide[at];
    const auto byte = static_cast<uint8_t>(x_bytes[at] ^ (flip & 0xff));
    return tiles.is_signed ? static_cast<int8_t>(byte) : byte;
  };
  // Weights of a tap of eight channels' numbers, and where they lie packed.
  const int64_t taps = r.outer * r.middle * each;
  std::vector<int> w(static_cast<size_t>(taps * channels));
  for (int& i : w) i = numbers.extreme(-127, 127);
  linnet::AlignedBuffer packed(w.size() * static_cast<size_t>(element));
  size_t at = 0;
  for (int64_t g = 0; g < taps / group; ++g) {
    for (int64_t v = 0; v < vecs; ++v) {
      for (int64_t i = 0; i < group * width; ++i, ++at) {
        int64_t lane = tiles.by_lane ? i / group : i % width;
        int64_t number = tiles.by_lane ? i % group : i / width;
        if (tiles.pairs) lane = i / 2 % 4, number = (lane + i / 8) % 4 * 2 + i % 2;
        const int value =
            w[static_cast<size_t>((g * group + number) * channels + v * width + lane)];
        if (bytes) {
          reinterpret_cast<int8_t*>(packed.data())[at] = static_cast<int8_t>(value);
        } else {
          reinterpret_cast<int16_t*>(packed.data())[at] = static_cast<int16_t>(value);
        }
      }
    }
  }
  const ptrdiff_t y_col = channels + width;
  const std::vector<int32_t> bias = numbers.biases(channels);
  const std::vector<float> scale = numbers.scales(channels);
  const std::vector<uint8_t> z = numbers.bytes(pixels * y_col);
  std::vector<uint8_t> y(static_cast<size_t>(pixels * y_col) * (end.how.real ? sizeof(float) : 1),
                         kUntouched);
  IntegerTile t{};
  t.x = bytes ? static_cast<const void*>(x_bytes.data()) : x_wide.data();
  t.x_col = x_col * element, t.x_outer = x_outer * element, t.x_middle = x_middle * element;
  t.outer = r.outer, t.middle = r.middle, t.inner = r.inner, t.count = count;
  t.flip = flip, t.w = packed.data(), t.bias = bias.data(), t.scale = scale.data();
  t.z = end.residual ? z.data() : nullptr;
  t.y = y.data(), t.y_col = y_col, t.end = end.how;
  tiles.tile[vecs][cols](t);
  const bool right = as_made(y, end.how.real, pixels, channels, y_col, [&](int64_t p, int64_t c) {
    uint32_t sum = static_cast<uint32_t>(bias[static_cast<size_t>(c)]);
    size_t tap = 0;
    for (int64_t o = 0; o < r.outer; ++o) {
      for (int64_t m = 0; m < r.middle; ++m) {
        for (int64_t i = 0; i < each; ++i, ++tap) {
          const int32_t value = x_at(p * x_col + o * x_outer + m * x_middle + i);
          sum += static_cast<uint32_t>(
              value * w[tap * static_cast<size_t>(channels) + static_cast<size_t>(c)]);
        }
      }
    }
    return after(static_cast<int32_t>(sum), scale[static_cast<size_t>(c)], end.how,
                 end.residual ? &z[static_cast<size_t>(p * y_col + c)] : nullptr);
  });
  CHECK_MESSAGE(right, "isa ", k.isa, bytes ? ", bytes" : ", wide", ", ", vecs, " vectors, ", cols,
                " pixels, ", count, " tiles, runs ", r.outer, " ", r.middle, " ", r.inner, ", ",
                end.name);
}

TEST_CASE("integers: an instruction set with dot products is best where the CPU has them") {
  const char* named = std::getenv("LINNET_ISA");
  if (named && std::strstr(named, "_dot")) CHECK(std::string(*linnet::available_isas()) == named);
  for (const Kernels* k : tables()) {
    if (!std::strstr(k->isa, "_dot")) continue;
    CHECK(k->bytes.group == 4);
    CHECK(k->bytes.is_signed);
    CHECK(!k->bytes.pairs);
  }
}

TEST_CASE("integers: every tile, some runs, and all that becomes of sums") {
  Numbers numbers;
  for (const Kernels* k : tables()) {
    for (const bool bytes : {false, true}) {
      const IntegerTiles& tiles = bytes ? k->bytes : k->wide;
      for (int vecs = 1; vecs <= tiles.vecs; ++vecs) {
        for (int cols = 1; cols <= tiles.cols[vecs]; ++cols) {
          for (const Runs& r : {Runs{1, 1, 1}, Runs{1, 1, 5}, Runs{2, 3, 1}, Runs{3, 2, 3}}) {
            for (const End& end : ends()) {
              const uint32_t flip = bytes && numbers.upto(0, 1) ? 0x80808080u : 0;
              check_tile(*k, tiles, bytes, vecs, cols, r, numbers.upto(1, 3), flip, end, numbers);
            }
          }
        }
      }
    }
  }
}

void check_depthwise(const Kernels& k, const linnet::DepthwiseIntegers& tiles, ptrdiff_t rows,
                     ptrdiff_t cols, ptrdiff_t stride, ptrdiff_t channels, ptrdiff_t pixels,
                     const End& end, Numbers& numbers) {
  const int64_t width = k.width, group = tiles.rows;
  const int64_t x_col = channels + 8, x_row = ((pixels - 1) * stride + cols) * x_col + 4;
  const std::vector<uint8_t> x = numbers.bytes(rows * x_row + 64);
  const bool bytes = group == 4;
  const int64_t groups = (rows + group - 1) / group;
  std::vector<int> w(static_cast<size_t>(groups * group * cols * channels));
  linnet::AlignedBuffer packed(w.size() * (bytes ? 1 : 2));
  size_t at = 0;
  for (int64_t v = 0; v < channels / width; ++v) {
    for (int64_t i = 0; i < groups * cols * group * width; ++i, ++at) {
      const int64_t place = i % (group * width);
      const int64_t lane = k.wide.by_lane ? place / group : place % width;
      const int64_t row =
          i / (group * width * cols) * group + (k.wide.by_lane ? place % group : place / width);
      const int64_t col = i / (group * width) % cols;
      const int value = row < rows ? numbers.extreme(-127, 127) : 0;
      w[static_cast<size_t>((row * cols + col) * channels + v * width + lane)] = value;
      if (bytes) {
        reinterpret_cast<int8_t*>(packed.data())[at] = static_cast<int8_t>(value);
      } else {
        reinterpret_cast<int16_t*>(packed.data())[at] = static_cast<int16_t>(value);
      }
    }
  }
  const ptrdiff_t y_pixel = channels + width;
  const std::vector<int32_t> bias = numbers.biases(channels);
  const std::vector<float> scale = numbers.scales(channels);
  const std::vector<uint8_t> z = numbers.bytes(pixels * y_pixel);
  std::vector<uint8_t> y(static_cast<size_t>(pixels * y_pixel) * (end.how.real ? sizeof(float) : 1),
                         kUntouched);
  IntegerDepthwise t{};
  t.x = x.data(), t.flip = numbers.upto(0, 1) ? 0x80 : 0;
  t.x_pixel = stride * x_col, t.x_row = x_row, t.x_col = x_col, t.rows = rows, t.cols = cols;
  t.w = packed.data(), t.channels = channels, t.bias = bias.data(), t.scale = scale.data();
  t.z = end.residual ? z.data() : nullptr;
  t.y = y.data(), t.pixels = pixels, t.y_pixel = y_pixel, t.end = end.how;
  tiles.run(t);
  const bool right = as_made(y, end.how.real, pixels, channels, y_pixel, [&](int64_t p, int64_t c) {
    int32_t sum = bias[static_cast<size_t>(c)];
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t s = 0; s < cols; ++s) {
        const uint8_t byte = x[static_cast<size_t>(r * x_row + (p * stride + s) * x_col + c)];
        sum += (byte ^ t.flip) * w[static_cast<size_t>((r * cols + s) * channels + c)];
      }
    }
    return after(sum, scale[static_cast<size_t>(c)], end.how,
                 end.residual ? &z[static_cast<size_t>(p * y_pixel + c)] : nullptr);
  });
  CHECK_MESSAGE(right, "isa ", k.isa, bytes ? ", bytes" : ", wide", ", ", rows, "x", cols,
                ", stride ", stride, ", ", channels, " channels, ", pixels, " pixels, ", end.name);
}

TEST_CASE("integers: depthwise, some windows, channels and pixels, and all that becomes of sums") {
  Numbers numbers;
  for (const Kernels* k : tables()) {
    for (const linnet::DepthwiseIntegers* tiles : {&k->depthwise_wide, &k->depthwise_bytes}) {
      if (!tiles->run) continue;
      for (const ptrdiff_t size : {2, 3, 5}) {
        for (const ptrdiff_t stride : {1, 2, 3}) {
          for (const ptrdiff_t vectors : {1, 2, 5}) {
            for (const ptrdiff_t pixels : {1, 4, 7, 17}) {
              for (const End& end : ends())
                check_depthwise(*k, *tiles, size, size, stride, vectors * k->width, pixels, end,
                                numbers);
            }
          }
        }
      }
    }
  }
}

}  // namespace
