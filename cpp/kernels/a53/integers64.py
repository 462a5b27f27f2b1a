"""Tiles of 64-bit NEON for bytes: products, and depthwise ones."""

from __future__ import annotations

from .scheduler import TRIES, Assembly

# Tiles of products of bytes as in integers.py, of up to four pixels by four vectors of output
# channels. A pixel's eight values and the same turned by a pair lie in one register, as do the
# weights that they meet: a product of the lower halves is followed by one of the upper.
#
# x4-x7    the values of each pixel          x3         weights
# x9-x12   values on their way               x14, x15   the same turned by a pair
# x8, x13, x16, x17   upper halves of weights on their way
# x0-x2    the arguments                     x19        groups left in the run
# x20      what turns the values' bytes      x21, x22   runs left, in the middle and the outer loop
# x23      tiles left                        x24, x25   x of the next tile, y
# x26, x27 from the end of a run to the next in the middle and the outer loop
# v0-v3    values of each pixel              v4-v7      sums of two products
# v8-v15   weights of two turns, of two more v16...     sums, four for each pixel
#
# A vector of weights comes in halves: a 64-bit vector load, and a core load, which issues with a
# product, and an INS, which issues with another vector load. Values come through core registers.
UPPER = ("x8", "x13", "x16", "x17")
VECS = 4

# IntegerTile
I_X, I_X_COL, I_X_OUTER, I_X_MIDDLE, I_OUTER, I_MIDDLE, I_INNER = range(0, 56, 8)
I_COUNT, I_FLIP, I_W, I_BIAS, I_SCALE, I_Y, I_Y_COL = 56, 64, 72, 80, 88, 104, 112


def load_values(pixel: int) -> list[str]:
    return [f"ldr x{9 + pixel}, [x{4 + pixel}], #8", f"eor x{9 + pixel}, x{9 + pixel}, x20"]


def move_values(pixel: int) -> list[str]:
    turned = f"x{14 + pixel % 2}"
    moves = [f"ror {turned}, x{9 + pixel}, #16", f"fmov d{pixel}, x{9 + pixel}"]
    return [*moves, f"ins v{pixel}.d[1], {turned}"]


def load_weights(half: int, vector: int, offset: int = 0) -> list[str]:
    """Those of the first two turns or the last, of one vector of channels."""
    register, at, upper = 8 + VECS * half + vector, offset + 32 * vector + 16 * half, UPPER[vector]
    loads = [f"ldr d{register}, [x3, #{at}]", f"ldr {upper}, [x3, #{at + 8}]"]
    return [*loads, f"ins v{register}.d[1], {upper}"]


def group(cols: int, last: bool) -> list[str]:
    """Products of eight values with their weights; what the next group needs, unless it is none."""
    lines = []
    for half in range(2):
        for p in range(cols):
            vectors = [(4 + v, 8 + VECS * half + v, 16 + VECS * p + v) for v in range(VECS)]
            lines += [f"smull v{t}.8h, v{p}.8b, v{w}.8b" for t, w, _ in vectors]
            if not (half and last):
                for v in range(VECS * p // cols, VECS * (p + 1) // cols):
                    lines += load_weights(1 - half, v, 32 * VECS * half)
            lines += [f"smlal2 v{t}.8h, v{p}.16b, v{w}.16b" for t, w, _ in vectors]
            if half == 0:
                lines.append(f"rev64 v{p}.4s, v{p}.4s")
                lines += [] if last else load_values(p)
            elif not last:
                lines += move_values(p)
            lines += [f"sadalp v{acc}.4s, v{t}.8h" for t, _, acc in vectors]
    return [*lines, f"add x3, x3, #{32 * VECS}"]


def end(cols: int) -> list[str]:
    """Sums to bytes."""
    lines = [f"ldr x8, [x0, #{I_SCALE}]", "ld1 {v0.4s-v3.4s}, [x8]", "ld1 {v4.8h-v6.8h}, [x1]"]
    lines.append(f"ldr x9, [x0, #{I_Y_COL}]")
    for p in range(cols):
        sums = [(16 + VECS * p + v, v) for v in range(VECS)]
        lines += [f"scvtf v{s}.4s, v{s}.4s" for s, _ in sums]
        lines += [f"fmul v{s}.4s, v{s}.4s, v{v}.4s" for s, v in sums]
        lines += [f"fcvtns v{s}.4s, v{s}.4s" for s, _ in sums]
        first = 16 + VECS * p
        pairs = (first, first + 2)
        lines += [f"sqxtn v{s}.4h, v{s}.4s" for s in pairs]
        lines += [f"sqxtn2 v{s}.8h, v{s + 1}.4s" for s in pairs]
        for op, constant in (("sqadd", 4), ("smax", 5), ("smin", 6)):
            lines += [f"{op} v{s}.8h, v{s}.8h, v{constant}.8h" for s in pairs]
        lines += [f"xtn v{first}.8b, v{first}.8h", f"xtn2 v{first}.16b, v{first + 2}.8h"]
        lines.append(f"st1 {{v{first}.16b}}, [x25], x9")
    return lines


def integer_tiles(a: Assembly, cols: int) -> None:
    """Whole IntegerTiles, side by side: (tile, steps, sums)."""
    a.function(f"linnet_a64_integer_{cols}")
    tile, middle, outer, onward, run, loop, final, kept, ended = (a.label() for _ in range(9))
    a.plain(f"ldr x24, [x0, #{I_X}]", f"ldr x25, [x0, #{I_Y}]", f"ldr x23, [x0, #{I_COUNT}]")
    # From the end of a run to the next in the middle and the outer loop.
    a.plain(f"ldr x8, [x0, #{I_INNER}]", f"ldr x9, [x0, #{I_MIDDLE}]")
    a.plain(f"ldr x10, [x0, #{I_X_MIDDLE}]", f"ldr x27, [x0, #{I_X_OUTER}]")
    a.plain("sub x26, x10, x8, lsl #3", "mul x9, x10, x9", "sub x27, x27, x9", "add x27, x27, x26")
    a.plain(f"ldr w20, [x0, #{I_FLIP}]", "orr x20, x20, x20, lsl #32")
    a.at(tile)
    setup = ["mov x4, x24", f"ldr x8, [x0, #{I_X_COL}]"]
    setup += [f"add x{5 + p}, x{4 + p}, x8" for p in range(cols - 1)]
    setup += [f"add x24, x{3 + cols}, x8", f"ldr x3, [x0, #{I_W}]", f"ldr x13, [x0, #{I_BIAS}]"]
    setup.append("ld1 {v16.4s-v19.4s}, [x13]")
    copies = [(16 + VECS * p + v, 16 + v) for p in range(1, cols) for v in range(VECS)]
    setup += [f"mov v{to}.16b, v{source}.16b" for to, source in copies]
    setup += [f"ldr x22, [x0, #{I_OUTER}]", f"ldr x21, [x0, #{I_MIDDLE}]"]
    begin = [line for p in range(cols) for line in (*load_values(p), *move_values(p))]
    begin += [line for v in range(VECS) for line in load_weights(0, v)]
    begin.append(f"ldr x19, [x0, #{I_INNER}]")
    a.scheduled([*setup, *begin])
    a.at(run)
    a.plain("subs x19, x19, #1", f"b.eq {final}")
    a.at(loop)
    a.scheduled([*group(cols, last=False), "subs x19, x19, #1", f"b.ne {loop}"])
    a.at(final)
    a.plain("subs x21, x21, #1", f"b.ne {middle}", "subs x22, x22, #1", f"b.ne {outer}")
    a.plain(f"cbnz x2, {kept}")
    a.scheduled([*group(cols, last=True), *end(cols)])
    a.plain("subs x23, x23, #1", f"b.ne {tile}", f"b {ended}")
    # One run ends, another begins.
    a.at(outer)
    a.plain(f"ldr x21, [x0, #{I_MIDDLE}]", "mov x28, x27", f"b {onward}")
    a.at(middle)
    a.plain("mov x28, x26")
    a.at(onward)
    steps = [f"add x{4 + p}, x{4 + p}, x28" for p in range(cols)]
    a.scheduled([*group(cols, last=True), *steps, *begin])
    a.plain(f"b {run}")
    a.at(kept)
    sums = [f"v{16 + VECS * p}.4s-v{19 + VECS * p}.4s" for p in range(cols)]
    a.scheduled([*group(cols, last=True), *[f"st1 {{{s}}}, [x2], #64" for s in sums]])
    a.at(ended)
    a.leave()


# Depthwise convolutions of bytes with 3x3 windows, four pixels by eight channels at a time.
#
# x3-x5    where each row of the window lies    x6         bytes between columns
# x9-x14   values on their way                  x7         what columns of neighbouring tiles share
# x0, x1   the arguments                        x20        what turns the values' bytes
# x19      pixels left                          x25, x26   y, bytes between its pixels
# v0-v3    a column's values, as int16          v4-v6      zero point and limits
# v7-v15   weights of each tap                  v16...     sums, two for each pixel
# v24-v27  scales and bias
# IntegerDepthwise
D_X, D_FLIP, D_X_ROW, D_X_COL, D_W, D_BIAS, D_SCALE = 0, 8, 24, 32, 56, 72, 80
D_Y, D_PIXELS, D_Y_PIXEL = 96, 104, 112
DEPTHWISE_PIXELS = 4


def depthwise_tile(stride: int) -> list[str]:
    """A tile, from its bias to bytes."""
    pixels = range(DEPTHWISE_PIXELS)
    lines = [f"mov v{16 + 2 * p + v}.16b, v{26 + v}.16b" for p in pixels for v in range(2)]
    columns = (len(pixels) - 1) * stride + 3
    for row in range(3):
        for c in range(columns):
            value, x = f"x{9 + (row * columns + c) % 6}", (row * columns + c) % 4
            lines += [f"ldr {value}, [x{3 + row}]", f"add x{3 + row}, x{3 + row}, x6"]
            lines += [f"eor {value}, {value}, x20", f"fmov d{x}, {value}"]
            lines.append(f"ushll v{x}.8h, v{x}.8b, #0")
            for p in pixels:
                if 0 <= (tap := c - p * stride) < 3:
                    weight, acc = 7 + 3 * row + tap, 16 + 2 * p
                    lines.append(f"smlal v{acc}.4s, v{weight}.4h, v{x}.4h")
                    lines.append(f"smlal2 v{acc + 1}.4s, v{weight}.8h, v{x}.8h")
        lines.append(f"sub x{3 + row}, x{3 + row}, x7")
    for p in pixels:
        first = 16 + 2 * p
        both = [(first, 24), (first + 1, 25)]
        lines += [f"scvtf v{s}.4s, v{s}.4s" for s, _ in both]
        lines += [f"fmul v{s}.4s, v{s}.4s, v{scale}.4s" for s, scale in both]
        lines += [f"fcvtns v{s}.4s, v{s}.4s" for s, _ in both]
        lines += [f"sqxtn v{first}.4h, v{first}.4s", f"sqxtn2 v{first}.8h, v{first + 1}.4s"]
        lines += [
            f"{op} v{first}.8h, v{first}.8h, v{constant}.8h"
            for op, constant in (("sqadd", 4), ("smax", 5), ("smin", 6))
        ]
        lines += [f"xtn v{first}.8b, v{first}.8h", f"st1 {{v{first}.8b}}, [x25], x26"]
    return lines


def depthwise(a: Assembly, stride: int) -> None:
    """The pixels of a row, whole tiles of them, of eight channels: (arguments, steps)."""
    a.function(f"linnet_a64_integer_depthwise_{stride}")
    tile = a.label()
    a.plain(f"ldr x3, [x0, #{D_X}]", f"ldr x4, [x0, #{D_X_ROW}]", f"ldr x6, [x0, #{D_X_COL}]")
    a.plain("add x5, x3, x4, lsl #1", "add x4, x3, x4", f"lsl x7, x6, #{2 - stride}")
    a.plain(f"ldrb w20, [x0, #{D_FLIP}]", "mov x8, #0x0101010101010101", "mul x20, x20, x8")
    a.plain(f"ldr x25, [x0, #{D_Y}]", f"ldr x26, [x0, #{D_Y_PIXEL}]", f"ldr x19, [x0, #{D_PIXELS}]")
    a.plain(f"ldr x8, [x0, #{D_SCALE}]", f"ldr x9, [x0, #{D_BIAS}]", "ld1 {v4.8h-v6.8h}, [x1]")
    a.plain("ld1 {v24.4s-v25.4s}, [x8]", "ld1 {v26.4s-v27.4s}, [x9]", f"ldr x8, [x0, #{D_W}]")
    for row in range(3):
        for tap in range(3):
            # Of two rows side by side in a vector's weights, which are 96 bytes in all.
            at, to = 48 * (row // 2) + 16 * tap + 8 * (row % 2), 7 + 3 * row + tap
            a.plain(f"ldr d{to}, [x8, #{at}]", f"ldr x9, [x8, #{at + 96}]", f"ins v{to}.d[1], x9")
    a.at(tile)
    a.scheduled(depthwise_tile(stride), tries=TRIES // 3)
    a.plain(f"subs x19, x19, #{DEPTHWISE_PIXELS}", f"b.ne {tile}")
    a.leave()
