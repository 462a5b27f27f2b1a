"""A constant that is an output of the model."""

from __future__ import annotations

import math

import numpy as np

from ..graph import ELEMENT_TYPES, Array, Node
from ..ops._broadcast import arithmetic
from ..ops._lowering import Call, Lowering, Refusal
from ..ops._moving import slice_of
from ..ops._small import integer


def constant_output(low: Lowering, name: str, array: Array) -> None:
    """Make a constant that is an output of the model a sum of itself and nothing, of an input."""
    if (
        not low.graph.inputs
        or not low.along_first
        or array.dtype.kind not in "fi"
        or not array.size
    ):
        low.problems.append(f"output '{name}' is a constant")
        return
    if name in low.constants:  # others may read it, too
        other = low.names.fresh(f"{name}.constant")
        low.constants[other] = low.constants.pop(name)
        for node in low.nodes:
            node.inputs = [other if given == name else given for given in node.inputs]
    call = Call(Node("Constant", name, [], [name], {}), [], {})
    source = low.graph.inputs[0].name
    try:
        low.spend(array.size, 16)
        x = low.reshape(call, source, (math.prod(low.shape(source)), 1), "all")
        x = low.reshape(call, x, (1, *low.shape(x)[:1]), "row")
        x = slice_of(low, call, x, [(1, 0, 1, 1)], "one")
        x = integer(low, call, x, "integer")
        zero = low.add_constant(f"{name}.zero", np.array(0, np.int64))
        x = arithmetic(low, call, "Mul", (x, zero), "nothing")
        dtype = np.dtype(np.float32 if array.dtype.kind == "f" else np.int64)
        if dtype.kind == "f":
            x = low.emit(call, "Cast", [x], {"to": ELEMENT_TYPES["float32"]}, "real")
        given = low.add_constant(f"{name}.numbers", array.astype(dtype).reshape(1, -1))
        last = "" if dtype == array.dtype and array.ndim == 2 and len(array) == 1 else "sum"
        x = arithmetic(low, call, "Add", (x, given), last)
        if dtype != array.dtype:
            x = low.emit(call, "Cast", [x], {"to": ELEMENT_TYPES[array.dtype.name]}, "typed")
        low.reshape(call, x, array.shape)
    except Refusal as reason:
        low.problems.append(f"output '{name}' is a constant ({reason})")
