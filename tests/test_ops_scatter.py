"""Values put into parts of others, against ONNX's node tests and NumPy."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import interpret
from linnet.graph import Graph, Node, Value
from linnet.ops.scatter import MOST_ROUNDS
from linnet.passes.lowering import _lowered


def numbers(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def scattered(op: str, x: Any, at: Any, updates: Any, constant: bool, **attrs: Any) -> Graph:
    inputs = [Value("x", x.shape, x.dtype)]
    constants = {"at": at}
    if constant:
        constants["updates"] = updates
    else:
        inputs.append(Value("updates", updates.shape, updates.dtype))
    node = Node(op, "s", ["x", "at", "updates"], ["y"], attrs)
    return Graph("g", [node], constants, inputs, ["y"])


def of_first_axis(graph: Graph) -> str:
    """What is wrong with a graph whose first axis is none of a batch."""
    return "; ".join(_lowered(graph, True, None).problems)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_parts_by_vectors(depth: int, reduction: str, constant: bool) -> None:
    x = numbers(4, 3, 5)
    random = np.random.default_rng(depth)
    at = np.stack([random.integers(-n, n, (2, 3)) for n in x.shape[:depth]], -1)
    updates = numbers(2, 3, *x.shape[depth:])
    graph = scattered("ScatterND", x, at, updates, constant, reduction=reduction)
    feed = {"x": x} if constant else {"x": x, "updates": updates}
    want = x.copy()
    functions = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    for place, update in zip(at.reshape(-1, depth), updates.reshape(6, *x.shape[depth:])):
        old = want[tuple(place)]
        want[tuple(place)] = update if reduction == "none" else functions[reduction](old, update)
    np.testing.assert_allclose(interpret.run(graph, feed)["y"], want, rtol=1e-6)
    np.testing.assert_allclose(linnet.load(graph).run(None, feed)[0], want, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_what_is_put_over_nan_stays(dtype: Any) -> None:
    """As exporters write `y[:, 1:3] = 7`."""
    x = np.full((2, 4), np.nan if dtype == np.float32 else 1 << 40).astype(dtype)
    at = np.stack(np.meshgrid([0, 1], [1, 2], indexing="ij"), -1)
    graph = scattered("ScatterND", x, at, np.full((2, 2), 7, dtype), True)
    (y,) = linnet.load(graph).run(None, {"x": x})
    want = x.copy()
    want[:, 1:3] = 7
    np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_elements(axis: int) -> None:
    x, updates = numbers(4, 3, 5), numbers(2, 3, 4)
    at = np.random.default_rng(0).permuted(np.indices((2, 3, 4))[axis], axis=axis)
    graph = scattered("ScatterElements", x, at, updates, False, axis=axis)
    feed = {"x": x, "updates": updates}
    want = interpret.run(graph, feed)["y"]
    np.testing.assert_array_equal(linnet.load(graph).run(None, feed)[0], want)
    full = [np.array(i) for i in np.indices(at.shape)]
    full[axis] = at
    expected = x.copy()
    expected[tuple(full)] = updates
    np.testing.assert_array_equal(want, expected)


@pytest.mark.parametrize(
    ("op", "at", "updates", "said"),
    [
        ("ScatterND", [[4]], numbers(1, 3, 5), "beyond 4"),
        ("ScatterND", [[0]], numbers(1, 3, 4), "are not"),
        ("ScatterND", [[0, 0, 0, 0]], numbers(1), "name no parts"),
        ("ScatterND", [[0.0]], numbers(1, 3, 5), "not integers"),
        ("ScatterElements", [[[3]]], numbers(1, 1, 2), "are not"),
        ("ScatterElements", [[3]], numbers(1, 1), "do not fit"),
    ],
)
def test_what_does_not_fit(op: str, at: Any, updates: Any, said: str) -> None:
    graph = scattered(op, numbers(4, 3, 5), np.array(at), updates, False)
    with pytest.raises(ValueError, match=rf"'s' \({op}\): "):
        linnet.load(graph)
    assert re.search(said, of_first_axis(graph))


def test_many_updates_of_one_number() -> None:
    x, updates = numbers(2, 3), numbers(MOST_ROUNDS + 1, 3)
    at = np.zeros((len(updates), 1), np.int64)
    many = scattered("ScatterND", x, at, updates, False, reduction="add")
    assert "updates of one number" in of_first_axis(many)
    graph = scattered("ScatterND", x, at[1:], updates[1:], False, reduction="add")
    (y,) = linnet.load(graph).run(None, {"x": x, "updates": updates[1:]})
    np.testing.assert_allclose(y[0], x[0] + updates[1:].sum(0), rtol=1e-5, atol=1e-5)
