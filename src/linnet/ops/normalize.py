"""Values made comparable to their neighbours."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..graph import Array
from ._lowering import Call, Lowering, Refusal, axis_of
from ._registry import Operator


def softmax(x: Array, *, axis: int = -1, coerce: int = 0) -> Array:
    """exp(x) scaled to the sum 1 along `axis`; x is shifted by its maximum lest it overflow.

    coerce: along `axis` and all axes after it, as it was before opset 13.
    """
    if coerce:
        flat = x.reshape(*x.shape[: axis % x.ndim], -1)
        return softmax(flat).reshape(x.shape)
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


def lrn(
    x: Array, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int
) -> Array:
    """x / (bias + alpha * mean)^beta, of the squares of `size` neighbouring channels; those there
    are not count as zeros.
    """
    before = (size - 1) // 2
    edge = [(0, 0), (before, size - 1 - before)] + [(0, 0)] * (x.ndim - 2)
    total = sliding_window_view(np.pad(x * x, edge), size, 1).sum(-1)
    return np.asarray(x / (bias + alpha / size * total) ** beta)


def lower_softmax(low: Lowering, call: Call) -> None:
    """Along any axis but the batch."""
    shape = low.shape(call.input(0))
    axis = axis_of(call.attrs["axis"], len(shape))
    if axis == 0:
        raise Refusal("over the batch is not supported")
    if not call.attrs["coerce"] or math.prod(shape[axis + 1 :]) == 1:
        low.emit(call, "Softmax", [call.input(0)], {"axis": axis})
        return
    flat = low.reshape(call, call.input(0), (*shape[:axis], math.prod(shape[axis:])), "flat")
    y = low.emit(call, "Softmax", [flat], {"axis": axis}, "softmax")
    low.reshape(call, y, shape)


OPERATORS = (
    Operator("Softmax", softmax, lower_softmax),
    Operator("LRN", lrn, None),
)
