"""Types all of whose numbers another has as well: what is computed of them is computed of those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph import ELEMENT_TYPES
from ._broadcast import pointwise
from ._lowering import Call, Lowering, Refusal

WIDE = frozenset(map(np.dtype, ("int32", "int64")))
SMALL = frozenset(map(np.dtype, ("int8", "uint8", "int16", "float16")))
_FLOAT = ELEMENT_TYPES["float32"]
# A quotient of such integers that is none lies further below the next one than this.
_NUDGE = 1 + 2.0**-20


def of_any_type(rule: Callable[[Lowering, Call], None]) -> Callable[[Lowering, Call], None]:
    """A rule for float32 and int64, which `call.wide` tells, for other types, too: those float32
    holds, and int32 as int64. Sums, differences and products of integers go round where they leave
    the type, as C's; quotients lose their fraction.
    """

    def wider(low: Lowering, call: Call) -> None:
        types = {low.dtypes[name] for name in call.inputs if name in low.shapes}
        others = types & (SMALL | WIDE)
        if not others:
            rule(low, call)
            return
        if len(types - {np.dtype(bool)}) > 1:
            raise Refusal(f"its inputs are {' and '.join(sorted(map(str, types)))}; cast them")
        (dtype,) = others
        wide = dtype in WIDE or (call.node.op, dtype) == ("Mul", np.dtype(np.int16))
        inputs = [_as_number(low, call, index, wide) for index in range(len(call.inputs))]
        output = low.names.fresh(f"{call.output}.number")
        inner = Call(replace(call.node, outputs=[output]), inputs, call.attrs)
        inner.lifted, inner.whole, inner.wide = call.lifted, dtype.kind in "iu", wide
        rule(low, inner)
        value = low.alias.get(output, output)
        if low.dtypes[value].kind == "b" or low.dtypes[value] == dtype:
            low.reshape(call, value, low.shape(value))
            return
        if dtype.kind in "iu" and not wide:
            value = _whole(low, call, value, dtype)
        low.emit(call, "Cast", [value], {"to": ELEMENT_TYPES[dtype.name]})

    wider.__doc__ = rule.__doc__
    return wider


def _as_number(low: Lowering, call: Call, index: int, wide: bool) -> str:
    """An input as float32, or as int64."""
    name = call.inputs[index]
    if name in low.shapes and low.dtypes[name] in (WIDE | SMALL if wide else SMALL):
        return integer(low, call, name, f"number{index}") if wide else _real(low, call, name, index)
    if wide and name in low.constants and low.constants[name].dtype != np.int64:
        array = low.numbers(name, "constant")
        if array.dtype.kind not in "iu":
            raise Refusal(f"its constant '{name}' is {array.dtype}; cast it")
        low.spend(array.size, 8)
        return low.add_constant(f"{call.output}.number{index}", array.astype(np.int64))
    return name


def _real(low: Lowering, call: Call, x: str, index: int) -> str:
    return low.emit(call, "Cast", [x], {"to": _FLOAT}, f"number{index}")


def integer(low: Lowering, call: Call, x: str, step: str) -> str:
    """A value as int64."""
    if low.dtypes[x] == np.int64:
        return x
    return low.emit(call, "Cast", [x], {"to": ELEMENT_TYPES["int64"]}, step)


def _whole(low: Lowering, call: Call, x: str, dtype: np.dtype[Any]) -> str:
    """What the integer result of an operator is where its float32 one is x."""
    op = call.node.op
    if op not in ("Add", "Sub", "Mul", "Div"):
        return x

    def number(step: str, operator: str, name: str, value: float) -> str:
        constant = low.add_constant(f"{call.output}.{step}", np.array(value, np.float32))
        return pointwise(low, call, operator, [name, constant], step=f"{step}.result")

    if op == "Div":
        return number("nudge", "Mul", x, _NUDGE)
    limits = np.iinfo(dtype)
    count = limits.max - limits.min + 1
    turns = number("share", "Mul", number("least", "Sub", x, limits.min), 1 / count)
    turns = pointwise(low, call, "Floor", [turns], step="turns")
    return pointwise(low, call, "Sub", [x, number("count", "Mul", turns, count)], step="rest")
