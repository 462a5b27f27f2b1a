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


def test_types_do_not_mix() -> None:
    with pytest.raises(ValueError, match="float32 and int8; cast them"):
        run("Add", np.ones((1, 3), np.int8), np.ones((1, 3), np.float32))
