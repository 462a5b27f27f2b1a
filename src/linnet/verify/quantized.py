"""What explains a difference where values or weights are integers that stand for reals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..graph import Array
from ..ops.quant import quantize
from .case import Case
from .integers import NEAR, Integers
from .numbers import rms

SHARE = 0.99  # of the numbers that a cause has to explain


def causes(case: Case) -> Iterator[str]:
    a, b = case.a.of_integers(case.first.value), case.b.of_integers(case.first.other)
    if a and b:
        yield from _parameters(case, a, b)
    known = b or a
    if known and case.u.shape == case.v.shape and np.isfinite([case.u, case.v]).all():
        yield from _numbers(case, known)


def _parameters(case: Case, a: Integers, b: Integers) -> Iterator[str]:
    names = case.a.name, case.b.name
    if abs(a.scale / b.scale - 1) > 1e-3:
        yield f"scale {a.scale:.6g} in {names[0]}, {b.scale:.6g} in {names[1]}"
    middles = [n.zero - (128 if n.dtype == "uint8" else 0) for n in (a, b)]
    if a.dtype != b.dtype and a.zero == b.zero:
        yield f"signedness: {a.dtype} and {b.dtype} with the same zero point {a.zero}"
    elif a.dtype == b.dtype and a.zero != b.zero:
        yield f"zero point {a.zero} in {names[0]}, {b.zero} in {names[1]}"
    elif middles[0] != middles[1] and {a.dtype, b.dtype} == {"uint8", "int8"}:
        yield f"zero points: {a} in {names[0]}, {b} in {names[1]}"


def _numbers(case: Case, known: Integers) -> Iterator[str]:
    u, v = case.u.astype(np.float64), case.v.astype(np.float64)
    step, (low, high) = known.scale, known.limits
    off = (v - u) / step
    slack = max(2 * NEAR, case.tolerance * rms(u) / step)  # steps that rounding before may cost
    bad = np.abs(off) > slack
    beyond = float(np.mean((u < low - step) | (u > high + step)))
    limited = np.abs(np.clip(u, low, high) - v) <= slack * step
    if beyond and bad.any() and np.mean(limited[bad]) >= SHARE:
        yield (
            f"saturation: {100 * beyond:.2g} % of the numbers lie beyond [{low:.4g}, {high:.4g}], "
            "which is all that the integers stand for"
        )
    if np.mean(~bad) >= SHARE:
        return
    turns = np.rint(off / 256)
    explained = np.abs(off - 256 * turns) <= slack
    if turns.any() and np.abs(turns).max() == 1 and np.mean(explained) >= SHARE:
        yield "signedness: bytes of one sign read as those of the other"
    inside = (v > low + step) & (v < high - step)
    if inside.any():
        yield from _shifted_or_scaled(u[inside], v[inside], step, slack)


def _shifted_or_scaled(u: Array, v: Array, step: float, slack: float) -> Iterator[str]:
    """Of numbers that are not at the limits."""
    off = (v - u) / step
    shift = np.rint(np.median(off))
    if abs(shift) > slack and np.mean(np.abs(off - shift) <= slack) >= SHARE:
        yield f"zero point: all numbers are off by {shift:g} steps of {step:.4g}"
    factor = float(np.vdot(u, v)) / max(float(np.vdot(u, u)), 1e-30)
    near = np.abs(v - factor * u) <= slack * step * max(factor, 1)
    if factor > 0 and abs(factor - 1) > 0.01 and np.mean(near) >= SHARE:
        yield f"scale: all numbers are {factor:.4g} times as large"


def weights(w: Array, z: Array) -> Iterator[str]:
    """Of weights [K, ...] that should be `w`, what was done to their integers to become `z`."""
    q, scale = quantize(w)
    rows = (-1, *[1] * (w.ndim - 1))
    step = scale.reshape(rows)
    whole = q.astype(np.float64)
    changes = {}
    if len(w) == w.shape[1]:
        changes["axis: the scales are those of the other axis of the weights"] = (
            whole * scale.reshape(1, -1, *[1] * (w.ndim - 2))
        )
    changes["signedness: the weights' bytes are read as unsigned"] = whole % 256 * step
    for text, number in (("largest", scale.max()), ("first channel's", scale[0])):
        changes[f"axis: all channels have the {text} scale of the weights"] = whole * number
    for text, changed in changes.items():
        largest = np.abs(changed).reshape(len(w), -1).max(axis=1).reshape(rows)
        if (np.abs(changed - z) <= largest / 100).all():
            yield text
    off = (z - w) / step
    shift = np.rint(np.median(off.reshape(len(w), -1), axis=1)).reshape(rows)
    if shift.any() and (np.abs(off - shift) <= NEAR).all():
        yield "zero point: that of the weights is not subtracted, or another"
