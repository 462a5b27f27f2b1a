// Direct tiles two vectors wide, scheduled by hand for in-order cores with A32 NEON (Cortex-A53,
// A7).
//
// What shapes the schedule on the A53: a 64-bit vector load issues with a VMOV from core registers
// but not with a multiply-add, and a multiply-add issues with a core load. So input values come
// through core registers, and the loop is blocks of {load | VMOV} {VMLA | load} {VMLA | load} {VMLA
// | other}: with six columns 12 multiply-adds in 16 cycles. Every load is for a later block, and at
// the end of a run of inner taps the pointers already step to the next one, so the pipeline never
// drains within a tile. After the last tap they step back to the first, so nothing is read that is
// not the tile's.
#pragma once

#include "vector.h"

extern "C" {
// One per tile width; named in the assembly below, where they are local to the object.
#define LINNET_A32_TILE(cols) \
  __attribute__((visibility("hidden"))) void linnet_a32_tile_##cols(const void* run);
LINNET_A32_TILE(1)
LINNET_A32_TILE(2)
LINNET_A32_TILE(3)
LINNET_A32_TILE(4)
LINNET_A32_TILE(5)
LINNET_A32_TILE(6)
#undef LINNET_A32_TILE
}

// r0, r1   first and fourth column           r2   bytes between columns
// r3       weights                           r4   taps left in this run
// r5, r6   values on their way               r7, r8  steps of inputs and weights after a run
// r9       runs left in the middle loop      r10  outer runs left
// r11      the run
// q0, q1   weights of both vectors           d4-d6   values of six columns
// q4-q9, q10-q15  sums of both vectors
__asm__(R"(
  .text
  .syntax unified
  .arm
  .fpu neon-vfpv4

  .macro linnet_mla cols, col, acc, w, x
    .if \cols > \col
      vmla.f32 \acc, \w, \x
    .endif
  .endm

  .macro linnet_ldr cols, col, to, from:vararg
    .if \cols > \col
      ldr \to, \from
    .endif
  .endm

  @ One tap. It finds its first weights in q0 and the values of columns 0 to 3 in d4, r5 and r6, and leaves the next
  @ tap's there.
  .macro linnet_tap cols, step, wstep, loop
    vldr d2, [r3, #16]
    .if \cols > 2
      vmov d5, r5, r6
    .endif
    linnet_mla \cols, 0, q4, q0, d4[0]
    linnet_ldr \cols, 4, r5, [r1, r2]
    linnet_mla \cols, 1, q5, q0, d4[1]
    linnet_ldr \cols, 5, r6, [r1, r2, lsl #1]
    linnet_mla \cols, 2, q6, q0, d5[0]
    pld [r3, #256]
    vldr d3, [r3, #24]
    .if \cols > 4
      vmov d6, r5, r6
    .endif
    linnet_mla \cols, 3, q7, q0, d5[1]
    add r0, r0, \step
    linnet_mla \cols, 4, q8, q0, d6[0]
    add r1, r1, \step
    linnet_mla \cols, 5, q9, q0, d6[1]
    add r3, r3, \wstep
    vldr d0, [r3]
    linnet_mla \cols, 0, q10, q1, d4[0]
    ldr r5, [r0]
    linnet_mla \cols, 1, q11, q1, d4[1]
    linnet_ldr \cols, 1, r6, [r0, r2]
    linnet_mla \cols, 2, q12, q1, d5[0]
    subs r4, r4, #1
    vldr d1, [r3, #8]
    vmov d4, r5, r6
    linnet_mla \cols, 3, q13, q1, d5[1]
    linnet_ldr \cols, 2, r5, [r0, r2, lsl #1]
    linnet_mla \cols, 4, q14, q1, d6[0]
    linnet_ldr \cols, 3, r6, [r1]
    linnet_mla \cols, 5, q15, q1, d6[1]
    \loop
  .endm

  @ Loads or stores the sums of all columns at r4, which r5 and 16 bytes separate.
  .macro linnet_sums op, cols
    linnet_sum \cols, 0, \op, d8-d9, d20-d21
    linnet_sum \cols, 1, \op, d10-d11, d22-d23
    linnet_sum \cols, 2, \op, d12-d13, d24-d25
    linnet_sum \cols, 3, \op, d14-d15, d26-d27
    linnet_sum \cols, 4, \op, d16-d17, d28-d29
    linnet_sum \cols, 5, \op, d18-d19, d30-d31
  .endm
  .macro linnet_sum cols, col, op, a, b
    .if \cols > \col
      \op {\a}, [r4]!
      \op {\b}, [r4], r5
    .endif
  .endm

  .macro linnet_raise cols
    vld1.32 {d0[], d1[]}, [r4]
    .irp q, 4, 5, 6, 7, 8, 9
      .if \cols > \q - 4
        vmax.f32 q\q, q\q, q0
      .endif
    .endr
    .irp q, 10, 11, 12, 13, 14, 15
      .if \cols > \q - 10
        vmax.f32 q\q, q\q, q0
      .endif
    .endr
  .endm

  .macro linnet_tile cols
  .type linnet_a32_tile_\cols, %function
  linnet_a32_tile_\cols:
    push {r4-r11, lr}
    vpush {d8-d15}
    mov r11, r0
    ldr r4, [r11, #40]
    ldr r5, [r11, #44]
    linnet_sums vld1.32, \cols
    ldr r2, [r11, #4]
    ldr r3, [r11, #8]
    ldr r0, [r11]
    add r1, r2, r2, lsl #1
    add r1, r0, r1
    ldr r9, [r11, #16]
    ldr r10, [r11, #20]
    vldr d0, [r3]
    ldr r5, [r0]
    linnet_ldr \cols, 1, r6, [r0, r2]
    vldr d1, [r3, #8]
    vmov d4, r5, r6
    linnet_ldr \cols, 2, r5, [r0, r2, lsl #1]
    linnet_ldr \cols, 3, r6, [r1]
  1:
    ldr r4, [r11, #12]
    mov r8, #32
    subs r9, r9, #1
    ldr r7, [r11, #24]
    bne 2f
    ldr r9, [r11, #16]
    ldr r7, [r11, #28]
    subs r10, r10, #1
    ldreq r7, [r11, #32]
    ldreq r8, [r11, #36]
  2:
    subs r4, r4, #1
    beq 4f
  3:
    linnet_tap \cols, #4, #32, "bne 3b"
  4:
    linnet_tap \cols, r7, r8, ""
    cmp r10, #0
    bne 1b
    add r4, r11, #56
    linnet_raise \cols
    ldr r4, [r11, #48]
    ldr r5, [r11, #52]
    linnet_sums vst1.32, \cols
    vpop {d8-d15}
    pop {r4-r11, pc}
  .size linnet_a32_tile_\cols, . - linnet_a32_tile_\cols
  .endm

  linnet_tile 1
  linnet_tile 2
  linnet_tile 3
  linnet_tile 4
  linnet_tile 5
  linnet_tile 6
)");

namespace linnet {
namespace {

// What the assembly reads, in its order.
struct A32Run {
  const float* x;
  int32_t x_col;  // all steps in bytes
  const float* w;
  int32_t inner, middle, outer;
  int32_t step_middle,
      step_outer;          // of the inputs, from the last tap of a run to the first of the next
  int32_t x_back, w_back;  // from the last tap of all to the first
  const float* from;       // what the sums start from: the bias, or the output so far
  int32_t from_step;       // from the second vector of a column to the first of the next
  float* to;
  int32_t to_step;
  float low;
};
static_assert(sizeof(A32Run) == 60, "the assembly knows the offsets");

}  // namespace
}  // namespace linnet
