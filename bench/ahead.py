"""A compiled network beside others that are compiled or run without a large runtime, by turns.

    linnet compile net.tflite -o net --emit python && linnet convert net.tflite net.onnx
    pip install net-1-*.whl tflite-micro apache-tvm onnx
    python bench/ahead.py net.tflite net.onnx [--seconds 5]

The wheel's module is called net. One thread; inputs are random. Prints for each the median of the
time of a call, and how far results are from the compiled network's.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Run = Callable[[], Array]


def compiled(inputs: Sequence[Array]) -> Run:
    network = importlib.import_module("net").Network()

    def run() -> Array:
        results = network(*inputs)
        return np.asarray(results[0] if isinstance(results, tuple) else results)

    return run


def tflite_micro(file: Path, inputs: Sequence[Array]) -> Run:
    runtime = importlib.import_module("tflite_micro").runtime
    interpreter = runtime.Interpreter.from_file(str(file))

    def run() -> Array:
        for i, x in enumerate(inputs):
            interpreter.set_input(x, i)
        interpreter.invoke()
        return np.asarray(interpreter.get_output(0))

    return run


def tvm(file: Path, inputs: Sequence[Array]) -> Run:
    """Without a search, which takes hours."""
    tvm = importlib.import_module("tvm")
    relax = importlib.import_module("tvm.relax")
    frontend = importlib.import_module("tvm.relax.frontend.onnx")
    model = importlib.import_module("onnx").load(str(file))
    shapes = {value.name: list(x.shape) for value, x in zip(model.graph.input, inputs)}
    target = tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu()})
    module = frontend.from_onnx(model, shape_dict=shapes)
    with target:
        machine = relax.VirtualMachine(tvm.compile(module, target=target), tvm.cpu())
    given = [tvm.runtime.tensor(x) for x in inputs]

    def run() -> Array:
        result = machine["main"](*given)
        return np.asarray((result if hasattr(result, "numpy") else result[0]).numpy())

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tflite", type=Path)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    random = np.random.default_rng(0)
    inputs = []
    for _, shape, dtype in importlib.import_module("net").INPUTS:
        x = random.random([size or 1 for size in shape], np.float32)
        inputs.append(
            x if dtype == "float32" else (x * 255 - 128 * (dtype == "int8")).astype(dtype)
        )
    runs: dict[str, Run] = {}
    makers: dict[str, Callable[[], Run]] = {
        "linnet compile": lambda: compiled(inputs),
        "TFLite Micro": lambda: tflite_micro(args.tflite, inputs),
        "Apache TVM": lambda: tvm(args.onnx, inputs),
    }
    for name, maker in makers.items():
        try:
            runs[name] = maker()
        except Exception as error:  # whatever another runtime says
            print(f"{name}: {type(error).__name__}: {str(error).splitlines()[:1]}")
    known = runs["linnet compile"]().ravel().astype(np.float64)
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        for name, run in runs.items():
            start = time.perf_counter()
            for _ in range(5):
                run()
            times[name].append((time.perf_counter() - start) / 5)
    for name, run in runs.items():
        apart = np.abs(run().ravel().astype(np.float64) - known).max()
        print(f"{name:15} {statistics.median(times[name]) * 1e3:9.3f} ms, {apart:.3g} apart")


if __name__ == "__main__":
    main()
