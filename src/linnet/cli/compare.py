"""linnet compare"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Union

from .. import digits
from ..compare import matrix, matrix_page, report
from ..compare.backends import parts
from ..compare.bench import Protocol, Row
from ..compare.chart import Chart
from ..compare.environments import missing, set_up
from ..compare.heat import heat_map
from ..compare.machine import describe
from ..compare.page import as_html
from ..compare.processes import terminable
from ..compare.run import (
    IMAGES,
    LEAST_SECONDS,
    MATRIX_PASSES,
    STUDY_BATCHES,
    STUDY_PASSES,
    Compared,
    Progress,
    all_rows,
    comparison,
    matrix_rows,
    measure,
    say,
)
from ..compare.runtimes import cache_folder
from ..model import canonical
from ..text import listed, short
from .options import add_interval, add_max_regression, add_outputs, counts, positive, size

Writers = dict[str, Callable[[Sequence[report.Data]], Union[str, bytes]]]
WRITERS: Writers = {
    ".json": report.as_json,
    ".csv": report.as_csv,
    ".svg": lambda runs: report.as_chart(runs).svg(),
    ".png": lambda runs: report.as_chart(runs).png(),
    ".html": as_html,
}
MATRIX_WRITERS: Writers = {
    **WRITERS,
    ".svg": lambda runs: heat_map(runs).svg(),
    ".png": lambda runs: heat_map(runs).png(),
    ".html": matrix_page.as_html,
}
MATRIX = {"batches": [1, 4], "seconds": 1.0}  # there, where these are not given
STUDY = {"batches": STUDY_BATCHES, "seconds": 4.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--model",
        type=Path,
        default=digits.MODEL,
        help="model to compare on (default: the digits network)",
    )
    add("--weights", type=Path, help="its weights, for a model in two files")
    add_outputs(parser)
    _add_matrix(add)
    add(
        "--runtimes",
        type=_names,
        metavar="A,B",
        help=f"of: {', '.join(_known())}; or all (default: those that --list says, but for what "
        "needs a network of its own to be made, which takes minutes)",
    )
    add(
        "--batches",
        type=_batches,
        metavar="N,N",
        help=f"default: {','.join(map(str, STUDY_BATCHES))}; in a matrix 1,4",
    )
    cores = len(os.sched_getaffinity(0))
    add(
        "--threads",
        "-t",
        type=_batches,
        default=[cores],
        metavar="N",
        help="default: all cores; several (N,N) are compared in one matrix",
    )
    add(
        "--seconds",
        type=positive,
        metavar="S",
        help="a cell takes 100 passes and a second, but no more than S (default: 4); in a matrix "
        "20 passes and half of S (default: 1)",
    )
    add(
        "--full",
        action="store_true",
        help="exactly the study's 100 passes per cell, however long they take",
    )
    add_interval(parser, "pass")
    add(
        "--memory-cap",
        type=size,
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
    add(
        "--output",
        "-o",
        type=_output,
        action="append",
        default=[],
        metavar="FILE",
        help=f"also write this file, one of {', '.join(WRITERS)}; may be repeated",
    )
    _add_earlier(parser)


def _add_matrix(add: Callable[..., Any]) -> None:
    add(
        "--matrix",
        type=Path,
        nargs="+",
        metavar="MODEL",
        help="compare Caffe, MXNet, TensorFlow and linnet on all BLAS back-ends, on these models",
    )
    add(
        "--plan",
        action="store_true",
        help="measure nothing: say what --matrix will measure and how long that will take",
    )


def _add_earlier(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
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
    add_max_regression(parser, "exit with 1 if linnet's median is this much above the baseline's")


def run(args: argparse.Namespace) -> int:
    """`linnet compare`: 0, or 1 if a runtime was wrong, linnet slower or nothing measured.

    ValueError says what is wrong with the model or an argument.
    """
    with terminable():
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    # All that can be wrong with the arguments comes before what takes long.
    for name, value in (MATRIX if args.matrix else STUDY).items():
        setattr(args, name, value if getattr(args, name) is None else getattr(args, name))
    if not args.matrix and (args.plan or len(args.threads) > 1):
        raise ValueError(f"{'--plan' if args.plan else 'several --threads'} goes with --matrix")
    reference = _reference(args.reference) if args.reference else []
    for name in ("weights", "outputs"):
        if args.matrix and getattr(args, name):
            raise ValueError(f"--{name} does not go with --matrix")
    merged = [run for path in args.merge or [] for run in report.read(path)]
    kinds = [report.kind(run) for run in merged if not run.get("reference")]
    models = [Compared(path) for path in args.matrix or []]
    models = models or [Compared(args.model, args.weights, args.outputs)]
    cpu = describe()["cpu"]
    kinds = kinds or [
        report.Kind(m.name, cpu, t, args.interval) for m in models for t in args.threads
    ]
    old = {k: report.baseline(args.baseline, k) for k in kinds} if args.baseline else {}
    default = matrix_rows() if args.matrix else _by_default()
    rows = [_known()[name] for name in dict.fromkeys(args.runtimes or default)]
    if args.setup and not args.plan:
        needed = [part for row in rows for part in parts(row.runtime, row.settings)]
        set_up(list({part.name: part for part in needed}.values()), say)
    if args.list:
        return _list(list((default if args.matrix else all_rows()).values()), args.json)
    if args.plan:
        return _plan(models, args, rows)
    runs = merged or _measure(models, args, rows)
    shown = matrix.is_matrix(runs) and not reference
    as_text = matrix.as_text if shown else report.as_text
    show = report.as_json if args.json else as_text
    print(show([*runs, *reference]))
    for path in args.output:
        write = (MATRIX_WRITERS if shown else WRITERS)[path.suffix]
        content = write([*runs, *reference])
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return _status(runs, old, args.max_regression)


def _status(
    runs: Sequence[report.Data], old: Mapping[report.Kind, report.Data], most: float
) -> int:
    """What the command exits with; what became slower is said."""
    runs = [run for run in runs if not run.get("reference")]
    before = [(run, old[report.kind(run)]) for run in runs if report.kind(run) in old]
    slower = [line for pair in before for line in report.regressions(*pair, most)]
    for line in slower:
        say(f"slower than the baseline: {line}")
    cells = [cell for run in runs for row in run["rows"] for cell in row["cells"]]
    wrong = any(cell["status"] == "failed" for cell in cells)
    return 1 if wrong or slower or not any(report.figure(cell) for cell in cells) else 0


def _measure(
    models: Sequence[Compared], args: argparse.Namespace, rows: Sequence[Row]
) -> list[dict[str, Any]]:
    progress, runs = Progress(), []
    count_ = max(args.batches) + 1 if args.matrix else IMAGES
    with comparison(args.fresh) as unfinished:
        for i, model in enumerate(models):
            part = progress.part(i, len(models), f"{model.name}, ") if args.matrix else progress
            try:
                runs += measure(
                    model, _protocols(args), rows, unfinished, progress=part, count=count_
                )
            finally:
                progress.end()
    return [{**run, "matrix": True} for run in runs] if args.matrix else runs


def _plan(models: Sequence[Compared], args: argparse.Namespace, rows: Sequence[Row]) -> int:
    lines, total = [], [0, 0, 0.0]
    for model in models:
        graph = canonical(model.model, None, arithmetic="float")
        found = matrix.plan(graph, _protocols(args), rows, max(args.batches) + 1)
        total = [a + b for a, b in zip(total, found)]
        lines.append([model.name, str(found[0]), str(found[1]), f"{found.seconds / 60:.1f}"])
    lines.append(["together", str(total[0]), str(total[1]), f"{total[2] / 60:.1f}"])
    print(report.table(["model", "cells", "cannot be had", "minutes, about"], lines), end="")
    reasons = [(row.name, missing(row.runtime, row.settings)) for row in rows]
    for reason in dict.fromkeys(why for _, why in reasons if why):
        print(f"{', '.join(name for name, why in reasons if why == reason)}: {reason}")
    if any("run --setup" in (why or "") for _, why in reasons):
        print("Setting up what is missing takes about ten minutes more.")
    return 0


def _protocols(args: argparse.Namespace) -> list[Protocol]:
    least = args.seconds / 2 if args.matrix else min(LEAST_SECONDS, args.seconds)
    return [
        Protocol(
            batches=args.batches,
            threads=threads,
            seconds=float("inf") if args.full else args.seconds,
            passes=STUDY_PASSES if args.full or not args.matrix else MATRIX_PASSES,
            least=0.0 if args.full else least,
            memory_cap=args.memory_cap,
            interval=args.interval / 1e3,
            importing=len(os.sched_getaffinity(0)) if args.matrix else 1,
        )
        for threads in args.threads
    ]


def _reference(name: str) -> list[dict[str, Any]]:
    runs = report.read(report.STUDY if name == "study" else Path(name))
    return [{"reference": Path(name).stem, **run} for run in runs]


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


def _by_default() -> dict[str, Row]:
    """Every row that needs no network of its own to be made, which takes minutes."""
    return {name: row for name, row in all_rows().items() if not row.smaller}


def _known() -> dict[str, Row]:
    """Every row that can be named: all of them with those of a matrix."""
    return {**all_rows(), **matrix_rows()}


def _names(text: str) -> list[str]:
    names = list(all_rows()) if text == "all" else text.split(",")
    unknown = [name for name in names if name not in _known()]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"no {listed(unknown)}; there are all, {', '.join(_known())}"
        )
    return names


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix not in WRITERS:
        raise argparse.ArgumentTypeError(
            f"{short(text)} does not end in one of {', '.join(WRITERS)}"
        )
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    if path.suffix == ".png":
        try:
            Chart("", "", "", []).png()
        except ImportError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return path


def _batches(text: str) -> list[int]:
    return sorted(set(counts(text)))
