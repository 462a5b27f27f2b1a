"""Truth values: comparisons, and what is chosen by them.

The core has no such operators. A comparison is made of the sign of a difference, and a choice of
least and largest values, in which infinities choose.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import ELEMENT_TYPES, Array, Node
from ._broadcast import arithmetic, pointwise, smaller
from ._lowering import Call, Lowering, Refusal
from ._registry import Operator, as_inputs
from ._small import integer, of_any_type
from .map import broadcast, scaled

_BOOL, _FLOAT, _INT8 = (ELEMENT_TYPES[name] for name in ("bool", "float32", "int8"))
_MIRRORED = {
    "Equal": "Equal",
    "Less": "Greater",
    "LessOrEqual": "GreaterOrEqual",
    "Greater": "Less",
    "GreaterOrEqual": "LessOrEqual",
}


def equal(a: Array, b: Array) -> Array:
    return np.asarray(a == b, bool)


def less(a: Array, b: Array) -> Array:
    return np.asarray(a < b)


def less_or_equal(a: Array, b: Array) -> Array:
    return np.asarray(a <= b)


def greater(a: Array, b: Array) -> Array:
    return np.asarray(a > b)


def greater_or_equal(a: Array, b: Array) -> Array:
    return np.asarray(a >= b)


def not_(x: Array) -> Array:
    return np.asarray(np.logical_not(x))


def and_(a: Array, b: Array) -> Array:
    return np.asarray(np.logical_and(a, b))


def or_(a: Array, b: Array) -> Array:
    return np.asarray(np.logical_or(a, b))


def where(condition: Array, x: Array, y: Array) -> Array:
    """The numbers of x where the condition holds, else those of y."""
    return np.asarray(np.where(condition, x, y))


def lower_comparison(low: Lowering, call: Call) -> None:
    """Of float32, with NaN to nothing; where both may be equal, a constant has no infinities. Of
    integers.
    """
    op, x, y = call.node.op, call.input(0), call.input(1)
    if x in low.constants:
        op, x, y = _MIRRORED[op], y, x
    # The difference of equal infinities is no number.
    strict = call.whole or op in ("Less", "Greater")
    if not strict and y not in low.constants:
        _compare_reals(low, call, op, (x, y))
        return
    if not strict and not np.isfinite(low.numbers(y, "second input")).all():
        raise Refusal("of infinity or NaN is not supported")
    if y not in low.constants and smaller(low.shape(x), low.shape(y)):
        op, x, y = _MIRRORED[op], y, x
    if call.wide and op != "Equal":
        _order_integers(low, call, op, (x, y))
        return
    d = arithmetic(low, call, "Sub", (x, y), "difference")
    if op == "Equal":
        _not(low, call, low.emit(call, "Cast", [d], {"to": _BOOL}, "differs"))
        return
    if op.startswith("Less"):
        d = pointwise(low, call, "Neg", [d], step="turned")
    sign = pointwise(low, call, "Sign", [d], step="sign")
    if op.endswith("OrEqual"):
        sign = scaled(low, call, sign, 1, "more", shift=1)
    else:
        sign = pointwise(low, call, "Relu", [sign], step="more")
    known = low.emit(call, "Cast", [sign], {"to": _INT8}, "known")  # NaN is 0
    low.emit(call, "Cast", [known], {"to": _BOOL})


def _compare_reals(low: Lowering, call: Call, op: str, pair: tuple[str, str]) -> None:
    """Whether two computed values may be equal. Equal are those whose difference has no sign, as
    that of infinities, which are equal if limited ones are; NaN stays apart from all.
    """
    if op != "Equal":
        kinds = (op.removesuffix("OrEqual"), "Equal")
        parts = [low.names.fresh(f"{call.output}.{kind.lower()}") for kind in kinds]
        for kind, part in zip(kinds, parts):
            low.visit(Node(kind, part, list(pair), [part]))
            if part in low.failed:
                raise Refusal("of these is not supported")
        low.visit(Node("Or", call.node.name, parts, [call.output]))
        return
    if smaller(*map(low.shape, pair)):
        pair = pair[::-1]
    d = arithmetic(low, call, "Sub", pair, "difference")
    known = low.emit(
        call, "Cast", [pointwise(low, call, "Sign", [d], step="turn")], {"to": _INT8}, "known"
    )
    known = low.emit(call, "Cast", [known], {"to": _FLOAT}, "sign")
    limits = np.finfo(np.float32)
    bounds = [
        low.add_constant(f"{call.output}.{name}", np.array(value, np.float32))
        for name, value in (("lowest", limits.min), ("highest", limits.max))
    ]
    limited = [
        pointwise(low, call, "Clip", [name, *bounds], step=f"limited{index}")
        for index, name in enumerate(pair)
    ]
    gap = arithmetic(low, call, "Sub", (limited[0], limited[1]), "gap")
    apart = [
        pointwise(low, call, "Abs", [name], step=f"apart{index}")
        for index, name in enumerate((gap, known))
    ]
    total = arithmetic(low, call, "Add", (apart[0], apart[1]), "apart")
    _not(low, call, low.emit(call, "Cast", [total], {"to": _BOOL}, "differs"))


def _order_integers(low: Lowering, call: Call, op: str, pair: tuple[str, str]) -> None:
    """Whether the larger or smaller one is not the first: 0 is the difference of equals alone."""
    below = op in ("Less", "GreaterOrEqual")
    extreme = arithmetic(low, call, "Max" if below else "Min", pair, "extreme")
    d = arithmetic(low, call, "Sub", (extreme, pair[0]), "difference")
    if op in ("Less", "Greater"):
        low.emit(call, "Cast", [d], {"to": _BOOL})
    else:
        _not(low, call, low.emit(call, "Cast", [d], {"to": _BOOL}, "strictly"))


def _number(low: Lowering, call: Call, x: str, step: str) -> str:
    """A truth value as 0 or 1."""
    if x in low.constants and low.constants[x].dtype.kind == "b":
        low.spend(low.constants[x].size, 4)
        return low.add_constant(f"{call.output}.{step}", low.constants[x].astype(np.float32))
    low.shape(x)
    if low.dtypes[x].kind != "b":
        raise Refusal(f"its input '{x}' is {low.dtypes[x]}, not bool")
    return low.emit(call, "Cast", [x], {"to": _FLOAT}, step)


def _not(low: Lowering, call: Call, x: str) -> None:
    number = _number(low, call, x, "number")
    other = scaled(low, call, number, -1, "other", shift=1)
    low.emit(call, "Cast", [other], {"to": _BOOL})


def lower_not(low: Lowering, call: Call) -> None:
    """Of computed truth values."""
    _not(low, call, call.input(0))


def lower_both(low: Lowering, call: Call) -> None:
    """Of truth values, of which those of one input broadcast to those of the other."""
    x, y = (_number(low, call, call.input(i), f"number{i}") for i in (0, 1))
    op = "Mul" if call.node.op == "And" else "Max"
    result = commuted(low, call, op, (x, y), "result")
    low.emit(call, "Cast", [result], {"to": _BOOL})


def lower_where(low: Lowering, call: Call) -> None:
    """Of float32; NaN among what is not chosen stays, but for a quotient not chosen where its
    divisor is 0. Of integers.
    """
    condition, x, y = (call.input(i) for i in range(3))
    kinds = {
        low.dtypes[name] if name in low.shapes else low.constants[name].dtype for name in (x, y)
    }
    if {dtype.kind for dtype in kinds} & set("iu"):
        _choose_integer(low, call, kinds)
        return
    if condition in low.constants:
        if low.constants[condition].dtype.kind != "b":
            raise Refusal("its condition is not of truth values")
        array = low.constants[condition]
        low.spend(2 * array.size, 4)
        signs = (math.inf, -math.inf), (-math.inf, math.inf)
        least, most = (
            low.add_constant(f"{call.output}.{name}", np.where(array, *pair).astype(np.float32))
            for name, pair in zip(("if", "unless"), signs)
        )
    else:
        number = _number(low, call, condition, "number")
        other = scaled(low, call, number, -1, "other", shift=1)
        logs = [
            pointwise(low, call, "Log", [v], step=f"log{i}") for i, v in enumerate((number, other))
        ]
        least = arithmetic(
            low, call, "Sub", (logs[0], logs[1]), "if"
        )  # infinity where x is chosen, else -infinity
        most = pointwise(low, call, "Neg", [least], step="unless")
        y = _safe_quotient(low, call, y, number)
    low_limit = _extreme(low, call, "Min", (x, least), "least")
    high_limit = _extreme(low, call, "Max", (x, most), "most")
    limited = _extreme(low, call, "Min", (y, high_limit), "limited")
    _extreme(low, call, "Max", (limited, low_limit))


def _choose_integer(low: Lowering, call: Call, dtypes: set[np.dtype[Any]]) -> None:
    """y + (x - y) times the condition."""
    if len(dtypes) > 1:
        raise Refusal(f"its inputs are {' and '.join(sorted(map(str, dtypes)))}; cast them")
    (dtype,) = dtypes
    call = Call(call.node, list(call.inputs), call.attrs)
    for index, name in enumerate(call.inputs):
        if name in low.constants:
            low.spend(low.constants[name].size, 8)
            array = low.constants[name].astype(np.int64)
            call.inputs[index] = low.add_constant(f"{call.output}.choice{index}", array)
        else:
            call.inputs[index] = integer(low, call, name, f"choice{index}")
    chosen, x, y = call.inputs
    if x in low.constants and y in low.constants:
        gap = low.add_constant(f"{call.output}.gap", low.constants[x] - low.constants[y])
    else:
        negative = (
            low.add_constant(f"{call.output}.negative", -low.constants[y])
            if y in low.constants
            else pointwise(low, call, "Neg", [y], step="negative")
        )
        gap = commuted(low, call, "Add", (x, negative), "gap")
    part = commuted(low, call, "Mul", (chosen, gap), "part")
    last = "" if dtype == np.int64 else "chosen"
    value = commuted(low, call, "Add", (part, y), last)
    if last:
        low.emit(call, "Cast", [value], {"to": ELEMENT_TYPES[dtype.name]})


def commuted(low: Lowering, call: Call, op: str, pair: tuple[str, str], step: str = "") -> str:
    """`op`, whose operands may change places, of two values of which one may be constant."""
    x, y = pair
    if x in low.constants or (y not in low.constants and smaller(low.shape(x), low.shape(y))):
        x, y = y, x
    return arithmetic(low, call, op, (x, y), step)


def _extreme(low: Lowering, call: Call, op: str, pair: tuple[str, str], step: str = "") -> str:
    x, y = pair
    if x in low.constants and y in low.constants:
        a, b = (low.numbers(name, "input").astype(np.float32) for name in pair)
        low.spend(math.prod(np.broadcast_shapes(a.shape, b.shape)), 4)
        array: Array = np.minimum(a, b) if op == "Min" else np.maximum(a, b)
        return low.add_constant(f"{call.output}.{step}", array)
    return commuted(low, call, op, pair, step)


def _safe_quotient(low: Lowering, call: Call, y: str, zero: str) -> str:
    """`y`; if that is a quotient, and `zero` is 1 where its divisor is 0: one without NaN there."""

    def maker(nodes: list[Node], name: str) -> Node | None:
        return next((node for node in nodes if name in node.outputs), None)

    quotient = maker(low.nodes, y)
    compared = maker(low.graph.nodes, call.node.inputs[0])
    if not quotient or not compared or (quotient.op, compared.op) != ("Div", "Equal"):
        return y
    dividend, divisor = quotient.inputs
    names = [low.alias.get(name, name) for name in compared.inputs]
    if divisor not in names or divisor in low.constants:
        return y
    others = [low.constants[name] for name in names if name in low.constants]
    if len(others) != 1 or others[0].any():
        return y
    if low.shape(divisor) != low.shape(zero):
        return y
    divisor = arithmetic(low, call, "Add", (divisor, zero), "divisor")
    return arithmetic(low, call, "Div", (dividend, divisor), "quotient")


def chosen(condition: Array, x: Array, y: Array) -> int:
    return math.prod(np.broadcast_shapes(condition.shape, x.shape, y.shape))


OPERATORS = (
    Operator("Equal", equal, of_any_type(lower_comparison), broadcast),
    Operator("Less", less, of_any_type(lower_comparison), broadcast),
    Operator("LessOrEqual", less_or_equal, of_any_type(lower_comparison), broadcast),
    Operator("Greater", greater, of_any_type(lower_comparison), broadcast),
    Operator("GreaterOrEqual", greater_or_equal, of_any_type(lower_comparison), broadcast),
    Operator("Not", not_, lower_not, as_inputs),
    Operator("And", and_, lower_both, broadcast),
    Operator("Or", or_, lower_both, broadcast),
    Operator("Where", where, lower_where, chosen),
)
