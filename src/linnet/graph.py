"""A network as a list of nodes: what readers of formats make, passes rewrite, and the core and ONNX
files are made from.

A graph's operators are those of ONNX's default domain with the meaning of opset 13 and later,
whatever file it came from; `linnet.ops` has them. `passes.canonicalize` rewrites them to the
canonical few, which `core.build` and `formats.onnx_write.save` require. This file is data alone and
imports nothing else of linnet.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

FLOAT32: np.dtype[Any] = np.dtype(np.float32)

# What ONNX, and so a Cast, calls the types of elements (TensorProto.DataType), by NumPy's names.
ELEMENT_TYPES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
}

# Canonical operators that ONNX does not have, and the domain they have in its files.
OWN_DOMAIN = "linnet"
OWN_OPERATORS = frozenset(("Detections", "GatherRows", "Regions", "TopPlaces"))

# The key of metadata of a source that has no batch: how long axis 0 of each input is, as JSON.
BATCHLESS = "linnet.batchless"

LONGEST_AXIS = 1 << 31  # exclusive, as in the core, whose arithmetic has 64 bits

# The operator of a node that a reader could not express; the attribute "reason" says why, "op" what
# it is called there. Keeping it in the graph lets canonicalize report it with every other problem;
# a problem of the file as a whole is a node without outputs.
UNSUPPORTED = "Unsupported"


class Names(set[str]):
    """Names that are in use."""

    def fresh(self, name: str) -> str:
        """`name` with underscores until it is new; it is in use from now on."""
        while name in self:
            name += "_"
        self.add(name)
        return name


class Layer(NamedTuple):
    """What a source calls one of its layers, the type it gives it, and the values that it makes."""

    name: str
    type: str
    values: list[str]


class Value(NamedTuple):
    """A graph input of `shape`. Axis 0 is the batch. Sizes are the file's, 0 where that leaves them
    open.
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any] = FLOAT32


@dataclass
class Node:
    """One operator. An empty input or output name stands for an absent optional one.

    Attribute values are int, float, str, list of those, or ndarray.
    """

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"node '{self.name}' ({self.attrs.get('op', self.op)})"


@dataclass
class Graph:
    """Nodes, constants, inputs and the names of the outputs; `source` is the file, for messages.

    layers: the source's own, in its order, where several nodes may stand for one or none.
    left_out: kinds of operators that the source has and the wanted outputs do not depend on.
    metadata: what else the file says, by ONNX's or linnet's own keys (linnet.preprocess has them).
    sizes: examples of open sizes, of even and of odd axes, where not every size fits.
    aliases: names that the source has for a value beside its own, which they lead to.
    in_float: integers that stand for reals are not computed with, but the reals.
    """

    name: str
    nodes: list[Node]
    initializers: dict[str, Array]
    inputs: list[Value]
    outputs: list[str]
    source: str = ""
    layers: list[Layer] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    in_float: bool = False
    example: bool = False  # sizes of inputs are examples of open ones: nothing may rest on them

    @property
    def batchless(self) -> bool:
        """Whether axis 0 of inputs is an axis like others."""
        return BATCHLESS in self.metadata

    def names(self) -> Names:
        """The names of all values."""
        names = Names(name for node in self.nodes for name in node.outputs)
        names.update(self.initializers, (value.name for value in self.inputs))
        return names

    def sort(self) -> list[str]:
        """Bring the nodes into execution order, keeping the given order wherever it is one.

        Returns what is wrong: names defined twice, used but never defined, or in a cycle.
        """
        problems = []
        inputs = [value.name for value in self.inputs]
        defined = set(self.initializers)
        definitions = [(name, "an input") for name in inputs]
        definitions += [
            (name, f"an output of {node}") for node in self.nodes for name in node.outputs if name
        ]
        for name, what in definitions:
            if name in defined:
                problems.append(f"'{name}' is defined again as {what}")
            defined.add(name)
        for node in self.nodes:
            for name in node.inputs:
                if name and name not in defined:
                    problems.append(f"{node}: input '{name}' is not defined anywhere")
        for name in self.outputs:
            if name not in defined:
                problems.append(f"output '{name}' is not defined anywhere")
        if problems:
            return problems

        readers: dict[str, list[int]] = {}
        missing = []  # of each node, how many inputs are not computed yet
        available = set(self.initializers).union(inputs)
        for index, node in enumerate(self.nodes):
            needed = {name for name in node.inputs if name and name not in available}
            missing.append(len(needed))
            for name in needed:
                readers.setdefault(name, []).append(index)
        ready = [index for index, count in enumerate(missing) if count == 0]
        order = []
        while ready:
            node = self.nodes[heapq.heappop(ready)]
            order.append(node)
            for name in node.outputs:
                for index in readers.get(name, ()):
                    missing[index] -= 1
                    if missing[index] == 0:
                        heapq.heappush(ready, index)
        if len(order) < len(self.nodes):
            stuck = [str(node) for node, count in zip(self.nodes, missing) if count]
            return [f"the graph has a cycle through or before {', '.join(stuck[:5])}"]
        self.nodes = order
        return []
