"""Tiles of 64-bit NEON for float32: direct ones and products."""

from __future__ import annotations

from .scheduler import Assembly


# Product as in floats.py, by 64-bit NEON: six columns by four vectors.
#
# x1-x6    the values of six columns          x8         weights
# x9-x14   values on their way, two by two    x15-x17    upper halves of weights on their way
# x19      taps left                          x20        columns left
# x21      y                                  x22        the point's weights
# x23      x                                  x24, x25   x and y of the next point
# x26      points left                        x27, x28   bytes between columns; taps
# v0-v3    weights of four vectors            v4-v6      values
# v8...    sums, four for each column
#
# A vector of weights comes as a 64-bit vector load and a core load of the other half, which issues
# beside a multiply-add; the INS that joins them issues beside another vector load.
def weights64(vector: int, offset: int) -> list[str]:
    half = f"x{(15, 16, 17, 7)[vector]}"
    return [
        f"ldr d{vector}, [x8, #{offset}]",
        f"ldr {half}, [x8, #{offset + 8}]",
        f"ins v{vector}.d[1], {half}",
    ]


def values64(cols: int, step: str = "") -> list[str]:
    """The next value of each column, two to a core register. With a step, which is added to it
    then, x20 is how far behind the column's first value it lies.
    """
    if step:
        lines = [f"ldr w{9 + c}, [x{1 + c}, x20]" for c in range(cols)]
        lines.append(f"add x20, x20, {step}")
    else:
        lines = [f"ldr w{9 + c}, [x{1 + c}], #4" for c in range(cols)]
    return lines + [f"orr x{9 + c}, x{9 + c}, x{10 + c}, lsl #32" for c in range(0, cols - 1, 2)]


def move64(pair: int) -> str:
    return f"fmov d{4 + pair}, x{9 + 2 * pair}"


def tap64(cols: int, step: str = "", first: bool = False, last: bool = False) -> list[str]:
    """As tap(): finds values in v4-v6, weights in v0 and v1; leaves the next tap's there."""

    def multiply(vector: int) -> list[str]:
        return [
            f"{'fmul' if first else 'fmla'} v{8 + 4 * c + vector}.4s, v{vector}.4s, "
            f"v{4 + c // 2}.s[{c % 2}]"
            for c in range(cols)
        ]

    lines = [*weights64(2, 32), *multiply(0), *weights64(3, 48)]
    if last:
        return lines + multiply(1) + multiply(2) + multiply(3)
    lines += [
        *values64(cols, step),
        *multiply(1),
        *weights64(0, 64),
        *multiply(2),
        *weights64(1, 80),
    ]
    lines += ["prfm pldl1keep, [x8, #512]", "add x8, x8, #64", *multiply(3)]
    return lines + [move64(pair) for pair in range((cols + 1) // 2)]


def begin64(cols: int) -> list[str]:
    """Column pointers and what tap64() finds."""
    lines = ["mov x1, x23"] + [f"add x{1 + c}, x{c}, x27" for c in range(1, cols)]
    lines += ["mov x8, x22", "mov x19, x28", *weights64(0, 0), *weights64(1, 16), *values64(cols)]
    return lines + [move64(pair) for pair in range((cols + 1) // 2)]


# Product
P64_POINTS, P64_COLS, P64_TAPS, P64_X, P64_X_POINT, P64_X_COL, P64_W, P64_Y, P64_Y_POINT = (
    *(0, 8, 16, 24, 32, 40),
    *(48, 56, 64),
)


def product64(a: Assembly) -> None:
    """A whole Product, by six columns and then what is left."""
    a.function("linnet_a64_product_4")
    point, group, ended = (a.label() for _ in range(3))
    narrow = {cols: a.label() for cols in range(1, 6)}
    a.plain(f"ldr x23, [x0, #{P64_X}]", f"ldr x27, [x0, #{P64_X_COL}]", "lsl x27, x27, #2")
    a.plain(f"ldr x21, [x0, #{P64_Y}]", f"ldr x28, [x0, #{P64_TAPS}]")
    a.plain(f"ldr x22, [x0, #{P64_W}]", f"ldr w26, [x0, #{P64_POINTS}]")
    a.at(point)
    a.plain(f"ldr x24, [x0, #{P64_X_POINT}]", f"ldr x25, [x0, #{P64_Y_POINT}]")
    a.plain("add x24, x23, x24, lsl #2", "add x25, x21, x25, lsl #2")
    a.plain(f"ldr x20, [x0, #{P64_COLS}]")
    a.at(group)
    for cols in range(5, 0, -1):
        a.plain(f"cmp x20, #{cols}", f"b.eq {narrow[cols]}")
    a.plain(f"cbz x20, {ended}")
    for cols in (6, 5, 4, 3, 2, 1):
        loop, only, last, stored = (a.label() for _ in range(4))
        stores = [
            f"st1 {{{', '.join(f'v{8 + 4 * c + v}.4s' for v in range(4))}}}, [x21], #64"
            for c in range(cols)
        ]
        if cols < 6:
            a.at(narrow[cols])
        a.scheduled(begin64(cols))
        a.plain("subs x19, x19, #2", f"b.lt {only}")
        a.scheduled(tap64(cols, first=True))
        a.plain(f"cbz x19, {last}")
        a.at(loop)
        a.scheduled([*tap64(cols), "subs x19, x19, #1", f"b.gt {loop}"])
        a.at(last)
        a.scheduled([*tap64(cols, last=True), *stores])
        a.at(stored)
        if cols == 6:
            a.plain("add x23, x23, x27, lsl #2", "add x23, x23, x27, lsl #1", "sub x20, x20, #6")
            a.plain(f"b {group}")
        else:
            a.plain(f"b {ended}")
        a.at(only)
        a.scheduled([*tap64(cols, first=True, last=True), *stores])
        a.plain(f"b {stored}")
    a.at(ended)
    a.plain("add x22, x22, x28, lsl #6", "mov x23, x24", "mov x21, x25")
    a.plain("subs w26, w26, #1", f"b.ne {point}")
    a.leave()


# DirectTile
X, X_COL, X_OUTER, X_MIDDLE, OUTER, MIDDLE, INNER, W = 0, 8, 16, 24, 32, 40, 48, 56
BIAS, RESIDUAL, Y, Y_COL, LOW, HIGH, POOL_COLS, POOL_MERGE = 72, 80, 88, 96, 104, 108, 112, 116


def direct64(a: Assembly, cols: int) -> None:
    """A whole DirectTile of four vectors, by the registers of the product but for

    x19      taps of a run left                 x20        bytes to the next value to be loaded
    x21, x22 runs left of middle, outer loop    x23        step after a run, either of
    x24, x25 those of the middle and outer loop
    x26      taps of a run                      x28        runs of the middle loop
    """
    a.function(f"linnet_a64_direct_{cols}")
    run, after, final, end = (a.label() for _ in range(4))
    next_run = [
        *("subs x21, x21, #1", "csel x23, x24, x25, ne", "csel x21, x21, x28, ne"),
        *("cset x9, eq", "sub x22, x22, x9"),
    ]
    a.plain(f"ldr x9, [x0, #{BIAS}]", "ld1 {v8.4s, v9.4s, v10.4s, v11.4s}, [x9]")
    copies = [f"mov v{8 + 4 * c + v}.16b, v{8 + v}.16b" for c in range(1, cols) for v in range(4)]
    setup = [
        *(f"ldr x1, [x0, #{X}]", f"ldr x27, [x0, #{X_COL}]", "lsl x27, x27, #2"),
        *(f"add x{1 + c}, x{c}, x27" for c in range(1, cols)),
        *(f"ldr x26, [x0, #{INNER}]", f"ldr x28, [x0, #{MIDDLE}]", f"ldr x22, [x0, #{OUTER}]"),
        *(f"ldr x24, [x0, #{X_MIDDLE}]", f"ldr x25, [x0, #{X_OUTER}]", f"ldr x8, [x0, #{W}]"),
        # Steps from the last tap of a run to the first of the next.
        *("sub x19, x26, #1", "sub x9, x28, #1", "mul x9, x9, x24", "sub x24, x24, x19"),
        *("lsl x24, x24, #2", "add x9, x9, x19", "sub x25, x25, x9", "lsl x25, x25, #2"),
        *("mov x21, x28", "mov x20, #0", "mov x10, #4"),
    ]
    a.scheduled(copies + setup)
    a.plain(*next_run, "cmp x19, #0", "csel x10, x23, x10, eq", "mov x17, x10")
    a.scheduled([*weights64(0, 0), *weights64(1, 16)])
    a.scheduled(values64(cols, "x17") + [move64(pair) for pair in range((cols + 1) // 2)])
    a.plain(f"cbnz x19, {after}", f"cbz x22, {end}")
    a.at(run)
    a.plain(*next_run, "mov x19, x26")
    a.at(after)
    loop = a.label()
    a.plain("subs x19, x19, #1", f"b.eq {final}")
    a.at(loop)
    a.scheduled([*tap64(cols, "#4"), "subs x19, x19, #1", f"b.gt {loop}"])
    a.at(final)
    a.scheduled(tap64(cols, "x23"))
    a.plain(f"cbnz x22, {run}")
    a.at(end)
    a.scheduled(tap64(cols, last=True))
    finish64(a, cols)


def finish64(a: Assembly, cols: int) -> None:
    """As finish_direct(): residual, pool and activation of the sums, and their way into y."""
    more, lower, back = a.label(), a.label(), a.label()
    a.plain(f"ldr x1, [x0, #{RESIDUAL}]", f"ldr x2, [x0, #{Y_COL}]", "lsl x2, x2, #2")
    a.plain(f"ldr w3, [x0, #{POOL_COLS}]", f"ldrb w4, [x0, #{POOL_MERGE}]", f"ldr x5, [x0, #{Y}]")
    a.plain(f"ldr w6, [x0, #{HIGH}]", "movz w7, #0x7f80, lsl #16", f"add x8, x0, #{LOW}")
    a.plain("ld1r {v4.4s}, [x8], #4", f"cbnz x1, {more}", "cmp w6, w7", f"b.ne {lower}")
    a.at(back)
    pools = [p for p in (2, 3) if cols % p == 0]
    entries = {p: a.label() for p in pools}
    for p in pools:
        a.plain(f"cmp w3, #{p}", f"b.eq {entries[p]}")
    for p in (1, *pools):
        if p > 1:
            a.at(entries[p])
        kept = range(0, cols, p)
        sums = {c: [f"v{8 + 4 * c + v}.4s" for v in range(4)] for c in range(cols)}
        lines = [
            f"fmax {most}, {most}, {other}"
            for c in kept
            for q in range(1, p)
            for most, other in zip(sums[c], sums[c + q])
        ]
        lines += [f"fmax {most}, {most}, v4.4s" for c in kept for most in sums[c]]
        stores = [f"st1 {{{', '.join(sums[c])}}}, [x5], x2" for c in kept]
        merged = a.label()
        a.plain(f"cbnz w4, {merged}")
        a.scheduled(lines + stores)
        a.leave()
        a.at(merged)
        a.plain("mov x1, x5")
        for c in kept:
            lines.append("ld1 {v0.4s, v1.4s, v2.4s, v3.4s}, [x1], x2")
            lines += [f"fmax {most}, {most}, v{v}.4s" for v, most in enumerate(sums[c])]
        a.scheduled(lines)
        a.plain(*stores)
        a.leave()
    # What few layers have: a residual, an upper limit.
    a.at(more)
    for c in range(cols):
        a.plain("ld1 {v0.4s, v1.4s, v2.4s, v3.4s}, [x1], x2")
        a.plain(*[f"fadd v{8 + 4 * c + v}.4s, v{8 + 4 * c + v}.4s, v{v}.4s" for v in range(4)])
    a.plain("cmp w6, w7", f"b.eq {back}")
    a.at(lower)
    a.plain("ld1r {v5.4s}, [x8]")
    a.plain(*[f"fmin v{q}.4s, v{q}.4s, v5.4s" for q in range(8, 8 + 4 * cols)], f"b {back}")
