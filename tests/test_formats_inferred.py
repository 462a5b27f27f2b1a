"""Shapes that a reader knows of what it has emitted, and numbers computed from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from linnet import core, passes
from linnet.formats._inferred import Inferred
from linnet.formats._translator import Unsupported
from linnet.ops._lowering import BATCH


@pytest.fixture
def reader() -> Inferred:
    made = Inferred("net", "net.x", ["x"])
    made.input("x", (0, 4, 6, 3))
    return made


def add(reader: Inferred, op: str, *inputs: Any, **attrs: Any) -> str:
    """Name of the output of a new node, of values and of constants."""
    y = reader.names.fresh(op)
    names = [x if isinstance(x, str) else reader.constant(f"{y}.c", np.array(x)) for x in inputs]
    reader.add(y, op, names, [y], **attrs)
    return y


CASES: list[tuple[str, list[Any], dict[str, Any], tuple[int, ...]]] = [
    ("Relu", [], {}, (0, 4, 6, 3)),
    ("Add", [[1.0, 2.0, 3.0]], {}, (0, 4, 6, 3)),
    ("Transpose", [], {"perm": [0, 3, 1, 2]}, (0, 3, 4, 6)),
    ("Reshape", [[0, -1]], {}, (0, 72)),
    ("Reshape", [[-1, 6, 12]], {}, (0, 6, 12)),
    ("Flatten", [], {"axis": 1}, (0, 72)),
    ("Slice", [[1, -3], [4, -9], [1, 2], [1, -1]], {}, (0, 3, 4, 3)),
    ("Squeeze", [[1]], {}, (0, 6, 3)),
    ("Unsqueeze", [[1, -1]], {}, (0, 1, 4, 6, 3, 1)),
    ("ReduceMean", [[1, 2]], {"keepdims": 0}, (0, 3)),
    ("ReduceMax", [[-1]], {}, (0, 4, 6, 1)),
    ("MatMul", [np.ones((3, 5))], {}, (0, 4, 6, 5)),
    ("Pad", [[0, 1, 0, 0, 0, 0, 2, 0]], {}, (0, 5, 8, 3)),
    ("Tile", [[1, 2, 1, 1]], {}, (0, 8, 6, 3)),
    ("Gather", [[0, 2]], {"axis": 3}, (0, 4, 6, 2)),
    ("Gather", [1], {"axis": 2}, (0, 4, 3)),
]


@pytest.mark.parametrize(("op", "inputs", "attrs", "shape"), CASES)
def test_shapes(
    op: str, inputs: list[Any], attrs: dict[str, Any], shape: tuple[int, ...], reader: Inferred
) -> None:
    """As the core has them in the end."""
    if op == "Squeeze":
        reader.shapes["x"] = (0, 1, 6, 3)
        reader.graph.inputs[0] = reader.graph.inputs[0]._replace(shape=(0, 1, 6, 3))
    y = add(reader, op, "x", *inputs, **attrs)
    assert reader.shape(y) == shape
    reader.graph.outputs = [y]
    assert core.shapes(passes.canonicalize(reader.graph))[y] == shape


def test_parts(reader: Inferred) -> None:
    reader.add("s", "Split", ["x", reader.constant("n", [2, 4])], ["a", "b"], axis=2)
    assert (reader.shape("a"), reader.shape("b")) == ((0, 4, 2, 3), (0, 4, 4, 3))
    assert reader.shape(add(reader, "Concat", "a", "b", "x", axis=2)) == (0, 4, 12, 3)


def test_numbers_from_shapes(reader: Inferred) -> None:
    """The batch is a number that nobody knows: what is computed with it is not known either."""
    sizes = add(reader, "Shape", "x")
    assert reader.values[sizes].tolist() == [BATCH, 4, 6, 3]
    inner = add(reader, "Slice", sizes, [1], [3])
    twice = add(reader, "Mul", inner, [2, 2])
    assert reader.values[twice].tolist() == [8, 12]
    batch = add(reader, "Slice", sizes, [0], [1])
    assert add(reader, "Mul", batch, [2]) not in reader.values
    target = add(reader, "Concat", batch, [-1], axis=0)
    assert reader.shape(add(reader, "Reshape", "x", target)) == (0, 72)


def test_what_is_not_known(reader: Inferred) -> None:
    unknown = add(reader, "Reshape", "x", add(reader, "Cast", "x", to=7))
    assert add(reader, "Odd", "x") not in reader.shapes
    with pytest.raises(Unsupported, match=f"the shape of its input '{unknown}' is not known"):
        reader.shape(unknown)
    with reader.attempt("Odd", "odd", ["x"], ["y"]):
        raise Unsupported("is odd")
    with pytest.raises(Unsupported, match=r"^$"):  # it has been told
        reader.shape("y")


def test_large_constants_are_not_computed(reader: Inferred) -> None:
    large = add(reader, "Expand", np.float32(1), [1 << 20, 1 << 20])
    assert large not in reader.values
    assert reader.shape(large) == (1 << 20, 1 << 20)
