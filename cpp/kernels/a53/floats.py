"""Tiles of 32-bit NEON for float32: direct ones, products, and of a single pixel."""

from __future__ import annotations

import re

from .scheduler import Assembly, allocate

# Register tiles: rows (or pixels) by two vectors of output channels.
#
# r0, r1  the values of columns 0 and 3     r2      bytes between columns
# r3      weights                           r4-r7   values on their way
# r10     taps left                         r11     the arguments
# q0, q1  weights of both vectors           d4-d6   values
# q4...   sums, two for each column
#
# A vector load issues with a VMOV from core registers but not with a multiply-add, and a
# multiply-add issues with a core load: so input values come through core registers. Every load is
# for a later block, and a pointer steps with the last load from it.
FIRST = (1, 2, 0, 3, 4, 5)  # which columns are moved together
ADDRESS = ("[r0]", "[r0, r2]", "[r0, r2, lsl #1]", "[r1]", "[r1, r2]", "[r1, r2, lsl #1]")
PAIRS = (("r4", "r5"), ("r4", "r5"), ("r6", "r7"))


def column_pairs(cols: int) -> list[tuple[int, ...]]:
    order = [c for c in FIRST if c < cols]
    return [tuple(order[i : i + 2]) for i in range(0, cols, 2)]


def load_values(pair: int, columns: tuple[int, ...], step: str) -> list[str]:
    return [
        f"ldr {PAIRS[pair][i]}, {ADDRESS[c]}" + (f", {step}" if c in (0, 3) else "")
        for i, c in enumerate(columns)
    ]


def move_values(pair: int, columns: tuple[int, ...]) -> str:
    core = PAIRS[pair]
    return f"vmov d{4 + pair}, {core[0]}, {core[len(columns) - 1]}"


def sums(col: int) -> str:
    return f"{{d{8 + 4 * col}-d{11 + 4 * col}}}"


def begin_taps(cols: int, step: str = "#4") -> list[str]:
    """What tap() finds: the first tap's values and its first weights."""
    pairs = column_pairs(cols)
    lines = ["vldr d0, [r3]", "vldr d1, [r3, #8]"]
    lines += [line for columns in pairs[2:] for line in load_values(2, columns, step)]
    lines += [*load_values(0, pairs[0], step), move_values(0, pairs[0])]
    return lines + [line for columns in pairs[1:2] for line in load_values(1, columns, step)]


def tap(cols: int, offset: int, step: str, first: bool = False, last: bool = False) -> list[str]:
    """Weights times values into all sums, and the next tap's values and first weights."""
    pairs = column_pairs(cols)
    op = "vmul.f32" if first else "vmla.f32"
    half = [
        [
            f"{op} q{4 + 2 * c + vector}, q{vector}, d{4 + i}[{lane}]"
            for i, columns in enumerate(pairs)
            for lane, c in enumerate(columns)
        ]
        for vector in range(2)
    ]
    lines = [f"vldr d2, [r3, #{offset + 16}]"]
    lines += [move_values(1, columns) for columns in pairs[1:2]] + half[0][:3]
    lines += [f"vldr d3, [r3, #{offset + 24}]"]
    lines += [move_values(2, columns) for columns in pairs[2:]] + half[0][3:]
    if last:
        return lines + half[1]
    lines += [line for columns in pairs[2:] for line in load_values(2, columns, step)]
    lines += load_values(0, pairs[0], step)
    lines += [f"vldr d0, [r3, #{offset + 32}]", *half[1][:3], f"vldr d1, [r3, #{offset + 40}]"]
    lines += [move_values(0, pairs[0]), *half[1][3:]]
    return lines + [line for columns in pairs[1:2] for line in load_values(1, columns, step)]


def two_taps(cols: int, loop: str) -> list[str]:
    return [
        "pld [r3, #384]",
        *tap(cols, 0, "#4"),
        "add r3, r3, #64",
        "subs r10, r10, #2",
        *tap(cols, -32, "#4"),
        f"bge {loop}",
    ]


def one_tap(cols: int, step: str = "#4", first: bool = False) -> list[str]:
    return ["add r3, r3, #32", *tap(cols, -32, step, first)]


# Added to the bits of a float, this overflows for infinity and for nothing less: so CMN tells
# whether there is an upper limit.
OVER_INFINITY = 0x00800000

# DirectTile
X, X_COL, X_OUTER, X_MIDDLE, OUTER, MIDDLE, INNER = 0, 4, 8, 12, 16, 24, 32
W, BIAS, RESIDUAL, Y, Y_COL, LOW, HIGH, POOL_COLS, POOL_MERGE = 40, 48, 52, 56, 60, 64, 68, 72, 76


def direct(a: Assembly, cols: int) -> None:
    """A whole DirectTile. r8, r9: runs left of middle and outer loops; r12: step after a run."""
    a.function(f"linnet_a32_direct_{cols}")
    run, after = a.label(), a.label()
    a.plain("mov r11, r0")
    a.plain(f"ldr r4, [r11, #{BIAS}]", f"ldr r2, [r11, #{X_COL}]", "vld1.32 {d8-d11}, [r4]")
    copies = [f"vmov q{4 + 2 * c + v}, q{4 + v}" for c in range(1, cols) for v in range(2)]
    # Steps from the last tap of a run to the first of the next, in the middle and the outer loop.
    setup = [
        f"ldr r3, [r11, #{W}]",
        f"ldr r0, [r11, #{X}]",
        f"ldr r10, [r11, #{INNER}]",
        f"ldr r8, [r11, #{MIDDLE}]",
        f"ldr r9, [r11, #{OUTER}]",
        f"ldr r4, [r11, #{X_MIDDLE}]",
        f"ldr r5, [r11, #{X_OUTER}]",
        "lsl r2, r2, #2",
        *(["add r1, r2, r2, lsl #1", "add r1, r0, r1"] if cols > 3 else []),
        "sub r6, r10, #1",
        "sub r7, r8, #1",
        "mul r7, r4, r7",
        "sub r4, r4, r6",
        "lsl r4, r4, #2",
        "str r4, [sp]",
        "add r7, r7, r6",
        "sub r5, r5, r7",
        "lsl r5, r5, #2",
        "str r5, [sp, #4]",
    ]
    a.scheduled(copies + setup)
    # The first tap's values step by a run if runs are single taps.
    a.plain("subs r8, r8, #1", "mov r12, r4")
    a.plain("moveq r12, r5", f"ldreq r8, [r11, #{MIDDLE}]", "subeq r9, r9, #1")
    a.plain("subs r10, r10, #1", "mov lr, #4", "moveq lr, r12")
    a.scheduled(begin_taps(cols, "lr"))
    a.plain("cmp r10, #0", f"bne {after}")
    a.plain("cmp r9, #0")
    end = a.label()
    a.plain(f"beq {end}")
    a.at(run)
    a.plain("subs r8, r8, #1", f"ldr r10, [r11, #{INNER}]", "ldr r12, [sp]")
    a.plain("ldreq r12, [sp, #4]", f"ldreq r8, [r11, #{MIDDLE}]", "subeq r9, r9, #1")
    a.at(after)
    loop, single, final = a.label(), a.label(), a.label()
    a.plain("subs r10, r10, #3", f"blt {single}")
    a.at(loop)
    a.scheduled(two_taps(cols, loop))
    a.at(single)
    a.plain("tst r10, #1", f"beq {final}")
    a.scheduled(one_tap(cols))
    a.at(final)
    a.scheduled(one_tap(cols, "r12"))
    a.plain("cmp r9, #0", f"bne {run}")
    a.at(end)
    a.scheduled(tap(cols, 0, "", last=True))
    finish_direct(a, cols)


def finish_direct(a: Assembly, cols: int) -> None:
    """Residual, pool and activation of the sums, and their way into y."""
    more, lower, back = a.label(), a.label(), a.label()
    a.plain(
        f"ldr r4, [r11, #{RESIDUAL}]", f"ldr r5, [r11, #{Y_COL}]", f"ldr r6, [r11, #{POOL_COLS}]"
    )
    a.plain(f"ldr r9, [r11, #{HIGH}]", f"ldr r7, [r11, #{POOL_MERGE}]", f"add r8, r11, #{LOW}")
    a.plain("lsl r5, r5, #2", "vld1.32 {d4[], d5[]}, [r8]")
    a.plain("cmp r4, #0", f"cmneq r9, #{OVER_INFINITY}", f"bvc {more}")
    a.at(back)
    a.plain(f"ldr r4, [r11, #{Y}]", "mov r8, r4")
    pools = [p for p in (2, 3) if cols % p == 0]
    entries = {p: a.label() for p in pools}
    for p in pools:
        a.plain(f"cmp r6, #{p}", f"beq {entries[p]}")
    for p in (1, *pools):
        if p > 1:
            a.at(entries[p])
        most = []
        # Each group of p columns into its first.
        for s in range(cols // p):
            for q in range(1, p):
                for v in range(2):
                    to = 4 + 2 * s * p + v
                    most.append(f"vmax.f32 q{to}, q{to}, q{to + 2 * q}")
        kept = [s * p for s in range(cols // p)]
        raised = [
            f"vmax.f32 q{4 + 2 * c + v}, q{4 + 2 * c + v}, q2" for c in kept for v in range(2)
        ]
        stores = [f"vst1.32 {sums(c)}, [r4], r5" for c in kept]
        merged = a.label()
        a.plain("tst r7, #255", f"bne {merged}")
        a.scheduled(most + raised + stores)
        a.leave()
        a.at(merged)
        merge = []
        for c in kept:
            merge += ["vld1.32 {d0-d3}, [r8], r5"]
            merge += [f"vmax.f32 q{4 + 2 * c + v}, q{4 + 2 * c + v}, q{v}" for v in range(2)]
        a.scheduled(most + raised + merge + stores)
        a.leave()
    # What few layers have: a residual, an upper limit.
    a.at(more)
    a.plain("cmp r4, #0", f"beq {lower}")
    for c in range(cols):
        a.plain("vld1.32 {d0-d3}, [r4], r5")
        a.plain(*[f"vadd.f32 q{4 + 2 * c + v}, q{4 + 2 * c + v}, q{v}" for v in range(2)])
    a.plain(f"cmn r9, #{OVER_INFINITY}", f"bvs {back}")
    a.at(lower)
    a.plain(f"add r8, r11, #{HIGH}", "vld1.32 {d6[], d7[]}, [r8]")
    a.plain(*[f"vmin.f32 q{q}, q{q}, q3" for q in range(4, 4 + 2 * cols)], f"b {back}")


# Product
P_POINTS, P_COLS, P_TAPS, P_X, P_X_POINT, P_X_COL, P_W, P_Y, P_Y_POINT = (
    *(0, 8, 16, 24, 28, 32),
    *(36, 40, 44),
)


def product(a: Assembly) -> None:
    """A whole Product, by six columns and then what is left.

    r8: x; r9: y; lr: columns left; r12: the point's weights. On the stack: x and y of the next
    point, and how many points are left.
    """
    a.function("linnet_a32_product_2")
    a.plain("mov r11, r0")
    a.plain(f"ldr r8, [r11, #{P_X}]", f"ldr r2, [r11, #{P_X_COL}]", f"ldr r9, [r11, #{P_Y}]")
    a.plain(f"ldr r12, [r11, #{P_W}]", f"ldr r4, [r11, #{P_POINTS}]", "lsl r2, r2, #2")
    a.plain("str r4, [sp, #8]")
    point, rest, next_point = a.label(), a.label(), a.label()
    narrow = {cols: a.label() for cols in range(1, 6)}
    a.at(point)
    a.plain(f"ldr r4, [r11, #{P_X_POINT}]", f"ldr r5, [r11, #{P_Y_POINT}]")
    a.plain("add r4, r8, r4, lsl #2", "add r5, r9, r5, lsl #2", "str r4, [sp]", "str r5, [sp, #4]")
    a.plain(f"ldr lr, [r11, #{P_COLS}]", "mov r0, r8", "mov r3, r12")
    for cols in (6, 5, 4, 3, 2, 1):
        begin = [f"ldr r10, [r11, #{P_TAPS}]", *begin_taps(cols)]
        if cols > 3:
            begin = ["add r1, r2, r2, lsl #1", "add r1, r0, r1", *begin]
        onward = ["add r8, r8, r2, lsl #2", "add r8, r8, r2, lsl #1", "mov r0, r8", "mov r3, r12"]
        stores = [f"vst1.32 {sums(c)}, [r9]!" for c in range(cols)]
        # The weights of the next point begin where those of this one end.
        end = [] if cols == 6 else ["add r3, r3, #32", "mov r12, r3"]
        loop, single, final, only, last = (a.label() for _ in range(5))
        group = a.label()
        if cols == 6:
            a.plain("cmp lr, #6", f"blt {rest}")
        else:
            a.at(narrow[cols])
        a.scheduled(begin)
        a.at(group)
        a.plain("subs r10, r10, #2", f"blt {only}")
        a.scheduled(one_tap(cols, first=True))
        a.plain("subs r10, r10, #2", f"blt {single}")
        a.at(loop)
        a.scheduled(two_taps(cols, loop))
        a.at(single)
        a.plain("tst r10, #1", f"beq {final}")
        a.scheduled(one_tap(cols))
        a.at(final)
        if cols == 6:
            # The next columns begin while these end.
            a.plain("subs lr, lr, #6", "cmp lr, #6", f"blt {last}")
            a.scheduled([*tap(cols, 0, "", last=True), *onward, *begin, *stores])
            a.plain(f"b {group}")
            a.at(last)
            a.scheduled([*tap(cols, 0, "", last=True), *stores])
            a.plain("cmp lr, #0", "addeq r12, r3, #32", f"beq {next_point}", *onward)
            a.at(rest)
            for c in range(5, 1, -1):
                a.plain(f"cmp lr, #{c}", f"beq {narrow[c]}")
            a.plain(f"b {narrow[1]}")
            a.at(only)
            a.scheduled([*tap(cols, 0, "", first=True, last=True), *stores])
            a.plain("subs lr, lr, #6", "addeq r12, r3, #32", f"beq {next_point}", *onward)
            a.plain("cmp lr, #6", f"blt {rest}")
            a.scheduled(begin)
            a.plain(f"b {group}")
            a.at(next_point)
            a.plain("ldr r4, [sp, #8]", "ldr r8, [sp]", "ldr r9, [sp, #4]", "subs r4, r4, #1")
            a.plain("str r4, [sp, #8]", f"bne {point}")
            a.leave()
            continue
        a.scheduled([*tap(cols, 0, "", last=True), *stores, *end])
        a.plain(f"b {next_point}")
        a.at(only)
        a.scheduled([*tap(cols, 0, "", first=True, last=True), *stores, *end])
        a.plain(f"b {next_point}")


# DirectTile of a single pixel. Four sums for each vector (q8-q15), so that none waits for another.
def gemv(a: Assembly, halves: bool) -> None:
    """A whole DirectTile of one pixel, with weights of 16 bits or 32.

    r0: x; r7: start of the middle loop's run, r6: of the outer's; r8, r9: runs left.
    """
    a.function(f"linnet_a32_gemv_2_{'f16' if halves else 'f32'}")
    outer, run, loop, rest, single, ended = (a.label() for _ in range(6))
    given = a.label()
    a.plain("mov r11, r0", f"ldr r6, [r11, #{X}]", f"ldr r3, [r11, #{W}]")
    a.plain(f"ldr r9, [r11, #{OUTER}]", *[f"vmov.i32 q{q}, #0" for q in range(8, 16)])
    a.at(outer)
    a.plain("mov r7, r6", f"ldr r8, [r11, #{MIDDLE}]")
    a.at(run)
    a.plain("mov r0, r7", f"ldr r10, [r11, #{INNER}]", "subs r10, r10, #4", f"blt {rest}")

    def weights(name: str) -> list[str]:
        """The next two vectors."""
        if not halves:
            return [f"vld1.32 {{{name}{v}}}, [r3]!" for v in range(2)]
        return [
            f"vld1.16 {{{name}}}, [r3]!",
            f"vcvt.f32.f16 {name}1, {name}.high",
            f"vcvt.f32.f16 {name}0, {name}.low",
        ]

    def halved(lines: list[str]) -> list[str]:
        """Halves of a register are d registers of its number."""
        parts = re.compile(r"q(\d+)\.(low|high)")
        return [parts.sub(lambda m: f"d{2 * int(m[1]) + (m[2] == 'high')}", line) for line in lines]

    free = [f"q{q}" for q in range(1, 8)]
    lines = ["vld1.32 {d0-d1}, [r0]!", "pld [r3, #512]"]
    lines += [] if halves else ["pld [r3, #576]"]
    for tap in range(4):
        lines += weights(f"%w{tap}x")
        for v in range(2):
            lines.append(f"vmla.f32 q{8 + 2 * tap + v}, %w{tap}x{v}, d{tap // 2}[{tap % 2}]")
    a.at(loop)
    a.scheduled([*halved(allocate(lines, free)), "subs r10, r10, #4", f"bge {loop}"])
    a.at(rest)
    a.plain("adds r10, r10, #4", f"beq {ended}")
    a.at(single)
    lines = ["vld1.32 {d0[]}, [r0]!", *weights("%w")]
    lines += [f"vmla.f32 q{8 + v}, %w{v}, d0[0]" for v in range(2)]
    a.plain(*halved(allocate(lines, free)), "subs r10, r10, #1", f"bne {single}")
    a.at(ended)
    a.plain(f"ldr r4, [r11, #{X_MIDDLE}]", "subs r8, r8, #1", "add r7, r7, r4, lsl #2")
    a.plain(f"bne {run}", f"ldr r4, [r11, #{X_OUTER}]", "subs r9, r9, #1")
    a.plain("add r6, r6, r4, lsl #2", f"bne {outer}")
    a.plain(f"ldr r4, [r11, #{BIAS}]", "cmp r4, #0", f"bne {given}", f"ldr r4, [r11, #{Y}]")
    a.at(given)
    adds = ["vld1.32 {d8-d11}, [r4]"]
    for step in (4, 2):
        adds += [f"vadd.f32 q{q}, q{q}, q{q + step}" for q in range(8, 8 + step)]
    a.scheduled([*adds, *[f"vadd.f32 q{4 + v}, q{4 + v}, q{8 + v}" for v in range(2)]])
    finish_direct(a, 1)
