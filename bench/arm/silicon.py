"""Compares the model of the core with public measurements of real ones.

    python bench/arm/silicon.py A53 A7     the comparison; exit status 1 if a median is over 10 %

A53 and A7 are tables of the tract project, linalg/src/arm64/cortex_a53.txt and
arm32/cortex_a7.txt at github.com/sonos/tract: seconds of float32 products of m x k by k x n on a
Cortex-A53, 64-bit, and a Cortex-A7, both operands packed and warm, by kernels with tiles of so many
rows and columns. They are modelled by what their sources say of one step of k. On the A53 "ordered"
ones load 64 bits at a time into core registers, beside the multiply-adds, and join them by INS
behind these; "plain" ones load whole vectors behind the multiply-adds. On the A7 "ordered" ones
load d registers one by one, "plain" ones several at once. What streams from the second level, for a
long k, is not in the model.

The clocks are not told, nor what a call and a tile cost there besides: these three numbers are
fitted to each table, for all its kernels and shapes together, and nothing else is. Beside each tile
that linnet's own kernels have: what they take for it by the same model.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "cpp" / "kernels"))

import a53sim  # noqa: E402
from a53.a64 import tap64  # noqa: E402
from a53.floats import two_taps  # noqa: E402
from a53.scheduler import TRIES, Instruction, Instruction64, schedule  # noqa: E402

MOST = 0.10  # median of the residuals
CONTROL = ("subs x3, x3, #4", "subs x9, x3, #4", "b.ge .L")


class Measured(NamedTuple):
    kernel: str
    shape: tuple[int, int, int]  # m, k, n
    seconds: float


class Fit(NamedTuple):
    clock: float
    call: float  # seconds
    tile: float
    residuals: list[float]  # predicted over measured, less one


def read(path: Path) -> list[Measured]:
    """The kernels with tiles of vectors, of this core's order and of none: kernel, rows and columns
    of a tile, m, k, n and seconds are a line.
    """
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        name, *_, m, k, n, seconds = line.split()
        kernel = re.fullmatch(r"\w+_mmm_f32_(\d+x[468])_(a53|gen|cortexa7|generic)", name)
        if kernel:
            order = "plain" if kernel[2].startswith("gen") else "ordered"
            shape = int(m), int(k), int(n)
            found.append(Measured(f"{kernel[1]} {order}", shape, float(seconds)))
    if not found:
        raise SystemExit(f"{path} has no line of a kernel for float32 products")
    return found


def tile_of(kernel: str) -> tuple[int, int]:
    rows, _, cols = kernel.split(maxsplit=1)[0].partition("x")
    return int(rows), int(cols)


def step64(rows: int, cols: int, ordered: bool) -> float:
    """Cycles of one step of k on the A53; four of them are a turn."""
    vecs, values = rows // 4, cols // 4
    multiply = [
        f"fmla v{8 + vecs * c + v}.4s, v{v}.4s, v{vecs + c // 4}.s[{c % 4}]"
        for c in range(cols)
        for v in range(vecs)
    ]
    if ordered:
        halves = range(2 * (vecs + values))
        beside = [f"ldr x{4 + i}, [{'x1' if i < 2 * vecs else 'x2'}, #{8 * i}]" for i in halves]
        beside += ["add x1, x1, #64", "add x2, x2, #32"]
        beside += [f"prfm pldl1keep, [{base}, #256]" for base in ("x1", "x2")]
        code = [line for pair in zip(multiply, beside) for line in pair]
        code += multiply[len(beside) :] + beside[len(multiply) :]
        code += [f"ins v{i // 2}.d[{half}], x{4 + i}" for half in (0, 1) for i in halves[half::2]]
    else:
        names = [f"v{v}.4s" for v in range(vecs + values)]
        runs = [names[:vecs][at : at + 4] for at in range(0, vecs, 4)]
        loads = [f"ld1 {{{', '.join(run)}}}, [x1], #{16 * len(run)}" for run in runs]
        code = [*multiply, *loads, f"ld1 {{{', '.join(names[vecs:])}}}, [x2], #{16 * values}"]
    lines = [*code * 4, *CONTROL]
    return a53sim.cycles([t for line in lines if (t := a53sim.parse64(line))]) / 4


def on_a7(line: str) -> a53sim.Timing:
    """The Cortex-A7 has the same pipeline with half the vector unit: it takes four cycles for the
    four multiply-adds of a q register.
    """
    timing = a53sim.parse(line)
    assert timing
    if timing.mac:
        timing.cycles, timing.latency = 4, 8
    return timing


def step32(rows: int, cols: int, ordered: bool) -> float:
    """Cycles of one step of k on the A7."""
    assert rows == 8
    last = 4 + (cols + 1) // 2
    if ordered:
        code = [f"vldr d{i}, [{'r1' if i < 4 else 'r5'}, #{8 * i}]" for i in range(last)]
    else:
        code = ["vld1.64 {d0-d3}, [r1]!", f"vld1.64 {{d4-d{last - 1}}}, [r5]!"]
    code += ["pld [r1, #512]", "pld [r5, #512]"]
    code += [
        f"vmla.f32 q{16 - 2 * cols + 2 * c + v}, q{v}, d{4 + c // 2}[{c % 2}]"
        for c in range(cols)
        for v in range(2)
    ]
    code += ["add r1, r1, #32", "add r5, r5, #24"] if ordered else []
    return a53sim.cycles([on_a7(line) for line in [*code, "subs r3, r3, #1", "bne .L"]])


def own64(rows: int, cols: int) -> float | None:
    """The same of linnet's product, of 16 rows."""
    if rows != 16:
        return None
    lines = [*tap64(cols), "subs x19, x19, #1", "b.gt .L"]
    code = schedule(lines, Instruction64, TRIES)
    return a53sim.cycles([t for line in code if (t := a53sim.parse64(line))])


def own32(rows: int, cols: int) -> float | None:
    assert rows == 8
    code = schedule(two_taps(cols, ".L"), Instruction, TRIES)
    return a53sim.cycles([on_a7(line) for line in code]) / 2


def fit(measured: list[Measured], steps: dict[str, float]) -> Fit:
    """Least squares of the relative errors."""
    parts = []
    for each in measured:
        rows, cols = tile_of(each.kernel)
        m, k, n = each.shape
        tiles = -(-m // rows) * -(-n // cols)
        parts.append([1, tiles, tiles * k * steps[each.kernel]])
    seconds = np.array([each.seconds for each in measured])
    relative = np.array(parts) / seconds[:, None]
    found, *_ = np.linalg.lstsq(relative, np.ones(len(measured)), rcond=None)
    call, tile, cycle = (float(x) for x in found)
    return Fit(1 / cycle, call, tile, [float(r) for r in relative @ found - 1])


def report(core: str, measured: list[Measured], steps: dict[str, float], found: Fit) -> bool:
    """Prints residuals of every shape and kernel; whether their median is small enough."""
    print(
        f"\n{core}: a clock of {found.clock / 1e9:.2f} GHz; a call costs {1e6 * found.call:.2f} us "
        f"besides, a tile {1e9 * found.tile:.0f} ns"
    )
    by_shape: dict[tuple[int, int, int], dict[str, float]] = {}
    for each, residual in zip(measured, found.residuals):
        by_shape.setdefault(each.shape, {})[each.kernel] = residual
    print(f"{'predicted over measured':24}" + "".join(f"{kernel:>14}" for kernel in steps))
    for shape, residuals in by_shape.items():
        print(
            f"{' x '.join(map(str, shape)):24}" + "".join(f"{r:+14.0%}" for r in residuals.values())
        )
    sizes = [abs(r) for r in found.residuals]
    middle, ninth = median(sizes), quantiles(sizes, n=10)[-1]
    print(f"half of them within {middle:.1%}, nine in ten within {ninth:.1%}")
    return middle <= MOST


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("a53", type=Path, metavar="A53")
    parser.add_argument("a7", type=Path, metavar="A7")
    args = parser.parse_args()
    good = True
    for core, table, step, own in (
        ("a53", args.a53, step64, own64),
        ("a7", args.a7, step32, own32),
    ):
        measured = read(table)
        kernels = list(dict.fromkeys(each.kernel for each in measured))
        steps = {name: step(*tile_of(name), name.endswith("ordered")) for name in kernels}
        found = fit(measured, steps)
        good = report(f"Cortex-{core.upper()}", measured, steps, found) and good
        for name, cycles in steps.items():
            rows, cols = tile_of(name)
            ours = own(rows, cols) if name.endswith("ordered") else None
            print(
                f"{name:16}{cycles:6.2f} cycles a step, {rows * cols / cycles:.2f} MAC/cycle"
                + (f"; linnet's {ours:.2f}, {rows * cols / ours:.2f}" if ours else "")
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
