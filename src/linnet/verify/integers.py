"""Which values of a model are integers that stand for reals, and how."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..graph import Array, Graph

NEAR = 1.01  # steps that a value may be off: rounding, one way or the other


class Integers(NamedTuple):
    """q of type `dtype` stands for scale * (q - zero)."""

    scale: float
    zero: int
    dtype: str

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest real."""
        ends = np.iinfo(self.dtype)
        return self.scale * (ends.min - self.zero), self.scale * (ends.max - self.zero)

    def __str__(self) -> str:
        return f"{self.dtype}, scale {self.scale:.6g}, zero point {self.zero}"


def integers(source: Graph) -> dict[str, Integers]:
    """Of a graph as its reader made it, by the names of integers, of the reals they become, and of
    those they are made of. Weights, and values of several scales, are left out.
    """
    found: dict[str, Integers] = {}
    constants = source.initializers
    for node in source.nodes:
        if node.op not in ("QuantizeLinear", "DequantizeLinear") or node.inputs[0] in constants:
            continue
        numbers = [constants.get(name) for name in node.inputs[1:3]]
        if numbers[0] is None or numbers[0].size != 1:
            continue
        zero: Array = np.zeros(1, np.uint8)
        if len(numbers) > 1:
            if numbers[1] is None or numbers[1].size != 1:
                continue
            zero = numbers[1]
        scale = float(numbers[0].reshape(()))
        if zero.dtype.kind in "iu" and np.isfinite(scale) and scale > 0:
            known = Integers(scale, int(zero.reshape(())), zero.dtype.name)
            found.update(dict.fromkeys((node.inputs[0], *node.outputs), known))
    return found
