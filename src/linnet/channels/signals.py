"""What is known of the channels of a canonical graph's values without running it.

Each number of a value has a *signal*, the same as another's if both are the same whatever the input
is (value numbering; Alpern, Wegman, Zadeck: Detecting Equality of Variables in Programs, 1988), and
a *place* within the signal, which is an image where the channel is. A signal has bounds (interval
arithmetic); one whose bounds are equal is a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..graph import Array, Graph, Node
from ..ops import OPERATORS
from .couplings import BINARY, LAYERS, MOVES, UNARY, WINDOWS, Couplings, compact, condensed

# Functions that never fall; the others' bounds are known of constants alone.
_RISING = {
    *("Relu", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Selu", "HardSigmoid", "Exp", "Sign"),
    *("Floor", "Ceil", "Round", "Erf", "Softplus", "Softsign"),
}
_FACTORS = ("alpha", "beta", "gamma")  # attributes that might make one fall


class Channels(NamedTuple):
    """Of every number of a value, where 1 stands for axes along which they do not differ."""

    signals: Array
    places: Array


class Signals:
    """The signals of a graph's values."""

    def __init__(self, couplings: Couplings) -> None:
        self._couplings, graph = couplings, couplings.graph
        self._graph: Graph = graph
        self._known: dict[tuple[object, ...], int] = {}
        self._bounds: list[tuple[float, float]] = []
        self._values: dict[str, Channels] = {}
        with np.errstate(all="ignore"):
            for value in graph.inputs:
                self._set_unknown(value.name)
            for node in graph.nodes:
                self._visit(node)
        self.low, self.high = np.array(self._bounds).reshape(-1, 2).T

    def along(self, name: str) -> Array:
        """Of a value's channels, those along axis 1, the signals: [C]. -1 where numbers of one
        channel differ by more than their place.
        """
        found = self._channels(name)
        return np.full(self._couplings.shapes[name][1], -1) if found is None else found

    def constants(self, signals: Array) -> Array:
        """The number that each is, NaN where it is none."""
        low, high = self.low[signals], self.high[signals]
        return np.where((low == high) & (signals >= 0), low, np.nan)

    # Signals.

    def _signal(self, key: tuple[object, ...], low: float, high: float) -> int:
        """The one of this key; all that are the same constant are one."""
        if low == high and np.isfinite(low):
            key = ("constant", low)
        if key not in self._known:
            self._known[key] = len(self._bounds)
            unknown = np.isnan(low) or np.isnan(high)
            self._bounds.append((-np.inf, np.inf) if unknown else (low, high))
        return self._known[key]

    def _new(self, count: int) -> Array:
        first = len(self._bounds)
        self._bounds.extend([(-np.inf, np.inf)] * count)
        return np.arange(first, first + count)

    def _set(self, name: str, signals: Array) -> None:
        """The signals of an image's channels, or of the numbers of a list."""
        shape = self._couplings.shapes[name]
        column = signals.reshape(1, -1, *(1,) * (len(shape) - 2))
        field = np.arange(int(np.prod(shape[2:]))).reshape(1, 1, *shape[2:])
        self._values[name] = Channels(np.broadcast_to(column, shape), np.broadcast_to(field, shape))

    def _set_unknown(self, name: str) -> None:
        shape = self._couplings.shapes[name]
        if len(shape) > 1:
            self._set(name, self._new(shape[1]))
        else:
            signals = self._new(int(np.prod(shape))).reshape(shape)
            self._values[name] = Channels(signals, np.zeros(shape, np.int64))

    def _channels(self, name: str) -> Array | None:
        signals, places = self._values[name]
        if signals.ndim < 2:
            return None
        first = (slice(None), slice(None), *(slice(0, 1),) * (signals.ndim - 2))
        column = signals[first]
        field = np.arange(places[0, 0].size).reshape(1, 1, *places.shape[2:])
        by_channel = (compact(signals) == column).all() and len(signals) == 1
        if by_channel and (compact(places) == compact(np.broadcast_to(field, places.shape))).all():
            return column.reshape(-1)
        return None

    # Operators.

    def _visit(self, node: Node) -> None:
        x, y = (node.inputs or [""])[0], node.outputs[0]
        known = x in self._values or node.op in ("Concat", *BINARY)
        known = known and self._couplings.is_known(node)
        if known and node.op in LAYERS and node.inputs[1] in self._graph.initializers:
            self._layer(node)
        elif known and node.op in UNARY | WINDOWS:
            self._each(node)
        elif known and node.op in BINARY:
            self._binary(node)
        elif known and node.op in MOVES:
            self._move(node)
        for name in node.outputs:
            if name and name not in self._values:
                self._set_unknown(name)
        assert y in self._values or not y

    def _layer(self, node: Node) -> None:
        x, constants = node.inputs[0], self._graph.initializers
        w = constants[node.inputs[1]].astype(np.float64)
        bias = np.zeros(len(w))
        for name in filter(None, node.inputs[2:]):
            if name not in constants:
                return
            bias = bias + constants[name]
        channels = self._channels(x)
        if channels is None:
            return
        groups = node.attrs.get("group", 1)
        signals = channels.reshape(groups, -1)
        padded = any(node.attrs.get("pads", ()))
        tag = (node.op, _settings(node, ("group",)))
        rows = len(w) // groups
        found = []
        for g in range(groups):
            found += self._rows(
                (*tag, signals.shape[1:]),
                w[g * rows : (g + 1) * rows].reshape(rows, signals.shape[1], -1),
                bias[g * rows : (g + 1) * rows],
                signals[g],
                padded,
            )
        self._set(node.outputs[0], np.array(found))

    def _rows(
        self, tag: tuple[object, ...], w: Array, bias: Array, signals: Array, padded: bool
    ) -> list[int]:
        """Of filters w [rows, channels, taps] that read these signals."""
        signals, places = np.unique(signals, return_inverse=True)
        merged = w
        if len(signals) < w.shape[1]:
            merged = np.zeros((len(w), len(signals), w.shape[2]))
            np.add.at(merged.swapaxes(0, 1), places, w.swapaxes(0, 1))
        bounds = np.array([self._bounds[s] for s in signals.tolist()])
        low, high = bounds.T
        ends = (np.minimum(low, 0), np.maximum(high, 0)) if padded else (low, high)
        constant = ends[0] == ends[1]
        sums = merged.sum(axis=2)
        bias = bias + sums[:, constant] @ ends[0][constant]
        merged = merged * ~constant[:, None]
        up, down = np.maximum(merged, 0).sum(axis=2), np.minimum(merged, 0).sum(axis=2)
        least = bias + _dot(up, ends[0]) + _dot(down, ends[1])
        most = bias + _dot(up, ends[1]) + _dot(down, ends[0])
        used = merged.any(axis=2)
        found = []
        for k, row in enumerate(merged):
            mine = used[k]
            key = (*tag, signals[mine].tobytes(), row[mine].tobytes(), float(bias[k]))
            found.append(self._signal(key, float(least[k]), float(most[k])))
        return found

    def _each(self, node: Node) -> None:
        """One signal of each: a function of numbers, or of windows of an image."""
        x, y = node.inputs[0], node.outputs[0]
        tag = (node.op, _settings(node), *self._given(node))
        if node.op in UNARY:
            given, places = self._values[x]
        else:
            channels = self._channels(x)
            if channels is None:
                return
            given, places = channels, None
        before, inverse = np.unique(compact(given), return_inverse=True)
        low, high = np.array([self._bounds[s] for s in before.tolist()]).T
        if node.op in UNARY:
            low, high = self._function(node, low, high)
        elif node.op == "AveragePool" and (any(node.attrs["pads"]) or node.attrs["ceil_mode"]):
            low, high = np.minimum(low, 0), np.maximum(high, 0)
        elif node.op == "Resize" and node.attrs.get("mode", "nearest") == "cubic":
            same = low == high
            low, high = np.where(same, low, -np.inf), np.where(same, high, np.inf)
        after = np.array(
            [
                self._signal((*tag, s), a, b)
                for s, a, b in zip(before.tolist(), low.tolist(), high.tolist())
            ]
        )[inverse.reshape(compact(given).shape)]
        if places is None:
            self._set(y, after)
        else:
            self._values[y] = Channels(np.broadcast_to(after, given.shape), places)

    def _given(self, node: Node) -> tuple[object, ...]:
        """The constants after the first input, as part of a key."""
        constants = self._graph.initializers
        return tuple(constants[n].tobytes() if n in constants else n for n in node.inputs[1:])

    def _function(self, node: Node, low: Array, high: Array) -> tuple[Array, Array]:
        constants = [self._graph.initializers.get(name) for name in node.inputs[1:]]
        operator = OPERATORS[node.op]
        attrs = operator.bind(node.attrs)
        ends = [np.asarray(operator.compute([end, *constants], attrs)[0]) for end in (low, high)]
        rising = node.op in _RISING and all(attrs.get(name, 0) >= 0 for name in _FACTORS)
        known = (low == high) | rising
        return np.where(known, ends[0], -np.inf), np.where(known, ends[1], np.inf)

    def _binary(self, node: Node) -> None:
        shape = self._couplings.shapes[node.outputs[0]]
        sides, places = [], []
        for name in node.inputs:
            if name in self._values:
                signals, own = self._values[name]
                if signals.ndim != len(shape):
                    return
                if signals.shape == shape or own.any():  # one number of each channel is everywhere
                    places.append(np.broadcast_to(own, shape))
            elif name in self._graph.initializers:
                numbers, inverse = np.unique(self._graph.initializers[name], return_inverse=True)
                ids = [self._signal(("constant", n), n, n) for n in numbers.astype(float).tolist()]
                array = np.array(ids)[inverse.reshape(self._graph.initializers[name].shape)]
                signals = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
            else:
                return
            sides.append(signals)
        if any((compact(p) != compact(places[0])).any() for p in places[1:]) or not places:
            return  # not the same place of both
        a, b = (compact(side) for side in sides)
        a, b = np.broadcast_arrays(a, b)
        pairs, inverse = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1, return_inverse=True)
        low, high = self._of_two(node, pairs)
        tag = (node.op, _settings(node))
        if node.op in ("Add", "Mul", "Max", "Min"):
            pairs = np.sort(pairs, axis=0)
        after = np.array(
            [
                self._signal((*tag, *pair), x, y)
                for pair, x, y in zip(pairs.T.tolist(), low.tolist(), high.tolist())
            ]
        )
        signals = np.broadcast_to(after[inverse.reshape(a.shape)], shape)
        self._values[node.outputs[0]] = Channels(signals, places[0])

    def _of_two(self, node: Node, pairs: Array) -> tuple[Array, Array]:
        """The bounds of a function of two."""
        bounds = np.array(self._bounds)
        (a, b), (c, d) = bounds[pairs[0]].T, bounds[pairs[1]].T  # of the first, of the second
        operator = OPERATORS[node.op]
        (exact,) = operator.compute([a, c], operator.bind(node.attrs))
        same = (a == b) & (c == d)
        low, high = np.full(a.shape, -np.inf), np.full(a.shape, np.inf)
        if node.op == "Add":
            low, high = a + c, b + d
        elif node.op == "Sub":
            low, high = a - d, b - c
        elif node.op == "Max":
            low, high = np.maximum(a, c), np.maximum(b, d)
        elif node.op == "Min":
            low, high = np.minimum(a, c), np.minimum(b, d)
        elif node.op == "Mul":
            zero = ((a == 0) & (b == 0)) | ((c == 0) & (d == 0))
            positive = (a >= 0) & (c >= 0)
            low = np.where(zero | positive, 0.0, -np.inf)
            high = np.where(zero, 0.0, np.where(positive & np.isfinite(b * d), b * d, np.inf))
        return np.where(same, exact, low), np.where(same, exact, high)

    def _move(self, node: Node) -> None:
        """Signals and places move as the numbers do. A list's numbers, which have no places, are
        signals of their own.
        """
        y, shape = node.outputs[0], self._couplings.shapes[node.outputs[0]]
        known = {name: self._values[name] for name in node.inputs if name in self._values}
        found = [
            self._couplings.moved(node, {n: c[part] for n, c in known.items()}, -1)
            for part in (0, 1)
        ]
        signals, places = found
        if signals is None or places is None or (signals < 0).any():
            return
        if len(shape) == 2:
            pairs = np.stack([signals.ravel(), places.ravel()])
            constant = np.array([low == high for low, high in self._bounds])[pairs[0]]
            pairs[1, constant] = 0
            if pairs[1].any():
                unique, inverse = np.unique(pairs, axis=1, return_inverse=True)
                ids = np.where(
                    [self._bounds[s][0] == self._bounds[s][1] for s in unique[0].tolist()],
                    unique[0],
                    self._new(unique.shape[1]),
                )
                bounds = [self._bounds[s] for s in unique[0].tolist()]
                for i, pair in zip(ids.tolist(), bounds):
                    self._bounds[i] = pair
                signals = ids[inverse.reshape(-1)].reshape(shape)
            places = np.zeros(shape, np.int64)
        self._values[y] = Channels(condensed(signals), condensed(places))


def _settings(node: Node, without: Sequence[str] = ()) -> str:
    return repr(sorted((k, v) for k, v in node.attrs.items() if k not in without))


def _dot(a: Array, b: Array) -> Array:
    """a @ b, where nothing times infinity is nothing."""
    finite = np.where(np.isfinite(b), b, 0.0)
    endless = np.where(np.isfinite(b), 0.0, np.sign(b))
    return np.asarray(a @ finite + np.where((over := a @ endless) == 0, 0.0, over * np.inf))
