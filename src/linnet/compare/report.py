"""What the comparison prints and writes: tables as text, and the whole run as JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from .bench import Cell, Protocol, Row
from .machine import Watch, describe

SUBJECT = "linnet"  # the row others are compared with


def as_data(rows: Sequence[Row], model: str, protocol: Protocol, watch: Watch) -> dict[str, Any]:
    """The run as plain data. Times are milliseconds per image, memory is in bytes."""
    return {
        "format": 1,
        "model": model,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": describe(),
        "conditions": watch.facts(),
        "protocol": {
            "threads": protocol.threads,
            "seconds": _finite(protocol.seconds),
            "passes": protocol.passes,
        },
        "rows": [
            {"name": row.name, "runtime": row.runtime.name, "cells": [_cell(c) for c in row.cells]}
            for row in rows
        ],
    }


def _finite(value: float | None) -> float | None:
    """JSON has no infinity and no NaN."""
    return value if value is not None and math.isfinite(value) else None


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
        data.update(
            mean=cell.mean, median=cell.median, quartiles=[low, high], calls=len(cell.times)
        )
        data["min"] = min(cell.per_image)
        data["times"] = [round(t, 9) for t in cell.times]
    return data


def as_text(rows: Sequence[Row], model: str, protocol: Protocol, watch: Watch) -> str:
    """The tables: median with spread and ratio, the study's mean, then what ran and how right."""
    host = describe()
    threads = f"{protocol.threads} thread{'s' * (protocol.threads > 1)}"
    head = f"{model}, {threads}, {host['cpu']}, f32. ms per image, lower is better.\n"
    batches = [str(cell.batch) for cell in rows[0].cells]
    parts = [
        head,
        "Median, spread (quartiles) and ratio to linnet; * is the best of its column",
        table(["runtime", *(f"batch {b}" for b in batches)], _medians(rows)),
        "Mean",
        table(["runtime", *(f"batch {b}" for b in batches)], _means(rows)),
        "What ran",
        table(
            [
                "runtime",
                "version",
                "library",
                "threads",
                "CPUs",
                "logit error",
                "allowed",
                "import",
                "load",
                "first",
                "peak",
            ],
            [_facts(row) for row in rows],
        ),
    ]
    reasons = _reasons(rows)
    if reasons:
        parts += ["Not measured", "\n".join(f"  {reason}" for reason in reasons) + "\n"]
    problems = watch.problems()
    parts.append(f"INVALID: {'; '.join(problems)}" if problems else "VALID: the machine was quiet")
    return "\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest entry, the first one to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [head, ["-" * w for w in widths], *rows]
    return "".join(
        "  "
        + "  ".join(
            c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))
        ).rstrip()
        + "\n"
        for row in lines
    )


def _best(rows: Sequence[Row], figure: str) -> list[float]:
    """The smallest figure of every column, infinity where nothing was measured."""
    return [
        min((getattr(c, figure) for c in column if c.times), default=float("inf"))
        for column in zip(*(row.cells for row in rows))
    ]


def _medians(rows: Sequence[Row]) -> list[list[str]]:
    best = _best(rows, "median")
    subject: Sequence[Cell] = next((row.cells for row in rows if row.name == SUBJECT), [])
    lines = []
    for row in rows:
        line = [row.name]
        for i, cell in enumerate(row.cells):
            if not cell.times:
                line.append(_mark(cell))
                continue
            low, high = cell.quartiles
            spread = f"±{50 * (high - low) / cell.median:.0f}%"
            ratio = (
                f" {cell.median / subject[i].median:.2f}x" if subject and subject[i].times else ""
            )
            line.append(f"{'*' * (cell.median == best[i])}{cell.median:.3f} {spread:>4}{ratio:>7}")
        lines.append(line)
    return lines


def _means(rows: Sequence[Row]) -> list[list[str]]:
    best = _best(rows, "mean")
    return [
        [row.name]
        + [
            f"{'*' * (cell.mean == best[i])}{cell.mean:.3f}" if cell.times else _mark(cell)
            for i, cell in enumerate(row.cells)
        ]
        for row in rows
    ]


def _mark(cell: Cell) -> str:
    return {"failed": "FAILED", "memory": "-", "error": "n/a"}.get(cell.status, "-")


def _facts(row: Row) -> list[str]:
    known = [cell for cell in row.cells if cell.facts.get("version")]
    if not known:
        return [row.name, *"-" * 10]
    facts = known[0].facts
    libraries = [lib for cell in known for lib in cell.facts.get("libraries", [])]
    cores = {lib["corename"] for lib in libraries if "corename" in lib}
    errors = [(cell.difference, cell.limit) for cell in known if cell.difference is not None]
    threads = [cell.threads for cell in known if cell.threads is not None]
    loads = [cell.cpus for cell in known if cell.cpus is not None]
    peaks = [cell.peak for cell in known if cell.peak is not None]
    worst = max(errors, default=(None, None), key=lambda pair: pair[0] or 0)
    return [
        row.name,
        facts["version"],
        facts["library"]
        + (f", {' '.join(cores)}" if cores and facts["library"] == "OpenBLAS" else ""),
        str(max(threads)) if threads else "-",
        f"{max(loads):.2f}" if loads else "-",
        "-" if worst[0] is None else f"{worst[0]:.1e}",
        "-" if worst[1] is None else f"{worst[1]:.1e}",
        _seconds(facts.get("import_s")),
        _seconds(facts.get("load_s")),
        _seconds(facts.get("first_call_s")),
        f"{max(peaks) / 1e6:.0f} MB" if peaks else "-",
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.1f} ms"


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Every reason once, with the batches it stands for."""
    lines = []
    for row in rows:
        by_reason: dict[str, list[str]] = {}
        for cell in row.cells:
            if cell.reason:
                by_reason.setdefault(cell.reason, []).append(str(cell.batch))
        for reason, batches in by_reason.items():
            where = "" if len(batches) == len(row.cells) else f" at batch {', '.join(batches)}"
            lines.append(f"{row.name}{where}: {reason}")
    return lines
