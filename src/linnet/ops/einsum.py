"""Sums of products, as Einstein's convention writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..graph import Array, Node, Shape
from ..text import short
from ._lowering import Call, Lowering, Mixes, Refusal
from ._registry import Operator
from ._turned import transposed

_TERMS = re.compile(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*")
_SPARE = "0123456789"  # labels of axes that an ellipsis stands for


def einsum(*inputs: Array, equation: str) -> Array:
    """NumPy's, whose equations are ONNX's."""
    return np.asarray(np.einsum(equation, *inputs), inputs[0].dtype)


class _Term(NamedTuple):
    """A value and a label for each of its axes."""

    name: str
    labels: str


def _parsed(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The labels of each operand and of the result."""
    sides = equation.replace(" ", "").split("->")
    terms = sides[0].split(",")
    if len(sides) > 2 or not all(_TERMS.fullmatch(term) for term in (*terms, *sides[1:])):
        raise Refusal(f"equation {short(equation)} is not one")
    if len(terms) != len(ranks):
        raise Refusal(f"equation {short(equation)} is not of {len(ranks)} inputs")
    found = []
    for term, rank in zip(terms, ranks):
        more = rank - len(term.replace("...", ""))
        if not (0 <= more <= len(_SPARE) if "..." in term else more == 0):
            raise Refusal(f"equation {short(equation)} does not fit an input of {rank} axes")
        found.append(term.replace("...", _SPARE[len(_SPARE) - more :]))
    spare = max((re.sub("[A-Za-z]", "", term) for term in found), key=len)
    if len(sides) == 2:
        result = sides[1].replace("...", spare)
    else:
        every = "".join(found)
        single = (label for label in set(every) - set(spare) if every.count(label) == 1)
        result = spare + "".join(sorted(single))
    if any(len(set(term)) < len(term) for term in (*found, result)):
        raise Refusal(f"equation {short(equation)} names an axis twice, a diagonal")
    if set(result) - set("".join(found)):
        raise Refusal(f"equation {short(equation)} has a result that no input has")
    return found, result


def lower_einsum(low: Lowering, call: Call) -> None:
    """Of one value, its axes in another order or added up; of two, one of which may be constant,
    their product as of matrices.
    """
    if not isinstance(call.attrs["equation"], str) or not 1 <= len(call.inputs) <= 2:
        raise Refusal("only equations of one or two values are supported")
    ranks = [len(_shape(low, name)) for name in call.inputs]
    labels, result = _parsed(call.attrs["equation"], ranks)
    terms = list(map(_Term, call.inputs, labels))
    if len(terms) == 2 and terms[0].name in low.constants:
        terms.reverse()
    for index, term in enumerate(terms):
        others = result + (terms[1 - index].labels if len(terms) == 2 else "")
        terms[index] = _summed(low, call, term, others, f"summed{index}")
    y = terms[0] if len(terms) == 1 else _product(low, call, terms[0], terms[1], result)
    order = [y.labels.index(label) for label in result]
    low.visit(Node("Transpose", call.node.name, [y.name], [call.output], {"perm": order}))


def _shape(low: Lowering, name: str) -> Shape:
    return low.numbers(name, "input").shape if name in low.constants else low.shape(name)


def _summed(low: Lowering, call: Call, term: _Term, wanted: str, step: str) -> _Term:
    """Without the axes that nobody else has."""
    axes = [axis for axis, label in enumerate(term.labels) if label not in wanted]
    if not axes:
        return term
    y = low.names.fresh(f"{call.output}.{step}")
    constant = low.add_constant(f"{y}.axes", np.array(axes, np.int64))
    low.visit(Node("ReduceSum", y, [term.name, constant], [y], {"keepdims": 0}))
    return _Term(_made(low, y), "".join(label for label in term.labels if label in wanted))


def _made(low: Lowering, name: str) -> str:
    """What a node that was visited has made."""
    if name in low.failed:
        raise Refusal("a part of it cannot be computed")
    return low.alias.get(name, name)


def _product(low: Lowering, call: Call, a: _Term, b: _Term, result: str) -> _Term:
    """a [N, each, rows, summed] times b [N, each, summed, columns], where b may be constant."""
    constant = b.name in low.constants
    first = "" if low.fixed else a.labels[0]
    if first and (first not in result or (not constant and b.labels[0] != first)):
        raise Mixes("the batch is not the first axis of all that it reads and makes")
    if low.fixed and not low.along_first and a.labels[0] not in result:
        raise Refusal("the batch cannot be added up; the model leaves its size open")
    if first and constant and first in b.labels:
        raise Refusal("its constant has the batch as an axis")
    both = [label for label in a.labels if label in b.labels and label != first]
    each = "".join(label for label in both if label in result)
    summed = "".join(label for label in both if label not in result)
    rows = "".join(label for label in a.labels if label not in each + summed + first)
    columns = "".join(label for label in b.labels if label not in each + summed + first)
    sizes = dict(zip(b.labels, _shape(low, b.name))) | dict(zip(a.labels, _shape(low, a.name)))
    for label, size in zip(b.labels, _shape(low, b.name)):
        if sizes[label] != size:
            raise Refusal(f"axes '{label}' are {sizes[label]} and {size} long")
    count = {
        part: math.prod(sizes[label] for label in part) for part in (each, summed, rows, columns)
    }
    batch = sizes[first] if first else 1
    left = _ordered(low, call, _Term(a.name, a.labels), first + each + rows + summed, "left")
    left = low.reshape(call, left, (batch, count[each], count[rows], count[summed]), "rows")
    if constant:
        order = [b.labels.index(label) for label in each + summed + columns]
        array = low.constants[b.name].transpose(order)
        low.spend(array.size, array.itemsize)
        shape = (count[each], count[summed], count[columns])
        right = low.add_constant(f"{b.name}.columns", array.reshape(shape if each else shape[1:]))
    else:
        right = _ordered(low, call, b, first + each + summed + columns, "right")
        right = low.reshape(
            call, right, (batch, count[each], count[summed], count[columns]), "columns"
        )
    y = low.names.fresh(f"{call.output}.product")
    low.visit(Node("MatMul", y, [left, right], [y]))
    found = first + each + rows + columns
    whole = tuple(sizes[label] for label in found)
    return _Term(low.reshape(call, _made(low, y), whole, "whole"), found)


def _ordered(low: Lowering, call: Call, term: _Term, labels: str, step: str) -> str:
    order = [term.labels.index(label) for label in labels]
    if order[:1] == [0]:
        return transposed(low, call, term.name, order, step)
    y = low.names.fresh(f"{call.output}.{step}")
    low.visit(Node("Transpose", y, [term.name], [y], {"perm": order}))
    return _made(low, y)


OPERATORS = (Operator("Einsum", einsum, lower_einsum),)
