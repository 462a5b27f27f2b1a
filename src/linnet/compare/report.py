"""What the comparison prints and writes, all made from the run as plain data (`as_data`)."""

from __future__ import annotations

import csv
import html
import io
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .bench import Cell, Protocol, Row
from .chart import line_chart
from .machine import Watch, describe

Data = Mapping[str, Any]
FORMAT = 1
SUBJECT = "linnet"  # the row the others are compared with
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
)
FACTS = ("cpu_load", "logit_difference", "peak_memory", "import_s", "load_s", "first_call_s")


def as_data(rows: Sequence[Row], model: str, protocol: Protocol, watch: Watch) -> dict[str, Any]:
    """The run as JSON can hold it: times per image in milliseconds, memory in bytes."""
    return {
        "format": FORMAT,
        "model": model,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": describe(),
        "conditions": watch.facts(),
        "protocol": {
            "batches": list(protocol.batches),
            "threads": protocol.threads,
            "seconds": _finite(protocol.seconds),
            "passes": protocol.passes,
            "memory_cap": protocol.memory_cap,
        },
        "rows": [
            {
                "name": row.name,
                "runtime": row.runtime.name,
                "cells": [_cell(cell) for cell in row.cells],
            }
            for row in rows
        ],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    data: dict[str, Any] = {
        "batch": cell.batch,
        "status": cell.status,
        "reason": cell.reason,
        "logit_difference": _finite(cell.difference),
        "logit_limit": cell.limit,
        "peak_memory": cell.peak,
        "threads_used": cell.threads,
        "cpu_load": cell.cpus,
        **cell.facts,
    }
    if cell.times:
        low, high = cell.quartiles
        data.update(mean=cell.mean, median=cell.median, low=low, high=high)
        data.update(min=min(cell.per_image), calls=len(cell.times))
        data["times"] = [round(t, 9) for t in cell.times]
    return data


def _finite(value: float | None) -> float | None:
    """JSON has no infinity and no NaN."""
    return value if value is not None and math.isfinite(value) else None


def as_text(data: Data) -> str:
    """The tables: median with spread and ratio, the study's mean, then what ran and how right."""
    parts = [f"{_title(data)}. ms per image, lower is better.\n"]
    for title, head, lines in _tables(data):
        parts += [title, table(head, lines)]
    reasons = _reasons(data)
    if reasons:
        parts += ["Not measured", "".join(f"  {reason}\n" for reason in reasons)]
    return "\n".join([*parts, _verdict(data)])


def as_csv(data: Data) -> str:
    """One line per cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "cpu", "threads", "row", "version", "library", *FIELDS, *FACTS])
    run = [data["model"], data["machine"]["cpu"], data["protocol"]["threads"]]
    for row in data["rows"]:
        for cell in row["cells"]:
            what = [row["name"], cell.get("version"), cell.get("library")]
            writer.writerow([*run, *what, *(cell.get(name) for name in (*FIELDS, *FACTS))])
    return out.getvalue()


def as_svg(data: Data) -> str:
    """The study's chart: ms per image over the batch size, both logarithmic."""
    lines = {
        row["name"]: [(c["batch"], c["median"]) for c in row["cells"] if c.get("median")]
        for row in data["rows"]
    }
    return line_chart(_title(data), "batch size", "ms per image (median)", lines)


def as_html(data: Data) -> str:
    """One page that needs no other file: verdict, chart, tables, environment."""
    body = [f"<h1>{html.escape(_title(data))}</h1>"]
    body.append(
        f"<p>{html.escape(_verdict(data))}. ms per image, lower is better. {data['date']}</p>"
    )
    body.append(as_svg(data))
    for title, head, lines in _tables(data):
        body.append(f"<h2>{html.escape(title)}</h2>{_html_table(head, lines)}")
    if _reasons(data):
        items = "".join(f"<li>{html.escape(reason)}</li>" for reason in _reasons(data))
        body.append(f"<h2>Not measured</h2><ul>{items}</ul>")
    facts = {**data["machine"], **data["protocol"], **data["conditions"]}
    lines = [[name, str(value)] for name, value in facts.items()]
    body.append(f"<h2>Environment</h2>{_html_table(['', ''], lines)}")
    libraries = {
        (row["name"], library["path"], library["sha256"], library.get("config", ""))
        for row in data["rows"]
        for cell in row["cells"]
        for library in cell.get("libraries", [])
    }
    head = ["runtime", "library", "sha256", "build"]
    body.append(f"<h2>Libraries</h2>{_html_table(head, [list(e) for e in sorted(libraries)])}")
    return PAGE.format(title=html.escape(_title(data)), body="\n".join(body))


PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
td, th {{ padding: .15em .8em; text-align: right; border-bottom: 1px solid #ddd }}
td:first-child, th:first-child {{ text-align: left }}
td {{ overflow-wrap: anywhere }} svg {{ width: 100%; height: auto }}
h1 {{ font-size: 1.3em }} h2 {{ font-size: 1.05em; margin-top: 2em }}
</style></head><body>
{body}
</body></html>
"""


def regressions(data: Data, baseline: Data, percent: float) -> list[str]:
    """Cells of linnet's own rows whose median is more than `percent` above the baseline's."""
    before = {
        (row["name"], cell["batch"]): cell["median"]
        for row in baseline["rows"]
        for cell in row["cells"]
        if cell.get("median")
    }
    found = []
    for row in data["rows"]:
        for cell in row["cells"]:
            old = before.get((row["name"], cell["batch"]))
            if old is None or row["runtime"] != SUBJECT:
                continue
            if not cell.get("median"):
                found.append(f"{row['name']} at batch {cell['batch']}: {cell['reason']}")
            elif cell["median"] > old * (1 + percent / 100):
                change = 100 * (cell["median"] / old - 1)
                found.append(
                    f"{row['name']} at batch {cell['batch']}: {old:.3f} -> {cell['median']:.3f} ms "
                    f"per image (+{change:.0f}%)"
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


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"


def _title(data: Data) -> str:
    threads = data["protocol"]["threads"]
    return f"{data['model']}, {threads} thread{'s' * (threads > 1)}, {data['machine']['cpu']}, f32"


def _verdict(data: Data) -> str:
    problems = data["conditions"]["problems"]
    return f"INVALID: {'; '.join(problems)}" if problems else "VALID: the machine was quiet"


def _tables(data: Data) -> list[tuple[str, list[str], list[list[str]]]]:
    rows = data["rows"]
    batches = ["runtime", *(f"batch {batch}" for batch in data["protocol"]["batches"])]
    facts = ["runtime", "version", "library", "threads", "CPUs", "logit error", "allowed"]
    facts += ["import", "load", "first", "peak"]
    medians = "Median, spread (half the quartiles' distance), ratio to linnet; * is a column's best"
    return [
        (medians, batches, _medians(rows)),
        ("Mean", batches, _means(rows)),
        ("What ran", facts, [_facts(row) for row in rows]),
    ]


def _best(rows: Sequence[Data], figure: str) -> list[float]:
    """The smallest figure of every column, infinity where nothing was measured."""
    columns = zip(*(row["cells"] for row in rows))
    return [min(cell.get(figure, math.inf) for cell in column) for column in columns]


def _medians(rows: Sequence[Data]) -> list[list[str]]:
    best = _best(rows, "median")
    subject: Sequence[Data] = next((row["cells"] for row in rows if row["name"] == SUBJECT), [])
    lines = []
    for row in rows:
        line = [row["name"]]
        for i, cell in enumerate(row["cells"]):
            if "median" not in cell:
                line.append(MARKS[cell["status"]])
                continue
            median = cell["median"]
            star = "*" if median == best[i] else ""
            spread = f"±{50 * (cell['high'] - cell['low']) / median:.0f}%"
            own = subject[i].get("median") if subject else None
            line.append(
                f"{star}{median:.3f} {spread:>4}" + (f" {median / own:5.2f}x" if own else "")
            )
        lines.append(line)
    return lines


def _means(rows: Sequence[Data]) -> list[list[str]]:
    best = _best(rows, "mean")
    lines = []
    for row in rows:
        means = [(cell.get("mean"), cell["status"]) for cell in row["cells"]]
        line = [
            MARKS[status] if mean is None else f"{'*' * (mean == best[i])}{mean:.3f}"
            for i, (mean, status) in enumerate(means)
        ]
        lines.append([row["name"], *line])
    return lines


def _facts(row: Data) -> list[str]:
    known = [cell for cell in row["cells"] if cell.get("version")]
    if not known:
        return [row["name"], *"-" * 10]

    def most(name: str) -> float | None:
        return max((cell[name] for cell in known if cell.get(name) is not None), default=None)

    facts, threads, load, peak = (
        known[0],
        most("threads_used"),
        most("cpu_load"),
        most("peak_memory"),
    )
    cores = {lib["corename"] for c in known for lib in c.get("libraries", []) if "corename" in lib}
    core = f", {' '.join(cores)}" if cores and facts["library"] == "OpenBLAS" else ""
    error, limit = most("logit_difference"), most("logit_limit")
    return [
        row["name"],
        facts["version"],
        facts["library"] + core,
        "-" if threads is None else f"{threads:.0f}",
        "-" if load is None else f"{load:.2f}",
        "-" if error is None else f"{error:.1e}",
        "-" if limit is None else f"{limit:.1e}",
        _seconds(facts.get("import_s")),
        _seconds(facts.get("load_s")),
        _seconds(facts.get("first_call_s")),
        "-" if peak is None else f"{peak / 1e6:.0f} MB",
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.1f} ms"


def _reasons(data: Data) -> list[str]:
    """Every reason once, with the batches it stands for."""
    lines = []
    for row in data["rows"]:
        by_reason: dict[str, list[str]] = {}
        for cell in row["cells"]:
            if cell["reason"]:
                by_reason.setdefault(cell["reason"], []).append(str(cell["batch"]))
        for reason, batches in by_reason.items():
            where = "" if len(batches) == len(row["cells"]) else f" at batch {', '.join(batches)}"
            lines.append(f"{row['name']}{where}: {reason}")
    return lines
