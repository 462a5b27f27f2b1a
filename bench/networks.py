"""Times whole networks by linnet and by other runtimes, each in a process of its own.

    python bench/networks.py --json bench/results/NAME-networks.json --svg docs/img/networks.svg
    python bench/networks.py --networks ResNet-50 --runtimes linnet onnxruntime --threads 2
    python bench/networks.py --runtimes linnet-int8 onnxruntime-int8 openvino-int8 litert-int8

The networks are those of models.py. Of each, all runtimes are loaded and their outputs checked
against float64; then they take turns, in blocks and in a new order each round, with a pause before
each block, whose first call does not count unless it is long. The table has medians in
milliseconds, and how many times the first runtime's the best other one takes; the picture has that
of each. In int8, every layer is that can be, in one file for all that read ONNX. --setup installs
the others.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from models import NETWORKS, make

from linnet.compare.bench import Bench, Protocol, Row
from linnet.compare.chart import COLOURS, Marker, Picture, Stroke, Text
from linnet.compare.environments import missing, set_up
from linnet.compare.machine import describe
from linnet.compare.network import Expected, expect, export, export_int8
from linnet.compare.processes import scratch_folder
from linnet.compare.run import all_rows
from linnet.graph import Graph
from linnet.text import count, table

WELL_KNOWN = ["VGG-16", "GoogLeNet", "ResNet-18", "SqueezeNet", "ResNet-50", "AlexNet"]
WELL_KNOWN += ["MobileNet-v2", "MobileNet-v1"]
OTHERS = ["MobileNet-v3", "ShuffleNet-v2", "EfficientNet-lite0", "YOLO-Fastest-v2"]
OTHERS += ["DenseNet-121", "ResNeXt-50", "RegNet-X-400MF", "Inception-v3"]
RUNTIMES = ["linnet", "onnxruntime", "openvino", "litert", "ncnn", "mnn"]
PAUSE = 0.5  # seconds before a block
CALIBRATED = 16  # images, of which half are looked at
MOST_RATIO = 5  # the picture's end


def measured(graph: Graph, args: argparse.Namespace) -> dict[str, Any]:
    """Of each runtime the milliseconds of its calls, or why there are none."""
    every = all_rows()
    rows = [Row(name, every[name].runtime, every[name].settings) for name in args.runtimes]
    random, shape = np.random.default_rng(1), graph.inputs[0].shape[1:]
    images = random.random((args.batch, *shape), np.float32)
    protocol = Protocol(
        [args.batch], args.threads, args.seconds, args.calls, interval=args.interval, pause=PAUSE
    )
    with scratch_folder() as folder:
        export(graph, folder)
        int8: Expected | str = "not asked for"
        if any(row.int8 for row in rows):
            int8 = export_int8(
                graph, random.random((CALIBRATED, *shape), np.float32), folder, images
            )
        bench = Bench(protocol, expect(graph, images), folder, lambda done, text: None, int8=int8)
        bench.measure(rows)
    found: dict[str, Any] = {"problems": bench.watch.problems(), "runtimes": {}}
    for row in rows:
        cell = row.cells[0]
        times = [round(t * 1e3, 4) for t in cell.times]
        found["runtimes"][row.name] = {
            "median": float(np.median(times)) if times else None,
            "times": times,
            "status": cell.status,
            "reason": cell.reason,
            "version": cell.facts.get("version"),
        }
    return found


def best_peer(runtimes: dict[str, Any]) -> tuple[str, float] | None:
    """The fastest of all but the first, and its time over the first one's."""
    own, *others = (r["median"] for r in runtimes.values())
    times = {name: time for name, time in zip([*runtimes][1:], others) if time}
    if not own or not times:
        return None
    name = min(times, key=times.__getitem__)
    return name, times[name] / own


def mean(names: list[str], networks: dict[str, Any]) -> str:
    """The geometric mean of the ratios of some networks, and the least."""
    ratios = [
        found[1] for n in names if n in networks and (found := best_peer(networks[n]["runtimes"]))
    ]
    if not ratios:
        return "-"
    return f"{math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}, least {min(ratios):.2f}"


def report(data: dict[str, Any]) -> str:
    """The results as a table."""
    networks = data["networks"]
    header = ["network", *data["settings"]["runtimes"], "best other"]
    header += [f"over {data['settings']['runtimes'][0]}"]
    rows = []
    for name, found in networks.items():
        cells = [found["runtimes"].get(r, {}) for r in data["settings"]["runtimes"]]
        best = best_peer(found["runtimes"])
        texts = [f"{c['median']:.2f}" if c.get("median") else c.get("status", "-") for c in cells]
        rows.append([name, *texts, best[0] if best else "-", f"{best[1]:.2f}" if best else "-"])
    lines = table(header, rows, right=range(1, len(header)))
    lines += ["", f"geometric mean of the well-known: {mean(WELL_KNOWN, networks)}"]
    lines += [f"geometric mean of the others: {mean(OTHERS, networks)}"]
    reasons = {
        f"{name}, {r}: {cell['reason']}"
        for name, found in networks.items()
        for r, cell in found["runtimes"].items()
        if cell["reason"]
    }
    problems = {p for found in networks.values() for p in found["problems"]}
    return "\n".join([*lines, "", *sorted(reasons), *(f"NOT VALID: {p}" for p in sorted(problems))])


def chart(data: dict[str, Any]) -> Picture:
    """Times over the first runtime's: a line for each network, a mark for each other runtime."""
    own, *names = data["settings"]["runtimes"]
    networks = {
        name: found["runtimes"]
        for name, found in data["networks"].items()
        if best_peer(found["runtimes"])
    }
    threads = count(data["settings"]["threads"], "thread")
    arithmetic = "int8" if all_rows()[own].int8 else "float32"
    title = f"Time over {own}'s: {arithmetic}, {threads}, batch {data['settings']['batch']}"
    left, right, top, step = 150.0, 800.0, 66.0, 24

    def ratio(runtimes: dict[str, Any], name: str) -> float:
        median = runtimes.get(name, {}).get("median")
        return median / runtimes[own]["median"] if median else 0.0

    ratios = [ratio(found, name) for found in networks.values() for name in names]
    most = min(math.ceil(max([1.0, *ratios])), MOST_RATIO)
    bottom = top + step * len(networks)

    def place(value: float) -> float:
        return left + (right - left) * min(value, most) / most

    def shapes() -> Iterator[Any]:
        yield Text((16, 26), title, "ink", size=15)
        for index, (name, colour) in enumerate(zip(names, COLOURS[1:])):
            x = left + 125 * index
            yield Marker((x, 46), colour, 4.5, (), name)
            yield Text((x + 10, 50), name, "muted")
        for x in range(most + 1):
            yield Stroke([(place(x), top), (place(x), bottom)], "ink" if x == 1 else "grid", 1)
            label = own if x == 1 else f"{x}x"
            yield Text((place(x), bottom + 18), label, "muted", "middle")
        for index, (network, found) in enumerate(networks.items()):
            y = top + step * (index + 0.5)
            yield Text((left - 10, y + 4), network, "ink", "end")
            for name, colour in zip(names, COLOURS[1:]):
                if times := ratio(found, name):
                    told = f"{network}, {name}: {times:.2f} times {own}'s time"
                    yield Marker((place(times), y), colour, 4.5, (), told)
                    if times > most:
                        yield Text((right + 8, y + 4), f"{times:.1f}x", "muted", size=11)

    return Picture(title, 860, round(bottom) + 34, list(shapes()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--networks", nargs="+", choices=list(NETWORKS), default=WELL_KNOWN + OTHERS, metavar="NAME"
    )
    add("--runtimes", nargs="+", choices=list(all_rows()), default=RUNTIMES, metavar="NAME")
    add("--threads", type=int, default=1)
    add("--batch", type=int, default=1)
    add("--seconds", type=float, default=3.0, help="of calls of each (default: 3)")
    add("--calls", type=int, default=100, help="of each at most (default: 100)")
    add("--interval", type=float, default=0.0, help="seconds before each call (default: 0)")
    add("--setup", action="store_true", help="install runtimes that are missing")
    add("--json", type=Path, help="also write the results to this file, which --go-on reads")
    add("--svg", type=Path, help="also draw the results to this file")
    add("--go-on", action="store_true", help="measure only networks that the file lacks")
    args = parser.parse_args()
    runtimes = [all_rows()[name].runtime for name in args.runtimes]
    if args.setup:
        set_up(runtimes, lambda text: print(text, file=sys.stderr))
    for runtime in runtimes:
        if reason := missing(runtime):
            print(f"{runtime.name}: {reason}", file=sys.stderr)
    settings = {"threads": args.threads, "batch": args.batch, "interval": args.interval}
    data: dict[str, Any] = {
        "machine": describe(),
        "settings": {**settings, "runtimes": args.runtimes},
        "networks": {},
    }
    if args.go_on and args.json and args.json.exists():
        known = json.loads(args.json.read_text())
        if known["settings"] != data["settings"]:
            parser.error(f"--go-on: {args.json} has other settings, {known['settings']}")
        data["networks"] = known["networks"]
    for name in args.networks:
        if name in data["networks"]:
            continue
        print(name, file=sys.stderr, flush=True)
        data["networks"][name] = measured(make(name), args)
        if args.json:
            args.json.write_text(json.dumps(data, indent=1) + "\n")
    print(report(data))
    if args.svg:
        args.svg.write_text(chart(data).svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
