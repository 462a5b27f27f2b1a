"""What the readers of all formats share: the graph being made, its names, constants and shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from .. import core
from ..graph import FLOAT32, UNSUPPORTED, Graph, Names, Node, Shape, Value

# What readers emit of one shape, that of the first input.
_ELEMENTWISE = {"Add", "BatchNormalization", "Identity", "Max", "Mul", "Pow", "Sum"}


class Unsupported(Exception):
    """Something that the Graph cannot hold; its text is the reason, or empty if it follows from a
    problem already told.
    """


class MissingOperator(Unsupported):
    """The same of an operator that is not supported at all."""


class Translator:
    """One translation, to `graph`. What cannot be translated is in the graph, too, as nodes that
    say so: passes.canonicalize reports them together.

    names: what the source calls its values. shapes: those known so far, 0 for the batch.
    """

    def __init__(self, name: str, source: str, names: Iterable[str]) -> None:
        self.graph = Graph(name, [], {}, [], [], source)
        self.names = Names(names)
        self.shapes: dict[str, Shape] = {}

    @contextmanager
    def attempt(
        self, op: str, name: str, inputs: Sequence[str], outputs: Sequence[str]
    ) -> Iterator[None]:
        """What its body adds or, if that raises Unsupported, one node that bears the reason."""
        before = len(self.graph.nodes)
        try:
            yield
        except Unsupported as reason:
            del self.graph.nodes[before:]
            attrs: dict[str, Any] = {"op": op, "reason": str(reason)}
            if isinstance(reason, MissingOperator):
                attrs["missing"] = True
            self.graph.nodes.append(Node(UNSUPPORTED, name, list(inputs), list(outputs), attrs))
            for output in outputs:
                self.shapes.pop(output, None)

    def problem(self, reason: str) -> None:
        """Note what is wrong with the file, of no single node."""
        self.graph.nodes.append(Node(UNSUPPORTED, "", [], [], {"reason": reason}))

    def input(self, name: str, shape: Sequence[int], dtype: np.dtype[Any] = FLOAT32) -> None:
        """Add an input; axis 0, the batch, as the file has it."""
        self.graph.inputs.append(Value(name, tuple(shape), dtype))
        self.shapes[name] = (0, *shape[1:]) if shape else ()

    def constant(self, hint: str, values: Any) -> str:
        """Name of a new constant, `hint` if that is not taken."""
        name = self.names.fresh(hint)
        self.graph.initializers[name] = np.asarray(values)
        return name

    def add(self, name: str, op: str, inputs: list[str], outputs: list[str], **attrs: Any) -> None:
        """Append a node; the shape of its output is known if those of its inputs are."""
        self.graph.nodes.append(Node(op, name or outputs[0], inputs, outputs, attrs))
        constants = self.graph.initializers
        given = [self.shapes.get(name, constants.get(name)) for name in inputs]
        if any(name and value is None for name, value in zip(inputs, given)):
            return
        with suppress(ValueError):  # canonicalize finds and reports the same
            same = op in _ELEMENTWISE
            shape = self.shape(inputs[0]) if same else core.infer_shape(op, attrs, given)
            self.shapes[outputs[0]] = shape

    def shape(self, name: str) -> Shape:
        """Shape of an activation."""
        if name not in self.shapes:
            raise Unsupported("")
        return self.shapes[name]
