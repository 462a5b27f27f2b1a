"""A network without some of its channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..graph import Array, Graph, Node
from ..passes.unused import remove_unused
from .couplings import LAYERS, Couplings, compact

Parameters = tuple[Array, Array]  # of a layer: weights, and a bias for each of its results


def parameters(graph: Graph, node: Node) -> Parameters:
    """Of a layer whose weights are constants; a bias of zeros where it has none."""
    w = graph.initializers[node.inputs[1]]
    bias = np.zeros(len(w), np.float32)
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = np.broadcast_to(graph.initializers[node.inputs[2]], bias.shape)
    return w, bias


def with_parameters(graph: Graph, changed: Mapping[str, Parameters]) -> Graph:
    """The graph with other numbers, of the same shape, in layers by the names of their nodes."""
    initializers, names = dict(graph.initializers), graph.names()
    nodes = []
    for node in graph.nodes:
        if node.name in changed:
            weights, bias = names.fresh(node.inputs[1]), names.fresh(f"{node.name}.bias")
            initializers[weights] = np.asarray(changed[node.name][0], np.float32)
            initializers[bias] = np.asarray(changed[node.name][1], np.float32)
            nodes.append(replace(node, inputs=[node.inputs[0], weights, bias]))
        else:
            nodes.append(node)
    return remove_unused(replace(graph, nodes=nodes, initializers=initializers))


def cut(graph: Graph, couplings: Couplings, removed: Array) -> Graph:
    """The graph without the channels of some classes: those whose `root` is in `removed`, of which
    none is KEPT. Names of nodes and values stay.

    graph: that of the couplings, or one with other parameters. Every value must keep something.
    """
    return _Cut(graph, couplings, removed).graph()


class _Cut:
    def __init__(self, graph: Graph, couplings: Couplings, removed: Array) -> None:
        self._source, self._couplings = graph, couplings
        self._removed = np.zeros(couplings.count, bool)
        self._removed[removed] = True
        self._names = graph.names()
        self._initializers = dict(graph.initializers)
        self._made: dict[tuple[str, bytes], str] = {}
        self._kept: dict[str, list[Array]] = {}

    def graph(self) -> Graph:
        nodes = [self._node(node) for node in self._source.nodes]
        return remove_unused(replace(self._source, nodes=nodes, initializers=self._initializers))

    def _keeps(self, name: str) -> list[Array]:
        """Of a value for each axis which indices stay."""
        if name not in self._kept:
            slots = self._couplings.slots[name]
            stays = ~self._removed[self._couplings.root(compact(slots))]
            axes = range(slots.ndim)
            self._kept[name] = [
                np.broadcast_to(stays.any(axis=tuple(b for b in axes if b != a)), slots.shape[a])
                for a in axes
            ]
        return self._kept[name]

    def _constant(self, name: str, array: Array) -> str:
        """A constant made of another, once for all who want the same."""
        if array is self._source.initializers[name]:
            return name
        key = (name, array.tobytes())
        if key not in self._made:
            self._made[key] = self._names.fresh(name)
            self._initializers[self._made[key]] = np.ascontiguousarray(array)
        return self._made[key]

    def _node(self, node: Node) -> Node:
        values = [n for n in (*node.inputs, *node.outputs) if n in self._couplings.slots]
        if all(axis.all() for name in values for axis in self._keeps(name)):
            return node
        constants, inputs, attrs = self._source.initializers, list(node.inputs), dict(node.attrs)
        after = self._keeps(node.outputs[0])
        if node.op in LAYERS:
            w, rows = constants[inputs[1]], after[1]
            groups, columns = attrs.get("group", 1), self._keeps(inputs[0])[1]
            if groups > 1 and w.shape[1] == 1:
                attrs["group"] = int(columns.sum())
                columns = np.array([True])
            elif groups > 1:
                columns = columns[: w.shape[1]]
            inputs[1] = self._constant(inputs[1], w[rows][:, columns])
            if len(inputs) > 2 and inputs[2]:
                bias = np.broadcast_to(constants[inputs[2]], rows.shape)
                inputs[2] = self._constant(inputs[2], bias[rows])
        elif node.op == "Reshape":
            inputs[1] = self._constant(inputs[1], self._sizes(constants[inputs[1]], after))
        elif node.op == "Slice":
            inputs[1:3] = self._ends(node)
        elif node.op not in ("Concat", "Flatten", "Transpose"):
            inputs = [
                self._constant(n, _taken(constants[n], after)) if n in constants else n
                for n in inputs
            ]
        return replace(node, inputs=inputs, attrs=attrs)

    def _sizes(self, shape: Array, after: list[Array]) -> Array:
        """What a Reshape makes; 0 and -1 mean what they did."""
        counts = np.array([axis.sum() for axis in after])
        changed = np.array([not axis.all() for axis in after]) & (shape > 0)
        return np.asarray(np.where(changed, counts, shape), np.int64)

    def _ends(self, node: Node) -> tuple[str, str]:
        """Where a Slice starts and ends among what is there still."""
        constants, before = self._source.initializers, self._keeps(node.inputs[0])
        starts, ends, axes = (constants[name] for name in node.inputs[1:4])
        starts, ends = starts.copy(), ends.copy()
        for place, axis in enumerate(axes.tolist()):
            stays = before[axis]
            if not stays.all():
                first, last, _ = slice(int(starts[place]), int(ends[place])).indices(len(stays))
                starts[place], ends[place] = stays[:first].sum(), stays[:last].sum()
        return self._constant(node.inputs[1], starts), self._constant(node.inputs[2], ends)


def _taken(array: Array, after: list[Array]) -> Array:
    """A constant operand's part for a result of which some indices stay."""
    for axis, stays in enumerate(after[len(after) - array.ndim :]):
        if array.shape[axis] == len(stays) > 1 and not stays.all():
            array = array.compress(stays, axis=axis)
    return array
