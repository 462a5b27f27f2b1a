"""The head-to-head: linnet and other runtimes on one network, with verified outputs.

After the study of Prylipko (2017): the mean time per image over batch sizes. Every runtime has an
environment and a process of its own; `network` writes the model for all of them, `environments`
installs them, `bench` measures, `report` prints.

To add a runtime, add one file to `adapters`. It holds ENVIRONMENT (how to install it),
CONFIGURATIONS (row name -> what it is, and options; for both see `environments.Runtime`) and

    class Adapter:
        version: str
        library: str  # what computes: "OpenBLAS", "oneDNN", ...; always in float32
        def __init__(self, threads, options)  # imports the runtime
        def load(self, network, batch)  # worker.Network -> function from images to the output
        def prepare(self, images)  # optional: into the runtime's own layout, outside the clock

It runs in the runtime's interpreter, so it may import the standard library, NumPy and the runtime
only. load raises ValueError, naming the value, for an operator the runtime does not have.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core, formats, passes
from ..graph import Graph
from . import network, report
from .bench import Bench, Journal, Protocol, Row
from .chart import Chart
from .environments import (
    cache_folder,
    missing,
    parts,
    runtimes,
    scratch_folder,
    set_up,
    terminable,
)
from .machine import describe
from .page import as_html

DIGITS = Path(__file__).parents[1] / "models" / "digits.onnx"
STUDY_BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256]
STUDY_PASSES = 100
LEAST_SECONDS = 1.0
MAX_INTERVAL_MS = 60_000
IMAGES = 37  # different ones, repeated in larger batches

WRITERS: dict[str, Callable[[Sequence[report.Data]], str | bytes]] = {
    ".json": report.as_json,
    ".csv": report.as_csv,
    ".svg": lambda runs: report.as_chart(runs).svg(),
    ".png": lambda runs: report.as_chart(runs).png(),
    ".html": as_html,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `linnet compare`."""
    add = parser.add_argument
    add("--model", default=str(DIGITS), help="model to compare on (default: the digits network)")
    add("--weights", help="its weights, for a model in two files")
    add(
        "--runtimes",
        type=_names,
        default=list(_rows()),
        metavar="A,B",
        help=f"of: {', '.join(_rows())} (default: all)",
    )
    add(
        "--batches",
        type=_counts,
        default=STUDY_BATCHES,
        metavar="N,N",
        help=f"default: {','.join(map(str, STUDY_BATCHES))}",
    )
    cores = len(os.sched_getaffinity(0))
    add("--threads", "-t", type=_count, default=cores, metavar="N", help="default: all cores")
    add(
        "--seconds",
        type=_seconds,
        default=4.0,
        metavar="S",
        help="a cell takes 100 passes and a second, but no more than S (default: 4)",
    )
    add(
        "--full",
        action="store_true",
        help="exactly the study's 100 passes per cell, however long they take",
    )
    add(
        "--interval",
        type=_milliseconds,
        default=0.0,
        metavar="MS",
        help="wait before each pass, as a camera makes a model wait (default: 0)",
    )
    add(
        "--memory-cap",
        type=_bytes,
        metavar="SIZE",
        help="end a runtime that has more than this in memory, as 1G; its cell is -",
    )
    add("--fresh", action="store_true", help="do not go on from a run that was cut short")
    add("--setup", action="store_true", help="first install the runtimes that are missing")
    add(
        "--list",
        action="store_true",
        help="only say what each is, whether it is there, and why not",
    )
    add("--json", action="store_true", help="print JSON")
    add(
        "--output",
        "-o",
        type=_output,
        action="append",
        default=[],
        metavar="FILE",
        help=f"also write this file, one of {', '.join(WRITERS)}; may be repeated",
    )
    add(
        "--merge",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="measure nothing: join .json results, as of several machines",
    )
    add(
        "--reference",
        metavar="FILE",
        help="show an earlier .json result beside, or the study's own figures: study",
    )
    add("--baseline", type=Path, metavar="FILE", help="an earlier .json result to compare with")
    add(
        "--max-regression",
        type=_percent,
        default=5.0,
        metavar="P%",
        help="exit with 1 if linnet's median is this much above the baseline's (default: 5%%)",
    )


def run(args: argparse.Namespace) -> int:
    """`linnet compare`: 0, or 1 if a runtime was wrong, linnet slower or nothing measured.

    ValueError says what is wrong with the model or an argument.
    """
    with terminable():
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    # All that can be wrong with the arguments comes before what takes long.
    reference = _reference(args.reference) if args.reference else []
    merged = [run for path in args.merge or [] for run in report.read(path)]
    kinds = [report.kind(run) for run in merged if not run.get("reference")]
    model = Path(args.model).name
    kinds = kinds or [report.Kind(model, describe()["cpu"], args.threads, args.interval)]
    old = {k: report.baseline(args.baseline, k) for k in kinds} if args.baseline else {}
    rows = [_rows()[name] for name in dict.fromkeys(args.runtimes)]
    if args.setup:
        needed = [part for row in rows for part in parts(row.runtime, row.settings)]
        set_up(list({part.name: part for part in needed}.values()), _say)
    if args.list:
        return _list(list(_rows().values()), args.json)
    runs = merged or [_measure(args, rows)]
    show = report.as_json if args.json else report.as_text
    print(show([*runs, *reference]))
    for path in args.output:
        content = WRITERS[path.suffix]([*runs, *reference])
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    runs = [run for run in runs if not run.get("reference")]
    before = [(run, old[report.kind(run)]) for run in runs if report.kind(run) in old]
    slower = [line for pair in before for line in report.regressions(*pair, args.max_regression)]
    for line in slower:
        _say(f"slower than the baseline: {line}")
    cells = [cell for run in runs for row in run["rows"] for cell in row["cells"]]
    wrong = any(cell["status"] == "failed" for cell in cells)
    return 1 if wrong or slower or not any(report.figure(cell) for cell in cells) else 0


def _measure(args: argparse.Namespace, rows: Sequence[Row]) -> dict[str, Any]:
    protocol = Protocol(
        batches=args.batches,
        threads=args.threads,
        seconds=float("inf") if args.full else args.seconds,
        passes=STUDY_PASSES,
        least=0.0 if args.full else min(LEAST_SECONDS, args.seconds),
        memory_cap=args.memory_cap,
        interval=args.interval / 1e3,
    )
    graph = passes.canonicalize(formats.read(args.model, args.weights))
    with _journal(protocol, rows, graph, args.fresh) as journal, scratch_folder() as folder:
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
        digits = network.held_out_digits(images.shape[-1]) if Path(args.model) == DIGITS else None
        bench = Bench(protocol, expected, folder, progress, labelled=digits, journal=journal)
        try:
            bench.measure(rows)
        finally:
            progress.end()
        return report.as_data(rows, Path(args.model).name, protocol, bench.watch)


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
    for file in sorted([Path(_core.__file__), *Path(__file__).parent.rglob("*.py")]):
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


def _reference(name: str) -> list[dict[str, Any]]:
    runs = report.read(report.STUDY if name == "study" else Path(name))
    return [{"reference": Path(name).stem, **run} for run in runs]


def _rows() -> dict[str, Row]:
    """A row for every configuration of every runtime, by name."""
    return {
        name: Row(name, runtime, settings)
        for runtime in runtimes().values()
        for name, settings in runtime.configurations.items()
    }


def _list(rows: Sequence[Row], as_json: bool) -> int:
    data = []
    for row in rows:
        why = missing(row.runtime, row.settings)
        about = {key: row.settings.get(key, "") for key in ("what", "on_pi")}
        data.append({"name": row.name, "ready": why is None, "reason": why, **about})
    if as_json:
        print(json.dumps({"folder": str(cache_folder()), "runtimes": data}, indent=1))
    else:
        print(f"In {cache_folder()}:\n")
        for entry in data:
            print(f"{entry['name']}: {entry['what']}")
            print(f"    on a Raspberry Pi: {entry['on_pi']}")
            print(f"    {'ready' if entry['ready'] else entry['reason']}")
    return 0


def _say(text: str) -> None:
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
            _say(f"{100 * done:3.0f}%  {self.topic}")

    def say(self, text: str) -> None:
        """A line that stays."""
        self.end()
        _say(text)

    def end(self) -> None:
        """Take the bar away."""
        if self.terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _names(text: str) -> list[str]:
    known = list(_rows())
    names = known if text == "all" else text.split(",")
    unknown = [repr(name) for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"no {', '.join(unknown)}; there are all, {', '.join(known)}"
        )
    return names


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix not in WRITERS:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in one of {', '.join(WRITERS)}")
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    if path.suffix == ".png":
        try:
            Chart("", "", "", []).png()
        except ImportError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return path


def _percent(text: str) -> float:
    try:
        value = float(text.rstrip("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_INTERVAL_MS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {MAX_INTERVAL_MS}")
    return value


def _count(text: str) -> int:
    if not text.strip().isdecimal() or not 0 < int(text) < 1 << 20:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _counts(text: str) -> list[int]:
    return sorted({_count(part) for part in text.split(",")})


def _bytes(text: str) -> int:
    scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper())
    return _count(text[:-1] if scale else text) * (scale or 1) if text else _count(text)
