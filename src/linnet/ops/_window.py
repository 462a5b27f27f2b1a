"""Windows sliding over an image, of convolutions and pools alike.

Images are [N, C, H, W], pads [top, left, bottom, right]. Volumes are [N, C, D, H, W], pads
[front, top, left, back, bottom, right].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from inspect import signature
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
    dropped (Caffe's pooling layer; ONNX since opset 19). Refusal if none fits.
    """
    room = size + sum(pads) - (dilation * (kernel - 1) + 1)
    if room < 0:
        raise Refusal(
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
    pads: Pair,
    dilations: Pair,
    ceil_mode: bool = False,
) -> Array:
    """View of [N, C, H, W] as [N, C, OH, OW, R, S], of volumes alike; what is outside the image
    holds `fill`.
    """
    widths, counts, rank = [(0, 0), (0, 0)], [], x.ndim - 2
    for axis in range(rank):
        size, begin, end = x.shape[2 + axis], pads[axis], pads[rank + axis]
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
    view = sliding_window_view(x, span, axis=tuple(range(2, x.ndim)))
    steps = [slice(None, None, step) for step in (*strides, *dilations)]
    whole = (slice(None), slice(None))
    return view[(*whole, *steps)][(*whole, *map(slice, counts))]


def explicit_pads(
    auto_pad: str, pads: Pair, size: Pair, *, kernel: Pair, strides: Pair, dilations: Pair
) -> Pair:
    """The pads that `auto_pad` stands for on an image of `size`; NOTSET leaves `pads`."""
    if auto_pad == "NOTSET":
        return pads
    if auto_pad == "VALID":
        return [0] * (2 * len(size))
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
    sizes = strides + dilations + kernel
    if not 1 <= min(sizes) <= max(sizes) < LONGEST_AXIS:
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


def deepened(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of windows of three dimensions, where the defaults are those of images."""
    given = {}
    for name, setting in attrs.items():
        count = 6 if name == "pads" else 3
        default = isinstance(setting, tuple) and setting
        value = list(setting[:1]) * count if default else setting
        if isinstance(value, list) and len(value) != count:
            raise Refusal(f"attribute '{name}' is {short(value)}, its input has three dimensions")
        given[name] = value
    return given


def rows_too(meaning: Callable[..., Array]) -> Callable[..., Array]:
    """What windows over images or volumes mean, of [N, C, W] as well."""

    @wraps(meaning)
    def either(x: Array, *weights: Array | None, **attrs: Any) -> Array:
        if x.ndim == 5:
            defaults = {
                name: parameter.default
                for name, parameter in signature(meaning).parameters.items()
                if isinstance(parameter.default, tuple)
            }
            return meaning(x, *weights, **deepened({**defaults, **attrs}))
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


def lower_volumes_too(rule: Callable[[Lowering, Call], None]) -> Callable[[Lowering, Call], None]:
    """A rule for pools of images whose windows are those of their rows, and of what that gives
    those of the columns: of volumes [N, C, D, H, W] as well.
    """

    @wraps(rule)
    def either(low: Lowering, call: Call) -> None:
        shape = low.shape(call.input(0))
        if len(shape) != 5:
            rule(low, call)
            return
        attrs = deepened(call.attrs)
        batch, channels, depth = shape[:3]

        def pooled(x: str, first: bool, step: str) -> str:
            """Depth as the first axis of the window alone, or height and width."""
            part = {name: v for name, v in attrs.items() if not isinstance(v, list)}
            for name, v in attrs.items():
                if isinstance(v, list):
                    still = 0 if name == "pads" else 1
                    halves = (v[:3], v[3:]) if name == "pads" else (v,)
                    part[name] = [
                        n for half in halves for n in ([half[0], still] if first else half[1:])
                    ]
            output = low.names.fresh(f"{call.output}.{step}")
            node = replace(call.node, name=f"{call.node.name}.{step}", outputs=[output])
            rule(low, Call(node, [x], part))
            return low.alias.get(output, output)

        planes = (batch, channels * depth, *shape[3:])
        y = pooled(low.reshape(call, call.input(0), planes, "planes"), False, "plane")
        high, wide = low.shape(y)[2:]
        columns = low.reshape(call, y, (batch, channels, depth, high * wide), "columns")
        y = pooled(columns, True, "deep")
        low.reshape(call, y, (*low.shape(y)[:3], high, wide))

    return either
