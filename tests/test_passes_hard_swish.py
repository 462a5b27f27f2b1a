"""Arithmetic that means HardSwish or HardSigmoid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from linnet import interpret, passes
from linnet.graph import Graph, Node, Value

NUMBERS = {"three": 3, "sixth": 1 / 6, "six": 6, "zero": 0, "five": 5}
X = np.linspace(-5, 5, 2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


def graph(*nodes: str, outputs: str = "y") -> Graph:
    """Nodes as "y = Mul a b"."""
    made = []
    for text in nodes:
        y, _, op, *inputs = text.split()
        attrs: dict[str, Any] = {"alpha": 1 / 6, "beta": 0.5} if op == "HardSigmoid" else {}
        made.append(Node(op, y, inputs, [y], attrs))
    constants = {name: np.array(number, np.float32) for name, number in NUMBERS.items()}
    return Graph("net", made, constants, [Value("x", (0, 3, 4, 5))], outputs.split(","))


SHIFTED = ("a = Add x three", "c = Clip a zero six")


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ((*SHIFTED, "s = Mul c sixth", "y = Mul x s"), ["HardSwish"]),
        ((*SHIFTED, "s = Div c six", "y = Mul s x"), ["HardSwish"]),
        ((*SHIFTED, "p = Mul c x", "y = Div p six"), ["HardSwish"]),
        ((*SHIFTED, "p = Mul x c", "y = Mul sixth p"), ["HardSwish"]),
        (("g = HardSigmoid x", "y = Mul g x"), ["HardSwish"]),
        ((*SHIFTED, "y = Mul c sixth"), ["HardSigmoid"]),
        (("a = Add x three", "c = Clip a zero five", "y = Mul c sixth"), ["Add", "Clip", "Mul"]),
        ((*SHIFTED, "p = Mul c c", "y = Mul p sixth"), ["Add", "Clip", "Mul", "Mul"]),
        (("a = Add x five", "c = Clip a zero six", "y = Div c six"), ["Add", "Clip", "Mul"]),
    ],
)
def test_joined(nodes: tuple[str, ...], expected: list[str]) -> None:
    source = graph(*nodes)
    form = passes.canonicalize(source)
    assert [node.op for node in form.nodes] == expected
    right = interpret.run(source, {"x": X})["y"]
    assert interpret.run(form, {"x": X})["y"] == pytest.approx(right, abs=1e-6)


def test_what_is_asked_for_stays() -> None:
    form = passes.canonicalize(graph(*SHIFTED, "s = Mul c sixth", "y = Mul x s", outputs="y,c"))
    assert [node.op for node in form.nodes] == ["Add", "Clip", "HardSwish"]
    assert form.outputs == ["y", "c"]
