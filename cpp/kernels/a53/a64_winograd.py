"""Winograd transforms of 64-bit NEON: the 32-bit ones, with more registers."""

from __future__ import annotations

import re

from .scheduler import Assembly, allocate
from .winograd import INPUT_CONSTANTS, OUTPUT_CONSTANTS, input_points, output_points

# v0-v2 hold the constants, v29 the bias, v30 and v31 the limits; %names are allocated.
FREE = [f"v{n}" for n in range(3, 29)]


def translated(lines: list[str]) -> list[str]:
    """32-bit arithmetic, loads and stores, with their %names, as 64-bit ones."""

    def element(m: re.Match[str]) -> str:
        vector, lane = divmod(2 * int(m[1]) + int(m[2]), 4)
        return f"v{vector}.s[{lane}]"

    result = []
    for line in lines:
        if m := re.fullmatch(r"v(ld|st)1\.32 \{(%\w+)\}, \[r(\d+)\](?:, r(\d+)|!)", line):
            step = f"x{m[4]}" if m[4] else "#16"
            result.append(f"{m[1]}1 {{{m[2]}.4s}}, [x{m[3]}], {step}")
            continue
        op, _, operands = line.partition(" ")
        operands = re.sub(r"%\w+", r"\g<0>.4s", operands)
        operands = re.sub(r"d(\d+)\[(\d)\]", element, operands)
        result.append(f"f{op[1:4]} {operands}")
    return allocate(result, FREE)


def constants64(a: Assembly, label: str, values: list[float]) -> None:
    a.plain(".p2align 4")
    a.at(label)
    a.plain(*[f".float {value}" for value in (*values, *[0.0] * (12 - len(values)))])


def winograd_input64(a: Assembly) -> None:
    """The arguments x, x_row, x_col, v and v_point."""
    constants, columns, rows = a.label(), a.label(), a.label()
    a.function("linnet_a64_winograd_input")
    a.plain(*[f"lsl x{n}, x{n}, #2" for n in (1, 2, 4)], "sub sp, sp, #1024", "mov x5, sp")
    a.plain("mov x8, #8", "mov x10, #128", f"adr x9, {constants}")
    a.plain("ld1 {v0.4s, v1.4s, v2.4s}, [x9]", "mov x9, x4")
    a.at(columns)
    a.scheduled(
        [
            *("mov x6, x0", "add x0, x0, x2", "mov x7, x5", "add x5, x5, #16"),
            *translated(input_points("[r6], r1", "[r7], r10")),
            *("subs x8, x8, #1", f"b.ne {columns}"),
        ]
    )
    a.plain("mov x0, sp", "mov x8, #8")
    a.at(rows)
    points = translated(input_points("[r0]!", "[r3], r9"))
    a.scheduled([*points, "subs x8, x8, #1", f"b.ne {rows}"])
    a.plain("add sp, sp, #1024")
    a.leave()
    constants64(a, constants, INPUT_CONSTANTS)


# WinogradRow
R_M, R_M_POINT, R_TILES, R_VECS, R_Z, R_Z_TILE, R_Z_VEC = 0, 8, 16, 24, 32, 40, 48


def winograd_row64(a: Assembly, outputs: int) -> None:
    """A WinogradRow to that many numbers."""
    constants, tiles, vecs = a.label(), a.label(), a.label()
    a.function(f"linnet_a64_winograd_row_{outputs}")
    a.plain(f"ldp x1, x2, [x0, #{R_M}]", f"ldr x3, [x0, #{R_TILES}]", f"ldr w4, [x0, #{R_VECS}]")
    a.plain(f"ldp x5, x6, [x0, #{R_Z}]", f"ldr x7, [x0, #{R_Z_VEC}]")
    a.plain(*[f"lsl x{n}, x{n}, #2" for n in (2, 6, 7)], f"adr x12, {constants}")
    a.plain("ld1 {v0.4s, v1.4s, v2.4s}, [x12]")
    a.at(tiles)
    a.plain("mov x8, x4", "mov x9, x5", "add x5, x5, x6")
    a.at(vecs)
    stores = [f"vst1.32 {{%r0y{n}}}, [r12]!" for n in range(outputs)]
    a.scheduled(
        [
            *("mov x0, x1", "add x1, x1, #16", "mov x12, x9", "add x9, x9, x7"),
            *translated([*output_points(0, outputs, "[r0], r2"), *stores]),
            *("subs x8, x8, #1", f"b.ne {vecs}"),
        ]
    )
    a.plain("subs x3, x3, #1", f"b.ne {tiles}")
    a.leave()
    constants64(a, constants, OUTPUT_CONSTANTS)


# WinogradOutput
O_Z, O_BIAS, O_RESIDUAL, O_Y, O_Y_ROW, O_Y_COL, O_LOW, O_HIGH = 0, 8, 16, 24, 32, 40, 48, 52


def winograd_output64(a: Assembly, outputs: int, pool: int, residual: bool) -> None:
    """A WinogradOutput of outputs x outputs pixels and that pool, with a residual or without."""
    constants, columns = a.label(), a.label()
    a.function(f"linnet_a64_winograd_output_{outputs}_{'residual' if residual else pool}")
    a.plain(f"ldp x1, x3, [x0, #{O_Z}]", f"ldp x2, x4, [x0, #{O_RESIDUAL}]")
    a.plain(f"ldp x5, x6, [x0, #{O_Y_ROW}]", "lsl x5, x5, #2", "lsl x6, x6, #2")
    a.plain(f"add x7, x0, #{O_LOW}", "ld1r {v30.4s}, [x7], #4", "ld1r {v31.4s}, [x7]")
    a.plain("ldr q29, [x3]", f"mov x10, #{16 * outputs}", f"mov x8, #{outputs // pool}")
    a.plain(f"adr x7, {constants}", "ld1 {v0.4s, v1.4s, v2.4s}, [x7]")
    a.at(columns)
    lines = []
    pointers = ["mov x12, x4", "add x4, x4, x6"]
    for column in range(pool):
        # Each column of a window has a pointer of its own.
        pointers += [f"mov x{13 + column}, x1", "add x1, x1, #16"]
        lines += output_points(column, outputs, f"[r{13 + column}], r10", pool)
    if residual:
        pointers += ["mov x9, x2", "add x2, x2, x6"]
    ends = {"%bias": "v29", "%low": "v30", "%high": "v31"}
    for n in range(0, outputs, pool):
        y = f"%r0y{n}"
        lines.append(f"vadd.f32 {y}, {y}, %bias")
        if residual:
            lines += [f"vld1.32 {{%more{n}}}, [r9], r5", f"vadd.f32 {y}, {y}, %more{n}"]
        lines += [f"vmax.f32 {y}, {y}, %low", f"vmin.f32 {y}, {y}, %high"]
        lines.append(f"vst1.32 {{{y}}}, [r12], r5")
    kept = [re.sub(r"%(?:bias|low|high)\b", lambda m: ends[m[0]] + ".4s", x) for x in lines]
    a.scheduled([*pointers, *translated(kept), "subs x8, x8, #1", f"b.ne {columns}"])
    a.leave()
    constants64(a, constants, OUTPUT_CONSTANTS)
