"""A graph computed by what its operators mean (linnet.ops), in NumPy: the tests' oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .graph import Array, Graph
from .ops import OPERATORS
from .ops.detect import rows_of
from .scalars import recorded, without_axes


def run(
    graph: Graph,
    feeds: Mapping[str, npt.ArrayLike],
    dtype: npt.DTypeLike = np.float64,
    fetch: Sequence[str] | None = None,
) -> dict[str, Array]:
    """{name: array} of the graph's outputs, or of the values in `fetch`.

    The graph need not be canonical. Of Detections the rows that are there are given. Reals are
    computed in `dtype`; integers and truth values keep their types.
    """
    others = {value.name: value.dtype for value in graph.inputs if value.dtype.kind != "f"}
    values = {name: np.asarray(array, others.get(name, dtype)) for name, array in feeds.items()}
    _compute(graph, values, dtype)
    fetched = {name: values[name] for name in (graph.outputs if fetch is None else fetch)}
    for node in graph.nodes:
        if node.op == "Detections" and node.outputs[0] in fetched:
            fetched[node.outputs[0]] = rows_of(fetched[node.outputs[0]])
    for name in recorded(graph.metadata) & fetched.keys():
        fetched[name] = without_axes(fetched[name])
    return fetched


def _compute(graph: Graph, values: dict[str, Array], dtype: npt.DTypeLike) -> None:
    """Add all that the graph computes to the values of its inputs."""
    for name, array in graph.initializers.items():
        values[name] = array.astype(dtype) if array.dtype.kind == "f" else array
    for node in graph.nodes:
        operator = OPERATORS[node.op]
        inputs = [values[name] if name else None for name in node.inputs]
        attrs = {
            name: _function(setting, dtype) if isinstance(setting, Graph) else setting
            for name, setting in operator.bind(node.attrs).items()
        }
        values.update(zip(node.outputs, operator.compute(inputs, attrs)))


def _function(body: Graph, dtype: npt.DTypeLike) -> Callable[..., list[Array]]:
    """The outputs of a body by its inputs."""

    def compute(*arguments: Array) -> list[Array]:
        values = dict(zip((value.name for value in body.inputs), arguments))
        _compute(body, values, dtype)
        return [values[name] for name in body.outputs]

    return compute
