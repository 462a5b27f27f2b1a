// The steps of a compiled network before its first and behind its last: a camera's frame becomes
// its input, as src/linnet/_image.pyx has it to the bit, and of its scores the largest stay.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "algorithms/plan.h"

namespace linnet {
namespace {

enum Format : int32_t { kGrey, kRgb, kBgr, kYuv420 };
enum Type : int32_t { kFloats, kUnsigned, kSigned };

struct FrameArgs {
  int32_t frame_rows, frame_cols, format;
  int32_t channels;                         // of a pixel that is resampled
  int32_t top, left, rows, cols;            // where pixels lie in the input; a border is around
  int32_t out_rows, out_cols, planes;       // of the input
  int32_t channel[3];                       // of each plane; -1: grey from colour
  int32_t y_plane, y_row, y_col;            // numbers from one to the next
  int32_t row_taps, col_taps, antialiased;  // samples that are added up
  int32_t type;
  float mean[3], scale[3], border[3];
};

int32_t byte(int32_t x) { return std::clamp<int32_t>(x, 0, 255); }

// ITU-R BT.601, of limited range, in fixed point: OpenCV's numbers.
void rgb_of(const uint8_t* frame, const FrameArgs& a, int32_t row, uint8_t* to) {
  constexpr int kBits = 20;
  constexpr int32_t kHalf = 1 << (kBits - 1);
  const int32_t wide = a.frame_cols, luma = a.frame_rows * wide;
  const uint8_t* u = frame + luma + row / 2 * (wide / 2);
  const uint8_t* v = u + luma / 4;
  for (int32_t i = 0; i < wide; ++i, to += 3) {
    const int32_t y = std::max(0, frame[row * wide + i] - 16) * 1220542;
    const int32_t cb = u[i / 2] - 128, cr = v[i / 2] - 128;
    to[0] = static_cast<uint8_t>(byte((y + kHalf + 1673527 * cr) >> kBits));
    to[1] = static_cast<uint8_t>(byte((y + kHalf - 852492 * cr - 409993 * cb) >> kBits));
    to[2] = static_cast<uint8_t>(byte((y + kHalf + 2116026 * cb) >> kBits));
  }
}

// A row of the frame with the columns of the input.
void across(const uint8_t* row, const FrameArgs& a, const int32_t* samples, const int32_t* factors,
            int32_t* line) {
  for (int32_t x = 0; x < a.cols; ++x, samples += a.col_taps, factors += a.col_taps) {
    for (int32_t c = 0; c < a.channels; ++c) {
      int32_t sum = a.antialiased ? 1 << 21 : 0;
      for (int32_t k = 0; k < a.col_taps; ++k) sum += row[samples[k] * a.channels + c] * factors[k];
      *line++ = a.antialiased ? sum >> 22 : sum >> 4;
    }
  }
}

template <typename T>
void write_row(const FrameArgs& a, const uint8_t* row, int32_t y, T* out) {
  const int32_t red = a.format == kBgr ? 2 : 0;
  for (int32_t plane = 0; plane < a.planes; ++plane) {
    const int32_t channel = a.channel[plane];
    T* to = out + plane * a.y_plane + (a.top + y) * a.y_row + a.left * a.y_col;
    const uint8_t* at = row;
    for (int32_t x = 0; x < a.cols; ++x, at += a.channels, to += a.y_col) {
      const float level = channel >= 0 ? static_cast<float>(at[channel])
                                       : 0.299f * at[red] + 0.587f * at[1] + 0.114f * at[2 - red];
      const float number = (level - a.mean[plane]) * a.scale[plane];
      if constexpr (std::is_same_v<T, float>) {
        *to = number;
      } else {
        constexpr float kLow = std::numeric_limits<T>::min(), kHigh = std::numeric_limits<T>::max();
        *to = static_cast<T>(std::min(kHigh, std::max(kLow, std::rint(number))));
      }
    }
  }
}

template <typename T>
void prepare(const FrameArgs& a, const Operands& o, T* out) {
  const auto frame = static_cast<const uint8_t*>(o.x);
  const auto* row_samples = static_cast<const int32_t*>(o.weights[0]);
  const int32_t* row_factors = row_samples + a.rows * a.row_taps;
  const int32_t* col_samples = row_factors + a.rows * a.row_taps;
  const int32_t* col_factors = col_samples + a.cols * a.col_taps;
  const int32_t width = a.cols * a.channels, pitch = a.frame_cols * a.channels;
  // Lines of the frame that are resampled across, and which; a sum of them; its bytes; a line's.
  auto* const held = static_cast<int32_t*>(o.workspace);
  int32_t* const lines = held + a.row_taps;
  int32_t* const sums = lines + a.row_taps * width;
  auto* const bytes = reinterpret_cast<uint8_t*>(sums + width);
  uint8_t* const colours = bytes + width;

  for (int32_t plane = 0; plane < a.planes; ++plane) {
    for (int32_t i = 0; i < a.out_rows * a.out_cols; ++i) {
      T* to = out + plane * a.y_plane + i / a.out_cols * a.y_row + i % a.out_cols * a.y_col;
      *to = static_cast<T>(a.border[plane]);
    }
  }
  std::fill(held, held + a.row_taps, -1);
  for (int32_t y = 0; y < a.rows; ++y) {
    std::fill(sums, sums + width, a.antialiased ? 1 << 21 : 2);
    for (int32_t k = 0; k < a.row_taps; ++k) {
      const int32_t row = row_samples[y * a.row_taps + k];
      const int32_t factor = row_factors[y * a.row_taps + k];
      if (factor == 0 && a.antialiased) continue;
      int32_t* line = lines + row % a.row_taps * width;
      if (held[row % a.row_taps] != row) {
        held[row % a.row_taps] = row;
        if (a.format == kYuv420) rgb_of(frame, a, row, colours);
        across(a.format == kYuv420 ? colours : frame + row * pitch, a, col_samples, col_factors,
               line);
      }
      for (int32_t x = 0; x < width; ++x)
        sums[x] += a.antialiased ? line[x] * factor : (line[x] * factor) >> 16;
    }
    for (int32_t x = 0; x < width; ++x)
      bytes[x] = static_cast<uint8_t>(sums[x] >> (a.antialiased ? 22 : 2));
    write_row(a, bytes, y, out);
  }
}

void run_frame(const FrameArgs& a, const Operands& o) {
  if (a.type == kFloats) prepare(a, o, static_cast<float*>(o.y));
  if (a.type == kUnsigned) prepare(a, o, static_cast<uint8_t*>(o.y));
  if (a.type == kSigned) prepare(a, o, static_cast<int8_t*>(o.y));
}

constexpr auto kFrame = plan_code<&run_frame>("camera_frame");

struct TopArgs {
  int32_t count, wanted;
};

// Places of the largest numbers and, as the operand, those; of equal ones the first.
void run_top(const TopArgs& a, const Operands& o) {
  const auto scores = static_cast<const float*>(o.x);
  auto* const places = static_cast<int32_t*>(o.y);
  auto* const best = static_cast<float*>(const_cast<void*>(o.operand));
  for (int32_t found = 0, i = 0; i < a.count; ++i) {
    int32_t at = found;
    while (at > 0 && scores[i] > best[at - 1]) --at;
    if (at == a.wanted) continue;
    found = std::min(found + 1, a.wanted);
    for (int32_t j = found - 1; j > at; --j) best[j] = best[j - 1], places[j] = places[j - 1];
    best[at] = scores[i], places[at] = i;
  }
}

constexpr auto kTop = plan_code<&run_top>("camera_top");

}  // namespace
}  // namespace linnet
