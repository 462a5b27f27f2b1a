"""Which channels of a canonical graph's values can only be removed together.

Every number of a value has a *slot*. A layer's results begin new slots, one for each channel; what
adds two values joins theirs, what moves numbers moves their slots, and what reads all channels as
one, as a softmax does, joins them with slot 0, whose numbers stay. Slots that were joined are a
*class*: without all its numbers, every value is still an array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import core
from ..graph import Array, Graph, Node, Shape
from ..ops import OPERATORS

LAYERS = ("Conv", "Gemm")
UNARY = {
    *("Relu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Selu"),
    *("Exp", "Log", "Sqrt", "Reciprocal", "Neg", "Abs", "Sign", "Floor", "Ceil", "Round", "Erf"),
    *("Gelu", "Mish", "Softplus", "Softsign"),
}
BINARY = {"Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu", "Pow"}
WINDOWS = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize"}
MOVES = {"Concat", "Flatten", "Reshape", "Slice", "Transpose"}
KEPT = 0  # the slot of what stays


class Couplings:
    """The slots of a graph's values: `slots[name]`, int64 of the value's shape with 1 for sizes
    that are open; `root(slots)`, of each the one that stands for its class.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        builder = core.build(graph)
        names = [value.name for value in graph.inputs]
        names += [name for node in graph.nodes for name in node.outputs if name]
        self.shapes: dict[str, Shape] = {
            name: tuple(size or 1 for size in builder.shape(name)) for name in names
        }
        self.slots: dict[str, Array] = {}
        self._parents = [KEPT]
        for value in graph.inputs:
            self._keep([value.name])
        for node in graph.nodes:
            self._visit(node)
        self._keep(graph.outputs)
        self._roots = np.array([self._root(slot) for slot in range(len(self._parents))])

    @property
    def count(self) -> int:
        """How many slots there are."""
        return len(self._roots)

    def root(self, slots: Array) -> Array:
        """Of slots those that stand for their classes, KEPT for what stays."""
        return np.asarray(self._roots[slots])

    def classes(self, name: str) -> Array:
        """Of a value's channels, those along axis 1."""
        return self.root(self._along(name))

    def is_dense(self, node: Node) -> bool:
        """Whether it is a layer that mixes channels, by weights that are constants."""
        w = self.graph.initializers.get(node.inputs[1]) if node.op in LAYERS else None
        if w is None or not self.shapes.get(node.inputs[0]):
            return False
        return bool(node.attrs.get("group", 1) == 1 or w.shape[1] > 1)

    def is_known(self, node: Node) -> bool:
        """Whether all its values have shapes: where sizes are open, some have none."""
        names = (*node.inputs, *node.outputs)
        return all(self.shapes[name] for name in names if name in self.shapes)

    # Joining.

    def _root(self, slot: int) -> int:
        while self._parents[slot] != slot:
            self._parents[slot] = self._parents[self._parents[slot]]
            slot = self._parents[slot]
        return slot

    def _join(self, a: Array, b: Array) -> None:
        """Classes of numbers that are at the same place; the older slot stands for both."""
        pairs = np.stack(np.broadcast_arrays(compact(a), compact(b)), axis=-1).reshape(-1, 2)
        for x, y in np.unique(pairs, axis=0).tolist():
            first, second = sorted((self._root(x), self._root(y)))
            self._parents[second] = first

    def _fresh(self, count: int) -> Array:
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def _keep(self, names: Sequence[str]) -> None:
        """All of these values stay as they are."""
        for name in names:
            if name in self.shapes:
                kept = np.broadcast_to(np.array(KEPT), self.shapes[name])
                self._join(self.slots.get(name, kept), kept)
                self.slots.setdefault(name, kept)

    def _along(self, name: str) -> Array:
        """The slots of a value's channels, those along axis 1; of a list its own."""
        slots = self.slots[name]
        first = slots[0] if slots.ndim > 1 else slots.reshape(-1)
        while first.ndim > 1:
            first = first[..., 0]
        return np.asarray(first)

    def _set_along(self, name: str, slots: Array) -> None:
        """The slots of a value that has one for each channel."""
        rank = len(self.shapes[name])
        column = slots.reshape(1, -1, *(1,) * (rank - 2))
        self.slots[name] = np.broadcast_to(column, self.shapes[name])

    def _settle(self, name: str) -> None:
        """Classes differ along one axis at most: that with most of them."""
        slots = self.slots[name]
        axes = varying(compact(slots))
        if len(axes) > 1:
            kept = max(axes, key=lambda axis: slots.shape[axis])
            for axis in axes:
                if axis != kept:
                    self._join(slots, slots.take([0], axis=axis))

    # Operators.

    def _visit(self, node: Node) -> None:
        handlers: list[tuple[bool, Callable[[Node], bool]]] = [
            (node.op in LAYERS, self._layer),
            (node.op in UNARY, self._unary),
            (node.op in BINARY, self._binary),
            (node.op in WINDOWS, self._window),
            (node.op in MOVES, self._move),
        ]
        known = self.is_known(node)
        if not (known and any(fits and handle(node) for fits, handle in handlers)):
            self._keep([*node.inputs, *node.outputs])
        for name in node.outputs:
            if name:
                self._settle(name)

    def _is_by_channel(self, name: str) -> bool:
        return name in self.slots and set(varying(compact(self.slots[name]))) <= {1}

    def _layer(self, node: Node) -> bool:
        x, weights = node.inputs[:2]
        w, y = self.graph.initializers.get(weights), node.outputs[0]
        bias = [name for name in node.inputs[2:] if name]
        if w is None or x not in self.slots or any(n not in self.graph.initializers for n in bias):
            return False
        if not self._is_by_channel(x):
            self._keep([x])
        groups = node.attrs.get("group", 1)
        channels = self._along(x)
        if groups == 1:
            self._set_along(y, self._fresh(len(w)))
        elif w.shape[1] == 1:
            self._set_along(y, np.repeat(channels, len(w) // groups))
        else:  # of every group the same ones, so that groups stay equal
            parts = channels.reshape(groups, -1)
            self._join(parts, parts[:1])
            self._set_along(y, np.tile(self._fresh(len(w) // groups), groups))
        return True

    def _unary(self, node: Node) -> bool:
        if any(name in self.shapes for name in node.inputs[1:]):
            return False
        self.slots[node.outputs[0]] = self.slots[node.inputs[0]]
        return True

    def _binary(self, node: Node) -> bool:
        y, shape = node.outputs[0], self.shapes[node.outputs[0]]
        given = [self.slots[name] for name in node.inputs if name in self.slots]
        if any(name in self.slots and len(self.shapes[name]) != len(shape) for name in node.inputs):
            return False
        full = []
        for slots in given:  # one number for many channels stays
            repeated = [a for a, size in enumerate(shape) if slots.shape[a] == 1 < size]
            if any(a in varying(compact(other)) for other in given for a in repeated):
                self._join(slots, np.array(KEPT))
            else:
                full.append(slots)
        for slots in full[1:]:
            self._join(full[0], slots)
        self.slots[y] = np.broadcast_to(full[0], shape)
        return all(self._fits(n, shape) for n in node.inputs if n not in self.slots)

    def _fits(self, name: str, shape: Shape) -> bool:
        """Whether a constant can be cut as a value of this shape is."""
        array = self.graph.initializers.get(name)
        return array is not None and array.ndim <= len(shape)

    def _window(self, node: Node) -> bool:
        x, y = node.inputs[0], node.outputs[0]
        sizes = node.op == "Resize" and node.attrs.get("axes") != [2, 3]
        if sizes or not self._is_by_channel(x) or any(n in self.shapes for n in node.inputs[1:]):
            return False
        self._set_along(y, self._along(x))
        return True

    def _move(self, node: Node) -> bool:
        """Slots are moved as the numbers are, by what the operator means."""
        y, moving = node.outputs[0], [n for n in node.inputs if n in self.slots]
        if node.op == "Slice" and not self._takes_runs(node):
            return False
        moved = self.moved(node, self.slots, KEPT)
        if moved is None or not moving:
            return False
        self.slots[y] = condensed(moved)
        return True

    def _takes_runs(self, node: Node) -> bool:
        """Whether a Slice that changes channels takes them one after the other, forwards."""
        constants = self.graph.initializers
        if len(node.inputs) < 5 or any(n not in constants for n in node.inputs[1:]):
            return False
        axes = varying(compact(self.slots[node.inputs[0]]))
        return all(
            step == 1 or axis not in axes
            for axis, step in zip(*(constants[n].tolist() for n in node.inputs[3:5]))
        )

    def moved(self, node: Node, values: dict[str, Array], constant: int) -> Array | None:
        """What a node that moves numbers makes of these, each of its value's shape; constants
        count as `constant`. None if that is not known.
        """
        arrays: list[Array | None] = []
        for place, name in enumerate(node.inputs):
            if name in values:
                arrays.append(values[name])
            elif place and node.op != "Concat":
                arrays.append(self.graph.initializers.get(name))
            else:
                array = self.graph.initializers.get(name)
                arrays.append(None if array is None else np.full(array.shape, constant))
        operator = OPERATORS[node.op]
        try:
            (found,) = operator.compute(arrays, operator.bind(node.attrs))
        except (TypeError, ValueError, IndexError):
            return None
        return found if found.shape == self.shapes[node.outputs[0]] else None


def compact(array: Array) -> Array:
    """One index of each axis along which an array is known to be the same."""
    places = [slice(0, 1) if stride == 0 else slice(None) for stride in array.strides]
    return array[tuple(places)]


def condensed(array: Array) -> Array:
    """The same array, of which `compact` finds where it is the same."""
    small = compact(array)
    for axis in range(array.ndim):
        if axis not in varying(small):
            small = small.take([0], axis=axis)
    return np.broadcast_to(small, array.shape)


def varying(array: Array) -> list[int]:
    """The axes along which an array is not the same."""
    return [
        axis
        for axis, size in enumerate(array.shape)
        if size > 1 and (array != array.take([0], axis=axis)).any()
    ]
