"""linnet's Fourier tiles against the real NNPACK, layer by layer.

    LINNET_NNPACK=PATH python bench/fourier.py [--isa avx2] [--threads 1] [--rounds 40]

Every round runs each algorithm once after a run that warms the caches, in turns, so that whatever
else the machine does hits all of them; the times are the best of all rounds. NNPACK's kernels for
x86-64 are AVX2, so the default compares AVX2 with AVX2. Kernels are transformed beforehand on both
sides; bias and ReLU are included, a following pool is not, since NNPACK cannot fuse it. Prints the
table of docs/nnpack.md.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from linnet import _core

LAYERS = [
    ("the study's conv2", "c16h41w41 k48r6x6"),
    ("the study's conv3", "c48h12w12 k96r5x5"),
    ("5x5, AlexNet's conv2 (one half)", "c48h27w27 k128r5x5p2,2,2,2"),
    ("5x5 of a GoogLeNet module", "c32h28w28 k96r5x5p2,2,2,2"),
    ("7x7", "c32h56w56 k64r7x7p3,3,3,3"),
    ("9x9", "c64h32w32 k32r9x9p4,4,4,4"),
    ("11x11", "c32h40w40 k48r11x11p5,5,5,5"),
    ("5x5, many channels", "c256h14w14 k256r5x5p2,2,2,2"),
    ("7x7 of one channel, the study's conv1", "c1h88w88 k16r7x7"),
    ("9x9 of three channels", "c3h64w64 k64r9x9p4,4,4,4"),
]
ALGORITHMS = {
    "fourier-8": "nhwc",
    "fourier-16": "nhwc",
    "nnpack-ft8x8": "nchw",
    "nnpack-ft16x16": "nchw",
}


def best_times(geometry: str, isa: str, threads: int, rounds: int) -> dict[str, float]:
    """Milliseconds of every algorithm that takes the layer."""
    rng = np.random.default_rng(0)
    runs = {}
    for name, layout in ALGORITHMS.items():
        key = f"conv f32 n1 {geometry} relu {layout} t{threads}"
        if _core.refusal(key, name, isa):
            continue
        p = _core.parse_problem(key)
        weight = rng.standard_normal((p["out"][0], p["in"][0], *p["kernel"])).astype(np.float32)
        layer = _core.Layer(key, name, isa, weight, np.zeros(p["out"][0], np.float32))
        x = rng.standard_normal(layer.x_count).astype(np.float32)
        runs[name] = (layer, x, np.empty(layer.y_count, np.float32))
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, (layer, x, y) in runs.items():
            best[name] = min(best[name], 1e3 * layer.run(x, None, y, 2)[1])
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--isa", default="avx2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    found, where = _core.find_nnpack()
    if not found:
        print(f"no NNPACK: {where}", file=sys.stderr)
        return 1
    print("| layer | " + " | ".join(ALGORITHMS) + " | best of NNPACK / best of ours |")
    print("|---" * (len(ALGORITHMS) + 2) + "|")
    for title, geometry in LAYERS:
        best = best_times(geometry, args.isa, args.threads, args.rounds)
        ours, theirs = (
            min(t for name, t in best.items() if name.startswith(family))
            for family in ("fourier", "nnpack")
        )
        cells = [f"{best[name]:.3f}" if name in best else "-" for name in ALGORITHMS]
        print(f"| {title}: `{geometry}` | " + " | ".join(cells) + f" | {theirs / ours:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
