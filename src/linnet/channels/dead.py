"""Channels that do nothing, removed: those that never change, that equal others, or that nobody
reads. What the network computes stays the same but for rounding.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from ..graph import Array, Graph, Node
from .couplings import KEPT, LAYERS, Couplings
from .cut import Parameters, cut, parameters, with_parameters
from .signals import Signals

_VECTOR = 16  # floats of the widest registers that there are
_ROUNDS = 16  # a layer without some channels may leave others unread before it


class Removed(NamedTuple):
    """What was removed of a layer's results: how many channels of how many, and of those how many
    never change and how many equal another; the rest nobody reads.
    """

    layer: str
    channels: int
    constant: int
    equal: int
    unread: int

    def __str__(self) -> str:
        parts = [
            f"{number} {what}"
            for number, what in (
                (self.constant, "never change"),
                (self.equal, "equal others"),
                (self.unread, "are not read"),
            )
            if number
        ]
        number = self.constant + self.equal + self.unread
        return f"{number} of {self.channels} channels of {self.layer}: {', '.join(parts)}"


def remove_dead(graph: Graph) -> tuple[Graph, list[Removed]]:
    """A canonical graph without channels that do nothing, and what was removed, by layer. Names
    stay; values inside have fewer channels.

    All go but some of a convolution's groups, so that groups of whole vectors stay that.
    """
    counts: dict[str, Counter[str]] = {}
    first = graph
    for _ in range(_ROUNDS):
        search = _Search(graph)
        if not search.removed:
            break
        for node in graph.nodes:
            if node.op in LAYERS:
                counts.setdefault(node.name, Counter()).update(search.reasons(node))
        graph = search.without()
    found = []
    for node in first.nodes:
        why = counts.get(node.name)
        if why:
            channels = len(first.initializers[node.inputs[1]])
            found.append(Removed(node.name, channels, why["constant"], why["equal"], why["unread"]))
    return graph, found


class _Reader(NamedTuple):
    """A layer that reads channels: their classes and signals, and whether it reads each at all.

    constants: NaN of what is none, or cannot be added to the bias. equal: by group and signal, the
    channels that have it, where there are several.
    """

    node: Node
    classes: Array
    signals: Array
    constants: Array
    reads: Array
    equal: dict[tuple[int, int], list[int]]


class _Search:
    """Classes that can go, one after the other, and how their readers then get the same."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._couplings = Couplings(graph)
        self._signals = Signals(self._couplings)
        self._readers = [
            self._reader(node) for node in graph.nodes if self._couplings.is_dense(node)
        ]
        self.removed: dict[int, str] = {}
        places: dict[int, list[tuple[_Reader, Array]]] = {}
        for reader in self._readers:
            for root in np.unique(reader.classes).tolist():
                places.setdefault(root, []).append((reader, np.flatnonzero(reader.classes == root)))
        values: dict[int, list[int]] = {}
        left: list[int] = []  # of each value how many classes it still has
        for slots in self._couplings.slots.values():
            roots = np.unique(self._couplings.root(np.unique(slots))).tolist()
            for root in roots:
                values.setdefault(root, []).append(len(left))
            left.append(len(roots))
        for root, mine in values.items():
            why = "" if root == KEPT else self._why(places.get(root, []))
            if why and all(left[value] > 1 for value in mine):
                self.removed[root] = why
                for value in mine:
                    left[value] -= 1
        while self._restore():
            pass

    def _restore(self) -> bool:
        """Whether some have to stay: where a convolution's groups filled whole vectors, the fast
        kernels take no others, and time would grow. Vectors no longer than what stays.
        """
        before = len(self.removed)
        for reader in self._readers:
            groups = reader.node.attrs.get("group", 1)
            results = self._couplings.classes(reader.node.outputs[0])
            for classes in (reader.classes, results) if groups > 1 else ():
                group = classes[: len(classes) // groups].tolist()  # the others have the same
                gone = [root for root in group if root in self.removed]
                kept = len(group) - len(gone)
                step = math.gcd(len(group), _VECTOR)
                while step > kept:
                    step //= 2
                for root in dict.fromkeys(gone):
                    if kept % step:
                        del self.removed[root]
                        kept += gone.count(root)
        return len(self.removed) < before

    def _reader(self, node: Node) -> _Reader:
        x = node.inputs[0]
        signals = self._signals.along(x)
        constants = self._signals.constants(signals)
        if any(node.attrs.get("pads", ())):
            constants[constants != 0] = np.nan  # at borders there are zeros instead
        w = self._graph.initializers[node.inputs[1]]
        groups = node.attrs.get("group", 1)
        reads = w.reshape(groups, -1, *w.shape[1:]).swapaxes(1, 2).reshape(len(signals), -1)
        reads = (reads != 0).sum(axis=1) > 0
        size = len(signals) // groups
        equal: dict[tuple[int, int], list[int]] = {}
        for place, signal in enumerate(signals.tolist()):
            if signal >= 0:
                equal.setdefault((place // size, signal), []).append(place)
        return _Reader(node, self._couplings.classes(x), signals, constants, reads, equal)

    def _why(self, places: list[tuple[_Reader, Array]]) -> str:
        """Why a class can go; "" if it cannot."""
        found = "unread"
        for reader, mine in places:
            for place in mine[reader.reads[mine]].tolist():
                if not np.isnan(reader.constants[place]):
                    found = "constant" if found == "unread" else found
                elif self._twin(reader, place) is not None:
                    found = "equal"
                else:
                    return ""
        return found

    def _twin(self, reader: _Reader, place: int) -> int | None:
        """Another channel that stays, of the same group, with the same numbers."""
        size = len(reader.signals) // reader.node.attrs.get("group", 1)
        same = reader.equal.get((place // size, int(reader.signals[place])), [])
        for other in reversed(same):
            root = int(reader.classes[other])
            if root != reader.classes[place] and root not in self.removed:
                return other
        return None

    def reasons(self, node: Node) -> Counter[str]:
        """Of a layer's results that go, how many for which reason."""
        roots = self._couplings.classes(node.outputs[0]).tolist()
        return Counter(self.removed[root] for root in roots if root in self.removed)

    def without(self) -> Graph:
        changed: dict[str, Parameters] = {}
        roots = np.array(sorted(self.removed))
        for reader in self._readers:
            gone = np.flatnonzero(np.isin(reader.classes, roots) & reader.reads)
            if gone.size:
                changed[reader.node.name] = self._folded(reader, gone)
        return cut(with_parameters(self._graph, changed), self._couplings, roots)

    def _folded(self, reader: _Reader, gone: Array) -> Parameters:
        """Parameters with which a layer computes the same without some channels."""
        w, bias = (x.astype(np.float64) for x in parameters(self._graph, reader.node))
        groups = reader.node.attrs.get("group", 1)
        rows, size = len(w) // groups, w.shape[1]
        for place in gone.tolist():
            mine, column = slice(place // size * rows, (place // size + 1) * rows), place % size
            if not np.isnan(reader.constants[place]):
                bias[mine] += reader.constants[place] * w[mine, column].reshape(rows, -1).sum(1)
                continue
            twin = self._twin(reader, place)
            assert twin is not None
            w[mine, twin % size] += w[mine, column]
        return w, bias
