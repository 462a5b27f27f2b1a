"""TensorFlow's checkpoints: `NAME.index`, a sorted table of what there is, and
`NAME.data-00000-of-00001` and so on, the numbers.

The index has the form of LevelDB's tables (tensorflow/core/lib/io/table_format.txt): blocks of
entries whose keys share their beginnings, an index of blocks, and a footer of 48 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..graph import Array
from ..text import short
from . import _schema
from ._tf_proto import BFLOAT16, TYPES

_FOOTER = 48
_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_MOST_SHARDS = 10_000


class Bundle:
    """A checkpoint whose files begin with `prefix`. ValueError if its index is damaged."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.what = f"{prefix}.index"
        data = Path(self.what).read_bytes()
        try:
            self._entries = dict(_entries(data))  # those of slices have keys that are no text
            header = self._entries.pop(b"")
            header = _schema.parse(_schema.tensorflow("BundleHeaderProto"), header, "")
        except (KeyError, IndexError):
            raise ValueError(f"{self.what}: damaged, or not the index of a checkpoint") from None
        except ValueError as error:
            raise ValueError(f"{self.what}: {error}") from None
        self.shards = header.num_shards
        if header.endianness or not 1 <= self.shards <= _MOST_SHARDS:
            raise ValueError(
                f"{self.what}: has {self.shards} files of data, or numbers of another byte order"
            )
        self._claimed: dict[Path, int] = {}  # bytes of them in tensors

    def read(self, key: str) -> Array:
        """The tensor of that name; ValueError if there is none, or not all of its bytes."""
        stored = self._entries.get(key.encode())
        if stored is None:
            raise ValueError(f"{self.what} has no {short(key)}")
        message = _schema.tensorflow("BundleEntryProto")
        entry = _schema.parse(message, stored, f"{self.what}: {short(key)}")
        if entry.slices:
            raise ValueError(f"{short(key)} is stored in slices, which is not supported")
        if entry.dtype not in TYPES:
            raise ValueError(f"{short(key)} is of type {entry.dtype}, which is not supported")
        dtype = np.dtype(TYPES[entry.dtype][0])
        shape = [dim.size for dim in entry.shape.dim]
        size = math.prod(shape) * dtype.itemsize
        file = Path(f"{self.prefix}.data-{entry.shard_id:05d}-of-{self.shards:05d}")
        there = file.stat().st_size if 0 <= entry.shard_id < self.shards and file.is_file() else 0
        self._claimed[file] = self._claimed.get(file, 0) + size
        fits = entry.size == size and entry.offset >= 0 and entry.offset + size <= there
        if min(shape, default=0) < 0 or not fits or self._claimed[file] > 4 * there:
            raise ValueError(
                f"{short(key)}: {file.name} ({there} bytes) has not its {size} bytes at "
                f"{entry.offset}"
            )
        array = np.fromfile(file, dtype, math.prod(shape), offset=entry.offset).reshape(shape)
        return widened(array, entry.dtype)


def widened(array: Array, code: int) -> Array:
    """Brain floats, the upper halves of float32, as such; all others as they are."""
    if code != BFLOAT16:
        return array
    return np.asarray((array.astype(np.uint32) << 16).view(np.float32))


def _entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table."""
    if len(data) < _FOOTER or data[-8:] != _MAGIC:
        raise ValueError("not the index of a checkpoint")
    place = len(data) - _FOOTER
    for _ in range(2):  # the first handle is of another index
        start, place = _varint(data, place)
        size, place = _varint(data, place)
    budget = [16 * len(data) + (1 << 20)]
    for _, handle in _block(data, start, size, budget):
        start, end = _varint(handle, 0)
        size, _ = _varint(handle, end)
        yield from _block(data, start, size, budget)


def _block(data: bytes, start: int, size: int, budget: list[int]) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; `budget`, the bytes that all keys may take, shrinks."""
    if start + size + 1 > len(data) or size < 4:
        raise ValueError("a block lies outside the file")
    if data[start + size]:
        raise ValueError("is compressed, which is not supported")
    block = data[start : start + size]
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")
    key, place = b"", 0
    while place < end:
        shared, place = _varint(block, place)
        more, place = _varint(block, place)
        length, place = _varint(block, place)
        if shared > len(key) or place + more + length > end:
            raise ValueError("an entry lies outside its block")
        key = key[:shared] + block[place : place + more]
        budget[0] -= len(key)
        if budget[0] < 0:
            raise ValueError("its keys are too long")
        place += more + length
        yield key, block[place - length : place]


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends; IndexError beyond the data."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a number is too long")
