"""Numbers of fewer bits."""

from __future__ import annotations

import numpy as np

from ..graph import Array
from ._lowering import axis_of, of_constants
from ._registry import Operator


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
    exact = q.astype(np.int64)
    if zero is not None:
        if zero.dtype != q.dtype or zero.shape != scale.shape:
            raise ValueError("its zero point does not fit")
        exact = exact - zero.astype(np.int64).reshape(shape)
    return np.asarray(exact.astype(scale.dtype) * scale.reshape(shape))


def first_input(q: Array, *others: Array | None, **attrs: object) -> int:
    return q.size


OPERATORS = (Operator("DequantizeLinear", dequantize_linear, of_constants, first_input),)
