"""Element by element: activations, arithmetic, types."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from ..graph import Array
from ..text import shape_text
from ._lowering import Call, Lowering, Refusal
from ._registry import Operator, as_inputs

_DTYPES: dict[int, Any] = {  # of TensorProto.DataType
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
}


def relu(x: Array) -> Array:
    """Negative values become 0; NaN stays."""
    return np.asarray(np.maximum(x, 0))


def clip(x: Array, least: Array | None = None, most: Array | None = None) -> Array:
    """Values beyond the limits become the limits; where those cross, the upper one; NaN stays."""
    x = x if least is None else np.maximum(x, least)
    return np.asarray(x if most is None else np.minimum(x, most))


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def add(a: Array, b: Array) -> Array:
    return np.asarray(a + b)


def subtract(a: Array, b: Array) -> Array:
    return np.asarray(a - b)


def multiply(a: Array, b: Array) -> Array:
    return np.asarray(a * b)


def divide(a: Array, b: Array) -> Array:
    """Of integers what is left without the fraction; ValueError if that divides by zero."""
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if (b == 0).any():
        raise ValueError("integer division by zero")
    return np.asarray(a // b + ((a % b != 0) & ((a < 0) != (b < 0))))


def total(*terms: Array) -> Array:
    return reduce(add, terms)


def batch_normalization(
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Array:
    """Each channel (axis 1) with the statistics of training; `momentum` is of training."""
    if training_mode:
        raise ValueError("training_mode=1 is not supported")
    scale, bias, mean, variance = (
        p.reshape(-1, *(1,) * (x.ndim - 2)) for p in (scale, bias, mean, variance)
    )
    return np.asarray((x - mean) / np.sqrt(variance + epsilon) * scale + bias)


def cast(x: Array, *, round_mode: str = "up", saturate: int = 1, to: int) -> Array:
    """`x` as another type. `round_mode` and `saturate` are of float8, which there is not here."""
    if to not in _DTYPES:
        raise ValueError(f"type {to} is not supported")
    if x.dtype == object and to in (6, 7):  # integers one of which is a batch of any size
        return x
    dtype = np.dtype(_DTYPES[to])
    if x.dtype.kind == "f" and dtype.kind in "iu":
        # Towards zero; beyond the type its nearest number, for NaN 0: ONNX leaves those open.
        limits, x = np.iinfo(dtype), x.astype(np.float64)
        below, beyond = x < limits.min, x >= float(limits.max) + 1
        y = np.where(below | beyond | np.isnan(x), 0, x).astype(dtype)
        y[below], y[beyond] = limits.min, limits.max
        return y
    return x.astype(dtype)


def lower_clip(low: Lowering, call: Call) -> None:
    """Between constants, of which one may be missing."""
    limits = [None, None]
    inputs = [call.input(0), "", ""]
    for index, what in enumerate(("least value", "largest value")):
        name = call.input(index + 1)
        if name:
            array = low.numbers(name, what)
            if array.size != 1 or np.isnan(array).any():
                raise Refusal(f"its {what} '{name}' is not a single number")
            limits[index] = array.item()
            plain = array.shape == () and array.dtype == np.float32
            number = np.array(array.item(), np.float32)
            inputs[index + 1] = (
                name if plain else low.add_constant(f"{call.output}.{index}", number)
            )
    if limits == [0, None]:
        low.emit(call, "Relu", inputs[:1])
    elif limits == [None, None]:
        low.shape(inputs[0])
        low.alias[call.output] = inputs[0]
    else:
        low.emit(call, "Clip", inputs[: 2 if limits[1] is None else 3])


def lower_arithmetic(low: Lowering, call: Call) -> None:
    """With constants: one for all, one for each channel or, Add and Sub, any that broadcast over
    the axes after the batch. Add of two activations, one of which broadcasts to the other.
    """
    x, y = call.input(0), call.input(1)
    op = call.node.op
    if op in ("Add", "Mul") and x in low.constants:
        x, y = y, x
    shape = low.shape(x)
    if y in low.constants:
        _with_constant(low, call, x, y)
        return
    if op != "Add":
        raise Refusal("of two computed values is not supported")
    if len(low.shape(y)) != len(shape):
        raise Refusal(f"of {shape_text(shape)} and {shape_text(low.shape(y))} is not supported")
    try:
        low.emit(call, "Add", [x, y])
    except Refusal:
        low.emit(call, "Add", [y, x])  # the second one is broadcast to the first


def _with_constant(low: Lowering, call: Call, x: str, y: str) -> None:
    op, shape, array = call.node.op, low.shape(x), low.numbers(y, "constant")
    dims = array.shape
    if len(dims) >= len(shape) > 0 and math.prod(dims[: len(dims) - len(shape) + 1]) == 1:
        dims = dims[len(dims) - len(shape) + 1 :]  # leading ones, the batch axis included
    if len(dims) >= len(shape):
        found = f"the constant {list(array.shape)} has a batch axis, or more axes than"
        raise Refusal(f"{found} {shape_text(shape)}")
    channels = shape[1] if len(shape) > 1 else 0
    if channels and (array.size == 1 or dims == (channels,) + (1,) * (len(shape) - 2)):
        low.spend(2 * channels)
        values = np.broadcast_to(array.astype(np.float64).ravel(), channels)
        if op == "Div":
            values = 1 / values
            if not np.isfinite(values).all():
                raise Refusal(f"divides by '{y}', which holds zeros")
        scale = values if op in ("Mul", "Div") else np.ones(channels)
        shift = np.zeros(channels) if op in ("Mul", "Div") else values if op == "Add" else -values
        low.emit(call, "Affine", [x], {"scale": scale, "shift": shift})
    elif op in ("Add", "Sub"):
        change = ("minus" if op == "Sub" else "plus") + "x".join(map(str, dims))
        sign = -1 if op == "Sub" else 1
        plain = op == "Add" and dims == array.shape
        name = low.weight(
            y, "constant", *(() if plain else (change, lambda c: sign * c.reshape(dims)))
        )
        low.emit(call, "Add", [x, name])
    else:
        found = f"the factor {list(array.shape)} is not one per channel of"
        raise Refusal(f"{found} {shape_text(shape)}")


def lower_sum(low: Lowering, call: Call) -> None:
    """Of activations of one shape."""
    sum_ = call.input(0)
    low.shape(sum_)
    if len(call.inputs) == 1:
        low.alias[call.output] = sum_
    for index, name in enumerate(call.inputs[1:], 1):
        low.shape(name)
        step = f"sum{index}" if index + 1 < len(call.inputs) else ""
        sum_ = low.emit(call, "Add", [sum_, name], step=step)


def lower_batch_normalization(low: Lowering, call: Call) -> None:
    """Part of the layer before it, else a convolution of each channel."""
    if call.attrs["training_mode"]:
        raise Refusal("training_mode=1 is not supported")
    shape = low.shape(call.input(0))
    parameters = []
    for index, what in enumerate(("scale", "bias", "mean", "variance"), 1):
        array = low.numbers(call.input(index), what)
        if len(shape) < 2 or array.shape != (shape[1],):
            raise Refusal(
                f"its {what} has shape {list(array.shape)}, its input {shape_text(shape)}"
            )
        parameters.append(array.astype(np.float64))
    scale, bias, mean, variance = parameters
    if not (variance + call.attrs["epsilon"] > 0).all():
        raise Refusal("variance + epsilon is not positive everywhere")
    low.spend(4 * shape[1])
    scale = scale / np.sqrt(variance + call.attrs["epsilon"])
    low.emit(call, "Affine", [call.input(0)], {"scale": scale, "shift": bias - mean * scale})


def lower_cast(low: Lowering, call: Call) -> None:
    """To float32, float16, an integer of up to 64 bits with a sign, uint8 or bool."""
    x, to = call.input(0), call.attrs["to"]
    low.shape(x)
    if _DTYPES.get(to, np.float64) == np.float64:
        raise Refusal(f"to type {to} is not supported")
    if low.dtypes[x] == _DTYPES[to]:
        low.alias[call.output] = x
    else:
        low.emit(call, "Cast", [x], {"to": to})


def broadcast(a: Array, b: Array) -> int:
    return math.prod(np.broadcast_shapes(a.shape, b.shape))


OPERATORS = (
    Operator("Relu", relu, None),
    Operator("Clip", clip, lower_clip, as_inputs),
    Operator("Sigmoid", sigmoid, None, as_inputs),
    Operator("Add", add, lower_arithmetic, broadcast),
    Operator("Sub", subtract, lower_arithmetic, broadcast),
    Operator("Mul", multiply, lower_arithmetic, broadcast),
    Operator("Div", divide, lower_arithmetic, broadcast),
    Operator("Sum", total, lower_sum),
    Operator("BatchNormalization", batch_normalization, lower_batch_normalization),
    Operator("Cast", cast, lower_cast, as_inputs),
)
