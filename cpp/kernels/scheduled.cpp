// Kernels ordered for in-order ARM cores, in place of those the compiler made. schedule.py writes
// the assembly and says how. An instruction set without any leaves its table as it is.
#include "integer_depthwise.h"

#if defined(LINNET_ISA_neon_vfpv4)
#define LINNET_ASM(name) linnet_a32_##name
#define LINNET_ADDRESSES(in_32, in_64) in_32
#elif defined(LINNET_ISA_neon)
#define LINNET_ASM(name) linnet_a64_##name
#define LINNET_ADDRESSES(in_32, in_64) in_64
#endif

#ifdef LINNET_ASM

namespace linnet {
namespace {

// What becomes of sums, as the assembly computes it, in vectors: rounded, taken down to 16 bits and
// the zero point added, all without overflow, numbers of any size end within the limits.
struct PlainSteps {
#if defined(LINNET_ISA_neon)
  int16x8_t zero;
#else
  // With the rounder added, the bits of a number are those of the rounder plus the rounded number.
  Vec rounder;
  Ints off;
#endif
  int16x8_t low, high;

  LINNET_INLINE explicit PlainSteps(const Rounding& end)
      :
#if defined(LINNET_ISA_neon)
        zero(all(end.zero)),
#else
        rounder(splat(kRounder)),
        off(splat_ints(0x4b400000 - end.zero)),
#endif
        low(all(static_cast<int32_t>(end.low) + end.zero)),
        high(all(static_cast<int32_t>(end.high) + end.zero)) {
  }

 private:
  static LINNET_INLINE int16x8_t all(int32_t x) { return vdupq_n_s16(static_cast<int16_t>(x)); }
};
using AssemblyTiles = void (*)(const IntegerTile&, const PlainSteps&, Ints* sums);
using AssemblyRows = void (*)(const IntegerDepthwise&, const PlainSteps&);

// Tiles of integers in assembly, which knows the plain way to bytes; what others take are sums,
// stored as they are, of a single tile.
template <int kVecs, int kCols, AssemblyTiles kTiles>
void integers(const IntegerTile& given) {
  const PlainSteps steps(given.end);
  if (is_plain(given.end, given.z)) return kTiles(given, steps, nullptr);
  IntegerTile t = given;
  t.count = 1;
  for (ptrdiff_t i = 0; i < given.count; ++i, to_next(t, kCols)) {
    Ints acc[kCols][kVecs];
    kTiles(t, steps, acc[0]);
    requantize<kVecs, kCols>(acc, t.end, t.scale, t.z, t.y, t.y_col);
  }
}

// By whole tiles of four pixels of eight channels, whose weights are of two rows side by side, and
// of stride 1 or 2; what the assembly has no tiles of, the compiler has. The last pixels of a row
// are computed with some before them.
template <AssemblyRows kNear, AssemblyRows kTwo>
void depthwise(const IntegerDepthwise& given) {
  constexpr ptrdiff_t kPixels = 4, kChannels = 8;
  const bool near = given.x_pixel == given.x_col, two = given.x_pixel == 2 * given.x_col;
  const bool fits = given.rows == 3 && given.cols == 3 && (near || two);
  if (!fits || given.pixels < kPixels || !is_plain(given.end, given.z))
    return depthwise_wide(given);
  const AssemblyRows tiles = near ? kNear : kTwo;
  const PlainSteps steps(given.end);
  IntegerDepthwise t = given;
  for (; t.channels >= kChannels; t = behind(t, kChannels, 2)) {
    IntegerDepthwise row = t;
    row.pixels = t.pixels / kPixels * kPixels;
    tiles(row, steps);
    if (row.pixels == t.pixels) continue;
    const ptrdiff_t last = t.pixels - kPixels;
    row.x += last * t.x_pixel, row.y = static_cast<char*>(t.y) + last * t.y_pixel;
    row.pixels = kPixels;
    tiles(row, steps);
  }
  if (t.channels) depthwise_wide(t);
}

}  // namespace
}  // namespace linnet

extern "C" {
// Defined by the assembly, local to this object.
#define LINNET_LOCAL __attribute__((visibility("hidden"))) void
#define LINNET_DIRECT(cols) LINNET_LOCAL LINNET_ASM(direct_##cols)(const linnet::DirectTile&)
#define LINNET_ROW(m) LINNET_LOCAL LINNET_ASM(winograd_row_##m)(const linnet::WinogradRow&)
#define LINNET_OUTPUT(m, what) \
  LINNET_LOCAL LINNET_ASM(winograd_output_##m##_##what)(const linnet::WinogradOutput&)
LINNET_DIRECT(1);
LINNET_DIRECT(2);
LINNET_DIRECT(3);
LINNET_DIRECT(4);
LINNET_DIRECT(5);
LINNET_DIRECT(6);
LINNET_LOCAL LINNET_ASM(winograd_input)(const float* x, ptrdiff_t x_row, ptrdiff_t x_col, float* v,
                                        ptrdiff_t v_point);
LINNET_ROW(2);
LINNET_ROW(3);
LINNET_ROW(4);
LINNET_ROW(5);
LINNET_ROW(6);
LINNET_ROW(7);
LINNET_OUTPUT(2, 1);
LINNET_OUTPUT(2, 2);
LINNET_OUTPUT(2, residual);
LINNET_OUTPUT(3, 1);
LINNET_OUTPUT(3, 3);
LINNET_OUTPUT(3, residual);
LINNET_OUTPUT(4, 1);
LINNET_OUTPUT(4, 2);
LINNET_OUTPUT(4, residual);
LINNET_OUTPUT(5, 1);
LINNET_OUTPUT(5, residual);
LINNET_OUTPUT(6, 1);
LINNET_OUTPUT(6, 2);
LINNET_OUTPUT(6, 3);
LINNET_OUTPUT(6, residual);
LINNET_OUTPUT(7, 1);
LINNET_OUTPUT(7, residual);
#define LINNET_INTEGER(cols)                                                                     \
  LINNET_LOCAL LINNET_ASM(integer_##cols)(const linnet::IntegerTile&, const linnet::PlainSteps&, \
                                          linnet::Ints* sums)
LINNET_INTEGER(1);
LINNET_INTEGER(2);
LINNET_INTEGER(3);
LINNET_INTEGER(4);
#define LINNET_INTEGER_DEPTHWISE(stride)                                               \
  LINNET_LOCAL LINNET_ASM(integer_depthwise_##stride)(const linnet::IntegerDepthwise&, \
                                                      const linnet::PlainSteps&)
LINNET_INTEGER_DEPTHWISE(1);
LINNET_INTEGER_DEPTHWISE(2);
}

namespace linnet {
namespace {

// The assembly knows where its arguments lie.
#define LINNET_AT(type, member, in_32, in_64)                             \
  static_assert(offsetof(type, member) == LINNET_ADDRESSES(in_32, in_64), \
                "schedule.py takes it to be there")
LINNET_AT(DirectTile, x, 0, 0);
LINNET_AT(DirectTile, x_col, 4, 8);
LINNET_AT(DirectTile, x_outer, 8, 16);
LINNET_AT(DirectTile, x_middle, 12, 24);
LINNET_AT(DirectTile, outer, 16, 32);
LINNET_AT(DirectTile, middle, 24, 40);
LINNET_AT(DirectTile, inner, 32, 48);
LINNET_AT(DirectTile, w, 40, 56);
LINNET_AT(DirectTile, bias, 48, 72);
LINNET_AT(DirectTile, residual, 52, 80);
LINNET_AT(DirectTile, y, 56, 88);
LINNET_AT(DirectTile, y_col, 60, 96);
LINNET_AT(DirectTile, limits.low, 64, 104);
LINNET_AT(DirectTile, limits.high, 68, 108);
LINNET_AT(DirectTile, pool_cols, 72, 112);
LINNET_AT(DirectTile, pool_merge, 76, 116);
LINNET_AT(Product, points, 0, 0);
LINNET_AT(Product, cols, 8, 8);
LINNET_AT(Product, taps, 16, 16);
LINNET_AT(Product, x, 24, 24);
LINNET_AT(Product, x_point, 28, 32);
LINNET_AT(Product, x_col, 32, 40);
LINNET_AT(Product, w, 36, 48);
LINNET_AT(Product, y, 40, 56);
LINNET_AT(Product, y_point, 44, 64);
LINNET_AT(WinogradRow, m, 0, 0);
LINNET_AT(WinogradRow, m_point, 4, 8);
LINNET_AT(WinogradRow, tiles, 8, 16);
LINNET_AT(WinogradRow, vecs, 16, 24);
LINNET_AT(WinogradRow, z, 20, 32);
LINNET_AT(WinogradRow, z_tile, 24, 40);
LINNET_AT(WinogradRow, z_vec, 28, 48);
LINNET_AT(WinogradOutput, z, 0, 0);
LINNET_AT(WinogradOutput, bias, 4, 8);
LINNET_AT(WinogradOutput, residual, 8, 16);
LINNET_AT(WinogradOutput, y, 12, 24);
LINNET_AT(WinogradOutput, y_row, 16, 32);
LINNET_AT(WinogradOutput, y_col, 20, 40);
LINNET_AT(WinogradOutput, limits.low, 24, 48);
LINNET_AT(WinogradOutput, limits.high, 28, 52);
LINNET_AT(IntegerTile, x, 0, 0);
LINNET_AT(IntegerTile, x_col, 4, 8);
LINNET_AT(IntegerTile, x_outer, 8, 16);
LINNET_AT(IntegerTile, x_middle, 12, 24);
LINNET_AT(IntegerTile, outer, 16, 32);
LINNET_AT(IntegerTile, middle, 20, 40);
LINNET_AT(IntegerTile, inner, 24, 48);
LINNET_AT(IntegerTile, count, 28, 56);
LINNET_AT(IntegerTile, flip, 32, 64);
LINNET_AT(IntegerTile, w, 36, 72);
LINNET_AT(IntegerTile, bias, 40, 80);
LINNET_AT(IntegerTile, scale, 44, 88);
LINNET_AT(IntegerTile, y, 52, 104);
LINNET_AT(IntegerTile, y_col, 56, 112);
LINNET_AT(IntegerDepthwise, x, 0, 0);
LINNET_AT(IntegerDepthwise, flip, 4, 8);
LINNET_AT(IntegerDepthwise, x_row, 12, 24);
LINNET_AT(IntegerDepthwise, x_col, 16, 32);
LINNET_AT(IntegerDepthwise, w, 28, 56);
LINNET_AT(IntegerDepthwise, bias, 36, 72);
LINNET_AT(IntegerDepthwise, scale, 40, 80);
LINNET_AT(IntegerDepthwise, y, 48, 96);
LINNET_AT(IntegerDepthwise, pixels, 52, 104);
LINNET_AT(IntegerDepthwise, y_pixel, 56, 112);

using OutputKernel = void (*)(const WinogradOutput&);

// A pool that does not divide the outputs is never asked for.
template <OutputKernel kPlain, OutputKernel kResidual, OutputKernel kPool2 = kPlain,
          OutputKernel kPool3 = kPlain>
void output(const WinogradOutput& o) {
  if (o.residual) return kResidual(o);
  if (o.pool == 2) return kPool2(o);
  if (o.pool == 3) return kPool3(o);
  kPlain(o);
}

// What both instruction sets have: direct tiles and those of bytes, of some vectors, and Winograd
// transforms.
template <int kVecs>
constexpr void fill_common(Kernels* table) {
  const DirectKernel tiles[] = {LINNET_ASM(direct_1), LINNET_ASM(direct_2), LINNET_ASM(direct_3),
                                LINNET_ASM(direct_4), LINNET_ASM(direct_5), LINNET_ASM(direct_6)};
  for (int cols = 1; cols <= 6; ++cols) table->direct[kVecs][cols] = tiles[cols - 1];
  table->ordered_vecs = kVecs;
  IntegerKernel* bytes = table->bytes.tile[kVecs];
  bytes[1] = integers<kVecs, 1, LINNET_ASM(integer_1)>;
  bytes[2] = integers<kVecs, 2, LINNET_ASM(integer_2)>;
  bytes[3] = integers<kVecs, 3, LINNET_ASM(integer_3)>;
  bytes[4] = integers<kVecs, 4, LINNET_ASM(integer_4)>;
  table->depthwise_wide = {
      depthwise<LINNET_ASM(integer_depthwise_1), LINNET_ASM(integer_depthwise_2)>,
      DepthwiseWide::kGroup};
  table->winograd_input = LINNET_ASM(winograd_input);
  table->winograd_row[2] = LINNET_ASM(winograd_row_2);
  table->winograd_row[3] = LINNET_ASM(winograd_row_3);
  table->winograd_row[4] = LINNET_ASM(winograd_row_4);
  table->winograd_row[5] = LINNET_ASM(winograd_row_5);
  table->winograd_row[6] = LINNET_ASM(winograd_row_6);
  table->winograd_row[7] = LINNET_ASM(winograd_row_7);
#define LINNET_OF(m, what) LINNET_ASM(winograd_output_##m##_##what)
  table->winograd_output[2] = output<LINNET_OF(2, 1), LINNET_OF(2, residual), LINNET_OF(2, 2)>;
  table->winograd_output[3] =
      output<LINNET_OF(3, 1), LINNET_OF(3, residual), LINNET_OF(3, 1), LINNET_OF(3, 3)>;
  table->winograd_output[4] = output<LINNET_OF(4, 1), LINNET_OF(4, residual), LINNET_OF(4, 2)>;
  table->winograd_output[5] = output<LINNET_OF(5, 1), LINNET_OF(5, residual)>;
  table->winograd_output[6] =
      output<LINNET_OF(6, 1), LINNET_OF(6, residual), LINNET_OF(6, 2), LINNET_OF(6, 3)>;
  table->winograd_output[7] = output<LINNET_OF(7, 1), LINNET_OF(7, residual)>;
}

}  // namespace
}  // namespace linnet

#endif

#if defined(LINNET_ISA_neon_vfpv4)

__asm__(
#include "scheduled_a32.inc"
);

extern "C" {
LINNET_LOCAL linnet_a32_gemv_2_f32(const linnet::DirectTile&);
LINNET_LOCAL linnet_a32_gemv_2_f16(const linnet::DirectTile&);
LINNET_LOCAL linnet_a32_product_2(const linnet::Product&);
}

namespace linnet {
namespace {

constexpr bool fill(Kernels* table) {
  fill_common<2>(table);
  table->gemv[static_cast<int>(DType::kF32)][2] = linnet_a32_gemv_2_f32;
  table->gemv[static_cast<int>(DType::kF16)][2] = linnet_a32_gemv_2_f16;
  table->product[2] = linnet_a32_product_2;
  return true;
}

}  // namespace
}  // namespace linnet

#elif defined(LINNET_ISA_neon)

__asm__(
#include "scheduled_a64.inc"
);

extern "C" {
LINNET_LOCAL linnet_a64_product_4(const linnet::Product&);
// Of one row, by kernel, stride and columns.
#define LINNET_DEPTHWISE(kernel, stride, cols) \
  LINNET_LOCAL linnet_a64_depthwise_##kernel##_##stride##_##cols(const linnet::DepthwiseTile&)
#define LINNET_DEPTHWISE_COLS(kernel, stride) \
  LINNET_DEPTHWISE(kernel, stride, 5);        \
  LINNET_DEPTHWISE(kernel, stride, 6);        \
  LINNET_DEPTHWISE(kernel, stride, 7);        \
  LINNET_DEPTHWISE(kernel, stride, 8)
LINNET_DEPTHWISE_COLS(3, 1);
LINNET_DEPTHWISE_COLS(3, 2);
LINNET_DEPTHWISE_COLS(5, 1);
LINNET_DEPTHWISE_COLS(5, 2);
}

namespace linnet {
namespace {

LINNET_AT(DepthwiseTile, x, 0, 0);
LINNET_AT(DepthwiseTile, x_row, 0, 16);
LINNET_AT(DepthwiseTile, x_col, 0, 24);
LINNET_AT(DepthwiseTile, rows, 0, 32);
LINNET_AT(DepthwiseTile, w, 0, 56);
LINNET_AT(DepthwiseTile, w_vec, 0, 64);
LINNET_AT(DepthwiseTile, w_row, 0, 72);
LINNET_AT(DepthwiseTile, vecs, 0, 80);
LINNET_AT(DepthwiseTile, bias, 0, 88);
LINNET_AT(DepthwiseTile, residual, 0, 96);
LINNET_AT(DepthwiseTile, y, 0, 104);
LINNET_AT(DepthwiseTile, y_pixel, 0, 120);
LINNET_AT(DepthwiseTile, limits.low, 0, 128);
LINNET_AT(DepthwiseTile, limits.high, 0, 132);

// Two rows of pixels, one after the other: inputs cost little beside the multiply-adds, and rows
// that share them would need registers of them.
template <DepthwiseKernel kRow>
void two_rows(const DepthwiseTile& given) {
  kRow(given);
  DepthwiseTile t = given;
  t.x += t.row_step * t.x_row, t.y += t.y_row;
  if (t.residual) t.residual += t.y_row;
  kRow(t);
}

template <DepthwiseKernel k5, DepthwiseKernel k6, DepthwiseKernel k7, DepthwiseKernel k8>
constexpr void fill_depthwise(DepthwiseTiles* tiles, bool pairs) {
  DepthwiseKernel* one = tiles->tile[1];
  one[5] = k5, one[6] = k6, one[7] = k7, one[8] = k8;
  DepthwiseKernel* two = tiles->tile[2];
  if (pairs)
    two[5] = two_rows<k5>, two[6] = two_rows<k6>, two[7] = two_rows<k7>, two[8] = two_rows<k8>;
}

constexpr bool fill(Kernels* table) {
#define LINNET_A64(kernel, stride)                                                                 \
  fill_depthwise<                                                                                  \
      linnet_a64_depthwise_##kernel##_##stride##_5, linnet_a64_depthwise_##kernel##_##stride##_6,  \
      linnet_a64_depthwise_##kernel##_##stride##_7, linnet_a64_depthwise_##kernel##_##stride##_8>( \
      &table->depthwise[kernel][stride], kernel == 3)
  LINNET_A64(3, 1);
  LINNET_A64(3, 2);
  LINNET_A64(5, 1);
  LINNET_A64(5, 2);
  fill_common<4>(table);
  table->product[4] = linnet_a64_product_4;
  return true;
}

}  // namespace
}  // namespace linnet

#else

namespace linnet {
namespace {
constexpr bool fill(Kernels*) { return false; }
}  // namespace
}  // namespace linnet

#endif

LINNET_EXPORT_RETURNING(bool, scheduled)(linnet::Kernels* table) { return linnet::fill(table); }
