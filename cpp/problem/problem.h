// Problem: everything that can change how fast one (fused) layer runs, with one canonical text
// form.
//
// The text form, `key()`, is what a wisdom file, a test, a bench argument and a log line call a
// layer. Grammar, version 3 (fields in this order, separated by one space; [x] is optional, and
// left out where it has its default):
//
//   KIND f32 nBATCH cChHyWx [kOUT] [rRxS[sS][pT,L,B,R][dD]] [atCHANNEL] [wTYPE] [gGROUPS] [ceil]
//   [pads] [axisK] [add|addCxHxW[c]] [relu] [maxpoolPxQ] LAYOUT tTHREADS
//
//   KIND     conv, fc, maxpool, avgpool, add, relu, softmax, reorder
//   r..      window: RxS, stride sN or sNxM, padding p, dilation dN or dNxM
//   kOUT     output channels. For reorder: of an image of more channels than the input, which is
//            written to those from CHANNEL (default 0) on; the others stay
//   wTYPE    how the weights are stored: wf16 or wint8, for fc and an ungrouped conv of 1x1
//   ceil     a pool's last partial window counts; pads: padding counts in an average's divisor
//   add      conv/fc: a residual of the output's shape is added before the activation.
//            addCxHxW (kind add only): the second operand's shape where it broadcasts; c: one for
//            all images
//   maxpoolPxQ   conv: a following max pool of that window and stride, no padding
//   softmax  axisK: 1 (channels) to 3
//   LAYOUT   nchw, nhwc, or IN>OUT where they differ
//
// Example: conv f32 n1 c16h41w41 k48r6x6 relu maxpool3x3 nhwc t4
#pragma once

#include <string>

#include "core/types.h"

namespace linnet {

enum class Kind : uint8_t {
  kConv,
  kFullyConnected,
  kMaxPool,
  kAveragePool,
  kAdd,
  kRelu,
  kSoftmax,
  kReorder
};

struct Problem {
  Kind kind = Kind::kConv;
  int64_t n = 1;
  Dims in;        // of one image
  int64_t k = 0;  // output channels of conv and fc; of a reorder that writes a part of them, else 0
  Window window;  // conv and pools; a global pool's kernel is the whole image
  DType weights = DType::kF32;
  int64_t groups = 1;
  int axis = 1;       // softmax
  int64_t first = 0;  // reorder: channel of the output that the input's first one becomes
  bool relu = false;
  bool residual = false;          // conv, fc: a residual is added before the activation
  Dims operand;                   // kind add: dims of the second operand, each 1 or the first's
  bool operand_constant = false;  // kind add: one operand for all images of the batch
  int64_t pool[2] = {1, 1};       // fused max pool after a conv: window and stride
  Layout in_layout = Layout::kNchw, out_layout = Layout::kNchw;
  int threads = 1;

  // Dims of the convolution's own output, before a fused pool; for other kinds the same as out().
  Dims conv_out() const;
  Dims out() const;
  // Multiply-adds of a conv or fc for the whole batch; 0 for other kinds.
  double macs() const;
  bool pooled() const { return pool[0] > 1 || pool[1] > 1; }

  std::string key() const;
  // Throws std::invalid_argument naming the field.
  static Problem parse(const std::string& key);
};

const char* to_string(Kind kind);

}  // namespace linnet
