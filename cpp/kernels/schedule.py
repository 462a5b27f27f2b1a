"""Writes scheduled_a32.inc and scheduled_a64.inc: inner loops of NEON, ordered for the Cortex-A53.

    python cpp/kernels/schedule.py           writes the files anew
    python cpp/kernels/schedule.py --check   exit status 1 if they are not what would be written

Kernels in a53/ are written in program order with their registers fixed; a53/scheduler.py orders
them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from a53 import integers, integers64
from a53.a64 import direct64, product64
from a53.a64_depthwise import depthwise64
from a53.a64_winograd import winograd_input64, winograd_output64, winograd_row64
from a53.floats import direct, gemv, product
from a53.scheduler import Assembly, Assembly64
from a53.winograd import winograd_input, winograd_output, winograd_row

HERE = Path(__file__).parent

BEGIN = """// Written by schedule.py, which says what this is; do not edit.
R"asm(
  .text
"""
BEGIN_A32 = """  .syntax unified
  .arm
  .fpu neon-vfpv4
"""
END = '\n)asm"\n'


def winograd(a: Assembly, row: Callable[..., None], output: Callable[..., None]) -> None:
    """The second half of the transforms back, and what is stored, for all sizes."""
    for outputs in range(2, 8):
        row(a, outputs)
        for pool in (1, 2, 3):
            if outputs % pool == 0:
                output(a, outputs, pool, residual=False)
        output(a, outputs, 1, residual=True)


def a32() -> str:
    a = Assembly()
    for cols in range(1, 7):
        direct(a, cols)
    product(a)
    for cols in range(1, 5):
        integers.integer_tiles(a, cols)
    integers.depthwise(a, 1)
    integers.depthwise(a, 2)
    gemv(a, halves=False)
    gemv(a, halves=True)
    winograd_input(a)
    winograd(a, winograd_row, winograd_output)
    return BEGIN + BEGIN_A32 + "\n".join(a.lines) + END


def a64() -> str:
    a = Assembly64()
    product64(a)
    for cols in range(1, 7):
        direct64(a, cols)
    for kernel in (3, 5):
        for stride in (1, 2):
            for cols in range(5, 9):
                depthwise64(a, kernel, stride, cols)
    winograd_input64(a)
    winograd(a, winograd_row64, winograd_output64)
    for cols in range(1, 5):
        integers64.integer_tiles(a, cols)
    integers64.depthwise(a, 1)
    integers64.depthwise(a, 2)
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
