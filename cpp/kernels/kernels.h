// The table where algorithms and instruction sets meet: one ISA's micro-kernels and their tile
// sizes.
//
// Algorithms receive a `const Kernels&` and never know which ISA they run on; an ISA knows nothing
// of algorithms. Each kernel family is one body file compiled once per ISA; every such object
// exports exactly one symbol, which fills its part of the table. Nothing else may leave an ISA
// object: a weak (template or inline) symbol compiled with AVX flags could be picked by the linker
// for the whole program and kill a baseline CPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../core/activation.h"
#include "../core/dtype.h"

namespace linnet {

// One output tile of a direct convolution: `cols` neighbouring output pixels of one row by `vecs`
// vectors of output channels, all kept in registers over the whole reduction. The reduction walks
// outer x middle x inner taps; inner taps are contiguous in the input. A fully connected layer is
// the same tile with images in place of pixels.
//   acc[p][k] = init[p][k] + sum over taps of x[p * x_col + tap] * w[tap][k]
// All strides count elements. `y` has channels contiguous; stores cover whole vectors, so its rows
// are padded to them. There is at least one tap; a residual goes with pool_cols 1 and no
// pool_merge.
struct DirectTile {
  const float* x;      // first tap of the first pixel
  ptrdiff_t x_col;     // from one output pixel to the next
  ptrdiff_t x_outer;   // from one outer tap to the next
  ptrdiff_t x_middle;  // from one middle tap to the next
  int64_t outer, middle, inner;
  const void* w;       // [outer][middle][inner][vecs * width]; floats unless the kernel says else
  const float* scale;  // vecs * width, for int8 weights
  const float* bias;   // vecs * width
  // Added before the activation, laid out like y; nullptr for none. It may be y: a reduction split
  // over calls, whose sums stay short, and with them the error.
  const float* residual;
  float* y;
  ptrdiff_t y_col;  // from one stored pixel to the next
  Limits limits;
  // Max pooling in registers: groups of pool_cols neighbouring pixels reduce to one stored pixel
  // (1, 2 or 3; cols is a multiple). With pool_merge the result is merged by max into what y holds:
  // later rows of the same window.
  int pool_cols;
  bool pool_merge;
  // Weights skipped after each turn of the middle loop and of the outer one, so that they are read
  // in several places by turns; 0 where `weight_places` is 1.
  ptrdiff_t w_middle = 0, w_outer = 0;
};
using DirectKernel = void (*)(const DirectTile&);

constexpr int kMaxTileVecs = 8;
constexpr int kMaxTileCols = 16;
constexpr int kMaxWidth = 16;  // floats of a vector

// Matrix products, one for each point of a transform domain, with results of `vecs` vectors:
//   y[point][col][lane] = sum over taps of x[point][col][tap] * w[point][tap][lane]
struct Product {
  int points;
  int64_t cols, taps;
  const float* x;  // taps contiguous
  ptrdiff_t x_point, x_col;
  const float* w;  // contiguous, aligned to kAlignment
  float* y;        // columns contiguous
  ptrdiff_t y_point;
};

// Neighbouring output pixels of a depthwise convolution, one row of them or two, for some vectors
// of channels, which meet only weights of their own:
//   y[p][v] = bias[v] + sum over i, j of x[p * x_pixel + i * x_row + j * x_col][v] * w[v][i][j]
// Or of one with groups of `members` channels, several to a vector: those of a group take turns, so
// that channel c of a group meets number (c + r) % members of it with the weights w[v][i][j][r].
struct DepthwiseTile {
  const float* x;          // first tap of the first pixel
  ptrdiff_t x_pixel;       // from one output pixel to the next
  ptrdiff_t x_row, x_col;  // from one tap to the next, dilation included
  ptrdiff_t rows, cols;    // taps
  // Two rows of pixels: how many x_row the second's taps lie below the first's; 1..rows.
  ptrdiff_t row_step;
  const float* w;  // [vecs][rows][cols][members][width], with these strides
  ptrdiff_t w_vec, w_row;
  ptrdiff_t vecs;
  const float* bias;      // of all vectors
  const float* residual;  // added before the activation, laid out like y; nullptr for none
  float* y;
  ptrdiff_t y_row, y_pixel;
  Limits limits;
  int members;  // of a group: 2, 4, 8 of fewer than a vector; 1 if each channel is one
};
using DepthwiseKernel = void (*)(const DepthwiseTile&);

constexpr int kMaxDepthwiseRows = 2, kMaxDepthwiseCols = 8;
constexpr int kMaxDepthwiseKernel = 7, kMaxDepthwiseStride = 2;
// By rows and columns of pixels. There are tiles of 1..cols[rows] columns; with 0, none.
struct DepthwiseTiles {
  int cols[kMaxDepthwiseRows + 1];
  DepthwiseKernel tile[kMaxDepthwiseRows + 1][kMaxDepthwiseCols + 1];
};

// One row of pooling windows over channels-last data.
struct PoolRow {
  const float* x;  // first element of the first window's first valid row, at column 0 of the image
  ptrdiff_t x_row, x_col;  // between window rows (dilation included) and between pixels
  int rows;                // window rows inside the image
  int64_t w;               // image width in pixels
  int kernel_w, stride_w, dilation_w, pad_l, pad_r;
  int64_t channels;  // padded to the vector width
  float* y;
  ptrdiff_t y_col;
  int64_t out_w;
  // Average only: window rows that count towards the divisor (rows inside image, or image plus
  // padding).
  int divisor_rows;
  bool include_pad;
};

// Weighted sums of `taps` spans of `count` numbers, `outputs` of them: number i of sum o is that of
// weights[o * taps + t] * x[places[o * taps + t] + i], at y[o * y_step + i].
struct Resampling {
  const float* x;
  const int64_t* places;
  const float* weights;
  int64_t taps, outputs;
  int64_t count;  // a multiple of the vector width
  float* y;
  ptrdiff_t y_step;
};

// A row of an image of bytes whose numbers lie between those of two rows, channels last: `share` /
// 2048 of the way from the first to the second. Pixel o lies shares[o] / 2048 of the way from the
// column places[2 * o] to the column places[2 * o + 1]:
//   y = floor((sum of the four times their shares + 2^21) / 2^22)
// `sums` has room for a line.
struct IntegerResampling {
  const uint8_t* rows[2];
  int32_t share;
  uint8_t flip;  // 0x80 where they are signed
  int64_t line;  // numbers of a row; this and `count` are multiples of the vector width
  int32_t* sums;
  const int64_t* places;
  const int32_t* shares;
  int64_t outputs, count;
  uint8_t* y;
  ptrdiff_t y_step;
};

// What rows[0] x rows[1] rows, so far apart, of `count` numbers come to, times `scale`.
struct Reduction {
  const float* x;
  int64_t rows[2];
  ptrdiff_t step[2];
  int64_t count;
  float scale;
  float* y;
};

// One row of pooling windows over a plane: a row of one channel, all of it in memory side by side.
// The window's rows are reduced to a line, which is divided into `stride` lines of every stride-th
// number, so that neighbouring windows have neighbours for their taps.
struct PoolPlane {
  const float* x;   // first number of the first window's first valid row
  ptrdiff_t x_row;  // between window rows
  int64_t rows;     // window rows inside the image; at least one
  int64_t w;        // numbers of a row that windows reach
  int64_t pad_l;
  int64_t columns;  // numbers that windows reach, padding included
  int64_t stride;
  float* line;          // scratch: columns + 4 vectors
  float* lines;         // scratch, for a stride above 1: stride * length
  int64_t length;       // columns / stride, and 2 vectors at least
  const int32_t* taps;  // where the taps of a window begin: in `lines`, with stride 1 in `line`
  int64_t kernel;       // taps in a row
  float* y;
  int64_t out_w;
  // Average only: one over the columns that count towards each divisor, out_w rounded up to whole
  // vectors, and the rows.
  const float* scales;
  int64_t divisor_rows;
};

// The first half of the output transform: of the 8 products of row i of some 8x8 Winograd tiles,
// vectors of channels, to m numbers each.
struct WinogradRow {
  const float* m;  // product j of vector v of tile t at m[j * m_point + (t * vecs + v) * width]
  ptrdiff_t m_point;
  int64_t tiles;
  int vecs;
  float* z;  // number j of vector v of tile t at z[t * z_tile + v * z_vec + j * width]
  ptrdiff_t z_tile, z_vec;
};

// The second half, of one tile and vector of channels: to m x m pixels, or their max pool.
struct WinogradOutput {
  const float* z;     // number j of row i at z[(i * m + j) * width]
  const float* bias;  // one vector
  // Added before the activation, laid out like y; nullptr for none. Not with a pool.
  const float* residual;
  float* y;  // top left pixel stored
  ptrdiff_t y_row, y_col;
  Limits limits;
  int pool;  // 1, or 2 or 3 dividing m: windows of that size and stride are stored
};

// Output transform in one dimension: the products of some tiles of one row, vectors of channels, to
// m neighbouring pixels each, or their maxima.
constexpr int kMaxLineOutputs = 6;
struct WinogradLine {
  const float* m;  // product j of vector v of tile t at m[j * m_point + (t * vecs + v) * width]
  ptrdiff_t m_point;
  int64_t tiles;
  int vecs;
  const float* bias;  // of all vectors
  // Added before the activation, laid out like y; nullptr for none. Not with a pool.
  const float* residual;
  float* y;
  ptrdiff_t y_col;  // from one stored pixel to the next
  int last;         // pixels stored of the last tile; of the others all
  Limits limits;
  int pool;    // as in WinogradOutput, along the row
  bool merge;  // into what y holds, by max: later rows of the same window
};

// Sums of squares of some numbers of each channel of transformed tiles.
struct Energy {
  const float* v;         // the first vector of channels of the first tile
  const int32_t* points;  // where the numbers lie from there
  int count;              // of points, a multiple of 2
  int64_t vecs;           // vectors of channels, side by side
  int64_t tiles;
  ptrdiff_t tile;  // from one to the next
};

// Fourier transform of a tile of 8x8 or 16x16 pixels, one vector of channels; the order of the
// results: fourier_points.h, but that each complex number is stored as Kernels::fourier_stored
// numbers: its parts and, where those are 3, their sum.
struct FourierInput {
  const float* x;  // top left pixel of the tile, which may lie outside the image
  ptrdiff_t x_row, x_col;
  int first_row, last_row, first_col,
      last_col;  // the part inside the image; the rest is taken as zero
  float* v;      // number i of column j at v[j * v_column + i * kFourierChunk]
  ptrdiff_t v_column;
};

// Products of some frequencies of a column, first real then complex ones, of a few tiles with one
// vector of output channels:
//   m[tile][number][lane] = sum over c of v[tile][c / kFourierChunk][number][c % kFourierChunk]
//   times u[number][c][lane],
// where the two parts of a complex weight are neighbours: u[frequency][c][part][lane].
struct FourierProduct {
  int real, complex;
  const float* v;
  ptrdiff_t v_tile, v_chunk;
  int64_t channels;
  const float* u;
  float* m;
  ptrdiff_t m_tile;
};
constexpr int kMaxFourierTiles = 12;

// The way back, to the tile's first `rows` x `cols` pixels, which are multiples of the pool window.
struct FourierOutput {
  const float* m;     // as FourierProduct::m; divided by the pixels of the tile beforehand
  const float* bias;  // one vector
  // Added before the activation, laid out like y; nullptr for none. Not with a pool.
  const float* residual;
  float* y;
  ptrdiff_t y_row, y_col;
  Limits limits;
  int rows, cols;
  int pool_rows, pool_cols;  // a max pool of this window and stride follows; 1 for none
};

// Rows of numbers that lie side by side, to which a function of one input or two is applied: f(x)
// or f(x, z), kept within limits; y may equal x or z.
struct MapRows {
  const float *x, *z;
  float* y;
  int64_t rows, count;
  ptrdiff_t x_row, z_row, y_row;
  bool z_one;  // z has one number for a row
  // Rows have room for whole vectors, whose lanes beyond the row are or become zeros.
  bool padded;
  Function function;
  Limits limits;
};

// Rows that are normalised each on its own, by what neighbours along it come to; y may equal x
// where each number needs the whole row.
struct NormalizeRows {
  const float* x;
  float* y;
  int64_t rows, count;  // numbers of a row lie side by side
  ptrdiff_t x_row, y_row;
  int64_t size;   // neighbours, itself included
  float a, b, c;  // as family::Normalize has them
};

// What sums of products of integers become (see IntegerTile and IntegerDepthwise), in this order:
//   v = float(sum) * scale of the channel, rounded to nearest even and kept within low and high,
//   plus zero,
// which is ONNX's QLinearConv; or, where y is float32, v kept within the limits. Where there are
// integers of a result between, the scaled sums become those first: rounded and kept within
// between_low and between_high they are multiplied by `factor`. A residual z is added then, as
// z_factor * (z - z_zero).
struct Rounding {
  float low, high;  // whole numbers, counted from the zero point; reals of a float32 result
  int32_t zero;
  bool real;     // y is float32
  bool between;  // there are integers between
  float between_low, between_high;
  float factor, z_factor;
  float z_zero;   // counted as z is after its flip
  uint32_t flip;  // 0x80808080 where z is signed: then bytes of z are turned to unsigned ones
};

// Output pixels of a convolution of integers, for some vectors of output channels:
//   sum[p][v] = bias[v] + sum over taps of x[p * x_col + tap] * w[tap][v]
// Taps are groups of neighbouring numbers of x, which weights are packed for: see IntegerTiles.
// Steps of x are bytes.
struct IntegerTile {
  const void* x;
  ptrdiff_t x_col, x_outer, x_middle;
  ptrdiff_t outer, middle, inner;  // inner: groups
  ptrdiff_t count;                 // such tiles, side by side
  uint32_t flip;                   // of bytes: what turns them to those that the tile takes
  const void* w;                   // [outer][middle][inner][vecs][width][group]
  const int32_t* bias;
  const float* scale;
  const void* z;  // residual, laid out like y; nullptr for none
  void* y;
  ptrdiff_t y_col;  // numbers
  Rounding end;
};
struct IntegerDepthwise;
// A depthwise tile, and how many rows it takes at once: 4 of int8 or 2 of int16 weights.
struct DepthwiseIntegers {
  void (*run)(const IntegerDepthwise&);  // null where there is none
  int rows;
};
using IntegerKernel = void (*)(const IntegerTile&);

// Tiles that take groups of so many numbers at once. Either x is int16, of numbers less their zero
// point, and weights are int16; or bytes, and weights are int8.
struct IntegerTiles {
  int vecs;  // 0 where there are none
  int cols[kMaxTileVecs + 1];
  IntegerKernel tile[kMaxTileVecs + 1][kMaxTileCols + 1];
  int group;
  bool by_lane;    // weights of a vector are [width][group]; else [group][width]
  bool is_signed;  // bytes are taken as int8, else as unsigned
  // Two products are summed in int16, which holds all but 2 * 128 * 128. Weights of a vector are
  // [width][width][2], the group as pairs: turn r has that of each lane which is r further on,
  // round and round; turns 0 and 1, 2 and 3 are summed.
  bool pairs;
};

// Neighbouring output pixels of a depthwise convolution of integers, for some channels.
struct IntegerDepthwise {
  const uint8_t* x;                 // first tap of the first pixel
  uint8_t flip;                     // 0x80 where x is signed
  ptrdiff_t x_pixel, x_row, x_col;  // from one output pixel to the next, from one tap to the next
  ptrdiff_t rows, cols;             // taps
  // [vectors][groups of rows][cols][width][rows], the rows of a group being int8 or, of two, int16.
  const void* w;
  ptrdiff_t channels;  // whole vectors
  const int32_t* bias;
  const float* scale;
  const void* z;  // residual, laid out like y; nullptr for none
  void* y;
  ptrdiff_t pixels, y_pixel;
  Rounding end;
};

// Bytes side by side that stand for real numbers, and what becomes of them.
struct IntegerSteps {
  uint8_t x_flip, z_flip;  // 0x80 where they are signed
  float x_zero, z_zero;    // counted as they are after their flip
  float scale, z_scale;
  float low, high;
  int32_t zero;
};
struct IntegerRows : IntegerSteps {
  const void *x, *z;
  void* y;
  int64_t count;
  const uint8_t* table;  // of 256
};

// Windows of bytes, one row of them over channels-last data: the largest, or sums that are
// requantized.
struct IntegerPool {
  const uint8_t* x;  // first tap
  uint8_t flip;
  ptrdiff_t x_row, x_col;
  int64_t rows, cols;  // taps inside the image
  int64_t channels;
  uint8_t* y;
  float scale;   // of an average: of y's steps for one of x's sums
  int32_t bias;  // of sums
  float low, high;
  int32_t zero;
};

struct Kernels {
  const char* isa;  // "scalar", "avx2", "avx512", "neon_vfpv4" or "neon"; see dispatch.cpp
  int width;        // floats per vector; channels-last rows are padded to a multiple of it

  // direct[vecs][cols], for vecs in 1..direct_vecs and cols in 1..direct_cols[vecs].
  int direct_vecs;
  int direct_cols[kMaxTileVecs + 1];
  DirectKernel direct[kMaxTileVecs + 1][kMaxTileCols + 1];
  void (*product[kMaxTileVecs + 1])(const Product&);  // by vecs, in tiles like direct's
  // Of how many vectors direct tiles and products are that are ordered for this core; 0 for none.
  int ordered_vecs;
  int weight_places;  // in so many places at once is most read from memory
  // Like direct with cols = 1 but for memory-bound products: many vectors of one pixel, weights
  // prefetched. For each type of weights.
  int gemv_vecs;  // 1..gemv_vecs are filled
  DirectKernel gemv[kWeightTypes][kMaxTileVecs + 1];
  // Weights [taps][vecs * width] of a type as floats; `scale` as in DirectTile. Null for kF32.
  void (*expand[kWeightTypes])(const void* w, const float* scale, float* out, int64_t taps,
                               int64_t vecs);

  // depthwise[0][0] takes any window, one row of pixels. Others, by columns of the window and
  // stride, load an input once for all pixels of a tile that it meets: x_pixel is stride * x_col.
  DepthwiseTiles depthwise[kMaxDepthwiseKernel + 1][kMaxDepthwiseStride + 1];
  // The same for groups, where vectors hold several; one row of pixels.
  DepthwiseTiles grouped[kMaxDepthwiseKernel + 1][kMaxDepthwiseStride + 1];

  void (*max_pool_row)(const PoolRow&);
  void (*average_pool_row)(const PoolRow&);
  void (*resample)(const Resampling&);
  void (*reduce_rows[kReduceKernels])(const Reduction&);  // count results, one of each column
  void (*reduce_all[kReduceKernels])(const Reduction&);   // a single result
  void (*max_pool_plane)(const PoolPlane&);
  void (*average_pool_plane)(const PoolPlane&);
  void (*map[kMapCodes])(const MapRows&);  // by code; null for what only direct-ref does
  void (*normalize[kNormalizeCodes])(const NormalizeRows&);
  // Any type as any other: floats towards zero and within what an integer holds, NaN as 0; integers
  // by their low bits; truth values as 0 and 1. x and y lie apart.
  void (*cast)(DType from, DType to, const void* x, void* y, int64_t count);

  // 8x8 Winograd tiles: v[(8 * i + j) * v_point] = point (i, j) of the patch whose top left pixel
  // is x, one vector of channels; and the way back to m x m pixels, for m in 2..7.
  void (*winograd_input)(const float* x, ptrdiff_t x_row, ptrdiff_t x_col, float* v,
                         ptrdiff_t v_point);
  void (*winograd_row[8])(const WinogradRow&);
  void (*winograd_output[8])(const WinogradOutput&);

  // The same in one dimension, by the number of pairs of points, 3 to 5: of 2 * pairs + 2 pixels,
  // `vecs` neighbouring vectors each, to v[j * v_point]; and back to m pixels.
  void (*winograd_line_input[6])(const float* x, ptrdiff_t x_col, int64_t vecs, float* v,
                                 ptrdiff_t v_point);
  void (*winograd_line[6][kMaxLineOutputs + 1])(const WinogradLine&);

  // For each tile the largest sum of all channels, NaN if one is, and all of them together; and
  // each channel's of one tile.
  void (*energy)(const Energy&, float* most, float* total);
  void (*energies)(const Energy&, float* each);
  // The largest square, NaN if one is, and their sum: of `runs` times `count` neighbours.
  void (*squares)(const float* x, int64_t runs, int64_t count, ptrdiff_t run, float* most,
                  float* total);

  // Tiles of 8x8 and of 16x16.
  void (*fourier_input[2])(const FourierInput&);
  int fourier_tiles;   // fourier_product[1..fourier_tiles] take that many tiles
  int fourier_stored;  // numbers of a transformed input for each complex one
  void (*fourier_product[kMaxFourierTiles + 1])(const FourierProduct&);
  void (*fourier_output[2])(const FourierOutput&);

  // Integers. `wide` tiles read int16, `bytes` ones, where the CPU has products of them, bytes.
  IntegerTiles wide, bytes;
  void (*widen)(const uint8_t* x, uint8_t flip, int32_t zero, int16_t* y, int64_t count);
  DepthwiseIntegers depthwise_wide, depthwise_bytes;
  void (*quantize)(const IntegerRows&);    // floats to bytes: x / scale, rounded
  void (*dequantize)(const IntegerRows&);  // bytes to floats
  void (*look_up)(const IntegerRows&);     // y = table[x]
  void (*integer_add)(const IntegerRows&);
  void (*integer_multiply)(const IntegerRows&);
  void (*integer_max)(const IntegerPool&);
  void (*integer_average)(const IntegerPool&);
  void (*integer_resample)(const IntegerResampling&);

  // As many multiply-adds as this core can do, in registers; returns the number of operations.
  double (*peak)(int64_t turns, float* sink);

  // Multiply-adds times two the core can retire per cycle, for estimates and percent of peak.
  double flops_per_cycle;
};

// The table of the named ISA, or of the best one this CPU has for an empty name or nullptr. Throws
// std::invalid_argument for an unknown name and std::runtime_error, naming what is missing, for one
// this CPU cannot run.
const Kernels& kernels_for(const char* isa);

// Names of the ISAs this CPU can run among those compiled in, best first, nullptr-terminated.
const char* const* available_isas();

// Why this program is of no use on this CPU, as a sentence; nullptr where it is. A 32-bit ARM CPU
// without NEON and VFPv4 is refused unless LINNET_ISA is set.
const char* cpu_problem();

}  // namespace linnet
