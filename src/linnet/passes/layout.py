"""Transposes sink behind the operators that follow them, until they meet one that undoes them.

A Transpose is not computed where it stands: what reads it is computed of the Transpose's own input,
with axes renamed and constants turned instead, and the result is the one that waits to be
transposed. What has no other way has it computed: where it is an output, where the order of the
axes counts, or where two orders meet.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..graph import Array, Shape
from ..ops._lowering import Call, Lowering, MissingOperator, Refusal, axis_of
from ..ops._turned import Turned, wait
from ..ops.reduce import REDUCTIONS

Order = tuple[int, ...]
Rule = Callable[[Lowering, Call], None]


class Sunk(NamedTuple):
    """A call as it is beneath the Transposes of its inputs."""

    inputs: list[str]
    attrs: dict[str, Any]
    perm: Order  # what its results have to be transposed by
    shape: Shape | None = None  # what they are reshaped to then


def turn(low: Lowering, rule: Rule, call: Call) -> None:
    """Lower a call by its operator's rule, if possible beneath the Transposes of its inputs."""
    sink = _SINKS.get(call.node.op)
    given = [low.later.get(name) for name in call.inputs]
    if sink is None or not any(isinstance(value, Turned) for value in given):
        rule(low, call)
        return
    before = low.mark()
    try:
        sunk = sink(low, call)
        if sunk is not None:
            _sink(low, rule, call, sunk)
            return
    except MissingOperator:
        raise
    except Refusal:  # whose reason is to be told in the axes of the source
        low.undo(before)
    rule(low, call)


def _sink(low: Lowering, rule: Rule, call: Call, sunk: Sunk) -> None:
    still = sunk.perm == tuple(range(len(sunk.perm))) and sunk.shape is None
    names = call.node.outputs
    if not still:
        names = [name and low.names.fresh(f"{name}.{_suffix(sunk.perm)}") for name in names]
    node = replace(call.node, inputs=sunk.inputs, outputs=names)
    rule(low, Call(node, sunk.inputs, sunk.attrs))
    if not still:
        for output, name in zip(call.node.outputs, names):
            base = low.alias.get(name, name)
            if output and sunk.shape is not None:
                later = Turned(base, sunk.perm, sunk.shape)
                low.postpone(output, later, sunk.shape, low.dtypes[base])
            elif output:
                wait(low, output, base, sunk.perm)


def _suffix(perm: Order) -> str:
    return "nchw" if perm == (0, 2, 3, 1) else "turned"


def _plain(low: Lowering, name: str) -> Turned | None:
    later = low.later.get(name)
    return later if isinstance(later, Turned) and later.is_plain(low) else None


def _inverse(perm: Sequence[int]) -> Order:
    return tuple(perm.index(axis) for axis in range(len(perm)))


def _beneath(low: Lowering, name: str, perm: Order) -> str:
    """The value that gives this one when its axes are put in the order `perm`."""
    later = _plain(low, name)
    if later is not None and later.perm == perm:
        return later.base
    key = (name, f"beneath{perm}")
    if key not in low.derived:
        low.derived[key] = low.names.fresh(f"{name}.{_suffix(perm)}")
        wait(low, low.derived[key], name, _inverse(perm))
    name = low.derived[key]
    return low.alias.get(name, name)


def _constant(low: Lowering, name: str, perm: Order) -> str:
    """The same of a constant that broadcasts to a value of as many axes."""
    array = low.constants[name]
    if array.ndim == 0 or array.size == 1:
        return name
    key = (name, f"beneath{perm}")
    if key not in low.derived:
        full = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
        turned = full.transpose(_inverse(perm))
        low.derived[key] = low.add_constant(f"{name}.{_suffix(perm)}", turned)
    return low.derived[key]


def _either(low: Lowering, name: str, perm: Order) -> str:
    return (_constant if name in low.constants else _beneath)(low, name, perm)


def _common(low: Lowering, names: Sequence[str]) -> Order | None:
    """The order of axes that most of the numbers of these values wait for; None if there is no
    common one, or if most wait for nothing.
    """
    ranks = {len(low.shape(name)) for name in names}
    if len(ranks) != 1:
        return None
    rest: Order = tuple(range(ranks.pop()))
    weights: Counter[Order] = Counter()
    for name in names:
        later = _plain(low, name)
        if later is None:
            weights[rest] += math.prod(low.shape(name)[1:])
        elif not later.moves_nothing(low):
            weights[later.perm] += math.prod(later.shape[1:])
        else:
            weights[later.perm] += 1
    most = max(weights, key=lambda perm: (weights[perm], perm != rest))
    return None if most == rest else most


def _together(low: Lowering, call: Call) -> Sunk | None:
    """Element by element of several values and constants, which broadcast."""
    values = [name for name in call.inputs if name and name not in low.constants]
    constants = [low.constants[name] for name in call.inputs if name in low.constants]
    single = len(values) == 1 and all(array.size == 1 for array in constants)
    if single and all(array.ndim <= len(low.shape(values[0])) for array in constants):
        return _alone(low, call, call.inputs.index(values[0]))
    perm = _common(low, values)
    if perm is None or any(array.ndim > len(perm) for array in constants):
        return None
    inputs = [name and _either(low, name, perm) for name in call.inputs]
    return Sunk(inputs, dict(call.attrs), perm)


def _alone(low: Lowering, call: Call, place: int = 0) -> Sunk | None:
    """Element by element of the value in one place; other inputs are parameters."""
    later = low.later.get(call.inputs[place])
    if not isinstance(later, Turned) or len(low.shape(later.base)) > 4:
        return None
    inputs = [*call.inputs[:place], later.base, *call.inputs[place + 1 :]]
    shape = None if later.is_plain(low) else later.shape
    return Sunk(inputs, dict(call.attrs), later.perm, shape)


def _along(low: Lowering, call: Call) -> Sunk | None:
    """Along the axis of the attribute "axis"."""
    later = _plain(low, call.input(0))
    if later is None or call.attrs.get("coerce"):
        return None
    axis = later.perm[axis_of(call.attrs["axis"], len(later.perm))]
    return Sunk([later.base, *call.inputs[1:]], {**call.attrs, "axis": axis}, later.perm)


def _concat(low: Lowering, call: Call) -> Sunk | None:
    perm = _common(low, [name for name in call.inputs if name not in low.constants])
    constants = (low.constants[name] for name in call.inputs if name in low.constants)
    if perm is None or any(array.ndim != len(perm) for array in constants):
        return None
    axis = perm[axis_of(call.attrs["axis"], len(perm))]
    return Sunk([_either(low, name, perm) for name in call.inputs], {"axis": axis}, perm)


def _axes_input(place: int, counted: int) -> Callable[[Lowering, Call], Sunk | None]:
    """Along the axes that input `place` lists, by default the first ones, as many as there are in
    input `counted` for each side.
    """

    def sink(low: Lowering, call: Call) -> Sunk | None:
        later = _plain(low, call.input(0))
        if later is None:
            return None
        rank = len(later.perm)
        if call.input(place):
            axes = low.integers(call.input(place), "list of axes")
        else:
            axes = list(range(len(low.integers(call.input(counted), "list of places"))))
            axes = axes[:rank]
        moved = [later.perm[axis_of(axis, rank)] for axis in axes]
        inputs = [later.base, *call.inputs[1:]]
        inputs += [""] * (place + 1 - len(inputs))
        inputs[place] = low.add_constant(f"{call.output}.axes", np.array(moved, np.int64))
        return Sunk(inputs, dict(call.attrs), later.perm)

    return sink


def _without(perm: Order, axes: Sequence[int]) -> Order:
    """An order of axes, of which `axes` of the base are gone."""
    left = [axis for axis in perm if axis not in axes]
    return tuple(sorted(left).index(axis) for axis in left)


def _reduction(low: Lowering, call: Call) -> Sunk | None:
    later = _plain(low, call.input(0))
    if later is None or not call.input(1):
        return None
    given = low.integers(call.input(1), "list of axes")
    axes = [later.perm[axis_of(axis, len(later.perm))] for axis in given]
    if not axes or 0 in axes:
        return None
    moved = low.add_constant(f"{call.output}.axes", np.array(axes, np.int64))
    perm = later.perm if call.attrs["keepdims"] else _without(later.perm, axes)
    return Sunk([later.base, moved], dict(call.attrs), perm)


def _gather(low: Lowering, call: Call) -> Sunk | None:
    sunk = _along(low, call)
    indices = low.constants.get(call.input(1))
    if sunk is None or indices is None or indices.ndim > 1:
        return None
    perm = sunk.perm if indices.ndim else _without(sunk.perm, [sunk.attrs["axis"]])
    return sunk._replace(perm=perm)


def _place(low: Lowering, call: Call) -> Sunk | None:
    sunk = _along(low, call)
    if sunk is None or call.attrs["keepdims"]:
        return sunk
    return sunk._replace(perm=_without(sunk.perm, [sunk.attrs["axis"]]))


def _tile(low: Lowering, call: Call) -> Sunk | None:
    later = _plain(low, call.input(0))
    counts = low.integers(call.input(1), "list of repeats")
    if later is None or len(counts) != len(later.perm):
        return None
    turned = np.array([counts[axis] for axis in _inverse(later.perm)], np.int64)
    repeats = low.add_constant(f"{call.output}.repeats", turned)
    return Sunk([later.base, repeats], {}, later.perm)


def _product(low: Lowering, call: Call) -> Sunk | None:
    """Of all numbers of an image in one row: the rows of the matrix change places instead."""
    later = low.later.get(call.input(0))
    matrix = low.constants.get(call.input(1))
    if not isinstance(later, Turned) or len(later.shape) != 2 or call.attrs.get("transA"):
        return None
    old = low.shape(later.base)
    count = math.prod(old[1:])
    outputs_first = bool(call.attrs.get("transB"))
    if later.moves_nothing(low) or later.shape[1] != count or low.graph.example:
        return None
    if matrix is None or matrix.ndim != 2 or matrix.shape[outputs_first] != count:
        return None
    sizes = [old[axis] for axis in later.perm[1:]]
    back = [axis - 1 for axis in _inverse(later.perm)[1:]]

    def rows(array: Array) -> Array:
        if outputs_first:
            order = [0, *(axis + 1 for axis in back)]
            return array.reshape(-1, *sizes).transpose(order).reshape(array.shape)
        return array.reshape(*sizes, -1).transpose(*back, len(back)).reshape(array.shape)

    weight = low.weight(call.input(1), "weight", f"beneath{later.perm}of{sizes}", rows)
    base = low.reshape(call, later.base, later.shape, "flat")
    return Sunk([base, weight, *call.inputs[2:]], dict(call.attrs), (0, 1))


_ALONE = """Abs Cast Ceil Clip Cos DequantizeLinear Elu Erf Exp Floor Gelu HardSigmoid HardSwish
LeakyRelu Log Mish Neg Not QuantizeLinear Reciprocal Relu Round Selu Sigmoid Sign Sin
Softplus Softsign Sqrt Swish Tanh"""
_TOGETHER = """Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mul Or PRelu
Pow Sub Sum Where"""
_SINKS: dict[str, Callable[[Lowering, Call], Sunk | None]] = {
    **{op: _alone for op in _ALONE.split()},
    **{op: _together for op in _TOGETHER.split()},
    **{op: _along for op in ("LogSoftmax", "LpNormalization", "Softmax", "Split")},
    **{f"Reduce{name}": _reduction for name in REDUCTIONS},
    "ArgMax": _place,
    "ArgMin": _place,
    "Concat": _concat,
    "Gather": _gather,
    "Gemm": _product,
    "MatMul": _product,
    "Pad": _axes_input(3, 1),
    "Slice": _axes_input(3, 1),
    "Tile": _tile,
}
