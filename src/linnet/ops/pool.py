"""Pools: one number of each window, or of each channel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import infer_shape
from ..graph import FLOAT32, Array
from ..text import shape_text
from ._lowering import Call, Lowering, Refusal
from ._registry import Operator
from ._small import of_any_type
from ._window import Pair, explicit_pads, lower_rows_too, output_size, rows_too, window, windows
from .reduce import over_axes


@rows_too
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


@rows_too
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


@lower_rows_too
def lower_pool(low: Lowering, call: Call) -> None:
    """Of images or rows [N, C, W], with any window without dilation."""
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


def lower_max_pool(low: Lowering, call: Call) -> None:
    """Of images or rows [N, C, W], with any window; indices are not computed."""
    plain = low.dtypes.get(call.input(0), FLOAT32).name in ("float32", "int8", "uint8")
    (lower_pool if plain else of_any_type(lower_pool))(low, call)


@rows_too
def lp_pool(
    x: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Pair = (1, 1),
    kernel_shape: Pair,
    p: int = 2,
    pads: Pair = (0, 0, 0, 0),
    strides: Pair = (1, 1),
) -> Array:
    """The p-th root of the sum of p-th powers of each window's magnitudes."""
    how = {"strides": strides, "dilations": dilations}
    pads = explicit_pads(auto_pad, pads, x.shape[2:], kernel=kernel_shape, **how)
    powers = np.abs(x) ** p
    view = windows(powers, 0, kernel_shape, pads=pads, ceil_mode=bool(ceil_mode), **how)
    return np.asarray(view.sum((-2, -1)) ** (1 / p), x.dtype)


def global_lp_pool(x: Array, *, p: int = 2) -> Array:
    """The p-th root of the sum of p-th powers of each channel's magnitudes."""
    powers = np.abs(x) ** p
    return np.asarray(powers.sum(tuple(range(2, x.ndim)), keepdims=True) ** (1 / p), x.dtype)


@lower_rows_too
def lower_lp_pool(low: Lowering, call: Call) -> None:
    """Of images or rows [N, C, W], with p of 1 to 4: a convolution of each channel with ones."""
    x, p = call.input(0), call.attrs["p"]
    if p not in (1, 2, 3, 4):
        raise Refusal(f"p={p} is not supported")
    attrs: dict[str, Any] = window(low, call, call.ints("kernel_shape", 2))
    shape = low.shape(x)
    if call.attrs["ceil_mode"]:
        for i in (0, 1):
            size, kernel, stride = shape[2 + i], attrs["kernel_shape"][i], attrs["strides"][i]
            pads, dilation = attrs["pads"][i::2], attrs["dilations"][i]
            how: dict[str, Any] = {"dilation": dilation, "ceil_mode": True}
            count = output_size(size, kernel, stride, pads, **how)
            reach = (count - 1) * stride + dilation * (kernel - 1) + 1
            attrs["pads"][2 + i] = max(pads[1], reach - pads[0] - size)
    low.spend(shape[1] * math.prod(attrs["kernel_shape"]), 4)
    ones = np.ones((shape[1], 1, *attrs["kernel_shape"]), np.float32)
    weight = low.add_constant(f"{call.output}.ones", ones)
    if p in (1, 3):
        x = magnitudes = low.emit(call, "Abs", [x], step="magnitudes")
    for power in (2, 4):
        if p >= power:
            x = low.emit(call, "Mul", [x, x], step=f"power{power}")
    if p == 3:
        x = low.emit(call, "Mul", [x, magnitudes], step="power3")
    y = low.emit(call, "Conv", [x, weight], {**attrs, "group": shape[1]}, "" if p == 1 else "sums")
    if p == 3:
        third = low.add_constant(f"{call.output}.third", np.array(1 / 3, np.float32))
        low.emit(call, "Pow", [y, third])
        return
    for power in (2, 4):
        if p >= power:
            y = low.emit(call, "Sqrt", [y], step="" if p == power else "root")


def lower_global_lp_pool(low: Lowering, call: Call) -> None:
    """With p of 1 or 2."""
    x, p = call.input(0), call.attrs["p"]
    shape = low.shape(x)
    if p not in (1, 2) or len(shape) < 3:
        raise Refusal(f"p={p} of {shape_text(shape)} is not supported")
    if len(shape) > 4:
        x = low.reshape(call, x, (*shape[:2], math.prod(shape[2:])), "flat")
    axes = list(range(2, len(low.shape(x))))
    y = over_axes(low, call, "L1" if p == 1 else "SumSquare", (x, axes), "sum")
    if p == 2:
        y = low.emit(call, "Sqrt", [y], step="root")
    low.reshape(call, y, (*shape[:2], *(1,) * (len(shape) - 2)))


OPERATORS = (
    Operator("MaxPool", max_pool, lower_max_pool),
    Operator("AveragePool", average_pool, lower_pool),
    Operator("GlobalMaxPool", global_max_pool, None),
    Operator("GlobalAveragePool", global_average_pool, None),
    Operator("LpPool", lp_pool, lower_lp_pool),
    Operator("GlobalLpPool", global_lp_pool, lower_global_lp_pool),
)
