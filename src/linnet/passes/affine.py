"""Batch normalisation and arithmetic with constants, in the layer before them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from ..graph import Array, Graph, Node
from .integers import grid_of


def fold_affine(graph: Graph) -> Graph:
    """An Affine disappears in the Affine, Conv or Gemm before it, in float64, if no other node
    reads what lies between; a single factor in a DequantizeLinear as well.

    Weights that several nodes share stay as they are: folding would make a copy for each.
    """
    users = Counter(name for node in graph.nodes for name in node.inputs)
    users.update(graph.outputs)
    producers: dict[str, Node] = {}
    initializers = dict(graph.initializers)
    names = graph.names()
    nodes = []
    for node in graph.nodes:
        source = producers.get(node.inputs[0])
        folds = node.op == "Affine" and source is not None and users[node.inputs[0]] == 1
        if folds and source and source.op == "Affine":
            scale = node.attrs["scale"]
            source.attrs["scale"] = source.attrs["scale"] * scale
            source.attrs["shift"] = source.attrs["shift"] * scale + node.attrs["shift"]
        elif folds and source and _takes(source, node, producers) and users[source.inputs[1]] == 1:
            weight, *bias = source.inputs[1:]
            scale, shift = node.attrs["scale"], node.attrs["shift"]
            made = producers.get(weight)  # weights of integers have the factors in their scale
            outputs = len(initializers[made.inputs[0] if made else weight])
            if (scale != 1).any():
                array = initializers[made.inputs[1] if made else weight]
                factors = np.full(outputs, scale).reshape(-1, *(1,) * (array.ndim - 1))
                shape = np.broadcast_shapes(array.shape, factors.shape)
                scaled = np.empty(shape, np.float32)  # no array of float64 in between
                np.multiply(array, factors, out=scaled, dtype=np.float64, casting="same_kind")
                if made:
                    weight = made.inputs[1] = names.fresh(f"{weight}.scaled")
                initializers[weight] = scaled
            if bias:
                shift = shift + scale * initializers[bias[0]]
            if not bias or users[bias[0]] > 1:
                source.inputs[2:] = [names.fresh(f"{source.outputs[0]}.bias")]
            initializers[source.inputs[2]] = np.full(outputs, shift, np.float32)
        elif folds and source and (factor := _scale(source, node, initializers)):
            source.inputs[1] = names.fresh(f"{node.outputs[0]}.scale")
            initializers[source.inputs[1]] = np.array(factor, np.float32)
        else:
            nodes.append(node)
            producers[node.outputs[0]] = node
            continue
        source.outputs = node.outputs
        producers[node.outputs[0]] = source
    return replace(graph, nodes=nodes, initializers=initializers)


def _takes(layer: Node, affine: Node, producers: dict[str, Node]) -> bool:
    """Whether it is a layer whose weights can have the factors: a scale of integers is positive."""
    if layer.op not in ("Conv", "Gemm"):
        return False
    return layer.inputs[1] not in producers or bool((affine.attrs["scale"] > 0).all())


def _scale(source: Node, affine: Node, constants: dict[str, Array]) -> float:
    """That of a DequantizeLinear and of what only multiplies its numbers by one factor; else 0."""
    grid = grid_of(source, "DequantizeLinear", constants)
    if grid is None or affine.attrs["shift"].any() or affine.attrs["scale"].size != 1:
        return 0
    scale = grid.scale * float(affine.attrs["scale"].item())
    limits = np.finfo(np.float32)
    return scale if limits.tiny <= scale <= limits.max else 0
