"""What no other pass could fold, as canonical operators."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..graph import Array, Graph, Node, Shape


def _alike(array: Array) -> bool:
    return bool((array == array[0]).all())


def expand(graph: Graph) -> Graph:
    """What is left of Affine becomes a Mul or an Add, if it does both a convolution of every
    channel with a 1x1 kernel, as ZeroPad does.
    """
    initializers = dict(graph.initializers)
    names = graph.names()
    nodes: list[Node] = []
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

        scale = node.attrs.get("scale", np.ones(channels))
        shift = node.attrs.get("shift", np.zeros(channels))
        if graph.example and node.op == "Affine" and _alike(scale) and _alike(shift):
            # As many channels as that axis has in the example: the numbers alone, of any size.
            scaled = names.fresh(f"{y}.scaled")
            factor, more = (array[:1].astype(np.float32) for array in (scale, shift))
            nodes.append(Node("Mul", scaled, [x, constant("scale", factor)], [scaled], {}))
            nodes.append(Node("Add", node.name, [scaled, constant("shift", more)], [y], {}))
            continue
        if node.op == "Affine" and ((scale == 1).all() or not shift.any()):
            op, what, array = ("Add", "shift", shift) if shift.any() else ("Mul", "scale", scale)
            array = array.astype(np.float32).reshape(-1, *(1,) * (len(shape) - 2))
            nodes.append(Node(op, node.name, [x, constant(what, array)], [y], {}))
            continue
        image = len(shape) == 4
        if not image:
            x = reshape(x, (0, channels, math.prod(shape[2:]), 1), names.fresh(f"{y}.image"))
        inputs = [x, constant("scale", scale.astype(np.float32).reshape(-1, 1, 1, 1))]
        if shift.any():
            inputs.append(constant("shift", shift.astype(np.float32)))
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
