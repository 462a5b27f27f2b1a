"""What Keras's layers of windows and sizes mean: convolutions, pools, borders, enlarging."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..text import short
from . import _channels_last as nhwc
from ._channels_last import Kernel
from ._keras_call import LayerCall
from ._translator import Unsupported


def turning(rule: Callable[[LayerCall, str, str], None]) -> Callable[[LayerCall], None]:
    """A rule for values with channels last, made one for the layer's data_format."""

    def translate(call: LayerCall) -> None:
        if call.channels_last():
            rule(call, call.x, call.y)
            return
        x, inner = call.fresh("nhwc"), call.fresh("result")
        nhwc.last(call.reader, call.x, x)
        rule(call, x, inner)
        rank = len(call.reader.shape(inner))
        call.add("Transpose", [inner], perm=[0, rank - 1, *range(1, rank - 1)])

    return translate


def _rank(call: LayerCall) -> int:
    """Of what windows go over: the figure in the layer's name."""
    return 1 if "1D" in call.layer.kind else 2


def _padding(call: LayerCall, kernel: Sequence[int], dilations: Sequence[int]) -> Any:
    padding = call.text("padding", "valid", "valid", "same", "causal")
    if padding == "causal":
        if len(kernel) != 1:
            raise Unsupported("its padding is causal, which is for rows")
        return [(kernel[0] - 1) * dilations[0], 0]
    return padding.upper()


def _bias(call: LayerCall, index: int, filters: int) -> str:
    if not call.flag("use_bias", True):
        return ""
    call.array(index, (filters,))
    return call.weight(index)[0]


def _convolution(call: LayerCall, x: str, y: str) -> None:
    rank, depthwise = _rank(call), call.layer.kind.startswith("Depthwise")
    name, shape = call.weight(0, rank + 2)
    window = call.sizes("kernel_size", rank)
    strides, dilations = call.sizes("strides", rank, 1), call.sizes("dilation_rate", rank, 1)
    filters, groups = shape[-1], call.integer("groups", 1)
    if depthwise:
        filters = shape[-1] * shape[-2]
        if call.integer("depth_multiplier", 1) != shape[-1]:
            raise Unsupported(f"its depth_multiplier is not that of its weights {list(shape)}")
    elif call.integer("filters") != filters or groups * shape[-2] != call.reader.shape(x)[-1]:
        raise Unsupported(f"its filters and groups are not those of its weights {list(shape)}")
    if list(shape[:rank]) != window:
        raise Unsupported(f"its kernel_size is not that of its weights {list(shape)}")
    axes = "HW"[-rank:] + ("CM" if depthwise else "IO")
    bias, padding = _bias(call, 1, filters), _padding(call, window, dilations)
    linear = call.fresh("linear")
    nhwc.conv(
        call.reader,
        x,
        linear,
        Kernel(name, shape, axes),
        bias,
        strides=strides,
        dilations=dilations,
        padding=padding,
    )
    call.activate(linear, call.setting("activation"), y)


def _separable(call: LayerCall, x: str, y: str) -> None:
    """Each channel by itself, then a 1x1 convolution."""
    rank = _rank(call)
    (depth, shape), (point, mixed) = call.weight(0, rank + 2), call.weight(1, rank + 2)
    window = call.sizes("kernel_size", rank)
    strides, dilations = call.sizes("strides", rank, 1), call.sizes("dilation_rate", rank, 1)
    call.integer("groups", 1)
    wanted = [*window, call.integer("depth_multiplier", 1)]
    if [*shape[:rank], shape[-1]] != wanted or mixed[-1] != call.integer("filters"):
        raise Unsupported(f"its weights {list(shape)} and {list(mixed)} are of other sizes")
    if set(mixed[:rank]) != {1}:
        raise Unsupported(f"its weights number 1 are {list(mixed)}, expected a window of 1")
    inner, linear, axes = call.fresh("depthwise"), call.fresh("linear"), "HW"[-rank:]
    nhwc.conv(
        call.reader,
        x,
        inner,
        Kernel(depth, shape, f"{axes}CM"),
        strides=strides,
        dilations=dilations,
        padding=_padding(call, window, dilations),
    )
    bias = _bias(call, 2, mixed[-1])
    nhwc.conv(call.reader, inner, linear, Kernel(point, mixed, f"{axes}IO"), bias)
    call.activate(linear, call.setting("activation"), y)


def _transposed(call: LayerCall, x: str, y: str) -> None:
    rank = _rank(call)
    name, shape = call.weight(0, rank + 2)
    window, strides = call.sizes("kernel_size", rank), call.sizes("strides", rank, 1)
    if call.sizes("dilation_rate", rank, 1) != [1] * rank or call.integer("groups", 1) != 1:
        raise Unsupported("a transposed convolution with dilation or groups is not supported")
    if list(shape[:rank]) != window or shape[-2] != call.integer("filters"):
        raise Unsupported(f"its settings are not those of its weights {list(shape)}")
    padding = _padding(call, window, [1] * rank)
    sizes: list[int] = []
    given = call.setting("output_shape")
    if given is not None:  # of Keras 1: all four sizes
        sizes = given[1:3] if isinstance(given, list) else []
        if len(sizes) != rank or not all(isinstance(n, int) and 0 < n < 1 << 31 for n in sizes):
            raise Unsupported(f"its output_shape is {short(given)}")
    elif call.setting("output_padding") is not None:
        more = call.sizes("output_padding", rank)
        for n, k, stride, extra in zip(call.reader.shape(x)[1:], window, strides, more):
            border = k // 2 if padding == "SAME" else 0
            sizes.append((n - 1) * stride + k - 2 * border + extra if n else 0)
        if 0 in sizes or not all(0 <= extra < stride for extra, stride in zip(more, strides)):
            raise Unsupported(f"its output_padding {more} needs a known size and larger strides")
    bias, linear = _bias(call, 1, shape[-2]), call.fresh("linear")
    nhwc.transposed_conv(
        call.reader,
        x,
        linear,
        Kernel(name, shape, "HW"[-rank:] + "OI"),
        bias,
        strides=strides,
        padding=padding,
        sizes=sizes,
    )
    call.activate(linear, call.setting("activation"), y)


def _pool(call: LayerCall, x: str, y: str) -> None:
    rank = _rank(call)
    window = call.sizes("pool_size", rank, 2)
    strides = call.sizes("strides", rank, window)
    op = "MaxPool" if call.layer.kind.startswith("Max") else "AveragePool"
    padding = call.text("padding", "valid", "valid", "same").upper()
    nhwc.pool(call.reader, op, x, y, window=window, strides=strides, padding=padding)


def _global_pool(call: LayerCall, x: str, y: str) -> None:
    rank = _rank(call)
    if len(call.reader.shape(x)) != rank + 2:
        raise Unsupported(f"its input has {len(call.reader.shape(x))} axes, expected {rank + 2}")
    op = "ReduceMax" if "Max" in call.layer.kind else "ReduceMean"
    axes = call.constant("axes", np.arange(1, rank + 1))
    call.add(op, [x, axes], y, keepdims=int(call.flag("keepdims", False)))


_SIDES = ("top_pad", "bottom_pad", "left_pad", "right_pad")


def _borders(call: LayerCall, key: str) -> list[int]:
    """[before of each axis, then behind], given as a number, one for each axis, or two for each."""
    rank = _rank(call)
    setting = call.setting(key, 1)
    if rank == 1 and isinstance(setting, list):
        setting = [setting]
    if isinstance(setting, Mapping):  # of Keras 1, as a list of four
        sides = ("left_pad", "right_pad") if rank == 1 else _SIDES
        setting = [setting.get(side, 0) for side in sides]
    if rank == 2 and isinstance(setting, list) and len(setting) == 4:
        setting = [setting[:2], setting[2:]]
    each = [setting] * rank if isinstance(setting, int) else setting
    pairs = [[n, n] if isinstance(n, int) else n for n in each if isinstance(n, (int, list))]
    numbers = [n for pair in pairs for n in pair]
    if len(pairs) != rank or len(numbers) != 2 * rank:
        raise Unsupported(f"its {key} is not two numbers for each axis")
    if not all(isinstance(n, int) and 0 <= n < 1 << 31 for n in numbers):
        raise Unsupported(f"its {key} is {numbers}")
    return numbers[::2] + numbers[1::2]


def _zero_padding(call: LayerCall, x: str, y: str) -> None:
    rank = _rank(call)
    pads = _borders(call, "padding")
    both = [0, 0, *pads[:rank], 0, 0, *pads[rank:]]
    call.turned("Pad", x, [call.constant("pads", np.array(both, np.int64))], y)


def _cropping(call: LayerCall, x: str, y: str) -> None:
    rank = _rank(call)
    crops = _borders(call, "cropping")
    # An end of 0 would be the first.
    ends = [-n if n else 1 << 31 for n in crops[rank:]]
    lists = {"starts": crops[:rank], "ends": ends, "axes": list(range(1, rank + 1))}
    names = [call.constant(key, np.array(values, np.int64)) for key, values in lists.items()]
    call.add("Slice", [x, *names], y)


def _enlarge(call: LayerCall, x: str, y: str) -> None:
    scales = call.sizes("size", 2, 2)
    mode = call.text("interpolation", "nearest", "nearest", "bilinear")
    modes = {"nearest": "nearest", "bilinear": "linear"}
    nhwc.resize(call.reader, x, y, scales=[float(n) for n in scales], mode=modes[mode])


def _repeat(call: LayerCall) -> None:
    """UpSampling1D: every step of a row several times."""
    size, shape = call.integer("size", 2), call.reader.shape(call.x)
    if len(shape) != 3 or not 1 <= size < 1 << 16:
        raise Unsupported(f"its size is {size}, its input has {len(shape)} axes")
    lifted, tiled = call.fresh("lifted"), call.fresh("tiled")
    call.add("Unsqueeze", [call.x, call.constant("axes", np.array([2]))], lifted)
    call.add("Tile", [lifted, call.constant("repeats", np.array([1, 1, size, 1]))], tiled)
    target = [0, shape[1] * size or -1, shape[2]]
    call.add("Reshape", [tiled, call.constant("shape", np.array(target))])


def _resizing(call: LayerCall, x: str, y: str) -> None:
    sizes = [call.integer("height"), call.integer("width")]
    mode = call.text("interpolation", "bilinear", "nearest", "bilinear")
    for key in ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias"):
        if call.flag(key, False):
            raise Unsupported(f"{key} is not supported")
    call.setting("fill_mode")
    call.setting("fill_value")
    modes = {"nearest": "nearest", "bilinear": "linear"}
    nhwc.resize(call.reader, x, y, sizes=sizes, mode=modes[mode])


_WINDOWS: dict[str, Callable[[LayerCall, str, str], None]] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "DepthwiseConv1D", "DepthwiseConv2D"), _convolution),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _separable),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose"), _transposed),
    **dict.fromkeys(("MaxPooling1D", "MaxPooling2D"), _pool),
    **dict.fromkeys(("AveragePooling1D", "AveragePooling2D"), _pool),
    **dict.fromkeys(("GlobalMaxPooling1D", "GlobalMaxPooling2D"), _global_pool),
    **dict.fromkeys(("GlobalAveragePooling1D", "GlobalAveragePooling2D"), _global_pool),
    **dict.fromkeys(("ZeroPadding1D", "ZeroPadding2D"), _zero_padding),
    **dict.fromkeys(("Cropping1D", "Cropping2D"), _cropping),
    "UpSampling2D": _enlarge,
    "Resizing": _resizing,
}
RULES: dict[str, Callable[[LayerCall], None]] = {
    **{kind: turning(rule) for kind, rule in _WINDOWS.items()},
    "UpSampling1D": _repeat,
}
