"""HDF5 files, by h5py or, where there is none, by pyfive.

Only what lies in the file itself is read: a link to another file, or a dataset that is kept in one,
is refused.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..graph import Array
from ..text import short

MAGIC = b"\x89HDF\r\n\x1a\n"
_KINDS = "fiub"  # of numbers that weights may be
_EXPANSION = 16  # compressed numbers may take so many times the file's size, and 16 MiB more

T = TypeVar("T")


class Hdf5:
    """An HDF5 file in memory; `what` names it in messages.

    ValueError for a file that is damaged, RuntimeError if neither library is there.
    """

    def __init__(self, data: bytes, what: str) -> None:
        self.what = what
        self._budget = _EXPANSION * len(data) + (16 << 20)
        library = _library(what)
        self._root: Any = self._guarded(lambda: library.File(io.BytesIO(data), "r"))

    def attribute(self, path: str, name: str) -> Any:
        """An attribute of the group `path`; None if there is no such. Bytes become text, NumPy's
        arrays lists.
        """
        found = self._guarded(lambda: self._at(path))
        if found is None:
            return None
        value = self._guarded(lambda: found.attrs.get(name))
        return self._guarded(lambda: _plain(value))

    def names(self, path: str) -> list[str]:
        """What the group `path` holds; nothing if there is no such group."""
        found = self._guarded(lambda: self._at(path))
        if found is None or not hasattr(found, "keys"):
            return []
        return self._guarded(lambda: list(map(str, found.keys())))

    def array(self, path: str) -> Array | None:
        """A dataset of numbers; None if there is no such."""
        found = self._guarded(lambda: self._at(path))
        if found is None or not hasattr(found, "dtype"):
            return None
        if getattr(found, "external", None) or getattr(found, "is_virtual", False):
            raise ValueError(f"{self.what}: {short(path)} is kept in another file")
        shape, dtype = self._guarded(lambda: (found.shape, np.dtype(found.dtype)))
        if dtype.kind not in _KINDS or shape is None:
            raise ValueError(f"{self.what}: {short(path)} is of type {dtype}, expected numbers")
        size = dtype.itemsize
        for length in shape:
            size *= length
        self._budget -= size
        if self._budget < 0:
            raise ValueError(f"{self.what}: {short(path)} has {list(shape)} numbers, far too many")
        array = self._guarded(lambda: np.asarray(found[()]))
        return array.astype(dtype.newbyteorder("="), copy=False)

    def _at(self, path: str) -> Any:
        """The group or dataset there, without leaving the file."""
        found = self._root
        for part in filter(None, path.split("/")):
            if not hasattr(found, "keys") or part not in list(found):
                return None
            if hasattr(found, "get"):
                link = _link(found, part)
                if link is not None and "External" in link:
                    raise ValueError(f"{short(path)} is kept in another file")
            found = found[part]
        return found

    def _guarded(self, action: Callable[[], T]) -> T:
        """What `action` returns; the libraries raise what comes their way in damaged files."""
        try:
            return action()
        except MemoryError:
            raise
        except Exception as error:
            reason = short(str(error) or type(error).__name__)
            raise ValueError(f"{self.what}: damaged, or not an HDF5 file ({reason})") from None


def _library(what: str) -> Any:
    for name in ("h5py", "pyfive"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise RuntimeError(
        f"{what}: reading HDF5 needs h5py (apt install python3-h5py, or pip install h5py), "
        "or pyfive (pip install pyfive)"
    )


def _link(group: Any, name: str) -> str | None:
    """The class of a link, of h5py; pyfive follows none that leads out of the file."""
    try:
        return str(group.get(name, getlink=True).__class__.__name__)
    except TypeError:
        return None


def _plain(value: Any) -> Any:
    """Text and lists of it, whichever way the file and the library have them."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
