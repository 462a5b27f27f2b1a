"""Writes scheduled_a32.inc and scheduled_a64.inc: inner loops of NEON, ordered for the Cortex-A53.

    python cpp/kernels/schedule.py           writes the files anew
    python cpp/kernels/schedule.py --check   exit status 1 if they are not what would be written

Each kernel below is written in program order with its registers fixed. List scheduling then orders
every straight piece of it under the issue rules of bench/arm/a53sim.py, a few dozen times with
differently weighted priorities, and keeps the order that takes the fewest cycles there. The random
numbers are seeded, so the same script writes the same bytes everywhere.
"""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "bench" / "arm"))
import a53sim  # noqa: E402

TRIES = 60
REGISTER = r"\b(?:[qds]\d+|r\d+|lr)\b"


def expand(name: str) -> list[str]:
    """A register as the d registers it covers, or as itself."""
    number = int(name[1:]) if name[0] in "qds" else 0
    if name[0] == "q":
        return [f"d{2 * number}", f"d{2 * number + 1}"]
    return [f"d{number // 2}"] if name[0] == "s" else [name]


def registers(text: str) -> list[str]:
    text = re.sub(
        r"d(\d+)-d(\d+)",
        lambda m: " ".join(f"d{i}" for i in range(int(m[1]), int(m[2]) + 1)),
        text,
    )
    return [r for name in re.findall(REGISTER, text) for r in expand(name)]


class Instruction:
    """One instruction: what it reads and writes, and how it issues."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.timing = a53sim.parse(text)
        op, _, operands = text.partition(" ")
        stores = op.startswith(("vst", "str", "pld", "cmp"))
        accumulates = op.startswith(("vmla", "vmls", "vpadal"))
        if "{" in operands:
            listed, rest = re.findall(r"\{([^}]*)\}(.*)", operands)[0]
        else:
            listed, _, rest = operands.partition(",")
        self.writes = set() if stores or op[0] == "b" else set(registers(listed))
        self.reads = set(registers(rest if not (stores or accumulates) else operands))
        if address := re.search(r"\[(\w+)[^\]]*\](!|, )", operands):
            self.writes.add(address[1])
        if op in ("subs", "cmp"):
            self.writes.add("flags")
        if op in ("bne", "bge"):
            self.reads.add("flags")
        self.accumulates = self.writes if accumulates else set()


class Instruction64(Instruction):
    """The same of 64-bit code, of which the model says all."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.timing = a53sim.parse64(text)
        self.reads = {*self.timing.src, *self.timing.acc}
        self.writes = {*self.timing.dst, *self.timing.base}
        self.accumulates = set(self.timing.acc)


def dependences(code: list[Instruction]) -> list[dict[int, int]]:
    """For each instruction those it must follow, and by how many cycles."""
    result: list[dict[int, int]] = []
    for i, late in enumerate(code):
        before: dict[int, int] = {}
        for j, early in enumerate(code[:i]):
            if early.writes & late.reads:
                shared = early.writes & late.reads
                chained = shared <= late.accumulates and bool(early.accumulates & shared)
                before[j] = early.timing.chained if chained else early.timing.latency
            elif (
                early.writes & late.writes or early.reads & late.writes or late.timing.kind == "br"
            ):
                before[j] = 0
        result.append(before)
    return result


def order(code: list[Instruction], before: list[dict[int, int]], weight: list[float]) -> list[int]:
    """List scheduling: of what may issue soonest, the heaviest."""
    pipeline = a53sim.Pipeline()
    left = [len(b) for b in before]
    after: list[list[int]] = [[] for _ in code]
    for i, b in enumerate(before):
        for j in b:
            after[j].append(i)
    free = [i for i, n in enumerate(left) if n == 0]
    result = []
    while free:
        best = min(free, key=lambda i: (*pipeline.earliest(code[i].timing)[:1], -weight[i], i))
        pipeline.issue(code[best].timing)
        free.remove(best)
        result.append(best)
        for i in after[best]:
            left[i] -= 1
            if left[i] == 0:
                free.append(i)
    return result


def cycles(code: list[Instruction]) -> float:
    return a53sim.cycles([i.timing for i in code], turns=20)


def schedule(lines: list[str], kind: type[Instruction], tries: int) -> list[str]:
    """The lines of a straight piece or loop body in the best order found."""
    code = [kind(line) for line in lines]
    before = dependences(code)
    path = [0.0] * len(code)  # cycles from its issue to the end
    for i in reversed(range(len(code))):
        path[i] = max(path[i], 1.0)
        for j, latency in before[i].items():
            path[j] = max(path[j], path[i] + latency)
    rng = random.Random(1)
    best, least = code, cycles(code)
    # No order takes less: vector instructions do not share a cycle, wide ones take several.
    bound = sum(i.timing.cycles for i in code if i.timing.kind in ("Q", "vl", "vs"))
    for attempt in range(tries):
        if least <= bound:
            break
        place = attempt / max(1, tries - 1)  # from program order to the critical path
        jitter = 4 * rng.random()
        weight = [
            place * path[i] - (1 - place) * i * 1.5 + jitter * rng.random()
            for i in range(len(code))
        ]
        candidate = [code[i] for i in order(code, before, weight)]
        taken = cycles(candidate)
        if taken < least - 1e-9:
            best, least = candidate, taken
    return [i.text for i in best]


class Assembly:
    """The text of the file, function by function."""

    instruction: type[Instruction] = Instruction

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.labels = 0

    def label(self) -> str:
        self.labels += 1
        return f".Llinnet_{self.labels}"

    def at(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def plain(self, *lines: str) -> None:
        self.lines += [f"  {line}" for line in lines]

    def scheduled(self, lines: list[str], tries: int = TRIES) -> None:
        self.plain(*schedule(lines, self.instruction, tries))

    def function(self, name: str) -> None:
        self.lines += ["", f"  .type {name}, %function", "  .p2align 4", f"{name}:"]
        self.plain("push {r4-r11, lr}", "sub r12, sp, #64", "sub sp, sp, #128")
        # By VST1, because VSTM takes twice its cycles on some of these cores.
        self.plain("vst1.64 {d8-d11}, [r12]!", "vst1.64 {d12-d15}, [r12]")

    def leave(self) -> None:
        self.plain("add r12, sp, #64", "add sp, sp, #128")
        self.plain("vld1.64 {d8-d11}, [r12]!", "vld1.64 {d12-d15}, [r12]", "pop {r4-r11, pc}")


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
    a.function(f"linnet_a32_depthwise_{stride}")
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


# Winograd transforms of eight points, one vector of channels at a time, columns first, by way of
# the stack; the points and the matrices are in winograd_points.h. A vector load takes two cycles,
# a store one, so a transform to n results takes 16 cycles, its arithmetic, and n. d0-d5 hold the
# constants; %names are allocated by allocate().
INPUT_CONSTANTS = [5.25, 4.25, 0.25, 1.25, 0.5, 2.5, 2.0, 4.0, 5.0]
OUTPUT_CONSTANTS = [2.0**n for power in range(1, 7) for n in (power, -power)]
FREE = [f"q{n}" for n in range(3, 16)]


def as_list(q: str) -> str:
    return f"{{d{2 * int(q[1:])}-d{2 * int(q[1:]) + 1}}}"


def allocate(lines: list[str], registers: list[str] = FREE) -> list[str]:
    """Puts %names into registers: each from where it is first to where it is last named."""
    names = [re.findall(r"%\w+", line) for line in lines]
    last = {name: i for i, found in enumerate(names) for name in found}
    free, place = list(registers), {}
    result: list[str] = []
    for i, line in enumerate(lines):
        # What ends here makes room for what begins.
        ends = [n for n in dict.fromkeys(names[i]) if last[n] == i and n in place]
        free += [place[n] for n in ends]
        for name in names[i]:
            if name not in place:
                place[name] = free.pop(0)
        listed = re.sub(r"\{(%\w+)\}", lambda m: as_list(place[m[1]]), line)
        result.append(re.sub(r"%\w+", lambda m: place[m[0]], listed))
        for name in ends:
            del place[name]
    return result


def times(op: str, to: str, value: str, constant: float, constants: list[float]) -> str:
    """to += value * constant, or -=, or =."""
    i = constants.index(constant)
    return f"{op}.f32 {to}, {value}, d{i // 2}[{i % 2}]"


def input_points(load: str, store: str) -> list[str]:
    """Eight results B^T i of eight values i."""

    def by(op: str, to: str, value: str, constant: float) -> str:
        return times(op, to, value, constant, INPUT_CONSTANTS)

    code = [
        # The points 0 and infinity.
        "vsub.f32 %a, %i2, %i4",
        "vsub.f32 %v0, %i6, %i0",
        "vsub.f32 %b, %i3, %i5",
        "vsub.f32 %v7, %i7, %i1",
        by("vmla", "%v0", "%a", 5.25),
        by("vmla", "%v7", "%b", 5.25),
        # 1 and -1: the sum and the difference of even and odd terms.
        "vadd.f32 %e1, %i6, %i2",
        "vadd.f32 %o1, %i5, %i1",
        by("vmls", "%e1", "%i4", 4.25),
        by("vmls", "%o1", "%i3", 4.25),
        # 2 and -2, odd terms times two.
        by("vmul", "%e2", "%i2", 0.25),
        by("vmul", "%o2", "%i1", 0.5),
        by("vmls", "%e2", "%i4", 1.25),
        by("vmls", "%o2", "%i3", 2.5),
        "vadd.f32 %v1, %e1, %o1",
        "vsub.f32 %v2, %e1, %o1",
        "vadd.f32 %e2, %e2, %i6",
        by("vmla", "%o2", "%i5", 2.0),
        # 1/2 and -1/2, odd terms halved.
        by("vmla", "%i6", "%i2", 4.0),
        by("vmul", "%o3", "%i5", 0.5),
        by("vmls", "%i6", "%i4", 5.0),
        by("vmls", "%o3", "%i3", 2.5),
        "vadd.f32 %v3, %e2, %o2",
        "vsub.f32 %v4, %e2, %o2",
        by("vmla", "%o3", "%i1", 2.0),
        "vadd.f32 %v5, %i6, %o3",
        "vsub.f32 %v6, %i6, %o3",
    ]
    loads = [f"vld1.32 {{%i{n}}}, {load}" for n in range(8)]
    # A result is out of the way only when those before it are, so they are stored in order.
    return allocate([*loads, *code, *[f"vst1.32 {{%v{n}}}, {store}" for n in range(8)]])


def output_points(row: int, outputs: int, load: str, pool: int = 1) -> list[str]:
    """%y0.. = A^T m of eight values m; with a pool only the first of each window, its most."""

    def by(op: str, to: str, value: str, constant: float) -> str:
        return times(op, to, value, constant, OUTPUT_CONSTANTS)

    code = [f"vld1.32 {{%m{n}}}, {load}" for n in range(8)]
    for pair in range(3):
        a, b = f"%m{2 * pair + 1}", f"%m{2 * pair + 2}"
        code += [f"vadd.f32 %s{pair}, {a}, {b}", f"vsub.f32 %d{pair}, {a}, {b}"]
    for n in range(outputs):
        y, of = f"%y{n}", "sd"[n % 2]
        if n == 0:
            code += [
                f"vadd.f32 {y}, %m0, %s0",
                f"vadd.f32 {y}, {y}, %s1",
                f"vadd.f32 {y}, {y}, %s2",
            ]
        else:
            code += [by("vmul", y, f"%{of}1", 2.0**n), by("vmla", y, f"%{of}2", 2.0**-n)]
            code.append(f"vadd.f32 {y}, {y}, %{of}0")
        if n == outputs - 1:
            code.append(f"vadd.f32 {y}, {y}, %m7")
        most = f"%y{n - n % pool}"
        if most != y:
            code.append(f"vmax.f32 {most}, {most}, {y}")
        if row and n % pool == pool - 1:
            code.append(f"vmax.f32 %r0{most[1:]}, %r0{most[1:]}, {most}")
    return [re.sub(r"%(?!r0)(\w+)", rf"%r{row}\1", line) for line in code]


def winograd_input(a: Assembly) -> None:
    """The arguments x, x_row, x_col, v and, on the stack, v_point."""
    constants, columns, rows = a.label(), a.label(), a.label()
    a.function("linnet_a32_winograd_input")
    a.plain("ldr r9, [sp, #164]", "lsl r1, r1, #2", "lsl r2, r2, #2", "lsl r9, r9, #2")
    a.plain("sub sp, sp, #1024", "mov r5, sp", "mov r8, #8", "mov r10, #128")
    a.plain(f"adr r4, {constants}", "vld1.32 {d0-d3}, [r4]!", "vld1.32 {d4}, [r4]")
    a.at(columns)
    a.scheduled(
        [
            *("mov r6, r0", "add r0, r0, r2", "mov r7, r5", "add r5, r5, #16"),
            *input_points("[r6], r1", "[r7], r10"),
            *("subs r8, r8, #1", f"bne {columns}"),
        ]
    )
    a.plain("mov r0, sp", "mov r8, #8")
    a.at(rows)
    a.scheduled([*input_points("[r0]!", "[r3], r9"), "subs r8, r8, #1", f"bne {rows}"])
    a.plain("add sp, sp, #1024")
    a.leave()
    a.plain(".p2align 3")
    a.at(constants)
    a.plain(*[f".float {c}" for c in (*INPUT_CONSTANTS, 0)])


# WinogradRow
R_M, R_M_POINT, R_TILES, R_VECS, R_Z, R_Z_TILE, R_Z_VEC = 0, 4, 8, 16, 20, 24, 28


def load_output_constants(a: Assembly, constants: str) -> None:
    a.plain(f"adr r12, {constants}", "vld1.32 {d0-d3}, [r12]!", "vld1.32 {d4-d5}, [r12]")


def output_constants(a: Assembly, constants: str) -> None:
    a.plain(".p2align 3")
    a.at(constants)
    a.plain(*[f".float {c}" for c in OUTPUT_CONSTANTS])


def winograd_row(a: Assembly, outputs: int) -> None:
    """A WinogradRow to that many numbers."""
    constants, tiles, vecs = a.label(), a.label(), a.label()
    a.function(f"linnet_a32_winograd_row_{outputs}")
    a.plain(f"ldr r1, [r0, #{R_M}]", f"ldr r2, [r0, #{R_M_POINT}]", f"ldr r3, [r0, #{R_TILES}]")
    a.plain(f"ldr r4, [r0, #{R_VECS}]", f"ldr r5, [r0, #{R_Z}]", f"ldr r6, [r0, #{R_Z_TILE}]")
    a.plain(f"ldr r7, [r0, #{R_Z_VEC}]", "lsl r2, r2, #2", "lsl r6, r6, #2", "lsl r7, r7, #2")
    load_output_constants(a, constants)
    a.at(tiles)
    a.plain("mov r8, r4", "mov r9, r5", "add r5, r5, r6")
    a.at(vecs)
    stores = [f"vst1.32 {{%r0y{n}}}, [r12]!" for n in range(outputs)]
    a.scheduled(
        [
            *("mov r0, r1", "add r1, r1, #16", "mov r12, r9", "add r9, r9, r7"),
            *allocate([*output_points(0, outputs, "[r0], r2"), *stores]),
            *("subs r8, r8, #1", f"bne {vecs}"),
        ]
    )
    a.plain("subs r3, r3, #1", f"bne {tiles}")
    a.leave()
    output_constants(a, constants)


# WinogradOutput
O_Z, O_BIAS, O_RESIDUAL, O_Y, O_Y_ROW, O_Y_COL, O_LOW, O_HIGH = 0, 4, 8, 12, 16, 20, 24, 28


def winograd_output(a: Assembly, outputs: int, pool: int, residual: bool) -> None:
    """A WinogradOutput of outputs x outputs pixels and that pool, with a residual or without."""
    name = f"linnet_a32_winograd_output_{outputs}_{'residual' if residual else pool}"
    constants, limited = a.label(), a.label()
    a.function(name)
    a.plain(f"ldr r1, [r0, #{O_Z}]", f"ldr r3, [r0, #{O_BIAS}]", f"ldr r4, [r0, #{O_Y}]")
    a.plain(f"ldr r5, [r0, #{O_Y_ROW}]", f"ldr r6, [r0, #{O_Y_COL}]", "lsl r5, r5, #2")
    if residual:
        a.plain(f"ldr lr, [r0, #{O_RESIDUAL}]")
    a.plain("lsl r6, r6, #2", f"mov r10, #{16 * outputs}", f"mov r8, #{outputs // pool}")
    a.plain(f"add r7, r0, #{O_LOW}", "vld1.32 {d6[], d7[]}, [r7]", f"ldr r11, [r0, #{O_HIGH}]")
    a.plain("mov r7, sp", "vst1.32 {d6-d7}, [r7]")
    load_output_constants(a, constants)
    a.plain(f"cmn r11, #{OVER_INFINITY}", f"bvc {limited}")
    output_columns(a, outputs, pool, residual, high=False)
    output_constants(a, constants)
    a.at(limited)
    a.plain(f"add r2, r0, #{O_HIGH}", "vld1.32 {d6[], d7[]}, [r2]")
    a.plain("add r2, sp, #16", "vst1.32 {d6-d7}, [r2]")
    output_columns(a, outputs, pool, residual, high=True)


def output_columns(a: Assembly, outputs: int, pool: int, residual: bool, high: bool) -> None:
    """The columns of a WinogradOutput, with an upper limit or without, to the function's end."""
    columns = a.label()
    a.at(columns)
    lines = []
    for column in range(pool):
        lines += ["mov r0, r1", "add r1, r1, #16"]
        lines += output_points(column, outputs, "[r0], r10", pool)
    lines += ["vld1.32 {%bias}, [r3]", "vld1.32 {%low}, [r7]"]
    if high:
        lines.append("vld1.32 {%high}, [r2]")
    for n in range(0, outputs, pool):
        lines.append(f"vadd.f32 %r0y{n}, %r0y{n}, %bias")
        if residual:
            lines.append(f"vld1.32 {{%more{n}}}, [r9], r5")
            lines.append(f"vadd.f32 %r0y{n}, %r0y{n}, %more{n}")
        lines.append(f"vmax.f32 %r0y{n}, %r0y{n}, %low")
        if high:
            lines.append(f"vmin.f32 %r0y{n}, %r0y{n}, %high")
        lines.append(f"vst1.32 {{%r0y{n}}}, [r12], r5")
    begin = ["mov r12, r4", "add r4, r4, r6"]
    if residual:
        begin += ["mov r9, lr", "add lr, lr, r6"]
    a.scheduled([*begin, *allocate(lines), "subs r8, r8, #1", f"bne {columns}"])
    a.leave()


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


# The same product for 64-bit NEON: six columns by four vectors.
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
class Assembly64(Assembly):
    """64-bit functions save other registers."""

    instruction = Instruction64

    def function(self, name: str) -> None:
        self.lines += ["", f"  .type {name}, %function", "  .p2align 4", f"{name}:"]
        self.plain("stp d8, d9, [sp, #-144]!", "stp d10, d11, [sp, #16]")
        self.plain("stp d12, d13, [sp, #32]", "stp d14, d15, [sp, #48]")
        self.plain("stp x19, x20, [sp, #64]", "stp x21, x22, [sp, #80]")
        self.plain("stp x23, x24, [sp, #96]", "stp x25, x26, [sp, #112]")
        self.plain("stp x27, x28, [sp, #128]")

    def leave(self) -> None:
        self.plain("ldp x27, x28, [sp, #128]")
        self.plain("ldp x25, x26, [sp, #112]", "ldp x23, x24, [sp, #96]")
        self.plain("ldp x21, x22, [sp, #80]", "ldp x19, x20, [sp, #64]")
        self.plain("ldp d14, d15, [sp, #48]", "ldp d12, d13, [sp, #32]")
        self.plain("ldp d10, d11, [sp, #16]", "ldp d8, d9, [sp], #144", "ret")


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


BEGIN = """// Written by schedule.py, which says what this is; do not edit.
R"asm(
  .text
"""
BEGIN_A32 = """  .syntax unified
  .arm
  .fpu neon-vfpv4
"""
END = '\n)asm"\n'


def a32() -> str:
    a = Assembly()
    for cols in range(1, 7):
        direct(a, cols)
    product(a)
    for cols in range(1, 5):
        integer_tiles(a, cols)
    depthwise(a, 1)
    depthwise(a, 2)
    gemv(a, halves=False)
    gemv(a, halves=True)
    winograd_input(a)
    for outputs in range(2, 8):
        winograd_row(a, outputs)
        for pool in (1, 2, 3):
            if outputs % pool == 0:
                winograd_output(a, outputs, pool, residual=False)
        winograd_output(a, outputs, 1, residual=True)
    return BEGIN + BEGIN_A32 + "\n".join(a.lines) + END


def a64() -> str:
    a = Assembly64()
    product64(a)
    return BEGIN + "\n".join(a.lines) + END


def main() -> int:
    status = 0
    for name, text in (("scheduled_a32.inc", a32()), ("scheduled_a64.inc", a64())):
        path = HERE / name
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            print(f"{name} is not what schedule.py writes")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
