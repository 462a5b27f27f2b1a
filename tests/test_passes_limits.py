"""Limits that follow on each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import interpret, passes
from linnet.graph import Graph, Node, Value

X = np.linspace(-9, 9, 2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)
POOL = {"kernel_shape": [2, 2], "strides": [2, 2]}


def check(
    steps: Sequence[tuple[Any, ...]], expected: str, outputs: Sequence[str] = ()
) -> dict[str, Any]:
    """Steps (operator, limits or attributes), one after the other; the canonical operators."""
    nodes, constants, x = [], {}, "x"
    for i, (op, *given) in enumerate(steps):
        attrs = given.pop() if given and isinstance(given[-1], dict) else {}
        names = []
        for limit in given:
            names.append("" if limit is None else f"k{len(constants)}")
            if limit is not None:
                constants[names[-1]] = np.array(limit, np.float32)
        nodes.append(Node(op, f"v{i}", [x, *names], [f"v{i}"], attrs))
        x = f"v{i}"
    graph = Graph("net", nodes, constants, [Value("x", (1, 3, 4, 4))], [*outputs, x])
    canonical = passes.canonicalize(graph)
    assert [node.op for node in canonical.nodes] == expected.split()
    wanted = interpret.run(graph, {"x": X})
    for result, value in zip(linnet.load(graph).run(X), wanted.values()):
        np.testing.assert_allclose(result, value, rtol=1e-5, atol=1e-6)
    return {node.outputs[0]: canonical for node in canonical.nodes}


def test_what_changes_nothing_goes():
    check([("Relu",), ("Clip", -1, None), ("Tanh",)], "Relu Tanh")
    check([("Clip", 0, 6), ("MaxPool", POOL), ("Clip", 0, 6), ("Neg",)], "Clip MaxPool Neg")
    check(
        [("Clip", 0, 5), ("AveragePool", POOL), ("Clip", -1, 6), ("Neg",)], "Clip AveragePool Neg"
    )
    check([("Sigmoid",), ("Flatten", {"axis": 1}), ("Clip", 0, 1), ("Neg",)], "Sigmoid Flatten Neg")


def test_what_changes_something_stays():
    check([("Relu",), ("Tanh",), ("Clip", 0.5, 0.75), ("Neg",)], "Relu Tanh Clip Neg")
    check([("Clip", 1, 6), ("Neg",), ("Clip", -5, 6)], "Clip Neg Clip")
    zeros = {**POOL, "pads": [1, 1, 1, 1], "count_include_pad": 1}
    check(
        [("Clip", 2, 6), ("AveragePool", zeros), ("Clip", 2, 6), ("Neg",)],
        "Clip AveragePool Clip Neg",
    )


@pytest.mark.parametrize(
    ("first", "second", "op"),
    [
        (("Clip", -2, 3), ("Clip", 0, 6), "Clip"),
        (("Clip", None, 3), ("Clip", 0, 6), "Clip"),
        (("Relu",), ("Clip", -1, 2), "Clip"),
        (("Clip", -3, 5), ("Clip", -2, None), "Clip"),
    ],
)
def test_two_become_one(first: Any, second: Any, op: str):
    check([first, second], op)


def test_limits_that_do_not_meet_stay_two():
    check([("Clip", 0, 1), ("Clip", 2, 3)], "Clip Clip")


def test_values_that_others_read_stay():
    made = check([("Clip", 0, 6), ("Clip", 0, 5)], "Clip Clip", ["v0"])
    assert list(made) == ["v0", "v1"]
    check([("Clip", -1, 3), ("Relu",)], "Clip Relu")
    made = check([("Relu",), ("Clip", -1, None)], "Relu Clip", ["v0"])
    assert list(made) == ["v0", "v1"]
