"""What TFLite's windows mean: convolutions, pools, pictures of other sizes, phases of pictures.

A dilated convolution may be one of the phases of its image: SPACE_TO_BATCH_ND cuts the image into
them, BATCH_TO_SPACE_ND puts them together again. Here the image stays whole, and what lies between
the two is computed of it with larger dilations.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import LONGEST_AXIS
from . import _channels_last
from ._tflite_call import Call, Rule
from ._translator import Unsupported

_PADDING = {0: "SAME", 1: "VALID"}
_MOST_PLACES = 64  # of a window, each of which takes some operators


def _padding(code: int) -> str:
    if code not in _PADDING:
        raise Unsupported(f"its padding is number {code}")
    return _PADDING[code]


def _convolution(call: Call, axes: str, activation: int, dilations: list[int]) -> None:
    """padding, stride_w and stride_h are the first options of both kinds."""
    lite, x, bias = call.lite, call.x[0], call.input(2)
    padding, strides = _padding(call.option(0, "b")), [call.option(2), call.option(1)]
    kernel, phases = call.kernel(1, axes), lite.phases.get(x)
    if axes == "IHWO" and kernel.size("I") != [1]:
        raise Unsupported(f"its weights {list(kernel.shape)} are of more than one channel each")
    if phases:
        odd = any((k - 1) * d % 2 for k, d in zip(kernel.window, dilations))
        if strides != [1, 1] or (padding == "SAME" and odd):
            raise Unsupported("of phases of an image only windows that move by 1 are supported")
        dilations = [d * phase for d, phase in zip(dilations, phases)]

    def make(y: str) -> None:
        how: dict[str, Any] = {"strides": strides, "dilations": dilations, "padding": padding}
        _channels_last.conv(lite, x, y, kernel, bias, **how)
        if phases:
            lite.phases[y] = phases

    call.activated(activation, make)


def _conv_2d(call: Call) -> None:
    dilations = [call.option(5, default=1), call.option(4, default=1)]
    _convolution(call, "OHWI", call.option(3, "b"), dilations)


def _depthwise(call: Call) -> None:
    dilations = [call.option(6, default=1), call.option(5, default=1)]
    _convolution(call, "IHWO", call.option(4, "b"), dilations)


def _transposed(call: Call, first: int, how: dict[str, Any], activation: int = 0) -> None:
    """Weights, image and bias are inputs from `first` on."""
    image, weights, bias = (1, 0, 2) if first else (0, 1, 2)
    kernel = call.kernel(first + weights, "OHWI")

    def make(y: str) -> None:
        x, b = call.x[first + image], call.input(first + bias)
        _channels_last.transposed_conv(call.lite, x, y, kernel, b, **how)

    call.activated(activation, make)


def _transpose_conv(call: Call) -> None:
    sizes = call.made[0].shape[1:3]
    if call.is_constant(0) or call.lite.resized:
        sizes = tuple(call.integers(0, "sizes"))[1:3]
    if len(sizes) != 2 or max(sizes) >= LONGEST_AXIS:
        raise Unsupported(f"its result has height and width {list(sizes)}")
    padding, strides = _padding(call.option(0, "b")), [call.option(2), call.option(1)]
    if call.lite.resized and min(strides) > 0:
        window = [1, 1] if padding == "SAME" else call.kernel(1, "OHWI").window
        back = tuple(-(-(n - k + 1) // s) for n, k, s in zip(sizes, window, strides))
        if call.shape(2)[1:3] != back:
            raise Unsupported(f"its result has height and width {list(sizes)}, whatever its input")
    how = {
        "padding": padding,
        "strides": strides,
        "sizes": sizes if min(sizes) > 0 else (),
    }
    _transposed(call, 1, how, call.option(3, "b"))


def _in_c(call: Call, count: int, what: str) -> tuple[str, list[int]]:
    """Padding, and the other integers of options that are a struct of C's."""
    options = call.custom_options
    if options is None or options.size < 4 * count:
        raise Unsupported(f"its options are not padding and {what}")
    padding, *others = np.frombuffer(options.tobytes(), "<i4", count).tolist()
    if padding not in (1, 2):
        raise Unsupported(f"its padding is number {padding}")
    return _padding(padding - 1), others


def _transpose_conv_bias(call: Call) -> None:
    """MediaPipe's Convolution2DTransposeBias."""
    padding, (wide, high) = _in_c(call, 3, "strides")
    _transposed(call, 0, {"padding": padding, "strides": [high, wide]})


def _window_in_c(call: Call) -> tuple[str, list[int], list[int], int]:
    """Padding, strides and window, height first, and activation."""
    padding, options = _in_c(call, 6, "a window")
    strides, window = options[1::-1], options[3:1:-1]
    if not 1 <= min(*strides, *window) <= max(*strides, *window) < LONGEST_AXIS:
        raise Unsupported(f"its window of {window} moves by {strides}")
    if not 2 <= math.prod(window) <= _MOST_PLACES:
        raise Unsupported(f"its window of {window} has not 2 to {_MOST_PLACES} pixels")
    return padding, strides, window, options[4]


def _pool_with_places(call: Call) -> None:
    """MediaPipe's MaxPoolingWithArgmax2D: the largest of each window, and which of its pixels is
    the first to have that, plus 0.1: the least of the places of those that are not less.
    """
    lite, x, (y, places) = call.lite, call.x[0], call.y
    padding, strides, window, activation = _window_in_c(call)
    shape = call.shape()
    if len(shape) != 4 or 0 in shape[1:3]:
        raise Unsupported(f"the places of a pool of {list(shape)} are not computed")
    sizes = [-(-n // s) for n, s in zip(shape[1:3], strides)]
    if padding == "VALID":
        sizes = [(n - k) // s + 1 for n, k, s in zip(shape[1:3], window, strides)]
    more = [max((o - 1) * s + k - n, 0) for o, s, k, n in zip(sizes, strides, window, shape[1:3])]
    if any(more):
        begin, end = [n // 2 for n in more], [n - n // 2 for n in more]
        pads = call.vector("pads", [0, *begin, 0, 0, *end, 0])
        x = call.part("Pad", "padded", [x, pads, call.real_number("least", -np.inf)])
        lite.shapes[x] = (shape[0], *(n + m for n, m in zip(shape[1:3], more)), shape[3])
    most = lite.names.fresh(f"{y}.most") if activation else y
    _channels_last.pool(lite, "MaxPool", x, most, window=window, strides=strides)
    if activation:
        call.activated(activation, lambda inner: call.finish("Identity", [most], inner))
    far, candidates = call.real_number("far", _MOST_PLACES), []
    for row, column in np.ndindex(*window):
        ends = [b + (o - 1) * s + 1 for b, o, s in zip((row, column), sizes, strides)]
        lists = ([row, column], ends, [1, 2], strides)
        parts = [call.vector("part", numbers) for numbers in lists]
        less = call.part("Sub", "less", [most, call.part("Slice", "pixels", [x, *parts])])
        lost = call.part("Mul", "lost", [call.part("Sign", "sign", [less]), far])
        place = call.real_number("place", row * window[1] + column + 0.1)
        candidates.append(call.part("Add", "candidate", [lost, place]))
    call.finish("Min", candidates, places)
    lite.shapes[places] = (shape[0], *sizes, shape[3])
    lite.places[places] = window


def _back_to_places(call: Call) -> None:
    """MediaPipe's MaxUnpooling2D: each number goes to the pixel of its square where a pool found
    it, others are 0. All are made for each pixel of the squares, side by side as channels.
    """
    lite, (x, places) = call.lite, call.x
    _, strides, window, _ = _window_in_c(call)
    if window[0] != window[1] or strides != window or lite.places.get(places) != window:
        raise Unsupported(
            f"its places have to be those of a MaxPoolingWithArgmax2D, and its window of {window} "
            f"a square that moves by its size, not by {strides}"
        )
    shape = call.shape()
    whole, zero = call.part("Floor", "whole", [places]), call.real_number("zero", 0)
    pixels = []
    for place in range(math.prod(window)):
        here = call.part("Equal", "here", [whole, call.real_number("place", place)])
        pixels.append(call.part("Where", "pixel", [here, x, zero]))
    side = call.part("Concat", "pixels", pixels, axis=3)
    lite.shapes[side] = (*shape[:3], shape[3] * len(pixels))
    _channels_last.blocks(lite, "DepthToSpace", side, call.y[0], window[0])


def _pool(op: str) -> Rule:
    def translate(call: Call) -> None:
        lite, x = call.lite, call.x[0]
        how: dict[str, Any] = {
            "padding": _padding(call.option(0, "b")),
            "strides": [call.option(2), call.option(1)],
            "window": [call.option(4), call.option(3)],
        }
        if op == "L2":
            # Of the mean of squares, where an LpPool is of their sum.
            x = call.part("Mul", "squares", [x, x])
            lite.shapes[x] = call.shape()

        def make(y: str) -> None:
            if op != "L2":
                _channels_last.pool(lite, op, x, y, **how)
                return
            mean = lite.names.fresh(f"{y}.mean")
            _channels_last.pool(lite, "AveragePool", x, mean, **how)
            call.finish("Sqrt", [mean], y)

        call.activated(call.option(5, "b"), make)

    return Rule(translate, options=5)


def _resize(mode: str, first: int) -> Rule:
    """align_corners and half_pixel_centers are options from `first` on."""

    def translate(call: Call) -> None:
        corners, centers = (bool(call.option(first + i, "B")) for i in (0, 1))
        if corners and centers:
            raise Unsupported("has both align_corners and half_pixel_centers")
        sizes = call.integers(1, "sizes")
        if len(sizes) != 2:
            raise Unsupported(f"its sizes are {sizes}")
        coordinates = "align_corners" if corners else "half_pixel" if centers else "asymmetric"
        how: dict[str, Any] = {"sizes": sizes, "mode": mode, "coordinates": coordinates}
        _channels_last.resize(call.lite, call.x[0], call.y[0], **how)

    return Rule(translate, (2, 2), options=15 if first else 74)


def _blocks(op: str, options: int) -> Rule:
    def translate(call: Call) -> None:
        _channels_last.blocks(call.lite, op, call.x[0], call.y[0], call.option(0))

    return Rule(translate, options=options)


def _local_response(call: Call) -> None:
    radius, *reals = call.option(0), *(call.option(i, "f") for i in (1, 2, 3))
    how = dict(zip(("bias", "alpha", "beta"), reals))
    _channels_last.local_response(call.lite, call.x[0], call.y[0], radius=radius, **how)


def _phases(call: Call) -> tuple[tuple[int, int], list[int]]:
    """How many phases along height and width, and [top, bottom, left, right]."""
    sizes, borders = call.integers(1, "sizes of blocks"), call.integers(2, "borders")
    inside = all(0 <= n < LONGEST_AXIS for n in borders) and all(
        1 <= n < LONGEST_AXIS for n in sizes
    )
    if call.rank() != 4 or len(sizes) != 2 or len(borders) != 4 or not inside:
        raise Unsupported("is supported for height and width of images only")
    return (sizes[0], sizes[1]), borders


def _to_phases(call: Call) -> None:
    phases, (top, bottom, left, right) = _phases(call)
    n, high, wide, channels = call.shape()
    made = (n, high + top + bottom if high else 0, wide + left + right if wide else 0, channels)
    if any(size % phase for size, phase in zip(made[1:3], phases)):
        raise Unsupported(f"{made[1]}x{made[2]} pixels are not cut into {phases} phases")
    pads = call.vector("pads", [0, top, left, 0, 0, bottom, right, 0])
    call.finish("Pad", [call.x[0], pads])
    call.lite.shapes[call.y[0]], call.lite.phases[call.y[0]] = made, phases


def _from_phases(call: Call) -> None:
    phases, (top, bottom, left, right) = _phases(call)
    if call.lite.phases.get(call.x[0]) != phases:
        raise Unsupported("does not follow a SPACE_TO_BATCH_ND of the same blocks")
    n, high, wide, channels = call.shape()
    made = (n, high - top - bottom if high else 0, wide - left - right if wide else 0, channels)
    ends = [-bottom if bottom else LONGEST_AXIS, -right if right else LONGEST_AXIS]
    lists = (("starts", [top, left]), ("ends", ends), ("axes", [1, 2]))
    call.finish("Slice", [call.x[0], *(call.vector(*item) for item in lists)])
    call.lite.shapes[call.y[0]] = made


RULES = {
    "AVERAGE_POOL_2D": _pool("AveragePool"),
    "BATCH_TO_SPACE_ND": Rule(_from_phases, (3, 3)),
    "CONV_2D": Rule(_conv_2d, (2, 3), options=1),
    "DEPTHWISE_CONV_2D": Rule(_depthwise, (2, 3), options=2),
    "DEPTH_TO_SPACE": _blocks("DepthToSpace", 94),
    "L2_POOL_2D": _pool("L2"),
    "LOCAL_RESPONSE_NORMALIZATION": Rule(_local_response, options=13),
    "MAX_POOL_2D": _pool("MaxPool"),
    "RESIZE_BILINEAR": _resize("linear", 2),
    "RESIZE_NEAREST_NEIGHBOR": _resize("nearest", 0),
    "SPACE_TO_BATCH_ND": Rule(_to_phases, (3, 3)),
    "SPACE_TO_DEPTH": _blocks("SpaceToDepth", 19),
    "TRANSPOSE_CONV": Rule(_transpose_conv, (3, 4), options=49),
}
CUSTOM = {
    "Convolution2DTransposeBias": Rule(_transpose_conv_bias, (3, 3)),
    "MaxPoolingWithArgmax2D": Rule(_pool_with_places, (1, 1), (2, 2)),
    "MaxUnpooling2D": Rule(_back_to_places, (2, 2)),
}
