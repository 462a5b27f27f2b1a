"""What a comparison found as plain data, and the texts and charts made of it (page.py: the page).

A result file holds runs: one that was measured, or those of several machines merged. Times are
milliseconds per image, memory is in bytes.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..text import count, finite
from .bench import Cell, Protocol, Row
from .chart import Chart, Line, Picture, stacked
from .machine import Watch, describe
from .runtimes import cache_folder

Data = Mapping[str, Any]
FORMAT = 2
SUBJECT = "linnet"  # the row, and the runtime, that the others are compared with
SMALLER = "a smaller network"
ARITHMETICS = ("float32", "int8", SMALLER)  # rows of each have tables and a chart of their own
STUDY = Path(__file__).with_name("study.json")
MARKS = {"failed": "FAILED", "memory": "-", "error": "n/a"}
FIELDS = (
    "batch",
    "status",
    "reason",
    "mean",
    "median",
    "low",
    "high",
    "min",
    "calls",
    "threads_used",
    "cpu_load",
    "logit_difference",
    "logit_limit",
    "peak_memory",
    "import_s",
    "load_s",
    "first_call_s",
    "blas_sha256",
)
SHARED = ("version", "library", "accuracy", "agreement")  # facts of a row rather than of a cell


def as_data(rows: Sequence[Row], model: str, protocol: Protocol, watch: Watch) -> dict[str, Any]:
    """The run as JSON can hold it."""
    return {
        "model": model,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": describe(),
        "conditions": watch.facts(),
        "protocol": {
            "batches": list(protocol.batches),
            "threads": protocol.threads,
            "passes": protocol.passes,
            "seconds": finite(protocol.seconds),
            "memory_cap": protocol.memory_cap,
            "interval_ms": protocol.interval * 1e3,
        },
        "rows": [_row(row) for row in rows],
    }


def _row(row: Row) -> dict[str, Any]:
    facts = [cell.facts for cell in row.cells]
    found = (entry for fact in facts for entry in fact.get("libraries", []))
    # Results are passed on: those of the cache folder without the way to it.
    cache = f"{cache_folder()}{os.sep}"
    libraries = {e["path"]: {**e, "path": e["path"].replace(cache, "", 1)} for e in found}
    data: dict[str, Any] = {"name": row.name, "runtime": row.runtime.name, "int8": row.int8}
    data["smaller"] = row.smaller
    data["blas"] = row.settings.get("blas", row.settings.get("kernels"))
    data.update({name: next((f[name] for f in facts if name in f), None) for name in SHARED})
    return {**data, "libraries": list(libraries.values()), "cells": list(map(_cell, row.cells))}


def _cell(cell: Cell) -> dict[str, Any]:
    data: dict[str, Any] = {
        "batch": cell.batch,
        "status": cell.status,
        "reason": cell.reason,
        "logit_difference": finite(cell.difference),
        "logit_limit": cell.limit,
        "peak_memory": cell.peak,
        "threads_used": cell.threads,
        "cpu_load": cell.cpus,
        **{k: v for k, v in cell.facts.items() if k not in (*SHARED, "libraries")},
    }
    for library in cell.facts.get("libraries", []):
        if "borrowed" in library:
            data["blas_sha256"] = library["sha256"]
    if cell.times:
        low, high = cell.quartiles
        data.update(mean=cell.mean, median=cell.median, low=low, high=high)
        data.update(min=min(cell.per_image), calls=len(cell.times))
        data["times"] = [round(t, 9) for t in cell.times]
    return data


def as_json(runs: Sequence[Data]) -> str:
    """The result file."""
    return json.dumps({"format": FORMAT, "runs": list(runs)}, indent=1)


def read(path: Path) -> list[dict[str, Any]]:
    """The runs of a result file; ValueError if it is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT or not data["runs"]:
            raise KeyError("runs")
        runs = [dict(run) for run in data["runs"]]
        as_text(runs)  # whatever is missing or of another kind is found by using it
        as_csv(runs)
        as_chart(runs)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise ValueError(f"{path} is not a result of linnet compare --output x.json") from None
    return runs


def as_text(runs: Sequence[Data]) -> str:
    """For each run its tables, the study's last, and the verdict."""
    parts = []
    for run in runs:
        parts.append(f"{title(run)}\n")
        for caption, head, lines in tables(run):
            parts += [caption, table(head, lines)]
        if reasons(run):
            parts += ["Notes", "".join(f"  {reason}\n" for reason in reasons(run))]
        parts.append(f"{verdict(run)}\n")
    return "\n".join(parts).rstrip("\n")


def as_csv(runs: Sequence[Data]) -> str:
    """One line per cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    own = ("runtime", "blas", *SHARED)
    writer.writerow(["model", "cpu", "threads", "interval_ms", "valid", "row", *own, *FIELDS])
    for run in runs:
        same = list(kind(run))
        same.append(run["conditions"].get("valid"))
        for row in run["rows"]:
            what = [row["name"], *(row.get(name) for name in own)]
            for cell in row["cells"]:
                writer.writerow([*same, *what, *(cell.get(name) for name in FIELDS)])
    return out.getvalue()


def as_chart(runs: Sequence[Data]) -> Picture:
    """The study's chart: ms per image over the batch size, both logarithmic. One for each
    arithmetic, one below the other.
    """
    measured = [run for run in runs if not run.get("reference")]
    panels: dict[str, list[Line]] = {name: [] for name in ARITHMETICS}
    for run in runs:
        machine = f", {run['machine']['cpu']}" if len(measured) > 1 else ""
        for group in groups(run):
            for row in group.rows:
                points = [(c["batch"], y) for c in row["cells"] if (y := figure(c))]
                name, family = row["name"] + machine, row["runtime"]
                if run.get("reference"):
                    name, family = f"{run['reference']}: {row['name']}", ""
                elif row is group.baseline:
                    family = ""
                bold = family != "" and row["name"] == group.subject
                panels[group.arithmetic].append(Line(name, points, family, bold))
    heading = title(measured[0]) if len(measured) == 1 else "linnet compare"
    charts = [
        Chart(f"{heading}, {arithmetic}", "batch size", "ms per image (median)", lines)
        for arithmetic, lines in panels.items()
        if lines
    ]
    return stacked(charts or [Chart(heading, "", "", [])])


class Group(NamedTuple):
    """Rows of one arithmetic, which are shown together.

    subject: the row of linnet that others are compared with. baseline: with int8 or a smaller
    network, linnet's fastest row in float32, which is the first of the rows too; None if none was
    measured.
    """

    arithmetic: str
    subject: str
    rows: Sequence[Data]
    baseline: Data | None = None


def groups(run: Data) -> Iterator[Group]:
    """The rows of a run by arithmetic; no group without rows."""
    floats = [row for row in run["rows"] if not row.get("int8") and not row.get("smaller")]
    others = {
        "int8": [row for row in run["rows"] if row.get("int8")],
        SMALLER: [row for row in run["rows"] if row.get("smaller")],
    }
    if floats:
        yield Group("float32", SUBJECT, floats)
    own = [row for row in floats if row["runtime"] == SUBJECT]
    best = min(own, key=_slowness, default=None)
    first = {**best, "name": f"{best['name']}, float32"} if best else None
    for name, rows in others.items():
        if rows:
            subject = f"{SUBJECT}-int8" if name == "int8" else rows[0]["name"]
            yield Group(name, subject, [*([first] if first else []), *rows], first)


def _slowness(row: Data) -> tuple[int, float]:
    """Cells without a time; and how long all others take, each of them counting alike."""
    times = [y for cell in row["cells"] if (y := figure(cell))]
    return len(row["cells"]) - len(times), sum(map(math.log, times))


def figure(cell: Data) -> float | None:
    """What stands for the cell in chart and ratios: the median; published figures are means."""
    value = cell.get("median", cell.get("mean"))
    return None if value is None else float(value)


class Kind(NamedTuple):
    """What two runs must have in common for their times to be compared."""

    model: str
    cpu: str
    threads: int
    interval_ms: float

    def __str__(self) -> str:
        threads = count(self.threads, "thread")
        interval = f", {self.interval_ms:g} ms before each pass" if self.interval_ms else ""
        return f"{self.model}, {threads}, {self.cpu}{interval}"


def kind(run: Data) -> Kind:
    """The kind of a run."""
    protocol = run["protocol"]
    interval = protocol.get("interval_ms", 0.0)  # earlier files have none
    return Kind(run["model"], run["machine"]["cpu"], protocol["threads"], interval)


def baseline(path: Path, wanted: Kind) -> dict[str, Any]:
    """The last run of that kind in a result file; ValueError if it has none."""
    runs = read(path)
    same = [run for run in runs if kind(run) == wanted]
    if not same:
        raise ValueError(f"{path} is of {kind(runs[0])}; this is {wanted}")
    return same[-1]


def regressions(run: Data, baseline: Data, most: float) -> list[str]:
    """Cells of linnet's own rows whose median exceeds the baseline's by more than the fraction
    `most`.
    """
    before = {
        (row["name"], cell["batch"]): cell["median"]
        for row in baseline["rows"]
        for cell in row["cells"]
        if cell.get("median")
    }
    found = []
    for row in run["rows"]:
        for cell in row["cells"]:
            old = before.get((row["name"], cell["batch"]))
            if old is None or row["runtime"] != SUBJECT:
                continue
            where = f"{row['name']} at batch {cell['batch']}"
            if not cell.get("median"):
                found.append(f"{where}: {cell['reason']}")
            elif cell["median"] > old * (1 + most):
                change = 100 * (cell["median"] / old - 1)
                found.append(
                    f"{where}: {old:.3f} -> {cell['median']:.3f} ms per image (+{change:.0f}%)"
                )
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest entry, the first one to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, ["-" * width for width in widths], *rows]:
        padded = [c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))]
        lines.append(f"  {'  '.join(padded).rstrip()}\n")
    return "".join(lines)


def title(run: Data) -> str:
    """Model, threads, processor and the time between passes."""
    return str(kind(run))


def verdict(run: Data) -> str:
    """Whether the times can be trusted."""
    if run.get("reference"):
        return f"Not measured now: {run['reference']}"
    problems = run["conditions"]["problems"]
    return f"INVALID: {'; '.join(problems)}" if problems else "VALID: the machine was quiet"


def tables(run: Data) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Caption, head and lines of every table of a run."""
    rows, batches = run["rows"], [str(batch) for batch in run["protocol"]["batches"]]
    if not run.get("reference"):
        yield "What ran", list(FACTS), [facts(row) for row in rows]
        found = [
            [row["name"], library["corename"], library["sha256"][:16], library["path"]]
            for row in rows
            for library in row.get("libraries") or []
            if "corename" in library
        ]
        if found:
            head = ["runtime", "core", "sha256 begins", "file"]
            yield "OpenBLAS in the processes", head, found
        peaks = [[row["name"], *(peak(cell) for cell in row["cells"])] for row in rows]
        yield "Peak resident memory, MB, by batch size", ["runtime", *batches], peaks
    for group in groups(run):
        yield from _times(group, batches, measured=not run.get("reference"))


def _times(
    group: Group, batches: Sequence[str], measured: bool
) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    arithmetic, subject, rows, _ = group
    if measured:
        medians = [[row["name"], *_with_spread(rows, row)] for row in rows]
        caption = f"In {arithmetic}: median, and half the distance of the quartiles"
        yield caption, ["runtime", *batches], medians
        if any(row["name"] == subject for row in rows):
            ratios = [[row["name"], *(text or "-" for text in ratio(group, row))] for row in rows]
            yield f"In {arithmetic}: times {subject}'s median", ["runtime", *batches], ratios
    heads, shares = answers(group)
    means = [[row["name"], *marked(rows, row, "mean"), *s] for row, s in zip(rows, shares)]
    caption = f"In {arithmetic}: mean ms per image by batch size, lower is better; * is the best"
    yield f"{caption} of its column", ["runtime", *batches, *heads], means


def marked(rows: Sequence[Data], row: Data, name: str) -> list[str]:
    """The row's figures `name` as text, the best of all rows with a star."""
    best = [min((cell.get(name) or math.inf) for cell in cells) for cells in columns(rows)]
    return [
        f"{'*' * (cell[name] == least)}{ms(cell[name])}"
        if cell.get(name)
        else MARKS.get(cell["status"], "n/a")
        for cell, least in zip(row["cells"], best)
    ]


def columns(rows: Sequence[Data]) -> Iterator[tuple[Data, ...]]:
    """The cells of each batch size."""
    return zip(*(row["cells"] for row in rows))


def _with_spread(rows: Sequence[Data], row: Data) -> list[str]:
    texts = marked(rows, row, "median")
    return [f"{t} {s:>4}" if (s := spread(c)) else t for t, c in zip(texts, row["cells"])]


def spread(cell: Data) -> str:
    """Half the distance of the quartiles, of the median."""
    if not cell.get("median"):
        return ""
    return f"±{50 * (cell['high'] - cell['low']) / cell['median']:.0f}%"


def ratio(group: Group, row: Data) -> list[str]:
    """How many times linnet's median the row's are; "" where either is missing."""
    named = (r["cells"] for r in group.rows if r["name"] == group.subject)
    own: Sequence[Data] = next(named, [])
    return [
        f"{cell['median'] / mine['median']:.2f}x"
        if cell.get("median") and mine.get("median")
        else ""
        for cell, mine in zip(row["cells"], own)
    ] or [""] * len(row["cells"])


def ms(value: float) -> str:
    """With as many digits as a time deserves."""
    return f"{value:.{3 if value < 10 else 2 if value < 100 else 1}f}"


def answers(group: Group) -> tuple[list[str], list[list[str]]]:
    """Heads and texts, for each row, of how right it is: the share of test images that it
    recognises and what int8 or a smaller network loses of it, or where none are known, in how many
    classes int8 agrees with float64.
    """
    if group.arithmetic == "float32":
        return ["accuracy"], [[percent(row.get("accuracy"))] for row in group.rows]
    if all(row.get("accuracy") is None for row in group.rows):
        return ["same class"], [[percent(row.get("agreement"))] for row in group.rows]
    exact = (group.baseline or {}).get("accuracy")

    def loss(share: float | None) -> float | None:
        return None if share is None or exact is None else exact - share

    found = [row.get("accuracy") for row in group.rows]
    return ["accuracy", "loss"], [[percent(share), percent(loss(share))] for share in found]


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}%"


def peak(cell: Data) -> str:
    """Highest resident memory in MB."""
    value = cell.get("peak_memory")
    if value is None:
        return MARKS.get(cell["status"], "-")
    return f"{value / 1e6:.0f}"


FACTS = (
    "runtime",
    "version",
    "computes with",
    "threads",
    "CPUs",
    "logits off by",
    "allowed",
    "import",
    "load",
    "first call",
)


def facts(row: Data) -> list[str]:
    """One line of FACTS: times are the medians over batch sizes, all others the most of any."""
    cells = row["cells"]

    def most(name: str) -> float | None:
        return max((c[name] for c in cells if c.get(name) is not None), default=None)

    def middle(name: str) -> str:
        values = sorted(c[name] for c in cells if c.get(name) is not None)
        return _seconds(values[len(values) // 2]) if values else "-"

    threads, load = most("threads_used"), most("cpu_load")
    error, limit = most("logit_difference"), most("logit_limit")
    return [
        row["name"],
        row.get("version") or "-",
        row.get("library") or "-",
        "-" if threads is None else f"{threads:.0f}",
        "-" if load is None else f"{load:.2f}",
        "-" if error is None else f"{error:.1e}",
        "-" if limit is None else f"{limit:.1e}",
        middle("import_s"),
        middle("load_s"),
        middle("first_call_s"),
    ]


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.1f} ms"


def reasons(run: Data) -> list[str]:
    """Why cells are empty and what else to know: every reason once, with its batch sizes."""
    lines = []
    for row in run["rows"]:
        by_reason: dict[str, list[str]] = {}
        for cell in row["cells"]:
            if cell.get("reason"):
                by_reason.setdefault(cell["reason"], []).append(str(cell["batch"]))
            elif (cell.get("cpu_load") or 0.0) > run["protocol"]["threads"] + 0.5:
                more = f"kept {cell['cpu_load']:.1f} CPUs busy, more than its threads"
                by_reason.setdefault(more, []).append(str(cell["batch"]))
        for reason, batches in by_reason.items():
            where = "" if len(batches) == len(row["cells"]) else f" at batch {', '.join(batches)}"
            lines.append(f"{row['name']}{where}: {reason}")
    return lines
