"""What can be cut of a network: spaces, sets of channels that the same layers make, and ranks of
single layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ..channels.couplings import KEPT, Couplings
from ..graph import Array, Graph, Node

FRACTIONS = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125)  # of a space that may stay
RANKS = (1.0, 0.5, 0.375, 0.25, 0.125)  # of a layer's results, of which the others are sums
_STEPS = ((64, 8), (16, 4), (8, 2))  # from how many channels on, and by how many it becomes less


class Space(NamedTuple):
    """classes: of couplings, [n]. makers, readers: layers that make, or read and mix, them."""

    name: str  # of the first maker
    classes: Array
    makers: tuple[str, ...]
    readers: tuple[str, ...]

    def width(self, level: int) -> int:
        """How many stay: what vectors hold is not left partly empty where there are many."""
        count = len(self.classes)
        step = next((step for least, step in _STEPS if count >= least), count)
        return max(step, min(count, math.ceil(count * FRACTIONS[level] / step) * step))


class Structure:
    """The layers and spaces of a canonical graph. ValueError if there is nothing to cut."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.couplings = Couplings(graph)
        self.layers: dict[str, Node] = {n.name: n for n in graph.nodes if self._is_layer(n)}
        self.inputs = {name: self._classes(n.inputs[0]) for name, n in self.layers.items()}
        self.outputs = {name: self._classes(n.outputs[0]) for name, n in self.layers.items()}
        self.spaces = {space.name: space for space in self._spaces()}
        self.splits = [name for name, node in self.layers.items() if self._can_split(node)]
        if not self.spaces and not self.splits:
            raise ValueError(f"{graph.source or graph.name}: there are no channels to remove")
        self.owners = self._owners()

    def _is_layer(self, node: Node) -> bool:
        """Whether it mixes channels, by numbers that can be fitted anew."""
        dense = self.couplings.is_dense(node)
        return dense and bool(np.isfinite(self.graph.initializers[node.inputs[1]]).all())

    def _classes(self, name: str) -> Array:
        return self.couplings.classes(name)

    def _spaces(self) -> Iterator[Space]:
        makers: dict[int, list[str]] = {}
        readers: dict[int, list[str]] = {}
        for found, sides in ((makers, self.outputs), (readers, self.inputs)):
            for name, classes in sides.items():
                for root in np.unique(classes).tolist():
                    found.setdefault(root, []).append(name)
        spaces: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = {}
        for root, made in makers.items():
            if root != KEPT and root in readers:
                key = tuple(made), tuple(readers[root])
                spaces.setdefault(key, []).append(root)
        taken: set[str] = set()
        for (by, read), roots in spaces.items():
            if len(roots) >= _STEPS[-1][0]:
                name = next((n for n in by if n not in taken), f"{by[0]}.{len(taken)}")
                taken.add(name)
                yield Space(name, np.array(sorted(roots)), by, read)

    def _can_split(self, node: Node) -> bool:
        """Whether fewer filters and sums of them may be faster."""
        w = self.graph.initializers[node.inputs[1]]
        terms = int(np.prod(w.shape[1:]))
        large = node.op == "Gemm" or max(w.shape[2:]) > 1
        rank = math.ceil(len(w) * RANKS[1])
        fewer = terms * rank + rank * len(w) < 0.9 * terms * len(w)
        return large and node.attrs.get("group", 1) == 1 and len(w) >= 16 and fewer

    def rank(self, layer: str, level: int) -> int:
        """How many filters a layer keeps that is split."""
        return max(4, math.ceil(len(self.outputs[layer]) * RANKS[level] / 4) * 4)

    def _owners(self) -> dict[str, str]:
        """Of every node the layer that it is or follows on; before all of them, the first."""
        followed: dict[str, str] = {}
        owners = {}
        for node in self.graph.nodes:
            before = (followed[name] for name in node.inputs if followed.get(name))
            owner = node.name if node.name in self.layers else next(before, "")
            owners[node.name] = owner
            followed.update(dict.fromkeys(node.outputs, owner))
        first = next(iter(self.layers), "")
        return {name: owner or first for name, owner in owners.items()}

    def shares(self, layer: str, widths: Mapping[str, int]) -> tuple[float, float]:
        """Of a layer's input and results the share of channels that stay."""
        found = []
        for classes in (self.inputs[layer], self.outputs[layer]):
            gone = 0.0
            for space in self.spaces.values():
                mine = np.isin(classes, space.classes).sum()
                gone += mine * (1 - widths[space.name] / len(space.classes))
            found.append(1 - gone / len(classes))
        return found[0], found[1]
