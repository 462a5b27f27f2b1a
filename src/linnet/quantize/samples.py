"""What a network is calibrated and judged on: inputs of it, and the true classes if known."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .. import _core, core
from ..graph import Array, Graph
from ..preprocess import Preprocess, prepared
from ..session import Session, ValueInfo
from ..text import count, listed, shape_text

_MOST_NUMBERS = 1 << 24  # of values that are kept at once
_MOST_KEPT = 1 << 27  # bytes of pictures that have become inputs


@dataclass(frozen=True)
class Samples:
    """Inputs of a network, each a row of what `take` gives for their numbers: arrays by the names
    of the inputs, [n, ...].
    """

    count: int
    take: Callable[[Sequence[int]], Mapping[str, Array]]
    labels: Array | None = None  # int64 [count], the true classes

    def labelled(self, labels: Array | None) -> Samples:
        """With the true classes. ValueError if they do not fit."""
        if labels is None:
            return self
        if labels.dtype.kind not in "iu" or labels.shape != (self.count,):
            raise ValueError(
                f"the labels are {labels.dtype} {shape_text(labels.shape) or 'alone'}, expected "
                f"{count(self.count, 'integer')}, one for each input"
            )
        if labels.size and labels.min() < 0:
            raise ValueError(f"the labels begin with {labels.min()}, expected 0 or more")
        return replace(self, labels=labels.astype(np.int64))


def information(graph: Graph) -> list[ValueInfo]:
    """The inputs of a graph as a session has them."""
    return [
        ValueInfo(v.name, (v.shape[0] if graph.batchless else None, *v.shape[1:]), v.dtype)
        for v in graph.inputs
    ]


def from_arrays(graph: Graph, arrays: Mapping[str, Array]) -> Samples:
    """An array for each input, with one more axis in front where the model has no batch.

    ValueError says what is wrong with which.
    """
    problems, counts = [], set()
    given = dict(arrays)
    for value in information(graph):
        array = given.get(value.name)
        if array is None:
            problems.append(f"no array '{value.name}'")
            continue
        shape = value.shape[1:] if value.shape[:1] == (None,) else value.shape
        fits = array.ndim == len(shape) + 1 and all(
            m == n for m, n in zip(array.shape[1:], shape) if n
        )
        if not fits or array.dtype.kind not in "fiub":
            problems.append(
                f"'{value.name}' is {array.dtype} {shape_text(array.shape)}, expected "
                f"{shape_text((0, *shape))}"
            )
            continue
        given[value.name] = array.astype(value.dtype, copy=False)
        if value.dtype.kind == "f" and not np.isfinite(array).all():
            problems.append(f"'{value.name}' has infinities or NaN")
        counts.add(len(array))
    names = {value.name for value in graph.inputs}
    problems += [f"array '{name}' is no input" for name in arrays if name not in names]
    if len(counts) > 1:
        problems.append(f"the arrays hold {' and '.join(map(str, sorted(counts)))} inputs")
    if not problems and not max(counts, default=0):
        problems.append("the arrays hold no inputs")
    if problems:
        raise ValueError("; ".join(problems))
    return Samples(max(counts), lambda rows: {k: v[list(rows)] for k, v in given.items()})


def from_pictures(graph: Graph, record: Preprocess | None, files: Sequence[str]) -> Samples:
    """Pictures as a record says that they become the input, read when they are taken.

    ValueError if the model takes no pictures; then, too, if they differ in size, or names a file
    that is none.
    """
    values = information(graph)
    prepared(record, values, [files[0]])
    (name,) = (value.name for value in values)
    kept: dict[int, Array] = {}  # those that judge are taken again and again

    def one(row: int) -> Array:
        if row in kept:
            return kept[row]
        made = prepared(record, values, [files[row]])
        made = made if graph.batchless else made[0]
        if made.nbytes * (len(kept) + 1) <= _MOST_KEPT:
            kept[row] = made
        return made

    def take(rows: Sequence[int]) -> dict[str, Array]:
        pictures = [one(row) for row in rows]
        if any(picture.shape != pictures[0].shape for picture in pictures):
            raise ValueError("pictures differ in their sizes: give --size")
        return {name: np.stack(pictures)}

    return Samples(len(files), take)


def read_labels(path: str | Path, files: Sequence[str] | None = None) -> Array:
    """True classes: integers of an .npy file, or lines of text with one each, in the order of the
    inputs. With the files of pictures, a line may name one before its class, and the lines have any
    order.
    """
    if Path(path).suffix.lower() == ".npy":
        try:
            with open(path, "rb") as opened:
                array = np.load(opened)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path}: not a readable .npy file: {error}") from None
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{path}: not an .npy file of one array")
        return array
    lines = Path(path).read_text("utf-8", "replace").splitlines()
    rows = [(i, line.rsplit(maxsplit=1)) for i, line in enumerate(lines, 1) if line.strip()]
    for number, words in rows:
        if not words[-1].isascii() or not words[-1].isdecimal() or len(words[-1]) > 9:
            raise ValueError(f"{path}: line {number} does not end with a class, a number")
    if not any(len(words) == 2 for _, words in rows):
        return np.array([int(words[0]) for _, words in rows], np.int64)
    known = {words[0]: int(words[-1]) for _, words in rows if len(words) == 2}
    found, missing = [], []
    for file in files or ():
        name = os.path.basename(file)
        label = known.get(file, known.get(name))
        found.append(label or 0)
        if label is None:
            missing.append(name)
    if files is None or missing:
        what = f"no class of {listed(missing)}" if missing else "names files, but there are none"
        raise ValueError(f"{path}: {what}")
    return np.array(found, np.int64)


def fixed_batch(graph: Graph) -> int:
    """How many inputs a canonical graph takes at once where it mixes axis 0 with others, else 0."""
    return 1 if graph.batchless else core.build(graph).shape(graph.inputs[0].name)[0]


class Runner:
    """A graph that is run on samples."""

    def __init__(self, graph: Graph, largest: int = 0, session: Session | None = None) -> None:
        """graph: canonical. largest: how many numbers the values that will be asked for have, for
        one image. session: what runs it, if there is one.
        """
        self._session = session or Session(_core.Session(core.build(graph)))
        self._single = graph.batchless
        self._fixed = fixed_batch(graph)
        self._step = self._fixed or max(1, min(32, _MOST_NUMBERS // max(largest, 1)))

    def usable(self, rows: Sequence[int]) -> Sequence[int]:
        """Those that make whole batches where the model has a fixed one; ValueError if none do."""
        rows = rows[: len(rows) - len(rows) % self._fixed] if self._fixed else rows
        if not rows:
            raise ValueError(f"the model is for {self._fixed} inputs at once: give as many")
        return rows

    def values(
        self, samples: Samples, rows: Sequence[int], names: Sequence[str]
    ) -> Iterator[tuple[int, dict[str, Array]]]:
        """How many inputs, and these values of them; again until there are no more rows."""
        for begin in range(0, len(rows), self._step):
            part = rows[begin : begin + self._step]
            feed = dict(samples.take(part))
            if self._single:
                feed = {name: array[0] for name, array in feed.items()}
            yield len(part), dict(zip(names, self._session.run(names, feed)))

    def all(
        self, samples: Samples, rows: Sequence[int], names: Sequence[str]
    ) -> dict[str, list[Array]]:
        """Of each value an array for each run."""
        found: dict[str, list[Array]] = {name: [] for name in names}
        for _, values in self.values(samples, rows, names):
            for name, array in values.items():
                found[name].append(array)
        return found
