"""What tests of comparisons share: a runtime of NumPy, a small network, results, arguments."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from linnet.cli import compare
from linnet.compare import report
from linnet.compare.bench import Cell, Protocol, Row
from linnet.compare.machine import Watch
from linnet.graph import Graph, Node, Value

# A runtime whose options make it misbehave. It fails if it gets the same images twice in a row.
ADAPTER = """
import ctypes, os, sys, time, types
import numpy
from linnet import interpret

class Adapter:
    def __init__(self, module, threads, options):
        self.version, self.library, self.options = "7", f"NumPy for {threads}", options
        print("chatter on stdout")

    def load(self, network, batch):
        weights, options = dict(network.weights), self.options
        if "perturb" in options:
            weights["w2"] = weights["w2"].copy()
            weights["w2"][0, 0] += options["perturb"]
        graph = types.SimpleNamespace(
            nodes=network.nodes, initializers=weights, inputs=[], outputs=[network.output],
            metadata={})
        seen = []
        def call(x):
            assert not seen or not numpy.array_equal(x, seen[-1]), "the same images twice"
            seen[:] = [x.copy()]
            y = interpret.run(graph, {network.input: x}, numpy.float32)[network.output]
            if network.output == "y" and "flip" in options:
                y = y[:, ::-1]
            if batch >= options.get("crash", 99):
                os.abort()
            if batch >= options.get("raise", 99):
                raise RuntimeError("no such kernel")
            if batch >= options.get("exhaust", 99):
                raise MemoryError
            if batch >= options.get("grow", 99):
                options["kept"] = numpy.ones(400 << 17)
                time.sleep(60)
            return y
        return call
"""


def small_graph(name: str = "small") -> Graph:
    """Convolution, pool and two layers behind a flatten: 1x10x9 in, 5 probabilities out."""
    random = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray[Any, Any]:
        return random.standard_normal(shape).astype(np.float32)

    initializers = {"w1": weights(4, 1, 3, 3), "b1": weights(4), "w2": weights(5, 48)}
    nodes = [
        Node("Conv", "conv", ["x", "w1", "b1"], ["c"], {"kernel_shape": [3, 3], "strides": [1, 1]}),
        Node("Relu", "relu", ["c"], ["r"]),
        Node("MaxPool", "pool", ["r"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        Node("Flatten", "flatten", ["p"], ["f"], {"axis": 1}),
        Node("Gemm", "fc", ["f", "w2"], ["logits"], {"transB": 1}),
        Node("Softmax", "prob", ["logits"], ["y"], {"axis": 1}),
    ]
    return Graph(name, nodes, initializers, [Value("x", (0, 1, 10, 9))], ["y"])


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def as_data(rows: list[Row]) -> dict[str, Any]:
    protocol = Protocol([cell.batch for cell in rows[0].cells], 1, 1.0, 20)
    return report.as_data(rows, "net", protocol, Watch())


def cells(*times: float) -> list[Cell]:
    return [Cell(1, times=[t, t, t]) for t in times]
