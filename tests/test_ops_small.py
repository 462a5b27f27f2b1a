"""What is computed of small integers and of float16, against NumPy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import linnet
from linnet.graph import Graph, Node, Value
from linnet.ops.map import divide

INTEGERS = ["int8", "uint8", "int16", "int32", "int64"]
FUNCTIONS: dict[str, Any] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Max": np.maximum,
    "Min": np.minimum,
    "Div": divide,
    "Equal": np.equal,
    "Less": np.less,
    "GreaterOrEqual": np.greater_equal,
}


def run(op: str, *inputs: Any, constant: int | None = None) -> Any:
    names, given, weights = [], [], {}
    for index, array in enumerate(inputs):
        names.append(f"x{index}")
        if index == constant:
            weights[names[-1]] = array
        else:
            given.append(Value(names[-1], (0, *array.shape[1:]), array.dtype))
    graph = Graph("g", [Node(op, "n", names, ["y"])], weights, given, ["y"])
    net = linnet.load(graph)
    return net(*(array for index, array in enumerate(inputs) if index != constant))


def every_pair(dtype: str) -> tuple[Any, Any]:
    """All pairs of 8 bits; of 16 the ends, and some."""
    limits = np.iinfo(dtype)
    if limits.bits == 8:
        numbers = np.arange(limits.min, limits.max + 1)
    else:
        some = np.random.default_rng(0).integers(limits.min, limits.max, 200)
        ends = [limits.min, limits.min + 1, -3, -1, 0, 1, 2, 3, limits.max - 1, limits.max]
        numbers = np.concatenate([ends, some])
    a, b = np.meshgrid(numbers, numbers)
    return a.astype(dtype)[None], b.astype(dtype)[None]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("op", FUNCTIONS)
def test_two_integers(op: str, dtype: str) -> None:
    """Exactly, round the ends of the type too."""
    a, b = every_pair(dtype)
    if op == "Div":
        b = np.where(b == 0, 7, b).astype(dtype)
        a = np.where((b == -1) & (a == np.iinfo(dtype).min), 5, a).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numbers that go round
        want = FUNCTIONS[op](a, b)
    got = run(op, a, b)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("op", ["Add", "Sub", "Max", "Div", "Less"])
@pytest.mark.parametrize("first", [0, 1])
def test_with_a_constant(op: str, dtype: str, first: int) -> None:
    """A number, as either operand."""
    a, _ = every_pair(dtype)
    number = np.array([[[7]]], dtype)
    x = np.where(a == 0, 3, a).astype(dtype) if op == "Div" else a
    pair = (number, x) if first == 0 else (x, number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        want = FUNCTIONS[op](*pair)
    np.testing.assert_array_equal(run(op, *pair, constant=first), want)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max", "Min", "Less"])
def test_halves(op: str) -> None:
    random = np.random.default_rng(1)
    a, b = (random.standard_normal((3, 40, 5)).astype(np.float16) for _ in "ab")
    got, want = run(op, a, b), FUNCTIONS[op](a, b)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("constant", [False, True])
def test_products_of_matrices_of_halves(constant: bool) -> None:
    """Sums are of float32, rounded once."""
    random = np.random.default_rng(1)
    a, b = (random.standard_normal(shape).astype(np.float16) for shape in ((2, 3, 4), (2, 4, 5)))
    b = b[0] if constant else b
    got = run("MatMul", a, b, constant=1 if constant else None)
    want = a.astype(np.float32) @ b.astype(np.float32)
    assert got.dtype == np.float16
    np.testing.assert_allclose(got.astype(np.float32), want, rtol=2**-11, atol=1e-5)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_convolutions_of_halves(op: str) -> None:
    random = np.random.default_rng(1)
    x = random.standard_normal((2, 3, 8, 8)).astype(np.float16)
    w = random.standard_normal((3, 3, 2, 2)).astype(np.float16)
    got, want = run(op, x, w, constant=1), run(op, x.astype("f"), w.astype("f"), constant=1)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, want.astype(np.float16))


def test_types_do_not_mix() -> None:
    with pytest.raises(ValueError, match="float32 and int8; cast them"):
        run("Add", np.ones((1, 3), np.int8), np.ones((1, 3), np.float32))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_chosen_and_kept_within_limits(dtype: str) -> None:
    a, b = every_pair(dtype)
    nodes = [
        Node("Less", "less", ["a", "b"], ["less"]),
        Node("Where", "where", ["less", "a", "b"], ["least"]),
        Node("Clip", "clip", ["a", "low", "high"], ["clipped"]),
        Node("Relu", "relu", ["a"], ["positive"]),
    ]
    limits = {"low": np.array(3, dtype), "high": np.array(100, dtype)}
    inputs = [Value(name, (0, *a.shape[1:]), a.dtype) for name in "ab"]
    graph = Graph("g", nodes, limits, inputs, ["least", "clipped", "positive"])
    least, clipped, positive = linnet.load(graph).run(None, {"a": a, "b": b})
    for got, want in (
        (least, np.minimum(a, b)),
        (clipped, np.clip(a, 3, 100)),
        (positive, np.maximum(a, 0)),
    ):
        assert got.dtype == a.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_powers_of_integers(dtype: str) -> None:
    x = np.arange(-12, 13).astype(dtype)[None]
    for power in (0, 1, 2, 3, 7):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            want = x**power
        np.testing.assert_array_equal(run("Pow", x, np.array(power, dtype), constant=1), want)
    with pytest.raises(ValueError, match="whole constant powers"):
        run("Pow", x, np.array(0.5, np.float32), constant=1)
