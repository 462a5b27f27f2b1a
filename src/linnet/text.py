"""Text as several parts of linnet print it."""

from __future__ import annotations

import codecs
import itertools
import math
import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_MOST_COMPARED = 10_000  # names
LONGEST_QUOTE = 120  # characters of what a message quotes

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def decode(data: bytes) -> str:
    """Text of a file, which is UTF-8 unless it begins with another byte order mark."""
    found = (name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark))
    return data.decode(next(found, "utf-8"))


def read_text(path: str | os.PathLike[str]) -> str:
    """A text file, whole. ValueError if it is none; OSError if it cannot be read."""
    try:
        return decode(Path(path).read_bytes())
    except UnicodeDecodeError:
        raise ValueError(f"{os.fsdecode(path)}: not a text file") from None


def short(value: Any) -> str:
    """A value that someone has given, as a message quotes it: on one line that can be read."""
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        value = value[:LONGEST_QUOTE] if isinstance(value, str) else bytes(value[:LONGEST_QUOTE])
    elif hasattr(value, "dtype") and not isinstance(value, type):
        shape = list(getattr(value, "shape", ()))
        return f"a {type(value).__name__} of {value.dtype} {shape}"[:LONGEST_QUOTE]
    line = " ".join(_QUOTES.repr(value).split())
    return line if len(line) <= LONGEST_QUOTE else f"{line[: LONGEST_QUOTE - 4]} ..."


def listed(names: Iterable[Any], most: int = 5) -> str:
    """Names as a message quotes them, no more than `most`."""
    quoted = [short(name) for name in names]
    more = f" and {len(quoted) - most} more" if len(quoted) > most else ""
    return ", ".join(quoted[:most]) + more


_QUOTES = reprlib.Repr()
_QUOTES.maxother = _QUOTES.maxstring = LONGEST_QUOTE
_QUOTES.maxlevel = 3


def nearest(wrong: Iterable[str], known: Iterable[str]) -> str:
    """What someone may have meant by names that are not known, as the end of a message."""
    import difflib  # a third of this file's time, and for messages alone

    names = list(itertools.islice(known, _MOST_COMPARED))
    meant = (difflib.get_close_matches(name[:200], names, 2) for name in wrong)
    found = dict.fromkeys(itertools.chain.from_iterable(itertools.islice(meant, 3)))
    return f"; did you mean {listed(found)}?" if found else ""


def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shape_text(shape: Sequence[int | None]) -> str:
    """As Nx3x224x224; None and 0 stand for any size, N for any batch."""
    sizes = [str(size) if size else "?" if axis else "N" for axis, size in enumerate(shape)]
    return "x".join(sizes) or "a scalar"


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> list[str]:
    """Lines of text, columns two blanks apart, those in `right` flush right."""
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in (header, *rows)
    ]


def megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def finite(data: Any) -> Any:
    """For JSON, which has no NaN and no infinity: null."""
    if isinstance(data, Mapping):
        return {key: finite(item) for key, item in data.items()}
    if isinstance(data, (list, tuple)):
        return [finite(item) for item in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
