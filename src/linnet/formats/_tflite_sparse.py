"""Sparse tensors of .tflite files, expanded.

Levels of a tree, from the root: each axis, or block of an axis, in some order, has either all its
indices ("dense") or those listed for each parent, as in compressed sparse rows. See
SparsityParameters in the schema.
"""

from __future__ import annotations

import numpy as np

from ..graph import Array, Shape
from ._flatbuffer import Table
from ._translator import Unsupported

_INDICES = {1: "<i4", 2: "<u2", 3: "u1"}  # of the union SparseIndexVector


def dense(sparsity: Table, values: Array, shape: Shape, name: str) -> Array:
    """The tensor of this shape whose numbers that are not 0 are `values`, at most."""
    order, blocked = sparsity.integers(0), sparsity.integers(1)
    levels = sparsity.tables(2)
    rank = len(shape)
    wrong = Unsupported(f"the sparse tensor '{name}' is not well formed")
    count = rank + len(blocked)
    if sorted(order) != list(range(count)) or len(levels) != count:
        raise wrong
    if any(not 0 <= axis < rank for axis in blocked) or len(set(blocked)) != len(blocked):
        raise wrong
    sizes = [0] * count
    for axis, level in zip(order, levels):
        if axis >= rank:  # a block is dense
            sizes[axis] = level.number(1)
    for block, axis in enumerate(blocked):
        size = sizes[rank + block]
        if size < 1 or shape[axis] % size:
            raise wrong
        sizes[axis] = shape[axis] // size
    for axis in range(rank):
        sizes[axis] = sizes[axis] or shape[axis]
    most, paths = int(np.prod(shape, dtype=object)), 1
    places: dict[int, Array] = {}  # of each axis so far, the index of every path
    for axis, level in zip(order, levels):
        if level.number(0, "b") == 0:
            size = sizes[axis]
            if level.number(1) != size or paths * size > most:
                raise wrong
            each = np.full(paths, size)
            found = np.tile(np.arange(size), paths)
        else:
            segments, found = (_indices(level, field) for field in (2, 4))
            each = np.diff(segments)
            if segments.size != paths + 1 or segments[0] != 0 or (each < 0).any():
                raise wrong
            found = found[: segments[-1]]
            inside = (found >= 0) & (found < sizes[axis])
            if found.size != segments[-1] or found.size > most or not inside.all():
                raise wrong
        places = {known: np.repeat(index, each) for known, index in places.items()}
        places[axis] = found
        paths = found.size
    if values.size < paths:
        raise wrong
    for block, axis in enumerate(blocked):
        places[axis] = places[axis] * sizes[rank + block] + places[rank + block]
    result = np.zeros(shape, values.dtype)
    result[tuple(places[axis] for axis in range(rank))] = values[:paths]
    return result


def levels(sparsity: Table) -> list[int | tuple[Array, Array]]:
    """Of each level, in their order, its size if it is dense, or else segments and indices."""
    return [
        (_indices(level, 2), _indices(level, 4)) if level.number(0, "b") else level.number(1)
        for level in sparsity.tables(2)
    ]


def _indices(level: Table, field: int) -> Array:
    """A vector of a union of vectors, whose type stands before it."""
    table, kind = level.table(field + 1), level.number(field, "B")
    numbers = None if table is None or kind not in _INDICES else table.numbers(0, _INDICES[kind])
    if numbers is None or not numbers.size:
        raise Unsupported("a sparse tensor has no indices")
    return numbers.astype(np.intp)
