"""Darknet's files: sections of settings (src/parser.c), and weights one after the other."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

import numpy as np

from ..graph import LONGEST_AXIS, Array
from ..text import short
from ._source import Source
from ._translator import Unsupported

_INTEGER = re.compile(r"[+-]?\d{1,10}")
_REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")


class Section(NamedTuple):
    """A layer, or the first one, which has the size of the input."""

    kind: str
    settings: dict[str, str]
    read: set[str]  # those that someone has asked for

    def text(self, key: str, default: str = "") -> str:
        self.read.add(key)
        return self.settings.get(key, default)

    def integer(self, key: str, default: int = 0) -> int:
        text = self.text(key)
        if text and not _INTEGER.fullmatch(text):
            raise Unsupported(f"its {key} is {short(text)}, expected an integer")
        value = int(text or default)
        if abs(value) >= LONGEST_AXIS:
            raise Unsupported(f"its {key} is {short(text)}")
        return value

    def flag(self, key: str) -> bool:
        return self.integer(key) != 0

    def real(self, key: str, default: float = 0.0) -> float:
        text = self.text(key)
        if text and (len(text) > 40 or not _REAL.fullmatch(text)):
            raise Unsupported(f"its {key} is {short(text)}, expected a number")
        return float(text or default)

    def reals(self, key: str) -> list[float]:
        parts = [part.strip() for part in self.text(key).split(",")]
        parts = parts[:-1] if parts[-1] == "" else parts
        if not all(len(part) <= 40 and _REAL.fullmatch(part) for part in parts):
            raise Unsupported(f"its {key} is {short(self.text(key))}, expected numbers")
        return [float(part) for part in parts]

    def integers(self, key: str) -> list[int]:
        numbers = self.reals(key)
        if any(abs(n) >= LONGEST_AXIS or n != int(n) for n in numbers):
            raise Unsupported(f"its {key} is {short(self.text(key))}, expected integers")
        return [int(n) for n in numbers]


def sections(source: Source) -> list[Section]:
    """The sections of a .cfg file, the network's first; ValueError if it is none."""
    what = f"{source}: not a .cfg file of Darknet"
    try:
        text = source.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{what} (it is not valid UTF-8)") from None
    found: list[Section] = []
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            if not re.match(r"\[\w+\]", line):
                raise ValueError(f"{what} (line {number}: {short(line)})")
            found.append(Section(line[1 : line.index("]")], {}, set()))
            continue
        key, equals, value = line.partition("=")
        if not equals or not found:
            raise ValueError(f"{what} (line {number}: {short(line)})")
        found[-1].settings[key.strip()] = value.split("#")[0].strip()
    if not found or found[0].kind not in ("net", "network"):
        raise ValueError(f"{what} (it does not begin with [net])")
    return found


class Weights:
    """A .weights file, read layer by layer."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.data = source.read()
        if len(self.data) < 16:
            raise ValueError(f"{source}: not a .weights file of Darknet")
        major, minor, _ = struct.unpack("<3i", self.data[:12])
        if not 0 <= major < 1000 or not 0 <= minor < 1000:
            raise ValueError(
                f"{source}: its version is {major}.{minor}: not a .weights file of Darknet, or one "
                "whose matrices are turned, which is not supported"
            )
        # How many images were seen has 64 bits since 0.2.
        self.at = 20 if major * 10 + minor >= 2 else 16

    def take(self, count: int) -> Array:
        """So many numbers. ValueError at the end of the file."""
        if count < 0 or 4 * count > len(self.data) - self.at:
            raise ValueError(
                f"{self.source}: has {len(self.data)} bytes, where {4 * count} more were expected "
                f"after byte {self.at}"
            )
        self.at += 4 * count
        return np.frombuffer(self.data, "<f4", count, self.at - 4 * count)
