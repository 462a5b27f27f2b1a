"""The head-to-head: linnet and other runtimes on one network, with verified outputs.

After the study of Prylipko (2017): the mean time per image over batch sizes. Every runtime has an
environment and a process of its own; `network` writes the model for all of them, `environments`
installs them, `bench` measures, `report` prints.

To add a runtime, add one file to `adapters`. It holds ENVIRONMENT (how to install it, see
`environments.Runtime`), CONFIGURATIONS (row name -> options, of which "env" holds environment
variables) and

    class Adapter:
        version: str
        library: str  # what computes: "OpenBLAS", "oneDNN", ...
        def __init__(self, threads, options)  # imports the runtime
        def load(self, network, batch)  # worker.Network -> function from images to the output
        def prepare(self, images)  # optional: into the runtime's own layout, outside the clock

It runs in the runtime's interpreter, so it may import the standard library, NumPy and the runtime
only. load raises ValueError, naming the value, for an operator the runtime does not have.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import importers, passes
from . import network, report
from .bench import Bench, Protocol, Row
from .environments import (
    cache_folder,
    missing,
    parts,
    runtimes,
    scratch_folder,
    set_up,
    terminable,
)

DIGITS = Path(__file__).parents[1] / "models" / "digits.onnx"
DEFAULT = (
    *("linnet", "linnet-direct", "linnet-scalar", "linnet-openblas", "linnet-openblas-dl"),
    *("caffe-openblas", "caffe-openblas-dl", "tf-vanilla", "tf-optimized"),
    *("mxnet-openblas", "mxnet-openblas-dl"),
    *("onnxruntime", "openvino", "litert", "ncnn", "mnn", "opencv", "torch"),
)
STUDY_PASSES = 100
IMAGES = 37  # different ones, repeated in larger batches


def _as_json(data: Any) -> str:
    return json.dumps(data, indent=1)


WRITERS = {
    ".json": _as_json,
    ".csv": report.as_csv,
    ".svg": report.as_svg,
    ".html": report.as_html,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `linnet compare`."""
    parser.add_argument(
        "--model", default=str(DIGITS), help="model to compare on (default: the digits network)"
    )
    parser.add_argument("--weights", help="its weights, for a model in two files")
    parser.add_argument(
        "--runtimes",
        type=_names,
        default=list(DEFAULT),
        metavar="A,B",
        help=f"of: {', '.join(_rows())}",
    )
    parser.add_argument(
        "--batches", type=_counts, default=[1, 16, 256], metavar="N,N", help="default: 1,16,256"
    )
    parser.add_argument(
        "--threads",
        "-t",
        type=_count,
        default=len(os.sched_getaffinity(0)),
        help="default: all cores",
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="time per cell, at most (default: 4)"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="the study's 100 passes per cell, however long they take",
    )
    parser.add_argument(
        "--memory-cap",
        type=_bytes,
        metavar="SIZE",
        help="end a runtime above this much memory, as 1G",
    )
    parser.add_argument(
        "--setup", action="store_true", help="first install the runtimes that are missing"
    )
    parser.add_argument(
        "--list", action="store_true", help="only say which runtimes are there, and why not"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--output",
        "-o",
        type=_output,
        action="append",
        default=[],
        metavar="FILE",
        help=f"also write this file, one of {', '.join(WRITERS)}; may be repeated",
    )
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="an earlier --json result")
    parser.add_argument(
        "--max-regression",
        type=_percent,
        default=5.0,
        metavar="P%",
        help="exit with 1 if linnet's median is this much above the baseline's (default: 5%%)",
    )


def run(args: argparse.Namespace) -> int:
    """`linnet compare`: 0, or 1 if a runtime was wrong or none could be measured.

    ValueError says what is wrong with the model or an argument.
    """
    with terminable():
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    rows = [_rows()[name] for name in dict.fromkeys(args.runtimes)]
    if args.setup:
        needed = [part for row in rows for part in parts(row.runtime, row.settings)]
        set_up(list({part.name: part for part in needed}.values()), _say)
    if args.list:
        return _list(list(_rows().values()), args.json)
    if not 0 < args.seconds < float("inf"):
        raise ValueError(f"--seconds is {args.seconds}, expected a positive number")
    protocol = Protocol(
        batches=args.batches,
        threads=args.threads,
        seconds=float("inf") if args.full else args.seconds,
        passes=STUDY_PASSES if args.full else 1_000_000,
        memory_cap=args.memory_cap,
    )
    baseline = _baseline(args.baseline) if args.baseline else None
    graph = passes.canonicalize(importers.load(args.model, args.weights))
    with scratch_folder() as scratch:
        _step("writing the network and evaluating it in float64")
        network.export(graph, scratch)
        random = np.random.default_rng(0)
        images = random.random((IMAGES, *graph.inputs[0].shape[1:]), dtype=np.float32)
        expected = network.expect(graph, images)
        digits = network.held_out_digits(images.shape[-1]) if Path(args.model) == DIGITS else None
        bench = Bench(protocol, expected, scratch, _step, digits)
        bench.measure(rows)
        _step("")
    data = report.as_data(rows, Path(args.model).name, protocol, bench.watch)
    for path in args.output:
        path.write_text(WRITERS[path.suffix](data), encoding="utf-8")
    print(_as_json(data) if args.json else report.as_text(data))
    slower = report.regressions(data, baseline, args.max_regression) if baseline else []
    for line in slower:
        _say(f"slower than the baseline: {line}")
    cells = [cell for row in rows for cell in row.cells]
    wrong = any(cell.status == "failed" for cell in cells)
    return 1 if wrong or slower or not any(cell.times for cell in cells) else 0


def _baseline(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != report.FORMAT or not data["rows"]:
            raise KeyError("rows")
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is not a result of compare --json") from None
    return dict(data)


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
        print(_as_json({"folder": str(cache_folder()), "runtimes": data}))
    else:
        print(f"In {cache_folder()}:\n")
        for row in data:
            print(f"{row['name']}: {row['what']}")
            print(f"    on a Raspberry Pi: {row['on_pi']}")
            print(f"    {'ready' if row['ready'] else row['reason']}")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _step(text: str) -> None:
    """Progress: one line that rewrites itself on a terminal, a line each elsewhere."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{text[:width]}", end="", file=sys.stderr, flush=True)
    elif text:
        _say(text)


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
    return path


def _percent(text: str) -> float:
    try:
        value = float(text.rstrip("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage")
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
