"""What MXNet's layers mean (its operators with parameters, windows, activations and losses), by the
sources of MXNet 1.9.1; RULES is the table of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import LONGEST_AXIS
from ._mxnet_call import Call, Rule, named
from ._translator import Unsupported

_LAYOUTS = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


def _window(call: Call) -> tuple[list[int], list[int], list[int], list[int]]:
    """Kernel, strides, pads on one side and dilations of an image's or a row's axes."""
    kernel = call.sizes("kernel")
    count = len(kernel)
    if count not in (1, 2):
        raise Unsupported(f"its kernel is {kernel}, expected that of an image or a row")
    if len(call.shape()) != count + 2:
        raise Unsupported(f"its kernel {kernel} does not fit an input of {len(call.shape())} axes")
    call.text("layout", _LAYOUTS[count], _LAYOUTS[count])
    strides = call.sizes("stride") or [1] * count
    pads = call.sizes("pad") or [0] * count
    dilations = call.sizes("dilate") or [1] * count
    each = (strides, pads, dilations)
    if any(len(numbers) != count for numbers in each) or min(kernel + strides + dilations) < 1:
        raise Unsupported(f"kernel {kernel}, stride {strides}, pad {pads}, dilate {dilations}")
    if min(pads) < 0:
        raise Unsupported(f"its pad is {pads}")
    return kernel, strides, pads, dilations


def _bias(call: Call, filters: int, default: bool) -> list[str]:
    if call.flag("no_bias", default):
        return []
    return [call.constant("bias", call.array(2, (filters,)))]


def _grouped(call: Call) -> tuple[int, int, int]:
    """Filters, groups and channels, which the groups divide."""
    filters, group = call.integer("num_filter"), call.integer("num_group", 1)
    channels = call.shape()[1]
    if min(filters, group) < 1 or filters % group or channels % group or not channels:
        raise Unsupported(f"{group} groups do not fit {channels} channels and {filters} filters")
    return filters, group, channels


def _convolution(call: Call) -> str:
    kernel, strides, pads, dilations = _window(call)
    filters, group, channels = _grouped(call)
    weights = call.array(1, (filters, channels // group, *kernel))
    inputs = [call.x, call.constant("weight", weights), *_bias(call, filters, False)]
    return call.part(
        "Conv",
        inputs,
        kernel_shape=kernel,
        strides=strides,
        pads=pads * 2,
        dilations=dilations,
        group=group,
    )


def _deconvolution(call: Call) -> str:
    kernel, strides, pads, dilations = _window(call)
    filters, group, channels = _grouped(call)
    weights = call.array(1, (channels, filters // group, *kernel))
    more = call.sizes("adj") or [0] * len(kernel)
    target = call.sizes("target_shape")
    if any(target):
        whole = [
            stride * (n - 1) + dilation * (k - 1) + 1
            for n, k, stride, dilation in zip(call.known(call.x)[2:], kernel, strides, dilations)
        ]
        surplus = [n - wanted for n, wanted in zip(whole, target)]
        if len(target) != len(kernel) or min(surplus) < 0:
            raise Unsupported(f"its target_shape {target} does not fit {whole}")
        pads, more = [(n + 1) // 2 for n in surplus], [n % 2 for n in surplus]
    if len(more) != len(kernel) or not all(0 <= a < b for a, b in zip(more, strides)):
        raise Unsupported(f"its adj is {more} with stride {strides}")
    inputs = [call.x, call.constant("weight", weights), *_bias(call, filters, True)]
    return call.part(
        "ConvTranspose",
        inputs,
        kernel_shape=kernel,
        strides=strides,
        pads=pads * 2,
        dilations=dilations,
        group=group,
        output_padding=more,
    )


def _fully_connected(call: Call) -> str:
    count = call.integer("num_hidden")
    flat, rank = call.flag("flatten", True), len(call.shape())
    weights = call.array(1, (count, *call.parameter(1).shape[1:]))
    if weights.ndim != 2:
        raise Unsupported(f"its parameter '{call.inputs[1]}' has {weights.ndim} axes")
    bias = _bias(call, count, False)
    if flat or rank == 2:
        call.reader.takes(call.x, weights.shape[1])
        x = call.part("Flatten", [call.x], axis=1) if rank != 2 else call.x
        return call.part("Gemm", [x, call.constant("weight", weights), *bias], transB=1)
    if call.shape()[-1] != weights.shape[1]:
        raise Unsupported(f"has weights for {weights.shape[1]} numbers of {call.shape()[-1]}")
    y = call.part("MatMul", [call.x, call.constant("weight", weights.T)])
    return call.part("Add", [y, *bias]) if bias else y


def _batch_norm(call: Call) -> str:
    rank = len(call.shape())
    axis, epsilon = call.axis("axis", 1, rank), call.real("eps", 1e-3)
    call.flag("use_global_stats", False)
    call.flag("output_mean_var", False)
    size = call.parameter(1).shape
    gamma, beta, mean, variance = (call.array(i, size) for i in range(1, 5))
    if len(size) != 1 or call.shape()[axis] not in (0, *size):
        raise Unsupported(f"its parameters are {list(size)}, its input {list(call.shape())}")
    if call.flag("fix_gamma", True):
        gamma = np.ones_like(gamma)
    if axis == 1:
        return call.normalized(call.x, [gamma, beta, mean, variance], epsilon)
    scale = gamma / np.sqrt(variance.astype(np.float64) + epsilon)
    return call.scaled(call.x, scale, beta - mean * scale, axis)


def _instance_norm(call: Call) -> str:
    epsilon = call.real("eps", 1e-3)
    names = [
        call.constant(what, call.array(i, (call.shape()[1],)))
        for i, what in ((1, "gamma"), (2, "beta"))
    ]
    return call.part("InstanceNormalization", [call.x, *names], epsilon=epsilon)


def _layer_norm(call: Call) -> str:
    shape = call.shape()
    axis, epsilon = call.axis("axis", -1, len(shape)), call.real("eps", 1e-5)
    call.flag("output_mean_var", False)
    gamma, beta = (call.array(i, (shape[axis],)) for i in (1, 2))
    over = call.integers("axes", [axis])
    centred = call.part("Sub", [call.x, call.part("ReduceMean", [call.x, over])])
    variance = call.part("ReduceMean", [call.part("Mul", [centred, centred]), over])
    total = call.part("Add", [variance, call.number(epsilon)])
    y = call.part("Div", [centred, call.part("Sqrt", [total])])
    return call.scaled(y, gamma, beta, axis)


def _group_norm(call: Call) -> str:
    groups, epsilon, channels = (
        call.integer("num_groups", 1),
        call.real("eps", 1e-5),
        call.shape()[1],
    )
    call.flag("output_mean_var", False)
    if groups < 1 or not channels or channels % groups:
        raise Unsupported(f"{groups} groups do not fit {channels} channels")
    size = call.parameter(1).shape  # of groups or, since 2.0, of channels
    gamma, beta = (call.array(i, size) for i in (1, 2))
    if size not in ((groups,), (channels,)):
        raise Unsupported(f"its parameters are {list(size)} of {groups} groups")
    names = [call.constant("gamma", gamma), call.constant("beta", beta)]
    return call.part("GroupNormalization", [call.x, *names], num_groups=groups, epsilon=epsilon)


def _l2_normalization(call: Call) -> str:
    rank, epsilon = len(call.shape()), call.real("eps", 1e-10)
    mode = call.text("mode", "instance", "instance", "channel", "spatial")
    axes = {"instance": range(1, rank), "channel": [1], "spatial": range(2, rank)}[mode]
    square = call.part("ReduceSumSquare", [call.x, call.integers("axes", list(axes))])
    total = call.part("Add", [square, call.number(epsilon)])
    return call.part("Div", [call.x, call.part("Sqrt", [total])])


def _lrn(call: Call) -> str:
    size = call.integer("nsize")
    if size < 1 or size % 2 == 0:
        raise Unsupported(f"its nsize is {size}, which has no centre")
    return call.part(
        "LRN",
        [call.x],
        size=size,
        alpha=call.real("alpha", 1e-4),
        beta=call.real("beta", 0.75),
        bias=call.real("knorm", 2),
    )


def _pooling(call: Call) -> str:
    kind = call.text("pool_type", "max", "max", "avg", "sum", "lp")
    convention = call.text("pooling_convention", "valid", "valid", "full")
    power, counts = call.integer("p_value", 2), call.flag("count_include_pad", True)
    if kind == "lp" and power == 1:  # of numbers, not of magnitudes
        kind = "sum"
    if call.flag("global_pool", False):
        for key in ("kernel", "stride", "pad", "layout"):
            call.has(key)
        return _global_pool(call, kind, power)
    kernel, strides, pads, _ = _window(call)
    if any(pad >= k for pad, k in zip(pads, kernel)):
        raise Unsupported(f"its pad {pads} is as large as its kernel {kernel}")
    attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "pads": pads * 2}
    if convention == "full":
        call.whole_windows(call.shape()[2:], kernel, strides, pads * 2)
        attrs["ceil_mode"] = 1
    if kind == "max":
        return call.part("MaxPool", [call.x], **attrs)
    if kind == "lp":
        return call.part("LpPool", [call.x], p=power, **attrs)
    if kind == "avg":
        return call.part("AveragePool", [call.x], count_include_pad=int(counts), **attrs)
    sums = call.part("LpPool", [call.part("Relu", [call.x])], p=1, **attrs)
    negative = call.part("Relu", [call.part("Neg", [call.x])])
    return call.part("Sub", [sums, call.part("LpPool", [negative], p=1, **attrs)])


def _global_pool(call: Call, kind: str, power: int) -> str:
    if kind == "sum":
        axes = call.integers("axes", range(2, len(call.shape())))
        return call.part("ReduceSum", [call.x, axes])
    if kind == "lp":
        return call.part("GlobalLpPool", [call.x], p=power)
    return call.part("GlobalMaxPool" if kind == "max" else "GlobalAveragePool", [call.x])


def _upsampling(call: Call) -> str | list[str]:
    scale, kind = call.integer("scale"), call.text("sample_type", "nearest", "nearest", "bilinear")
    if not 1 <= scale < 1 << 16:
        raise Unsupported(f"its scale is {scale}")
    if kind == "bilinear":
        channels = call.image()[1]
        if call.integer("num_filter", channels) != channels:
            raise Unsupported(f"its num_filter is not its {channels} channels")
        kernel, pad = 2 * scale - scale % 2, math.ceil((scale - 1) / 2)
        weights = call.constant("weight", call.array(1, (channels, 1, kernel, kernel)))
        return call.part(
            "ConvTranspose",
            [call.x, weights],
            kernel_shape=[kernel] * 2,
            strides=[scale] * 2,
            pads=[pad] * 4,
            group=channels,
        )
    call.has("num_filter")
    count = call.integer("num_args", 1)
    joins = call.text("multi_input_mode", "concat", "concat", "sum")
    if count != len(call.inputs):
        raise Unsupported(f"has {len(call.inputs)} inputs, its num_args is {count}")
    parts = []
    for index, x in enumerate(call.inputs):
        factor = scale
        if index:  # to the size that the first one has then
            first, own = call.known(call.x), call.known(x)
            factor = first[2] * scale // own[2]
            if [n * factor for n in own[2:]] != [n * scale for n in first[2:]]:
                raise Unsupported(f"{list(own)} has no whole part of the size of {list(first)}")
        scales = call.constant("scales", np.array([1, 1, factor, factor], np.float32))
        parts.append(
            call.part(
                "Resize",
                [x, "", scales],
                mode="nearest",
                nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )
        )
    if len(parts) == 1:
        return parts
    return call.part("Concat", parts, axis=1) if joins == "concat" else call.part("Sum", parts)


def _bilinear_resize(call: Call) -> str:
    mode = call.text(
        "mode",
        "size",
        "size",
        "odd_scale",
        "like",
        "to_even_down",
        "to_even_up",
        "to_odd_down",
        "to_odd_up",
    )
    if mode != "size":
        raise Unsupported(f"its mode {mode} is not supported")
    how = "align_corners" if call.flag("align_corners", True) else "half_pixel"
    shape = call.image()
    if call.has("scale_height") or call.has("scale_width"):
        factors = [call.real(f"scale_{key}") for key in ("height", "width")]
        sizes = [int(n * factor) for n, factor in zip(call.known(call.x)[2:], factors)]
    else:
        sizes = [call.integer("height", 1), call.integer("width", 1)]
    if not 1 <= min(sizes) <= max(sizes) < LONGEST_AXIS or not shape[1]:
        raise Unsupported(f"to height and width {sizes}")
    target = call.integers("sizes", sizes)
    return call.part(
        "Resize",
        [call.x, "", "", target],
        mode="linear",
        axes=[2, 3],
        coordinate_transformation_mode=how,
    )


def _adaptive_average(call: Call) -> str:
    bins, shape = call.sizes("output_size"), call.image()
    bins = bins * 2 if len(bins) == 1 else bins or [1, 1]
    if bins == [1, 1]:
        return call.part("GlobalAveragePool", [call.x])
    shape = call.known(call.x)
    if len(bins) != 2 or min(bins) < 1 or any(n % b for n, b in zip(shape[2:], bins)):
        raise Unsupported(f"{bins} bins of an image of {shape[2]}x{shape[3]} overlap")
    sides = [n // b for n, b in zip(shape[2:], bins)]
    return call.part("AveragePool", [call.x], kernel_shape=sides, strides=sides)


_ACTIVATIONS = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softrelu": "Softplus",
    "softsign": "Softsign",
    "mish": "Mish",
}


def _activation(call: Call) -> str:
    kind = call.text("act_type", "", *_ACTIVATIONS, "log_sigmoid")
    if kind == "log_sigmoid":
        return call.part("Neg", [call.part("Softplus", [call.part("Neg", [call.x])])])
    return call.part(_ACTIVATIONS[kind], [call.x])


def _leaky_relu(call: Call) -> str:
    kind = call.text("act_type", "leaky", "leaky", "prelu", "rrelu", "elu", "selu", "gelu")
    slope = call.real("slope", 0.25)
    bounds = (call.real("lower_bound", 0.125), call.real("upper_bound", 0.334))
    if kind in ("elu", "leaky", "rrelu"):
        alpha = sum(bounds) / 2 if kind == "rrelu" else slope
        return call.part("Elu" if kind == "elu" else "LeakyRelu", [call.x], alpha=alpha)
    if kind == "prelu":
        gamma, shape = call.parameter(1).reshape(-1), call.shape()
        if gamma.size not in (1, shape[1]):
            raise Unsupported(f"has {gamma.size} slopes for {shape[1]} channels")
        wide = gamma.reshape(-1, *(1,) * (len(shape) - 2))
        return call.part("PRelu", [call.x, call.constant("gamma", wide)])
    return call.part({"selu": "Selu", "gelu": "Gelu"}[kind], [call.x])


def _softmax_output(call: Call) -> str:
    call.has("normalization")
    if call.flag("multi_output", False):
        return call.part("Softmax", [call.x], axis=1)
    if call.flag("preserve_shape", False):
        return call.part("Softmax", [call.x], axis=-1)
    if len(call.shape()) == 2:
        return call.part("Softmax", [call.x], axis=1)
    y = call.part("Softmax", [call.part("Flatten", [call.x], axis=1)], axis=1)
    return call.reshaped(y, [0, *call.known(call.x)[1:]])


def _softmax_activation(call: Call) -> str:
    """Over the channels or, of each "instance", over the last axis."""
    mode = call.text("mode", "instance", "instance", "channel")
    return call.part("Softmax", [call.x], axis=1 if mode == "channel" else -1)


def _softmax(call: Call) -> str:
    if call.flag("use_length", False) or len(call.inputs) > 1:
        raise Unsupported("with lengths is not supported")
    call.float_type()
    axis, temperature, x = (
        call.axis("axis", -1, len(call.shape())),
        call.real("temperature", 1),
        call.x,
    )
    if temperature != 1:
        x = call.part("Div", [x, call.number(temperature)])
    if call.node.op == "softmin":
        x = call.part("Neg", [x])
    return call.part("LogSoftmax" if call.node.op == "log_softmax" else "Softmax", [x], axis=axis)


def _logistic(call: Call) -> str:
    return call.part("Sigmoid", [call.x])


def _identity(call: Call) -> str:
    return call.x


def _dropout(call: Call) -> str:
    call.real("p", 0.5)
    call.sizes("axes")
    call.text("mode", "training", "training")
    return call.x


def _cast(call: Call) -> str:
    call.float_type()
    return call.x


def _roi_pooling(call: Call) -> str:
    bins = call.sizes("pooled_size", count=2)
    call.image()
    return call.part(
        "MaxRoiPool", call.inputs[:2], pooled_shape=bins, spatial_scale=call.real("spatial_scale")
    )


_WEIGHTED = ("data", "weight", "bias")
_NORMALIZED = ("data", "gamma", "beta")
_STATES = ("moving_mean", "moving_var")

RULES = named(
    {
        "Activation": Rule(_activation),
        "BatchNorm": Rule(_batch_norm, _NORMALIZED, _STATES),
        "BlockGrad": Rule(_identity),
        "Cast": Rule(_cast),
        "Convolution": Rule(_convolution, _WEIGHTED),
        "Deconvolution": Rule(_deconvolution, _WEIGHTED),
        "Dropout": Rule(_dropout),
        "FullyConnected": Rule(_fully_connected, _WEIGHTED),
        "GroupNorm": Rule(_group_norm, _NORMALIZED),
        "InstanceNorm": Rule(_instance_norm, _NORMALIZED),
        "L2Normalization": Rule(_l2_normalization),
        "LRN": Rule(_lrn),
        "LayerNorm": Rule(_layer_norm, _NORMALIZED),
        "LeakyReLU": Rule(_leaky_relu, ("data", "gamma")),
        "LogisticRegressionOutput": Rule(_logistic, ("data", "label")),
        "Pooling": Rule(_pooling),
        "ROIPooling": Rule(_roi_pooling),
        "SoftmaxActivation": Rule(_softmax_activation),
        "SoftmaxOutput": Rule(_softmax_output, ("data", "label")),
        "SVMOutput": Rule(_identity, ("data", "label")),
        "UpSampling": Rule(_upsampling),
        "_contrib_AdaptiveAvgPooling2D": Rule(_adaptive_average),
        "_contrib_BilinearResize2D": Rule(_bilinear_resize),
        "softmax": Rule(_softmax),
    },
    {
        "BatchNorm": "BatchNorm_v1 CuDNNBatchNorm _contrib_SyncBatchNorm",
        "BlockGrad": "_copy identity stop_gradient MakeLoss make_loss IdentityAttachKLSparseReg",
        "Cast": "cast amp_cast",
        "Convolution": "Convolution_v1 Convolution_V1",
        "Pooling": "Pooling_v1 Pooling_V1",
        "SVMOutput": "LinearRegressionOutput MAERegressionOutput",
        "SoftmaxOutput": "Softmax",
        "softmax": "log_softmax softmin",
    },
)
