"""A canonical graph in the core: building it there, and the shapes the core gives its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import _core
from .graph import FLOAT32, Array, Graph, Shape


def build(graph: Graph) -> _core.GraphBuilder:
    """The graph in the core. float32 weights are borrowed, not copied; ValueError if it is not
    canonical.
    """
    try:
        builder = _core.GraphBuilder(graph.name)
        for value in graph.inputs:
            builder.input(value.name, value.shape, value.dtype)
        for name, array in graph.initializers.items():
            builder.initializer(name, _constant(array))
        for node in graph.nodes:
            builder.node(node.op, node.name, node.inputs, node.outputs, node.attrs)
        for name in graph.outputs:
            builder.output(name)
    except ValueError as error:
        raise ValueError(f"{graph.source}: {error}" if graph.source else str(error)) from None
    return builder


def shapes(graph: Graph) -> dict[str, Shape]:
    """Shape of every input and node output of a canonical graph, 0 for the batch."""
    builder = build(graph)
    names = [value.name for value in graph.inputs]
    names += [name for node in graph.nodes for name in node.outputs if name]
    return {name: tuple(builder.shape(name)) for name in names}


def infer_type(
    op: str, attrs: Mapping[str, Any], inputs: Sequence[tuple[Shape, np.dtype[Any]] | Array | None]
) -> tuple[Shape, np.dtype[Any]]:
    """Shape, 0 for the batch, and type of a canonical operator's output.

    inputs: an activation's shape and type, a constant itself, None for an absent one. ValueError if
    they do not fit.
    """
    given = [_constant(x) if isinstance(x, np.ndarray) else x for x in inputs]
    shape, dtype = _core.infer_type(op, attrs, given)
    return tuple(shape), dtype


def infer_shape(op: str, attrs: Mapping[str, Any], inputs: Sequence[Shape | Array | None]) -> Shape:
    """The same of float32 activations, given by their shapes alone."""
    known = [(x, FLOAT32) if isinstance(x, (tuple, list)) else x for x in inputs]
    return infer_type(op, attrs, known)[0]


def _constant(array: Array) -> Array:
    """A constant as the core takes it."""
    kept = array.dtype.name in ("int8", "uint8")
    dtype = array.dtype if kept else np.int64 if array.dtype.kind == "i" else np.float32
    return np.require(array, dtype, ["C", "A"])
