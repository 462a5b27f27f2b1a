"""Types all of whose numbers float32 has as well: what is computed of them is computed of those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph import ELEMENT_TYPES
from ._broadcast import pointwise
from ._lowering import Call, Lowering, Refusal

SMALL = frozenset(map(np.dtype, ("int8", "uint8", "int16", "float16")))
_FLOAT = ELEMENT_TYPES["float32"]
# A quotient of such integers that is none lies further below the next one than this.
_NUDGE = 1 + 2.0**-20


def in_float32(rule: Callable[[Lowering, Call], None]) -> Callable[[Lowering, Call], None]:
    """A rule for float32 for small types, too. Sums, differences and products of integers go round
    where they leave the type, as C's; quotients lose their fraction.
    """

    def wider(low: Lowering, call: Call) -> None:
        types = {low.dtypes[name] for name in call.inputs if name in low.shapes}
        small = types & SMALL
        if not small:
            rule(low, call)
            return
        if len(types - {np.dtype(bool)}) > 1:
            raise Refusal(f"its inputs are {' and '.join(sorted(map(str, types)))}; cast them")
        (dtype,) = small
        inputs = [
            low.emit(call, "Cast", [name], {"to": _FLOAT}, f"real{index}")
            if low.dtypes.get(name) in SMALL and name in low.shapes
            else name
            for index, name in enumerate(call.inputs)
        ]
        output = low.names.fresh(f"{call.output}.real")
        inner = Call(replace(call.node, outputs=[output]), inputs, call.attrs)
        inner.lifted, inner.whole = call.lifted, dtype.kind in "iu"
        rule(low, inner)
        value = low.alias.get(output, output)
        if low.dtypes[value].kind == "b":
            low.reshape(call, value, low.shape(value))
            return
        if dtype.kind in "iu":
            value = _whole(low, call, value, dtype)
        low.emit(call, "Cast", [value], {"to": ELEMENT_TYPES[dtype.name]})

    wider.__doc__ = rule.__doc__
    return wider


def _whole(low: Lowering, call: Call, x: str, dtype: np.dtype[Any]) -> str:
    """What the integer result of an operator is where its float32 one is x."""
    op = call.node.op
    if op == "Mul" and dtype.itemsize > 1:
        raise Refusal(f"products of {dtype} are not supported; cast its inputs")
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
