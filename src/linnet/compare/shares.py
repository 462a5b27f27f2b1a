"""How an OpenBLAS divides products among its threads: CPU time of each thread, measured.

    python shares.py LIBRARY

In row-major order, in which Caffe calls it, a product of m x k and k x n is to OpenBLAS, which
thinks in columns, one of n x k and k x m. A library that splits over its own first dimension alone
therefore leaves m x 1 to one thread and divides 1 x m; one that splits as it sees fit divides both.
1000 x 1 x 512 is small enough for a kernel of its own, on one thread in either, where OpenBLAS has
such a kernel (AVX-512); 4000 x 1 x 512 is not.

Prints one line. To be run in a process of its own: OpenBLAS starts its threads when it is loaded.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

THREADS, SECONDS = 4, 0.7
PRODUCTS = ((1000, 1, 512), (4000, 1, 512), (1, 4000, 512))
ROW_MAJOR, NO_TRANSPOSE = 101, 111


def shares(library: ctypes.CDLL, m: int, n: int, k: int) -> list[float]:
    """Each thread's fraction of the CPU time of row-major m x n x k products, largest first."""
    a, b, c = ((ctypes.c_float * size)() for size in (m * k, k * n, m * n))
    one, zero = ctypes.c_float(1), ctypes.c_float(0)

    def product() -> None:
        order = (ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE)
        library.cblas_sgemm(*order, m, n, k, one, a, k, b, n, zero, c, n)

    product()
    before, end = _cpu(), time.monotonic() + SECONDS
    while time.monotonic() < end:
        product()
    spent = [t - before.get(task, 0) for task, t in _cpu().items()]
    return sorted((t / sum(spent) for t in spent), reverse=True)[:THREADS]


def _cpu() -> dict[str, int]:
    """Nanoseconds on a CPU of every thread of this process."""
    tasks = Path("/proc/self/task")
    return {t.name: int((t / "schedstat").read_text().split()[0]) for t in tasks.iterdir()}


if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = str(THREADS)
    openblas = ctypes.CDLL(sys.argv[1])
    found = []
    for m, n, k in PRODUCTS:
        parts = "/".join(f"{100 * share:.0f}" for share in shares(openblas, m, n, k))
        found.append(f"{m}x{n}x{k} {parts}")
    print(f"% of CPU time per thread, row-major: {', '.join(found)}")
