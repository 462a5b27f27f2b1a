"""A matrix as a heat map: rows are frameworks on back-ends, columns models and batch sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from ..text import count
from .chart import LETTER, Marker, Picture, Text, stacked
from .matrix import Entry, entries
from .report import MARKS, Data, ms

CELL, LINE = (52, 22), 14  # pixels: of a cell, of a line of text
TOP, GAP, LEAST_WIDTH = 100, 8, 500
SIZE = 10
# From the fastest of a column to thirty times that, and what is slower.
COLOURS = ("#1a7f4b", "#5fae5b", "#b5cf5f", "#f2d35c", "#ee9f4b", "#d9613c", "#a62a2a")
SLOWEST = 30.0
NONE, WRONG, DARK, LIGHT = "#d5d8dc", "#111418", "#14181c", "#ffffff"
SQUARE = ((-1, -1), (1, -1), (1, 1), (-1, 1))


def heat_map(runs: Sequence[Data]) -> Picture:
    """A panel for every number of threads, one below the other."""
    every = list(entries(runs))
    cpu = runs[0]["machine"]["cpu"]
    threads = dict.fromkeys(entry.threads for entry in every)
    return stacked([_panel(cpu, [e for e in every if e.threads == t], t) for t in threads])


def colour(ratio: float) -> str:
    """For how many times the fastest: between COLOURS, by its logarithm."""
    place = min(1.0, math.log(ratio) / math.log(SLOWEST)) * (len(COLOURS) - 1)
    low = min(int(place), len(COLOURS) - 2)
    ends = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in COLOURS[low : low + 2]]
    mixed = [round(a + (b - a) * (place - low)) for a, b in zip(*ends)]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def _panel(cpu: str, every: Sequence[Entry], threads: int) -> Picture:
    """Rows without any time are left out; those of a framework are together."""
    shown = {entry.row for entry in every if entry.ratio or entry.cell["status"] == "failed"}
    names = [n for n in dict.fromkeys(e.row for e in every) if n in shown]
    columns = list(dict.fromkeys((e.model, e.batch) for e in every))
    frameworks = {entry.row: entry.framework for entry in every}
    left = round(24 + LETTER * max(map(len, names), default=0))
    title = f"{cpu}, {count(threads, 'thread')}: median ms per image"
    shapes: list[Any] = [Text((16, 24), title, "ink", size=15)]
    shapes.append(Text((16, 42), "Coloured by how many times the column's fastest", "muted"))
    x = [left + (i + 0.5) * CELL[0] for i in range(len(columns))]
    for model in dict.fromkeys(model for model, _ in columns):
        places = [at for at, column in zip(x, columns) if column[0] == model]
        middle = (places[0] + places[-1]) / 2
        shapes += [
            Text((middle, TOP - 30 - 12 * i), part, "ink", "middle", 11)
            for i, part in enumerate(reversed(_halves(model, len(places))))
        ]
    shapes += [
        Text((at, TOP - 12), f"batch {batch}", "muted", "middle", SIZE)
        for at, (_, batch) in zip(x, columns)
    ]
    cells, y, before = {(e.row, e.model, e.batch): e for e in every}, float(TOP), None
    for name in names:
        if before not in (None, frameworks[name]):
            y += GAP
        before = frameworks[name]
        shapes.append(Text((left - 10, y + LINE), name, "ink", "end", 12))
        for at, column in zip(x, columns):
            shapes += _cell(cells[(name, *column)], (at, y + CELL[1] / 2))
        y += CELL[1]
    shapes += _legend(16, y + 22)
    width = max(left + CELL[0] * len(columns) + 24, LEAST_WIDTH)
    return Picture(title, width, round(y + 44), shapes)


def _halves(name: str, cells: int) -> list[str]:
    """A model's name in one line or two, as wide as its cells."""
    if len(name) * 6 <= cells * CELL[0] or "-" not in name:
        return [name]
    head, _, tail = name.rpartition("-")
    return [head, tail]


def _cell(entry: Entry, at: tuple[float, float]) -> Iterator[Any]:
    failed = entry.cell["status"] == "failed"
    paper = colour(entry.ratio) if entry.ratio else WRONG if failed else NONE
    text = ms(entry.cell["median"]) if entry.ratio else MARKS.get(entry.cell["status"], "n/a")
    where = f"{entry.row}, {entry.model}, batch {entry.batch}"
    note = f"{where}: {entry.cell['reason'] or f'{entry.ratio or 0:.2f} times the fastest'}"
    width, height = CELL
    flat = tuple((dx * (width - 2) / (height - 2), dy) for dx, dy in SQUARE)
    yield Marker(at, paper, (height - 2) / 2, flat, note)
    ink = DARK if _luminance(paper) > 0.45 else LIGHT
    yield Text((at[0], at[1] + 4), text, ink, "middle", SIZE)


def _luminance(colour_: str) -> float:
    red, green, blue = (int(colour_[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.3 * red + 0.59 * green + 0.11 * blue


def _legend(left: float, y: float) -> Iterator[Any]:
    for i, ratio in enumerate((1.0, 1.5, 2.0, 3.0, 5.0, 10.0, SLOWEST)):
        yield Marker((left + 8 + 64 * i, y), colour(ratio), 6, SQUARE, "")
        yield Text((left + 20 + 64 * i, y + 4), f"{ratio:g}x", "muted", size=SIZE)
