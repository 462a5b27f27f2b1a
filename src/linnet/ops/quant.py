"""Numbers of fewer bits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..graph import ELEMENT_TYPES, FLOAT32, Array, Shape
from ..text import short
from ._broadcast import pointwise
from ._lowering import Call, Lowering, Refusal, axis_of
from ._registry import Operator

_TO_ONNX = {name: ELEMENT_TYPES[name] for name in ("uint8", "int8", "int16", "int32")}


def quantize(w: Array) -> tuple[Array, Array]:
    """float32 weights as int8 and one float32 scale for each index of axis 0: w is about q * scale.

    The scale of a row is its largest magnitude / 127, or 1 for a row of next to nothing; q is
    rounded to nearest even. This is DequantizeLinear's meaning of int8 without a zero point.
    ValueError if w is not finite.
    """
    if not np.isfinite(w).all():
        raise ValueError("has infinities or NaN")
    rows = w.reshape(len(w), -1)
    scale = np.abs(rows).max(axis=1).astype(np.float32) / np.float32(127)
    scale[scale < np.finfo(np.float32).tiny] = 1
    q = np.rint(rows / scale[:, None]).astype(np.int8)
    return q.reshape(w.shape), scale


def rounded(w: Array, dtype: str) -> Array:
    """The float32 weights that a layer has when they are kept as "f32", "f16" or "int8"."""
    if dtype == "int8":
        return dequantize_linear(*quantize(w), axis=0)
    return w.astype(np.float16 if dtype == "f16" else np.float32).astype(np.float32)


def dequantize_linear(
    q: Array, scale: Array, zero: Array | None = None, *, axis: int = 1, block_size: int = 0
) -> Array:
    """scale * (q - zero), of which scale and zero are single numbers or have one for each index of
    `axis`.
    """
    if block_size:
        raise ValueError("scales of blocks are not supported")
    if q.dtype.kind not in "iu" or scale.dtype.kind != "f":
        raise ValueError("only integers with a real scale are supported")
    shape = [1] * q.ndim
    if scale.ndim:
        axis = axis_of(axis, q.ndim)
        shape[axis] = q.shape[axis]
    # Of 16 bits, and the difference of two, float32 has every number.
    short = q.dtype.itemsize <= 2 and scale.dtype != np.float16
    exact = q.astype(scale.dtype if short else np.int64)
    if zero is not None:
        if zero.dtype != q.dtype or zero.shape != scale.shape:
            raise ValueError("its zero point does not fit")
        exact -= zero.astype(exact.dtype).reshape(shape)
    y = exact.astype(scale.dtype, copy=False)
    y *= scale.reshape(shape)
    return y


def quantize_linear(
    x: Array,
    scale: Array,
    zero: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Array:
    """x / scale, rounded to the nearest integer, plus zero, as the nearest number of its type, by
    default uint8. Both are single numbers or have one for each index of `axis`. `precision` and
    `saturate` are of float8.
    """
    if block_size or precision:
        raise ValueError("scales of blocks are not supported")
    zero = np.zeros(scale.shape, np.uint8) if zero is None else zero
    if zero.dtype.kind not in "iu" or output_dtype not in (0, _TO_ONNX.get(zero.dtype.name)):
        raise ValueError("its zero point does not fit")
    shape = [1] * x.ndim
    if scale.ndim:
        shape[axis_of(axis, x.ndim)] = scale.size
    exact = np.rint(x / scale.reshape(shape)) + zero.astype(np.int64).reshape(shape)
    limits = np.iinfo(zero.dtype)
    return np.asarray(np.clip(np.nan_to_num(exact), limits.min, limits.max).astype(zero.dtype))


class Quantized(NamedTuple):
    """The integers that stand for the reals `base`, which have not been rounded to them."""

    base: str
    scale: float
    zero: int
    dtype: np.dtype[np.generic]

    def compute(self, low: Lowering, call: Call) -> str:
        x = _by_number(low, call, "Mul", (self.base, 1 / self.scale), "scaled")
        x = pointwise(low, call, "Round", [x], step="rounded")
        x = _by_number(low, call, "Add", (x, self.zero), "shifted")
        return pointwise(low, call, "Cast", [x], {"to": _TO_ONNX[self.dtype.name]})

    def reshaped(self, low: Lowering, shape: Shape) -> None:
        return None


def _by_number(low: Lowering, call: Call, op: str, pair: tuple[str, float], step: str = "") -> str:
    """Every element of a value and one number; on the way to the result unless that changes
    nothing.
    """
    x, number = pair
    if number == (1 if op == "Mul" else 0) and step:
        return x
    name = low.add_constant(f"{call.output}.{op.lower()}", np.array(number, np.float32))
    return pointwise(low, call, op, [x, name], step=step)


def _parameters(low: Lowering, call: Call) -> tuple[float, Array]:
    """Scale and zero point, which is of the type of the integers."""
    scale = low.numbers(call.input(1), "scale")
    zero = np.zeros((), np.uint8)
    if call.input(2):
        zero = low.numbers(call.input(2), "zero point")
    if scale.size != 1 or zero.size != 1 or call.attrs["block_size"]:
        raise Refusal("only one scale and zero point is supported, of what is computed")
    if scale.dtype.kind != "f" or zero.dtype.name not in _TO_ONNX:
        raise Refusal(f"its scale and zero point are {scale.dtype} and {zero.dtype}")
    number = float(scale.item())
    if not np.finfo(np.float32).tiny <= number < np.inf:
        raise Refusal(f"its scale is {short(number)}")
    return number, zero.reshape(())


def lower_quantize(low: Lowering, call: Call) -> None:
    """With one scale: reals, kept within what the integers stand for and rounded to them only where
    something reads the integers.
    """
    x = call.input(0)
    shape = low.shape(x)
    scale, zero = _parameters(low, call)
    if low.dtypes[x] != FLOAT32:
        raise Refusal(f"its input is {low.dtypes[x]}, only float32 is supported")
    if call.attrs["output_dtype"] not in (0, _TO_ONNX[zero.dtype.name]) or call.attrs["precision"]:
        raise Refusal("its type is not that of its zero point")
    limits = np.iinfo(zero.dtype)
    bounds = [
        low.add_constant(f"{call.output}.{what}", np.array((n - int(zero)) * scale, np.float32))
        for what, n in (("least", limits.min), ("most", limits.max))
    ]
    base = pointwise(low, call, "Clip", [x, *bounds], step="real")
    later = Quantized(base, scale, int(zero), zero.dtype)
    low.postpone(call.output, later, shape, zero.dtype)


def lower_dequantize(low: Lowering, call: Call) -> None:
    """Of constants, and of integers with one scale: those made of reals are the reals still."""
    x = call.input(0)
    low.shape(x)
    scale, zero = _parameters(low, call)
    later = low.later.get(x)
    if low.dtypes[x].kind not in "iu":
        raise Refusal(f"its input is {low.dtypes[x]}, only integers are supported")
    if isinstance(later, Quantized) and (later.scale, later.zero) == (scale, int(zero)):
        low.alias[call.output] = later.base
        return
    real = pointwise(low, call, "Cast", [x], {"to": 1}, step="integers")
    real = _by_number(low, call, "Sub", (real, int(zero)), "exact")
    _by_number(low, call, "Mul", (real, scale))


def half_as_many(q: Array, *others: Array | None, **attrs: object) -> int:
    return q.size // 2 + 1  # float32


OPERATORS = (
    Operator("QuantizeLinear", quantize_linear, lower_quantize, half_as_many),
    Operator("DequantizeLinear", dequantize_linear, lower_dequantize, half_as_many),
)
