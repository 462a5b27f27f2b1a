"""The first difference of two sides, whose cause is looked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..graph import Array
from .integers import NEAR
from .numbers import error, like
from .sides import Side

Changes = Mapping[str, Callable[[Array], Array]]  # by what they are called


class Difference(NamedTuple):
    """One value that both sides have.

    error: largest |a - b| relative to the rms of a's value; of a softmax, whose rms says little,
    as it is. steps: the same in steps of the integers that stand for it, if there are any.
    """

    value: str
    other: str  # its name in the second
    op: str  # of the node that computes it; empty if no side is a model
    shape: tuple[int, ...]
    error: float
    steps: float | None = None

    def within(self, tolerance: float) -> bool:
        """Of the rms, or of a step."""
        return self.error <= tolerance or (self.steps is not None and self.steps <= NEAR)


@dataclass(frozen=True)
class Case:
    """What is known of it. pairs: names of values that mean the same. inputs: what `a` was computed
    from, if known.
    """

    a: Side
    b: Side
    pairs: Mapping[str, str]
    first: Difference
    tolerance: float
    inputs: Mapping[str, Array] | None

    @property
    def u(self) -> Array:
        """The value that differs, of `a`."""
        return self.a.values[self.first.value]

    @property
    def v(self) -> Array:
        """That of `b`."""
        return like(self.b.values[self.first.other], self.u.shape)

    def same(self, u: Array, v: Array) -> bool:
        return error(u, v) <= max(self.tolerance, 1e-4)


def explained(
    changes: Changes, x: Array, y: Array, same: Callable[[Array, Array], bool]
) -> Iterator[str]:
    """The changes that make `x` the same as `y`."""
    return (text for text, change in changes.items() if same(change(x), y))
