"""Convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..graph import LONGEST_AXIS, Array, Node, Shape
from ..text import shape_text
from ._lowering import Call, Lowering, Refusal
from ._moving import blocks_to_pixels, slice_of
from ._registry import Operator
from ._small import of_any_type
from ._window import (
    Pair,
    deepened,
    explicit_pads,
    lower_rows_too,
    output_size,
    rows_too,
    window,
    windows,
)
from .pool import max_pool


@rows_too
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
    """Cross-correlation of x [N, C, H, W] with w [K, C/group, R, S], plus b [K]: [N, K, OH, OW]; of
    volumes alike.
    """
    kernel = w.shape[2:]
    if w.shape[0] % group or x.shape[1] != w.shape[1] * group:
        raise ValueError(f"weights {w.shape} with group {group} do not fit the input {x.shape}")
    if tuple(kernel_shape) not in ((), kernel):
        raise ValueError(f"kernel_shape {kernel_shape} does not match the weights {w.shape}")
    how: dict[str, Any] = {"strides": strides, "dilations": dilations}
    pads = explicit_pads(auto_pad, pads, x.shape[2:], kernel=kernel, **how)
    view = windows(x, 0, kernel, pads=pads, **how)
    filters, channels = w.shape[0] // group, w.shape[1]
    rank = len(kernel)
    y = np.empty((len(x), w.shape[0], *view.shape[2 : 2 + rank]), np.result_type(x, w))
    terms = (range(1, 2 + rank), (0, *range(1 + rank, 1 + 2 * rank)))
    for image, out in zip(view, y):  # one at a time: tensordot copies the windows it is given
        for g in range(group):
            k = slice(g * filters, (g + 1) * filters)
            c = slice(g * channels, (g + 1) * channels)
            out[k] = np.tensordot(w[k], image[c], axes=terms)
    return y if b is None else y + b.reshape(-1, *(1,) * rank)


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


@of_any_type
@lower_rows_too
def lower_conv(low: Lowering, call: Call) -> None:
    """Of images, rows [N, C, W] or volumes [N, C, D, H, W], with any strides, pads, dilations and
    groups.
    """
    weights = low.numbers(call.input(1), "weight")
    if weights.ndim not in (4, 5):
        raise Refusal(
            f"its weight has shape {list(weights.shape)}, only 1-D to 3-D convolutions are "
            "supported"
        )
    kernel = list(weights.shape[2:])
    if call.ints("kernel_shape") not in ([], kernel):
        raise Refusal(f"kernel_shape does not match the weight {list(weights.shape)}")
    if weights.ndim == 5:
        _lower_volumes(low, call, weights)
        return
    attrs: dict[str, Any] = {**window(low, call, kernel), "group": call.attrs["group"]}
    inputs = [call.input(0), low.weight(call.input(1), "weight")]
    if call.input(2):
        inputs.append(low.weight(call.input(2), "bias"))
    low.emit(call, "Conv", inputs, attrs)


class _Deep(NamedTuple):
    """One axis of a convolution of volumes."""

    kernel: int
    stride: int
    dilation: int
    before: int  # padding
    after: int
    made: int  # numbers of its results


def _lower_volumes(low: Lowering, call: Call, weights: Array) -> None:
    """Of volumes, whose planes are one image, one below the other, with their padding: one
    convolution of it for every plane of the filters, then sums of its results' planes.
    """
    x, group, filters = call.input(0), call.attrs["group"], len(weights)
    shape = low.shape(x)
    if len(shape) != 5 or group < 1 or filters % group or shape[1] != weights.shape[1] * group:
        raise Refusal(f"its weight {list(weights.shape)} does not fit {shape_text(shape)}")
    deep, high, wide = _deep_axes(call, shape, weights)
    rows = -(-(shape[3] + high.before + high.after) // high.stride)  # windows begin in a plane
    below = rows * high.stride - shape[3] - high.before
    image, planes = _one_image(low, call, (deep.before, high.before, deep.after, below))

    def by_planes(w: Array) -> Array:
        """[K, C/group, D, R, S] as filters [group * D * K/group, C/group, R, S]."""
        parts = w.reshape(group, filters // group, *w.shape[1:]).transpose(0, 3, 1, 2, 4, 5)
        return parts.reshape(-1, *w.shape[1:2], *w.shape[3:])

    def of_first(b: Array) -> Array:
        """A bias [K] with the filters' first planes alone."""
        each = np.zeros((group, deep.kernel, filters // group), np.float32)
        each[:, 0] = b.reshape(group, -1)
        return each.ravel()

    inputs = [image, low.weight(call.input(1), "weight", f"planes{group}", by_planes)]
    if call.input(2):
        if low.numbers(call.input(2), "bias").size != filters:
            raise Refusal(f"its bias does not fit the weight {list(weights.shape)}")
        change = f"planes{group}x{deep.kernel}"
        inputs.append(low.weight(call.input(2), "bias", change, of_first))
    reach = high.dilation * (high.kernel - 1) + 1
    attrs = {
        "kernel_shape": [high.kernel, wide.kernel],
        "strides": [high.stride, wide.stride],
        "pads": [0, wide.before, max(0, reach - high.stride), wide.after],
        "dilations": [high.dilation, wide.dilation],
        "group": group,
    }
    y = low.emit(call, "Conv", inputs, attrs, "each")
    split = (shape[0], group, deep.kernel, filters // group, planes, rows, wide.made)
    y = low.reshape(call, y, split, "split")
    total = ""
    for tap in range(deep.kernel):
        first = tap * deep.dilation
        end = first + (deep.made - 1) * deep.stride + 1
        sections = [(2, tap, tap + 1, 1), (4, first, end, deep.stride), (5, 0, high.made, 1)]
        part = slice_of(low, call, y, sections, f"tap{tap}")
        flat = (shape[0], filters, deep.made * high.made, wide.made)
        part = low.reshape(call, part, flat, f"part{tap}")
        total = low.emit(call, "Add", [total, part], step=f"sum{tap}") if total else part
    low.reshape(call, total, (shape[0], filters, deep.made, high.made, wide.made))


def _one_image(low: Lowering, call: Call, around: tuple[int, int, int, int]) -> tuple[str, int]:
    """The planes of a volume one below the other, after zeros were put before and behind it, above
    and below: (front, top, back, bottom); and how many there are.
    """
    x, (front, top, back, bottom) = call.input(0), around
    batch, channels, depth, height, width = low.shape(x)
    if any(around):
        padded = low.names.fresh(f"{call.output}.padded")
        pads = low.add_integers(f"{padded}.pads", [0, 0, front, top, 0, 0, 0, back, bottom, 0])
        low.visit(Node("Pad", padded, [x, pads], [padded]))
        if padded in low.failed:
            raise Refusal(f"pads {list(around)} are not supported")
        x = low.alias.get(padded, padded)
    planes, rows = depth + front + back, height + top + bottom
    return low.reshape(call, x, (batch, channels, planes * rows, width), "planes"), planes


def _deep_axes(call: Call, shape: Shape, weights: Array) -> list[_Deep]:
    attrs = deepened(call.attrs)
    strides, dilations, pads = (attrs[name] for name in ("strides", "dilations", "pads"))
    given = [*strides, *dilations, *pads]
    if not all(isinstance(n, int) and 0 <= n < 1 << 20 for n in given):
        raise Refusal("strides, dilations or pads do not fit")
    if min(strides + dilations + list(weights.shape)) < 1:
        raise Refusal("strides, dilations or the weight do not fit")
    kernel = weights.shape[2:]
    how = {"strides": strides, "dilations": dilations}
    pads = explicit_pads(attrs["auto_pad"], pads, shape[2:], kernel=kernel, **how)
    axes = zip(shape[2:], kernel, strides, dilations, zip(pads[:3], pads[3:]))
    return [
        _Deep(k, step, gap, *ends, made=output_size(n, k, step, ends, dilation=gap))
        for n, k, step, gap, ends in axes
    ]


@rows_too
def conv_transpose(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Pair = (1, 1),
    group: int = 1,
    kernel_shape: Pair = (),
    output_padding: Pair = (0, 0),
    output_shape: Pair = (),
    pads: Pair = (0, 0, 0, 0),
    strides: Pair = (1, 1),
) -> Array:
    """Every number of x [N, C, H, W] times w [C, K/group, R, S], added up `strides` apart, without
    `pads` at the borders; plus b [K]: [N, K, OH, OW].
    """
    if tuple(kernel_shape) not in ((), w.shape[2:]):
        raise ValueError(f"kernel_shape {kernel_shape} does not match the weights {w.shape}")
    if w.shape[0] != x.shape[1] or x.shape[1] % group:
        raise ValueError(f"weights {w.shape} with group {group} do not fit the input {x.shape}")
    axes = _spread(
        x.shape[2:],
        w.shape[2:],
        auto_pad=auto_pad,
        dilations=dilations,
        output_padding=output_padding,
        output_shape=output_shape,
        pads=pads,
        strides=strides,
    )
    (channels, filters), (rows, cols) = w.shape[:2], w.shape[2:]
    spans = (
        max(axis.end, axis.stride * (n - 1) + axis.kernel) for axis, n in zip(axes, x.shape[2:])
    )
    whole = np.zeros((len(x), filters * group, *spans))
    for g in range(group):
        c = slice(g * channels // group, (g + 1) * channels // group)
        k = slice(g * filters, (g + 1) * filters)
        for r, s in np.ndindex(rows, cols):
            spots = (
                slice(
                    at * axis.dilation, at * axis.dilation + axis.stride * (n - 1) + 1, axis.stride
                )
                for at, axis, n in zip((r, s), axes, x.shape[2:])
            )
            whole[(slice(None), k, *spots)] += np.einsum("nchw,ck->nkhw", x[:, c], w[c, :, r, s])
    y = whole[:, :, axes[0].pad : axes[0].end, axes[1].pad : axes[1].end]
    y = y if b is None else y + b.reshape(-1, 1, 1)
    return np.asarray(y, np.result_type(x, w))


class _Spread(NamedTuple):
    """One axis of a transposed convolution: the output is what lies from `pad` to `end`."""

    stride: int
    dilation: int
    kernel: int  # its extent
    pad: int
    end: int

    @property
    def first(self) -> int:
        """The first group of `stride` numbers that the output has some of."""
        return self.pad // self.stride

    @property
    def taps(self) -> int:
        """How many numbers of the input meet in one of the output, at most."""
        return -(-self.kernel // self.stride)


def _spread(
    size: Pair,
    kernel: Pair,
    *,
    auto_pad: str,
    dilations: Pair,
    output_padding: Pair,
    output_shape: Pair,
    pads: Pair,
    strides: Pair,
) -> list[_Spread]:
    axes = []
    same = auto_pad in ("SAME_UPPER", "SAME_LOWER")
    if auto_pad == "VALID":
        pads = (0, 0, 0, 0)
    elif auto_pad != "NOTSET" and not same:
        raise Refusal(f"auto_pad is {auto_pad!r}")
    for i in (0, 1):
        extent = dilations[i] * (kernel[i] - 1) + 1
        full = strides[i] * (size[i] - 1) + extent + output_padding[i]
        pad, end = pads[i], full - pads[2 + i]
        if same or len(output_shape):
            length = output_shape[-2:][i] if len(output_shape) else size[i] * strides[i]
            # What is too much is cut off, half of it at the beginning.
            surplus = full - length
            pad = surplus // 2 if auto_pad == "SAME_UPPER" else surplus - surplus // 2
            end = pad + length
        if end <= pad or pad < 0:
            raise Refusal(f"pads {list(pads)} do not fit, or leave nothing")
        axes.append(_Spread(strides[i], dilations[i], extent, pad, end))
    return axes


@of_any_type
@lower_rows_too
def lower_conv_transpose(low: Lowering, call: Call) -> None:
    """Of images or rows [N, C, W]: a convolution whose channels are the phases of the output, then
    each to its place.

    Output number stride * i + r is a sum over t of x[i - t] * w[stride * t + r].
    """
    weights = low.numbers(call.input(1), "weight")
    shape = low.shape(call.input(0))
    group = call.attrs["group"]
    if weights.ndim != 4 or len(shape) != 4:
        raise Refusal("only 2-D convolutions, of images [N, C, H, W], are supported")
    if group < 1 or shape[1] % group or weights.shape[0] != shape[1]:
        raise Refusal(f"its weight {list(weights.shape)} does not fit {shape_text(shape)}")
    kernel = list(weights.shape[2:])
    if call.ints("kernel_shape") not in ([], kernel):
        raise Refusal(f"kernel_shape does not match the weight {list(weights.shape)}")
    lists = {name: call.ints(name, 2) for name in ("dilations", "output_padding", "strides")}
    lists.update(pads=call.ints("pads", 4), output_shape=call.ints("output_shape"))
    given = [number for values in lists.values() for number in values]
    if (
        min(lists["dilations"] + lists["strides"]) < 1
        or not 0 <= min(given) <= max(given) < 1 << 20
    ):
        raise Refusal("strides, dilations or pads do not fit")
    if len(lists["output_shape"]) not in (0, 2, 4):
        raise Refusal("output_shape is not that of an image")
    axes = _spread(shape[2:], kernel, auto_pad=call.attrs["auto_pad"], **lists)
    filters = weights.shape[1]
    phases = [axis.stride for axis in axes]
    if any(axis.taps - 1 < axis.first for axis in axes):
        raise Refusal("its pads leave none of the first numbers")
    low.spend(
        weights.size // (kernel[0] * kernel[1]) * math.prod(a.taps * a.stride for a in axes), 4
    )

    def of_phases(w: Array) -> Array:
        """[C, K/group, R, S] as the filters [group * phases * K/group, C/group, taps, taps]."""
        full = np.zeros((*w.shape[:2], *(axis.taps * axis.stride for axis in axes)), np.float32)
        full[:, :, : axes[0].kernel : axes[0].dilation, : axes[1].kernel : axes[1].dilation] = w
        parts = full.reshape(
            group, shape[1] // group, filters, axes[0].taps, phases[0], axes[1].taps, phases[1]
        )
        parts = parts.transpose(0, 4, 6, 2, 1, 3, 5)[..., ::-1, ::-1]
        return parts.reshape(-1, shape[1] // group, axes[0].taps, axes[1].taps)

    change = f"phases{phases[0]}x{phases[1]}"
    inputs = [call.input(0), low.weight(call.input(1), "weight", change, of_phases)]
    if call.input(2):
        each = lambda b: np.tile(b.reshape(group, 1, -1), (1, math.prod(phases), 1)).ravel()  # noqa: E731
        inputs.append(low.weight(call.input(2), "bias", change, each))
    ends = [
        max(0, (axis.end - 1) // axis.stride - (size - 1)) for size, axis in zip(shape[2:], axes)
    ]
    made = [size - axis.first + end for size, axis, end in zip(shape[2:], axes, ends)]
    sections = []
    for i, axis in enumerate(axes):
        begin = axis.first * axis.stride
        end, size = axis.end - begin, made[i] * axis.stride
        if (axis.pad - begin, end) != (0, size):
            if low.graph.example:  # counted from what is open
                end = end - size or LONGEST_AXIS
            sections.append((2 + i, axis.pad - begin, end, 1))
    attrs = {
        "kernel_shape": [axis.taps for axis in axes],
        "strides": [1, 1],
        "pads": [axis.taps - 1 - axis.first for axis in axes] + ends,
        "dilations": [1, 1],
        "group": group,
    }
    last = "whole" if sections else ""
    y = low.emit(call, "Conv", inputs, attrs, last if phases == [1, 1] else "phases")
    if phases != [1, 1]:
        y = blocks_to_pixels(low, call, y, (group, phases[0], phases[1], filters), last)
    if sections:
        slice_of(low, call, y, sections)


OPERATORS = (
    Operator("Conv", conv, lower_conv),
    Operator("ConvTranspose", conv_transpose, lower_conv_transpose),
)
