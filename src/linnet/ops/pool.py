"""Pools: one number of each window, or of each channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import infer_shape
from ..graph import Array
from ._lowering import Call, Lowering, Refusal
from ._registry import Operator
from ._window import Pair, explicit_pads, window, windows


def max_pool(
    x: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Pair = (1, 1),
    kernel_shape: Pair,
    pads: Pair = (0, 0, 0, 0),
    storage_order: int = 0,
    strides: Pair = (1, 1),
) -> Array:
    """Largest value of each window; padding never wins. `storage_order` is of indices, which are
    not computed.
    """
    how = {"strides": strides, "dilations": dilations}
    pads = explicit_pads(auto_pad, pads, x.shape[2:], kernel=kernel_shape, **how)
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    view = windows(x, least, kernel_shape, pads=pads, ceil_mode=bool(ceil_mode), **how)
    return np.asarray(view.max((-2, -1)))


def average_pool(
    x: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Pair = (1, 1),
    kernel_shape: Pair,
    pads: Pair = (0, 0, 0, 0),
    strides: Pair = (1, 1),
) -> Array:
    """Mean of each window over the image's pixels or, with `count_include_pad`, padding included.

    What `ceil_mode` adds beyond the padding never counts (as in Caffe, and in ONNX since opset 19).
    """
    how = {"strides": strides, "dilations": dilations}
    pads = explicit_pads(auto_pad, pads, x.shape[2:], kernel=kernel_shape, **how)
    top, left, bottom, right = pads
    counted = np.ones((1, 1, *x.shape[2:]), x.dtype)
    edge = ((0, 0), (0, 0), (top, bottom), (left, right))
    counted = np.pad(counted, edge, constant_values=1 if count_include_pad else 0)
    count = windows(counted, 0, kernel_shape, ceil_mode=bool(ceil_mode), **how)
    total = windows(x, 0, kernel_shape, pads=pads, ceil_mode=bool(ceil_mode), **how)
    # The padded ones may have a last window that the image drops as it starts in the padding.
    count = count[:, :, : total.shape[2], : total.shape[3]]
    return np.asarray(total.sum((-2, -1)) / count.sum((-2, -1)))


def global_average_pool(x: Array) -> Array:
    """Mean of each channel."""
    return np.asarray(x.mean(tuple(range(2, x.ndim)), keepdims=True))


def global_max_pool(x: Array) -> Array:
    """Largest value of each channel."""
    return np.asarray(x.max(tuple(range(2, x.ndim)), keepdims=True))


def lower_pool(low: Lowering, call: Call) -> None:
    """Of images, with any window; averages without dilation; indices are not computed."""
    op = call.node.op
    attrs: dict[str, Any] = window(low, call, call.ints("kernel_shape", 2))
    attrs["ceil_mode"] = call.attrs["ceil_mode"]
    if op == "AveragePool":
        if attrs.pop("dilations") != [1, 1]:
            raise Refusal("dilated average pooling is not supported")
        include = call.attrs["count_include_pad"]
        attrs["count_include_pad"] = include if any(attrs["pads"]) else 0
    low.emit(call, op, [call.input(0)], attrs)
    if attrs["ceil_mode"] == 1 and not low.graph.example:
        # Where rounding up changes nothing, say so: ONNX before opset 22 is vague about the
        # windows it drops.
        floor = infer_shape(op, {**attrs, "ceil_mode": 0}, [low.shape(call.input(0))])
        if floor == low.shapes[call.output]:
            attrs["ceil_mode"] = 0


OPERATORS = (
    Operator("MaxPool", max_pool, lower_pool),
    Operator("AveragePool", average_pool, lower_pool),
    Operator("GlobalMaxPool", global_max_pool, None),
    Operator("GlobalAveragePool", global_average_pool, None),
)
