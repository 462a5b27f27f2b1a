"""A file with one line for each picture, which a run that was stopped goes on with."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from .text import finite, short

SUFFIXES = (".csv", ".jsonl")
_ESCAPED = "backslashreplace"  # JSON's own form of what is not text, as in names of files


def line(name: str, answer: Mapping[str, Any]) -> bytes:
    """Of a picture and what is told of it, a line of JSON."""
    text = json.dumps(finite({"image": name, **answer}), ensure_ascii=False)
    return text.encode("utf-8", _ESCAPED) + b"\n"


def row(name: str, answer: Mapping[str, Any], columns: Sequence[str]) -> bytes:
    """The same as a line of CSV. ValueError if it has more than there are columns for."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["image", "error", *columns], lineterminator="\n")
    found = {"error": answer["error"]} if "error" in answer else flat(answer["outputs"])
    more = len(set(found) - {"error", *columns})
    if more:
        raise ValueError(
            f"{name}: {len(found)} numbers for {len(columns)} columns; where pictures differ in "
            "how many there are, write .jsonl"
        )
    writer.writerow({"image": name, **found})
    return text.getvalue().encode("utf-8", "surrogateescape")


def flat(outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What is told of an image by columns; they begin with a value's name if there are several."""
    found = {}
    for name, told in outputs.items():
        before = "" if len(outputs) == 1 else f"{name}."
        for i, one in enumerate(told.get("top", ()), 1):
            found.update({f"{before}{key}{i}": one[key] for key in ("index", "label", "value")})
        numbers = _numbers(told["values"]) if "values" in told else ()
        found.update({f"{before}value{i}": number for i, number in enumerate(numbers)})
        if "shape" in told:
            found[f"{before}shape"] = "x".join(map(str, told["shape"]))
            found.update({f"{before}{key}": told[key] for key in ("min", "max", "mean")})
    return found


def _numbers(values: Any) -> Iterator[Any]:
    if isinstance(values, list):
        for part in values:
            yield from _numbers(part)
    else:
        yield values


class Results:
    """The file, .jsonl or .csv. While it is not complete another beside it, .run, says what it was
    begun with.
    """

    def __init__(
        self, path: str | os.PathLike[str], names: Sequence[str], given: Any, resume: bool
    ) -> None:
        """names: of all pictures, in their order. given: what the lines depend on, as data that
        JSON holds; resume: go on with a file that is there.

        ValueError if it is there and is not to be gone on with, or was begun with something else,
        or is of other pictures, or another process writes it; OSError if it cannot be written.
        """
        self.path, self._names, self._given = Path(path), names, json.loads(json.dumps(given))
        if self.path.suffix.lower() not in SUFFIXES:
            raise ValueError(f"{path}: results are written to {' or '.join(SUFFIXES)}")
        self._csv = self.path.suffix.lower() == ".csv"
        self._beside = self.path.with_name(f"{self.path.name}.run")
        self._file: BinaryIO = open(self.path, "a+b", buffering=0)  # noqa: SIM115
        self.settled: dict[str, Any] | None = None  # what the run before remembered
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.done = self._begun(resume)  # how many pictures have their line
        except BlockingIOError:
            self._file.close()
            raise ValueError(f"{path}: another process writes it") from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *ignored: object) -> None:
        self._file.close()

    def _begun(self, resume: bool) -> int:
        size = os.fstat(self._file.fileno()).st_size
        if not size:
            return 0
        if not resume:
            raise ValueError(f"{self.path}: is there already; --resume goes on with it")
        if self._beside.exists():
            before = json.loads(self._beside.read_bytes())
            for key, value in before["given"].items():
                if value != self._given.get(key):
                    raise ValueError(
                        f"{self.path}: was begun with {key} {short(value)}, not "
                        f"{short(self._given.get(key))}"
                    )
            self.settled = before["settled"]
        done, end = 0, 0
        with open(self.path, "rb") as file:
            for record in _records(file, self._csv):
                number = done + 1
                if not self._csv or end:
                    name = _name(record, self._csv)
                    if name is None:
                        raise ValueError(f"{self.path}: line {number} is not a result")
                    if done >= len(self._names) or name != self._names[done]:
                        expected = (
                            short(self._names[done]) if done < len(self._names) else "no more"
                        )
                        raise ValueError(
                            f"{self.path}: line {number} is of {short(name)}, expected {expected}: "
                            "the pictures are others than when it was begun"
                        )
                    done = number
                end += len(record)
        self._file.truncate(end)  # a line that a kill cut short
        return done

    def settle(self, settled: dict[str, Any]) -> None:
        """Remember what a run that goes on has to do likewise: a dict that has "columns"."""
        self.settled = settled
        if self.done == len(self._names):
            return
        new = self._beside.with_name(f"{self._beside.name}.new")
        new.write_text(json.dumps({"given": self._given, "settled": settled}), "utf-8")
        new.replace(self._beside)
        if self._csv and not os.fstat(self._file.fileno()).st_size:
            self._write(",".join(["image", "error", *settled["columns"]]).encode() + b"\n")

    def add(self, answers: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Lines of pictures, with their names."""
        assert self.settled is not None
        columns = self.settled["columns"]
        self._write(b"".join(row(*a, columns) if self._csv else line(*a) for a in answers))
        self.done += len(answers)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) or 0 :]

    def finish(self) -> None:
        """The file is complete."""
        self._beside.unlink(missing_ok=True)


def _records(file: BinaryIO, is_csv: bool) -> Iterator[bytes]:
    """Complete lines; of CSV, in which a quoted name may have an end of line, complete rows."""
    whole = b""
    for part in file:
        whole += part
        if not whole.endswith(b"\n") or whole.startswith(b"\0"):  # zeros are left by a power cut
            return
        if not is_csv or whole.count(b'"') % 2 == 0:
            yield whole
            whole = b""


def _name(record: bytes, is_csv: bool) -> str | None:
    try:
        if is_csv:
            return next(csv.reader(io.StringIO(record.decode("utf-8", "surrogateescape"))))[0]
        found = json.loads(record)
        return found.get("image") if isinstance(found, dict) else None
    except (ValueError, csv.Error, StopIteration, IndexError):
        return None
