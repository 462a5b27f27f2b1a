// Kernels ordered for in-order ARM cores, in place of those the compiler made. schedule.py writes
// the assembly and says how. An instruction set without any leaves its table as it is.
#include "integer.h"

#if defined(LINNET_ISA_neon_vfpv4)

__asm__(
#include "scheduled_a32.inc"
);

extern "C" {
// Defined by the assembly, local to this object.
#define LINNET_LOCAL __attribute__((visibility("hidden"))) void
#define LINNET_DIRECT(cols) LINNET_LOCAL linnet_a32_direct_##cols(const linnet::DirectTile&)
#define LINNET_ROW(m) LINNET_LOCAL linnet_a32_winograd_row_##m(const linnet::WinogradRow&)
#define LINNET_OUTPUT(m, what) \
  LINNET_LOCAL linnet_a32_winograd_output_##m##_##what(const linnet::WinogradOutput&)
LINNET_DIRECT(1);
LINNET_DIRECT(2);
LINNET_DIRECT(3);
LINNET_DIRECT(4);
LINNET_DIRECT(5);
LINNET_DIRECT(6);
#define LINNET_INTEGER(cols)                                                               \
  LINNET_LOCAL linnet_a32_integer_##cols(const char* x, ptrdiff_t groups, ptrdiff_t x_col, \
                                         const char* w, int32_t* sums)
LINNET_INTEGER(1);
LINNET_INTEGER(2);
LINNET_INTEGER(3);
LINNET_INTEGER(4);
LINNET_INTEGER(5);
LINNET_INTEGER(6);
LINNET_LOCAL linnet_a32_gemv_2_f32(const linnet::DirectTile&);
LINNET_LOCAL linnet_a32_gemv_2_f16(const linnet::DirectTile&);
LINNET_LOCAL linnet_a32_product_2(const linnet::Product&);
LINNET_LOCAL linnet_a32_winograd_input(const float* x, ptrdiff_t x_row, ptrdiff_t x_col, float* v,
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
}

namespace linnet {
namespace {

// The assembly knows where its arguments lie.
#define LINNET_AT(type, member, at) \
  static_assert(offsetof(type, member) == at, "schedule.py takes it to be there")
LINNET_AT(DirectTile, x, 0);
LINNET_AT(DirectTile, x_col, 4);
LINNET_AT(DirectTile, x_outer, 8);
LINNET_AT(DirectTile, x_middle, 12);
LINNET_AT(DirectTile, outer, 16);
LINNET_AT(DirectTile, middle, 24);
LINNET_AT(DirectTile, inner, 32);
LINNET_AT(DirectTile, w, 40);
LINNET_AT(DirectTile, bias, 48);
LINNET_AT(DirectTile, residual, 52);
LINNET_AT(DirectTile, y, 56);
LINNET_AT(DirectTile, y_col, 60);
LINNET_AT(DirectTile, limits.low, 64);
LINNET_AT(DirectTile, limits.high, 68);
LINNET_AT(DirectTile, pool_cols, 72);
LINNET_AT(DirectTile, pool_merge, 76);
LINNET_AT(Product, points, 0);
LINNET_AT(Product, cols, 8);
LINNET_AT(Product, taps, 16);
LINNET_AT(Product, x, 24);
LINNET_AT(Product, x_point, 28);
LINNET_AT(Product, x_col, 32);
LINNET_AT(Product, w, 36);
LINNET_AT(Product, y, 40);
LINNET_AT(Product, y_point, 44);
LINNET_AT(WinogradRow, m, 0);
LINNET_AT(WinogradRow, m_point, 4);
LINNET_AT(WinogradRow, tiles, 8);
LINNET_AT(WinogradRow, vecs, 16);
LINNET_AT(WinogradRow, z, 20);
LINNET_AT(WinogradRow, z_tile, 24);
LINNET_AT(WinogradRow, z_vec, 28);
LINNET_AT(WinogradOutput, z, 0);
LINNET_AT(WinogradOutput, bias, 4);
LINNET_AT(WinogradOutput, residual, 8);
LINNET_AT(WinogradOutput, y, 12);
LINNET_AT(WinogradOutput, y_row, 16);
LINNET_AT(WinogradOutput, y_col, 20);
LINNET_AT(WinogradOutput, limits.low, 24);
LINNET_AT(WinogradOutput, limits.high, 28);

// A tile of integers whose runs of products are in assembly.
using IntegerRun = void (*)(const char* x, ptrdiff_t groups, ptrdiff_t x_col, const char* w,
                            int32_t* sums);
template <int kCols, IntegerRun kRun>
void integers(const IntegerTile& t) {
  Ints acc[kCols][2];
  for (int p = 0; p < kCols; ++p) {
    for (int v = 0; v < 2; ++v) acc[p][v] = load_ints(t.bias + v * kWidth);
  }
  const char* w = static_cast<const char*>(t.w);
  const char* outer = static_cast<const char*>(t.x);
  for (ptrdiff_t o = 0; o < t.outer; ++o, outer += t.x_outer) {
    const char* middle = outer;
    for (ptrdiff_t m = 0; m < t.middle; ++m, middle += t.x_middle, w += t.inner * 64)
      kRun(middle, t.inner, t.x_col, w, reinterpret_cast<int32_t*>(acc));
  }
  if (is_plain(t.end, t.z)) {
    const Plain<2> plain(t.end);
    char* y = static_cast<char*>(t.y);
    for (int p = 0; p < kCols; ++p, y += t.y_col) plain.pixel(acc[p], y);
    return;
  }
  requantize<2, kCols>(acc, t.end, t.z, t.y, t.y_col);
}

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

constexpr bool fill(Kernels* table) {
  const DirectKernel tiles[] = {linnet_a32_direct_1, linnet_a32_direct_2, linnet_a32_direct_3,
                                linnet_a32_direct_4, linnet_a32_direct_5, linnet_a32_direct_6};
  for (int cols = 1; cols <= 6; ++cols) table->direct[2][cols] = tiles[cols - 1];
  table->wide.cols[2] = 6;
  table->wide.tile[2][1] = integers<1, linnet_a32_integer_1>;
  table->wide.tile[2][2] = integers<2, linnet_a32_integer_2>;
  table->wide.tile[2][3] = integers<3, linnet_a32_integer_3>;
  table->wide.tile[2][4] = integers<4, linnet_a32_integer_4>;
  table->wide.tile[2][5] = integers<5, linnet_a32_integer_5>;
  table->wide.tile[2][6] = integers<6, linnet_a32_integer_6>;
  table->gemv[static_cast<int>(DType::kF32)][2] = linnet_a32_gemv_2_f32;
  table->gemv[static_cast<int>(DType::kF16)][2] = linnet_a32_gemv_2_f16;
  table->product[2] = linnet_a32_product_2;
  table->winograd_input = linnet_a32_winograd_input;
  table->winograd_row[2] = linnet_a32_winograd_row_2;
  table->winograd_row[3] = linnet_a32_winograd_row_3;
  table->winograd_row[4] = linnet_a32_winograd_row_4;
  table->winograd_row[5] = linnet_a32_winograd_row_5;
  table->winograd_row[6] = linnet_a32_winograd_row_6;
  table->winograd_row[7] = linnet_a32_winograd_row_7;
#define LINNET_A32(m, what) linnet_a32_winograd_output_##m##_##what
  table->winograd_output[2] = output<LINNET_A32(2, 1), LINNET_A32(2, residual), LINNET_A32(2, 2)>;
  table->winograd_output[3] =
      output<LINNET_A32(3, 1), LINNET_A32(3, residual), LINNET_A32(3, 1), LINNET_A32(3, 3)>;
  table->winograd_output[4] = output<LINNET_A32(4, 1), LINNET_A32(4, residual), LINNET_A32(4, 2)>;
  table->winograd_output[5] = output<LINNET_A32(5, 1), LINNET_A32(5, residual)>;
  table->winograd_output[6] =
      output<LINNET_A32(6, 1), LINNET_A32(6, residual), LINNET_A32(6, 2), LINNET_A32(6, 3)>;
  table->winograd_output[7] = output<LINNET_A32(7, 1), LINNET_A32(7, residual)>;
  return true;
}

}  // namespace
}  // namespace linnet

#elif defined(LINNET_ISA_neon)

__asm__(
#include "scheduled_a64.inc"
);

extern "C" __attribute__((visibility("hidden"))) void linnet_a64_product_4(const linnet::Product&);

namespace linnet {
namespace {

// The assembly knows where its arguments lie.
static_assert(offsetof(Product, points) == 0 && offsetof(Product, cols) == 8 &&
              offsetof(Product, taps) == 16 && offsetof(Product, x) == 24 &&
              offsetof(Product, x_point) == 32 && offsetof(Product, x_col) == 40 &&
              offsetof(Product, w) == 48 && offsetof(Product, y) == 56 &&
              offsetof(Product, y_point) == 64);

constexpr bool fill(Kernels* table) {
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
