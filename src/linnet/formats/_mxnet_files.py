"""MXNet's files: a symbol's JSON (nnvm's SaveJSON, and what 0.7 and 0.8 wrote) and a list of arrays
(src/ndarray/ndarray.cc).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..graph import Array
from ..text import short
from ._source import Source

_LIST = 0x112  # what a list of arrays begins with
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_MOST_AXES = 32
_TYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8", 7: "?", 8: "<i2"}
_SPARSE = {1: "row_sparse", 2: "csr"}


class Entry(NamedTuple):
    """One result of a node."""

    node: int
    place: int


class Node(NamedTuple):
    """One node of a symbol; `op` is "null" of a variable."""

    op: str
    name: str
    attrs: dict[str, str]
    inputs: list[Entry]


class Symbol(NamedTuple):
    nodes: list[Node]
    heads: list[Entry]
    version: int  # as 10901; 800 and less of those that do not say


def symbol(source: Source) -> Symbol:
    """A symbol, whose nodes read only those before them; ValueError if it is none."""
    what = f"{source}: not a symbol of MXNet"
    try:
        found = json.loads(source.read(), parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} ({short(str(error))})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{what} (its JSON is no object)")
    listed, heads = found.get("nodes"), found.get("heads")
    if not isinstance(listed, list) or not isinstance(heads, list) or not listed or not heads:
        raise ValueError(f"{what} (it has no lists of nodes and heads)")
    nodes = [_node(each, index, what) for index, each in enumerate(listed)]
    attrs = found.get("attrs")
    version = attrs.get("mxnet_version") if isinstance(attrs, dict) else None
    number = version[-1] if isinstance(version, list) and version else 800
    return Symbol(
        nodes,
        [_entry(head, len(nodes), what) for head in heads],
        number if isinstance(number, int) else 800,
    )


def _integer(text: str) -> float:
    """An int, but for one with so many digits that it would take long."""
    return int(text) if len(text) < 20 else math.inf


def _node(found: Any, index: int, what: str) -> Node:
    if not isinstance(found, dict) or not all(
        isinstance(found.get(key), str) for key in ("op", "name")
    ):
        raise ValueError(f"{what} (its node {index} has no operator or name)")
    if found["op"] == "null" and not found["name"]:
        raise ValueError(f"{what} (its variable {index} has no name)")
    attrs: dict[str, str] = {}
    for key in ("param", "attr", "attrs"):  # until 0.8, until 0.12, and now
        given = found.get(key, {})
        if not isinstance(given, dict):
            raise ValueError(f"{what} (the {key} of its node {index} is no object)")
        attrs.update((name, str(value)) for name, value in given.items())
    inputs = found.get("inputs", [])
    if not isinstance(inputs, list):
        raise ValueError(f"{what} (the inputs of its node {index} are no list)")
    return Node(found["op"], found["name"], attrs, [_entry(e, index, what) for e in inputs])


def _entry(found: Any, below: int, what: str) -> Entry:
    fits = isinstance(found, list) and len(found) >= 2 and all(isinstance(n, int) for n in found)
    if not fits or not 0 <= found[0] < below or not 0 <= found[1] < 1 << 16:
        raise ValueError(f"{what} ({short(found)} is no result of a node before it)")
    return Entry(found[0], found[1])


class _Bytes:
    """A file's bytes, read one after the other; ValueError at their end."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.data = memoryview(source.read())
        self.at = 0

    def take(self, count: int) -> memoryview:
        if count > len(self.data) - self.at:
            raise ValueError(
                f"{self.source}: ends at byte {len(self.data)}, where {count} more were expected "
                f"after byte {self.at}"
            )
        self.at += count
        return self.data[self.at - count : self.at]

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def number(self, form: str) -> int:
        return self.numbers(form)[0]


def arrays(source: Source) -> dict[str, Array]:
    """The arrays of a .params file by their names, of the types it has them in; None of it is
    copied. ValueError if it is damaged, or holds sparse arrays.
    """
    data = _Bytes(source)
    if len(data.data) < 24 or data.numbers("QQ")[0] != _LIST:
        raise ValueError(f"{source}: not a .params file of MXNet")
    count = data.number("Q")
    if count > len(data.data) // 4:
        raise ValueError(f"{source}: damaged, it says that it holds {count} arrays")
    found = [_array(data, index) for index in range(count)]
    names = []
    named = data.number("Q")
    if named not in (0, count):
        raise ValueError(f"{source}: damaged, it has {named} names for {count} arrays")
    for _ in range(named):
        text = bytes(data.take(data.number("Q")))
        try:
            names.append(text.decode())
        except UnicodeDecodeError:
            raise ValueError(f"{source}: a name is not valid UTF-8") from None
    return dict(zip(names, found))


def _array(data: _Bytes, index: int) -> Array:
    what = f"{data.source}: array {index}"
    magic = data.number("I")
    if magic in (_V2, _V3):
        storage = data.number("i")
        if storage != 0:
            kind = _SPARSE.get(storage, f"of storage type {storage}")
            raise ValueError(f"{what} is {kind}, only dense arrays are supported")
    if magic in (_V1, _V2, _V3):
        rank = data.number("i")
        wide = "q"
    else:
        rank, wide = magic, "I"
    if rank > _MOST_AXES or rank < -1:
        raise ValueError(f"{what} is damaged, it has {rank} axes")
    dims = data.numbers(wide * max(rank, 0))
    if rank < 0 or (rank == 0 and magic != _V3):  # nothing was ever stored in it
        return np.zeros(0, np.float32)
    data.take(8)  # where it lay, a device's type and number
    kind_of = data.number("i")
    if kind_of not in _TYPES:
        raise ValueError(f"{what} has the type {kind_of}, which is not supported")
    dtype = np.dtype(_TYPES[kind_of])
    if min(dims, default=0) < 0 or math.prod(n or 1 for n in dims) >= 1 << 40:
        raise ValueError(f"{what} is damaged, its shape is {list(dims)}")
    return np.frombuffer(data.take(math.prod(dims) * dtype.itemsize), dtype).reshape(dims)


def parameters(source: Source) -> dict[str, Array]:
    """The arrays of a .params file by the names their symbol has for them."""
    found = arrays(source)
    if found and not any(name.startswith(("arg:", "aux:")) for name in found):
        raise ValueError(
            f"{source}: holds the parameters of a Gluon block (save_parameters) without the names "
            "of a symbol: write both files with the block's export()"
        )
    return {name.partition(":")[2]: array for name, array in found.items()}


def under_other_names(found: Mapping[str, Array], name: str) -> Array | None:
    """A running mean or variance, which Gluon calls so and symbols a moving one."""
    return found.get(name.replace("moving_", "running_"))
