"""Axes that become one number each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ..graph import Array, Shape
from ._lowering import Call, Lowering, Refusal, axis_of
from ._registry import Operator
from .move import transposed

# By the names that follow "Reduce" in ONNX: what the core computes in one step.
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "Mean": np.mean,
    "Sum": np.sum,
    "Max": np.max,
    "Min": np.min,
    "Prod": np.prod,
    "L1": lambda x, axes, **how: np.sum(np.abs(x), axes, **how),
    "SumSquare": lambda x, axes, **how: np.sum(x * x, axes, **how),
}


def _reduction(name: str) -> Operator:
    function = REDUCTIONS[name]

    def meaning(
        x: Array, axes: Array | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Array:
        """Over `axes`, or over all if there are none, unless that is to do nothing."""
        which = () if axes is None else tuple(axes.tolist())
        if not which and noop_with_empty_axes:
            return x
        return np.asarray(function(x, which or None, keepdims=bool(keepdims)), x.dtype)

    return Operator(f"Reduce{name}", meaning, lower_reduction)


def lower_reduction(low: Lowering, call: Call) -> None:
    """Over any axes but the batch."""
    x = call.input(0)
    shape = low.shape(x)
    axes = []
    if call.input(1):
        given = low.integers(call.input(1), "list of axes")
        axes = sorted({axis_of(axis, len(shape)) for axis in given})
    if not axes and call.attrs["noop_with_empty_axes"]:
        low.alias[call.output] = x
        return
    if not axes or axes[0] == 0:
        raise Refusal("the batch cannot be reduced")
    kept = tuple(1 if axis in axes else n for axis, n in enumerate(shape))
    target = kept
    if not call.attrs["keepdims"]:
        target = tuple(n for axis, n in enumerate(shape) if axis not in axes)
    op = call.node.op
    if len(shape) == 4 and axes == [2, 3] and op == "ReduceMean":
        last = "" if target == kept else "mean"
        y = low.emit(call, "GlobalAveragePool", [x], step=last)
    else:
        if len(shape) > 4:
            x, axes = _flat(low, call, shape, axes)
        constant = low.add_constant(f"{call.output}.axes", np.array(axes, np.int64))
        same = target == tuple(1 if axis in axes else n for axis, n in enumerate(low.shape(x)))
        y = low.emit(call, op, [x, constant], {}, "" if same else "reduced")
    if y != call.output:
        low.reshape(call, y, target)


def _flat(low: Lowering, call: Call, shape: Shape, axes: Sequence[int]) -> tuple[str, list[int]]:
    """As an array of at most four axes, and which of those are reduced: neighbours that are both
    kept or both reduced are one axis, or else all that are reduced come last.
    """
    groups = [list(group) for _, group in groupby(range(1, len(shape)), axes.__contains__)]
    x = call.input(0)
    if len(groups) > 3:
        groups = [[axis for axis in range(1, len(shape)) if axis not in axes], list(axes)]
        x = transposed(low, call, x, (0, *groups[0], *groups[1]), "last")
    sizes = [math.prod(shape[axis] for axis in group) for group in groups]
    flat = low.reshape(call, x, (shape[0], *sizes), "flat")
    return flat, [index + 1 for index, group in enumerate(groups) if group[0] in axes]


OPERATORS = tuple(map(_reduction, REDUCTIONS))
