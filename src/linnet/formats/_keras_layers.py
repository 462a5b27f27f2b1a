"""What Keras's layers mean, but for those of windows; and how many weights each has."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Array, Shape
from ..text import short
from . import _channels_last as nhwc
from . import _keras_recurrent, _keras_windows
from ._keras_call import ACTIVATIONS, LayerCall
from ._keras_model import Layer
from ._translator import MissingOperator, Unsupported


def weight_counts(layer: Layer) -> tuple[int, int]:
    """How many weights of a layer are trained, and how many are not, in Keras's order."""
    config, kind = layer.config, layer.kind
    scaled = sum(config.get(key) is not False for key in ("scale", "center"))
    bias = int(config.get("use_bias") is not False)
    if kind == "BatchNormalization":
        return scaled, 2
    if kind in ("LayerNormalization", "GroupNormalization"):
        return scaled, 0
    if kind == "Normalization":
        return 0, 0 if config.get("mean") is not None else 3
    if kind.startswith("Separable"):
        return 2 + bias, 0
    if kind == "PReLU":
        return 1, 0
    if kind == "TimeDistributed":
        inner = config.get("layer") or {}
        bias = (inner.get("config") or {}).get("use_bias") is not False
        return (1 + bias, 0) if inner.get("class_name") == "Dense" else (0, 0)
    if kind in _keras_recurrent.RULES:
        return _keras_recurrent.weight_count(kind, config), 0
    return (1 + bias, 0) if "Conv" in kind or kind == "Dense" else (0, 0)


def _unchanged(call: LayerCall) -> None:
    """What does nothing when not training, whatever its settings are."""
    for key in call.layer.config:
        call.setting(key)
    call.add("Identity", [call.x])


def _dense(call: LayerCall) -> None:
    x, (name, shape) = call.x, call.weight(0, 2)
    if shape[1] != call.integer("units") or call.reader.shape(x)[-1] != shape[0]:
        raise Unsupported(f"its units or its input do not fit its weights {list(shape)}")
    inputs = [x, name]
    if call.flag("use_bias", True):
        call.array(1, shape[1:])
        inputs.append(call.weight(1)[0])
    linear = call.fresh("linear")
    if len(call.reader.shape(x)) == 2:
        call.add("Gemm", inputs, linear)
    elif len(inputs) == 2:
        call.add("MatMul", inputs, linear)
    else:
        product = call.add("MatMul", inputs[:2], call.fresh("product"))
        call.add("Add", [product, inputs[2]], linear)
    call.activate(linear, call.setting("activation"))


def _activation(call: LayerCall) -> None:
    call.activate(call.x, call.setting("activation"))


def _relu(call: LayerCall) -> None:
    if call.number("threshold", 0):
        raise Unsupported("a threshold other than 0 is not supported")
    slope, most = call.number("negative_slope", 0), call.setting("max_value")
    if slope:
        x = call.add("LeakyRelu", [call.x], call.fresh("leaky"), alpha=slope)
        least = ""
    elif most is None:
        call.add("Relu", [call.x])
        return
    else:
        x, least = call.x, call.constant("least", np.float32(0))
    if most is None:
        call.add("Identity", [x])
        return
    limit = call.constant("most", np.float32(call.number("max_value", 0)))
    call.add("Clip", [x, least, limit])


def _leaky_relu(call: LayerCall) -> None:
    key = "alpha" if "alpha" in call.layer.config else "negative_slope"
    call.add("LeakyRelu", [call.x], alpha=call.number(key, 0.3))


def _elu(call: LayerCall) -> None:
    call.add("Elu", [call.x], alpha=call.number("alpha", 1))


def _thresholded_relu(call: LayerCall) -> None:
    """What is above theta, and 0."""
    theta = call.constant("theta", np.float32(call.number("theta", 1)))
    above = call.add("Greater", [call.x, theta], call.fresh("above"))
    call.add("Where", [above, call.x, call.constant("zero", np.float32(0))])


def _prelu(call: LayerCall) -> None:
    slope, shape = call.weight(0)
    call.setting("shared_axes")  # whose size is 1 in the weights
    if len(shape) != len(call.reader.shape(call.x)) - 1:
        raise Unsupported(f"its weights are {list(shape)}, its input {_sizes(call)}")
    call.add("PRelu", [call.x, slope])


def _softmax(call: LayerCall) -> None:
    call.add("Softmax", [call.x], axis=_axis(call, call.setting("axis", -1)))


_FUNCTIONS = {
    **dict.fromkeys(("add", "addv2"), "Add"),
    **dict.fromkeys(("sub", "subtract"), "Sub"),
    **dict.fromkeys(("mul", "multiply"), "Mul"),
    **dict.fromkeys(("divide", "truediv", "truedivide", "realdiv"), "Div"),
    "maximum": "Max",
    "minimum": "Min",
}


def function(call: LayerCall) -> None:
    """A function called in place of a layer, as `x + 3`: known by its name, a class of Keras 3 or
    the setting `function` before.
    """
    name = str(call.setting("function", call.layer.kind)).rpartition(".")[2]
    op = _FUNCTIONS.get(name.lower())
    if op is not None and len(call.inputs) == 2:
        call.add(op, call.inputs)
    elif name.lower() in ACTIVATIONS:
        call.activate(call.x, name.lower())
    else:
        raise MissingOperator(f"the function {short(name)} is not supported")


def _sizes(call: LayerCall) -> list[int]:
    return list(call.reader.shape(call.x))


def _axis(call: LayerCall, setting: Any, rank: int | None = None) -> int:
    """One axis, counted from the first, given as a number or a list of one."""
    rank = rank or len(call.reader.shape(call.x))
    axis = setting[0] if isinstance(setting, list) and len(setting) == 1 else setting
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise Unsupported(f"its axis is {short(setting)}, its input has {rank} axes")
    return axis % rank


def _scale_and_shift(call: LayerCall, channels: int) -> tuple[Array, Array, int]:
    """Both of each channel, and how many of the layer's weights they are."""
    index = 0
    arrays = []
    for key, default in (("scale", np.ones), ("center", np.zeros)):
        if call.flag(key, True):
            arrays.append(call.array(index, (channels,)))
            index += 1
        else:
            arrays.append(default(channels, np.float32))
    return arrays[0], arrays[1], index


def _batch_normalization(call: LayerCall) -> None:
    sizes = _sizes(call)
    axis = _axis(call, call.setting("axis", -1))
    if call.setting("mode", 0) != 0:
        raise Unsupported("mode other than 0 is not supported")
    scale, shift, index = _scale_and_shift(call, sizes[axis])
    mean, variance = (call.array(index + i, (sizes[axis],)) for i in range(2))
    arrays = {"scale": scale, "shift": shift, "mean": mean, "variance": variance}
    names = [call.constant(key, array) for key, array in arrays.items()]
    epsilon = call.number("epsilon", 1e-3)
    if axis == 1:
        call.add("BatchNormalization", [call.x, *names], epsilon=epsilon)
    elif axis == len(sizes) - 1:
        call.turned("BatchNormalization", call.x, names, epsilon=epsilon)
    else:
        raise Unsupported(f"its axis {axis} is neither the first after the batch nor the last")


def _layer_normalization(call: LayerCall) -> None:
    sizes, setting = _sizes(call), call.setting("axis", -1)
    axes = [_axis(call, a) for a in (setting if isinstance(setting, list) else [setting])]
    if sorted(axes) != list(range(min(axes), len(sizes))) or call.flag("rms_scaling", False):
        raise Unsupported(f"its axes {axes} are not the last ones, or it has rms_scaling")
    shape = tuple(sizes[min(axes) :])
    index, inputs = 0, [call.x]
    for key, fill in (("scale", 1.0), ("center", 0.0)):
        if call.flag(key, True):
            call.array(index, shape)
            inputs.append(call.weight(index)[0])
            index += 1
        else:
            inputs.append(call.constant(key, np.full(shape, fill, np.float32)))
    epsilon = call.number("epsilon", 1e-3)
    call.add("LayerNormalization", inputs, axis=min(axes) - len(sizes), epsilon=epsilon)


def _group_normalization(call: LayerCall) -> None:
    sizes, groups = _sizes(call), call.integer("groups", 32)
    axis = _axis(call, call.setting("axis", -1))
    channels = sizes[axis]
    if axis not in (1, len(sizes) - 1):
        raise Unsupported(f"its axis {axis} is neither the first after the batch nor the last")
    scale, shift, _ = _scale_and_shift(call, channels)
    names = [call.constant("scale", scale), call.constant("shift", shift)]
    attrs: dict[str, Any] = {
        "num_groups": channels if groups == -1 else groups,
        "epsilon": call.number("epsilon", 1e-3),
    }
    if axis == 1:
        call.add("GroupNormalization", [call.x, *names], **attrs)
    else:
        call.turned("GroupNormalization", call.x, names, **attrs)


def _normalization(call: LayerCall) -> None:
    """Less the mean, by the deviation; both are weights or settings."""
    sizes, setting = _sizes(call), call.setting("axis", -1)
    if call.flag("invert", False):
        raise Unsupported("invert is not supported")
    axes = [] if call.layer.config.get("axis", -1) is None else setting
    kept = {_axis(call, axis) for axis in (axes if isinstance(axes, list) else [axes])}
    shape = tuple(n if axis in kept else 1 for axis, n in enumerate(sizes))[1:]
    given = call.setting("mean"), call.setting("variance")
    if None in given:
        kept_shape = tuple(n for axis, n in enumerate(sizes) if axis in kept)
        mean, variance = (call.array(i, kept_shape) for i in range(2))
    else:
        mean, variance = (np.asarray(value, np.float64) for value in given)
    mean, variance = (_shaped(array, shape) for array in (mean, variance))
    deviation = np.maximum(np.sqrt(variance), 1e-7)
    centred = call.add("Sub", [call.x, call.constant("mean", mean)], call.fresh("centred"))
    call.add("Div", [centred, call.constant("deviation", deviation)])


def _shaped(array: Array, shape: Shape) -> Array:
    if array.size == 1:
        return np.full(shape, array.item(), np.float32)
    if array.size != math.prod(shape):
        raise Unsupported(f"its mean or variance is {list(array.shape)}, expected {list(shape)}")
    return array.reshape(shape).astype(np.float32)


def _rescaling(call: LayerCall) -> None:
    x = call.x
    for op, key, default in (("Mul", "scale", 1.0), ("Add", "offset", 0.0)):
        value = call.setting(key, default)
        try:
            numbers = np.asarray(value, np.float32)
        except (TypeError, ValueError):
            raise Unsupported(f"its {key} is {short(value)}") from None
        y = "" if op == "Add" else call.fresh("scaled")
        x = call.add(op, [x, call.constant(key, numbers)], y)


def _flatten(call: LayerCall) -> None:
    """Channels last within each image, whatever the data_format."""
    x = call.x
    if not call.channels_last() and len(call.reader.shape(x)) > 2:
        x = call.fresh("nhwc")
        nhwc.last(call.reader, call.x, x)
    call.add("Flatten", [x], axis=1)


def _reshape(call: LayerCall) -> None:
    target = call.setting("target_shape")
    if not isinstance(target, list) or not all(isinstance(n, int) for n in target):
        raise Unsupported(f"its target_shape is {short(target)}")
    call.add("Reshape", [call.x, call.constant("shape", np.array([0, *target], np.int64))])


def _permute(call: LayerCall) -> None:
    dims = call.sizes("dims", len(_sizes(call)) - 1)
    if sorted(dims) != list(range(1, len(dims) + 1)):
        raise Unsupported(f"its dims are {dims}")
    call.add("Transpose", [call.x], perm=[0, *dims])


def _repeat_vector(call: LayerCall) -> None:
    count = call.integer("n")
    lifted = call.add(
        "Unsqueeze", [call.x, call.constant("axes", np.array([1]))], call.fresh("one")
    )
    call.add("Tile", [lifted, call.constant("repeats", np.array([1, count, 1]))])


def _merge(op: str) -> Callable[[LayerCall], None]:
    """Element by element, of two or more."""

    def translate(call: LayerCall) -> None:
        ranks = {len(call.reader.shape(x)) for x in call.inputs}
        if len(call.inputs) < 2:
            raise Unsupported("has one input, expected two or more")
        if len(ranks) != 1:
            raise Unsupported(f"its inputs have {sorted(ranks)} axes")
        if op == "Mean":
            call.add("Mean", call.inputs)
            return
        x = call.inputs[0]
        for number, other in enumerate(call.inputs[1:], 2):
            y = "" if number == len(call.inputs) else call.fresh("part")
            x = call.add(op, [x, other], y)

    return translate


def _concatenate(call: LayerCall) -> None:
    axis = _axis(call, call.setting("axis", -1), len(call.reader.shape(call.inputs[0])))
    call.add("Concat", call.inputs, axis=axis)


def _time_distributed(call: LayerCall) -> None:
    """A layer of each time, which layers that keep all axes but the last are anyway."""
    inner = call.setting("layer") or {}
    kind = str(inner.get("class_name"))
    if kind not in ("Activation", "Dense", "Dropout", "ELU", "LeakyReLU", "ReLU"):
        raise MissingOperator(f"of a {short(kind)} is not supported")
    layer = Layer(kind, call.layer.name, "", dict(inner.get("config") or {}))
    layer.arrays = call.layer.arrays
    step = LayerCall(
        call.reader, layer, call.inputs, call.y, version=call.version, weights=call.weight_name
    )
    RULES[kind](step)
    step.finish()


_TRAINING = (
    "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise "
    "AlphaDropout ActivityRegularization Identity RandomFlip RandomRotation RandomZoom "
    "RandomTranslation RandomContrast RandomBrightness"
)
RULES: dict[str, Callable[[LayerCall], None]] = {
    **_keras_recurrent.RULES,
    **_keras_windows.RULES,
    **dict.fromkeys(_TRAINING.split(), _unchanged),
    "Activation": _activation,
    "Add": _merge("Add"),
    "Average": _merge("Mean"),
    "BatchNormalization": _batch_normalization,
    "Concatenate": _concatenate,
    "Dense": _dense,
    "ELU": _elu,
    "Flatten": _flatten,
    "GroupNormalization": _group_normalization,
    "LayerNormalization": _layer_normalization,
    "LeakyReLU": _leaky_relu,
    "Maximum": _merge("Max"),
    "Minimum": _merge("Min"),
    "Multiply": _merge("Mul"),
    "Normalization": _normalization,
    "Permute": _permute,
    "PReLU": _prelu,
    "ReLU": _relu,
    "RepeatVector": _repeat_vector,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Subtract": _merge("Sub"),
    "TimeDistributed": _time_distributed,
    "ThresholdedReLU": _thresholded_relu,
}
