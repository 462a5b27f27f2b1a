"""Element by element, whatever the axes: the core has four, and broadcasts to its first operand.

NumPy's rules: axes are counted from the last, and those of size 1 repeat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import Shape
from ..text import shape_text
from ._lowering import Call, Lowering, Refusal
from ._moving import repeated

MOST_AXES = 4


def pointwise(
    low: Lowering,
    call: Call,
    op: str,
    inputs: Sequence[str],
    attrs: dict[str, Any] | None = None,
    *,
    step: str = "",
) -> str:
    """`op` of every number of its first input; its output."""
    shape = low.shape(inputs[0])
    if len(shape) <= MOST_AXES:
        return low.emit(call, op, list(inputs), attrs, step)
    at = step or "numbers"
    flat = low.reshape(call, inputs[0], (shape[0], math.prod(shape[1:])), f"{at}.before")
    y = low.emit(call, op, [flat, *inputs[1:]], attrs, f"{at}.flat")
    return low.reshape(call, y, shape, step)


def smaller(a: Shape, b: Shape) -> bool:
    """Whether a broadcasts to b and is not the same."""
    return len(a) == len(b) and a != b and all(i in (1, j) for i, j in zip(a[1:], b[1:]))


def arithmetic(low: Lowering, call: Call, op: str, pair: tuple[str, str], step: str = "") -> str:
    """`op` of an activation, and another or a constant; its output."""
    x, y = pair
    a, b = low.shape(x), _shape(low, y)
    rank, constant = max(len(a), len(b)), y in low.constants
    left, right = ((1,) * (rank - len(s)) + s for s in (a, b))
    apart = right[0] == (1 if constant else left[0]) and len(a) == rank
    alike = constant or len(b) == rank or y in low.scalars
    which = f"the constant {list(b)}" if constant else shape_text(b)
    if not low.along_first and not (apart and alike):
        raise Refusal(f"{which} has a batch axis, or more axes than {shape_text(a)}")
    if not apart:  # axis 0 of what is computed is no batch any more
        left, right = (1, *left), (1, *right)
    try:
        whole = (left[0], *np.broadcast_shapes(left[1:], right[1:]))
    except ValueError:
        raise Refusal(f"{shape_text(a)} and {which} do not broadcast to each other") from None
    if 0 in whole[1:]:
        raise Refusal(f"{shape_text(a)} and {which} have no numbers in common")
    if whole == a and len(whole) <= MOST_AXES and (constant or len(b) == rank):
        return _emit(low, call, op, (x, y), step)
    at = step or "broadcast"
    x = repeat_along(low, call, low.reshape(call, x, left, f"{at}.left"), whole, f"{at}.x")
    y = _reshaped(low, call, y, right, f"{at}.right")
    if len(whole) > MOST_AXES:
        groups = _groups(whole, right)
        if len(groups) >= MOST_AXES:
            y = repeat_along(low, call, y, whole, f"{at}.y")
            groups = _groups(whole, whole)
        x = low.reshape(call, x, (whole[0], *(n for n, _ in groups)), f"{at}.few")
        y = _reshaped(low, call, y, (right[0], *(n for _, n in groups)), f"{at}.other")
    z = _emit(low, call, op, (x, y), f"{at}.result")
    return low.reshape(call, z, whole if apart else whole[1:], step)


def _groups(whole: Shape, part: Shape) -> list[tuple[int, int]]:
    """Sizes of both after the batch, neighbouring axes as one where all of them repeat or none."""
    groups: list[tuple[int, int]] = []
    for n, m in zip(whole[1:], part[1:]):
        if groups and (n == 1 or (groups[-1][0] == groups[-1][1]) == (n == m)):
            groups[-1] = (groups[-1][0] * n, groups[-1][1] * m)
        else:
            groups.append((n, m))
    return groups


def _shape(low: Lowering, name: str) -> Shape:
    if name in low.constants:
        return low.numbers(name, "constant").shape
    return low.shape(name)


def _reshaped(low: Lowering, call: Call, name: str, target: Shape, step: str) -> str:
    if name not in low.constants:
        return low.reshape(call, name, target, step)
    array = low.constants[name]
    if array.shape == target:
        return name
    return low.add_constant(f"{call.output}.{step}", array.reshape(target))


def repeat_along(low: Lowering, call: Call, name: str, target: Shape, step: str) -> str:
    """Along the axes that have 1 and should have more."""
    if name in low.constants:
        array = low.constants[name]
        target = (array.shape[0], *target[1:])
        if array.shape == target:
            return name
        low.spend(math.prod(target), array.itemsize)
        whole = np.ascontiguousarray(np.broadcast_to(array, target))
        return low.add_constant(f"{call.output}.{step}", whole)
    for axis, (n, wanted) in enumerate(zip(low.shape(name), target)):
        if n != wanted:
            name = repeated(low, call, name, (axis, wanted), f"{step}{axis}")
    return name


def _emit(low: Lowering, call: Call, op: str, pair: tuple[str, str], step: str) -> str:
    """One node: of an activation, and what broadcasts to it."""
    x, y = pair
    if y not in low.constants:
        return low.emit(call, op, [x, y], step=step)
    if low.dtypes[x] == np.int64:
        return low.emit(call, op, [x, y], step=step)
    shape, array = low.shape(x), low.numbers(y, "constant")
    dims = array.shape[1:] if array.ndim == len(shape) else array.shape
    channels = shape[1] if len(shape) > 1 else 0
    each = array.size == 1 or dims == (channels,) + (1,) * (len(shape) - 2)
    if channels and each and op in ("Add", "Sub", "Mul", "Div"):
        low.spend(2 * array.size)
        values = array.astype(np.float64).ravel()
        if op == "Div":
            values = 1 / values
        if np.isfinite(values).all():
            factor = op in ("Mul", "Div")
            scale = values if factor else np.ones(values.size)
            shift = np.zeros(values.size) if factor else values if op == "Add" else -values
            return low.emit(call, "Affine", [x], {"scale": scale, "shift": shift}, step)
    return low.emit(call, op, [x, low.weight(y, "constant")], step=step)
