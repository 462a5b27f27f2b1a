"""What no other pass could fold, as canonical operators."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..graph import Array, Graph, Node, Shape


def expand(graph: Graph) -> Graph:
    """What is left of Affine becomes a Mul or an Add; if it does both, these two where all numbers
    are treated alike, else a convolution of every channel with a 1x1 kernel, as ZeroPad does.
    """
    initializers = dict(graph.initializers)
    names = graph.names()
    nodes: list[Node] = []
    reals = {node.outputs[0] for node in graph.nodes if node.op == "DequantizeLinear"}
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
        if node.op == "Affine" and ((scale == 1).all() or not shift.any()):
            op, what, array = ("Add", "shift", shift) if shift.any() else ("Mul", "scale", scale)
            array = array.astype(np.float32).reshape(-1, *(1,) * (len(shape) - 2))
            nodes.append(Node(op, node.name, [x, constant(what, array)], [y], {}))
            continue
        if node.op == "Affine" and scale.size == shift.size == 1:
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
        if x in reals and (factors == 1).all():  # a layer of integers, too
            parts = [
                constant("ones", factors.astype(np.int8)),
                constant("one", np.ones((), np.float32)),
            ]
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
