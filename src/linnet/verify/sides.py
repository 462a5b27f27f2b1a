"""What is compared: a model, or what a runtime saved of one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .. import _core, core
from ..graph import Array, Graph, Node
from ..ops.quant import rounded
from ..session import Session
from .integers import Integers
from .integers import integers as integers_of

MOST_IMAGES = 16  # whose values are kept and compared layer by layer


@dataclass
class Side:
    """One of the two: the values it computed of the first images, in order; the graph if it is a
    model; and of all images the class, where an output is a list of classes. integers: of values
    that integers stand for, by any of their names.
    """

    name: str
    values: dict[str, Array]
    graph: Graph | None = None
    outputs: list[str] = field(default_factory=list)
    classes: dict[str, Array] = field(default_factory=dict)
    integers: dict[str, Integers] = field(default_factory=dict)

    def producer(self, value: str) -> Node | None:
        nodes = self.graph.nodes if self.graph else []
        return next((node for node in nodes if value in node.outputs), None)

    def own(self, name: str) -> str:
        """The name a value has in `values`, which may be another one, as that of the integers that
        stand for it; empty if it is not there.
        """
        aliases = self.graph.aliases if self.graph else {}
        names = [name, *(self.integers[name].name for _ in range(name in self.integers))]
        both = [n for known in names for n in (known, aliases.get(known, ""))]
        return next((n for n in both if n in self.values), "")

    def of_integers(self, value: str) -> Integers | None:
        aliases = self.graph.aliases if self.graph else {}
        names = [value, *(name for name, to in aliases.items() if to == value)]
        return next((self.integers[name] for name in names if name in self.integers), None)

    def make_real(self) -> Side:
        """Itself, with the reals that integers of 8 bits stand for."""
        for name, array in self.values.items():
            known = self.of_integers(name)
            if known and array.dtype.name == known.dtype and array.dtype.itemsize == 1:
                self.values[name] = known.reals(array)
        self.values = _reals(self.values)
        return self


def run_model(
    name: str,
    graph: Graph,
    inputs: Mapping[str, Array],
    weights_dtype: str | None = None,
    integers: Mapping[str, Integers] | None = None,
) -> Side:
    """Every value of a canonical graph on these inputs, computed by linnet. integers: those that
    its source tells of; an input that is some is made of the reals that are given.
    """
    whole = {**integers_of(graph), **(integers or {})}
    given = dict(inputs)
    for value in graph.inputs:
        known = whole.get(value.name)
        if known and value.dtype == known.dtype and given[value.name].dtype.kind == "f":
            given[value.name] = known.integers(given[value.name])
    net = Session(_core.Session(core.build(graph), weights_dtype=weights_dtype or ""))
    there = {value.name for value in net.values}  # weights of integers are none
    names = [node.outputs[0] for node in graph.nodes if node.outputs[0] in there]
    first = {key: x[:MOST_IMAGES] for key, x in given.items()}
    values = dict(zip(names, net.run(names, first)))
    results = dict(zip(graph.outputs, net.run(None, given)))
    outputs = list(graph.outputs)
    return Side(name, values, graph, outputs, _best(results), whole).make_real()


def saved(name: str, values: Mapping[str, Array]) -> Side:
    """What a runtime saved.

    ValueError if an array is not a batch of numbers.
    """
    for key, array in values.items():
        if array.dtype.kind not in "fiu" or array.ndim < 2 or not len(array):
            raise ValueError(f"{name}: '{key}' is not a batch of numbers, N x ...")
    floats = _reals(values)
    first = {key: array[:MOST_IMAGES] for key, array in floats.items()}
    return Side(name, first, classes=_best(floats))


def round_weights(graph: Graph, dtype: str) -> Graph:
    """The graph with the weights that `linnet.load(..., weights_dtype=dtype)` works with."""
    initializers = dict(graph.initializers)
    nodes = []
    for node in graph.nodes:
        kernel = initializers.get(node.inputs[1]) if node.op in ("Conv", "Gemm") else None
        if (
            kernel is not None
            and node.attrs.get("group", 1) == 1
            and kernel.shape[2:] in ((), (1, 1))
        ):
            name = f"{node.inputs[1]} as {dtype}"
            initializers[name] = rounded(kernel, dtype)
            nodes.append(replace(node, inputs=[node.inputs[0], name, *node.inputs[2:]]))
        else:
            nodes.append(node)
    return replace(graph, nodes=nodes, initializers=initializers)


def _reals(values: Mapping[str, Array]) -> dict[str, Array]:
    """Numbers whose differences are numbers, too."""
    return {
        key: array if array.dtype == np.float32 else array.astype(np.float64)
        for key, array in values.items()
    }


def _best(values: Mapping[str, Array]) -> dict[str, Array]:
    """The index of the largest number of each image, of values that are lists of classes."""
    return {
        name: y.reshape(len(y), -1).argmax(axis=1)
        for name, y in values.items()
        if y.ndim > 1 and y.shape[1] > 1 and math.prod(y.shape[2:]) == 1
    }
