"""A network whose values are too large for a cache, for tests of steps in bands of rows."""

from __future__ import annotations

import numpy as np

from linnet import passes, quantize, verify
from linnet.graph import Graph, Node, Value

SIDE = 260


def network() -> Graph:
    """Pointwise, depthwise, pointwise with a residual, and as many with a stride."""
    graph = Graph("bands", [], {}, [Value("x", (0, 16, SIDE, SIDE))], ["y"])
    random = np.random.default_rng(3)

    def conv(name: str, x: str, channels: tuple[int, int], kernel: int, stride: int = 1) -> str:
        groups = channels[0] if kernel > 1 else 1
        weights = random.normal(size=(channels[1], channels[0] // groups, kernel, kernel))
        scale = np.sqrt(channels[0] / groups) * kernel
        graph.initializers[f"{name}.w"] = (weights / scale).astype(np.float32)
        graph.initializers[f"{name}.b"] = random.random(channels[1], np.float32)
        attrs = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4, "group": groups}
        attrs["strides"] = [stride] * 2
        inputs = [x, f"{name}.w", f"{name}.b"]
        graph.nodes.append(Node("Conv", name, inputs, [name], attrs))
        graph.nodes.append(Node("Relu", f"{name}.r", [name], [f"{name}.r"], {}))
        return f"{name}.r"

    x = conv("b", conv("a", "x", (16, 48), 1), (48, 48), 3)
    graph.nodes.append(Node("Add", "sum", [conv("c", x, (48, 16), 1), "x"], ["sum"], {}))
    x = conv("e", conv("d", "sum", (16, 40), 1), (40, 40), 3, 2)
    graph.nodes.append(Node("Identity", "y", [conv("f", x, (40, 8), 1)], ["y"], {}))
    return graph


def images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(4).random((count, 16, SIDE, SIDE), np.float32)


def in_integers(graph: Graph) -> Graph:
    """With every layer in integers."""
    graph = passes.canonicalize(graph)
    known = quantize.Network(graph)
    scheme = quantize.Scheme(known, dict.fromkeys(known.layers, "int8"))
    calibration = quantize.Calibration(known, scheme.values, "minmax")
    x = images(1)
    calibration.see({**verify.run_model("A", graph, {"x": x}).values, "x": x}, 1)
    return quantize.written(scheme, calibration)[0]
