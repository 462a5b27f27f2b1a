"""HDF5 files, read by a process of its own (_hdf5_child.py), which damaged bytes may end."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tempfile
import weakref
from contextlib import suppress
from typing import IO, Any

import numpy as np

from ..graph import Array

MAGIC = b"\x89HDF\r\n\x1a\n"
_CHILD = """import sys
what, file, *sys.path = sys.argv[1:]
from linnet.formats._hdf5_child import serve
serve(int(file), what)
"""


class Hdf5:
    """An HDF5 file, or its bytes; `what` names it in messages.

    ValueError for a file that is damaged, RuntimeError if there is no library that reads HDF5.
    """

    def __init__(self, file: IO[bytes], what: str) -> None:
        self.what = what
        if not sys.executable or getattr(sys, "frozen", False):
            raise RuntimeError(
                f"{what}: reading HDF5 takes a Python interpreter to start, there is none; "
                "convert the model elsewhere (linnet convert)"
            )
        with _on_disk(file) as given:
            number, path = str(given.fileno()), map(str, sys.path)
            self._child = subprocess.Popen(
                [sys.executable, "-c", _CHILD, what, number, *path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[given.fileno()],
            )
        weakref.finalize(self, _end, self._child)
        self.names("")  # or why it cannot be read

    def attribute(self, path: str, name: str) -> Any:
        """An attribute of the group `path`; None if there is no such. Bytes become text, NumPy's
        arrays lists.
        """
        return self._ask("attribute", path, name)

    def names(self, path: str) -> list[str]:
        """What the group `path` holds; nothing if there is no such group."""
        names: list[str] = self._ask("names", path)
        return names

    def array(self, path: str) -> Array | None:
        """A dataset of numbers; None if there is no such."""
        array: Array | None = self._ask("array", path)
        return array

    def _ask(self, *question: str) -> Any:
        """What the child answers."""
        ask, answers = self._child.stdin, self._child.stdout
        assert ask and isinstance(answers, io.BufferedReader)
        try:
            ask.write(json.dumps(question).encode() + b"\n")
            ask.flush()
            answer = json.loads(answers.readline())
            if "dtype" in answer:
                array = np.empty(answer["shape"], answer["dtype"])
                if answers.readinto(array.reshape(-1).view(np.uint8).data) == array.nbytes:
                    return array
        except (OSError, ValueError):
            answer = {}
        if "value" in answer:
            return answer["value"]
        if "missing" in answer:
            raise RuntimeError(answer["missing"])
        ended = f"{self.what}: damaged, or not an HDF5 file (reading it did not come to an end)"
        raise ValueError(answer.get("error", ended))


def _on_disk(file: IO[bytes]) -> IO[bytes]:
    """A file that another process can have: this, or a copy of what is in memory."""
    with suppress(OSError):
        file.fileno()
        return file
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    shutil.copyfileobj(file, copy)
    copy.flush()
    return copy


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate()
