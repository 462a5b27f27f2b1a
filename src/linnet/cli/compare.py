"""linnet compare"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import digits
from ..compare import report
from ..compare.bench import Protocol, Row
from ..compare.backends import parts
from ..compare.chart import Chart
from ..compare.environments import missing, set_up
from ..compare.machine import describe
from ..compare.page import as_html
from ..compare.processes import terminable
from ..compare.run import (
    LEAST_SECONDS,
    STUDY_BATCHES,
    STUDY_PASSES,
    Compared,
    all_rows,
    measure,
    say,
)
from ..compare.runtimes import cache_folder
from ..text import listed, short
from .options import add_interval, add_max_regression, add_outputs, count, counts, positive, size

WRITERS: dict[str, Callable[[Sequence[report.Data]], str | bytes]] = {
    ".json": report.as_json,
    ".csv": report.as_csv,
    ".svg": lambda runs: report.as_chart(runs).svg(),
    ".png": lambda runs: report.as_chart(runs).png(),
    ".html": as_html,
}


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
    add(
        "--runtimes",
        type=_names,
        default=list(all_rows()),
        metavar="A,B",
        help=f"of: {', '.join(all_rows())} (default: all)",
    )
    add(
        "--batches",
        type=_batches,
        default=STUDY_BATCHES,
        metavar="N,N",
        help=f"default: {','.join(map(str, STUDY_BATCHES))}",
    )
    cores = len(os.sched_getaffinity(0))
    add("--threads", "-t", type=count, default=cores, metavar="N", help="default: all cores")
    add(
        "--seconds",
        type=positive,
        default=4.0,
        metavar="S",
        help="a cell takes 100 passes and a second, but no more than S (default: 4)",
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
    reference = _reference(args.reference) if args.reference else []
    merged = [run for path in args.merge or [] for run in report.read(path)]
    kinds = [report.kind(run) for run in merged if not run.get("reference")]
    model = Compared(args.model, args.weights, args.outputs)
    kinds = kinds or [report.Kind(model.name, describe()["cpu"], args.threads, args.interval)]
    old = {k: report.baseline(args.baseline, k) for k in kinds} if args.baseline else {}
    rows = [all_rows()[name] for name in dict.fromkeys(args.runtimes)]
    if args.setup:
        needed = [part for row in rows for part in parts(row.runtime, row.settings)]
        set_up(list({part.name: part for part in needed}.values()), say)
    if args.list:
        return _list(list(all_rows().values()), args.json)
    runs = merged or [measure(model, _protocol(args), rows, fresh=args.fresh)]
    show = report.as_json if args.json else report.as_text
    print(show([*runs, *reference]))
    for path in args.output:
        content = WRITERS[path.suffix]([*runs, *reference])
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    runs = [run for run in runs if not run.get("reference")]
    before = [(run, old[report.kind(run)]) for run in runs if report.kind(run) in old]
    slower = [line for pair in before for line in report.regressions(*pair, args.max_regression)]
    for line in slower:
        say(f"slower than the baseline: {line}")
    cells = [cell for run in runs for row in run["rows"] for cell in row["cells"]]
    wrong = any(cell["status"] == "failed" for cell in cells)
    return 1 if wrong or slower or not any(report.figure(cell) for cell in cells) else 0


def _protocol(args: argparse.Namespace) -> Protocol:
    return Protocol(
        batches=args.batches,
        threads=args.threads,
        seconds=float("inf") if args.full else args.seconds,
        passes=STUDY_PASSES,
        least=0.0 if args.full else min(LEAST_SECONDS, args.seconds),
        memory_cap=args.memory_cap,
        interval=args.interval / 1e3,
    )


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


def _names(text: str) -> list[str]:
    known = list(all_rows())
    names = known if text == "all" else text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"no {listed(unknown)}; there are all, {', '.join(known)}")
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
