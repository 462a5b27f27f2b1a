"""The metadata of an ONNX file, without what takes long to import or the reading of its weights."""

from __future__ import annotations

from typing import IO

from ._source import Source

_METADATA = 14  # of ModelProto; of its entries the key is 1, the value 2
_MOST_FIELDS = 100_000


def read(source: Source) -> dict[str, str]:
    """metadata_props of a ModelProto, by their keys; what is not UTF-8 in them is replaced.

    ValueError if the file is damaged.
    """
    found = {}
    with source.open() as file:
        end = file.seek(0, 2)
        for entry in _fields(file, 0, end, source).get(_METADATA, []):
            parts = _fields(file, *entry, source)
            key, value = (_text(file, parts.get(number, [])) for number in (1, 2))
            found[key] = value
    return found


def _fields(
    file: IO[bytes], begin: int, end: int, source: Source
) -> dict[int, list[tuple[int, int]]]:
    """Where in a message the strings and messages begin and end, by the numbers of their fields."""
    found: dict[int, list[tuple[int, int]]] = {}
    damaged = ValueError(f"{source}: not an ONNX model, or damaged")
    file.seek(begin)
    for _ in range(_MOST_FIELDS):
        if (place := file.tell()) >= end:
            return found
        number, kind = divmod(_varint(file), 8)
        if kind == 0:
            _varint(file)
            continue
        size = {1: 8, 5: 4}.get(kind, -1) if kind != 2 else _varint(file)
        place = file.tell()
        if not 0 <= size <= end - place:
            raise damaged
        if kind == 2:
            found.setdefault(number, []).append((place, place + size))
        file.seek(place + size)
    raise damaged


def _varint(file: IO[bytes]) -> int:
    """A number of seven bits a byte, 0 for one that does not end."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    return 0


def _text(file: IO[bytes], places: list[tuple[int, int]]) -> str:
    if not places:
        return ""
    begin, end = places[-1]
    file.seek(begin)
    return file.read(end - begin).decode("utf-8", "replace")
