"""Convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph import Array
from ._lowering import Call, Lowering, Refusal
from ._registry import Operator
from ._window import Pair, explicit_pads, window, windows
from .pool import max_pool


def conv(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Pair = (1, 1),
    group: int = 1,
    kernel_shape: Pair = (),
    pads: Pair = (0, 0, 0, 0),
    strides: Pair = (1, 1),
) -> Array:
    """Cross-correlation of x [N, C, H, W] with w [K, C/group, R, S], plus b [K]: [N, K, OH, OW]."""
    kernel = w.shape[2:]
    if w.shape[0] % group or x.shape[1] != w.shape[1] * group:
        raise ValueError(f"weights {w.shape} with group {group} do not fit the input {x.shape}")
    if tuple(kernel_shape) not in ((), kernel):
        raise ValueError(f"kernel_shape {kernel_shape} does not match the weights {w.shape}")
    how: dict[str, Any] = {"strides": strides, "dilations": dilations}
    pads = explicit_pads(auto_pad, pads, x.shape[2:], kernel=kernel, **how)
    view = windows(x, 0, kernel, pads=pads, **how)
    filters, channels = w.shape[0] // group, w.shape[1]
    y = np.empty((len(x), w.shape[0], *view.shape[2:4]), np.result_type(x, w))
    for image, out in zip(view, y):  # one at a time: tensordot copies the windows it is given
        for g in range(group):
            k = slice(g * filters, (g + 1) * filters)
            c = slice(g * channels, (g + 1) * channels)
            out[k] = np.tensordot(w[k], image[c], axes=((1, 2, 3), (0, 3, 4)))
    return y if b is None else y + b.reshape(-1, 1, 1)


def conv_fused(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    residual: Array | None = None,
    relu: bool = False,
    pool: Mapping[str, Any] | None = None,
    **window: Any,
) -> Array:
    """A convolution as the core fuses it: bias, then `residual` added, then ReLU, then max pooling.

    `window` and `pool` hold the attributes of conv and max_pool.
    """
    y = conv(x, w, b, **window)
    if residual is not None:
        y = y + residual
    if relu:
        y = np.maximum(y, 0)
    return y if pool is None else max_pool(y, **pool)


def lower_conv(low: Lowering, call: Call) -> None:
    """Of images, with any strides, pads, dilations and groups."""
    weights = low.numbers(call.input(1), "weight")
    if weights.ndim != 4:
        raise Refusal(
            f"its weight has shape {list(weights.shape)}, only 2-D convolutions are supported"
        )
    kernel = list(weights.shape[2:])
    if call.ints("kernel_shape") not in ([], kernel):
        raise Refusal(f"kernel_shape does not match the weight {list(weights.shape)}")
    attrs: dict[str, Any] = {**window(low, call, kernel), "group": call.attrs["group"]}
    inputs = [call.input(0), low.weight(call.input(1), "weight")]
    if call.input(2):
        inputs.append(low.weight(call.input(2), "bias"))
    low.emit(call, "Conv", inputs, attrs)


OPERATORS = (Operator("Conv", conv, lower_conv),)
