"""Random convolutions, pools and graphs against what they mean, and files of Caffe's, MXNet's,
ncnn's and Darknet's with something wrong in them, for as long as there is time.

`python make/long.py [--seconds N] [--count N] [--seed N]`, or `make long`. Layers run on every
instruction set by every algorithm that takes them, between pages that cannot be read or written, so
that one number beyond an array ends the process. The seed of a search is printed first, and what
fails with its number, which `--only` tries again.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import mmap
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import caffe_fuzz
import hypothesis
import pairs_fuzz
import test_integers as integers
import test_problems as problems
import test_session_graphs as graphs

from linnet import _core

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_size_t]
LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
PAGE = mmap.PAGESIZE


class Guarded:
    """Numbers that begin or end with a page, between pages that nobody may touch."""

    def __init__(self, values: Any, at_end: bool) -> None:
        inside = -(-max(1, values.nbytes) // PAGE) * PAGE
        self.size = inside + 2 * PAGE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self.address = LIBC.mmap(None, self.size, 0, flags, -1, 0)
        if self.address == ctypes.c_void_p(-1).value:
            raise MemoryError
        begin = self.address + PAGE
        if LIBC.mprotect(begin, inside, mmap.PROT_READ | mmap.PROT_WRITE):
            raise MemoryError
        place = begin + (inside - values.nbytes if at_end else 0)
        memory = (ctypes.c_char * values.nbytes).from_address(place)
        self.array = np.frombuffer(memory, values.dtype)
        self.array[:] = values

    def __enter__(self) -> Any:
        return self.array

    def __exit__(self, *_: object) -> None:
        LIBC.munmap(self.address, self.size)


def pair(random: np.random.Generator, low: int, high: int) -> list[int]:
    """Two numbers, more often small and equal than not."""
    sizes = np.minimum(random.integers(low, high + 1, 2), random.integers(low, high + 1, 2))
    return [int(sizes[0]), int(sizes[0 if random.random() < 0.6 else 1])]


def draw_window(random: np.random.Generator, dilated: bool) -> tuple[str, list[int]]:
    """A window's words, and the pixels that it needs."""
    size, stride = pair(random, 1, 9), pair(random, 1, 3)
    dilation = pair(random, 1, 3) if dilated and random.random() < 0.2 else [1, 1]
    extent = [(s - 1) * d + 1 for s, d in zip(size, dilation)]
    pads = [int(random.integers(0, extent[i % 2])) for i in range(4)]
    if random.random() < 0.5:
        pads = [e // 2 for e in extent] * 2
    words = f"r{size[0]}x{size[1]}s{stride[0]}x{stride[1]}p{','.join(map(str, pads))}"
    return words + f"d{dilation[0]}x{dilation[1]}", extent


def draw_layer(random: np.random.Generator) -> str:
    """The key of a convolution or pool."""
    kind = random.choice(["conv", "conv", "pool"])
    average = kind == "pool" and random.random() < 0.5
    window, extent = draw_window(random, dilated=not average)
    h, w = (int(random.integers(1, 24)) + e for e in extent)
    c, k = (int(random.choice([1, 2, 3, 5, 8, 13, 16, 24, 33, 64])) for _ in range(2))
    layout = random.choice(["nchw", "nhwc", "nchw>nhwc", "nhwc>nchw"])
    tail = f"{layout} t{random.integers(1, 4)}"
    head = f"{kind} f32 n{random.integers(1, 4)} c{c}h{h}w{w}"
    if kind == "pool":
        words = ["average" if average else "max", "ceil" if random.random() < 0.3 else ""]
        words.append("pads" if average and random.random() < 0.5 else "")
        return " ".join([head, window, *filter(None, words), tail])
    groups = int(random.choice([1, 1, 1, c]))
    words = [f"k{k * groups if groups > 1 else k}{window}", f"g{groups}" if groups > 1 else ""]
    words += [str(random.choice(["", "relu", "relu6"]))]
    if random.random() < 0.25:
        words.append("maxpool{}x{}".format(*pair(random, 2, 3)))
    elif random.random() < 0.3:
        words.insert(2, "add")
    return " ".join([head, *filter(None, words), tail])


def try_layer(random: np.random.Generator) -> str:
    """Runs a layer in all ways; its key, empty if it is none."""
    try:
        p = _core.parse_problem(draw_layer(random))
    except ValueError:
        return ""
    key, v = p["key"], problems.operands(p)
    want = problems.expected(p, v)
    sums = problems.expected(p, v, unlimited=True)
    size = max(np.sqrt(np.mean(np.square(sums))), 1e-30)
    for isa in problems.ISAS:
        for name in _core.algorithms():
            if _core.refusal(key, name, isa):
                continue
            layer = _core.Layer(key, name, isa, v.get("w"), v.get("b"))
            x = problems.input_array(v["x"], p, layer.width)
            z = np.zeros(0, np.float32)
            if "operand" in v:
                z = problems.to_layout(v["operand"], p["out_layout"], layer.width)
            ends = random.random(3) < 0.5
            y = np.full(layer.y_count, np.nan, np.float32)
            with Guarded(x, ends[0]) as a, Guarded(z, ends[1]) as b, Guarded(y, ends[2]) as c:
                layer.run(a, b if "operand" in v else None, c)
                shape = (p["n"], *p["out"])
                got, lanes, _ = problems.from_layout(c, shape, p["out_layout"], layer.width)
                error = np.abs(np.where(got == want, 0, got - want)).max() / size
                # Rounding grows as the root of how many products are added.
                products = v["w"][0].size if "w" in v else 0
                bound = problems.BOUNDS[name] * max(1, products / 1024) ** 0.5
                if not error <= bound or lanes.any():
                    raise AssertionError(f"{key} by {name} on {isa} is off by {error:.2g}")
    return key


def try_integers(random: np.random.Generator) -> str:
    """Runs a quantized layer in all ways."""
    line = integers.draw(random, int(random.integers(12)))
    integers.check(line, lambda values: Guarded(values, random.random() < 0.5))
    return line


def try_graph(random: np.random.Generator) -> str:
    """Draws a graph, smaller ones if it fails, and runs it."""
    isa, algorithm = random.choice(graphs.ISAS), random.choice(graphs.ALGORITHMS)
    threads, batch = int(random.integers(1, 4)), int(random.integers(1, 20))

    @hypothesis.seed(int(random.integers(1 << 62)))
    @hypothesis.settings(graphs.EXAMPLES, max_examples=3, derandomize=False)
    @hypothesis.given(made=graphs.graphs())
    def search(made: graphs.Maker) -> None:
        net = graphs.session(made.graph, algorithm=algorithm, isa=isa, threads=threads)
        graphs.check(net, made.graph, batch, made.fetch)

    search()
    return f"graphs by {algorithm or 'any'} on {isa}, {threads} threads, batch {batch}"


def try_files(random: np.random.Generator) -> str:
    """Reads damaged files of Caffe's: a ValueError or a network that runs, and soon."""
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(50):
            files, begin = caffe_fuzz.damaged(random), time.monotonic()
            try:
                caffe_fuzz.attempt(files, Path(folder))
                assert time.monotonic() - begin < 20, "takes too long"
            except BaseException:
                print(f"of {files.model!r} with {files.weights!r}", flush=True)
                raise
    return "damaged files of Caffe's"


def try_pairs(random: np.random.Generator) -> str:
    """The same of MXNet's, ncnn's and Darknet's."""
    name = str(random.choice(["mxnet", "ncnn", "darknet"]))
    for _ in range(50):
        files, begin = pairs_fuzz.damaged(random, name), time.monotonic()
        try:
            pairs_fuzz.attempt(files)
            assert time.monotonic() - begin < 20, "takes too long"
        except BaseException:
            print(f"of {files.model!r} with {files.weights!r}", flush=True)
            raise
    return f"damaged files of {name}"


SEARCHES: list[Callable[[np.random.Generator], str]] = [
    try_layer,
    try_integers,
    try_layer,
    try_integers,
    try_layer,
    try_graph,
    try_files,
    try_pairs,
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--count", type=int, help="as many searches, however long they take")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--only", type=int, help="this number of the seed's, and no other")
    options = parser.parse_args()
    faulthandler.enable()
    print(f"seed {options.seed}", flush=True)
    end, number, done = time.monotonic() + options.seconds, options.only or 0, 0
    while (
        number == options.only
        or number < (options.count or 0)
        or (options.only is None and options.count is None and time.monotonic() < end)
    ):
        random = np.random.default_rng([options.seed, number])
        # Should the process end, this is what it was at.
        Path("build").mkdir(exist_ok=True)
        Path("build/long.last").write_text(f"--seed {options.seed} --only {number}\n")
        try:
            done += bool(SEARCHES[number % len(SEARCHES)](random))
        except BaseException:
            print(f"failed: make/long.py --seed {options.seed} --only {number}", flush=True)
            raise
        number += 1
    print(f"{done} layers, graphs and sets of files")


if __name__ == "__main__":
    main()
