"""linnet profile"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..report import Layer
from ..text import finite, number, table
from .inputs import check_writable, feed, load
from .options import add_inputs, add_model, add_session, count
from .result import Result
from .times import Times


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_session(parser)
    add_inputs(parser)
    parser.add_argument("--iterations", type=count, default=50, metavar="N", help="default: 50")
    parser.add_argument(
        "--export-profile", metavar="FILE", help="write the profile; ends in .json or .csv"
    )


def run(args: argparse.Namespace) -> Result:
    target = Path(args.export_profile) if args.export_profile is not None else None
    if target is not None and target.suffix not in (".json", ".csv"):
        raise ValueError(f"--export-profile {target}: expected a name ending in .json or .csv")
    check_writable(target)
    net = load(args)
    report = net.profile(*feed(args, net), runs=args.iterations)
    data = report.to_dict()
    if target is not None and target.suffix == ".json":
        target.write_text(json.dumps(finite(data), indent=1) + "\n")
    elif target is not None:
        with target.open("w", newline="") as file:
            names = [
                "name",
                "op",
                "problem",
                "algorithm",
                "isa",
                "seconds",
                "macs",
                "gflops",
                "percent_of_peak",
            ]
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(data["layers"])

    layers = report.layers
    total = sum(layer.seconds or 0 for layer in layers) or 1.0
    by_time = sorted(layers, key=lambda layer: -(layer.seconds or 0))
    lines = [report.title, ""]
    for title, ordered in (("Run Order", layers), ("Top by Computation Time", by_time[:10])):
        lines += [_banner(title), *_operators(ordered, total), ""]
    lines += [
        f"Number of nodes executed: {len(layers)}",
        _banner("Summary by node type"),
        *_types(layers, total),
        "",
    ]
    runs = np.sum([layer.times for layer in layers], axis=0)
    lines.append(f"Timings (microseconds): {Times(runs).tflite()}")
    return Result(data, lines)


def _banner(title: str) -> str:
    return f"{'=' * 30} {title} {'=' * 30}"


def _operators(layers: Sequence[Layer], total: float) -> list[str]:
    header = (
        "node type",
        "first",
        "avg ms",
        "%",
        "cdf%",
        "algorithm",
        "isa",
        "GFLOP/s",
        "% of peak",
        "Name",
    )
    rows, sum_ = [], 0.0
    for layer in layers:
        seconds = layer.seconds or 0
        sum_ += seconds
        rows.append(
            (
                layer.op,
                f"{layer.times[0] * 1e3:.3f}",
                f"{seconds * 1e3:.3f}",
                f"{100 * seconds / total:.3f}%",
                f"{100 * sum_ / total:.3f}%",
                layer.algorithm,
                layer.isa,
                number(layer.gflops, 1),
                number(layer.percent_of_peak, 0),
                f"[{layer.name}]",
            )
        )
    return table([f"[{name}]" for name in header], rows, right=(1, 2, 3, 4, 7, 8))


def _types(layers: Sequence[Layer], total: float) -> list[str]:
    seconds: dict[str, list[float]] = {}
    for layer in layers:
        seconds.setdefault(layer.op, []).append(layer.seconds or 0)
    rows, sum_ = [], 0.0
    for op, times in sorted(seconds.items(), key=lambda item: -sum(item[1])):
        sum_ += sum(times)
        rows.append(
            (
                op,
                str(len(times)),
                f"{sum(times) * 1e3:.3f}",
                f"{100 * sum(times) / total:.3f}%",
                f"{100 * sum_ / total:.3f}%",
            )
        )
    return table(
        ("[Node type]", "[count]", "[avg ms]", "[avg %]", "[cdf %]"), rows, right=(1, 2, 3, 4)
    )
