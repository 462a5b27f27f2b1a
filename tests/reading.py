"""What tests of readers share: what a graph means and what the core makes of it, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import linnet
from linnet import formats, interpret, passes
from linnet.graph import Graph


def close(got: Any, wanted: Any) -> None:
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=2e-5 * max(1, np.abs(wanted).max()))


def run(graph: Graph, feeds: dict[str, Any]) -> dict[str, Any]:
    """The outputs by what the operators mean; the same as the core computes."""
    graph = passes.canonicalize(graph)
    meant = interpret.run(graph, feeds, fetch=graph.outputs)
    net = linnet.load(graph, threads=1)
    names = [value.name for value in net.outputs]
    for got, name in zip(net.run(names, feeds), names):
        close(got, meant[name])
    return meant


def refusal(data: Any, *texts: str) -> None:
    with pytest.raises(ValueError) as caught:
        passes.canonicalize(formats.read(data))
    for text in texts:
        assert text in str(caught.value)
