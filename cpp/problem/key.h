// The text form of a Problem, by which a wisdom file, a test, a bench argument and a log line call
// a layer: Problem::key() and Problem::parse().
//
// Fields are words in this order; [x] is optional, and left out where it has its default:
//
//   KIND TYPE nBATCH cChHwW PARAMETERS [RESULTS] LAYOUT tTHREADS
//
//   KIND         PARAMETERS
//   conv         kOUT WINDOW [wTYPE] [gGROUPS]
//   matmul       kOUT [wTYPE]
//   pool         WINDOW max|average [ceil] [pads]
//   map          [FUNCTION[:A[,B]]] [zCxHxW[c][/PITCH]]
//   normalize    FUNCTION axisK [sizeN,A,B,C]
//   move         [kOUT] [atCHANNEL] [stepsIMAGE:COUNTxSTEP,COUNTxSTEP...]
//   resize       toHxW nearest|linear|cubic [COORDINATES] [ROUNDING] [scaleH,W] [roiT,L,B,R]
//                [coeffA] [antialias] [exclude_outside] [outsideV], as ONNX's Resize has them
//   reduce       FUNCTION ofAXES [topN]: some of c, h and w; of a place how many, the best first
//   gather       rowsN [elements] byTYPE[c]: of x's rows those that numbers of that type name; c:
//   one
//                z for all images
//   detect       kROWS classesN [butCLASS] [centers] [priors] [own] [planar] [pixels] [clip]
//                [grouped] [candidatesN] [eachN] [togetherN] scoreV overlapV [etaV]
//   regions      kREGIONS toHxW max|own|samples|maxsample [eachN] [imagesN] [scaleV] [offsetV]
//   sample       toHxW nearest|linear|cubic zeros|border|reflection [corners]
//   product      byCOLUMNS: c matrices of h rows and w columns times c of w rows
//
//   steps        of numbers that are no image: how far images lie apart, then the axes from the
//                slowest in the order of the result
//   TYPE         of the input, or IN>OUT: f32, f16, int8, uint8, int16, int32, int64, bool
//   kOUT         channels of the result. Of a move: those of an image that has more than the input,
//                which goes to those from CHANNEL (default 0) on; the others stay
//   WINDOW       rRxS[sS][pT,L,B,R][dD]: size, stride sN or sNxM, padding, dilation dN or dNxM
//   wTYPE        of the weights: f16 or int8 in a matmul and an ungrouped 1x1 conv
//   ceil, pads   a last, partial window counts; padding counts in an average's divisor
//   zCxHxW       second operand, where it is not like the input: each size is the input's or 1;
//                c: one for all images
//   axisK        1 (channels) to 3
//   RESULTS      of conv: [add] [relu|relu6|clipLOW,HIGH] [maxpoolPxQ] [FUNCTION]; of matmul
//   without
//                the pool, of map only the limits. add: a residual laid out like the result;
//                maxpool: a following one of that window and stride, without padding
//   LAYOUT       nchw or nhwc, or IN>OUT where they differ, each with /PITCH where it is a slice of
//                an image of so many channels
//
// Example: conv f32 n1 c16h41w41 k48r6x6 relu maxpool3x3 nhwc t4
#pragma once

namespace linnet {

// Of this grammar: files of measurements depend on it.
constexpr int kKeyVersion = 4;

}  // namespace linnet
