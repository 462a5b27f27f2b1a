"""What Caffe's layers mean, one function for a type; RULES is the table of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph import LONGEST_AXIS, Shape
from ._caffe_weights import Weighted
from ._translator import Unsupported

_SUM, _MAX, _MAX_POOL, _INFERENCE = 1, 2, 0, 1  # of caffe.proto's enums


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


def _convolution(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.convolution_param
    kernel = _pair(param, "kernel_size", "kernel", 0)
    pad = _pair(param, "pad", "pad", 0)
    shape = reader.shape(inputs[0])
    if len(shape) != 4 or not _is_channels(param.axis, shape):
        raise Unsupported(
            f"its input has {len(shape)} axes, channels axis {param.axis}; expected an image"
        )
    group = shape[1] if layer.type == "ConvolutionDepthwise" else max(param.group, 1)
    if not param.num_output or 0 in kernel or shape[1] % group:
        raise Unsupported(
            f"num_output {param.num_output}, kernel {kernel} and group {group} do not fit "
            f"{shape[1]} channels"
        )
    weight_shape = (param.num_output, shape[1] // group, *kernel)
    attrs = {
        "kernel_shape": kernel,
        "strides": _pair(param, "stride", "stride", 1),
        "pads": pad * 2,
        "dilations": _dilations(param),
        "group": group,
    }
    arrays = reader.blobs(layer, weight_shape, *[(param.num_output,)] * param.bias_term)
    names = [reader.weight(f"{layer.name}.{w}", a) for w, a in zip(("weight", "bias"), arrays)]
    for x, y in zip(inputs, outputs):  # any number, with the same weights
        if reader.shape(x) != shape:
            raise Unsupported(f"its bottoms have shapes {list(shape)} and {list(reader.shape(x))}")
        reader.add(layer.name if x == inputs[0] else y, "Conv", [x, *names], [y], **attrs)


def _pooling(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.pooling_param
    # What stochastic pooling picks at random in training is its average otherwise.
    op = "MaxPool" if param.pool == _MAX_POOL else "AveragePool"
    if param.global_pooling:
        reader.add(layer.name, f"Global{op}", inputs, outputs)
        return
    kernel = _pair(param, "kernel_size", "kernel", 0)
    strides = _pair(param, "stride", "stride", 1)
    pad = _pair(param, "pad", "pad", 0)
    dilations = _dilations(param)
    if 0 in kernel or 0 in strides or 0 in dilations:
        raise Unsupported(f"kernel {kernel} and stride {strides} have to be positive")
    ceil_mode = _rounds_up(param)
    for axis, (size, stride, dilation) in enumerate(
        zip(reader.shape(inputs[0])[2:], strides, dilations)
    ):
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
    reader.add(layer.name, op, inputs, outputs, **attrs)


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


def _relu6(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    limits = [
        reader.constant(f"{layer.name}.{key}", np.float32(limit))
        for key, limit in (("min", 0), ("max", 6))
    ]
    reader.add(layer.name, "Clip", inputs + limits, outputs)


def _with_number(reader: Weighted, op: str, x: str, number: float, output: str) -> None:
    constant = reader.constant(f"{output}.{op.lower()}", np.float32(number))
    reader.add(output, op, [x, constant], [output])


def _power(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """(shift + scale * x) ^ power"""
    param = layer.power_param
    steps = [("Mul", param.scale), ("Add", param.shift), ("Pow", param.power)]
    steps = [(op, number) for op, number in steps if number != (0 if op == "Add" else 1)]
    (x,), (y,) = inputs, outputs
    for index, (op, number) in enumerate(steps, 1):
        output = y if index == len(steps) else reader.names.fresh(f"{y}.{op.lower()}ed")
        _with_number(reader, op, x, number, output)
        x = output
    if not steps:
        _identity(reader, layer, inputs, outputs)


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
            _with_number(reader, "Mul", inputs[index], coeff, terms[index])
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
    reader.add(layer.name, "Concat", inputs, outputs, axis=axis)


def _lrn(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.lrn_param
    if param.norm_region:
        raise Unsupported("the norm_region WITHIN_CHANNEL is not supported")
    if param.local_size % 2 == 0:
        raise Unsupported(f"its local_size is {param.local_size}, which has no centre")
    attrs = {"size": param.local_size, "alpha": param.alpha, "beta": param.beta, "bias": param.k}
    reader.add(layer.name, "LRN", inputs, outputs, **attrs)


def _tile(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.tile_param
    if not 1 <= param.tiles <= _MOST_TILES:
        raise Unsupported(f"tiles {param.tiles} is not 1 to {_MOST_TILES}")
    if param.tiles == 1:
        _identity(reader, layer, inputs, outputs)
    else:
        reader.add(layer.name, "Concat", inputs * param.tiles, outputs, axis=param.axis)


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
    _reshape_to(
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
    _reshape_to(reader, layer, inputs, outputs, [*shape[:start], *new, *shape[end:]])


def _permute(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """Axes in another order; those not named follow as they are."""
    order, rank = list(layer.permute_param.order), len(reader.shape(inputs[0]))
    order += [axis for axis in range(rank) if axis not in order]
    if sorted(order) != list(range(rank)):
        raise Unsupported(f"order {order} is not one of {rank} axes")
    reader.add(layer.name, "Transpose", inputs, outputs, perm=order)


def _shuffle_channel(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """Channels of all groups in turn: the first of each, the second of each, ..."""
    shape, group = reader.shape(inputs[0]), layer.shuffle_channel_param.group
    if len(shape) != 4 or not group or shape[1] % group:
        raise Unsupported(f"group {group} does not divide the channels of {list(shape)}")
    apart, turned = (reader.names.fresh(f"{outputs[0]}.{what}") for what in ("apart", "turned"))
    parts = [0, group, shape[1] // group, *shape[2:]]
    target = reader.constant(f"{apart}.shape", np.array(parts, np.int64))
    reader.add(apart, "Reshape", [inputs[0], target], [apart])
    reader.add(turned, "Transpose", [apart], [turned], perm=[0, 2, 1, 3, 4])
    _reshape_to(reader, layer, [turned], outputs, list(shape))


def _reshape_to(
    reader: Weighted, layer: Any, inputs: list[str], outputs: list[str], target: list[int]
) -> None:
    if 0 in target[1:]:
        raise Unsupported("moves the batch to another axis")
    if max(target) >= LONGEST_AXIS:
        raise Unsupported(f"its output is too large: {target}")
    name = reader.constant(f"{outputs[0]}.shape", np.array(target, np.int64))
    reader.add(layer.name, "Reshape", [*inputs, name], outputs)


def _normalize(
    reader: Weighted, layer: Any, inputs: list[str], outputs: list[str], **parameters: Any
) -> None:
    """BatchNormalization with the arrays scale, bias, mean, variance in this order, and epsilon."""
    epsilon = parameters.pop("epsilon")
    names = [reader.constant(f"{layer.name}.{what}", array) for what, array in parameters.items()]
    reader.add(layer.name, "BatchNormalization", inputs + names, outputs, epsilon=epsilon)


def _channels(reader: Weighted, x: str, param: Any = None) -> int:
    """Size of axis 1, the only one the parameters of a layer may belong to."""
    shape = reader.shape(x)
    if len(shape) < 2 or (param and not (_is_channels(param.axis, shape) and param.num_axes == 1)):
        raise Unsupported("only parameters per channel (axis 1) are supported")
    return shape[1]


def _batch_norm(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.batch_norm_param
    if not param.use_global_stats:
        raise Unsupported("use_global_stats: false (statistics of the batch) is not supported")
    c = _channels(reader, inputs[0])
    mean, variance, factor = reader.blobs(layer, (c,), (c,), (1,))
    # The blobs are running sums; the third says of how much weight.
    scale = 1 / float(factor[0]) if factor[0] else 0.0
    _normalize(
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


def _bn(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The BN of forks: SegNet's is folded to a factor and a summand for each channel when its mode
    is INFERENCE; others have these and the running mean and variance.
    """
    param = layer.bn_param
    c = _channels(reader, inputs[0])
    folded = param.bn_mode == _INFERENCE
    if param.HasField("bn_mode") and not folded:
        raise Unsupported("bn_mode: LEARN (statistics of the batch) is not supported")
    blobs = [blob.ravel() for blob in reader.blobs(layer, *[(1, c, 1, 1)] * (2 if folded else 4))]
    mean, variance = (np.zeros(c), np.ones(c)) if folded else blobs[2:]
    _normalize(
        reader,
        layer,
        inputs,
        outputs,
        scale=blobs[0],
        bias=blobs[1],
        mean=mean,
        variance=variance,
        epsilon=0.0 if folded else param.eps,
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
    _reshape_to(reader, layer, inputs[1:], [wide], target)
    return wide


def _axpy(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The first bottom, a number per channel of each image, times the second, plus the third."""
    factor, x, y = inputs
    product = reader.names.fresh(f"{outputs[0]}.product")
    reader.add(product, "Mul", [x, factor], [product])
    reader.add(layer.name, "Add", [product, y], outputs)


def _scale(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.scale_param
    if len(inputs) == 2:
        if param.bias_term:
            raise Unsupported("a bias_term beside two bottoms is not supported")
        factor = _beside(reader, layer, inputs, param.axis)
        reader.add(layer.name, "Mul", [inputs[0], factor], outputs)
        return
    c = _channels(reader, inputs[0], param)
    scale, *bias = reader.blobs(layer, (c,), *[(c,)] * param.bias_term)
    _normalize(
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
    c = _channels(reader, inputs[0], layer.bias_param)
    (bias,) = reader.blobs(layer, (c,))
    ones = (1,) * (len(reader.shape(inputs[0])) - 2)
    name = reader.constant(f"{layer.name}.bias", bias.reshape(c, *ones))
    reader.add(layer.name, "Add", [*inputs, name], outputs)


_MOST_TILES = 4096  # each is a part of a concatenation


class Rule(NamedTuple):
    """How a type of layer is translated, and how many bottoms and tops it may have."""

    translate: Callable[[Weighted, Any, list[str], list[str]], None]
    bottoms: tuple[int, int] = (1, 1)
    tops: tuple[int, int] = (1, 1)
    pairs: bool = False  # whether it has a top for each bottom


_CONVOLUTION = Rule(_convolution, (1, 64), (1, 64), pairs=True)

RULES: dict[str, Rule] = {
    "AbsVal": Rule(_absolute),
    "Axpy": Rule(_axpy, (3, 3)),
    "BatchNorm": Rule(_batch_norm),
    "Bias": Rule(_bias, (1, 2)),
    "Clip": Rule(_clip),
    "BN": Rule(_bn),
    "Concat": Rule(_concat, (1, 1 << 16)),
    "Convolution": _CONVOLUTION,
    "ConvolutionDepthwise": _CONVOLUTION,
    "DepthwiseConvolution": _CONVOLUTION,
    "Dropout": Rule(_dropout),
    "Eltwise": Rule(_eltwise, (2, 64)),
    "Flatten": Rule(_flatten),
    "InnerProduct": Rule(_inner_product),
    "LRN": Rule(_lrn),
    "Permute": Rule(_permute),
    "Pooling": Rule(_pooling),
    "Power": Rule(_power),
    "ReLU": Rule(_relu),
    "ReLU6": Rule(_relu6),
    "Reshape": Rule(_reshape),
    "Scale": Rule(_scale, (1, 2)),
    "ShuffleChannel": Rule(_shuffle_channel),
    "Sigmoid": Rule(_sigmoid),
    "Softmax": Rule(_softmax),
    "Split": Rule(_identity, (1, 1), (1, 1 << 16)),
    "TanH": Rule(_tanh),
    "Tile": Rule(_tile),
}
