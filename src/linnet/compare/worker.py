"""One cell of the comparison: a runtime in a process of its own, driven by lines of JSON.

The parent (`bench.py`) starts this file as a script under the runtime's own interpreter, which may
be as old as Python 3.9 with NumPy 1.19, so it needs nothing but those two and never imports linnet
(its adapter does). Requests arrive on stdin, one JSON object per line, and each gets one line back;
arrays travel as .npy files. What a runtime prints goes to stderr, which the parent keeps as a log.

Requests, in order: `start` (import), `load` (build the network, first call), `run` (timed calls,
any number of times), `accuracy` (of images with known answers, if there are any), `logits` (build
it up to the logits, for verification). Instead of `load`, `write` writes it as files of the
runtime's own format. The end of stdin ends the process.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import importlib.util
import json
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

POOL_BYTES = 64 << 20  # different inputs prepared ahead: enough not to repeat, few enough for a Pi
LIBRARIES = re.compile(
    r"/lib[^/]*(blas|atlas|blis|mkl|dnn|nnpack|xnnpack|gomp|iomp)[^/]*\.so[^/]*$", re.I
)


class Node(NamedTuple):
    """One operator of the canonical subset (see `linnet.graph`), its values by name."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any]

    def ints(self, name: str, count: int, default: int) -> list[int]:
        """The integers of attribute `name`, or `count` times `default`."""
        return [int(v) for v in self.attrs.get(name) or [default] * count]

    def window(self) -> tuple[list[int], list[int], list[int], list[int]]:
        """Kernel, strides, pads [top, left, bottom, right], dilations of a convolution or pool."""
        kernel = [int(v) for v in self.attrs["kernel_shape"]]
        strides, dilations = self.ints("strides", 2, 1), self.ints("dilations", 2, 1)
        return kernel, strides, self.ints("pads", 4, 0), dilations

    def lrn(self) -> dict[str, Any]:
        """Size, alpha, beta and bias of a local response normalization."""
        return {"alpha": 1e-4, "beta": 0.75, "bias": 1.0, **self.attrs}

    def symmetric_pads(self, runtime: str) -> tuple[int, int]:
        """Pads (height, width) where `runtime` pads both sides alike; ValueError if they differ."""
        top, left, bottom, right = self.window()[2]
        if (top, left) != (bottom, right):
            pads = self.window()[2]
            raise ValueError(f"{self.outputs[0]}: {runtime} pads both sides alike, not {pads}")
        return top, left


class Network:
    """The compared network as neutral data: what `network.py` wrote, what an adapter builds from.

    nodes are in topological order; weights maps initializer names to arrays; shapes gives every
    value's shape without its batch axis; model is the same network as an ONNX file. The variant
    "logits" ends where the final softmax would begin. For rows in int8, model is what linnet made
    and calibration holds the images [n, ...] that it was calibrated on, else None.
    """

    def __init__(self, folder: str, variant: str) -> None:
        import numpy

        with open(os.path.join(folder, "network.json"), encoding="utf-8") as file:
            data = json.load(file)
        self.input: str = data["input"]
        self.output: str = data[variant]["output"]
        self.nodes = [Node(**n) for n in data["nodes"][: data[variant]["nodes"]]]
        self.shapes: dict[str, list[int]] = data["shapes"]
        self.model = os.path.join(folder, variant + ".onnx")
        images = os.path.join(folder, "calibration.npy")
        self.calibration: Any = (
            numpy.load(images, mmap_mode="r") if os.path.exists(images) else None
        )
        with numpy.load(os.path.join(folder, "weights.npz")) as file:
            self.weights: dict[str, Any] = {
                k: file[f"arr_{i}"] for i, k in enumerate(data["weights"])
            }

    def consumers(self, value: str) -> int:
        """How many nodes read `value`."""
        return sum(n.inputs.count(value) for n in self.nodes)


def task_times() -> dict[str, int]:
    """Nanoseconds on a CPU of every thread of this process, by thread id."""
    times = {}
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/schedstat") as file:
                times[task] = int(file.read().split()[0])
        except OSError:  # the thread has ended, or a kernel without CONFIG_SCHED_INFO
            continue
    return times


def peak_memory() -> int:
    """Highest resident memory of this process, in bytes."""
    with open("/proc/self/status") as file:
        return int(re.findall(r"^VmHWM:\s*(\d+)", file.read(), re.M)[0]) * 1024


def mappings() -> list[tuple[int, int, str]]:
    """Files in this process's memory: first address, end, path."""
    found = []
    with open("/proc/self/maps") as file:
        for line in file:
            if "/" in line:
                begin, end = line.split(None, 1)[0].split("-")
                found.append((int(begin, 16), int(end, 16), line.split(None, 5)[-1].strip()))
    return found


def check_borrowed(path: str) -> None:
    """RuntimeError unless the library is in this process, and its product is the one called.

    A runtime that was not linked against it calls the global function of that name.
    """
    maps, real = mappings(), os.path.realpath(path)
    if real not in {os.path.realpath(p) for _, _, p in maps}:
        raise RuntimeError(f"{path} is not used")
    if os.environ.get("LD_PRELOAD") == path:
        product = ctypes.cast(ctypes.CDLL(None).cblas_sgemm, ctypes.c_void_p).value or 0
        owner = next((p for begin, end, p in maps if begin <= product < end), "nowhere")
        if os.path.realpath(owner) != real:
            raise RuntimeError(f"cblas_sgemm comes from {owner}, not from {path}")


def mapped_libraries(borrowed: str | None) -> list[dict[str, str]]:
    """BLAS, neural-network and OpenMP libraries in this process: path, sha256, core, config; and
    which of them is the one that was borrowed.
    """
    paths = {path for _, _, path in mappings()}
    own = borrowed and os.path.realpath(borrowed)
    found = []
    for path in sorted(p for p in paths if LIBRARIES.search(p) or p == own):
        if "numpy" in path:
            continue
        digest = hashlib.sha256()
        try:
            with open(path, "rb") as binary:
                for block in iter(lambda: binary.read(1 << 20), b""):
                    digest.update(block)
        except OSError:
            continue
        entry = {"path": path, "sha256": digest.hexdigest()}
        if path == own:
            entry["borrowed"] = "yes"
        library = ctypes.CDLL(path)
        for key in ("corename", "config"):
            query = getattr(library, "openblas_get_" + key, None)
            if query is not None:
                query.restype = ctypes.c_char_p
                entry[key] = query().decode()
        found.append(entry)
    return found


class Cell:
    """The state behind the requests: one runtime, one network, one batch size."""

    def __init__(self) -> None:
        self.adapter: Any = None
        self.call: Callable[[Any], Any] | None = None
        self.pool: list[Any] = []
        self.next = 0
        self.borrowed: str | None = None

    def start(
        self, adapter: str, module: str, threads: int, options: dict[str, Any]
    ) -> dict[str, Any]:
        """Import the runtime's `module` and set it up by the adapter file at path `adapter`."""
        import numpy  # outside the clock: every runtime needs it  # noqa: F401

        spec = importlib.util.spec_from_file_location("linnet_compare_adapter", adapter)
        assert spec is not None and spec.loader is not None
        adapters = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(adapters)
        self.borrowed = options.get("borrowed")
        begin = time.perf_counter()
        runtime = importlib.import_module(module)
        self.adapter = adapters.Adapter(runtime, threads, options)
        took = time.perf_counter() - begin
        return {
            "import_s": took,
            "version": getattr(self.adapter, "version", None) or runtime.__version__,
            "library": self.adapter.library,
        }

    def load(self, network: str, batch: int, images: str, output: str) -> dict[str, Any]:
        """Build the network for `batch` images; save the result of the first call at `output`."""
        import numpy

        self.network, self.batch = network, batch
        model = Network(network, "network")
        source = numpy.load(images, mmap_mode="r")
        count = min(max(POOL_BYTES // (source[:1].nbytes * batch), 4), 32)
        self.prepare = getattr(self.adapter, "prepare", numpy.ascontiguousarray)
        for i in range(count):
            self.pool.append(self.prepare(source[(numpy.arange(batch) + i) % len(source)]))
        begin = time.perf_counter()
        self.call = self.adapter.load(model, batch)
        built = time.perf_counter()
        result = self.call(self.pool[0])
        done = time.perf_counter()
        self.save(output, result, model)
        if self.borrowed:
            check_borrowed(self.borrowed)
        return {
            "load_s": built - begin,
            "first_call_s": done - built,
            "libraries": mapped_libraries(self.borrowed),
        }

    def write(self, network: str, files: list[str]) -> dict[str, Any]:
        """Write the network, for one image at a time, as the runtime's own `files`."""
        self.adapter.write(Network(network, "network"), files)
        return {}

    def accuracy(self, images: str, labels: str) -> dict[str, Any]:
        """The fraction of images whose largest output is at their label."""
        import numpy

        assert self.call is not None
        source, wanted = numpy.load(images, mmap_mode="r"), numpy.load(labels)
        right = 0
        for i in range(0, len(source), self.batch):
            index = numpy.arange(i, i + self.batch) % len(source)  # the last batch is filled up
            y = numpy.asarray(self.call(self.prepare(source[index]))).reshape(self.batch, -1)
            own = index[: len(source) - i]
            right += int((y[: len(own)].argmax(1) == wanted[own]).sum())
        return {"accuracy": right / len(source)}

    def logits(self, output: str) -> dict[str, Any]:
        """Save the logits of the images of the first call at `output`; it cannot `run` then."""
        self.call, self.pool = None, self.pool[:1]  # the two networks need not be there at once
        gc.collect()
        model = Network(self.network, "logits")
        call = self.adapter.load(model, self.batch)
        self.save(output, call(self.pool[0]), model)
        return {}

    def save(self, output: str, result: Any, model: Network) -> None:
        import numpy

        result = numpy.asarray(result)
        expected = (self.batch, *model.shapes[model.output])
        if result.size != numpy.prod(expected, dtype=int):
            raise ValueError(f"the output has shape {result.shape}, expected {expected}")
        numpy.save(output, result.reshape(expected))

    def run(self, seconds: float, calls: int, warmup: bool, interval: float) -> dict[str, Any]:
        """Time at most `calls` calls, at least one and no new one after `seconds`.

        interval: seconds to wait before each call.
        """
        assert self.call is not None
        if warmup:
            self.call(self.input())
        gc.collect()
        gc.disable()
        before, cpu, begin = task_times(), time.process_time(), time.perf_counter()
        times: list[float] = []
        while len(times) < calls and (not times or time.perf_counter() - begin < seconds):
            x = self.input()
            if interval:
                time.sleep(interval)
            start = time.perf_counter()
            self.call(x)
            times.append(time.perf_counter() - start)
        wall, cpu, after = time.perf_counter() - begin, time.process_time() - cpu, task_times()
        gc.enable()
        working = wall - interval * len(times)
        used = sum(after[t] - before.get(t, 0) > 0.05e9 * working for t in after)
        return {"times": times, "threads": used, "cpu": cpu, "wall": wall, "peak": peak_memory()}

    def input(self) -> Any:
        self.next = (self.next + 1) % len(self.pool)
        return self.pool[self.next]


def main(argv: Sequence[str]) -> int:
    sys.path.pop(0)  # this folder: its modules must not shadow the runtime's
    libc = ctypes.CDLL(None)
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no process outlives the bench
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    cell = Cell()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(cell, request.pop("do"))(**request)
        except MemoryError as error:
            reply = {"error": str(error) or "out of memory", "memory": True}
        except BaseException as error:  # whatever it is, it is one cell's reason
            traceback.print_exc()
            memory = "bad_alloc" in str(error) or "OOM" in str(error)
            reply = {"error": f"{type(error).__name__}: {error}", "memory": memory}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
        if "error" in reply:
            return 1
    return 0


if __name__ == "__main__":
    # A runtime's threads may still run: end without the tear-down, in which some crash.
    os._exit(main(sys.argv[1:]))
