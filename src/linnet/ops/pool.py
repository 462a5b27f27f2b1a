"""Pools: one number of each window, or of each channel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import infer_shape
from ..graph import FLOAT32, Array
from ..text import shape_text
from ._broadcast import arithmetic
from ._lowering import Call, Lowering, Refusal
from ._registry import Operator
from ._small import of_any_type
from ._window import (
    Pair,
    explicit_pads,
    lower_rows_too,
    lower_volumes_too,
    output_size,
    rows_too,
    window,
    windows,
)
from .reduce import over_axes


def _last(count: int) -> tuple[int, ...]:
    return tuple(range(-count, 0))


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
    return np.asarray(view.max(_last(len(kernel_shape))))


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
    count = _counts(
        x.shape[2:],
        pads=pads,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        kernel_shape=kernel_shape,
        **how,
    )
    total = windows(x, 0, kernel_shape, pads=pads, ceil_mode=bool(ceil_mode), **how)
    return np.asarray(total.sum(_last(len(kernel_shape))) / count.astype(x.dtype))


def _counts(
    size: Pair,
    *,
    kernel_shape: Pair,
    pads: Pair,
    strides: Pair,
    dilations: Pair,
    ceil_mode: int,
    count_include_pad: int,
) -> Array:
    """How many numbers each window of an image of any axes is the mean of: [1, 1, OH, OW]."""
    rank = len(size)
    edge = list(zip(pads[:rank], pads[rank:]))
    numbers = np.pad(np.ones(size, np.int64), edge, constant_values=int(bool(count_include_pad)))
    how: dict[str, Any] = {"strides": strides, "dilations": dilations, "pads": (0,) * len(pads)}
    view = windows(numbers[None, None], 0, kernel_shape, ceil_mode=bool(ceil_mode), **how)
    # The padded ones may have a last window that the image drops as it starts in the padding.
    made = [
        output_size(n, k, stride, ends, dilation=dilation, ceil_mode=bool(ceil_mode))
        for n, k, stride, ends, dilation in zip(size, kernel_shape, strides, edge, dilations)
    ]
    return np.asarray(view[(slice(None), slice(None), *map(slice, made))].sum(_last(rank)))


def global_average_pool(x: Array) -> Array:
    """Mean of each channel."""
    return np.asarray(x.mean(tuple(range(2, x.ndim)), keepdims=True))


def global_max_pool(x: Array) -> Array:
    """Largest value of each channel."""
    return np.asarray(x.max(tuple(range(2, x.ndim)), keepdims=True))


@lower_rows_too
@lower_volumes_too
def lower_pool(low: Lowering, call: Call) -> None:
    """Of images, rows [N, C, W] or volumes [N, C, D, H, W], with any window."""
    op, x = call.node.op, call.input(0)
    attrs: dict[str, Any] = window(low, call, call.ints("kernel_shape", 2))
    attrs["ceil_mode"] = call.attrs["ceil_mode"]
    if op == "AveragePool":
        include = call.attrs["count_include_pad"]
        attrs["count_include_pad"] = include if any(attrs["pads"]) else 0
        if attrs["dilations"] != [1, 1]:
            _lower_dilated_average(low, call, attrs)
            return
        del attrs["dilations"]
    low.emit(call, op, [x], attrs)
    if attrs["ceil_mode"] == 1 and not low.graph.example:
        # Where rounding up changes nothing, say so: ONNX before opset 22 is vague about the
        # windows it drops.
        floor = infer_shape(op, {**attrs, "ceil_mode": 0}, [low.shape(x)])
        if floor == low.shapes[call.output]:
            attrs["ceil_mode"] = 0


def _lower_dilated_average(low: Lowering, call: Call, attrs: dict[str, Any]) -> None:
    """A convolution of each channel with ones, over how many numbers each window has."""
    x, area = call.input(0), math.prod(attrs["kernel_shape"])
    size = low.shape(x)[2:]
    y = _sum_of_windows(low, call, x, (attrs, 1 / area), "sums")
    share = np.ones((1, 1, 1, 1))
    for i, made in enumerate(low.shape(y)[2:]):
        axis: dict[str, Any] = {
            name: n[i::2] if isinstance(n, list) else n for name, n in attrs.items()
        }
        (kernel,) = axis["kernel_shape"]
        low.spend(size[i] + sum(axis["pads"]) + made * kernel)
        counts = _counts(size[i : i + 1], **axis)
        share = share * (kernel / counts).reshape((-1, 1) if i == 0 else (1, -1))
    if (share == 1).all():
        low.alias[call.output] = y
        return
    low.spend(share.size, 4)
    constant = low.add_constant(f"{call.output}.share", share.astype(np.float32))
    arithmetic(low, call, "Mul", (y, constant))


def _sum_of_windows(
    low: Lowering, call: Call, x: str, how: tuple[dict[str, Any], float], step: str = ""
) -> str:
    """The sum of each window, times a factor; of what `ceil_mode` adds as well."""
    attrs, factor = how
    shape, pads = low.shape(x), list(attrs["pads"])
    for i in (0, 1) if attrs["ceil_mode"] else ():
        size, kernel, stride = shape[2 + i], attrs["kernel_shape"][i], attrs["strides"][i]
        ends, dilation = pads[i::2], attrs["dilations"][i]
        count = output_size(size, kernel, stride, ends, dilation=dilation, ceil_mode=True)
        reach = (count - 1) * stride + dilation * (kernel - 1) + 1
        pads[2 + i] = max(ends[1], reach - ends[0] - size)
    low.spend(shape[1] * math.prod(attrs["kernel_shape"]), 4)
    ones = np.full((shape[1], 1, *attrs["kernel_shape"]), factor, np.float32)
    weight = low.add_constant(f"{call.output}.ones", ones)
    window = {name: attrs[name] for name in ("kernel_shape", "strides", "dilations")}
    return low.emit(call, "Conv", [x, weight], {**window, "pads": pads, "group": shape[1]}, step)


def lower_max_pool(low: Lowering, call: Call) -> None:
    """Of images, rows [N, C, W] or volumes [N, C, D, H, W], with any window."""
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
    return np.asarray(view.sum(_last(len(kernel_shape))) ** (1 / p), x.dtype)


def global_lp_pool(x: Array, *, p: int = 2) -> Array:
    """The p-th root of the sum of p-th powers of each channel's magnitudes."""
    powers = np.abs(x) ** p
    return np.asarray(powers.sum(tuple(range(2, x.ndim)), keepdims=True) ** (1 / p), x.dtype)


@lower_rows_too
@lower_volumes_too
def lower_lp_pool(low: Lowering, call: Call) -> None:
    """Of images, rows [N, C, W] or volumes [N, C, D, H, W], with p of 1 to 4: a convolution of each
    channel with ones.
    """
    x, p = call.input(0), call.attrs["p"]
    if p not in (1, 2, 3, 4):
        raise Refusal(f"p={p} is not supported")
    attrs: dict[str, Any] = window(low, call, call.ints("kernel_shape", 2))
    attrs["ceil_mode"] = call.attrs["ceil_mode"]
    if p in (1, 3):
        x = magnitudes = low.emit(call, "Abs", [x], step="magnitudes")
    for power in (2, 4):
        if p >= power:
            x = low.emit(call, "Mul", [x, x], step=f"power{power}")
    if p == 3:
        x = low.emit(call, "Mul", [x, magnitudes], step="power3")
    y = _sum_of_windows(low, call, x, (attrs, 1), "" if p == 1 else "sums")
    if p == 3:
        third = low.add_constant(f"{call.output}.third", np.array(1 / 3, np.float32))
        low.emit(call, "Pow", [y, third])
        return
    for power in (2, 4):
        if p >= power:
            y = low.emit(call, "Sqrt", [y], step="" if p == power else "root")


def lower_global_pool(low: Lowering, call: Call) -> None:
    """Of images, rows or volumes."""
    x, op = call.input(0), call.node.op
    shape = low.shape(x)
    if len(shape) == 4:
        low.emit(call, op, [x])
        return
    if len(shape) < 3:
        raise Refusal(f"of {shape_text(shape)} is not supported")
    image = low.reshape(call, x, (*shape[:2], math.prod(shape[2:-1]), shape[-1]), "image")
    low.reshape(call, low.emit(call, op, [image], step="one"), (*shape[:2], *(1,) * len(shape[2:])))


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
    Operator("GlobalMaxPool", global_max_pool, lower_global_pool),
    Operator("GlobalAveragePool", global_average_pool, lower_global_pool),
    Operator("LpPool", lp_pool, lower_lp_pool),
    Operator("GlobalLpPool", global_lp_pool, lower_global_lp_pool),
)
