"""Rules leave axis 0 alone, which is the batch. Where a graph has none, and axis 0 is an axis like
others, a call can be lifted: it sees its inputs with one more axis before all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ._lowering import Call, Lowering, Refusal

# Changes a call, whose activations have the new axis already, to mean the same as before.
Lift = Callable[[Lowering, Call], None]


def lifted(low: Lowering, call: Call, rule: Lift, change: Lift) -> None:
    """Lower a call by a rule, lifted."""
    inputs = [
        low.reshape(call, name, (1, *low.axes(name)), f"lifted{index}")
        if name in low.shapes
        else name
        for index, name in enumerate(call.inputs)
    ]
    outputs = [low.names.fresh(f"{name}.lifted") if name else "" for name in call.node.outputs]
    inner = Call(replace(call.node, outputs=outputs), inputs, dict(call.attrs))
    inner.lifted = True
    change(low, inner)
    rule(low, inner)
    for output, inside in zip(call.node.outputs, outputs):
        if output:
            value = low.alias.get(inside, inside)
            outer = Call(replace(call.node, outputs=[output]), [value], call.attrs)
            low.reshape(outer, value, low.shape(value)[1:])


def unchanged(low: Lowering, call: Call) -> None:
    """An operator whose rule works with the new axis as it is, or asks call.lifted."""


def axis(low: Lowering, call: Call) -> None:
    """An operator with the attribute "axis"."""
    call.attrs = {**call.attrs, "axis": call.attrs["axis"] + (call.attrs["axis"] >= 0)}


def joined(low: Lowering, call: Call) -> None:
    """An operator with the attribute "axis" whose inputs are all alike, constant or not."""
    axis(low, call)
    for index, name in enumerate(call.inputs):
        if name in low.constants:
            _replace(low, call, index, low.constants[name][None])


def matrices(low: Lowering, call: Call) -> None:
    """A product of arrays of matrices, one of them constant."""
    rank = max(len(low.shape(name)) for name in call.inputs if name in low.shapes)
    for index, name in enumerate(call.inputs):
        if name in low.constants and low.constants[name].ndim == rank - 1 > 2:
            _replace(low, call, index, low.constants[name][None])


def axes_attribute(low: Lowering, call: Call) -> None:
    call.attrs = {**call.attrs, "axes": [a + (a >= 0) for a in call.ints("axes")]}


def axes_input(index: int) -> Lift:
    """An operator with a list of axes as an input; without one it means all, or the first."""

    def change(low: Lowering, call: Call) -> None:
        if call.input(index) and low.constant(call.input(index), "list of axes").size:
            axes = np.array(low.integers(call.input(index), "list of axes"), np.int64)
            _replace(low, call, index, axes + (axes >= 0))
            return
        count = len(low.shape(call.input(0))) - 1
        if index > 1 and call.input(1) in low.constants:
            count = min(count, low.constants[call.input(1)].size)
        _replace(low, call, index, np.arange(1, count + 1))

    return change


def pads(low: Lowering, call: Call) -> None:
    """A Pad, whose pads are those of all axes unless it has a list of those."""
    rank = len(low.shape(call.input(0))) - 1
    if call.input(3):
        axes_input(3)(low, call)
        return
    given = low.integers(call.input(1), "list of pads")
    if len(given) != 2 * rank:
        raise Refusal(f"{len(given)} pads for {rank} axes")
    _replace(low, call, 1, np.array([0, *given[:rank], 0, *given[rank:]], np.int64))


def counts(low: Lowering, call: Call) -> None:
    """An operator with a number for each axis as its second input, once for the new one."""
    given = low.integers(call.input(1), "list of numbers")
    rank = len(low.shape(call.input(0))) - 1
    if len(given) > rank:  # new axes come first
        x, shape = call.input(0), low.shape(call.input(0))
        new = (*(1,) * (1 + len(given) - rank), *shape[1:])
        call.inputs[0] = low.reshape(call, x, new, "deeper")
    _replace(low, call, 1, np.array([1, *given], np.int64))


def _replace(low: Lowering, call: Call, index: int, array: Any) -> None:
    call.inputs += [""] * (index + 1 - len(call.inputs))
    call.inputs[index] = low.add_constant(f"{call.output}.input{index}", array)
