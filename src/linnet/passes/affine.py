"""Batch normalisation and arithmetic with constants, in the layer before them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from ..graph import Graph, Node


def fold_affine(graph: Graph) -> Graph:
    """An Affine disappears in the Affine, Conv or Gemm before it, in float64, if no other node
    reads what lies between.

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
        elif folds and source and source.op in ("Conv", "Gemm") and users[source.inputs[1]] == 1:
            weight, *bias = source.inputs[1:]
            scale, shift = node.attrs["scale"], node.attrs["shift"]
            if (scale != 1).any():
                array = initializers[weight]
                factors = scale.reshape(-1, *(1,) * (array.ndim - 1))
                scaled = np.empty(array.shape, np.float32)  # no array of float64 in between
                np.multiply(array, factors, out=scaled, dtype=np.float64, casting="same_kind")
                initializers[weight] = scaled
            if bias:
                shift = shift + scale * initializers[bias[0]]
            if not bias or users[bias[0]] > 1:
                source.inputs[2:] = [names.fresh(f"{source.outputs[0]}.bias")]
            outputs = len(initializers[weight])
            initializers[source.inputs[2]] = np.full(outputs, shift, np.float32)
        else:
            nodes.append(node)
            producers[node.outputs[0]] = node
            continue
        source.outputs = node.outputs
        producers[node.outputs[0]] = source
    return replace(graph, nodes=nodes, initializers=initializers)
