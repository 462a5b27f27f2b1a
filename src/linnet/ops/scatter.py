"""Values put into parts of others that constants name, and parts that tuples of numbers name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Array, Shape
from ..text import shape_text
from . import _lifting
from ._broadcast import arithmetic
from ._lowering import Call, Lowering, Refusal, axis_of
from ._moving import joined, slice_of
from ._registry import Operator
from ._small import integer

REDUCTIONS = ("none", "add", "mul", "max", "min")
_JOINED = {"none": "Add", "add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}
_NEUTRAL = {"none": 0.0, "add": 0.0, "mul": 1.0, "max": -math.inf, "min": math.inf}
# Of the updates of one number, so many one after the other.
MOST_ROUNDS = 64


def gather_nd(data: Array, indices: Array, *, batch_dims: int = 0) -> Array:
    """Of `data` the parts that the vectors of the last axis of `indices` name."""
    depth = indices.shape[-1]
    lead = data.shape[:batch_dims]
    rows = indices.reshape(math.prod(lead), -1, depth).astype(np.intp)
    parts = data.reshape(-1, *data.shape[batch_dims:])
    found = [part[tuple(at.T)] for part, at in zip(parts, rows)]
    rest = data.shape[batch_dims + depth :]
    return np.stack(found).reshape(*indices.shape[:-1], *rest)


def _put(data: Array, places: tuple[Array, ...], updates: Array, reduction: str) -> Array:
    """A copy of `data` with `updates` in some places, the last of several."""
    result = data.copy()
    if reduction == "none":
        result[places] = updates
    else:
        function = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
        function[reduction].at(result, places, updates)
    return result


def scatter_nd(data: Array, indices: Array, updates: Array, *, reduction: str = "none") -> Array:
    """`data` with `updates` in the parts that the vectors of the last axis of `indices` name."""
    places = tuple(np.moveaxis(indices, -1, 0).astype(np.intp))
    return _put(data, places, updates, reduction)


def scatter_elements(
    data: Array, indices: Array, updates: Array, *, axis: int = 0, reduction: str = "none"
) -> Array:
    """`data` with each of `updates` where `indices` says along `axis`, else at its own place."""
    places = [np.array(i) for i in np.indices(indices.shape, np.intp)]
    places[axis] = indices.astype(np.intp) % data.shape[axis]
    return _put(data, tuple(places), updates, reduction)


def lower_gather_nd(low: Lowering, call: Call) -> None:
    """Along axes after the batch, or of which axis 0 is none; by computed numbers, too. Numbers
    beyond an axis give zeros, or what lies there.
    """
    x, at = call.input(0), call.input(1)
    shape = low.shape(x)
    indices = low.constants.get(at)
    of = low.shape(at) if indices is None else indices.shape
    lead = call.attrs["batch_dims"] + (1 if call.lifted else 0)
    if call.lifted and indices is not None:
        of = (1, *of)
    depth = of[-1] if of else 0
    if lead < 1 or len(of) <= lead or not 0 < depth <= len(shape) - lead:
        raise Refusal(
            f"numbers {shape_text(of)} name no parts of {shape_text(shape)} beside the batch"
        )
    if of[1:lead] != shape[1:lead]:
        raise Refusal(f"numbers {shape_text(of)} do not fit {shape_text(shape)}")
    groups, sizes, rest = (
        math.prod(shape[1:lead]),
        shape[lead : lead + depth],
        shape[lead + depth :],
    )
    count, row = math.prod(of[lead:-1]), math.prod(rest)
    rows = low.reshape(call, x, (shape[0], 1, groups * math.prod(sizes), row), "rows")
    base = np.arange(groups, dtype=np.int64).reshape(-1, 1) * math.prod(sizes)
    if indices is not None:
        low.spend(indices.size, 8)
        each = _inside(indices.astype(np.int64).reshape(-1, depth), np.array(sizes))
        flat = np.ravel_multi_index(tuple(each.T), sizes)
        flat = flat.reshape(groups, -1) + base
        places = low.add_constant(f"{call.output}.places", flat.reshape(1, -1))
    else:
        vectors = integer(low, call, at, "wide")
        vectors = low.reshape(call, vectors, (of[0], groups, count, depth), "vectors")
        places = _computed_places(low, call, vectors, sizes)
        if groups > 1:
            bases = low.add_constant(f"{call.output}.bases", base.reshape(1, groups, 1))
            places = arithmetic(low, call, "Add", (places, bases), "based")
        places = low.reshape(call, places, (of[0], groups * count), "places")
    y = low.emit(call, "GatherRows", [rows, places], step="gathered")
    low.reshape(call, y, (shape[0], *of[1:-1], *rest))


def _computed_places(low: Lowering, call: Call, at: str, sizes: Shape) -> str:
    """[N, groups, count] places from vectors [N, groups, count, depth]."""
    shape, total = low.shape(at), ""
    for i in range(len(sizes)):
        step = math.prod(sizes[i + 1 :])
        part = slice_of(low, call, at, [(3, i, i + 1, 1)], f"number{i}") if len(sizes) > 1 else at
        part = low.reshape(call, part, shape[:-1], f"column{i}")
        # Negative numbers count from the end.
        sign = low.emit(call, "Sign", [part], step=f"sign{i}")
        zero = low.add_constant(f"{call.output}.zero{i}", np.array(0, np.int64))
        below = arithmetic(low, call, "Min", (sign, zero), f"below{i}")
        size = low.add_constant(f"{call.output}.size{i}", np.array(-sizes[i], np.int64))
        turn = arithmetic(low, call, "Mul", (below, size), f"turn{i}")
        part = arithmetic(low, call, "Add", (part, turn), f"counted{i}")
        if step != 1:
            factor = low.add_constant(f"{call.output}.step{i}", np.array(step, np.int64))
            part = arithmetic(low, call, "Mul", (part, factor), f"scaled{i}")
        total = arithmetic(low, call, "Add", (total, part), f"sum{i}") if total else part
    return total


def lower_scatter_nd(low: Lowering, call: Call) -> None:
    """By constant numbers, of values that are float32 where they are added, multiplied or compared;
    along axes after the batch, or of which axis 0 is none.
    """
    shape, indices = _operands(low, call)
    first = 1 if call.lifted else 0
    sizes = shape[1:] if call.lifted else shape
    depth = indices.shape[-1] if indices.ndim else 0
    if not 0 < depth <= len(sizes):
        raise Refusal(f"numbers {list(indices.shape)} name no parts of {shape_text(shape)}")
    if not first:
        raise Refusal("the batch cannot be cut")
    rest = sizes[depth:]
    each = _inside(indices.reshape(-1, depth), np.array(sizes[:depth]))
    flat = np.ravel_multi_index(tuple(each.T), sizes[:depth])
    rows = (math.prod(sizes[:depth]), math.prod(rest))
    _scatter(low, call, flat, rows, (*indices.shape[:-1], *rest))


def lower_scatter_elements(low: Lowering, call: Call) -> None:
    """By constant numbers, of values that are float32 where they are added, multiplied or compared;
    along axes after the batch, or of which axis 0 is none.
    """
    shape, indices = _operands(low, call)
    if not call.lifted:
        raise Refusal("the batch cannot be cut")
    sizes = shape[1:]
    axis = axis_of(call.attrs["axis"], len(sizes))
    if indices.ndim != len(sizes) or any(
        n > m for i, (n, m) in enumerate(zip(indices.shape, sizes)) if i != axis
    ):
        raise Refusal(f"numbers {list(indices.shape)} do not fit {shape_text(shape)}")
    low.spend(indices.size * len(sizes), 8)
    places = [np.array(i) for i in np.indices(indices.shape, np.int64)]
    places[axis] = _inside(indices.reshape(-1, 1), np.array([sizes[axis]])).reshape(indices.shape)
    flat = np.ravel_multi_index(tuple(p.ravel().astype(np.intp) for p in places), sizes)
    _scatter(low, call, np.asarray(flat, np.int64), (math.prod(sizes), 1), indices.shape)


def _operands(low: Lowering, call: Call) -> tuple[Shape, Array]:
    if call.attrs["reduction"] not in REDUCTIONS:
        raise Refusal(f"reduction is {call.attrs['reduction']!r}")
    indices = low.constant(call.input(1), "list of places")
    if indices.dtype.kind not in "iu":
        raise Refusal("its places are not integers")
    low.spend(indices.size, 16)
    return low.shape(call.input(0)), indices.astype(np.int64)


def _inside(indices: Array, sizes: Array) -> Array:
    if (indices < -sizes).any() or (indices >= sizes).any():
        raise Refusal(f"numbers beyond {shape_text(tuple(sizes.tolist()))}")
    return np.asarray(indices % sizes)


def _scatter(low: Lowering, call: Call, places: Array, rows: tuple[int, int], shape: Shape) -> None:
    """Rows [1, 1, count, length] whose `places` the updates, of that shape without the lifted axis,
    are put into: gathered from both, one after the other.
    """
    whole, updates, reduction = low.shape(call.input(0)), call.input(2), call.attrs["reduction"]
    constant = low.constants.get(updates)
    given = low.shape(updates)[1:] if constant is None else constant.shape
    if given != shape:
        raise Refusal(f"updates {shape_text(given)} are not {shape_text(shape)}")
    count, length = rows
    data = low.reshape(call, call.input(0), (1, 1, count, length), "data")
    low.spend((count + len(places)) * (length + 4), 8)
    if constant is None:
        updates = low.reshape(call, updates, (1, 1, len(places), length), "updates")
    for number, table in enumerate(_rounds(places, count, reduction == "none")):
        if constant is None:
            data = _computed_round(low, call, (data, updates), table, number)
        else:
            each = constant.reshape(len(places), length)
            data = _constant_round(low, call, (data, each), table, number)
    low.reshape(call, data, whole)


def _taken(low: Lowering, call: Call, x: str, table: Array, step: str) -> str:
    places = low.add_constant(f"{call.output}.{step}.places", table.reshape(1, -1))
    return low.emit(call, "GatherRows", [x, places], step=step)


def _computed_round(
    low: Lowering, call: Call, pair: tuple[str, str], table: Array, number: int
) -> str:
    (data, updates), reduction, step = pair, call.attrs["reduction"], f"round{number}"
    count = len(table)
    untouched = table < count
    if reduction in ("add", "mul"):
        # Beyond all of its rows are zeros.
        beyond = np.where(untouched, low.shape(updates)[2], table - count)
        taken = _taken(low, call, updates, beyond, f"taken{number}")
        if reduction == "mul":
            ones = untouched.astype(np.float32).reshape(1, 1, count, 1)
            name = low.add_constant(f"{call.output}.ones{number}", ones)
            taken = arithmetic(low, call, "Add", (taken, name), f"factors{number}")
    else:
        both = joined(low, call, [data, updates], 2, f"both{number}")
        taken = _taken(low, call, both, table, f"taken{number}")
    if reduction == "none":
        return taken
    return arithmetic(low, call, _JOINED[reduction], (data, taken), step)


def _constant_round(
    low: Lowering, call: Call, pair: tuple[str, Array], table: Array, number: int
) -> str:
    (data, updates), reduction, step = pair, call.attrs["reduction"], f"round{number}"
    count = len(table)
    updated = table >= count
    neutral = _NEUTRAL[reduction]
    whole = np.full((count, updates.shape[1]), neutral if updates.dtype.kind == "f" else 0)
    if updates.dtype.kind != "f" and neutral:
        raise Refusal(f"{reduction} of constants that are {updates.dtype} is not supported")
    whole = whole.astype(updates.dtype)
    whole[updated] = updates[table[updated] - count]
    name = low.add_constant(f"{call.output}.updates{number}", whole[None, None])
    if reduction == "none":
        beyond = np.where(updated, count, table)
        data = _taken(low, call, data, beyond, f"kept{number}")
    return arithmetic(low, call, _JOINED[reduction], (data, name), step)


def _rounds(places: Array, count: int, last: bool) -> list[Array]:
    """For each row the row it becomes: its own, or that of an update, which follow; of several
    updates the `last`, or each in a table of its own.
    """
    own = np.arange(count, dtype=np.int64)
    if last:
        own[places] = count + np.arange(len(places))
        return [own]
    tables: list[Array] = []
    turns: dict[int, int] = {}
    for update, place in enumerate(places.tolist()):
        turn = turns.get(place, 0)
        turns[place] = turn + 1
        if turn == len(tables):
            if turn == MOST_ROUNDS:
                raise Refusal(f"more than {MOST_ROUNDS} updates of one number")
            tables.append(own.copy())
        tables[turn][place] = count + update
    return tables


def gathered(data: Array, indices: Array, **attrs: Any) -> int:
    return int(data.size * indices.size)


OPERATORS = (
    Operator("GatherND", gather_nd, lower_gather_nd, gathered, lift=_lifting.unchanged),
    Operator("ScatterND", scatter_nd, lower_scatter_nd, lift=_lifting.unchanged),
    Operator("ScatterElements", scatter_elements, lower_scatter_elements, lift=_lifting.unchanged),
)
