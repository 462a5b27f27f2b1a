"""Axes that become one number each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ..graph import Array, Shape
from ._lowering import Call, Lowering, Refusal, axis_beside_batch, axis_of
from ._registry import Operator
from ._turned import transposed
from .map import scaled


def _log_sum_exp(x: Array, axes: tuple[int, ...] | None, *, keepdims: bool) -> Array:
    top = np.max(x, axes, keepdims=True, initial=-np.inf)
    top = np.clip(top, np.finfo(np.float32).min, np.finfo(np.float32).max)
    y = np.log(np.sum(np.exp(x - top), axes, keepdims=True)) + top
    return np.asarray(y if keepdims else np.squeeze(y, axes))


# By the names that follow "Reduce" in ONNX: what the core computes in one step, then the others.
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "Mean": np.mean,
    "Sum": np.sum,
    "Max": np.max,
    "Min": np.min,
    "Prod": np.prod,
    "L1": lambda x, axes, **how: np.sum(np.abs(x), axes, **how),
    "SumSquare": lambda x, axes, **how: np.sum(x * x, axes, **how),
    "L2": lambda x, axes, **how: np.sqrt(np.sum(x * x, axes, **how)),
    "LogSum": lambda x, axes, **how: np.log(np.sum(x, axes, **how)),
    "LogSumExp": _log_sum_exp,
}


def _reduction(name: str) -> Operator:
    function = REDUCTIONS[name]

    def meaning(
        x: Array, axes: Array | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Array:
        """Over `axes`, or over all if there are none, unless that is to do nothing."""
        which = () if axes is None else tuple(axes.tolist())
        if not which and noop_with_empty_axes:
            return x
        return np.asarray(function(x, which or None, keepdims=bool(keepdims)), x.dtype)

    return Operator(f"Reduce{name}", meaning, lower_reduction)


def lower_reduction(low: Lowering, call: Call) -> None:
    """Over any axes but the batch."""
    x = call.input(0)
    shape = low.shape(x)
    axes = []
    if call.input(1):
        given = low.integers(call.input(1), "list of axes")
        axes = sorted({axis_of(axis, len(shape)) for axis in given})
    if not axes and call.attrs["noop_with_empty_axes"]:
        low.alias[call.output] = x
        return
    if not axes or axes[0] == 0:
        raise Refusal("the batch cannot be reduced")
    target = _kept(shape, axes)
    if not call.attrs["keepdims"]:
        target = tuple(n for axis, n in enumerate(shape) if axis not in axes)
    if len(shape) > 4:
        x, axes = _flat(low, call, shape, axes)
    op, last = call.node.op, "" if target == _kept(low.shape(x), axes) else "reduced"
    if op in ("ReduceL2", "ReduceLogSum"):
        step, then = ("SumSquare", "Sqrt") if op == "ReduceL2" else ("Sum", "Log")
        y = low.emit(call, then, [over_axes(low, call, step, (x, axes), "sum")], step=last)
    elif op == "ReduceLogSumExp":
        y = log_sum_exp(low, call, x, axes, last)
    else:
        y = over_axes(low, call, op.removeprefix("Reduce"), (x, axes), last)
    if y != call.output:
        low.reshape(call, y, target)


def _kept(shape: Shape, axes: Sequence[int]) -> Shape:
    return tuple(1 if axis in axes else n for axis, n in enumerate(shape))


def over_axes(
    low: Lowering, call: Call, name: str, what: tuple[str, Sequence[int]], step: str = ""
) -> str:
    """A reduction of the core, of a value of at most four axes over some of them, which stay."""
    x, axes = what
    if len(low.shape(x)) == 4 and list(axes) == [2, 3] and name == "Mean":
        return low.emit(call, "GlobalAveragePool", [x], step=step)
    constant = f"{call.output}.{step}.axes" if step else f"{call.output}.axes"
    constant = low.add_constant(constant, np.array(axes, np.int64))
    return low.emit(call, f"Reduce{name}", [x, constant], {}, step)


def log_sum_exp(
    low: Lowering, call: Call, x: str, axes: Sequence[int], step: str = "", *, keep: bool = True
) -> str:
    """The logarithm of a sum of exponentials, of a value of at most four axes; without `keep`, the
    value less that.
    """
    # Nothing overflows after the largest number is taken away, but from infinity: its limit.
    top = over_axes(low, call, "Max", (x, axes), "top")
    limits = np.finfo(np.float32)
    bounds = [
        low.add_constant(f"{call.output}.{name}", np.array(value, np.float32))
        for name, value in (("lowest", limits.min), ("highest", limits.max))
    ]
    top = low.emit(call, "Clip", [top, *bounds], step="limit")
    less = low.emit(call, "Sub", [x, top], step="less")
    powers = low.emit(call, "Exp", [less], step="powers")
    total = over_axes(low, call, "Sum", (powers, axes), "total")
    logarithm = low.emit(call, "Log", [total], step="logarithm")
    if keep:
        return low.emit(call, "Add", [logarithm, top], step=step)
    return low.emit(call, "Sub", [less, logarithm], step=step)


def _flat(low: Lowering, call: Call, shape: Shape, axes: Sequence[int]) -> tuple[str, list[int]]:
    """As an array of at most four axes, and which of those are reduced: neighbours that are both
    kept or both reduced are one axis, or else all that are reduced come last.
    """
    groups = [list(group) for _, group in groupby(range(1, len(shape)), axes.__contains__)]
    x = call.input(0)
    if len(groups) > 3:
        groups = [[axis for axis in range(1, len(shape)) if axis not in axes], list(axes)]
        x = transposed(low, call, x, (0, *groups[0], *groups[1]), "last")
    sizes = [math.prod(shape[axis] for axis in group) for group in groups]
    flat = low.reshape(call, x, (shape[0], *sizes), "flat")
    return flat, [index + 1 for index, group in enumerate(groups) if group[0] in axes]


def arg_max(x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
    """The place of the largest number along `axis`, the first or else the last of several."""
    if select_last_index:
        y = x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis)
    else:
        y = np.argmax(x, axis)
    return np.asarray(np.expand_dims(y, axis) if keepdims else y, np.int64)


def arg_min(x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
    """The place of the smallest number along `axis`."""
    return arg_max(-x, axis=axis, keepdims=keepdims, select_last_index=select_last_index)


def lower_place(low: Lowering, call: Call) -> None:
    """Along any axis but the batch, of at most four axes without NaN."""
    x = call.input(0)
    shape = low.shape(x)
    axis = axis_beside_batch(call.attrs["axis"], len(shape))
    size, last = shape[axis], bool(call.attrs["select_last_index"])
    if size > 1 << 24:
        raise Refusal(f"axis {axis} of {size} has more places than float32 has integers")
    if call.node.op == "ArgMin":
        x = low.emit(call, "Neg", [x], step="negative")
    limits = np.finfo(np.float32)
    bounds = [
        low.add_constant(f"{call.output}.{name}", np.array(value, np.float32))
        for name, value in (("lowest", limits.min), ("highest", limits.max))
    ]
    x = low.emit(call, "Clip", [x, *bounds], step="finite")  # infinity less infinity is NaN
    top = over_axes(low, call, "Max", (x, [axis]), "top")
    less = low.emit(call, "Sub", [x, top], step="less")
    sign = low.emit(call, "Sign", [less], step="sign")
    found = scaled(low, call, sign, 1, "found", shift=1)  # 1 where it is the largest, else 0
    # The largest of weights that fall, or rise, along the axis is that of the place.
    weights = np.arange(1, size + 1) if last else np.arange(size, 0, -1)
    factors = weights.astype(np.float32).reshape([-1] + [1] * (len(shape) - 1 - axis))
    constant = low.add_constant(f"{call.output}.weights", factors)
    weighted = low.emit(call, "Mul", [found, constant], step="weighted")
    place = over_axes(low, call, "Max", (weighted, [axis]), "weight")
    factor, shift = (1, -1) if last else (-1, size)
    place = scaled(low, call, place, factor, "place", shift=shift)
    keep = call.attrs["keepdims"]
    place = low.emit(call, "Cast", [place], {"to": 7}, "" if keep else "kept")
    if not keep:
        low.reshape(call, place, (*shape[:axis], *shape[axis + 1 :]))


OPERATORS = (
    *map(_reduction, REDUCTIONS),
    Operator("ArgMax", arg_max, lower_place),
    Operator("ArgMin", arg_min, lower_place),
)
