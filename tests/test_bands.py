"""Steps that are computed in bands of rows; chains of any kind are tested in C++."""

from __future__ import annotations

import bands
import numpy as np
import pytest

import linnet
from linnet import interpret


@pytest.fixture(scope="module")
def floats() -> linnet.graph.Graph:
    return bands.network()


@pytest.fixture(scope="module")
def integers(floats: linnet.graph.Graph) -> linnet.graph.Graph:
    return bands.in_integers(floats)


@pytest.mark.parametrize("threads", [1, 2])
def test_integers_are_those_of_whole_steps(integers: linnet.graph.Graph, threads: int) -> None:
    net = linnet.load(integers, threads=threads)
    whole = linnet.load(integers, threads=threads, algorithm="integer-ref")
    assert any(layer.rows for layer in net.explain())
    assert not any(layer.rows for layer in whole.explain())
    x = bands.images(2)
    np.testing.assert_array_equal(net(x), whole(x))


@pytest.mark.parametrize("threads", [1, 2])
def test_floats_are_what_the_graph_means(floats: linnet.graph.Graph, threads: int) -> None:
    net = linnet.load(floats, threads=threads)
    x = bands.images(1)
    expected = interpret.run(floats, {"x": x})["y"]
    assert np.abs(net(x) - expected).max() <= 1e-4 * np.sqrt(np.mean(expected**2))


def test_they_are_told(floats: linnet.graph.Graph) -> None:
    net = linnet.load(floats, threads=1)
    layers = [layer for layer in net.explain() if layer.rows]
    assert len(layers) >= 4 and f"direct, {layers[0].rows} rows" in str(net.explain())
    assert all(layer.seconds for layer in net.profile(bands.images(1)))
