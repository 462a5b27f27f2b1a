"""Zeros around images, in the windows that read them."""

from __future__ import annotations

from ..graph import Graph, Node
from .unused import remove_unused


def fold_zero_pad(graph: Graph) -> Graph:
    """A ZeroPad joins the padding of the convolutions and pools that read it where that means
    the same.
    """
    producers = {node.outputs[0]: node for node in graph.nodes}
    for node in graph.nodes:
        pad = producers.get(node.inputs[0])
        if pad is None or pad.op != "ZeroPad":
            continue
        if node.op == "Conv" or _pool_takes_zeros(node, pad, producers.get(pad.inputs[0])):
            node.attrs["pads"] = [
                a + b for a, b in zip(node.attrs.get("pads", [0] * 4), pad.attrs["pads"])
            ]
            node.inputs[0] = pad.inputs[0]
            if node.op == "AveragePool":
                node.attrs["count_include_pad"] = 1
    return remove_unused(graph)


def _pool_takes_zeros(pool: Node, pad: Node, source: Node | None) -> bool:
    if pool.op not in ("AveragePool", "MaxPool") or pool.attrs["ceil_mode"]:
        return False
    if pool.op == "AveragePool" and any(pool.attrs["pads"]) and not pool.attrs["count_include_pad"]:
        return False
    # A pool's own padding never wins a maximum; zeros do not either among values that are not
    # negative.
    if pool.op == "MaxPool" and (source is None or source.op != "Relu"):
        return False
    dilations = pool.attrs.get("dilations", [1, 1])
    extents = [(k - 1) * d + 1 for k, d in zip(pool.attrs["kernel_shape"], dilations)]
    sums = [a + b for a, b in zip(pool.attrs["pads"], pad.attrs["pads"])]
    return all(size < extent for size, extent in zip(sums, extents + extents))
