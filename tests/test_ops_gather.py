"""Rows and numbers that other values name, and the best numbers of an axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import agree, model

import linnet
from linnet import interpret
from linnet.graph import Graph, Node, Value

SHAPES = [((2, 7, 4, 5), -1), ((3, 9), 1), ((1, 5, 6, 3), 1), ((2, 4, 8, 2, 3), 2)]


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("largest", [0, 1])
def test_top_k(shape: tuple[int, ...], axis: int, largest: int, tmp_path: Any) -> None:
    k = {"k": np.array([3], np.int64)}
    nodes = [("TopK", "x,k", "y,places", {"axis": axis, "largest": largest})]
    agree(model(nodes, k, shape, outputs=("y", "places")), tmp_path, shape)


def test_equal_numbers_keep_their_order_and_nan_is_the_best() -> None:
    x = np.array([[3, 1, 3, np.nan, 2, 3, -np.inf, 1]], np.float32)
    nodes = [Node("TopK", "t", ["x", "k"], ["y", "places"], {"largest": 1})]
    for k, places in ((1, [3]), (4, [3, 0, 2, 5]), (8, [3, 0, 2, 5, 4, 1, 7, 6])):
        graph = Graph("g", nodes, {"k": np.array([k])}, [Value("x", (0, 8))], ["y", "places"])
        y, at = linnet.load(graph)(x)
        np.testing.assert_array_equal(at[0], places)
        np.testing.assert_array_equal(y[0], x[0, places])


@pytest.mark.parametrize(("k", "said"), [(0, "k is"), (9, "axis 1 is 8 long")])
def test_more_than_there_are(k: int, said: str) -> None:
    nodes = [Node("TopK", "t", ["x", "k"], ["y", ""], {})]
    with pytest.raises(ValueError, match=said):
        linnet.load(Graph("g", nodes, {"k": np.array([k])}, [Value("x", (0, 8))], ["y"]))


def elements(shape: tuple[int, ...], of: tuple[int, ...], axis: int, dtype: Any) -> Graph:
    nodes = [Node("GatherElements", "g", ["x", "at"], ["y"], {"axis": axis})]
    inputs = [Value("x", (0, *shape[1:])), Value("at", (0, *of[1:]), np.dtype(dtype))]
    return Graph("g", nodes, {}, inputs, ["y"])


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize(
    ("shape", "of", "axis"),
    [((2, 7), (2, 3), 1), ((2, 7, 4), (2, 9, 4), 1), ((3, 4, 5, 6), (3, 2, 5, 4), -1)],
)
def test_gather_elements(shape: tuple[int, ...], of: Any, axis: int, dtype: Any) -> None:
    random = np.random.default_rng(len(shape))
    x = random.standard_normal(shape).astype(np.float32)
    at = random.integers(-shape[axis], shape[axis], of, dtype)
    graph = elements(shape, of, axis, dtype)
    want = interpret.run(graph, {"x": x, "at": at})["y"]
    np.testing.assert_array_equal(linnet.load(graph)(x, at), want.astype(np.float32))


def test_places_beyond_the_axis_give_zeros() -> None:
    net = linnet.load(elements((1, 3), (1, 6), 1, np.int64))
    x, at = np.ones((1, 3), np.float32), np.array([[0, 2, 3, -3, -4, 1 << 40]])
    np.testing.assert_array_equal(net(x, at), [[1, 1, 0, 1, 0, 0]])


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("of", [(1, 4), (1,), (1, 2, 3)])
def test_gather_by_computed_places(axis: int, of: tuple[int, ...]) -> None:
    """Axis 0 is an axis like others then, as long as the file says."""
    nodes = [Node("Gather", "g", ["x", "at"], ["y"], {"axis": axis})]
    inputs = [Value("x", (1, 3, 5)), Value("at", of, np.dtype(np.int64))]
    graph = Graph("g", nodes, {}, inputs, ["y"])
    random = np.random.default_rng(axis + 1)
    x = random.standard_normal((1, 3, 5)).astype(np.float32)
    size = x.shape[axis]
    at = random.integers(-size, size, of)
    np.testing.assert_array_equal(linnet.load(graph)(x, at), np.take(x, at, axis))


def test_after_a_convolution_and_through_a_file(tmp_path: Any) -> None:
    """Planes are read whatever layout the step before writes, and canonical files hold it all."""
    w = np.random.default_rng(0).standard_normal((6, 3, 3, 3)).astype(np.float32)
    nodes = [
        ("Conv", "x,w", "c", {"pads": [1, 1, 1, 1]}),
        ("TopK", "c,k", "best,places", {"axis": 1}),
        ("Relu", "best", "y", {}),
    ]
    weights = {"w": w, "k": np.array([2], np.int64)}
    file = model(nodes, weights, (2, 3, 9, 7), outputs=("y", "places"))
    agree(file, tmp_path, (2, 3, 9, 7))


def parts(sizes: tuple[int, ...], of: tuple[int, ...], batch: int, count: int, **how: Any) -> Graph:
    node = Node("GatherND", "g", ["x", "at"], ["y"], {"batch_dims": batch})
    inputs = [Value("x", sizes)]
    if "at" not in how:
        inputs.append(Value("at", (*of, count), np.dtype(np.int64)))
    return Graph("g", [node], how, inputs, ["y"])


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("of", "count"), [((7,), 1), ((2, 3), 2), ((5,), 3), ((4,), 4)])
def test_parts_that_rows_of_numbers_name(of: tuple[int, ...], count: int, constant: bool) -> None:
    random, sizes = np.random.default_rng(6), (2, 4, 3, 5)
    x = random.standard_normal(sizes).astype(np.float32)
    at = np.stack([random.integers(0, n, of) for n in sizes[:count]], -1)
    if constant:
        at[0] -= np.array(sizes[:count])  # counted from the end
    graph = parts(sizes, of, 0, count, **({"at": at} if constant else {}))
    feed = {"x": x} if constant else {"x": x, "at": at}
    (y,) = linnet.load(graph).run(None, feed)
    np.testing.assert_array_equal(y, x[tuple(np.moveaxis(at, -1, 0))])


def test_parts_of_each_image() -> None:
    random = np.random.default_rng(6)
    x = random.standard_normal((3, 4, 3, 5)).astype(np.float32)
    at = np.stack([random.integers(0, n, (3, 6)) for n in (4, 3)], -1)
    (y,) = linnet.load(parts((0, 4, 3, 5), (0, 6), 1, 2)).run(None, {"x": x, "at": at})
    np.testing.assert_array_equal(y, x[np.arange(3)[:, None], at[..., 0], at[..., 1]])


def test_numbers_of_computed_rows_count_from_the_end() -> None:
    x = np.arange(60.0, dtype=np.float32).reshape(4, 3, 5)
    at = np.array([[-1, 0], [3, -2]])
    (y,) = linnet.load(parts((4, 3, 5), (2,), 0, 2)).run(None, {"x": x, "at": at})
    np.testing.assert_array_equal(y, x[at[:, 0], at[:, 1]])


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (parts((0, 4), (0, 6), 0, 1), "beside the batch"),
        (parts((2, 4), (2, 6), 2, 1), "name no parts"),
        (parts((2, 4), (6,), 0, 3), "name no parts"),
        (parts((2, 4), (6,), 0, 1, at=np.array([[2]])), "name no parts"),
    ],
)
def test_parts_that_cannot_be(graph: Graph, said: str) -> None:
    with pytest.raises(ValueError, match=rf"'g' \(GatherND\): .*{said}"):
        linnet.load(graph)
