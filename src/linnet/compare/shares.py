"""How an OpenBLAS divides a product among its threads: CPU time of each, measured.

    python shares.py LIBRARY

The product is 1000 x 1 x 512 in row-major order. OpenBLAS computes in column-major order, where it
is 1 x 1000: a library that splits over the first dimension alone leaves all to one thread, one that
splits as it sees fit uses them all. Prints one line; run in a process of its own, since OpenBLAS
starts its threads when it is loaded.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

THREADS, SECONDS = 4, 1.0
M, N, K = 1000, 1, 512
ROW_MAJOR, NO_TRANSPOSE = 101, 111


def shares(path: str) -> list[float]:
    """Each thread's fraction of the CPU time of row-major M x N x K products, largest first."""
    os.environ["OPENBLAS_NUM_THREADS"] = str(THREADS)
    library = ctypes.CDLL(path)
    a, b, c = ((ctypes.c_float * size)() for size in (M * K, K * N, M * N))
    one, zero = ctypes.c_float(1), ctypes.c_float(0)

    def product() -> None:
        order = (ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE)
        library.cblas_sgemm(*order, M, N, K, one, a, K, b, N, zero, c, N)

    product()
    before, end = _cpu(), time.monotonic() + SECONDS
    while time.monotonic() < end:
        product()
    spent = [t - before.get(task, 0) for task, t in _cpu().items()]
    return sorted((t / sum(spent) for t in spent), reverse=True)[:THREADS]


def _cpu() -> Mapping[str, int]:
    """Nanoseconds on a CPU of every thread of this process."""
    tasks = Path("/proc/self/task")
    return {t.name: int((t / "schedstat").read_text().split()[0]) for t in tasks.iterdir()}


if __name__ == "__main__":
    parts = " ".join(f"{share:.0%}" for share in shares(sys.argv[1]))
    print(f"a {M}x{N}x{K} row-major product takes its {THREADS} threads {parts} of the CPU time")
