"""Winograd transforms of 32-bit NEON."""

from __future__ import annotations

import re

from .floats import OVER_INFINITY
from .scheduler import Assembly, allocate

# Winograd transforms of eight points, one vector of channels at a time, columns first, by way of
# the stack; the points and the matrices are in winograd_points.h. A vector load takes two cycles,
# a store one, so a transform to n results takes 16 cycles, its arithmetic, and n. d0-d5 hold the
# constants; %names are allocated by allocate().
INPUT_CONSTANTS = [5.25, 4.25, 0.25, 1.25, 0.5, 2.5, 2.0, 4.0, 5.0]
OUTPUT_CONSTANTS = [2.0**n for power in range(1, 7) for n in (power, -power)]


def times(op: str, to: str, value: str, constant: float, constants: list[float]) -> str:
    """to += value * constant, or -=, or =."""
    i = constants.index(constant)
    return f"{op}.f32 {to}, {value}, d{i // 2}[{i % 2}]"


def input_points(load: str, store: str) -> list[str]:
    """Eight results %v0.. = B^T i of eight values i."""

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
    return [*loads, *code, *[f"vst1.32 {{%v{n}}}, {store}" for n in range(8)]]


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
            *allocate(input_points("[r6], r1", "[r7], r10")),
            *("subs r8, r8, #1", f"bne {columns}"),
        ]
    )
    a.plain("mov r0, sp", "mov r8, #8")
    a.at(rows)
    points = allocate(input_points("[r0]!", "[r3], r9"))
    a.scheduled([*points, "subs r8, r8, #1", f"bne {rows}"])
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
