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
from ..ops._lowering import Call, Lowering, axis_of
from ..ops.move import transposed
from ..ops.reduce import REDUCTIONS

Order = tuple[int, ...]
Rule = Callable[[Lowering, Call], None]


class Turned(NamedTuple):
    """The value `base` with its axes in the order `perm`, under the shape `shape`. The batch stays
    the first.
    """

    base: str
    perm: Order
    shape: Shape

    def compute(self, low: Lowering, call: Call) -> str:
        base = low.ready(self.base)
        if self.moves_nothing(low):
            y = low.reshape(call, base, self.shape)
        elif self.is_plain(low):
            y = transposed(low, call, base, self.perm)
        else:
            y = transposed(low, call, base, self.perm, "turned")
            y = low.reshape(call, y, self.shape)
        return low.alias.get(y, y)

    def reshaped(self, low: Lowering, shape: Shape) -> Turned:
        return self._replace(shape=shape)

    def is_plain(self, low: Lowering) -> bool:
        """Whether the shape is that of the Transpose, so that its axes are axes of the base."""
        shape = low.shape(self.base)
        return self.shape == tuple(shape[axis] for axis in self.perm)

    def moves_nothing(self, low: Lowering) -> bool:
        """Whether only axes of size 1 change places. What is open may be of any size."""
        shape = low.shape(self.base)
        moving = [axis for axis in self.perm if axis and shape[axis] != 1]
        return moving == sorted(moving) and not low.graph.example


class Sunk(NamedTuple):
    """A call as it is beneath the Transposes of its inputs."""

    inputs: list[str]
    attrs: dict[str, Any]
    perm: Order  # what its results have to be transposed by


def turn(low: Lowering, rule: Rule, call: Call) -> None:
    """Lower a call by its operator's rule, if possible beneath the Transposes of its inputs."""
    if call.node.op == "Transpose" and _transpose(low, call):
        return
    sink = _SINKS.get(call.node.op)
    given = [low.later.get(name) for name in call.inputs]
    if sink is None or not any(isinstance(value, Turned) for value in given):
        rule(low, call)
        return
    sunk = sink(low, call)
    if sunk is None:
        rule(low, call)
        return
    still = sunk.perm == tuple(range(len(sunk.perm)))
    names = call.node.outputs
    if not still:
        names = [name and low.names.fresh(f"{name}.{_suffix(sunk.perm)}") for name in names]
    node = replace(call.node, inputs=sunk.inputs, outputs=names)
    rule(low, Call(node, sunk.inputs, sunk.attrs))
    if not still:
        for output, name in zip(call.node.outputs, names):
            if output:
                _wait(low, output, low.alias.get(name, name), sunk.perm)


def _suffix(perm: Order) -> str:
    return "nchw" if perm == (0, 2, 3, 1) else "turned"


def _wait(low: Lowering, output: str, base: str, perm: Order) -> None:
    """`output` is `base` with its axes in this order, or waits to be that."""
    later = low.later.get(base)
    if isinstance(later, Turned) and later.is_plain(low):
        base, perm = later.base, tuple(later.perm[axis] for axis in perm)
    if perm == tuple(range(len(perm))):
        low.alias[output] = base
        return
    old = low.shape(base)
    shape = tuple(old[axis] for axis in perm)
    low.postpone(output, Turned(base, perm, shape), shape, low.dtypes[base])


def _transpose(low: Lowering, call: Call) -> bool:
    x = call.input(0)
    rank = len(low.shape(x))
    perm = tuple(call.ints("perm") or reversed(range(rank)))
    if sorted(perm) != list(range(rank)) or perm[0] != 0:
        return False  # the operator's rule says what is wrong, or moves the first axis
    _wait(low, call.output, x, perm)
    return True


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
        _wait(low, low.derived[key], name, _inverse(perm))
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
    perm = _common(low, values)
    constants = (name for name in call.inputs if name in low.constants)
    if perm is None or any(low.constants[name].ndim > len(perm) for name in constants):
        return None
    inputs = []
    for name in call.inputs:
        known = name in low.constants
        inputs.append(name and (_constant if known else _beneath)(low, name, perm))
    return Sunk(inputs, dict(call.attrs), perm)


def _alone(low: Lowering, call: Call) -> Sunk | None:
    """Element by element of one value; other inputs are parameters."""
    x, *others = call.inputs
    later = low.later.get(x)
    if not isinstance(later, Turned) or not later.is_plain(low):
        return None
    return Sunk([later.base, *others], dict(call.attrs), later.perm)


def _along(low: Lowering, call: Call) -> Sunk | None:
    """Along the axis of the attribute "axis"."""
    later = _plain(low, call.input(0))
    if later is None or call.attrs.get("coerce"):
        return None
    axis = later.perm[axis_of(call.attrs["axis"], len(later.perm))]
    return Sunk([later.base, *call.inputs[1:]], {**call.attrs, "axis": axis}, later.perm)


def _concat(low: Lowering, call: Call) -> Sunk | None:
    if any(name in low.constants for name in call.inputs):
        return None
    perm = _common(low, call.inputs)
    if perm is None:
        return None
    axis = perm[axis_of(call.attrs["axis"], len(perm))]
    return Sunk([_beneath(low, name, perm) for name in call.inputs], {"axis": axis}, perm)


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


_ALONE = """Abs Cast Ceil Clip DequantizeLinear Elu Exp Floor HardSigmoid HardSwish LeakyRelu Log
Mish Neg Not QuantizeLinear Reciprocal Relu Round Selu Sigmoid Sign Softplus Softsign Sqrt Swish
Tanh"""
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
