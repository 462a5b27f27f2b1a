"""What Caffe's layers mean, one function for a type; RULES is the table of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph import LONGEST_AXIS, Array, Shape
from ._caffe_weights import Weighted
from ._translator import Unsupported

_SUM, _MAX, _MAX_POOL = 1, 2, 0  # of caffe.proto's enums
_REDUCTIONS = {1: "ReduceSum", 2: "ReduceL1", 3: "ReduceSumSquare", 4: "ReduceMean"}

# The types of `layers`, by number, as `layer` names them.
_V1_TYPES = [
    "None",
    "Accuracy",
    "BNLL",
    "Concat",
    "Convolution",
    "Data",
    "Dropout",
    "EuclideanLoss",
    "Flatten",
    "HDF5Data",
    "HDF5Output",
    "Im2col",
    "ImageData",
    "InfogainLoss",
    "InnerProduct",
    "LRN",
    "MultinomialLogisticLoss",
    "Pooling",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxWithLoss",
    "Split",
    "TanH",
    "WindowData",
    "Eltwise",
    "Power",
    "SigmoidCrossEntropyLoss",
    "HingeLoss",
    "MemoryData",
    "ArgMax",
    "Threshold",
    "DummyData",
    "Slice",
    "MVN",
    "AbsVal",
    "Silence",
    "ContrastiveLoss",
    "Exp",
    "Deconvolution",
]


def layer_type(layer: Any) -> str:
    kind: str | int = layer.type
    return kind if isinstance(kind, str) else _V1_TYPES[kind]


def _pair(param: Any, name: str, short: str, default: int) -> list[int]:
    """[height, width] of a setting given once, once per axis, or as `short`_h and `short`_w."""
    values = getattr(param, name)
    if isinstance(values, int):
        values = [values] if param.HasField(name) else []
    high, wide = f"{short}_h", f"{short}_w"
    has = param.DESCRIPTOR.fields_by_name
    if high in has and (param.HasField(high) or param.HasField(wide)):
        if values:
            raise Unsupported(f"has both {name} and {high} or {wide}")
        values = [getattr(param, key) if param.HasField(key) else default for key in (high, wide)]
    return _per_axis(values, name, default)


def _per_axis(values: Sequence[int], name: str, default: int) -> list[int]:
    if len(values) > 2:
        raise Unsupported(f"has {len(values)} values of {name}; only 2-D windows are supported")
    values = list(values) or [default]
    return values * 2 if len(values) == 1 else values


def _dilations(param: Any) -> list[int]:
    """[height, width] of what forks and Caffe itself call by different names."""
    found = []
    for name in ("dilation", "hole", "kstride"):
        given = len(getattr(param, name, ()))
        for key in (f"{name}_h", f"{name}_w"):
            given += key in param.DESCRIPTOR.fields_by_name and param.HasField(key)
        if given:
            found.append((name, _pair(param, name, name, 1)))
    if len(found) > 1:
        raise Unsupported(f"has both {found[0][0]} and {found[1][0]}")
    return found[0][1] if found else [1, 1]


def _is_channels(axis: int, shape: Shape) -> bool:
    return axis in (1, 1 - len(shape)) and len(shape) > 1


def _axis(axis: int, rank: int) -> int:
    """An axis counted from the first, of a value of `rank` axes."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} does not exist in {rank} axes")
    return axis % rank


def _convolution(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.convolution_param
    kernel = _pair(param, "kernel_size", "kernel", 0)
    pad = _pair(param, "pad", "pad", 0)
    shape = reader.shape(inputs[0])
    if len(shape) != 4 or not _is_channels(param.axis, shape):
        raise Unsupported(
            f"its input has {len(shape)} axes, channels axis {param.axis}; expected an image"
        )
    transposed = layer_type(layer) == "Deconvolution"
    depthwise = layer_type(layer) == "ConvolutionDepthwise"
    group = shape[1] if depthwise else max(param.group, 1)
    filters = param.num_output
    if not filters or 0 in kernel or shape[1] % group or (transposed and filters % group):
        raise Unsupported(
            f"num_output {filters}, kernel {kernel} and group {group} do not fit "
            f"{shape[1]} channels"
        )
    strides, dilations = _pair(param, "stride", "stride", 1), _dilations(param)
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


def _bilinear(reader: Weighted, param: Any, shape: Shape) -> list[Array]:
    """What a layer that was never trained, and is in no caffemodel, is filled with."""
    high, wide = shape[2:]
    if high != wide:
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
    # What stochastic pooling picks at random in training is its average otherwise.
    op = "MaxPool" if param.pool == _MAX_POOL else "AveragePool"
    if len(outputs) == 2 and (op != "MaxPool" or param.global_pooling):
        raise Unsupported("has 2 tops, of which only a MAX pool that is not global has the second")
    if param.global_pooling:
        reader.add(layer.name, f"Global{op}", inputs, outputs)
        return
    window = _Window(
        _pair(param, "kernel_size", "kernel", 0),
        _pair(param, "stride", "stride", 1),
        _pair(param, "pad", "pad", 0),
        _dilations(param),
        _rounds_up(param),
    )
    attrs = window.attrs(op, reader.shape(inputs[0]))
    reader.add(layer.name, op, inputs, outputs[:1], **attrs)
    if len(outputs) == 2:
        if outputs[0] not in reader.shapes:
            raise Unsupported(f"its window {window.kernel} does not fit the input")
        _places(reader, layer, inputs[0], outputs, window)


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
            grown = _joined([reader.shape(part) for part in parts], axis)
            x = reader.part(layer, "Concat", parts, grown, axis=axis)
    first = first_places(reader, layer, pooled[2:], strides, shape[3])
    found = ""
    for row, column in np.ndindex(*kernel):
        begin = (row, column)
        cut = {
            2 + i: (begin[i], begin[i] + (pooled[2 + i] - 1) * strides[i] + 1, strides[i])
            for i in (0, 1)
        }
        less = _less(reader, layer, _section(reader, layer, x, cut), outputs[0])
        lost = _times(reader, layer, reader.part(layer, "Sign", [less]), -whole)
        place = reader.part(layer, "Add", [lost, first])
        place = _plus(reader, layer, place, row * shape[3] + column)
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
    op = "MaxPool" if param.pool == _MAX_POOL else "AveragePool"
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


def _inner_product(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.inner_product_param
    shape = reader.shape(inputs[0])
    if not param.num_output or not _is_channels(param.axis, shape):
        raise Unsupported(f"num_output {param.num_output} or axis {param.axis} is not supported")
    matrix: Shape = (param.num_output, math.prod(shape[1:]))
    stored = matrix[::-1] if param.transpose else matrix
    weight, *bias = reader.blobs(layer, stored, *[(param.num_output,)] * param.bias_term)
    names = [reader.weight(f"{layer.name}.weight", weight, param.transpose)]
    names += [reader.weight(f"{layer.name}.bias", array) for array in bias]
    if len(shape) != 2:
        flat = reader.names.fresh(f"{outputs[0]}.flat")
        reader.add(flat, "Flatten", inputs, [flat], axis=1)
        inputs = [flat]
    reader.add(layer.name, "Gemm", inputs + names, outputs, transB=1)


def _relu(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    slope = layer.relu_param.negative_slope
    if slope == 0:
        reader.add(layer.name, "Relu", inputs, outputs)
    else:
        reader.add(layer.name, "LeakyRelu", inputs, outputs, alpha=slope)


def _absolute(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    reader.add(layer.name, "Abs", inputs, outputs)


def _tanh(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    reader.add(layer.name, "Tanh", inputs, outputs)


def _clip(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    limits = [
        reader.constant(f"{layer.name}.{key}", np.array(getattr(layer.clip_param, key), np.float32))
        for key in ("min", "max")
    ]
    reader.add(layer.name, "Clip", inputs + limits, outputs)


def _sigmoid(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    reader.add(layer.name, "Sigmoid", inputs, outputs)


def _prelu(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    shape = reader.shape(inputs[0])
    if layer.prelu_param.channel_shared:
        (slope,) = reader.blobs(layer, ())
        reader.add(layer.name, "LeakyRelu", inputs, outputs, alpha=float(slope))
        return
    (slope,) = reader.blobs(layer, (channels_of(reader, inputs[0]),))
    wide = slope.reshape(-1, *(1,) * (len(shape) - 2))
    name = reader.constant(f"{layer.name}.slope", wide)
    reader.add(layer.name, "PRelu", [*inputs, name], outputs)


def _elu(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    reader.add(layer.name, "Elu", inputs, outputs, alpha=layer.elu_param.alpha)


def _swish(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    gate = reader.part(layer, "Sigmoid", [_times(reader, layer, inputs[0], layer.swish_param.beta)])
    reader.finish(layer, reader.part(layer, "Mul", [inputs[0], gate]), outputs[0])


def _bnll(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """log(1 + exp(x))"""
    reader.add(layer.name, "Softplus", inputs, outputs)


def _threshold(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """1 where x > threshold, else 0."""
    x = _plus(reader, layer, inputs[0], -layer.threshold_param.threshold)
    x = reader.part(layer, "Sign", [x])
    reader.finish(layer, reader.part(layer, "Relu", [x]), outputs[0])


def _times(reader: Weighted, layer: Any, x: str, factor: float) -> str:
    if factor == 1:
        return x
    return reader.part(layer, "Mul", [x, reader.number(layer, "factor", factor)])


def _plus(reader: Weighted, layer: Any, x: str, term: float) -> str:
    if term == 0:
        return x
    return reader.part(layer, "Add", [x, reader.number(layer, "term", term)])


def _power(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """(shift + scale * x) ^ power"""
    param = layer.power_param
    if param.scale == 0 or param.power == 0:  # Caffe does not look at x then
        with np.errstate(all="ignore"):
            value = float(np.float32(param.shift) ** np.float32(param.power))  # of 0 it is 1
        limit = reader.number(layer, "value", value)
        y = reader.part(layer, "Clip", [inputs[0], limit, limit])
    else:
        x = _times(reader, layer, inputs[0], param.scale)
        y = _raised(reader, layer, _plus(reader, layer, x, param.shift), param.power)
    reader.finish(layer, y, outputs[0])


def _raised(reader: Weighted, layer: Any, x: str, power: float) -> str:
    """x ^ power: by products and square roots, which are exact to the last digit, where few of
    them will do.
    """
    if not math.isfinite(power) or (power == int(power) and abs(power) >= _MOST_POWER):
        raise Unsupported(f"to the power {power:g} is not supported")
    if power < 0:
        y = x if power == -1 else _raised(reader, layer, x, -power)
        return reader.part(layer, "Reciprocal", [y])
    if power * _FRACTIONS != int(power * _FRACTIONS) or power >= _MOST_POWER:
        # Of what is negative this is NaN, as a power that is no integer is.
        scaled = _times(reader, layer, reader.part(layer, "Log", [x]), power)
        return reader.part(layer, "Exp", [scaled])
    factors = []
    square, left = x, int(power)
    while left:
        if left & 1:
            factors.append(square)
        left >>= 1
        if left:
            square = reader.part(layer, "Mul", [square, square])
    root, left = x, int(power * _FRACTIONS) % _FRACTIONS
    while left:
        root = reader.part(layer, "Sqrt", [root])
        left *= 2
        if left >= _FRACTIONS:
            factors.append(root)
            left -= _FRACTIONS
    product = factors[0]
    for factor in factors[1:]:
        product = reader.part(layer, "Mul", [product, factor])
    return product


def _logarithm_of(base: float) -> float:
    """Of the base of an Exp or Log, -1 for e."""
    if base == -1:
        return 1.0
    if not (0 < base < math.inf):
        raise Unsupported(f"base {base:g} is not positive, nor -1 for e")
    return math.log(base)


def _exp(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """base ^ (shift + scale * x)"""
    param = layer.exp_param
    log = _logarithm_of(param.base)
    x = _times(reader, layer, inputs[0], log * param.scale)
    y = reader.part(layer, "Exp", [_plus(reader, layer, x, log * param.shift)])
    reader.finish(layer, y, outputs[0])


def _log(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The logarithm to the base of shift + scale * x."""
    param = layer.log_param
    log = _logarithm_of(param.base)
    if log == 0:
        raise Unsupported("base 1 has no logarithm")
    x = _plus(reader, layer, _times(reader, layer, inputs[0], param.scale), param.shift)
    y = _times(reader, layer, reader.part(layer, "Log", [x]), 1 / log)
    reader.finish(layer, y, outputs[0])


def _eltwise(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.eltwise_param
    if param.coeff and (param.operation != _SUM or len(param.coeff) != len(inputs)):
        raise Unsupported(
            f"has {len(param.coeff)} coefficients; a sum may have one for each bottom"
        )
    if param.operation != _SUM:
        op = "Max" if param.operation == _MAX else "Mul"
        x = inputs[0]
        for index, other in enumerate(inputs[1:], 2):
            y = outputs[0]
            output = y if index == len(inputs) else reader.names.fresh(f"{y}.{op.lower()}{index}")
            reader.add(layer.name if output == y else output, op, [x, other], [output])
            x = output
        return
    terms = list(inputs)
    for index, coeff in enumerate(param.coeff):
        if coeff != 1:
            terms[index] = reader.names.fresh(f"{outputs[0]}.term{index}")
            factor = reader.constant(f"{terms[index]}.mul", np.float32(coeff))
            reader.add(terms[index], "Mul", [inputs[index], factor], [terms[index]])
    reader.add(layer.name, "Sum", terms, outputs)


def _concat(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.concat_param
    old = param.HasField("concat_dim")
    if old and param.HasField("axis"):
        raise Unsupported("has both axis and concat_dim")
    axis = param.concat_dim if old else param.axis
    if len(inputs) == 1:  # Caffe shares the blob, whatever the axis
        reader.add(layer.name, "Identity", inputs, outputs)
        return
    shapes = [reader.shape(x) for x in inputs]
    axis = _axis(axis, len(shapes[0]))
    if axis == 0:
        raise Unsupported("over the batch is not supported")
    reader.add(layer.name, "Concat", inputs, outputs, axis=axis)
    if all(len(shape) == len(shapes[0]) for shape in shapes):
        reader.shapes[outputs[0]] = _joined(shapes, axis)


def _joined(shapes: Sequence[Shape], axis: int) -> Shape:
    size = sum(shape[axis] for shape in shapes)
    return (*shapes[0][:axis], size, *shapes[0][axis + 1 :])


def _slice(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.slice_param
    shape = reader.shape(inputs[0])
    old = param.HasField("slice_dim")
    if old and param.HasField("axis"):
        raise Unsupported("has both axis and slice_dim")
    axis = _axis(param.slice_dim if old else param.axis, len(shape))
    if len(outputs) == 1:  # Caffe shares the blob
        reader.add(layer.name, "Identity", inputs, outputs)
        return
    if axis == 0:
        raise Unsupported("slices of the batch are not supported")
    ends = [*param.slice_point, shape[axis]]
    if not param.slice_point:
        if shape[axis] % len(outputs):
            raise Unsupported(f"{len(outputs)} tops do not divide axis {axis} of {shape[axis]}")
        each = shape[axis] // len(outputs)
        ends = [each * (index + 1) for index in range(len(outputs))]
    sizes = [end - begin for begin, end in zip([0, *ends], ends)]
    if len(sizes) != len(outputs) or min(sizes) < 1:
        raise Unsupported(
            f"slice_point {list(param.slice_point)} does not cut axis {axis} of {shape[axis]} into "
            f"{len(outputs)} parts"
        )
    reader.add(
        layer.name, "Split", [*inputs, reader.integers(layer, "sizes", sizes)], outputs, axis=axis
    )
    for output, size in zip(outputs, sizes):
        reader.shapes[output] = (*shape[:axis], size, *shape[axis + 1 :])


def _crop(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The part of the first bottom that is as large as the second from `axis` on."""
    param = layer.crop_param
    shape, other = (reader.shape(x) for x in inputs)
    first = _axis(param.axis, len(shape))
    axes = list(range(first, len(shape)))
    offsets = list(param.offset)
    if len(offsets) not in (0, 1, len(axes)) or len(other) != len(shape):
        raise Unsupported(
            f"{len(offsets)} values of offset do not fit axes {first} to {len(shape) - 1} of "
            f"bottoms with {len(shape)} and {len(other)} axes"
        )
    if len(offsets) < 2:
        offsets = (offsets or [0]) * len(axes)
    for axis, offset in zip(axes, offsets):
        if offset + other[axis] > shape[axis]:
            raise Unsupported(
                f"offset {offset} and {other[axis]} are more than axis {axis} has, {shape[axis]}"
            )
    if axes[0] == 0:  # the offset is 0, and both have the same number of images
        axes, offsets = axes[1:], offsets[1:]
    if not axes:
        reader.add(layer.name, "Identity", inputs[:1], outputs)
        return
    # By the size that the second bottom has when the model is loaded.
    size = reader.part(layer, "Shape", inputs[1:], start=axes[0])
    begins = reader.integers(layer, "begins", offsets)
    ends = reader.part(layer, "Add", [size, begins])
    sections = [begins, ends, reader.integers(layer, "axes", axes)]
    reader.add(layer.name, "Slice", [inputs[0], *sections], outputs)
    reader.shapes[outputs[0]] = (*shape[: axes[0]], *other[axes[0] :])


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
    total = _plus(reader, layer, _times(reader, layer, around, param.alpha), 1)
    if param.beta:
        factor = _raised(reader, layer, total, -param.beta)
        reader.finish(layer, reader.part(layer, "Mul", [inputs[0], factor]), outputs[0])
    else:
        reader.add(layer.name, "Identity", inputs, outputs)


def _mvn(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """Every channel, or image, less its mean, and divided by its deviation."""
    param = layer.mvn_param
    x, shape = inputs[0], reader.shape(inputs[0])
    first = 1 if param.across_channels else 2
    if len(shape) <= first:
        raise Unsupported(f"of {len(shape)} axes is not supported")
    axes = range(first, len(shape))
    y = _less(reader, layer, x, reduced(reader, layer, "Mean", x, axes))
    if param.normalize_variance:
        square = reader.part(layer, "Mul", [y, y])
        variance = reduced(reader, layer, "Mean", square, axes)
        deviation = _plus(reader, layer, reader.part(layer, "Sqrt", [variance]), param.eps)
        y = reader.part(layer, "Div", [y, deviation], shape)
    reader.finish(layer, y, outputs[0])


def reduced(reader: Weighted, layer: Any, what: str, x: str, axes: Sequence[int]) -> str:
    """A value with these axes as long as one."""
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(reader.shape(x)))
    names = [x, reader.integers(layer, "axes", axes)]
    return reader.part(layer, f"Reduce{what}", names, shape, keepdims=1)


def _less(reader: Weighted, layer: Any, x: str, y: str) -> str:
    return reader.part(layer, "Sub", [x, y], reader.shape(x))


def _reduction(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """All axes from `axis` on become one number, which is gone as an axis, too."""
    param = layer.reduction_param
    shape = reader.shape(inputs[0])
    axis = _axis(param.axis, len(shape))
    if axis < 2:
        raise Unsupported(f"axis {axis}: nothing but the batch would be left")
    axes = reader.integers(layer, "axes", range(axis, len(shape)))
    op = _REDUCTIONS[param.operation]
    y = reader.part(layer, op, [inputs[0], axes], shape[:axis], keepdims=0)
    reader.finish(layer, _times(reader, layer, y, param.coeff), outputs[0], shape[:axis])


def _arg_max(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The place of the largest number along `axis`, or in each image; the last one of several."""
    param = layer.argmax_param
    x, shape = inputs[0], reader.shape(inputs[0])
    if param.top_k != 1:
        raise Unsupported(f"top_k {param.top_k} is not supported, only 1")
    axis, count = 1, math.prod(shape[1:])
    if param.HasField("axis"):
        axis = _axis(param.axis, len(shape))
        count = shape[axis]
        if axis == 0:
            raise Unsupported("over the batch is not supported")
    elif len(shape) != 2:
        x = reader.part(layer, "Flatten", [x], axis=1)
    if count > _MOST_PLACES or count < 1:  # of which each has its number as a constant
        raise Unsupported(f"of {count} numbers is not supported, at most {_MOST_PLACES}")
    largest = reduced(reader, layer, "Max", x, [axis])
    found = [largest] if param.out_max_val else []
    if not (param.HasField("axis") and param.out_max_val):
        # A number's place, less more than there are places where it is not the largest.
        rest = len(reader.shape(x)) - 1 - axis
        if axis + rest > 3:
            raise Unsupported(f"the place along an axis of {axis + rest + 1} is not supported")
        reader.spend(count)
        places = np.arange(count, dtype=np.float32).reshape(-1, *(1,) * rest)
        gap = reader.part(layer, "Sub", [x, largest], reader.shape(x))
        lost = _times(reader, layer, reader.part(layer, "Sign", [gap]), count)
        place = reader.part(layer, "Add", [lost, reader.constant(f"{layer.name}.places", places)])
        found.insert(0, reduced(reader, layer, "Max", place, [axis]))
    y = found[0] if len(found) == 1 else reader.part(layer, "Concat", found, axis=1)
    if not param.HasField("axis"):
        target = (shape[0], len(found), *(1,) * max(1, len(shape) - 2))
        y = reader.part(layer, "Reshape", [y, reader.integers(layer, "shape", target)], target)
    reader.finish(layer, y, outputs[0])


def _tile(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.tile_param
    if not 1 <= param.tiles <= _MOST_TILES:
        raise Unsupported(f"tiles {param.tiles} is not 1 to {_MOST_TILES}")
    if param.tiles == 1:
        _identity(reader, layer, inputs, outputs)
    else:
        shape = reader.shape(inputs[0])
        axis = _axis(param.axis, len(shape))
        reader.add(layer.name, "Concat", inputs * param.tiles, outputs, axis=axis)
        reader.shapes[outputs[0]] = _joined([shape] * param.tiles, axis)


def _softmax(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    reader.add(layer.name, "Softmax", inputs, outputs, axis=layer.softmax_param.axis)


def _identity(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    for output in outputs:
        reader.add(layer.name, "Identity", inputs, [output])


def passes_on(layer: Any, kind: str) -> bool:
    """Whether a layer hands its input on as it is."""
    return kind == "Split" or (kind == "Dropout" and layer.dropout_param.scale_train)


def _dropout(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    if passes_on(layer, "Dropout"):
        _identity(reader, layer, inputs, outputs)
        return
    # Forks that did not scale in training make up for it here.
    kept = np.float32(1 - layer.dropout_param.dropout_ratio)
    factor = reader.constant(f"{layer.name}.kept", kept)
    reader.add(layer.name, "Mul", [*inputs, factor], outputs)


def _flatten(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    shape = reader.shape(inputs[0])
    param = getattr(layer, "flatten_param", None)  # `layers` have none
    axes = (param.axis, param.end_axis) if param else (1, -1)
    first, last = (axis + len(shape) if axis < 0 else axis for axis in axes)
    if not 1 <= first <= last < len(shape):
        raise Unsupported(f"axes {first} to {last} of {len(shape)} cannot be joined")
    reshaped(
        reader,
        layer,
        inputs,
        outputs,
        [*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]],
    )


def _reshape(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.reshape_param
    shape = reader.shape(inputs[0])
    start = param.axis if param.axis >= 0 else len(shape) + param.axis + 1
    end = len(shape) if param.num_axes == -1 else start + param.num_axes
    if not 0 <= start <= end <= len(shape):
        raise Unsupported(
            f"axis {param.axis} and num_axes {param.num_axes} do not fit {len(shape)} axes"
        )
    new = list(param.shape.dim)
    for index, size in enumerate(new):
        if size == 0:
            if start + index >= len(shape):
                raise Unsupported(f"copies axis {start + index}, its input has {len(shape)}")
            new[index] = shape[start + index]
    reshaped(reader, layer, inputs, outputs, [*shape[:start], *new, *shape[end:]])


def reshaped(
    reader: Weighted, layer: Any, inputs: list[str], outputs: list[str], target: list[int]
) -> None:
    """Under another shape, one of whose sizes may be -1. A batch that the prototxt writes as a
    number is the batch still, of any size, where it stays apart.
    """
    shape, sizes = reader.shape(inputs[0]), reader.sizes(inputs[0])
    new = [n or sizes[0] for n in target]
    total, known = math.prod(sizes), math.prod(n for n in new if n != -1)
    if new.count(-1) == 1 and known > 0 and total % known == 0:
        new[new.index(-1)] = total // known
    if min(new, default=0) < 1 or math.prod(new) != total:
        raise Unsupported(f"{list(sizes)} cannot become {target}")
    if max(new) >= LONGEST_AXIS:
        raise Unsupported(f"its output is too large: {new}")
    apart = shape[0] == 0 and new[0] == sizes[0]
    written = [0 if apart else target[0] or new[0], *(n or sizes[0] for n in target[1:])]
    name = reader.integers(layer, "shape", written)
    reader.add(layer.name, "Reshape", [*inputs, name], outputs)
    reader.shapes[outputs[0]] = (0 if apart else new[0], *new[1:])


def normalized(
    reader: Weighted, layer: Any, inputs: list[str], outputs: list[str], **parameters: Any
) -> None:
    """BatchNormalization with the arrays scale, bias, mean, variance in this order, and epsilon."""
    epsilon = parameters.pop("epsilon")
    names = [reader.constant(f"{layer.name}.{what}", array) for what, array in parameters.items()]
    reader.add(layer.name, "BatchNormalization", inputs + names, outputs, epsilon=epsilon)


def channels_of(reader: Weighted, x: str, param: Any = None) -> int:
    """Size of axis 1, the only one the parameters of a layer may belong to."""
    shape = reader.shape(x)
    if len(shape) < 2 or (param and not (_is_channels(param.axis, shape) and param.num_axes == 1)):
        raise Unsupported("only parameters per channel (axis 1) are supported")
    return shape[1]


def _batch_norm(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.batch_norm_param
    if not param.use_global_stats:
        raise Unsupported("use_global_stats: false (statistics of the batch) is not supported")
    c = channels_of(reader, inputs[0])
    mean, variance, factor = reader.blobs(layer, (c,), (c,), (1,))
    # The blobs are running sums; the third says of how much weight.
    scale = 1 / float(factor[0]) if factor[0] else 0.0
    normalized(
        reader,
        layer,
        inputs,
        outputs,
        scale=np.ones(c),
        bias=np.zeros(c),
        mean=mean.astype(np.float64) * scale,
        variance=variance.astype(np.float64) * scale,
        epsilon=param.eps,
    )


def _beside(reader: Weighted, layer: Any, inputs: list[str], axis: int) -> str:
    """The second bottom, whose axes are those of the first from `axis` on, with as many axes."""
    shape, other = (reader.shape(name) for name in inputs)
    if axis not in (0, -len(shape)) or shape[: len(other)] != other:
        raise Unsupported(
            f"its bottoms of {list(shape)} and {list(other)} from axis {axis} are not supported; "
            "the second has to begin with the first's axes, the batch included"
        )
    if len(other) == len(shape):
        return inputs[1]
    wide = reader.names.fresh(f"{layer.name}.wide")
    target = [*other, *(1,) * (len(shape) - len(other))]
    reshaped(reader, layer, inputs[1:], [wide], target)
    return wide


def _scale(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.scale_param
    if len(inputs) == 2:
        if param.bias_term:
            raise Unsupported("a bias_term beside two bottoms is not supported")
        factor = _beside(reader, layer, inputs, param.axis)
        reader.add(layer.name, "Mul", [inputs[0], factor], outputs)
        return
    c = channels_of(reader, inputs[0], param)
    scale, *bias = reader.blobs(layer, (c,), *[(c,)] * param.bias_term)
    normalized(
        reader,
        layer,
        inputs,
        outputs,
        scale=scale,
        bias=bias[0] if bias else np.zeros(c),
        mean=np.zeros(c),
        variance=np.ones(c),
        epsilon=0.0,
    )


def _bias(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    if len(inputs) == 2:
        other = _beside(reader, layer, inputs, layer.bias_param.axis)
        reader.add(layer.name, "Add", [inputs[0], other], outputs)
        return
    c = channels_of(reader, inputs[0], layer.bias_param)
    (bias,) = reader.blobs(layer, (c,))
    ones = (1,) * (len(reader.shape(inputs[0])) - 2)
    name = reader.constant(f"{layer.name}.bias", bias.reshape(c, *ones))
    reader.add(layer.name, "Add", [*inputs, name], outputs)


_MOST_TILES = 4096  # each is a part of a concatenation
_MOST_LEVELS = 16  # of a pyramid, each of twice as many windows a side
_MOST_PHASES = 64
_MOST_PLACES = 1 << 24  # integers that a float32 tells apart
_FRACTIONS = 16  # a power that is no multiple of their inverse is computed by its logarithm
_MOST_POWER = 1 << 20


class Rule(NamedTuple):
    """How a type of layer is translated, and how many bottoms and tops it may have."""

    translate: Callable[[Weighted, Any, list[str], list[str]], None]
    bottoms: tuple[int, int] = (1, 1)
    tops: tuple[int, int] = (1, 1)
    pairs: bool = False  # whether it has a top for each bottom


CONVOLUTION = Rule(_convolution, (1, 64), (1, 64), pairs=True)

RULES: dict[str, Rule] = {
    "AbsVal": Rule(_absolute),
    "ArgMax": Rule(_arg_max),
    "BatchNorm": Rule(_batch_norm),
    "Bias": Rule(_bias, (1, 2)),
    "BNLL": Rule(_bnll),
    "Clip": Rule(_clip),
    "Concat": Rule(_concat, (1, 1 << 16)),
    "Convolution": CONVOLUTION,
    "Crop": Rule(_crop, (2, 2)),
    "Deconvolution": CONVOLUTION,
    "Dropout": Rule(_dropout),
    "Eltwise": Rule(_eltwise, (2, 64)),
    "ELU": Rule(_elu),
    "Exp": Rule(_exp),
    "Flatten": Rule(_flatten),
    "InnerProduct": Rule(_inner_product),
    "Log": Rule(_log),
    "LRN": Rule(_lrn),
    "MVN": Rule(_mvn),
    "Pooling": Rule(_pooling, (1, 1), (1, 2)),
    "Power": Rule(_power),
    "PReLU": Rule(_prelu),
    "Reduction": Rule(_reduction),
    "ReLU": Rule(_relu),
    "Reshape": Rule(_reshape),
    "Scale": Rule(_scale, (1, 2)),
    "Sigmoid": Rule(_sigmoid),
    "Slice": Rule(_slice, (1, 1), (1, 1 << 16)),
    "Softmax": Rule(_softmax),
    "Split": Rule(_identity, (1, 1), (1, 1 << 16)),
    "SPP": Rule(_spp),
    "Swish": Rule(_swish),
    "TanH": Rule(_tanh),
    "Threshold": Rule(_threshold),
    "Tile": Rule(_tile),
}
