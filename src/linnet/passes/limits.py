"""Limits that follow on each other: those that change nothing go, two become one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..graph import Array, Graph, Node
from ..ops.quant import quantize_linear
from .integers import grid_of

_INFINITE = float("inf")


class _Range(NamedTuple):
    least: float
    most: float

    def holds(self, other: _Range) -> bool:
        return self.least <= other.least and other.most <= self.most


_EVERYTHING = _Range(-_INFINITE, _INFINITE)
_FIXED = {
    "HardSigmoid": _Range(0, 1),
    "Relu": _Range(0, _INFINITE),
    "Sigmoid": _Range(0, 1),
    "Softmax": _Range(0, 1),
    "Tanh": _Range(-1, 1),
}
# Their results are numbers of the input, or between two of them.
_KEEPING = {
    "Concat",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "MaxPool",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "Reshape",
    "Slice",
    "Transpose",
}


def join_limits(graph: Graph) -> Graph:
    """A Clip disappears where no number lies beyond its limits, or else in the Clip or Relu before
    it that nothing else reads, or where it is read as integers that have the same limits. A Relu
    behind one stays: it is a layer someone may ask for.
    """
    users = Counter(name for node in graph.nodes for name in node.inputs)
    users.update(graph.outputs)
    initializers = dict(graph.initializers)
    rounded = _rounded(graph)
    names = graph.names()
    ranges: dict[str, _Range] = {}
    producers: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    joined: set[str] = set()  # values that nothing computes any more
    other: set[str] = set()  # values instead of which others are read that are not the same
    for node in graph.nodes:
        node.inputs = [renamed.get(name, name) for name in node.inputs]
        if node.op == "Clip":
            x, y = node.inputs[0], node.outputs[0]
            limits = _limits(node, initializers)
            same = limits.holds(ranges.get(x, _EVERYTHING))
            if y not in graph.outputs and (
                same or _saturates(limits, rounded.get(y), initializers)
            ):
                renamed[y] = x
                if not same:
                    other.add(y)
                users[x] += users[y] - 1
                continue
            before = producers.get(x)
            if before is not None and before.op in ("Clip", "Relu") and users[x] == 1:
                first = _limits(before, initializers)
                both = _Range(max(first.least, limits.least), min(first.most, limits.most))
                if both.least <= both.most:
                    joined.add(x)
                    node.op, node.inputs = "Relu", before.inputs[:1]
                    if both != _FIXED["Relu"]:
                        node.op = "Clip"
                        for what, number in zip(("least", "most"), both):
                            node.inputs.append(names.fresh(f"{y}.{what}"))
                            initializers[node.inputs[-1]] = np.array(number, np.float32)
        nodes.append(node)
        producers.update(dict.fromkeys(node.outputs, node))
        ranges[node.outputs[0]] = _range(node, initializers, ranges)
    nodes = [node for node in nodes if node.outputs[0] not in joined]
    aliases = {**graph.aliases, **{y: x for y, x in renamed.items() if y not in other}}
    return replace(graph, nodes=nodes, initializers=initializers, aliases=aliases)


def _rounded(graph: Graph) -> dict[str, Node | None]:
    """The QuantizeLinear that reads a value, None where something else does, too."""
    found: dict[str, Node | None] = {}
    for node in graph.nodes:
        for name in node.inputs:
            only = node.op == "QuantizeLinear" and name not in found
            found[name] = node if only else None
    return found


def _saturates(limits: _Range, reader: Node | None, initializers: dict[str, Array]) -> bool:
    """Whether the integers of both limits are the least and the most there are."""
    if reader is None:
        return False
    scale, zero = (initializers[name] for name in reader.inputs[1:])
    integers = quantize_linear(np.array(limits, np.float32), scale, zero)
    ends = np.iinfo(zero.dtype)
    return bool(np.array_equal(integers, [ends.min, ends.max]))


def _limits(node: Node, initializers: dict[str, Array]) -> _Range:
    if node.op == "Relu":
        return _FIXED["Relu"]
    pairs = zip([*node.inputs[1:], "", ""], _EVERYTHING)
    least, most = (float(initializers[name]) if name else far for name, far in pairs)
    return _Range(least, most)


def _range(node: Node, initializers: dict[str, Array], ranges: dict[str, _Range]) -> _Range:
    """Between which limits all its results lie."""
    if node.op == "Clip":
        return _limits(node, initializers)
    grid = grid_of(node, "DequantizeLinear", initializers)
    if grid is not None:
        ends = np.iinfo(grid.dtype)
        return _Range(*((end - grid.zero) * grid.scale for end in (ends.min, ends.max)))
    counted = node.op == "AveragePool" and not node.attrs["count_include_pad"]
    plain = node.op == "Resize" and node.attrs.get("mode", "nearest") != "cubic"
    if plain:
        plain = node.attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize"
    if node.op not in _KEEPING and not counted and not plain:
        return _FIXED.get(node.op, _EVERYTHING)
    count = len(node.inputs) if node.op == "Concat" else 1
    known = [ranges.get(name, _EVERYTHING) for name in node.inputs[:count]]
    return _Range(min(r.least for r in known), max(r.most for r in known))
