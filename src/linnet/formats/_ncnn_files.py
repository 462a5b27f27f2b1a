"""ncnn's files: layers as text (src/net.cpp, paramdict.cpp), and their weights one after the other
(modelbin.cpp).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Union

import numpy as np

from ..graph import Array
from ..text import short
from ._source import Source

MAGIC = b"7767517"
_FLOAT16, _INT8, _FLOAT32 = 0x01306B47, 0x000D4B38, 0x0002C056  # what weights begin with
_ARRAY = -23300  # keys of arrays are counted down from it
_MOST_KEY = 64
_ITEM = re.compile(r"(-?\d{1,6})=(\S*)")
_INTEGER = re.compile(r"[+-]?\d{1,11}")
_REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?|[+-]?(inf|nan)", re.ASCII)

Number = Union[int, float]


class Layer(NamedTuple):
    kind: str
    name: str
    bottoms: list[str]
    tops: list[str]
    settings: dict[int, Number | list[Number] | str]


class Block(NamedTuple):
    """So many weights, in a form that they begin with the mark of if they are `marked`."""

    size: int
    marked: bool = False


class Lost(Exception):
    """Weights whose place in the file is not known, as a layer before them is not."""


def layers(source: Source) -> list[Layer]:
    """The layers of a .param file; ValueError if it is none."""
    data = source.read()
    what = f"{source}: not a .param file of ncnn"
    if data[:4] == int(MAGIC).to_bytes(4, "little"):
        raise ValueError(
            f"{source}: a binary .param file, which has no names; load the .param it was made from"
        )
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError:
        raise ValueError(f"{what} (it is not valid UTF-8)") from None
    if lines[0].strip() != MAGIC.decode():
        raise ValueError(f"{what} (it does not begin with {MAGIC.decode()})")
    counts = lines[1].split() if len(lines) > 1 else []
    if len(counts) != 2 or not all(re.fullmatch(r"\d{1,7}", n) for n in counts):
        raise ValueError(f"{what} (its second line is not two numbers)")
    found = [_layer(line, number, what) for number, line in enumerate(lines[2:], 3) if line.strip()]
    if len(found) != int(counts[0]):
        raise ValueError(f"{source}: damaged, it has {len(found)} layers and says {counts[0]}")
    return found


def _layer(line: str, number: int, what: str) -> Layer:
    words = line.split()
    if len(words) < 4 or not all(re.fullmatch(r"\d{1,5}", word) for word in words[2:4]):
        raise ValueError(f"{what} (line {number}: {short(line)})")
    bottoms, tops = int(words[2]), int(words[3])
    blobs, items = words[4 : 4 + bottoms + tops], words[4 + bottoms + tops :]
    if len(blobs) < bottoms + tops:
        raise ValueError(f"{what} (line {number} has fewer blobs than it says)")
    settings: dict[int, Number | list[Number] | str] = {}
    for item in items:
        match = _ITEM.fullmatch(item)
        key = int(match[1]) if match else 0
        if match is None or not (0 <= key < _MOST_KEY or _ARRAY - _MOST_KEY < key <= _ARRAY):
            raise ValueError(f"{what} (line {number}: {short(item)})")
        settings[key if key >= 0 else _ARRAY - key] = _values(match[2], key < 0, number, what)
    return Layer(words[0], words[1], blobs[:bottoms], blobs[bottoms:], settings)


def _values(text: str, several: bool, line: int, what: str) -> Number | list[Number] | str:
    """A number, numbers after how many they are or, of newer files, numbers alone; else text."""
    values = [_number(part) for part in text.split(",")]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return text
    if several:
        if numbers[0] != len(numbers) - 1:
            raise ValueError(f"{what} (line {line}: {short(text)} has another length than it says)")
        return numbers[1:]
    return numbers[0] if len(numbers) == 1 else numbers


def _number(text: str) -> Number | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if len(text) < 64 and _REAL.fullmatch(text) else None


class Weights:
    """A .bin file, read block by block."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.data = source.read()
        self.at = 0

    def take(self, blocks: Sequence[Block]) -> list[Array]:
        """float32, and int8 where the file has integers that scales belong to. ValueError at the
        end of the file.
        """
        return [
            self._marked(block.size) if block.marked else self._plain(block.size, "<f4")
            for block in blocks
        ]

    def _plain(self, count: int, dtype: str) -> Array:
        """Numbers, and what fills them up to 4 bytes."""
        itemsize = np.dtype(dtype).itemsize
        size = (count * itemsize + 3) // 4 * 4
        if count < 0 or size > len(self.data) - self.at:
            raise ValueError(
                f"{self.source}: has {len(self.data)} bytes, where {size} more were expected after "
                f"byte {self.at}"
            )
        self.at += size
        return np.frombuffer(self.data, dtype, count, self.at - size)

    def _marked(self, count: int) -> Array:
        mark = self._plain(1, "<u4")
        if mark[0] == _FLOAT16:
            return self._plain(count, "<f2").astype(np.float32)
        if mark[0] == _INT8:
            return self._plain(count, "i1")
        if mark[0] == _FLOAT32 or not mark.view(np.uint8).any():
            return self._plain(count, "<f4")
        table = self._plain(256, "<f4")
        return table[self._plain(count, "u1")]
