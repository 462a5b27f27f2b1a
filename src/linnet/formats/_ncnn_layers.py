"""What ncnn's layers with weights and windows mean, and its functions, by ncnn's sources; RULES is
the table of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..graph import LONGEST_AXIS, Array, Shape
from ._ncnn_call import Call, Rule, Settings
from ._ncnn_files import Block
from ._translator import Unsupported

_SAME = {-233: "SAME_UPPER", -234: "SAME_LOWER"}  # of pads


def _filters(settings: Settings) -> list[Block]:
    """Of convolutions: weights, biases, and the scales of what is quantised."""
    count, scales = settings.integer(0), settings.integer(8)
    if settings.integer(19):
        return []
    blocks = [Block(settings.integer(6), True)] + [Block(count)] * (settings.integer(5) == 1)
    if scales:
        each = count
        if settings.layer.kind == "ConvolutionDepthWise":
            each = 1 if scales in (2, 102) else settings.integer(7, 1)
        blocks += [Block(each), Block(1)] + [Block(1)] * (scales > 100)
    return blocks


def _spread_filters(settings: Settings) -> list[Block]:
    if settings.integer(28):
        return []
    return [Block(settings.integer(6), True)] + [Block(settings.integer(0))] * settings.integer(5)


def _two_sizes(call: Call, wide: int, high: int, default: int = 0) -> list[int]:
    """Height and width, which is also the height where that is not given."""
    width = call.settings.integer(wide, default)
    return [call.settings.integer(high, width), width]


def _window(call: Call) -> tuple[list[int], list[int], list[int]]:
    """Kernel, strides and dilations, [height, width] each."""
    kernel, strides = _two_sizes(call, 1, 11), _two_sizes(call, 3, 13, 1)
    dilations = _two_sizes(call, 2, 12, 1)
    if not 1 <= min(kernel + strides + dilations) <= max(kernel + strides + dilations) < 1 << 20:
        raise Unsupported(f"kernel {kernel}, strides {strides}, dilations {dilations}")
    return kernel, strides, dilations


def _pads(call: Call, left: int = 4, right: int = 15, top: int = 14, bottom: int = 16) -> list[int]:
    """[top, left, bottom, right]"""
    sides = {"left": call.settings.integer(left)}
    sides["right"] = call.settings.integer(right, sides["left"])
    sides["top"] = call.settings.integer(top, sides["left"])
    sides["bottom"] = call.settings.integer(bottom, sides["top"])
    return [sides[key] for key in ("top", "left", "bottom", "right")]


def _real_weights(call: Call, scales: Array | None) -> Array:
    """What integers stand for."""
    weights = call.weights[0]
    if weights.dtype != np.int8:
        return weights
    if scales is None or not scales.all():
        raise Unsupported("has weights of int8 without scales")
    return weights.reshape(scales.size, -1) / scales[:, None]


def _weighted(call: Call) -> tuple[Array, list[Array]]:
    """A convolution's weights and, in a list, its biases."""
    if call.settings.integer(19):
        raise Unsupported("with weights that are computed is not supported")
    biased = call.settings.integer(5) == 1
    scales = call.weights[1 + biased] if call.settings.integer(8) else None
    return _real_weights(call, scales), call.weights[1 : 1 + biased]


def _convolution(call: Call) -> str:
    weights, bias = _weighted(call)
    count, group = call.settings.integer(0), 1
    if call.layer.kind == "ConvolutionDepthWise":
        group = call.settings.integer(7, 1)
    kernel, strides, dilations = _window(call)
    pads, fill = _pads(call), call.settings.real(18)
    area = math.prod(kernel)
    if count < 1 or group < 1 or count % group or weights.size % (count * area) or not weights.size:
        raise Unsupported(
            f"{weights.size} weights are not those of {count} filters, {group} groups"
        )
    each = weights.size // (count * area)
    x, shape = call.x, call.shape()
    flat = call.dims == 1 and kernel == [1, 1] and group == 1
    if flat:
        x = call.reshaped(x, [0, shape[1], 1, 1])
    elif call.dims != 3:
        raise Unsupported(f"its input has {call.dims} axes, expected an image")
    if shape[1] != each * group:
        raise Unsupported(f"has weights for {each * group} channels, its input has {shape[1]}")
    attrs: dict[str, object] = {
        "kernel_shape": kernel,
        "strides": strides,
        "dilations": dilations,
        "group": group,
    }
    modes = set(pads) & set(_SAME)
    if fill and (any(pads) or modes):
        if modes:
            raise Unsupported("padding of SAME with other numbers than 0 is not supported")
        x = padded(call, x, pads, fill)
        pads = [0] * 4
    if modes:
        attrs["auto_pad"] = _SAME[min(modes)] if len(modes) == 1 else ""
    elif min(pads) < 0:
        raise Unsupported(f"its pads are {pads}")
    else:
        attrs["pads"] = pads
    inputs = [x, call.constant("weight", weights.reshape(count, each, *kernel))]
    y = call.part("Conv", inputs + [call.constant("bias", b) for b in bias], **attrs)
    y = call.activated(y)
    return call.part("Flatten", [y], axis=1) if flat else y


def padded(call: Call, x: str, pads: list[int], fill: float, mode: str = "constant") -> str:
    """An image with [top, left, bottom, right] more pixels."""
    names = [call.integers("pads", pads)]
    names.append(call.number(fill, "fill") if mode == "constant" else "")
    names.append(call.integers("axes", [2, 3]))
    y = call.part("Pad", [x, *names], mode=mode)
    shape = call.reader.shape(x)
    made = (n and n + a + b for n, a, b in zip(shape[2:], pads[:2], pads[2:]))
    call.reader.shapes[y] = (*shape[:2], *made)
    return y


def _deconvolution(call: Call) -> str:
    if call.settings.integer(28):
        raise Unsupported("with weights that are computed is not supported")
    count, group, channels = call.settings.integer(0), 1, call.image()[1]
    if call.layer.kind == "DeconvolutionDepthWise":
        group = call.settings.integer(7, 1)
    kernel, strides, dilations = _window(call)
    pads, weights = _pads(call), call.weights[0]
    area = math.prod(kernel)
    fits = count > 0 and group > 0 and not count % group and not channels % group
    if not fits or weights.size * group != count * channels * area:
        raise Unsupported(
            f"{weights.size} weights are not those of {count} filters, {group} groups"
        )
    # [group, filters, channels, ...] become [group x channels, filters, ...].
    inner = weights.reshape(group, count // group, channels // group, *kernel).swapaxes(1, 2)
    more, target = _two_sizes(call, 18, 19), _two_sizes(call, 20, 21)
    attrs: dict[str, object] = {
        "kernel_shape": kernel,
        "strides": strides,
        "dilations": dilations,
        "group": group,
        "output_padding": more,
    }
    if set(pads) & set(_SAME):
        whole = [
            s * (n - 1) + d * (k - 1) + 1 + extra
            for n, s, d, k, extra in zip(call.known(call.x)[2:], strides, dilations, kernel, more)
        ]
        if len(set(pads)) > 1 or min(target) < 1 or any(n > m for n, m in zip(target, whole)):
            raise Unsupported(f"its pads {pads} with a size of {target} are not supported")
        first = [(m - n) // 2 for n, m in zip(target, whole)]
        last = [m - n - a for n, m, a in zip(target, whole, first)]
        pads = first + last if pads[0] == -233 else last + first
    elif any(target) or min(pads) < 0:
        raise Unsupported(f"its pads {pads} with a size of {target} are not supported")
    names = [call.x, call.constant("weight", inner.reshape(channels, count // group, *kernel))]
    names += [call.constant("bias", b) for b in call.weights[1:]]
    return call.activated(call.part("ConvTranspose", names, pads=pads, **attrs))


def _matrix(settings: Settings) -> list[Block]:
    count = settings.integer(0)
    blocks = [Block(settings.integer(2), True)] + [Block(count)] * (settings.integer(1) == 1)
    return blocks + ([Block(count), Block(1)] if settings.integer(8) else [])


def _inner_product(call: Call) -> str:
    count, biased = call.settings.integer(0), call.settings.integer(1) == 1
    scales = call.weights[1 + biased] if call.settings.integer(8) else None
    weights = _real_weights(call, scales)
    if count < 1 or weights.size % count or not weights.size:
        raise Unsupported(f"{weights.size} weights are not those of {count} outputs")
    matrix, bias = weights.reshape(count, -1), call.weights[1 : 1 + biased]
    names = [call.constant("bias", b) for b in bias]
    if call.dims == 2 and call.shape()[2] == matrix.shape[1] and call.shape()[1] != 1:
        y = call.part("MatMul", [call.x, call.constant("weight", matrix.T)])
        return call.activated(call.part("Add", [y, *names]) if names else y)
    call.reader.takes(call.x, matrix.shape[1])
    x = call.part("Flatten", [call.x], axis=1) if call.dims > 1 else call.x
    y = call.part("Gemm", [x, call.constant("weight", matrix), *names], transB=1)
    return call.activated(y)


def _pooling(call: Call) -> str:
    get, shape = call.settings.integer, call.image()
    average = get(0) == 1
    if get(0) not in (0, 1):
        raise Unsupported(f"its pooling_type is {get(0)}")
    kernel, strides = _two_sizes(call, 1, 11), _two_sizes(call, 2, 12, 1)
    pads, mode, counts = _pads(call, 3, 14, 13, 15), get(5), get(6)
    op = "AveragePool" if average else "MaxPool"
    if get(4):
        return call.part("Flatten", [call.part(f"Global{op}", [call.x])], axis=1)
    if get(7):
        bins = _two_sizes(call, 8, 18)
        if bins == [1, 1]:
            return call.part(f"Global{op}", [call.x])
        sizes = call.known(call.x)[2:]
        bins = [n if b == -233 else b for n, b in zip(sizes, bins)]
        if min(bins) < 1 or any(n % b for n, b in zip(sizes, bins)):
            raise Unsupported(f"{bins} bins of an image of {sizes[0]}x{sizes[1]} overlap")
        sides = [n // b for n, b in zip(sizes, bins)]
        return call.part(op, [call.x], kernel_shape=sides, strides=sides)
    if min(kernel + strides) < 1 or min(pads) < 0 or mode not in (0, 1, 2, 3):
        raise Unsupported(f"kernel {kernel}, strides {strides}, pads {pads}, pad_mode {mode}")
    attrs: dict[str, object] = {"kernel_shape": kernel, "strides": strides}
    if mode > 1:
        apart = max(kernel) > 1 and any(s > k for s, k in zip(strides, kernel))
        if apart or (average and any(pads)):  # which ncnn moves, or counts, as nobody else
            raise Unsupported(f"SAME with kernel {kernel}, strides {strides} and pads {pads}")
        attrs["auto_pad"] = "SAME_UPPER" if mode == 2 else "SAME_LOWER"
    else:
        attrs["pads"] = pads
    if mode == 0:
        attrs["ceil_mode"] = 1
        call.whole_windows(shape[2:], kernel, strides, pads)
        if average and counts:
            pads = _up_to_whole(call.known(call.x)[2:], kernel, strides, pads)
            attrs.update(pads=pads, ceil_mode=0)
    if average:
        attrs["count_include_pad"] = int(counts != 0 or mode > 1)  # SAME's are always counted
    return call.part(op, [call.x], **attrs)


def _up_to_whole(sizes: Shape, kernel: list[int], strides: list[int], pads: list[int]) -> list[int]:
    """Pads with which windows end where the image does; ncnn counts these, too."""
    grown = list(pads)
    for i, (n, k, stride) in enumerate(zip(sizes, kernel, strides)):
        grown[2 + i] += -(n + pads[i] + pads[2 + i] - k) % stride
    return grown


def _normalized(call: Call) -> str:
    slope, mean, variance, bias = call.weights
    if call.shape()[1] != slope.size:
        raise Unsupported(f"has weights for {slope.size} channels of {call.shape()[1]}")
    return call.normalized(call.x, [slope, bias, mean, variance], call.settings.real(1))


def _scale(call: Call) -> str:
    if call.settings.integer(0) == -233:
        shape, factors = call.shape(), call.shape(1)
        if len(factors) != 2 or factors[1] != shape[1]:
            raise Unsupported(f"factors {list(factors[1:])} of {list(shape[1:])}")
        return call.part("Mul", [call.x, _beside(call, call.input(1), call.dims)])
    y = call.part("Mul", [call.x, call.constant("scale", call.along_first(call.weights[0]))])
    for bias in call.weights[1:]:
        y = call.part("Add", [y, call.constant("bias", call.along_first(bias))])
    return y


def _beside(call: Call, x: str, dims: int) -> str:
    """Numbers of each channel, of one axis, as a value that broadcasts to `dims` axes."""
    return call.reshaped(x, [0, 0, *(1,) * (dims - 1)]) if dims > 1 else x


def _scales(settings: Settings) -> list[Block]:
    count = settings.integer(0)
    return [] if count == -233 else [Block(count)] * (1 + settings.integer(1))


def _bias(call: Call) -> str:
    return call.part("Add", [call.x, call.constant("bias", call.along_first(call.weights[0]))])


def _prelu(call: Call) -> str:
    slope = call.along_first(call.weights[0])
    return call.part("PRelu", [call.x, call.constant("slope", slope)])


def _affine(count: int, asked: int) -> Callable[[Settings], list[Block]]:
    """gamma and beta, of so many numbers as one setting says, if another does not say none."""

    def blocks(settings: Settings) -> list[Block]:
        size = settings.integer(count)
        return [Block(size)] * 2 if settings.integer(asked, 1) else []

    return blocks


def _nothing(count: int) -> list[Array]:
    """A gamma and a beta that change nothing, as views of one number."""
    return [np.broadcast_to(np.float32(value), count) for value in (1, 0)]


def _parameters(call: Call, channels: int) -> list[str]:
    gamma, beta = call.weights or _nothing(channels)
    if gamma.size != channels:
        raise Unsupported(f"has weights for {gamma.size} channels of {channels}")
    return [call.constant("gamma", gamma), call.constant("beta", beta)]


def _instance_norm(call: Call) -> str:
    names = _parameters(call, call.image()[1])
    call.settings.integer(0)
    epsilon = call.settings.real(1, 1e-3)
    return call.part("InstanceNormalization", [call.x, *names], epsilon=epsilon)


def _group_norm(call: Call) -> str:
    groups, channels = call.settings.integer(0, 1), call.image()[1]
    epsilon = call.settings.real(2, 1e-3)
    if groups < 1 or channels % groups:
        raise Unsupported(f"{groups} groups of {channels} channels")
    names = _parameters(call, channels)
    return call.part("GroupNormalization", [call.x, *names], num_groups=groups, epsilon=epsilon)


def _layer_norm(call: Call) -> str:
    """Over the last axis or, if there are as many weights, over all pixels of a channel."""
    count, shape, epsilon = (
        call.settings.integer(0),
        call.known(call.x),
        call.settings.real(1, 1e-3),
    )
    axes = 2 if call.dims == 3 and count == shape[2] * shape[3] else 1
    inner = shape[-axes:]
    if math.prod(inner) != count:
        raise Unsupported(f"{count} weights of {list(shape[1:])}")
    gamma, beta = call.weights or _nothing(count)
    names = [
        call.constant("gamma", gamma.reshape(inner)),
        call.constant("beta", beta.reshape(inner)),
    ]
    return call.part("LayerNormalization", [call.x, *names], axis=-axes, epsilon=epsilon)


def _lrn(call: Call) -> str:
    get = call.settings.real
    size, region = call.settings.integer(1, 5), call.settings.integer(0)
    if region != 0 or size < 1 or size % 2 == 0:
        raise Unsupported(f"its region_type is {region}, its local_size {size}")
    return call.part("LRN", [call.x], size=size, alpha=get(2, 1), beta=get(3, 0.75), bias=get(4, 1))


def _mvn(call: Call) -> str:
    first = 1 if call.settings.integer(1) else 2
    axes = call.integers("axes", range(first, len(call.image())))
    y = call.part("Sub", [call.x, call.part("ReduceMean", [call.x, axes])])
    epsilon = call.settings.real(2, 1e-4)
    if not call.settings.integer(0):
        return y
    variance = call.part("ReduceMean", [call.part("Mul", [y, y]), axes])
    deviation = call.part("Add", [call.part("Sqrt", [variance]), call.number(epsilon)])
    return call.part("Div", [y, deviation])


def _normalize(call: Call) -> str:
    """Divided by the root of the sum of squares, times factors."""
    get, epsilon, shape = call.settings.integer, call.settings.real(2, 1e-4), call.image()
    spatial, channels, mode = get(0), get(4, 1), get(9)
    axes = ([1] if channels else []) + ([2, 3] if spatial else [])
    if not axes:
        raise Unsupported("is neither across channels nor across pixels")
    square = call.part("ReduceSumSquare", [call.x, call.integers("axes", axes)])
    if mode == 1:
        root = call.part("Max", [call.part("Sqrt", [square]), call.number(epsilon)])
    elif mode in (0, 2):
        total = call.part("Max" if mode else "Add", [square, call.number(epsilon)])
        root = call.part("Sqrt", [total])
    else:
        raise Unsupported(f"its eps_mode is {mode}")
    shared = get(1)
    y = call.part("Div", [call.x, root])
    scale = call.weights[0]
    if scale.size != (1 if shared else shape[1]):
        raise Unsupported(f"has {scale.size} factors for {shape[1]} channels")
    return call.part("Mul", [y, call.constant("scale", call.along_first(scale))])


# Functions of each number.


def _function(op: str) -> Rule:
    return Rule(lambda call: call.part(op, [call.x]))


def _relu(call: Call) -> str:
    slope = call.settings.real(0)
    return call.part("LeakyRelu", [call.x], alpha=slope) if slope else call.part("Relu", [call.x])


def _clip(call: Call) -> str:
    largest = float(np.finfo(np.float32).max)
    return call.clipped(call.x, call.settings.real(0, -largest), call.settings.real(1, largest))


def _hard_sigmoid(call: Call) -> str:
    alpha, beta = call.settings.real(0, 0.2), call.settings.real(1, 0.5)
    return call.part("HardSigmoid", [call.x], alpha=alpha, beta=beta)


def _hard_swish(call: Call) -> str:
    return call.hard_swish(call.x, call.settings.real(0, 0.2), call.settings.real(1, 0.5))


def _elu(call: Call) -> str:
    return call.part("Elu", [call.x], alpha=call.settings.real(0, 0.1))


def _selu(call: Call) -> str:
    alpha, gamma = call.settings.real(0, 1.67326324), call.settings.real(1, 1.050700987)
    return call.part("Selu", [call.x], alpha=alpha, gamma=gamma)


def _gelu(call: Call) -> str:
    return call.part("Gelu", [call.x], approximate="tanh" if call.settings.integer(0) else "none")


def _dropout(call: Call) -> str:
    scale = call.settings.real(0, 1)
    return call.x if scale == 1 else call.part("Mul", [call.x, call.number(scale)])


def _linear(call: Call, scale: float, shift: float) -> str:
    x = call.x if scale == 1 else call.part("Mul", [call.x, call.number(scale)])
    return x if shift == 0 else call.part("Add", [x, call.number(shift)])


def _power(call: Call) -> str:
    power, scale, shift = (call.settings.real(key, key < 2) for key in (0, 1, 2))
    x = _linear(call, scale, shift)
    return x if power == 1 else call.part("Pow", [x, call.number(power)])


def _base(call: Call) -> tuple[float, str]:
    """The logarithm of a base, and what it is of."""
    base, scale, shift = (call.settings.real(key, (-1, 1, 0)[key]) for key in (0, 1, 2))
    if base != -1 and not (0 < base < math.inf and base != 1):
        raise Unsupported(f"its base is {base:g}")
    return (1 if base == -1 else math.log(base)), _linear(call, scale, shift)


def _exp(call: Call) -> str:
    log, x = _base(call)
    return call.part("Exp", [x if log == 1 else call.part("Mul", [x, call.number(log)])])


def _log(call: Call) -> str:
    log, x = _base(call)
    y = call.part("Log", [x])
    return y if log == 1 else call.part("Mul", [y, call.number(1 / log)])


def _threshold(call: Call) -> str:
    x = call.part("Sub", [call.x, call.number(call.settings.real(0))])
    return call.part("Relu", [call.part("Sign", [x])])


def _identity(call: Call) -> list[str]:
    return [call.x] * len(call.outputs)


def _interp(call: Call) -> str:
    get, shape = call.settings.integer, call.image()
    kind, corners = get(0), get(6)
    scales = [call.settings.real(1, 1), call.settings.real(2, 1)]
    sizes = [get(3), get(4)]
    if kind not in (1, 2, 3):
        raise Unsupported(f"its resize_type is {kind}")
    if get(5) or len(call.inputs) > 1:
        sizes = list(call.known(call.input(1))[2:])
    how: dict[str, object] = {"mode": ("nearest", "linear", "cubic")[kind - 1], "axes": [2, 3]}
    how["coordinate_transformation_mode"] = (
        "align_corners" if corners and kind > 1 else "half_pixel"
    )
    if kind == 1:
        how.update(nearest_mode="floor", coordinate_transformation_mode="asymmetric")
    if min(sizes) > 0:
        target = call.integers("sizes", sizes)
        return call.part("Resize", [call.x, "", "", target], **how)
    if any(sizes) or not 0 < min(scales) <= max(scales) < LONGEST_AXIS or not shape[1]:
        raise Unsupported(f"to sizes {sizes}, by scales {scales}")
    name = call.constant("scales", np.array(scales, np.float32))
    return call.part("Resize", [call.x, "", name], **how)


def _one(key: int) -> Callable[[Settings], list[Block]]:
    return lambda settings: [Block(settings.integer(key))]


def _four(settings: Settings) -> list[Block]:
    return [Block(settings.integer(0))] * 4


RULES: dict[str, Rule] = {
    "AbsVal": _function("Abs"),
    "BNLL": _function("Softplus"),
    "BatchNorm": Rule(_normalized, _four),
    "Bias": Rule(_bias, _one(0)),
    "Clip": Rule(_clip),
    "Convolution": Rule(_convolution, _filters),
    "ConvolutionDepthWise": Rule(_convolution, _filters),
    "Deconvolution": Rule(_deconvolution, _spread_filters),
    "DeconvolutionDepthWise": Rule(_deconvolution, _spread_filters),
    "Dropout": Rule(_dropout),
    "ELU": Rule(_elu),
    "Erf": _function("Erf"),
    "Exp": Rule(_exp),
    "GELU": Rule(_gelu),
    "GroupNorm": Rule(_group_norm, _affine(1, 3)),
    "HardSigmoid": Rule(_hard_sigmoid),
    "HardSwish": Rule(_hard_swish),
    "InnerProduct": Rule(_inner_product, _matrix),
    "InstanceNorm": Rule(_instance_norm, _affine(0, 2)),
    "Interp": Rule(_interp),
    "LRN": Rule(_lrn),
    "LayerNorm": Rule(_layer_norm, _affine(0, 2)),
    "Log": Rule(_log),
    "MVN": Rule(_mvn),
    "Mish": _function("Mish"),
    "Noop": Rule(_identity),
    "Normalize": Rule(_normalize, _one(3)),
    "PReLU": Rule(_prelu, _one(0)),
    "Pooling": Rule(_pooling),
    "Power": Rule(_power),
    "ReLU": Rule(_relu),
    "SELU": Rule(_selu),
    "Scale": Rule(_scale, _scales),
    "Sigmoid": _function("Sigmoid"),
    "Softplus": _function("Softplus"),
    "Split": Rule(_identity),
    "Swish": _function("Swish"),
    "TanH": _function("Tanh"),
    "Threshold": Rule(_threshold),
}
