"""Which parts of a canonical graph compute in integers, once it is decided of every layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from .. import core
from ..graph import FLOAT32, Array, Graph, Node, Shape
from ..ops.resize import of_bytes

# What a layer may be: float32; weights of fewer bits, computed in float32; all in integers.
PRECISIONS = ("f32", "f16", "int8-weights", "int8")

WEIGHTED = ("Conv", "Gemm")
# Their results are numbers of the input, or lie between such; they stay in its scale.
SHARING = {
    *("Concat", "Flatten", "GlobalMaxPool", "MaxPool", "Reshape", "Resize", "Slice", "Transpose"),
}
# Their results have a scale of their own.
SCALING = {
    *("Add", "Sub", "Mul", "AveragePool", "GlobalAveragePool"),
    *("Relu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Selu"),
    *("Erf", "Gelu", "Mish", "Softplus", "Softsign"),
}
MOST_TERMS = 65536  # of a sum: 255 * 127 times as many fit 32 bits

Assignment = Mapping[str, str]  # of every layer, by name, its precision


class Unit(NamedTuple):
    """A node, and the Relu or Clip behind it if nothing else reads its result: together they are
    one step of integers.
    """

    node: Node
    limit: Node | None
    inputs: tuple[str, ...]  # that are computed, or inputs of the graph
    layer: str  # whose weights it has, or that it follows on; before all of them, the first
    kind: str  # "weighted", "sharing", "scaling", or "" for what stays float

    @property
    def output(self) -> str:
        return (self.limit or self.node).outputs[0]


class Layer(NamedTuple):
    """All nodes that have the same weights; they get the same precision."""

    name: str  # of the first
    op: str
    weights: str
    shape: Shape  # of the weights
    integers: bool  # whether it can compute in integers


class Network:
    """A canonical graph as units and layers.

    dtypes of values as the core has them. ValueError if no layer has weights.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        builder = core.build(graph)
        names = [value.name for value in graph.inputs]
        names += [name for node in graph.nodes for name in node.outputs if name]
        self.reals = {name for name in names if builder.dtype(name) == FLOAT32}
        self.shapes = {name: tuple(builder.shape(name)) for name in names}
        self.layers: dict[str, Layer] = {}
        units = list(self._units())
        if not self.layers:
            raise ValueError(f"{graph.source or graph.name}: no layer has weights to quantize")
        first = next(iter(self.layers))
        self.units = [u if u.layer else u._replace(layer=first) for u in units]

    def _units(self) -> Iterator[Unit]:
        graph = self.graph
        readers = Counter(name for node in graph.nodes for name in node.inputs)
        readers.update(graph.outputs)
        next_of = {node.inputs[0]: node for node in graph.nodes if node.inputs}
        by_weights: dict[str, str] = {}
        followed: dict[str, str] = {}  # of each value, the layer that it comes from
        limits: set[int] = set()
        for node in graph.nodes:
            if id(node) in limits:
                continue
            inputs = tuple(n for n in node.inputs if n and n not in graph.initializers)
            kind = self._kind(node, inputs)
            layer = next((followed[name] for name in inputs if followed.get(name)), "")
            if node.op in WEIGHTED and node.inputs[1] in graph.initializers:
                layer = by_weights.setdefault(node.inputs[1], node.name)
                self._add_layer(layer, node, kind)
            limit = None
            if kind in ("weighted", "scaling") and readers[node.outputs[0]] == 1:
                after = next_of.get(node.outputs[0])
                if after is not None and after.op in ("Relu", "Clip"):
                    limit = after
                    limits.add(id(after))
            unit = Unit(node, limit, inputs, layer, kind)
            followed.update(dict.fromkeys((*node.outputs, unit.output), layer))
            yield unit

    def _kind(self, node: Node, inputs: tuple[str, ...]) -> str:
        """ "" where something forbids integers."""
        if not all(name in self.reals for name in (*inputs, *node.outputs)):
            return ""
        if node.op in WEIGHTED:
            w = self.graph.initializers.get(node.inputs[1])
            if w is None or not np.isfinite(w).all() or w[0].size > MOST_TERMS:
                return ""
            return "weighted" if len(inputs) == 1 else ""
        if node.op == "Resize" and not of_bytes(node):
            return ""
        constants = [n for n in node.inputs if n in self.graph.initializers]
        if node.op in ("Add", "Concat", "Mul", "Sub") and constants:
            # A constant that has more would need a scale, too.
            own = self.graph.initializers[constants[0]]
            return "scaling" if _each(own, self.shapes[node.outputs[0]]) and inputs else ""
        if node.op in SHARING:
            return "sharing"
        return "scaling" if node.op in SCALING else ""

    def _add_layer(self, name: str, node: Node, kind: str) -> None:
        known = self.layers.get(name)
        integers = kind == "weighted" and (known is None or known.integers)
        shape = self.graph.initializers[node.inputs[1]].shape
        self.layers[name] = Layer(name, node.op, node.inputs[1], shape, integers)

    def choices(self, precisions: tuple[str, ...] = PRECISIONS) -> dict[str, list[str]]:
        """What each layer may be of these precisions, f32 if it can be nothing else."""
        found = {}
        for layer in self.layers.values():
            w = self.graph.initializers[layer.weights]
            bad = not np.isfinite(w).all()
            large = bad or bool(np.abs(w).max(initial=0) > np.finfo(np.float16).max)
            barred = {"f16"} if large else set()
            barred |= {"int8-weights"} if bad else set()
            barred |= set() if layer.integers else {"int8"}
            found[layer.name] = [p for p in precisions if p not in barred] or ["f32"]
        return found


def _each(constant: Array, shape: Shape) -> bool:
    """Whether it is one number, or one for each channel of an image."""
    channels = constant.size == shape[1] and constant.shape[-2:] == (1, 1)
    return len(shape) == 4 and (constant.size == 1 or channels)


class Scheme:
    """What computes in integers for an assignment, and which values have one scale together.

    A layer of precision "int8" has its input and its result in integers. Other units follow: those
    whose inputs all are integers, as far as an int8 layer comes after them.
    """

    def __init__(self, network: Network, assignment: Assignment) -> None:
        self.network = network
        self.assignment = dict(assignment)
        self.integer = self._integer_units()
        self._class = self._classes()

    def precision(self, unit: Unit) -> str:
        """That of a unit's layer if it has weights."""
        return self.assignment.get(unit.layer, "f32") if unit.node.op in WEIGHTED else ""

    def _integer_units(self) -> set[int]:
        units = self.network.units
        made = {v.name for v in self.network.graph.inputs if v.name in self.network.reals}
        possible = []
        for index, unit in enumerate(units):
            if unit.kind == "weighted":
                yes = self.precision(unit) == "int8"
            else:
                yes = bool(unit.kind) and made.issuperset(unit.inputs)
            if yes:
                possible.append(index)
                made.add(unit.output)
        needed: set[str] = set()
        kept = set()
        for index in reversed(possible):
            if units[index].kind == "weighted" or units[index].output in needed:
                kept.add(index)
                needed.update(units[index].inputs)
        return kept

    def _classes(self) -> dict[str, str]:
        """Of every value in integers, one that stands for all that share its scale."""
        parent: dict[str, str] = {}

        def root(name: str) -> str:
            while parent.setdefault(name, name) != name:
                name = parent[name]
            return name

        for index in sorted(self.integer):
            unit = self.network.units[index]
            for name in (*unit.inputs, unit.output):
                root(name)
            if unit.kind == "sharing":
                for name in unit.inputs:
                    parent[root(name)] = root(unit.output)
        return {name: root(name) for name in parent}

    @property
    def values(self) -> list[str]:
        """The values in integers."""
        return list(self._class)

    def sharing(self) -> dict[str, list[str]]:
        """Of every value in integers all that share its scale, itself included."""
        groups: dict[str, list[str]] = {}
        for name, first in self._class.items():
            groups.setdefault(first, []).append(name)
        return {name: groups[first] for name, first in self._class.items()}

    def borders(self) -> list[str]:
        """Values that change between reals and integers: one entry for each step that does it."""
        units = self.network.units
        made = {units[i].output for i in self.integer}
        read = {name for i in self.integer for name in units[i].inputs}
        reals = {n for i, u in enumerate(units) if i not in self.integer for n in u.inputs}
        reals.update(self.network.graph.outputs)
        return sorted(read - made) + sorted(made & reals)
