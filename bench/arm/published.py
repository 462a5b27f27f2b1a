"""Well-known networks on a Raspberry Pi 3B+ as estimated, beside what other runtimes publish.

    python bench/arm/published.py --list           their names, of bench/models.py
    python bench/arm/published.py FOLDER           from what estimate.py --json wrote there as
                                                   armhf-NAME.json and aarch64-NAME.json:
                                                   bench/results/pi3-estimates.csv, the chart and
                                                   the table of docs/raspberry-pi.md

`make estimates` does all of it. Others' figures are of boards, ours are estimates: estimate.py says
how they come about and how far off they may be.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import estimate

from linnet.compare.chart import COLOURS, REFERENCE, Picture, Stroke, Text

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results" / "pi3-estimates.csv"
CHART = ROOT / "docs" / "img" / "pi3.svg"
PAGE = ROOT / "docs" / "raspberry-pi.md"
BEGIN, END = "<!-- written by bench/arm/published.py -->\n", "<!-- end -->\n"
BOARD = estimate.board_of("Pi 3B+")
ARCHITECTURES = {"armhf": "32-bit", "aarch64": "64-bit"}


class Published(NamedTuple):
    """Milliseconds on a Raspberry Pi 3B+, four threads, float32, as its project publishes them."""

    ncnn: float | None = None  # github.com/Tencent/ncnn, benchmark/README.md
    xnnpack: float | None = None  # github.com/google/XNNPACK, README.md; 32-bit


NETWORKS = {
    "MobileNet-v1": Published(108, 114),
    "MobileNet-v2": Published(111, 79),
    "SqueezeNet": Published(85),
    "ResNet-18": Published(271),
    "ResNet-50": Published(584),
    "GoogLeNet": Published(224),
    "AlexNet": Published(158),
    "YOLO-Fastest-v2": Published(62),
    "NanoDet": Published(115),
}


class Row(NamedTuple):
    """A network, its published figures, and our times by architecture."""

    name: str
    published: Published
    times: dict[str, estimate.Time]


def rows_of(folder: Path) -> list[Row]:
    rows = []
    for name, published in NETWORKS.items():
        times = {}
        for architecture in ARCHITECTURES:
            path = folder / f"{architecture}-{name}.json"
            if path.exists():
                layers = [estimate.Layer(**layer) for layer in json.loads(path.read_text("utf-8"))]
                times[architecture] = estimate.time_of(layers, 1, 4, BOARD)
        rows.append(Row(name, published, times))
    return rows


def write_results(rows: list[Row]) -> None:
    """All figures, in milliseconds."""
    with RESULTS.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(
            ["network", "runtime", "ms", "arithmetic", "memory", "fully connected", "most", "bound"]
        )
        for row in rows:
            for architecture, time in row.times.items():
                parts = [f"{ms:.2f}" for ms in (time.sum, *time)]
                name = f"linnet {ARCHITECTURES[architecture]}, estimated"
                out.writerow([row.name, name, *parts, time.bound])
            for runtime, ms in row.published._asdict().items():
                if ms:
                    out.writerow([row.name, f"{runtime}, published", f"{ms:g}", *[""] * 5])


def table(rows: list[Row]) -> str:
    lines = [
        "| ms | linnet, 32-bit | linnet, 64-bit | bound by | ncnn | XNNPACK |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours = [
            f"{time.sum:.0f} to {time.most:.0f}" if (time := row.times.get(architecture)) else "-"
            for architecture in ARCHITECTURES
        ]
        bounds = dict.fromkeys(time.bound for time in row.times.values())
        theirs = [f"{ms:g}" if ms else "-" for ms in row.published]
        lines.append(
            f"| {row.name} | {' | '.join(ours)} | {', '.join(bounds)} | {' | '.join(theirs)} |"
        )
    return "\n".join(lines) + "\n"


def bars(rows: list[Row]) -> Iterator[Any]:
    """The chart's shapes: a bar for each figure, of estimates the least, a line up to the most."""
    most = max(
        [time.most for row in rows for time in row.times.values()]
        + [ms for row in rows for ms in row.published if ms]
    )
    left, right, thick = 150.0, 800.0, 11

    def place(ms: float) -> float:
        return left + (right - left) * ms / most

    yield Text((16, 26), TITLE, "ink", size=15)
    for index, (name, colour) in enumerate(zip(LEGEND, LEGEND_COLOURS)):
        x = 16.0 + 160 * index
        yield Stroke([(x, 46), (x + 14, 46)], colour, thick)
        yield Text((x + 20, 50), name, "muted")
    y = 74.0
    for row in rows:
        yield Text((left - 10, y + 22), row.name, "ink", anchor="end")
        ours = [row.times.get(architecture) for architecture in ARCHITECTURES]
        figures = [*((time and time.sum) for time in ours), *row.published]
        for index, (ms, colour) in enumerate(zip(figures, LEGEND_COLOURS)):
            if ms is None:
                continue
            yield Stroke([(left, y + 6), (place(ms), y + 6)], colour, thick)
            end, text = place(ms), f"{ms:.0f}"
            if time := (ours + [None] * 2)[index]:
                end, text = place(time.most), f"{ms:.0f} to {time.most:.0f}"
                yield Stroke([(place(ms), y + 6), (end, y + 6)], colour, 2)
            yield Text((end + 6, y + 10), text, "muted", size=11)
            y += thick + 2
        y += 14


TITLE = "Raspberry Pi 3B+, four threads, float32: ms per image"
LEGEND = ["linnet 32-bit, est.", "linnet 64-bit, est.", "ncnn", "XNNPACK 32-bit"]
LEGEND_COLOURS = [COLOURS[0], COLOURS[2], COLOURS[1], REFERENCE]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--list", action="store_true", help="the networks' names")
    args = parser.parse_args()
    if args.list or not args.folder:
        print("\n".join(NETWORKS))
        return 0
    rows = rows_of(args.folder)
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}{table(rows)}{END}{after}", encoding="utf-8")
    write_results(rows)
    shapes = list(bars(rows))
    height = round(max(shape.at[1] for shape in shapes if isinstance(shape, Text))) + 24
    CHART.write_text(Picture(TITLE, 860, height, shapes).svg(), encoding="utf-8")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
