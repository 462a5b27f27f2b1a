"""Values with their axes in another order, which wait to be computed until something reads them.

passes.layout has what reads such a value computed of its base instead, where that is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..graph import Shape
from ._lowering import Call, Lowering


class Turned(NamedTuple):
    """The value `base` with its axes in the order `perm`, under the shape `shape`. The batch stays
    the first.
    """

    base: str
    perm: tuple[int, ...]
    shape: Shape

    def compute(self, low: Lowering, call: Call) -> str:
        base = low.ready(self.base)
        if self.moves_nothing(low):
            y = low.reshape(call, base, self.shape)
        elif self.is_plain(low):
            y = low.emit(call, "Transpose", [base], {"perm": list(self.perm)})
        else:
            y = low.emit(call, "Transpose", [base], {"perm": list(self.perm)}, "turned")
            y = low.reshape(call, y, self.shape)
        return low.alias.get(y, y)

    def reshaped(self, low: Lowering, shape: Shape) -> Turned:
        return self._replace(shape=shape)

    def is_plain(self, low: Lowering) -> bool:
        """Whether the shape is that of the Transpose, so that its axes are axes of the base."""
        shape = low.shape(self.base)
        return self.shape == tuple(shape[axis] for axis in self.perm)

    def moves_nothing(self, low: Lowering) -> bool:
        """Whether only axes of size 1 change places. What is open may be of any size."""
        shape = low.shape(self.base)
        moving = [axis for axis in self.perm if axis and shape[axis] != 1]
        return moving == sorted(moving) and not low.graph.example


def wait(low: Lowering, output: str, base: str, perm: Sequence[int]) -> str:
    """`base` with its axes in the order `perm`, as `output` unless nothing moves."""
    later = low.later.get(base)
    if isinstance(later, Turned) and later.is_plain(low):
        base, perm = later.base, [later.perm[axis] for axis in perm]
    if list(perm) == sorted(perm):
        low.alias[output] = base
        return base
    shape = tuple(low.shape(base)[axis] for axis in perm)
    same = low.derived.setdefault((base, f"turned{list(perm)}"), output)
    if same != output and low.shapes.get(same) == shape:  # an input that several windows read
        low.alias[output] = same
        return same
    low.postpone(output, Turned(base, tuple(perm), shape), shape, low.dtypes[base])
    return output


def transposed(low: Lowering, call: Call, x: str, order: Sequence[int], step: str = "") -> str:
    """A value with its axes in this order."""
    return wait(low, low.names.fresh(f"{call.output}.{step}") if step else call.output, x, order)
