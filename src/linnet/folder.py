"""Which pictures folders, lists and patterns name."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from .text import read_text

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_LISTS = (".lst", ".txt")


def names_pictures(text: str) -> bool:
    """Whether an argument is a folder, a list or a pattern of pictures, or one, by its looks."""
    suffix = os.path.splitext(text)[1].lower()
    return suffix in (*SUFFIXES, *_LISTS) or glob.has_magic(text) or os.path.isdir(text)


def pictures(folder: str | os.PathLike[str]) -> list[str]:
    """The pictures of a folder and those below it, in the order of their names.

    ValueError if there are none; OSError if it cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    found = [
        os.path.join(place, name)
        for place, _, names in os.walk(folder, onerror=refuse)
        for name in names
        if os.path.splitext(name)[1].lower() in SUFFIXES
    ]
    if not found:
        raise ValueError(f"{folder}: there are no pictures ({', '.join(SUFFIXES)})")
    return sorted(found, key=lambda name: name.split(os.sep))


def named(sources: Sequence[str]) -> list[str]:
    """All pictures that sources name: a folder, a pattern, a list with a name on each line, whose
    order is kept, or a picture.

    ValueError if one names none; OSError if it cannot be read.
    """
    found: list[str] = []
    for source in sources:
        if os.path.isdir(source):
            found += pictures(source)
        elif os.path.splitext(source)[1].lower() in _LISTS:
            found += _listed(source)
        elif glob.has_magic(source) and not os.path.lexists(source):
            matches = sorted(glob.glob(source, recursive=True), key=lambda name: name.split(os.sep))
            if not matches:
                raise ValueError(f"{source}: there are no such files")
            found += matches
        else:
            found.append(source)
    return found


def _listed(path: str) -> list[str]:
    names = [line for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{path}: names no pictures")
    return names


def shard(names: Sequence[str], part: int, parts: int) -> Sequence[str]:
    """One of several parts of nearly the same length, counted from 1; together they are all."""
    return names[len(names) * (part - 1) // parts : len(names) * part // parts]
