"""Looks for what explains the first difference: in the graphs, in the numbers, in the input."""

from __future__ import annotations

from collections.abc import Iterator

from . import graphs, inputs, quantized, values
from .case import Case

FEW_STEPS = 16


def _steps(case: Case) -> Iterator[str]:
    if case.first.steps is not None and case.first.steps <= FEW_STEPS:
        yield f"rounding: steps of earlier layers that add up, to {case.first.steps:.3g} here"


def find(case: Case) -> str:
    """The first cause found, else what little can be said."""
    for look in (quantized.causes, graphs.causes, _steps, values.causes, inputs.causes):
        if found := next(look(case), None):
            return found
    if case.first.error < 0.05:
        return "rounding: lower precision, or sums of very different terms"
    if next(iter(case.pairs)) == case.first.value and not (case.a.graph and case.b.graph):
        return "other input data or preprocessing, or other weights"
    return "unknown; the values before it agree"
