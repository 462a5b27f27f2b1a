"""One run of the comparison, from the model's files to the cells as data."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import _core, digits
from ..graph import Graph
from ..model import canonical
from ..text import count as count_of
from . import network, report
from .backends import on_backends
from .bench import Bench, Journal, Protocol, Row
from .environments import missing
from .machine import Watch
from .processes import scratch_folder
from .runtimes import Runtime, cache_folder, runtimes

STUDY_BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256]
STUDY_PASSES = 100
MATRIX_PASSES = 20
LEAST_SECONDS = 1.0
Images = npt.NDArray[np.float32]
IMAGES = 37  # different ones, repeated in larger batches


def all_rows() -> dict[str, Row]:
    """A row for every configuration of every runtime, by name."""
    return _rows(lambda runtime: runtime.configurations)


def matrix_rows() -> dict[str, Row]:
    """A row for every framework that takes a BLAS on every back-end, and with what is its own."""

    def settings(runtime: Runtime) -> Mapping[str, Mapping[str, Any]]:
        named = runtime.configurations.items()
        return {**on_backends(runtime), **{n: s for n, s in named if "blas" in s or "kernels" in s}}

    return _rows(lambda runtime: settings(runtime) if runtime.on_blas else {})


def _rows(named: Callable[[Runtime], Mapping[str, Mapping[str, Any]]]) -> dict[str, Row]:
    return {
        name: Row(name, runtime, settings)
        for runtime in runtimes().values()
        for name, settings in named(runtime).items()
    }


class Compared(NamedTuple):
    """What is compared: a model's files, and the value to end at instead of its output."""

    model: Path
    weights: Path | None = None
    outputs: Sequence[str] = ()

    @property
    def name(self) -> str:
        return " to ".join((self.model.name, *self.outputs))


def measure(
    compared: Compared,
    protocols: Sequence[Protocol],
    rows: Sequence[Row],
    unfinished: Unfinished,
    *,
    progress: Progress,
    count: int = IMAGES,
) -> list[dict[str, Any]]:
    """The rows measured on a model, by each protocol, as data (report.as_data).

    unfinished: where what is done is kept (see `comparison`). count: of images.
    """
    graph = canonical(
        compared.model, compared.weights, outputs=compared.outputs, arithmetic="float"
    )
    found, prepared = [], None
    with scratch_folder() as folder:
        for i, protocol in enumerate(protocols):
            part = progress.part(i, len(protocols), f"{count_of(protocol.threads, 'thread')}, ")
            part = part if len(protocols) > 1 else progress
            journal = unfinished.journal(_key(compared.name, protocol, rows, graph))
            own, watch = [replace(row, cells=[]) for row in rows], Watch()
            if journal.batches():
                kept = f"batch {', '.join(map(str, journal.batches()))} is done"
                part.line(f"going on where a run was cut short: {kept} (--fresh starts anew)")
            if set(journal.batches()) >= set(protocol.batches):
                journal.restore(own, watch)
            else:
                prepared = prepared or _prepare(
                    compared,
                    graph,
                    rows,
                    folder,
                    progress=part,
                    count=count,
                    threads=protocol.threads,
                )
                bench = Bench(protocol, folder=folder, say=part, journal=journal, **prepared)
                bench.measure(own)
                watch = bench.watch
            found.append(report.as_data(own, compared.name, protocol, watch))
    return found


def _prepare(
    compared: Compared,
    graph: Graph,
    rows: Sequence[Row],
    folder: Path,
    *,
    progress: Progress,
    count: int,
    threads: int,
) -> dict[str, Any]:
    """Write the network to `folder`: what a Bench expects of it."""
    progress(0.0, "writing the network and evaluating it in float64")
    network.export(graph, folder)
    random = np.random.default_rng(0)
    images = random.random((count, *graph.inputs[0].shape[1:]), dtype=np.float32)
    expected = network.expect(graph, images)
    known = compared.model == digits.MODEL and not compared.outputs
    labelled = digits.held_out(images.shape[-1]) if known else None
    int8: network.Expected | str = "not asked for"
    if any(row.int8 for row in rows):
        progress(0.0, "quantizing the network")
        given = images if labelled is None else labelled.images
        int8 = network.export_int8(graph, given, folder, images)
    smaller: network.Expected | str = "not asked for"
    if any(row.smaller for row in rows):

        def told(what: str, done: int, total: int) -> None:
            progress(0.0, f"making a smaller network: {what}, {done} of {total}")

        smaller = "no pictures that a smaller network could be fitted to"
        if labelled is not None:
            make = lambda: network.shrunk(graph, labelled, threads, told)  # noqa: E731
            smaller = network.export_variant(make, graph, folder / "smaller", images)
    return {"expected": expected, "int8": int8, "smaller": smaller, "labelled": labelled}


def _key(name: str, protocol: Protocol, rows: Sequence[Row], graph: Graph) -> dict[str, Any]:
    """What a run must have in common with an interrupted one to go on from it."""
    digest = hashlib.sha256(repr((graph.nodes, graph.inputs, graph.outputs)).encode())
    for array in graph.initializers.values():
        digest.update(array.tobytes())
    here = Path(__file__).parent
    sources = [*here.rglob("*.py")]
    sources += [f for name in ("quantize", "prune") for f in here.with_name(name).glob("*.py")]
    for file in sorted([Path(_core.__file__), *sources]):
        digest.update(file.read_bytes())
    return {
        "model": name,
        "protocol": asdict(protocol),
        "rows": [[row.name, missing(row.runtime, row.settings)] for row in rows],
        "environment": {k: v for k, v in os.environ.items() if k.startswith("LINNET_")},
        "network and program": digest.hexdigest(),
    }


class Unfinished:
    """The journals of runs cut short, in a folder; `own` are those asked for here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own: list[Journal] = []

    def journal(self, key: Mapping[str, Any]) -> Journal:
        """What an interrupted run of the same has left, to go on from."""
        number = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        self.own.append(Journal(self.folder / f"{number}.json", key))
        return self.own[-1]


@contextlib.contextmanager
def comparison(fresh: bool) -> Iterator[Unfinished]:
    """Where to keep what is done of a comparison, and to find what an interrupted one has left.

    What it has kept is gone once all is done; what others have left stays. fresh: remove all of
    it first. RuntimeError if another comparison is running: both would be wrong.
    """
    folder = cache_folder() / "compare"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError("another comparison is running; both would be wrong") from None
        path = folder / "unfinished"
        if fresh:
            shutil.rmtree(path, ignore_errors=True)
        path.mkdir(exist_ok=True)
        unfinished = Unfinished(path)
        yield unfinished
        for journal in unfinished.own:
            journal.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others' are in it
            path.rmdir()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Progress:
    """A bar that rewrites its line on a terminal; elsewhere a line for each new topic.

    A part of it is one of several things of the same length.
    """

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.topics: list[str] = []  # the last one, shared with all parts
        self.span, self.prefix = (0.0, 1.0), ""

    def part(self, number: int, count: int, prefix: str) -> Progress:
        """The part `number` of `count`, whose texts begin with a prefix."""
        part, (low, high) = copy(self), self.span
        step = (high - low) / count
        part.span = low + number * step, low + (number + 1) * step
        part.prefix += prefix
        return part

    def __call__(self, done: float, text: str) -> None:
        done, text = self.span[0] + done * (self.span[1] - self.span[0]), self.prefix + text
        if self.terminal:
            minutes, seconds = divmod(int(time.monotonic() - self.begin), 60)
            full = int(24 * done)
            bar = f"[{'#' * full}{'.' * (24 - full)}] {100 * done:3.0f}% {minutes}:{seconds:02}"
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{f'{bar}  {text}'[:width]}", end="", file=sys.stderr, flush=True)
        elif [topic := text.partition(":")[0]] != self.topics:
            self.topics[:] = [topic]
            say(f"{100 * done:3.0f}%  {topic}")

    def line(self, text: str) -> None:
        """A line that stays."""
        self.end()
        say(self.prefix + text)

    def end(self) -> None:
        """Take the bar away."""
        if self.terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
