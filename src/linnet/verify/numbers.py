"""Two arrays of one value."""

from __future__ import annotations

import math

import numpy as np

from ..graph import Array


def like(v: Array, shape: tuple[int, ...]) -> Array:
    """`v`, channels first if it was channels last, and without or with axes of 1."""
    if v.shape == shape or v.size != math.prod(shape) or len(v) != shape[0]:
        return v
    if v.ndim == 4 and len(shape) == 4 and v.transpose(0, 3, 1, 2).shape == shape:
        return v.transpose(0, 3, 1, 2)
    if [n for n in v.shape[1:] if n > 1] == [n for n in shape[1:] if n > 1]:
        return v.reshape(shape)
    return v


def rms(u: Array) -> float:
    return float(np.sqrt(np.mean(np.square(u, dtype=np.float64))))


def error(u: Array, v: Array) -> float:
    """Largest difference relative to the rms of u; infinite where they do not compare."""
    if u.shape != v.shape or not np.array_equal(np.isfinite(u), np.isfinite(v)):
        return math.inf
    with np.errstate(invalid="ignore"):  # infinities of both
        largest = float(np.max(np.abs(u - v), where=np.isfinite(u), initial=0.0))
    if largest == 0:
        return 0.0
    size = rms(u[np.isfinite(u)])
    return largest / size if size > 0 else math.inf
