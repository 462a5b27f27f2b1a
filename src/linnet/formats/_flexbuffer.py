"""FlexBuffers (flatbuffers.dev/flexbuffers): the numbers of a map, as custom operators of TFLite
have them for options.

A value is read backwards: its width and type come last. What a map holds besides numbers is left
out.
"""

from __future__ import annotations

import struct
from typing import Union

_INT, _UINT, _FLOAT, _MAP, _BOOL = 1, 2, 3, 9, 26
_INDIRECT = {6: _INT, 7: _UINT, 8: _FLOAT}
_FORMATS = {  # by how many bytes
    _INT: {1: "b", 2: "h", 4: "i", 8: "q"},
    _UINT: {1: "B", 2: "H", 4: "I", 8: "Q"},
    _FLOAT: {2: "e", 4: "f", 8: "d"},
    _BOOL: {1: "?", 2: "H", 4: "I", 8: "Q"},
}
_MOST = 1 << 10  # entries

Number = Union[int, float]


def numbers_of(data: bytes) -> dict[str, Number]:
    """Numbers by name; ValueError if it is damaged or no map."""
    try:
        return _map(data)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise ValueError("its options cannot be read") from None


def _map(data: bytes) -> dict[str, Number]:
    width, kind = data[-1], data[-2]
    if kind >> 2 != _MAP:
        raise ValueError("its options are no map")
    root = len(data) - 2 - width
    at, width = root - _offset(data, root, width), 1 << (kind & 3)
    count = _offset(data, at - width, width)
    keys_width = _offset(data, at - 2 * width, width)
    keys = at - 3 * width - _offset(data, at - 3 * width, width)
    if count > _MOST:
        raise ValueError(f"its options have {count} entries")
    numbers: dict[str, Number] = {}
    for index in range(count):
        place = keys + index * keys_width
        begin = _within(data, place - _offset(data, place, keys_width))
        name = data[begin : data.index(b"\0", begin)].decode()
        packed, place = data[_within(data, at + count * width + index)], at + index * width
        size, kind = width, packed >> 2
        if kind in _INDIRECT:
            place -= _offset(data, place, width)
            size, kind = 1 << (packed & 3), _INDIRECT[kind]
        if kind in _FORMATS:
            numbers[name] = _number(data, place, size, kind)
    return numbers


def _within(data: bytes, at: int) -> int:
    if not 0 <= at < len(data):
        raise IndexError
    return at


def _offset(data: bytes, at: int, width: int) -> int:
    return int(_number(data, at, width, _UINT))


def _number(data: bytes, at: int, width: int, kind: int) -> Number:
    """A number of so many bytes."""
    letter = _FORMATS[kind].get(width)
    if letter is None:
        raise IndexError
    number: Number = struct.unpack_from(f"<{letter}", data, _within(data, at))[0]
    return number
