"""Products of 64-bit NEON."""

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


def values64(cols: int) -> list[str]:
    """The next value of each column, two to a core register."""
    lines = [f"ldr w{9 + c}, [x{1 + c}], #4" for c in range(cols)]
    return lines + [f"orr x{9 + c}, x{9 + c}, x{10 + c}, lsl #32" for c in range(0, cols - 1, 2)]


def move64(pair: int) -> str:
    return f"fmov d{4 + pair}, x{9 + 2 * pair}"


def tap64(cols: int, first: bool = False, last: bool = False) -> list[str]:
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
    lines += [*values64(cols), *multiply(1), *weights64(0, 64), *multiply(2), *weights64(1, 80)]
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
