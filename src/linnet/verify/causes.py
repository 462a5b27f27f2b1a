"""Looks for what explains the first difference: in the graphs, in the numbers, in the input."""

from __future__ import annotations

from . import graphs, inputs, values
from .case import Case


def find(case: Case) -> str:
    """The first cause found, else what little can be said."""
    for look in (graphs.causes, values.causes, inputs.causes):
        if found := next(look(case), None):
            return found
    if case.first.error < 0.05:
        return "rounding: lower precision, or sums of very different terms"
    if next(iter(case.pairs)) == case.first.value and not (case.a.graph and case.b.graph):
        return "other input data or preprocessing, or other weights"
    return "unknown; the values before it agree"
