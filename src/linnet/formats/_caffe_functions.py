"""What Caffe's layers mean that are functions of each number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Shape
from ._caffe_weights import Rule, Weighted
from ._translator import Unsupported

_FRACTIONS = 16  # a power that is no multiple of their inverse is computed by its logarithm
_MOST_POWER = 1 << 20


def is_channels(axis: int, shape: Shape) -> bool:
    return axis in (1, 1 - len(shape)) and len(shape) > 1


def channels_of(reader: Weighted, x: str) -> int:
    """Size of axis 1, which the parameters of a layer belong to."""
    shape = reader.shape(x)
    if len(shape) < 2:
        raise Unsupported("its input has no channels (axis 1)")
    return shape[1]


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
    gate = reader.part(layer, "Sigmoid", [times(reader, layer, inputs[0], layer.swish_param.beta)])
    reader.finish(layer, reader.part(layer, "Mul", [inputs[0], gate]), outputs[0])


def _bnll(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """log(1 + exp(x))"""
    reader.add(layer.name, "Softplus", inputs, outputs)


def _threshold(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """1 where x > threshold, else 0."""
    x = plus(reader, layer, inputs[0], -layer.threshold_param.threshold)
    x = reader.part(layer, "Sign", [x])
    reader.finish(layer, reader.part(layer, "Relu", [x]), outputs[0])


def times(reader: Weighted, layer: Any, x: str, factor: float) -> str:
    if factor == 1:
        return x
    return reader.part(layer, "Mul", [x, reader.number(layer, "factor", factor)])


def plus(reader: Weighted, layer: Any, x: str, term: float) -> str:
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
        x = times(reader, layer, inputs[0], param.scale)
        y = raised(reader, layer, plus(reader, layer, x, param.shift), param.power)
    reader.finish(layer, y, outputs[0])


def raised(reader: Weighted, layer: Any, x: str, power: float) -> str:
    """x ^ power: by products and square roots, which are exact to the last digit, where few of
    them will do.
    """
    if not math.isfinite(power) or (power == int(power) and abs(power) >= _MOST_POWER):
        raise Unsupported(f"to the power {power:g} is not supported")
    if power < 0:
        y = x if power == -1 else raised(reader, layer, x, -power)
        return reader.part(layer, "Reciprocal", [y])
    if power * _FRACTIONS != int(power * _FRACTIONS) or power >= _MOST_POWER:
        # Of what is negative this is NaN, as a power that is no integer is.
        scaled = times(reader, layer, reader.part(layer, "Log", [x]), power)
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
    x = times(reader, layer, inputs[0], log * param.scale)
    y = reader.part(layer, "Exp", [plus(reader, layer, x, log * param.shift)])
    reader.finish(layer, y, outputs[0])


def _log(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The logarithm to the base of shift + scale * x."""
    param = layer.log_param
    log = _logarithm_of(param.base)
    if log == 0:
        raise Unsupported("base 1 has no logarithm")
    x = plus(reader, layer, times(reader, layer, inputs[0], param.scale), param.shift)
    y = times(reader, layer, reader.part(layer, "Log", [x]), 1 / log)
    reader.finish(layer, y, outputs[0])


RULES: dict[str, Rule] = {
    "AbsVal": Rule(_absolute),
    "BNLL": Rule(_bnll),
    "Clip": Rule(_clip),
    "ELU": Rule(_elu),
    "Exp": Rule(_exp),
    "Log": Rule(_log),
    "Power": Rule(_power),
    "PReLU": Rule(_prelu),
    "ReLU": Rule(_relu),
    "Sigmoid": Rule(_sigmoid),
    "Swish": Rule(_swish),
    "TanH": Rule(_tanh),
    "Threshold": Rule(_threshold),
}
