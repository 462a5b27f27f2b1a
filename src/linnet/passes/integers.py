"""8-bit integers that stand for reals: moved as they are, and as weights of layers.

A canonical graph has QuantizeLinear and DequantizeLinear around what is computed. What only moves
numbers (or picks some, as a maximum does) is the same of integers as of the reals they stand for.
So a DequantizeLinear sinks behind what moves its reals, a QuantizeLinear rises before what moved
its input, and where two of the same scale and zero point meet, both go. What blends neighbours, as
a linear Resize does, rounds them: it is of integers only where it lies between two such.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..graph import Array, Graph, Node
from ..ops._lowering import Lowering
from ..ops.quant import dequantize_linear, scales_of_rows
from ..ops.resize import of_bytes

_MOVES = {"Concat", "Flatten", "GatherRows", "GlobalMaxPool", "MaxPool", "Reshape", "Slice"}
_MOVES |= {"Transpose"}
_MOST_AXES = 4  # of what is made integers or reals
_DEEPEST = 64  # moves one after the other that a QuantizeLinear rises before


class Grid(NamedTuple):
    """The reals that integers of a type stand for: scale * (q - zero)."""

    scale: float
    zero: int
    dtype: str


def grid_of(node: Node | None, op: str, constants: dict[str, Array]) -> Grid | None:
    """Of a QuantizeLinear or DequantizeLinear, whichever `op` says, of what is computed."""
    if node is None or node.op != op or node.inputs[0] in constants:
        return None
    scale, zero = (constants[name] for name in node.inputs[1:])
    return Grid(float(scale), int(zero), zero.dtype.name)


def is_weight(node: Node, constants: dict[str, Array]) -> bool:
    """Whether it makes the weights of layers, of integers."""
    return node.op == "DequantizeLinear" and node.inputs[0] in constants


def keep_integers(low: Lowering) -> None:
    """Weights of layers that are integers times a scale, one for each output, are made of those by
    a DequantizeLinear.
    """
    readers: dict[str, set[bool]] = {}
    for node in low.nodes:
        for place, name in enumerate(node.inputs):
            layer = place == 1 and node.op in ("Conv", "Gemm")
            readers.setdefault(name, set()).add(layer)
    made = []
    for name in [n for n in low.products if n in low.constants and readers.get(n) == {True}]:
        q, scales = low.products[name]
        rows = scales_of_rows(low.constants[name], q, scales)
        if rows is None:
            continue
        del low.constants[name]
        small, zero = _in_bytes(q)
        scales = rows[0] if (rows == rows[0]).all() else rows
        inputs = [
            low.add_constant(f"{name}.integers", np.ascontiguousarray(small)),
            low.add_constant(f"{name}.scale", scales),
        ]
        if zero:
            zeros = np.full(np.shape(scales), zero, small.dtype)
            inputs.append(low.add_constant(f"{name}.zero", zeros))
        made.append(Node("DequantizeLinear", name, inputs, [name], {"axis": 0}))
    low.nodes[:0] = made


def _in_bytes(q: Array) -> tuple[Array, int]:
    """Integers as int8, or as uint8 with a zero point where that does not hold them."""
    least, most = int(q.min(initial=0)), int(q.max(initial=0))
    if least >= -128 and most <= 127:
        return q.astype(np.int8), 0
    zero = min(max(-least, 0), 255)
    return (q + zero).astype(np.uint8), zero


def expand_weights(graph: Graph) -> Graph:
    """Weights of integers are floats where a layer that has them reads what is none of integers."""
    constants = dict(graph.initializers)
    producers = {name: node for node in graph.nodes for name in node.outputs}
    floats = {
        name
        for node in graph.nodes
        if grid_of(producers.get(node.inputs[0]), "DequantizeLinear", constants) is None
        for name in node.inputs[1:]
    }
    nodes = []
    for node in graph.nodes:
        if is_weight(node, constants) and node.outputs[0] in floats:
            given = (constants[name] for name in node.inputs)
            constants[node.outputs[0]] = dequantize_linear(*given, axis=0)
        else:
            nodes.append(node)
    return replace(graph, nodes=nodes, initializers=constants)


def move_integers(graph: Graph) -> Graph:
    """What moves numbers between a DequantizeLinear and a QuantizeLinear moves the integers."""
    return _Moving(graph).graph


class _Real(NamedTuple):
    """What a DequantizeLinear makes, not made so far."""

    integers: str
    grid: Grid
    parameters: list[str]  # names of scale and zero point


class _Moving:
    """One rewriting, from `source` to `graph`."""

    def __init__(self, source: Graph) -> None:
        self.constants = source.initializers
        self.outputs = source.outputs
        self.names = source.names()
        self.users = Counter(name for node in source.nodes for name in node.inputs)
        self.users.update(source.outputs)
        self.producers = {name: node for node in source.nodes for name in node.outputs}
        self.ranks = {value.name: len(value.shape) for value in source.inputs}
        self.nodes: list[Node] = []
        self.waiting: dict[str, _Real] = {}
        self.made: set[str] = set()  # those that wait no more
        self.known: dict[tuple[str, Grid], str] = {}  # integers that stand for reals
        self.renamed: dict[str, str] = {}
        self.named: dict[str, str] = {}  # names of the source for what is new
        self.new: set[str] = set()
        for node in source.nodes:
            self._visit(node)
        for name in source.outputs:
            self._real(name)
        for node in self.nodes:
            node.inputs = [self.named.get(name, name) for name in node.inputs]
            node.outputs = [self.named.get(name, name) for name in node.outputs]
        aliases = {name: self.named.get(to, to) for name, to in self.renamed.items()}
        aliases = {name: to for name, to in aliases.items() if name != to}
        self.graph = replace(source, nodes=self.nodes, aliases={**source.aliases, **aliases})

    def _visit(self, node: Node) -> None:
        node.inputs = [self.renamed.get(name, name) for name in node.inputs]
        y = node.outputs[0]
        self.ranks[y] = self._rank(node)
        grid = grid_of(node, "DequantizeLinear", self.constants)
        if grid is not None:
            self.waiting[y] = _Real(node.inputs[0], grid, node.inputs[1:])
            return
        reals = [self.waiting.get(name) for name in _moved(node)]
        first = reals[0] if reals else None
        if first and all(real and real.grid == first.grid for real in reals):
            integers = self._move(node, [real.integers for real in reals if real])
            self.waiting[y] = first._replace(integers=integers)
            return
        grid = grid_of(node, "QuantizeLinear", self.constants)
        if grid is not None:
            integers = self._integers(node.inputs[0], grid, node.inputs[1:])
            if integers and self._is_called(integers, y):
                return
            self.known[node.inputs[0], grid] = y
        for name in node.inputs:
            self._real(name)
        self.nodes.append(node)

    def _rank(self, node: Node) -> int:
        """How many axes its result has, where those may be more than an image has."""
        if node.op == "Reshape":
            return self.constants[node.inputs[1]].size
        kept = {"DequantizeLinear", "QuantizeLinear", "Resize"}
        if node.op in _MOVES | kept - {"Flatten"}:
            return self.ranks.get(node.inputs[0], 0)
        return 0

    def _is_called(self, integers: str, y: str) -> bool:
        """Let them stand for the value y, unless that is an output, and they have another name."""
        if integers in self.new and integers not in self.named:
            self.named[integers] = y
        elif y in self.outputs:
            return False
        self.renamed[y] = integers
        return True

    def _real(self, name: str) -> None:
        """Make a value that waits: by a DequantizeLinear or, of more axes than that may have, by
        what moves the reals.
        """
        moves = []
        while name in self.waiting and name not in self.made and self.ranks[name] > _MOST_AXES:
            moves.append(self.producers[name])
            self.made.add(name)
            name = moves[-1].inputs[0]
        if name in self.waiting and name not in self.made:
            real = self.waiting[name]
            inputs = [real.integers, *real.parameters]
            self.nodes.append(Node("DequantizeLinear", name, inputs, [name]))
            self.made.add(name)
        self.nodes += reversed(moves)

    def _move(self, node: Node, integers: list[str]) -> str:
        """The node, of integers."""
        y = self.names.fresh(f"{node.outputs[0]}.integers")
        inputs = integers + node.inputs[len(integers) :]
        self.nodes.append(Node(node.op, y, inputs, [y], dict(node.attrs)))
        self.new.add(y)
        return y

    def _integers(self, x: str, grid: Grid, parameters: list[str], depth: int = 0) -> str:
        """Those that stand for x, if they are there or can be moved; else "", or made of x if it
        is not the QuantizeLinear's own input.
        """
        if (x, grid) in self.known:
            return self.known[x, grid]
        real, node = self.waiting.get(x), self.producers.get(x)
        if real and real.grid == grid:
            return real.integers
        y, parts = "", [] if real or not node else _moved(node)
        if node and parts and self.users[x] == 1 and depth < _DEEPEST:
            parts = [self._integers(n, grid, parameters, depth + 1) for n in parts]
            y = self._move(node, parts) if all(parts) else ""
        if node and not y and self.users[x] == 1 and node.op == "Resize" and of_bytes(node):
            before = self.waiting.get(node.inputs[0])
            y = self._move(node, [before.integers]) if before and before.grid == grid else ""
        if depth and not y and self.ranks.get(x, 0) <= _MOST_AXES:
            self._real(x)
            y = self.names.fresh(f"{x}.integers")
            self.nodes.append(Node("QuantizeLinear", y, [x, *parameters], [y]))
            self.new.add(y)
        if y:
            self.known[x, grid] = y
        return y


def _moved(node: Node) -> list[str]:
    """The values that a node moves."""
    picks = node.op == "Resize" and of_bytes(node) == "picks"
    if node.op not in _MOVES and not picks:
        return []
    return node.inputs if node.op == "Concat" else node.inputs[:1]
