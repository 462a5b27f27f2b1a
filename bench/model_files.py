"""Networks as files of other runtimes, written by those runtimes, and compared with what was drawn.

What is read back must have the same weights, bit by bit, and compute the same in float64.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linnet import interpret
from linnet.compare import network
from linnet.compare.bench import WORKER, Worker
from linnet.compare.environments import missing, set_up
from linnet.compare.launch import launch
from linnet.compare.processes import SetupError, scratch_folder
from linnet.compare.runtimes import runtimes
from linnet.formats import onnx_write
from linnet.graph import Graph
from linnet.model import canonical

# Of the largest output: constants that formats hold as numbers in float32, such as LRN's.
TOLERANCE = 1e-6


class Files(NamedTuple):
    """How a format's files are named, and the runtime and its configuration that writes them."""

    endings: tuple[str, ...]
    runtime: str = ""
    configuration: str = ""


FORMATS = {
    "onnx": Files((".onnx",)),
    "caffe": Files((".prototxt", ".caffemodel"), "caffe"),
    "mxnet": Files(("-symbol.json", "-0000.params"), "mxnet", "mxnet-onednn"),
    "tensorflow": Files((".pb",), "tensorflow", "tf-vanilla"),
    "tflite": Files((".tflite",), "litert", "litert"),
}


def names(path: Path, name: str) -> list[Path]:
    """The files of a format for a path without an ending."""
    return [path.with_name(path.name + ending) for ending in FORMATS[name].endings]


def write(graph: Graph, path: Path, name: str, *, setup: bool) -> None:
    """Write the files of a format. SetupError if its runtime is not there."""
    if name == "onnx":
        onnx_write.save(graph, names(path, name)[0])
        return
    wanted = FORMATS[name]
    runtime = runtimes()[wanted.runtime]
    settings = runtime.configurations.get(wanted.configuration, {})
    if setup:
        set_up([runtime], lambda text: print(text, file=sys.stderr))
    if reason := missing(runtime, settings):
        raise SetupError(f"{runtime.name}: {reason}")
    with scratch_folder() as folder:
        network.export(graph, folder)
        start = launch(runtime, settings, 1, folder)
        worker = Worker([*start.command, str(WORKER)], start.variables, folder / "log")
        try:
            worker.ask(
                "start",
                adapter=str(runtime.adapter),
                module=runtime.module,
                threads=1,
                options=start.options,
            )
            files = list(map(str, names(path.absolute(), name)))
            worker.ask("write", network=str(folder), files=files)
        finally:
            worker.close()


def difference(graph: Graph, path: Path, name: str) -> str:
    """How the network in the files of a format is not `graph`; "" if it is."""
    files = names(path, name)
    for file in files:
        if not file.exists():
            return f"there is no {file}"
    found = canonical(files[0], files[1] if len(files) > 1 else None)
    own, others = weights(graph), weights(found)
    if len(own) != len(others):
        return f"{len(others)} weights, not {len(own)}"
    if not np.array_equal(own, others):
        return f"{np.count_nonzero(own != others)} weights differ, sorted by size"
    return _difference(graph, found)


def _difference(graph: Graph, found: Graph) -> str:
    image = np.random.default_rng(1).random((1, *graph.inputs[0].shape[1:]), np.float32)
    (wanted,) = interpret.run(graph, {graph.inputs[0].name: image}, np.float64).values()
    source = found.inputs[0]
    if source.shape[1:] != image.shape[1:]:
        image = np.ascontiguousarray(image.transpose(0, 2, 3, 1))
    (y,) = interpret.run(found, {source.name: image}, np.float64).values()
    if y.shape != wanted.shape and y.ndim == 4:
        y = y.transpose(0, 3, 1, 2)
    if y.size != wanted.size:
        return f"the output has shape {y.shape}, not {wanted.shape}"
    error = float(np.abs(y.reshape(wanted.shape) - wanted).max() / np.abs(wanted).max())
    return "" if error <= TOLERANCE else f"the output differs by {error:.1e} of its largest value"


def weights(graph: Graph) -> Any:
    """All weights of layers but zeros, sorted: formats have them in other orders and layouts.

    Layers of ones alone are what a reader makes of padding with other numbers than zero.
    """
    layers = (node for node in graph.nodes if node.op in ("Conv", "Gemm"))
    read = {name for node in layers for name in node.inputs[1:]} & graph.initializers.keys()
    arrays = [a for a in map(graph.initializers.__getitem__, read) if np.any(a != 1)]
    joined = np.concatenate([a.ravel() for a in arrays])
    return np.sort(joined[joined != 0])
