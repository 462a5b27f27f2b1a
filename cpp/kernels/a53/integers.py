"""Tiles of 32-bit NEON for bytes: products, and depthwise ones."""

from __future__ import annotations

from .scheduler import TRIES, Assembly

# Tiles of products of bytes, of up to four pixels by two vectors of output channels, eight numbers
# of a pixel at a time, taken in pairs: of two products of bytes int16 holds the sum.
#
# r0, r1, r2, r8  the values of each pixel     r3      weights
# r4-r7, r12, lr  values on their way          r9      the arguments
# r10             groups left in the run       r11     what turns the values' bytes
# d0-d3           values of each pixel         d4-d7   weights of two turns of both vectors
# q4-q7           sums of two products         q8...   sums, two for each pixel
#
# A pixel's values turn by a pair to meet the next weights. They come through core registers, whose
# loads and changes issue with products.
PIXELS = ("r0", "r1", "r2", "r8")
VALUES = (("r4", "r5"), ("r6", "r7"), ("r12", "lr"))

# IntegerTile
I_X, I_X_COL, I_X_OUTER, I_X_MIDDLE, I_OUTER, I_MIDDLE, I_INNER = 0, 4, 8, 12, 16, 20, 24
I_COUNT, I_FLIP, I_W, I_BIAS, I_SCALE, I_Y, I_Y_COL = 28, 32, 36, 40, 44, 52, 56
# On the stack: steps and sums, as given, and what changes from tile to tile and run to run.
S_STEPS, S_SUMS, S_X, S_Y, S_COUNT, S_OUTER, S_MIDDLE, S_TO_MIDDLE, S_TO_OUTER = range(0, 36, 4)


def integer_values(pixel: int) -> list[str]:
    low, high = VALUES[pixel % 3]
    loads = [f"ldr {r}, [{PIXELS[pixel]}], #4" for r in (low, high)]
    turns = [f"eor {r}, {r}, r11" for r in (low, high)]
    return [*loads, *turns, f"vmov d{pixel}, {low}, {high}"]


def integer_weights(turn: int, offset: int = 0) -> list[str]:
    """Those of a turn, even or odd, of both vectors."""
    first = 4 + 2 * (turn % 2)
    return [f"vldr d{first + v}, [r3, #{offset + 32 * v + 8 * turn}]" for v in range(2)]


def integer_group(cols: int, last: bool) -> list[str]:
    """Products of eight values with their weights; what the next group needs, unless it is none."""
    lines = []
    for turn in (0, 2):
        for first in range(0, cols, 2):
            pixels = [p for p in (first, first + 1) if p < cols]
            each = [(p, v, 4 + 2 * (p % 2) + v) for p in pixels for v in range(2)]
            turns = [f"vext.8 d{p}, d{p}, d{p}, #2" for p in pixels]
            lines += [f"vmull.s8 q{q}, d{p}, d{4 + v}" for p, v, q in each] + turns
            if first + 2 >= cols and not (last and turn):
                lines += integer_weights(0, 64) if turn else integer_weights(2)
            lines += [f"vmlal.s8 q{q}, d{p}, d{6 + v}" for p, v, q in each]
            if not turn:
                lines += turns
            elif not last:
                lines += [line for p in pixels for line in integer_values(p)]
            lines += [f"vpadal.s16 q{8 + 2 * p + v}, q{q}" for p, v, q in each]
        if not (last and turn):
            lines += integer_weights(1, 64) if turn else integer_weights(3)
    return [*lines, "add r3, r3, #64"]


def integer_end(cols: int, scale: int, y_col: int) -> list[str]:
    """Sums to bytes; where the arguments have scales, and the step from pixel to pixel."""
    lines = [f"ldr r4, [r9, #{scale}]", f"ldr r5, [sp, #{S_STEPS}]", "vld1.32 {d0-d3}, [r4]"]
    lines += ["vld1.32 {d4-d7}, [r5]!", "vld1.32 {d8-d11}, [r5]"]
    lines += [f"ldr r6, [sp, #{S_Y}]", f"ldr r7, [r9, #{y_col}]"]
    for p in range(cols):
        both = [(f"q{8 + 2 * p + v}", v) for v in range(2)]
        lines += [f"vcvt.f32.s32 {q}, {q}" for q, _ in both]
        lines += [f"vmul.f32 {q}, {q}, q{v}" for q, v in both]
        lines += [f"vadd.f32 {q}, {q}, q2" for q, _ in both]
        lines += [f"vqsub.s32 {q}, {q}, q3" for q, _ in both]
        lines += [f"vqmovn.s32 d{16 + 4 * p + v}, {q}" for q, v in both]
        q = both[0][0]
        lines += [f"vmax.s16 {q}, {q}, q4", f"vmin.s16 {q}, {q}, q5"]
        lines += [f"vmovn.i16 d{16 + 4 * p}, {q}", f"vst1.8 {{d{16 + 4 * p}}}, [r6], r7"]
    return [*lines, f"str r6, [sp, #{S_Y}]"]


def integer_tiles(a: Assembly, cols: int) -> None:
    """Whole IntegerTiles, side by side: (tile, steps, sums)."""
    a.function(f"linnet_a32_integer_{cols}")
    tile, middle, outer, run, loop, final, kept, ended = (a.label() for _ in range(8))
    a.plain("mov r9, r0", f"str r1, [sp, #{S_STEPS}]", f"str r2, [sp, #{S_SUMS}]")
    moved = [(I_X, S_X), (I_Y, S_Y), (I_COUNT, S_COUNT)]
    a.plain(*[s for i, o in moved for s in (f"ldr r4, [r9, #{i}]", f"str r4, [sp, #{o}]")])
    # From the end of a run to the next in the middle and the outer loop.
    a.plain(f"ldr r4, [r9, #{I_INNER}]", f"ldr r5, [r9, #{I_MIDDLE}]", "lsl r4, r4, #3")
    a.plain(f"ldr r6, [r9, #{I_X_MIDDLE}]", f"ldr r7, [r9, #{I_X_OUTER}]", "sub r4, r6, r4")
    a.plain("mul r5, r6, r5", f"str r4, [sp, #{S_TO_MIDDLE}]", "sub r7, r7, r5", "add r7, r7, r4")
    a.plain(f"str r7, [sp, #{S_TO_OUTER}]", f"ldr r11, [r9, #{I_FLIP}]")
    a.at(tile)
    setup = [f"ldr {PIXELS[0]}, [sp, #{S_X}]", f"ldr r4, [r9, #{I_X_COL}]"]
    setup += [f"add {PIXELS[p + 1]}, {PIXELS[p]}, r4" for p in range(cols - 1)]
    setup += [f"add r4, {PIXELS[cols - 1]}, r4", f"str r4, [sp, #{S_X}]"]
    setup += [f"ldr r3, [r9, #{I_W}]", f"ldr r5, [r9, #{I_BIAS}]", "vld1.32 {d16-d19}, [r5]"]
    setup += [f"vmov q{8 + 2 * p + v}, q{8 + v}" for p in range(1, cols) for v in range(2)]
    counts = [f"ldr r6, [r9, #{I_OUTER}]", f"str r6, [sp, #{S_OUTER}]"]
    counts += [f"ldr r7, [r9, #{I_MIDDLE}]", f"str r7, [sp, #{S_MIDDLE}]"]
    begin = [line for p in range(cols) for line in integer_values(p)]
    begin += [*integer_weights(0), *integer_weights(1), f"ldr r10, [r9, #{I_INNER}]"]
    a.scheduled([*setup, *counts, *begin])
    a.at(run)
    a.plain("subs r10, r10, #1", f"beq {final}")
    a.at(loop)
    a.scheduled([*integer_group(cols, last=False), "subs r10, r10, #1", f"bne {loop}"])
    a.at(final)
    a.plain(f"ldr r4, [sp, #{S_MIDDLE}]", f"ldr r5, [sp, #{S_SUMS}]", "subs r4, r4, #1")
    a.plain(f"bne {middle}", f"ldr r6, [sp, #{S_OUTER}]", "subs r6, r6, #1", f"bne {outer}")
    a.plain("cmp r5, #0", f"bne {kept}")
    a.scheduled([*integer_group(cols, last=True), *integer_end(cols, I_SCALE, I_Y_COL)])
    a.plain(f"ldr r4, [sp, #{S_COUNT}]", "subs r4, r4, #1", f"str r4, [sp, #{S_COUNT}]")
    a.plain(f"bne {tile}", f"b {ended}")
    # One run ends, another begins.
    a.at(outer)
    a.plain(f"str r6, [sp, #{S_OUTER}]", f"ldr r4, [r9, #{I_MIDDLE}]")
    a.plain(f"str r4, [sp, #{S_MIDDLE}]", f"ldr r4, [sp, #{S_TO_OUTER}]")
    onward = a.label()
    a.plain(f"b {onward}")
    a.at(middle)
    a.plain(f"str r4, [sp, #{S_MIDDLE}]", f"ldr r4, [sp, #{S_TO_MIDDLE}]")
    a.at(onward)
    steps = [f"add {PIXELS[p]}, {PIXELS[p]}, r4" for p in range(cols)]
    a.scheduled([*integer_group(cols, last=True), *steps, *begin])
    a.plain(f"b {run}")
    a.at(kept)
    stores = [f"vst1.32 {{d{16 + 4 * p}-d{19 + 4 * p}}}, [r5]!" for p in range(cols)]
    a.scheduled([*integer_group(cols, last=True), *stores])
    a.at(ended)
    a.leave()


# Depthwise convolutions of bytes with 3x3 windows, four pixels by eight channels at a time.
#
# r0, r1, r8      where each row of the window lies   r2    bytes between columns
# r4-r7, r12, lr  values on their way                 r9    the arguments
# q0-q3           a column's values, as int16         q4-q7 weights of a tap
# q8...           sums, two for each pixel            r10   what columns of neighbouring tiles share
ROWS = ("r0", "r1", "r8")
# IntegerDepthwise
D_X, D_FLIP, D_X_ROW, D_X_COL, D_W, D_BIAS, D_SCALE, D_Y, D_PIXELS, D_Y_PIXEL = (
    *(0, 4, 12, 16, 28),
    *(36, 40, 48, 52, 56),
)
DEPTHWISE_PIXELS = 4


def depthwise_tile(stride: int) -> list[str]:
    """A tile, from its bias to bytes."""
    pixels = range(DEPTHWISE_PIXELS)
    lines = [f"ldr r3, [r9, #{D_W}]", f"ldr r4, [r9, #{D_BIAS}]", "vld1.32 {d16-d19}, [r4]"]
    lines += [f"vmov q{8 + 2 * p + v}, q{8 + v}" for p in pixels[1:] for v in range(2)]
    columns = (len(pixels) - 1) * stride + 3
    for row in range(3):
        for tap in range(3):
            # Of two rows side by side in a vector's weights, which are 96 bytes in all.
            at, to = 48 * (row // 2) + 16 * tap + 8 * (row % 2), 8 + 2 * ((3 * row + tap) % 4)
            lines += [f"vldr d{to + v}, [r3, #{at + 96 * v}]" for v in range(2)]
        for c in range(columns):
            (low, high), x = VALUES[(row * columns + c) % 3], (row * columns + c) % 4
            lines += [f"ldr {high}, [{ROWS[row]}, #4]", f"ldr {low}, [{ROWS[row]}], r2"]
            lines += [f"eor {r}, {r}, r11" for r in (low, high)]
            lines += [f"vmov d{2 * x}, {low}, {high}", f"vmovl.u8 q{x}, d{2 * x}"]
            for p in pixels:
                if 0 <= (tap := c - p * stride) < 3:
                    w = 8 + 2 * ((3 * row + tap) % 4)
                    lines += [
                        f"vmlal.s16 q{8 + 2 * p + v}, d{w + v}, d{2 * x + v}" for v in range(2)
                    ]
        lines.append(f"sub {ROWS[row]}, {ROWS[row]}, r10")
    return [*lines, *integer_end(len(pixels), D_SCALE, D_Y_PIXEL)]


def depthwise(a: Assembly, stride: int) -> None:
    """The pixels of a row, whole tiles of them, of eight channels: (arguments, steps)."""
    a.function(f"linnet_a32_integer_depthwise_{stride}")
    tile = a.label()
    a.plain("mov r9, r0", f"str r1, [sp, #{S_STEPS}]", f"ldr r4, [r9, #{D_Y}]")
    a.plain(f"str r4, [sp, #{S_Y}]", f"ldr r4, [r9, #{D_PIXELS}]", f"str r4, [sp, #{S_COUNT}]")
    a.plain(f"ldrb r11, [r9, #{D_FLIP}]", "orr r11, r11, r11, lsl #8", "orr r11, r11, r11, lsl #16")
    a.plain(f"ldr r0, [r9, #{D_X}]", f"ldr r4, [r9, #{D_X_ROW}]", f"ldr r2, [r9, #{D_X_COL}]")
    a.plain("add r1, r0, r4", "add r8, r1, r4", f"lsl r10, r2, #{2 - stride}")
    a.at(tile)
    a.scheduled(depthwise_tile(stride), tries=TRIES // 3)
    a.plain(f"ldr r4, [sp, #{S_COUNT}]", f"subs r4, r4, #{DEPTHWISE_PIXELS}")
    a.plain(f"str r4, [sp, #{S_COUNT}]", f"bne {tile}")
    a.leave()
