"""What Caffe's layers of windows mean: convolutions, pools, LRN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph import LONGEST_AXIS, Array, Shape
from ._caffe_functions import is_channels, plus, raised, times
from ._caffe_layers import difference, joined, layer_type
from ._caffe_weights import Rule, Weighted
from ._translator import Unsupported

_MAX, _STOCHASTIC = 0, 2  # of PoolMethod
_MOST_LEVELS = 16  # of a pyramid, each of twice as many windows a side
_MOST_PHASES = 64
_MOST_PLACES = 1 << 24  # integers that a float32 tells apart


def _pair(param: Any, name: str, short: str, default: int, axes: int = 2) -> list[int]:
    """[height, width] of a setting given once, once per axis, or as `short`_h and `short`_w;
    [width] of rows.
    """
    values = getattr(param, name)
    if isinstance(values, int):
        values = [values] if param.HasField(name) else []
    high, wide = f"{short}_h", f"{short}_w"
    has = param.DESCRIPTOR.fields_by_name
    if high in has and (param.HasField(high) or param.HasField(wide)):
        if values:
            raise Unsupported(f"has both {name} and {high} or {wide}")
        values = [getattr(param, key) if param.HasField(key) else default for key in (high, wide)]
    if len(values) not in (0, 1, axes):
        raise Unsupported(f"has {len(values)} values of {name}, expected 1 or {axes}")
    values = list(values) or [default]
    return values * axes if len(values) == 1 else values


def _dilations(param: Any, axes: int = 2) -> list[int]:
    """[height, width] of what forks and Caffe itself call by different names."""
    found = []
    for name in ("dilation", "hole", "kstride"):
        given = len(getattr(param, name, ()))
        for key in (f"{name}_h", f"{name}_w"):
            given += key in param.DESCRIPTOR.fields_by_name and param.HasField(key)
        if given:
            found.append((name, _pair(param, name, name, 1, axes)))
    if len(found) > 1:
        raise Unsupported(f"has both {found[0][0]} and {found[1][0]}")
    return found[0][1] if found else [1] * axes


def _convolution(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param, shape = layer.convolution_param, reader.shape(inputs[0])
    axes = len(shape) - 2
    if axes not in (1, 2) or not is_channels(param.axis, shape):
        raise Unsupported(
            f"its input has {len(shape)} axes, channels axis {param.axis}; expected an image or a "
            "row of each channel"
        )
    kernel = _pair(param, "kernel_size", "kernel", 0, axes)
    pad = _pair(param, "pad", "pad", 0, axes)
    transposed = layer_type(layer) == "Deconvolution"
    depthwise = layer_type(layer) == "ConvolutionDepthwise"
    group = shape[1] if depthwise else max(param.group, 1)
    filters = param.num_output
    if not filters or 0 in kernel or shape[1] % group or (transposed and filters % group):
        raise Unsupported(
            f"num_output {filters}, kernel {kernel} and group {group} do not fit "
            f"{shape[1]} channels"
        )
    strides, dilations = _pair(param, "stride", "stride", 1, axes), _dilations(param, axes)
    attrs = {
        "kernel_shape": kernel,
        "strides": strides,
        "pads": pad * 2,
        "dilations": dilations,
        "group": group,
    }
    op, weight_shape, size = "Conv", (filters, shape[1] // group, *kernel), None
    if transposed:
        op, weight_shape = "ConvTranspose", (shape[1], filters // group, *kernel)
        sizes = [
            stride * (n - 1) + dilation * (k - 1) + 1 - 2 * border
            for n, k, stride, dilation, border in zip(shape[2:], kernel, strides, dilations, pad)
        ]
        if min(sizes) < 1 or max(sizes) >= LONGEST_AXIS:
            raise Unsupported(f"its output would have height and width {sizes}")
        size = (shape[0], filters, *sizes)
    if transposed and param.weight_filler.type == "bilinear" and not reader.trained(layer):
        arrays = _bilinear(reader, param, weight_shape)
    else:
        arrays = reader.blobs(layer, weight_shape, *[(filters,)] * param.bias_term)
    names = [reader.weight(f"{layer.name}.{w}", a) for w, a in zip(("weight", "bias"), arrays)]
    for x, y in zip(inputs, outputs):  # any number, with the same weights
        if reader.shape(x) != shape:
            raise Unsupported(f"its bottoms have shapes {list(shape)} and {list(reader.shape(x))}")
        reader.add(layer.name if x == inputs[0] else y, op, [x, *names], [y], **attrs)
        if size:
            reader.shapes[y] = size


def _im2col(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The numbers of each window as channels: a convolution that takes them as they are."""
    param = layer.convolution_param
    kernel, shape = _pair(param, "kernel_size", "kernel", 0), reader.shape(inputs[0])
    if len(shape) != 4 or not is_channels(param.axis, shape) or 0 in kernel:
        raise Unsupported(f"its input has {len(shape)} axes, its kernel is {kernel}")
    taps = math.prod(kernel)
    reader.spend(shape[1] * taps * taps)
    weights = np.tile(np.eye(taps, dtype=np.float32), (shape[1], 1)).reshape(-1, 1, *kernel)
    attrs = {
        "kernel_shape": kernel,
        "strides": _pair(param, "stride", "stride", 1),
        "pads": _pair(param, "pad", "pad", 0) * 2,
        "dilations": _dilations(param),
        "group": shape[1],
    }
    name = reader.constant(f"{layer.name}.weight", weights)
    reader.add(layer.name, "Conv", [*inputs, name], outputs, **attrs)


def _bilinear(reader: Weighted, param: Any, shape: Shape) -> list[Array]:
    """What a layer that was never trained, and is in no caffemodel, is filled with."""
    high, wide = shape[2], shape[-1]
    if len(shape) != 4 or high != wide:
        raise Unsupported(f"its bilinear weights have a kernel of {high}x{wide}, expected a square")
    reader.spend(math.prod(shape) + wide * wide)
    if param.bias_term and param.bias_filler.type != "constant":
        raise Unsupported("has no weights in the caffemodel, and its bias_filler is not constant")
    half = -(-wide // 2)
    line = 1 - np.abs(np.arange(wide) / half - (wide - 1) / (2 * half))
    weights = np.broadcast_to(np.outer(line, line).astype(np.float32), shape)
    bias = np.full(param.num_output, param.bias_filler.value, np.float32)
    return [np.ascontiguousarray(weights), bias][: 1 + param.bias_term]


def _pooling(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.pooling_param
    op = "MaxPool" if param.pool == _MAX else "AveragePool"
    if len(outputs) == 2 and (op != "MaxPool" or param.global_pooling):
        raise Unsupported("has 2 tops, of which only a MAX pool that is not global has the second")
    if param.global_pooling:
        attrs: dict[str, Any] = {}
        op = f"Global{op}"
    else:
        window = _pool_window(param)
        attrs = window.attrs(op, reader.shape(inputs[0]))
    if param.pool == _STOCHASTIC:
        if not param.global_pooling and any(window.pad):
            raise Unsupported("pad is not supported for a STOCHASTIC pool, nor is it in Caffe")
        y = _weighted_average(reader, layer, inputs[0], op, attrs)
        reader.finish(layer, y, outputs[0])
        return
    reader.add(layer.name, op, inputs, outputs[:1], **attrs)
    if len(outputs) == 2:
        if outputs[0] not in reader.shapes:
            raise Unsupported(f"its window {window.kernel} does not fit the input")
        _places(reader, layer, inputs[0], outputs, window)


def _weighted_average(reader: Weighted, layer: Any, x: str, op: str, attrs: dict[str, Any]) -> str:
    """What a STOCHASTIC pool is once it is trained: every number weighs as much as it is, and 0
    where their sum is not positive. (On CPUs Caffe itself has not implemented it.)
    """
    mean = reader.part(layer, op, [x], **attrs)
    square = reader.part(layer, op, [reader.part(layer, "Mul", [x, x])], **attrs)
    positive = reader.part(layer, "Relu", [reader.part(layer, "Sign", [mean])])
    least = reader.number(layer, "least", float(np.finfo(np.float32).tiny))
    divisor = reader.part(layer, "Max", [mean, least])
    weighted = reader.part(layer, "Mul", [square, positive])
    return reader.part(layer, "Div", [weighted, divisor])


def _pool_window(param: Any) -> _Window:
    return _Window(
        _pair(param, "kernel_size", "kernel", 0),
        _pair(param, "stride", "stride", 1),
        _pair(param, "pad", "pad", 0),
        _dilations(param),
        _rounds_up(param),
    )


def _places(reader: Weighted, layer: Any, x: str, outputs: Sequence[str], window: _Window) -> None:
    """The second top of a pool: where each of the first was found, as row * width + column, and
    the first of several that are as large.
    """
    kernel, strides = window.kernel, window.strides
    shape, pooled = reader.shape(x), reader.shape(outputs[0])
    whole = math.prod(shape[2:])
    if any(window.pad) or max(window.dilations) > 1 or math.prod(kernel) > _MOST_PHASES:
        raise Unsupported(
            f"the places of a pool with kernel {kernel}, pad {window.pad} and dilation "
            f"{window.dilations} are not supported"
        )
    if 2 * whole > _MOST_PLACES:
        raise Unsupported(f"{shape[2]}x{shape[3]} are more places than a float tells apart")
    x = pinned(reader, layer, x)
    for axis in (2, 3):
        # The last row again where a window reaches beyond it: the row itself comes first.
        missing = (pooled[axis] - 1) * strides[axis - 2] + kernel[axis - 2] - shape[axis]
        if missing > 0:
            last = _section(reader, layer, x, {axis: (shape[axis] - 1, shape[axis], 1)})
            parts = [x, *[last] * missing]
            grown = joined([reader.shape(part) for part in parts], axis)
            x = reader.part(layer, "Concat", parts, grown, axis=axis)
    first = first_places(reader, layer, pooled[2:], strides, shape[3])
    found = ""
    for row, column in np.ndindex(*kernel):
        begin = (row, column)
        cut = {
            2 + i: (begin[i], begin[i] + (pooled[2 + i] - 1) * strides[i] + 1, strides[i])
            for i in (0, 1)
        }
        less = difference(reader, layer, _section(reader, layer, x, cut), outputs[0])
        lost = times(reader, layer, reader.part(layer, "Sign", [less]), -whole)
        place = reader.part(layer, "Add", [lost, first])
        place = plus(reader, layer, place, row * shape[3] + column)
        found = reader.part(layer, "Min", [found, place], pooled) if found else place
    reader.finish(layer, found, outputs[1], pooled)
    if kernel == strides:
        reader.places[outputs[1]] = (strides, shape[2:])


def first_places(
    reader: Weighted, layer: Any, size: Shape, strides: Sequence[int], width: int
) -> str:
    """Name of a constant: row * width + column of the first number of each window."""
    reader.spend(math.prod(size))
    rows = np.arange(size[0]) * strides[0]
    columns = np.arange(size[1]) * strides[1]
    places = (rows[:, None] * width + columns).astype(np.float32)[None]
    return reader.constant(f"{layer.name}.places", places)


def _section(reader: Weighted, layer: Any, x: str, cut: dict[int, tuple[int, int, int]]) -> str:
    """What is left of a value after (begin, end, step) of some of its axes."""
    shape = list(reader.shape(x))
    for axis, (begin, end, step) in cut.items():
        shape[axis] = -(-(end - begin) // step)
    lists = [list(values) for values in zip(*cut.values())]
    begins, ends, steps = (
        reader.integers(layer, what, values)
        for what, values in zip(("begins", "ends", "steps"), lists)
    )
    axes = reader.integers(layer, "axes", list(cut))
    return reader.part(layer, "Slice", [x, begins, ends, axes, steps], tuple(shape))


class _Window(NamedTuple):
    """Of a pool, [height, width] each."""

    kernel: list[int]
    strides: list[int]
    pad: list[int]
    dilations: list[int]
    ceil_mode: bool

    def attrs(self, op: str, shape: Shape) -> dict[str, Any]:
        """The attributes of the operator that pools as Caffe does."""
        kernel, strides, pad, dilations, ceil_mode = self
        if 0 in kernel or 0 in strides or 0 in dilations:
            raise Unsupported(f"kernel {kernel} and stride {strides} have to be positive")
        kernel = list(kernel)
        for axis, (size, stride, dilation) in enumerate(zip(shape[2:], strides, dilations)):
            room = size + 2 * pad[axis] - dilation * (kernel[axis] - 1) - 1
            if ceil_mode and -stride < room < 0 and dilation == 1:
                kernel[axis] += room  # one window, which Caffe cuts where the padded image ends
            # Only if there is padding does Caffe drop a window that would start outside the image.
            if ceil_mode and not any(pad) and room >= 0 and size <= -(-room // stride) * stride:
                raise Unsupported(
                    "its last window lies outside the image, what Caffe computes there is undefined"
                )
        attrs = {
            "kernel_shape": kernel,
            "strides": strides,
            "pads": pad * 2,
            "dilations": dilations,
            "ceil_mode": int(ceil_mode),
        }
        if op == "AveragePool":
            attrs["count_include_pad"] = 1
        return attrs


def _spp(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """Pools to 1, 2, 4, ... windows a side, one vector after the other; a single level stays an
    image.
    """
    param = layer.spp_param
    x, shape = inputs[0], reader.shape(inputs[0])
    if len(shape) != 4 or not 1 <= param.pyramid_height <= _MOST_LEVELS:
        raise Unsupported(
            f"pyramid_height {param.pyramid_height} of {len(shape)} axes; expected 1 to "
            f"{_MOST_LEVELS}, of an image"
        )
    op = "MaxPool" if param.pool == _MAX else "AveragePool"
    levels = []
    for level in range(param.pyramid_height):
        bins = 1 << level
        kernel = [-(-n // bins) for n in shape[2:]]
        pad = [(k * bins - n + 1) // 2 for k, n in zip(kernel, shape[2:])]
        if any(p >= k for p, k in zip(pad, kernel)):
            raise Unsupported(f"{bins} windows a side do not fit {shape[2]}x{shape[3]}")
        window = _Window(kernel, kernel, pad, [1, 1], True)
        y = reader.part(layer, op, [pinned(reader, layer, x)], **window.attrs(op, shape))
        if param.pyramid_height > 1:
            y = reader.part(layer, "Flatten", [y], axis=1)
        levels.append(y)
    if len(levels) > 1:
        y = reader.part(layer, "Concat", levels, axis=1)
    reader.finish(layer, y, outputs[0])


def pinned(reader: Weighted, layer: Any, x: str) -> str:
    """`x` as it is, but an error if it has another size than the prototxt says, of which the layer
    is made.
    """
    return reader.part(
        layer, "Reshape", [x, reader.integers(layer, "size", reader.shape(x))], reader.shape(x)
    )


def _rounds_up(param: Any) -> bool:
    """Whether a pool's last window may reach beyond the image, as Caffe's always did; some forks
    can choose, in two words.
    """
    rounds_up: bool = not param.round_mode
    if param.HasField("ceil_mode"):
        if param.HasField("round_mode") and rounds_up != param.ceil_mode:
            raise Unsupported("its round_mode and ceil_mode contradict each other")
        rounds_up = param.ceil_mode
    return rounds_up


def _lrn(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.lrn_param
    if param.local_size % 2 == 0:
        raise Unsupported(f"its local_size is {param.local_size}, which has no centre")
    if not param.norm_region:
        attrs = {"size": param.local_size, "alpha": param.alpha, "beta": param.beta}
        reader.add(layer.name, "LRN", inputs, outputs, **attrs, bias=param.k)
        return
    # Within a channel; k is not looked at, and the average counts the padding.
    size, pad = [param.local_size] * 2, [param.local_size // 2] * 2
    attrs = _Window(size, [1, 1], pad, [1, 1], False).attrs("AveragePool", reader.shape(inputs[0]))
    square = reader.part(layer, "Mul", inputs * 2)
    around = reader.part(layer, "AveragePool", [square], **attrs)
    total = plus(reader, layer, times(reader, layer, around, param.alpha), 1)
    if param.beta:
        factor = raised(reader, layer, total, -param.beta)
        reader.finish(layer, reader.part(layer, "Mul", [inputs[0], factor]), outputs[0])
    else:
        reader.add(layer.name, "Identity", inputs, outputs)


CONVOLUTION = Rule(_convolution, (1, 64), (1, 64), pairs=True)

RULES: dict[str, Rule] = {
    "Convolution": CONVOLUTION,
    "Deconvolution": CONVOLUTION,
    "Im2col": Rule(_im2col),
    "LRN": Rule(_lrn),
    "Pooling": Rule(_pooling, (1, 1), (1, 2)),
    "SPP": Rule(_spp),
}
