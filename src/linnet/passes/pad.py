"""Zeros around images, in the windows that read them."""

from __future__ import annotations

import numpy as np

from ..graph import Array, Graph, Node
from .integers import grid_of
from .unused import remove_unused


def fold_zero_pad(graph: Graph) -> Graph:
    """A ZeroPad joins the padding of the convolutions and pools that read it where that means
    the same.
    """
    producers = {node.outputs[0]: node for node in graph.nodes}
    for node in graph.nodes:
        pad = _pad_before(node, producers, graph.initializers)
        if pad is None:
            continue
        before = producers.get(pad.inputs[0])
        positive = before is not None and _is_positive(before, graph.initializers)
        if node.op == "Conv" or _pool_takes_zeros(node, pad, positive):
            node.attrs["pads"] = [
                a + b for a, b in zip(node.attrs.get("pads", [0] * 4), pad.attrs["pads"])
            ]
            node.inputs[0] = pad.inputs[0]
            if node.op == "AveragePool":
                node.attrs["count_include_pad"] = 1
    return remove_unused(graph)


def _pad_before(node: Node, producers: dict[str, Node], constants: dict[str, Array]) -> Node | None:
    """The ZeroPad that a node reads, if need be by integers that stand for exactly its numbers."""
    pad = producers.get(node.inputs[0])
    grid = grid_of(pad, "DequantizeLinear", constants)
    if pad and grid:
        rounded = producers.get(pad.inputs[0])
        if rounded is None or grid_of(rounded, "QuantizeLinear", constants) != grid:
            return None
        pad = producers.get(rounded.inputs[0])
        if (
            pad is None
            or grid_of(producers.get(pad.inputs[0]), "DequantizeLinear", constants) != grid
        ):
            return None
    return pad if pad and pad.op == "ZeroPad" else None


def _is_positive(node: Node, constants: dict[str, Array]) -> bool:
    """Whether no number that it makes is negative."""
    grid = grid_of(node, "DequantizeLinear", constants)
    return node.op == "Relu" or (grid is not None and grid.zero == np.iinfo(grid.dtype).min)


def _pool_takes_zeros(pool: Node, pad: Node, positive: bool) -> bool:
    if pool.op not in ("AveragePool", "MaxPool") or pool.attrs["ceil_mode"]:
        return False
    if pool.op == "AveragePool" and any(pool.attrs["pads"]) and not pool.attrs["count_include_pad"]:
        return False
    # A pool's own padding never wins a maximum; zeros do not either among values that are not
    # negative.
    if pool.op == "MaxPool" and not positive:
        return False
    dilations = pool.attrs.get("dilations", [1, 1])
    extents = [(k - 1) * d + 1 for k, d in zip(pool.attrs["kernel_shape"], dilations)]
    sums = [a + b for a, b in zip(pool.attrs["pads"], pad.attrs["pads"])]
    return all(size < extent for size, extent in zip(sums, extents + extents))
