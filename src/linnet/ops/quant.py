"""Numbers of fewer bits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..graph import ELEMENT_TYPES, FLOAT32, Array, Shape
from ..text import shape_text, short
from ._broadcast import arithmetic, pointwise
from ._lowering import Call, Lowering, Refusal, axis_beside_batch, axis_of
from ._registry import Operator

DType = np.dtype[Any]

_TO_ONNX = {name: ELEMENT_TYPES[name] for name in ("uint8", "int8", "int16", "int32")}
_FROM_ONNX = {number: np.dtype(name) for name, number in _TO_ONNX.items()}


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


def _along_axis(x: Array, parameter: Array, axis: int) -> Array:
    """A scale or zero point, one number or one for each index of `axis`, as it broadcasts to x."""
    if parameter.size == 1:
        return parameter.reshape(())
    shape = [1] * x.ndim
    shape[axis_of(axis, x.ndim)] = -1
    if parameter.size != x.shape[axis] or parameter.ndim > 1:
        raise ValueError(f"{list(parameter.shape)} scales do not fit axis {axis} of {x.shape}")
    return parameter.reshape(shape)


def dequantize_linear(
    q: Array,
    scale: Array,
    zero: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Array:
    """scale * (q - zero), of which scale and zero are single numbers or have one for each index of
    `axis`.
    """
    if block_size:
        raise ValueError("scales of blocks are not supported")
    if q.dtype.kind not in "iu" or scale.dtype.kind != "f":
        raise ValueError("only integers with a real scale are supported")
    if not (np.isfinite(scale).all() and (scale >= 0).all()):
        raise ValueError("a scale is negative, infinite or no number")
    # Of 16 bits, and the difference of two, float32 has every number.
    short = q.dtype.itemsize <= 2 and scale.dtype != np.float16
    exact = q.astype(scale.dtype if short else np.int64)
    if zero is not None:
        if zero.dtype != q.dtype or zero.size != scale.size:
            raise ValueError(
                f"its zero point is {zero.dtype} {list(zero.shape)}, its integers are {q.dtype} "
                f"with scales {list(scale.shape)}"
            )
        exact = exact - _along_axis(q, zero.astype(exact.dtype), axis)
    y = exact.astype(scale.dtype, copy=False)
    y *= _along_axis(q, scale, axis)
    return y


def integers_and_scales(
    q: Array, scale: Array, zero: Array | None = None, *, axis: int = 1
) -> tuple[Array, Array]:
    """What dequantize_linear multiplies: q - zero, and the scales."""
    if zero is not None and zero.any():
        wide = np.int16 if q.dtype.itemsize == 1 else np.int64
        q = q.astype(wide) - _along_axis(q, zero.astype(wide), axis)
    return q, scale.ravel()


def scales_of_rows(w: Array, q: Array, scales: Array) -> Array | None:
    """One of `scales` for each index of axis 0 such that w is q times it, exactly; None if there
    are none, or q need more than 8 bits.
    """
    if int(q.max(initial=0)) - int(q.min(initial=0)) > 255:
        return None
    rows, products = q.reshape(len(q), -1).astype(np.int16), w.reshape(len(w), -1)
    known = np.unique(scales.astype(np.float32))
    each, largest = np.arange(len(rows)), np.abs(rows).argmax(1)
    with np.errstate(all="ignore"):
        about = np.nan_to_num(products[each, largest].astype(np.float64) / rows[each, largest])
    nearest = np.searchsorted((known[1:] + known[:-1]) / 2, about)
    found, left = known[nearest], each
    for step in (0, -1, 1):  # products are rounded, and neighbours may be close
        other = known[np.clip(nearest[left] + step, 0, len(known) - 1)]
        parts = 1 + (rows.size >> 18)  # all rows at once would take several times the weights
        fits = np.concatenate(
            [
                (rows[i].astype(np.float32) * by[:, None] == products[i]).all(1)
                for i, by in zip(np.array_split(left, parts), np.array_split(other, parts))
            ]
        )
        found[left[fits]] = other[fits]
        left = left[~fits]
        if not left.size:
            return found if found.min() > 0 else None
    return None


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
    exact = np.rint(x / _along_axis(x, scale, axis))
    exact = exact + _along_axis(x, zero.astype(np.int64), axis)
    limits = np.iinfo(zero.dtype)
    return np.asarray(np.clip(np.nan_to_num(exact), limits.min, limits.max).astype(zero.dtype))


class Quantized(NamedTuple):
    """The integers that stand for the reals `base`, which may not have been rounded to them."""

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
    """Every element of a value and one number; the value itself if that changes nothing."""
    x, number = pair
    if number == (1 if op == "Mul" else 0):
        return x
    name = low.add_constant(f"{call.output}.{op.lower()}", np.array(number, np.float32))
    return pointwise(low, call, op, [x, name], step=step)


class _Parameters(NamedTuple):
    """Scale and zero point, which is of the type of the integers: both of one number without axes,
    or of one for each index of `axis`.
    """

    scale: Array
    zero: Array
    axis: int

    @property
    def number(self) -> float:
        return float(self.scale.item())

    def shaped(self, rank: int) -> tuple[Array, Array]:
        shape = [-1 if axis == self.axis else 1 for axis in range(rank)]
        return self.scale.reshape(shape), self.zero.reshape(shape)


def _parameters(low: Lowering, call: Call, dtype: DType) -> _Parameters:
    """Those of a call, of integers that are `dtype` unless it has a zero point."""
    shape = low.shape(call.input(0))
    scale = low.numbers(call.input(1), "scale")
    zero = np.zeros(scale.shape, dtype)
    if call.input(2):
        zero = low.numbers(call.input(2), "zero point")
    if call.attrs["block_size"]:
        raise Refusal("scales of blocks are not supported")
    if scale.dtype.kind != "f" or zero.dtype.name not in _TO_ONNX:
        raise Refusal(f"its scale and zero point are {scale.dtype} and {zero.dtype}")
    if scale.size != zero.size or scale.ndim > 1:
        raise Refusal(f"its scale is {list(scale.shape)}, its zero point {list(zero.shape)}")
    low.spend(scale.size)
    with np.errstate(over="ignore"):
        scale = scale.astype(np.float32)
    for number in scale.ravel():
        if not np.finfo(np.float32).tiny <= number < np.inf:
            raise Refusal(f"its scale is {short(float(number))}")
    if scale.size == 1:
        return _Parameters(scale.reshape(()), zero.reshape(()), 0)
    axis = axis_beside_batch(call.attrs["axis"], len(shape))
    if scale.size != shape[axis]:
        raise Refusal(f"{scale.size} scales do not fit axis {axis} of {shape_text(shape)}")
    return _Parameters(scale, zero, axis)


def _kept(low: Lowering, given: _Parameters) -> bool:
    """Whether such integers are computed with."""
    return not low.graph.in_float and given.zero.dtype.itemsize == 1 and given.scale.ndim == 0


def _emit(low: Lowering, call: Call, x: str, given: _Parameters, step: str = "") -> str:
    """The operator as the core takes it."""
    inputs = [x]
    for i, what, array in (1, "scale", given.scale), (2, "zero", given.zero):
        known = low.constants.get(call.input(i))
        same = known is not None and (known.shape, known.dtype) == (array.shape, array.dtype)
        name = call.input(i) if same else low.add_constant(f"{call.output}.{what}", array)
        inputs.append(name)
    return pointwise(low, call, call.node.op, inputs, step=step)


def _each(low: Lowering, call: Call, op: str, pair: tuple[str, Array], step: str = "") -> str:
    """A value and a constant that broadcasts to it."""
    x, array = pair
    name = low.add_constant(f"{call.output}.{op.lower()}", array.astype(np.float32))
    return arithmetic(low, call, op, (x, name), step)


def _by_computed(low: Lowering, call: Call) -> None:
    """With a scale of one number that is computed, as a zero point may be: in float."""
    x, scale, zero = (call.input(i) for i in range(3))
    if call.attrs["block_size"] or low.shape(scale) != (1,) * len(low.shape(scale)):
        raise Refusal(f"its scale '{scale}' is computed, which has to be one number")
    if zero and zero in low.shapes:
        kind = low.dtypes[zero]
        zero = low.emit(call, "Cast", [zero], {"to": ELEMENT_TYPES["float32"]}, "zero")
    else:
        kind = low.numbers(zero, "zero point").dtype if zero else np.dtype(np.uint8)
    if kind.name not in _TO_ONNX or call.attrs["output_dtype"]:
        raise Refusal(f"its zero point is {kind}, or it has a type of its own")
    if call.node.op == "QuantizeLinear":
        real = arithmetic(low, call, "Div", (x, scale), "scaled")
        real = pointwise(low, call, "Round", [real], step="rounded")
        real = arithmetic(low, call, "Add", (real, zero), "shifted") if zero else real
        low.emit(call, "Cast", [real], {"to": _TO_ONNX[kind.name]})
        return
    real = pointwise(low, call, "Cast", [x], {"to": ELEMENT_TYPES["float32"]}, step="integers")
    real = arithmetic(low, call, "Sub", (real, zero), "exact") if zero else real
    arithmetic(low, call, "Mul", (real, scale))


def _within(low: Lowering, call: Call, x: str, given: _Parameters) -> str:
    """Reals within what integers stand for. To 16 bits they are rounded, of which float32 has all;
    in float, or to more bits, they are not.
    """
    limits = np.iinfo(given.zero.dtype)
    bounds = [float(n - int(given.zero)) for n in (limits.min, limits.max)]
    rounds = given.zero.dtype.itemsize == 2 and not low.graph.in_float
    if rounds:
        x = _by_number(low, call, "Mul", (x, 1 / given.number), "scaled")
        x = pointwise(low, call, "Round", [x], step="rounded")
    else:
        bounds = [n * given.number for n in bounds]
    ends = [
        low.add_constant(f"{call.output}.{what}", np.array(n, np.float32))
        for what, n in zip(("least", "most"), bounds)
    ]
    x = pointwise(low, call, "Clip", [x, *ends], step="limited" if rounds else "real")
    return _by_number(low, call, "Mul", (x, given.number), "real") if rounds else x


def lower_quantize(low: Lowering, call: Call) -> None:
    """To 8 bits with one scale as it is; to 16, reals rounded to what the integers stand for; to
    more, kept within that, and rounded only where something reads the integers. With a scale for
    each index of an axis, or one that is computed, rounded in float."""
    x = call.input(0)
    low.shape(x)
    if call.input(1) in low.shapes:
        _by_computed(low, call)
        return
    asked = _FROM_ONNX.get(call.attrs["output_dtype"], np.dtype(np.uint8))
    given = _parameters(low, call, asked)
    scale, zero = given.scale, given.zero
    if low.dtypes[x] == np.float16:
        x = low.emit(call, "Cast", [x], {"to": ELEMENT_TYPES["float32"]}, "single")
    if low.dtypes[x] != FLOAT32:
        raise Refusal(f"its input is {low.dtypes[x]}, only float32 is supported")
    if call.attrs["output_dtype"] not in (0, _TO_ONNX[zero.dtype.name]) or call.attrs["precision"]:
        raise Refusal("its type is not that of its zero point")
    if _kept(low, given):
        _emit(low, call, x, given)
    elif scale.ndim:
        scale, zero = given.shaped(len(low.shape(x)))
        real = _each(low, call, "Div", (x, scale), "scaled")
        real = pointwise(low, call, "Round", [real], step="rounded")
        real = _each(low, call, "Add", (real, zero), "shifted")
        low.emit(call, "Cast", [real], {"to": _TO_ONNX[zero.dtype.name]})
    else:
        base = _within(low, call, x, given)
        later = Quantized(base, given.number, int(zero), zero.dtype)
        low.postpone(call.output, later, low.shape(x), zero.dtype)


def lower_dequantize(low: Lowering, call: Call) -> None:
    """Of constants, and of 8 bits with one scale as it is. Integers of more that were made of reals
    are the reals still. The scale may be one number that is computed."""
    x = call.input(0)
    low.shape(x)
    if call.input(1) in low.shapes:
        _by_computed(low, call)
        return
    dtype = low.dtypes[x]
    if dtype.kind not in "iu":
        raise Refusal(f"its input is {dtype}, only integers are supported")
    given = _parameters(low, call, dtype)
    if given.zero.dtype != dtype:
        raise Refusal(f"its input is {dtype}, its zero point {given.zero.dtype}")
    half = low.constants[call.input(1)].dtype == np.float16
    if call.attrs["output_dtype"]:
        half = call.attrs["output_dtype"] == ELEMENT_TYPES["float16"]
    last = "single" if half else ""
    y = _reals(low, call, given, last)
    if half:
        low.emit(call, "Cast", [y], {"to": ELEMENT_TYPES["float16"]})
    elif y != call.output:
        low.alias[call.output] = y


def _reals(low: Lowering, call: Call, given: _Parameters, step: str) -> str:
    x = call.input(0)
    if _kept(low, given):
        return _emit(low, call, x, given, step)
    later = low.later.get(x)
    if isinstance(later, Quantized) and given.scale.ndim == 0:  # of one grid
        same = (later.scale, later.zero) == (given.number, int(given.zero))
        if same:
            return later.base
    real = pointwise(low, call, "Cast", [x], {"to": ELEMENT_TYPES["float32"]}, step="integers")
    if given.scale.ndim:
        scale, zero = given.shaped(len(low.shape(x)))
        real = _each(low, call, "Sub", (real, zero), "exact")
        return _each(low, call, "Mul", (real, scale), step)
    real = _by_number(low, call, "Sub", (real, int(given.zero)), "exact")
    return _by_number(low, call, "Mul", (real, given.number), step)


def half_as_many(q: Array, *others: Array | None, **attrs: object) -> int:
    return q.size // 2 + 1  # float32


OPERATORS = (
    Operator("QuantizeLinear", quantize_linear, lower_quantize, half_as_many),
    Operator("DequantizeLinear", dequantize_linear, lower_dequantize, half_as_many),
)
