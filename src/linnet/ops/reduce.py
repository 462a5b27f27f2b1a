"""Axes that become one number each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from ..graph import ELEMENT_TYPES, Array, Node, Shape
from . import _lifting
from ._lowering import Call, Lowering, Refusal, axis_beside_batch, axis_of
from ._registry import Operator, as_inputs
from ._turned import transposed


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

    return Operator(
        f"Reduce{name}", meaning, lower_reduction, as_inputs, lift=_lifting.axes_input(1)
    )


def lower_reduction(low: Lowering, call: Call) -> None:
    """Over any axes but the batch."""
    x = call.input(0)
    shape = low.shape(x)
    if low.dtypes[x].kind == "b" and call.node.op in ("ReduceMax", "ReduceMin"):
        number = low.emit(call, "Cast", [x], {"to": ELEMENT_TYPES["float32"]}, "number")
        output = low.names.fresh(f"{call.output}.extreme")
        inner = Call(replace(call.node, outputs=[output]), [number, *call.inputs[1:]], call.attrs)
        inner.lifted = call.lifted
        lower_reduction(low, inner)
        value = low.alias.get(output, output)
        low.emit(call, "Cast", [value], {"to": ELEMENT_TYPES["bool"]})
        return
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


def _place(name: str, function: Callable[..., Any]) -> Operator:
    def meaning(x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
        """Where along `axis` the number is; of several that are equal the first or last."""
        if select_last_index:
            places = x.shape[axis] - 1 - function(np.flip(x, axis), axis)
        else:
            places = function(x, axis)
        return np.asarray(np.expand_dims(places, axis) if keepdims else places, np.int64)

    return Operator(name, meaning, lower_place, lift=_lifting.axis)


def lower_place(low: Lowering, call: Call) -> None:
    """Along any axis but the batch."""
    x, last = call.input(0), call.attrs["select_last_index"]
    shape = low.shape(x)
    axis = axis_beside_batch(call.attrs["axis"], len(shape))
    flat = x
    if len(shape) > 4:
        sizes = (math.prod(shape[1:axis]), shape[axis], math.prod(shape[axis + 1 :]))
        flat = low.reshape(call, x, (shape[0], *sizes), "flat")
    attrs = {"axis": axis if flat == x else 2, "keepdims": 1, "select_last_index": last}
    target = _kept(shape, [axis])
    if not call.attrs["keepdims"]:
        target = (*shape[:axis], *shape[axis + 1 :])
    step = "" if target == _kept(low.shape(flat), [attrs["axis"]]) else "places"
    y = low.emit(call, call.node.op, [flat], attrs, step)
    if step:
        low.reshape(call, y, target)


def cum_sum(x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0) -> Array:
    """Sums of all numbers along `axis` up to each, or before it; from the end if `reverse`."""
    at = int(axis.reshape(-1)[0])
    x = np.flip(x, at) if reverse else x
    y = np.cumsum(x, at, dtype=x.dtype)
    y = y - x if exclusive else y
    return np.asarray(np.flip(y, at) if reverse else y)


def lower_cum_sum(low: Lowering, call: Call) -> None:
    """Along any axis but the batch: the product with a triangle of ones."""
    x = call.input(0)
    shape = low.shape(x)
    given = low.constant(call.input(1), "axis")
    if given.size != 1 or given.dtype.kind not in "iu":
        raise Refusal("its axis is not an integer")
    axis = axis_beside_batch(int(given.item()), len(shape))
    n = shape[axis]
    low.spend(n * n, 4)
    ones = np.triu(np.ones((n, n), np.float32), int(bool(call.attrs["exclusive"])))
    triangle = low.add_constant(
        f"{call.output}.triangle", ones[::-1, ::-1] if call.attrs["reverse"] else ones
    )
    before, after = math.prod(shape[1:axis]), math.prod(shape[axis + 1 :])
    y = low.reshape(call, x, (shape[0], before, n, after), "rows")
    turned, summed = (low.names.fresh(f"{call.output}.{part}") for part in ("turned", "sums"))
    turned = transposed(low, call, y, (0, 1, 3, 2), "turned")
    low.visit(Node("MatMul", call.node.name, [turned, triangle], [summed]))
    if summed in low.failed:
        raise Refusal("its sums cannot be computed")
    summed = low.alias.get(summed, summed)
    low.reshape(call, transposed(low, call, summed, (0, 1, 3, 2), "back"), shape)


def along(low: Lowering, call: Call) -> None:
    """An operator whose second input is its axis."""
    axis = int(low.constant(call.input(1), "axis").reshape(-1)[0])
    call.inputs[1] = low.add_constant(f"{call.output}.axis", np.array(axis + (axis >= 0)))


def one_input(x: Array, *others: Array, **attrs: Any) -> int:
    return x.size


OPERATORS = (
    *map(_reduction, REDUCTIONS),
    _place("ArgMax", np.argmax),
    _place("ArgMin", np.argmin),
    Operator("CumSum", cum_sum, lower_cum_sum, one_input, lift=along),
)
