"""Which values of a model are integers that stand for reals, and how."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..graph import Array, Graph

# What only moves numbers or picks some.
MOVES = {"Concat", "Flatten", "GatherRows", "GlobalMaxPool", "MaxPool", "Reshape", "Slice"}
MOVES |= {"Squeeze", "Split", "Transpose", "Unsqueeze"}
NEAR = 1.01  # steps that a value may be off: rounding, one way or the other


class Integers(NamedTuple):
    """q of type `dtype`, the value `name`, stands for scale * (q - zero)."""

    scale: float
    zero: int
    dtype: str
    name: str

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest real."""
        ends = np.iinfo(self.dtype)
        return self.scale * (ends.min - self.zero), self.scale * (ends.max - self.zero)

    def reals(self, q: Array) -> Array:
        return self.scale * (q.astype(np.float64) - self.zero)

    def integers(self, x: Array) -> Array:
        ends = np.iinfo(self.dtype)
        exact = np.rint(x / self.scale) + self.zero
        return exact.clip(ends.min, ends.max).astype(self.dtype)

    def __str__(self) -> str:
        return f"{self.dtype}, scale {self.scale:.6g}, zero point {self.zero}"


def integers(graph: Graph) -> dict[str, Integers]:
    """By the names of integers, of the reals that they become, and of those that they are made of.

    Those of one scale that QuantizeLinear and DequantizeLinear tell of, and what moves them; but
    for constants.
    """
    found: dict[str, Integers] = {}
    constants = graph.initializers
    for node in graph.nodes:
        if node.op not in ("QuantizeLinear", "DequantizeLinear") or node.inputs[0] in constants:
            continue
        numbers = [constants.get(name) for name in node.inputs[1:3]]
        scale, zero = numbers if len(numbers) > 1 else (numbers[0], np.zeros((), np.uint8))
        if scale is None or zero is None or scale.size != 1 or zero.size != 1:
            continue
        number = float(scale.reshape(()))
        if zero.dtype.kind in "iu" and np.isfinite(number) and number > 0:
            name = node.inputs[0] if node.op == "DequantizeLinear" else node.outputs[0]
            known = Integers(number, int(zero.reshape(())), zero.dtype.name, name)
            found.update(dict.fromkeys((node.inputs[0], *node.outputs), known))
    moving = [node for node in graph.nodes if node.op in MOVES]
    for node in moving:
        _spread(found, node.inputs[0], node.outputs)
    for node in reversed(moving):
        others = node.inputs if node.op == "Concat" else node.inputs[:1]
        _spread(found, node.outputs[0], [name for name in others if name not in constants])
    return found


def _spread(found: dict[str, Integers], known: str, names: list[str]) -> None:
    """The same of values that are moved from or to integers."""
    if known in found and found[known].name == known:
        for name in names:
            found.setdefault(name, found[known]._replace(name=name))
