"""What no other pass could fold, as canonical operators."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..graph import Array, Graph, Node, Shape
from .integers import grid_of

_MOST = 127  # of an integer that is a weight
_MOST_BIAS = 2.0**29  # as an integer: the sum it is added to needs room, too


def expand(graph: Graph) -> Graph:
    """What is left of Affine becomes a Mul or an Add; if it does both, these two where all numbers
    are treated alike, else a convolution of every channel with a 1x1 kernel, as ZeroPad does.
    Between integers of 8 bits it is always that, its weights integers, too.
    """
    initializers = dict(graph.initializers)
    names = graph.names()
    nodes: list[Node] = []
    producers = {node.outputs[0]: node for node in graph.nodes}
    rounded = _rounded(graph)
    for node in graph.nodes:
        if node.op not in ("Affine", "ZeroPad"):
            nodes.append(node)
            continue
        (x,), (y,) = node.inputs, node.outputs
        shape = node.attrs["shape"]
        channels = shape[1]

        def constant(what: str, array: Array, owner: str = y) -> str:
            name = names.fresh(f"{owner}.{what}")
            initializers[name] = array
            return name

        def reshape(source: str, target: Shape, output: str) -> str:
            wanted = constant("shape", np.array((0, *target[1:]), np.int64))
            nodes.append(Node("Reshape", output, [source, wanted], [output], {}))
            return output

        scale = node.attrs.get("scale", np.ones(1))
        shift = node.attrs.get("shift", np.zeros(1))
        grid = grid_of(producers.get(x), "DequantizeLinear", initializers)
        between = grid and len(shape) == 4 and (node.op == "ZeroPad" or y in rounded)
        whole = _whole(scale, shift, grid.scale) if grid and between else None
        if whole is None and node.op == "Affine" and ((scale == 1).all() or not shift.any()):
            op, what, array = ("Add", "shift", shift) if shift.any() else ("Mul", "scale", scale)
            array = array.astype(np.float32).reshape(-1, *(1,) * (len(shape) - 2))
            nodes.append(Node(op, node.name, [x, constant(what, array)], [y], {}))
            continue
        if whole is None and node.op == "Affine" and scale.size == shift.size == 1:
            factor, term = scale.astype(np.float32), shift.astype(np.float32)
            inner = names.fresh(f"{y}.scaled")
            nodes.append(Node("Mul", inner, [x, constant("scale", factor)], [inner], {}))
            nodes.append(Node("Add", node.name, [inner, constant("shift", term)], [y], {}))
            continue
        image = len(shape) == 4
        if not image:
            x = reshape(x, (0, channels, math.prod(shape[2:]), 1), names.fresh(f"{y}.image"))
        factors = np.full(channels, scale, np.float32).reshape(-1, 1, 1, 1)
        inputs = [x, names.fresh(f"{y}.scale")]
        if whole is not None:  # a layer of integers
            each = np.full(channels, whole[0], np.int8).reshape(-1, 1, 1, 1)
            parts = [constant("integers", each), constant("steps", whole[1])]
            nodes.append(Node("DequantizeLinear", inputs[1], parts, [inputs[1]], {"axis": 0}))
        else:
            initializers[inputs[1]] = factors
        if shift.any():
            inputs.append(constant("shift", np.full(channels, shift, np.float32)))
        attrs = {
            "kernel_shape": [1, 1],
            "strides": [1, 1],
            "pads": node.attrs.get("pads", [0, 0, 0, 0]),
            "dilations": [1, 1],
            "group": channels,
        }
        output = y if image else names.fresh(f"{y}.scaled")
        nodes.append(Node("Conv", node.name, inputs, [output], attrs))
        if not image:
            reshape(output, shape, y)
    return replace(graph, nodes=nodes, initializers=initializers)


def _rounded(graph: Graph) -> set[str]:
    """Values that become integers of 8 bits and nothing else, some within limits."""
    readers: dict[str, list[Node]] = {name: [] for name in graph.outputs}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    found: set[str] = set()
    for node in reversed(graph.nodes):
        own = [reader for name in node.outputs for reader in readers.get(name, [])]
        if (
            node.outputs[0] not in graph.outputs
            and own
            and all(
                reader.op == "QuantizeLinear"
                or (reader.op in ("Relu", "Clip") and reader.outputs[0] in found)
                for reader in own
            )
        ):
            found.add(node.outputs[0])
    return found


def _whole(scale: Array, shift: Array, step: float) -> tuple[Array, Array] | None:
    """Factors as an integer times a scale each, the integer as large as may be: the shift becomes
    one in their steps times the input's. None where it would not fit.
    """
    sizes = np.abs(scale)
    steps = (sizes / (1 if (scale == 1).all() and not shift.any() else _MOST)).astype(np.float32)
    least = np.finfo(np.float32).tiny
    if not ((steps >= least).all() and np.isfinite(steps).all()):
        return None
    if not (np.abs(shift) <= step * steps.astype(np.float64) * _MOST_BIAS).all():
        return None
    steps = steps if (steps != steps[0]).any() else steps[0].reshape(())
    return np.rint(scale / np.float64(steps)), steps
