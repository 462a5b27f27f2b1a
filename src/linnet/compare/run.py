"""One run of the comparison, from the model's files to the cells as data."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import _core, digits
from ..graph import Graph
from ..model import canonical
from . import network, report
from .backends import on_backends
from .bench import Bench, Journal, Protocol, Row
from .environments import missing
from .processes import scratch_folder
from .runtimes import Runtime, cache_folder, runtimes

STUDY_BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256]
STUDY_PASSES = 100
LEAST_SECONDS = 1.0
Images = npt.NDArray[np.float32]
IMAGES = 37  # different ones, repeated in larger batches


def all_rows() -> dict[str, Row]:
    """A row for every configuration of every runtime, by name."""
    return _rows(lambda runtime: runtime.configurations)


def matrix_rows() -> dict[str, Row]:
    """A row for every framework that takes a BLAS on every back-end, and on what is its own."""
    return _rows(
        lambda runtime: {**on_backends(runtime), **runtime.configurations}
        if runtime.on_blas
        else {}
    )


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
    compared: Compared, protocol: Protocol, rows: Sequence[Row], *, fresh: bool
) -> dict[str, Any]:
    """The rows measured on a model, as data (report.as_data).

    fresh: do not go on from a run of the same that was cut short.
    """
    graph = canonical(
        compared.model, compared.weights, outputs=compared.outputs, arithmetic="float"
    )
    with _journal(protocol, rows, graph, fresh) as journal, scratch_folder() as folder:
        progress = _Progress()
        if journal.batches():
            kept = ", ".join(map(str, journal.batches()))
            progress.say(
                f"going on where a run was cut short: batch {kept} is done (--fresh starts anew)"
            )
        progress(0.0, "writing the network and evaluating it in float64")
        network.export(graph, folder)
        random = np.random.default_rng(0)
        images = random.random((IMAGES, *graph.inputs[0].shape[1:]), dtype=np.float32)
        expected = network.expect(graph, images)
        known = compared.model == digits.MODEL and not compared.outputs
        labelled = digits.held_out(images.shape[-1]) if known else None
        int8: network.Expected | str = "not asked for"
        if any(row.int8 for row in rows):
            progress(0.0, "quantizing the network")
            int8 = _in_int8(graph, images, labelled, folder / "int8")
        bench = Bench(
            protocol, expected, folder, progress, int8=int8, labelled=labelled, journal=journal
        )
        try:
            bench.measure(rows)
        finally:
            progress.end()
        return report.as_data(rows, compared.name, protocol, bench.watch)


def _in_int8(
    graph: Graph, images: Images, labelled: digits.Labelled | None, folder: Path
) -> network.Expected | str:
    """Write the network in int8 to `folder`: what it should answer, or why it cannot be made."""
    try:
        given = images if labelled is None else labelled.images
        written = network.in_int8(graph, given)
    except ValueError as error:
        return str(error)
    folder.mkdir()
    network.export(graph, folder, written)
    np.save(folder / "calibration.npy", given[::2])
    return network.expect(written, images, network.INT8_TOLERANCE)


@contextlib.contextmanager
def _journal(
    protocol: Protocol, rows: Sequence[Row], graph: Graph, fresh: bool
) -> Iterator[Journal]:
    """What an interrupted run of the same has left, to go on from; gone when this one is done.

    RuntimeError if another comparison is running: both would be wrong.
    """
    digest = hashlib.sha256(repr((graph.nodes, graph.inputs, graph.outputs)).encode())
    for array in graph.initializers.values():
        digest.update(array.tobytes())
    here = Path(__file__).parent
    sources = [*here.rglob("*.py"), *here.with_name("quantize").glob("*.py")]
    for file in sorted([Path(_core.__file__), *sources]):
        digest.update(file.read_bytes())
    key = {
        "protocol": asdict(protocol),
        "rows": [[row.name, missing(row.runtime, row.settings)] for row in rows],
        "environment": {k: v for k, v in os.environ.items() if k.startswith("LINNET_")},
        "network and program": digest.hexdigest(),
    }
    folder = cache_folder() / "compare"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError("another comparison is running; both would be wrong") from None
        path = folder / "unfinished.json"
        if fresh:
            path.unlink(missing_ok=True)
        yield Journal(path, key)
        path.unlink(missing_ok=True)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class _Progress:
    """A bar that rewrites its line on a terminal; elsewhere a line for each new batch size."""

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.topic = ""

    def __call__(self, done: float, text: str) -> None:
        if self.terminal:
            minutes, seconds = divmod(int(time.monotonic() - self.begin), 60)
            full = int(24 * done)
            bar = f"[{'#' * full}{'.' * (24 - full)}] {100 * done:3.0f}% {minutes}:{seconds:02}"
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{f'{bar}  {text}'[:width]}", end="", file=sys.stderr, flush=True)
        elif (topic := text.partition(":")[0]) != self.topic:
            self.topic = topic
            say(f"{100 * done:3.0f}%  {self.topic}")

    def say(self, text: str) -> None:
        """A line that stays."""
        self.end()
        say(text)

    def end(self) -> None:
        """Take the bar away."""
        if self.terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
