"""The process in which HDF5 files are read, by h5py or, where there is none, by pyfive.

Only what lies in the file itself is read: a link to another file, or a dataset that is kept in one,
is refused. Of damaged bytes, libhdf5 may crash and pyfive never come to an end.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
from collections.abc import Callable
from typing import IO, Any, TypeVar

import numpy as np

from ..graph import Array
from ..text import short

_KINDS = "fiub"  # of numbers that weights may be
_EXPANSION = 16  # compressed numbers may take so many times the file's size, and 16 MiB more

_ROOM = 256 << 20  # bytes that a library itself may take
_SECONDS, _SPEED = 30, 1 << 20  # of computing, and one more for so many bytes of the file

T = TypeVar("T")


def serve(descriptor: int, what: str) -> None:
    """Answer questions about an open file: a line of JSON each, the name of a method of `File` and
    its arguments. The answer is another line: {"value": ...}; {"error": why}; {"missing": library};
    or {"dtype", "shape"} and the bytes of an array.
    """
    answers = sys.stdout.buffer
    found: File | None = None
    with open(descriptor, "rb") as file:
        for line in sys.stdin.buffer:
            method, *arguments = json.loads(line)
            answer: dict[str, Any] = {}
            value = None
            try:
                if found is None:
                    _library(what)
                    _limit(file.seek(0, os.SEEK_END))
                    found = File(file, what)
                value = getattr(found, method)(*arguments)
            except ValueError as error:
                answer = {"error": str(error)}
            except MemoryError:
                answer = {"error": f"{what}: damaged, or too large"}
            except RuntimeError as error:
                answer = {"missing": str(error)}
            else:
                is_array = isinstance(value, np.ndarray)
                array = {"dtype": value.dtype.str, "shape": value.shape} if is_array else {}
                answer = array or {"value": value}
            answers.write(json.dumps(answer, default=str).encode() + b"\n")
            if isinstance(value, np.ndarray):
                answers.write(np.ascontiguousarray(value).data)
            answers.flush()


def _limit(size: int) -> None:
    """Of a file of `size` bytes, what this process may take from now on."""
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    most = used + _ROOM + 3 * _EXPANSION * size
    took = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(took.ru_utime + took.ru_stime) + 1 + _SECONDS + size // _SPEED
    limits = ((resource.RLIMIT_AS, most), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0))
    for kind, wanted in limits:
        hard = resource.getrlimit(kind)[1]
        allowed = sys.maxsize if hard == resource.RLIM_INFINITY else hard
        resource.setrlimit(kind, (min(wanted, allowed), hard))


class File:
    """An HDF5 file, which is kept open; `what` names it in messages.

    ValueError for a file that is damaged, RuntimeError if neither library is there.
    """

    def __init__(self, file: IO[bytes], what: str) -> None:
        self.what = what
        self._budget = _EXPANSION * file.seek(0, os.SEEK_END) + (16 << 20)
        library = _library(what)
        root = self._guarded(lambda: library.File(file, "r"))
        self._groups: dict[str, Any] = {"": root}  # by their paths, as far as they are known

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
        path = path.strip("/")
        if path in self._groups:
            return self._groups[path]
        above, _, name = path.rpartition("/")
        group = self._at(above)
        if not hasattr(group, "keys") or name not in group:
            return None
        if "External" in (_link(group, name) or ""):
            raise ValueError(f"{short(path)} is kept in another file")
        found = group[name]
        if hasattr(found, "keys"):
            self._groups[path] = found
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
