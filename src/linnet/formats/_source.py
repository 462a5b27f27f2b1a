"""What a model is read from: a file, its bytes, or something that has them."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import IO, Union

from ..text import short

PathLike = Union[str, "os.PathLike[str]"]
Given = Union[PathLike, bytes, bytearray, memoryview, IO[bytes]]

_IN_FOLDERS = ("saved_model.pb",)  # what a folder that is a model has its graph in

LONGEST_SHOWN = 300  # characters of a path in a message; a longer one is likely a model's text


class Source:
    """A file or bytes. `str()` names it in messages; `path` is None where there is no file.

    ValueError for what is neither, a pipe or a device, which might never end; OSError if there is
    no such file.
    """

    def __init__(self, given: Given, what: str = "model") -> None:
        self.path: Path | None = None
        self._data: bytes | None = None
        if isinstance(given, (str, os.PathLike)):
            self.name = os.fsdecode(given)
            self.path = _checked(self.name, what)
        elif isinstance(given, (bytes, bytearray, memoryview)):
            self.name = f"the {what} given as bytes"
            self._data = bytes(given)
        elif callable(getattr(given, "read", None)):
            name = getattr(given, "name", None)
            self.name = name if isinstance(name, str) else f"the {what} given as a file"
            data = given.read()
            self._data = data.encode() if isinstance(data, str) else bytes(data)
        else:
            raise ValueError(f"{what} is {short(given)}, expected a path, bytes, a file or a Graph")

    def __str__(self) -> str:
        return self.name

    @property
    def suffix(self) -> str:
        return "" if self.path is None else self.path.suffix.lower()

    def head(self, size: int = 4096) -> bytes:
        """The first bytes."""
        with self._stream() as file:
            return file.read(size)

    def read(self) -> bytes:
        with self._stream() as file:
            return file.read()

    def _stream(self) -> IO[bytes]:
        return io.BytesIO(self._data or b"") if self.path is None else open(self.path, "rb")


def _checked(path: str, what: str) -> Path:
    """A path that leads to a file; a pipe, opened, would wait for somebody to write."""
    if "\0" in path or "\n" in path:
        raise ValueError(f"{what} is {short(path)}, which is no path; give its text as bytes")
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        shown = path if len(path) <= LONGEST_SHOWN else short(path)
        raise OSError(error.errno, error.strerror, shown) from None
    inside = next((file for file in _IN_FOLDERS if os.path.isfile(os.path.join(path, file))), None)
    if inside is not None:
        return Path(path, inside)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: a pipe or device, not a file")
    return Path(path)
