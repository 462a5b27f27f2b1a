"""Parts of a value that constants or other values name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import ELEMENT_TYPES, LONGEST_AXIS, Array
from ..text import shape_text
from . import _lifting
from ._broadcast import arithmetic
from ._lowering import Call, Lowering, Refusal, axis_beside_batch, axis_of
from ._moving import MOST_RUNS, backwards, joined, slice_of
from ._registry import Operator
from .map import scaled
from .normalize import one_hot_of

_MOST_COUNTED = 1 << 24  # whole numbers that float32 tells apart


def gather(data: Array, indices: Array, *, axis: int = 0) -> Array:
    """The entries of `axis` that `indices` name."""
    # NumPy takes no int64 where addresses have 32 bits.
    return np.asarray(np.take(data, indices.astype(np.intp, casting="same_kind"), axis), data.dtype)


def lower_gather(low: Lowering, call: Call) -> None:
    """Of any axis but the batch, by constants: slices of it; or by computed numbers, where axis 0
    is no batch. Numbers beyond the axis give zeros.
    """
    x = call.input(0)
    shape = low.shape(x)
    if call.input(1) in low.shapes:
        _gather_computed(low, call)
        return
    indices = low.constant(call.input(1), "indices")
    if indices.dtype.kind not in "iu" or not indices.size:
        raise Refusal("its indices are not integers, or none")
    low.spend(indices.size)
    axis = axis_of(call.attrs["axis"], len(shape))
    if axis == 0 and not low.fixed:
        raise Refusal("the batch cannot be cut")
    size = shape[axis]
    places = [int(i) + size * (i < 0) for i in indices.ravel()]
    if min(places) < 0 or max(places) >= size:
        raise Refusal(f"its indices are not those of axis {axis} of {shape_text(shape)}")
    runs = _runs(places)
    if len(runs) > MOST_RUNS:
        runs = _runs(places, turned=True)
    target = (*shape[:axis], *indices.shape, *shape[axis + 1 :])
    if len(runs) > MOST_RUNS and axis > 0:
        before, after = math.prod(shape[1:axis]), math.prod(shape[axis + 1 :])
        rows = low.reshape(call, x, (shape[0], before, size, after), "rows")
        table = low.add_constant(f"{call.output}.places", np.array([places], np.int64))
        low.reshape(call, low.emit(call, "GatherRows", [rows, table], step="gathered"), target)
        return
    if len(runs) > MOST_RUNS:
        raise Refusal(f"indices of {len(runs)} slices, more than {MOST_RUNS}, are not supported")
    parts = []
    for index, run in enumerate(runs):
        by = run[1] - run[0] if len(run) > 1 else 1
        first, end = (run[-1], run[0]) if by < 0 else (run[0], run[-1])
        whole = (first, end, abs(by)) == (0, size - 1, 1)
        sections = [] if whole else [(axis, first, end + 1, abs(by))]
        last = len(runs) == 1 and target == (*shape[:axis], len(places), *shape[axis + 1 :])
        step = "" if last else f"part{index}"
        part = slice_of(low, call, x, sections, f"forwards{index}" if by < 0 else step)
        parts.append(backwards(low, call, part, axis, step) if by < 0 else part)
    if len(runs) > 1:
        low.reshape(call, joined(low, call, parts, axis, "joined"), target)
    elif not last:
        low.reshape(call, parts[0], target)


def _runs(places: Sequence[int], turned: bool = False) -> list[list[int]]:
    """Cut into pieces that go on in equal steps, also backwards if `turned`."""
    runs: list[list[int]] = []
    for place in places:
        run = runs[-1] if runs else []
        onwards = place != run[-1] if run and turned else run and place > run[-1]
        if onwards and (len(run) == 1 or place - run[-1] == run[1] - run[0]):
            run.append(place)
        else:
            runs.append([place])
    return runs


def _gather_computed(low: Lowering, call: Call) -> None:
    x, places = call.input(0), call.input(1)
    shape, of = low.shape(x), low.shape(places)
    axis = axis_of(call.attrs["axis"], len(shape))
    if not call.lifted or axis == 0:
        raise Refusal(f"its indices '{places}' are computed, only constants are supported here")
    before, after = shape[1:axis], shape[axis + 1 :]
    rows = (1, math.prod(before), shape[axis], math.prod(after))
    inputs = [
        low.reshape(call, x, rows, "rows"),
        low.reshape(call, places, (1, math.prod(of)), "places"),
    ]
    y = low.emit(call, "GatherRows", inputs, step="gathered")
    low.reshape(call, y, (1, *before, *of[1:], *after))


def gathered(data: Array, indices: Array, *, axis: int = 0) -> int:
    return int(data.size // max(data.shape[axis], 1) * indices.size)


def gather_rows(data: Array, places: Array) -> Array:
    """linnet's own: of rows [N, A, rows, B] those of each image that places [N or 1, count] name;
    zeros where there is no such row.
    """
    rows = data.shape[2]
    places = np.broadcast_to(places, (len(data), places.shape[1])).astype(
        np.intp, casting="same_kind"
    )
    inside = (-rows <= places) & (places < rows)
    found = np.stack([np.take(x, at, 1) for x, at in zip(data, np.where(inside, places, 0))])
    return np.where(inside[:, None, :, None], found, np.zeros((), data.dtype))


def lower_gather_rows(low: Lowering, call: Call) -> None:
    """By computed numbers, or constants for all images."""
    low.shape(call.input(0))
    low.emit(call, "GatherRows", call.inputs)


def gather_elements(data: Array, indices: Array, *, axis: int = 0) -> Array:
    """Along `axis` each number that `indices` name, beside the other axes' own places."""
    axis %= data.ndim
    cut = tuple(slice(None) if i == axis else slice(n) for i, n in enumerate(indices.shape))
    return np.asarray(
        np.take_along_axis(data[cut], indices.astype(np.intp, casting="same_kind"), axis)
    )


def lower_gather_elements(low: Lowering, call: Call) -> None:
    """Along any axis but the batch. Numbers beyond the axis give zeros."""
    x, places = call.input(0), call.input(1)
    shape, constant = low.shape(x), low.constants.get(places)
    axis = axis_beside_batch(call.attrs["axis"], len(shape))
    if constant is None:
        of = low.shape(places)
    else:
        if constant.dtype.kind not in "iu" or not call.lifted:
            raise Refusal(f"its constant indices '{places}' are not integers, or those of a batch")
        of = (1, *constant.shape)
    if len(of) != len(shape) or any(n > m for i, (n, m) in enumerate(zip(of, shape)) if i != axis):
        raise Refusal(f"indices {shape_text(of)} do not fit {shape_text(shape)}")
    shorter = [(i, 0, n, 1) for i, n in enumerate(of) if i != axis and n < shape[i]]
    if shorter:
        x = slice_of(low, call, x, shorter, "cut")
    before, after = math.prod(of[1:axis]), math.prod(of[axis + 1 :])
    table = (of[0], before, of[axis], after)
    if constant is not None:
        y = _constant_elements(low, call, x, constant.reshape(table[1:]), shape[axis])
        low.reshape(call, y, of)
        return
    places = low.reshape(call, places, table, "places")
    inputs = [low.reshape(call, x, (of[0], before, shape[axis], after), "rows"), places]
    flat = table == of
    y = low.emit(call, "GatherElements", inputs, {"axis": 2}, "" if flat else "gathered")
    if not flat:
        low.reshape(call, y, of)


def _constant_elements(low: Lowering, call: Call, x: str, table: Array, size: int) -> str:
    """Of numbers [before, size, after] those of a table [before, count, after], as single rows."""
    before, _, after = table.shape
    low.spend(3 * table.size, 8)
    if (table < -size).any() or (table >= size).any():
        raise Refusal(f"its indices are not those of an axis of {size}")
    first = size * np.arange(before, dtype=np.int64).reshape(-1, 1, 1)
    flat = (first + table % size) * after + np.arange(after, dtype=np.int64)
    places = low.add_constant(f"{call.output}.places", flat.astype(np.int64).reshape(1, -1))
    rows = low.reshape(call, x, (1, 1, before * size * after, 1), "rows")
    return low.emit(call, "GatherRows", [rows, places], step="gathered")


def top_places(x: Array, *, axis: int = 0, top: int, smallest: int = 0) -> Array:
    """linnet's own: where along `axis` the `top` largest or `smallest` numbers are, the best
    first, of equal ones the first.
    """
    if smallest:
        order = np.argsort(x, axis, kind="stable")
    else:
        backwards = np.argsort(np.flip(x, axis), axis, kind="stable")
        order = np.flip(x.shape[axis] - 1 - backwards, axis)
    return np.take(order, np.arange(top), axis)


def top_k(
    x: Array, k: Array, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[Array, ...]:
    """The k largest or smallest numbers along `axis`, and where they are."""
    places = top_places(x, axis=axis, top=int(k.reshape(-1)[0]), smallest=int(not largest))
    return np.take_along_axis(x, places, axis), places.astype(np.int64)


def lower_top_k(low: Lowering, call: Call) -> None:
    """Along any axis but the batch, a constant number of them."""
    x, shape = call.input(0), low.shape(call.input(0))
    axis = axis_beside_batch(call.attrs["axis"], len(shape))
    given = low.integers(call.input(1), "k")
    if len(given) != 1 or not 0 < given[0] <= shape[axis]:
        raise Refusal(f"k is {given}, axis {axis} is {shape[axis]} long")
    before, after = math.prod(shape[1:axis]), math.prod(shape[axis + 1 :])
    rows = low.reshape(call, x, (shape[0], before, shape[axis], after), "rows")
    attrs = {"axis": 2, "top": given[0], "smallest": int(not call.attrs["largest"])}
    places = low.emit(call, "TopPlaces", [rows], attrs, "places")
    target = (*shape[:axis], given[0], *shape[axis + 1 :])
    values, wanted = (*call.node.outputs, "")[:2]
    if wanted:
        low.reshape(call.of(wanted), places, target)
    if values:
        y = low.emit(call, "GatherElements", [rows, places], {"axis": 2}, "best")
        low.reshape(call.of(values), y, target)


def one_hot(indices: Array, depth: Array, values: Array, *, axis: int = -1) -> Array:
    """Along a new axis of `depth` places values[1] where the index is, values[0] elsewhere."""
    count, rank = int(depth.reshape(-1)[0]), indices.ndim + 1
    at = np.expand_dims(indices, axis % rank)
    places = np.arange(count).reshape([count if i == axis % rank else 1 for i in range(rank)])
    hot = (at == places) | (at + count == places)
    return np.asarray(np.where(hot, values[1], values[0]))


def lower_one_hot(low: Lowering, call: Call) -> None:
    """Of computed whole numbers, of constant depth and values."""
    x = call.input(0)
    shape = low.shape(x)
    depth = low.numbers(call.input(1), "depth").reshape(-1)
    values = low.numbers(call.input(2), "values")
    if depth.size != 1 or not 1 <= depth[0] < LONGEST_AXIS or values.shape != (2,):
        raise Refusal("its depth or values do not fit")
    axis = axis_beside_batch(call.attrs["axis"], len(shape) + 1)
    x = low.reshape(call, x, (*shape[:axis], 1, *shape[axis:]), "index")
    if low.dtypes[x].kind != "f":
        x = low.emit(call, "Cast", [x], {"to": ELEMENT_TYPES["float32"]}, "number")
    count = int(depth[0])
    hot = one_hot_of(low, call, x, (axis, count), "first")
    again = scaled(low, call, x, 1, "other", shift=count)  # of numbers below 0
    again = one_hot_of(low, call, again, (axis, count), "last")
    y = arithmetic(low, call, "Add", (hot, again), "hot")
    off, on = values.astype(np.float64).tolist()
    kind = values.dtype.name
    if values.dtype == np.float32:
        scaled(low, call, y, on - off, shift=off)
    elif kind not in ELEMENT_TYPES or max(abs(on), abs(off)) > 1 << 24:
        raise Refusal(f"its values are {kind}, or too large")
    else:
        y = scaled(low, call, y, on - off, "number", shift=off)
        low.emit(call, "Cast", [y], {"to": ELEMENT_TYPES[kind]})


def opened(indices: Array, depth: Array, values: Array, **attrs: Any) -> int:
    return indices.size * int(depth.reshape(-1)[0])


OPERATORS = (
    Operator("Gather", gather, lower_gather, gathered, lift=_lifting.axis),
    Operator("GatherRows", gather_rows, lower_gather_rows),
    Operator("GatherElements", gather_elements, lower_gather_elements, lift=_lifting.axis),
    Operator("OneHot", one_hot, lower_one_hot, opened, lift=_lifting.axis),
    Operator("TopPlaces", top_places, None),
    Operator("TopK", top_k, lower_top_k, several=True, lift=_lifting.axis),
)
