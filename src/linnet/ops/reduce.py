"""Axes that become one number each."""

from __future__ import annotations

import numpy as np

from ..graph import Array
from ..text import shape_text
from ._lowering import Call, Lowering, Refusal, axis_of
from ._registry import Operator


def reduce_mean(
    x: Array, axes: Array | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Array:
    """The mean over `axes`, or over all if there are none, unless that is to do nothing."""
    which = () if axes is None else tuple(axes.tolist())
    if not which and noop_with_empty_axes:
        return x
    return np.asarray(x.mean(which or None, keepdims=bool(keepdims)))


def lower_reduce_mean(low: Lowering, call: Call) -> None:
    """Over height and width of images."""
    shape = low.shape(call.input(0))
    given = low.integers(call.input(1), "list of axes")
    axes = sorted(axis_of(axis, len(shape)) for axis in given)
    if len(shape) != 4 or axes != [2, 3]:
        raise Refusal(
            f"the mean of {shape_text(shape)} over axes {axes} is not supported, "
            "only over height and width"
        )
    if call.attrs["keepdims"]:
        low.emit(call, "GlobalAveragePool", [call.input(0)])
    else:
        mean = low.emit(call, "GlobalAveragePool", [call.input(0)], step="mean")
        low.reshape(call, mean, shape[:2])


OPERATORS = (Operator("ReduceMean", reduce_mean, lower_reduce_mean),)
