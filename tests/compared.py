"""Results of a comparison, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from linnet.compare import report
from linnet.compare.bench import Cell, Protocol, Row
from linnet.compare.machine import Watch


def as_data(rows: list[Row]) -> dict[str, Any]:
    protocol = Protocol([cell.batch for cell in rows[0].cells], 1, 1.0, 20)
    return report.as_data(rows, "net", protocol, Watch())


def cells(*times: float) -> list[Cell]:
    return [Cell(1, times=[t, t, t]) for t in times]
