"""FlatBuffers (https://flatbuffers.dev/internals) read from bytes that nobody vouches for.

Every offset is checked before it is followed, and no vector is longer than the file. Values are
little-endian.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Bytes:
    """The bytes of a file. ValueError, which begins with `name`, for what lies outside them."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        # Tables may share vectors; a small file must not take the time of a large one.
        self._room = 8 * len(data)

    def root(self) -> Table:
        return self.table(0)

    def unpack(self, kind: str, at: int) -> Any:
        """The number of a `struct` type at a place."""
        size = struct.calcsize(kind)
        if not 0 <= at <= len(self.data) - size:
            raise self.damaged(at)
        return struct.unpack_from(f"<{kind}", self.data, at)[0]

    def table(self, at: int) -> Table:
        """The table that the offset at a place leads to."""
        return Table(self, at + self.unpack("I", at))

    def vector(self, at: int, size: int) -> tuple[int, int]:
        """Where the first element lies, of a vector that the offset at a place leads to, and how
        many there are, each of `size` bytes.
        """
        at += self.unpack("I", at)
        count = self.unpack("I", at)
        if count * size > len(self.data) - at - 4:
            raise self.damaged(at)
        return at + 4, count

    def spend(self, nbytes: int) -> None:
        self._room -= nbytes
        if self._room < 0:
            raise ValueError(f"{self.name}: its tables share vectors too often")

    def damaged(self, at: int) -> ValueError:
        return ValueError(f"{self.name}: an offset leads outside of its {len(self.data)} bytes")


class Table:
    """A table, whose fields go by the numbers of the schema; one that is absent has its default."""

    def __init__(self, file: Bytes, at: int) -> None:
        self._file = file
        self._at = at
        self._fields = at - file.unpack("i", at)
        self._size = file.unpack("H", self._fields)

    def _place(self, field: int) -> int:
        """Where the field lies, 0 if it is absent."""
        entry = 4 + 2 * field
        if entry + 2 > self._size:
            return 0
        offset: int = self._file.unpack("H", self._fields + entry)
        return self._at + offset if offset else 0

    def number(self, field: int, kind: str = "i", default: Any = 0) -> Any:
        """A field of a `struct` type."""
        place = self._place(field)
        return self._file.unpack(kind, place) if place else default

    def table(self, field: int) -> Table | None:
        place = self._place(field)
        return self._file.table(place) if place else None

    def numbers(self, field: int, dtype: str) -> Array | None:
        """A vector of numbers, as a view of the file."""
        place = self._place(field)
        if not place:
            return None
        kind = np.dtype(dtype)
        at, count = self._file.vector(place, kind.itemsize)
        return np.frombuffer(self._file.data, kind, count, at)

    def integers(self, field: int) -> list[int]:
        """A vector of int32."""
        found = self.numbers(field, "<i4")
        if found is None:
            return []
        self._file.spend(found.nbytes)
        return [int(n) for n in found]

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        place = self._place(field)
        if not place:
            return []
        at, count = self._file.vector(place, 4)
        self._file.spend(4 * count)
        return [self._file.table(at + 4 * i) for i in range(count)]

    def text(self, field: int) -> str:
        """A string; what is not UTF-8 in it is replaced."""
        found = self.numbers(field, "u1")
        if found is None:
            return ""
        self._file.spend(found.nbytes)
        return found.tobytes().decode("utf-8", "replace")
