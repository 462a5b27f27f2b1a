"""Windows sliding over an image, of convolutions and pools alike.

Images are [N, C, H, W], pads [top, left, bottom, right].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..graph import LONGEST_AXIS, Array
from ..text import shape_text, short
from ._lowering import Call, Lowering, Refusal

Pair = Sequence[int]


def output_size(
    size: int, kernel: int, stride: int, pads: Pair, *, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """How many windows fit along one axis of length `size` with `pads` (before, after).

    With `ceil_mode` a last window may reach beyond the padding, but one that would start there is
    dropped (Caffe's pooling layer; ONNX since opset 19). ValueError if none fits.
    """
    room = size + sum(pads) - (dilation * (kernel - 1) + 1)
    if room < 0:
        raise ValueError(
            f"kernel {kernel} with dilation {dilation} does not fit {size} + pads {list(pads)}"
        )
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + pads[0]:
        count -= 1
    return count


def windows(
    x: Array,
    fill: float,
    kernel: Pair,
    *,
    strides: Pair,
    pads: Pair = (0, 0, 0, 0),
    dilations: Pair = (1, 1),
    ceil_mode: bool = False,
) -> Array:
    """View of [N, C, H, W] as [N, C, OH, OW, R, S]; what is outside the image holds `fill`."""
    widths, counts = [(0, 0), (0, 0)], []
    for axis in (0, 1):
        size, begin, end = x.shape[2 + axis], pads[axis], pads[2 + axis]
        count = output_size(
            size,
            kernel[axis],
            strides[axis],
            (begin, end),
            dilation=dilations[axis],
            ceil_mode=ceil_mode,
        )
        reach = (count - 1) * strides[axis] + dilations[axis] * (kernel[axis] - 1) + 1
        widths.append((begin, max(end, reach - begin - size)))
        counts.append(count)
    x = np.pad(x, widths, constant_values=fill)
    span = tuple(d * (k - 1) + 1 for d, k in zip(dilations, kernel))
    view = sliding_window_view(x, span, axis=(2, 3))
    view = view[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    return view[:, :, : counts[0], : counts[1]]


def explicit_pads(
    auto_pad: str, pads: Pair, size: Pair, *, kernel: Pair, strides: Pair, dilations: Pair
) -> Pair:
    """The pads that `auto_pad` stands for on an image of `size`; NOTSET leaves `pads`."""
    if auto_pad == "NOTSET":
        return pads
    if auto_pad == "VALID":
        return [0, 0, 0, 0]
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise Refusal(f"auto_pad is {short(auto_pad)}")
    begin, end = [], []
    for n, k, stride, dilation in zip(size, kernel, strides, dilations):
        covered = (-(-n // stride) - 1) * stride + (k - 1) * dilation + 1
        total = max(covered - n, 0)
        small = total // 2
        begin.append(small if auto_pad == "SAME_UPPER" else total - small)
        end.append(total - begin[-1])
    return begin + end


def window(low: Lowering, call: Call, kernel: list[int]) -> dict[str, list[int]]:
    """kernel_shape, strides, explicit pads and dilations of a convolution or pool."""
    shape = low.shape(call.input(0))
    if len(shape) != 4:
        raise Refusal(f"its input is {shape_text(shape)}, only images [N, C, H, W] are supported")
    strides, dilations = call.ints("strides", 2), call.ints("dilations", 2)
    pads = call.ints("pads", 4)
    if not 1 <= min(strides + dilations) <= max(strides + dilations + kernel) < LONGEST_AXIS:
        raise Refusal(f"kernel {kernel}, strides {strides} and dilations {dilations} do not fit")
    how = {"kernel": kernel, "strides": strides, "dilations": dilations}
    pads = list(explicit_pads(call.attrs["auto_pad"], pads, shape[2:], **how))
    return {"kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations}


def _lifted(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of windows of one dimension as those of windows one pixel high."""
    given = {}
    for name, value in attrs.items():
        given[name] = value
        if not isinstance(value, list) or not value:  # a default is that of images
            continue
        if len(value) != (2 if name == "pads" else 1):
            raise Refusal(f"attribute '{name}' is {short(value)}, its input has one dimension")
        high = 0 if name in ("pads", "output_padding") else 1
        given[name] = [item for n in value for item in (high, n)]
    return given


def rows_too(meaning: Callable[..., Array]) -> Callable[..., Array]:
    """What windows over an image mean, of [N, C, W] as well."""

    @wraps(meaning)
    def either(x: Array, *weights: Array | None, **attrs: Any) -> Array:
        if x.ndim != 3:
            return meaning(x, *weights, **attrs)
        high = (w[:, :, None] if w is not None and w.ndim == 3 else w for w in weights)
        return meaning(x[:, :, None], *high, **_lifted(attrs))[:, :, 0]

    return either


def lower_rows_too(rule: Callable[[Lowering, Call], None]) -> Callable[[Lowering, Call], None]:
    """A rule for images, of [N, C, W] as well: images one pixel high."""

    @wraps(rule)
    def either(low: Lowering, call: Call) -> None:
        shape = low.shape(call.input(0))
        if len(shape) != 3:
            rule(low, call)
            return
        inputs = [low.reshape(call, call.input(0), (*shape[:2], 1, shape[2]), "image")]
        for name in call.inputs[1:2]:
            if low.numbers(name, "weight").ndim != 3:
                raise Refusal(f"its weight does not fit {shape_text(shape)}")
            inputs.append(low.weight(name, "weight", "rows", lambda w: w[:, :, None]))
        output = low.names.fresh(f"{call.output}.row")
        node = replace(call.node, name=f"{call.node.name}.row", outputs=[output])
        rule(low, Call(node, inputs + call.inputs[2:], _lifted(call.attrs)))
        y = low.alias.get(output, output)
        batch, channels, _, width = low.shape(y)
        low.reshape(call, y, (batch, channels, width))

    return either
