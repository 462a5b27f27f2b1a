"""Times a network with float32, float16 and int8 weights in turns, in one process.

Run on one core, as `taskset -c 3 python bench/weights.py`. The model is the shipped one unless
another is given: a file, or a network of models.py by its name.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from models import named

import linnet
from linnet import digits
from linnet.options import WEIGHT_TYPES

CALLS = 3  # in a row, of which the last is timed: the others' weights then are out of the caches


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=named, default=digits.MODEL)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa")
    parser.add_argument("--rounds", type=int, default=300)
    args = parser.parse_args()

    nets = [
        linnet.load(args.model, weights_dtype=dtype, threads=args.threads, isa=args.isa)
        for dtype in WEIGHT_TYPES
    ]
    random = np.random.default_rng(0)
    inputs = [random.random((args.batch, *v.shape[1:]), np.float32) for v in nets[0].inputs]
    times = np.empty((args.rounds, len(nets)))
    for row in times:
        for i, net in enumerate(nets):
            for _ in range(CALLS):
                start = time.perf_counter()
                net(*inputs)
                row[i] = time.perf_counter() - start
    print(f"{args.model.name}, batch {args.batch}, {nets[0].isa}, threads {args.threads}: ms")
    for i, net in enumerate(nets):
        ratio = np.median(times[:, i] / times[:, 0])
        print(
            f"{WEIGHT_TYPES[i]:5} median {np.median(times[:, i]) * 1e3:.3f}, least "
            f"{times[:, i].min() * 1e3:.3f}, of float32's {ratio:.2f}; "
            f"{net.weight_bytes / 1e6:.2f} MB of packed weights"
        )


if __name__ == "__main__":
    main()
