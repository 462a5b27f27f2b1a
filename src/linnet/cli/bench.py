"""linnet bench"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import linnet

from ..text import count as counted
from ..text import megabytes, shape_text
from .inputs import feed, files, load
from .options import (
    add_inputs,
    add_interval,
    add_max_regression,
    add_model,
    add_session,
    count,
    numbers,
    seconds,
)
from .result import Result
from .times import Times, repeat

STEADY = 0.1  # above this coefficient of variance times are called unsteady


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_model(parser)
    add_session(parser)
    add_inputs(parser)
    add("--iterations", type=count, default=50, metavar="N", help="at least (default: 50)")
    add("--duration", type=seconds, default=1.0, metavar="S", help="at least (default: 1)")
    add("--max-secs", type=seconds, default=150.0, metavar="S", help="at most (default: 150)")
    add_interval(parser, "run")
    add("--warmup", type=int, default=1, metavar="N", help="untimed runs before (default: 1)")
    add(
        "--percentile",
        type=numbers,
        default=[90.0, 95.0, 99.0],
        metavar="P,P",
        help="default: 90,95,99",
    )
    add("--baseline", metavar="FILE", help="an earlier output of bench --json to compare with")
    add_max_regression(parser, "exit 1 if slower by more")


def run(args: argparse.Namespace) -> Result:
    if args.warmup < 0:
        raise ValueError(f"--warmup is {args.warmup}, expected 0 or more")
    if any(not 0 < p < 100 for p in args.percentile):
        raise ValueError("--percentile: expected numbers between 0 and 100")
    start = time.perf_counter()
    net = load(args)
    init = time.perf_counter() - start
    arrays = feed(args, net)
    shapes = {value.name: shape_text(x.shape) for value, x in zip(net.inputs, arrays)}
    measured = {"shapes": shapes, "threads": net.threads, "interval_ms": args.interval}
    baseline = _baseline(args.baseline, measured) if args.baseline else None

    def call() -> object:
        return net(*arrays)

    warmup = repeat(call, args.warmup, 0, args.max_secs) if args.warmup else []
    times = Times(repeat(call, args.iterations, args.duration, args.max_secs, args.interval / 1e3))
    first = warmup[0] if warmup else float(times.all[0])
    data: dict[str, Any] = {
        "model": str(files(args)[0]),
        **measured,
        "isa": net.isa,
        "linnet": linnet.__version__,
        "init_ms": init * 1e3,
        "first_ms": first * 1e3,
        "count": len(times.all),
        "min_ms": float(times.all.min()) * 1e3,
        "max_ms": float(times.all.max()) * 1e3,
        "mean_ms": times.mean * 1e3,
        "median_ms": times.median * 1e3,
        "std_ms": times.std * 1e3,
        "percentiles_ms": {
            f"{p:g}": float(np.percentile(times.all, p)) * 1e3 for p in args.percentile
        },
        "images_per_second": len(arrays[0]) / times.mean,
        "peak_resident_bytes": _peak_resident(),
    }
    lines = _lines(data, Times(warmup) if warmup else None, times, len(arrays[0]))
    spread = times.std / times.mean
    if spread > STEADY:
        data["warning"] = (
            f"times are unstable, with coefficient of variance = {100 * spread:.3g}%: "
            "other programs, a changing clock or heat; the median is the figure to quote"
        )
        lines.append(f"* Warning: {data['warning']}.")
    if baseline is None:
        return Result(data, lines)
    slower = times.median * 1e3 / baseline - 1
    passed = slower <= args.max_regression
    data["baseline"] = {"median_ms": baseline, "slower": slower, "passed": passed}
    lines.append(
        f"{'PASSED' if passed else 'FAILED'}: median {data['median_ms']:.6g} ms, "
        f"baseline {baseline:.6g} ms, {100 * slower:+.1f}%, allowed +{100 * args.max_regression:g}%"
    )
    return Result(data, lines, 0 if passed else 1)


def _lines(data: Mapping[str, Any], warmup: Times | None, times: Times, batch: int) -> list[str]:
    """As the TFLite benchmark tool and trtexec print it."""
    shapes = ", ".join(f"{name}:{size}" for name, size in data["shapes"].items())
    interval = data["interval_ms"]
    latency = [f"{key} = {data[f'{key}_ms']:.6g} ms" for key in ("min", "max", "mean", "median")]
    latency += [f"percentile({p}%) = {ms:.6g} ms" for p, ms in data["percentiles_ms"].items()]
    images = f", {data['images_per_second']:.6g} images/s" if batch > 1 else ""
    return [
        f"{data['model']}: {shapes}, {data['isa']}, {counted(data['threads'], 'thread')}"
        + (f", {interval:g} ms before each run" if interval else ""),
        *([warmup.tflite()] if warmup else []),
        times.tflite(),
        f"Inference timings in us: Init: {1e3 * data['init_ms']:.0f}, "
        f"First inference: {1e3 * data['first_ms']:.0f}, "
        f"Warmup (avg): {1e6 * warmup.mean if warmup else 0:.6g}, "
        f"Inference (avg): {1e6 * times.mean:.6g}",
        "",
        "=== Performance summary ===",
        f"Throughput: {1 / times.mean:.6g} qps{images}",
        f"Latency: {', '.join(latency)}",
        f"Peak resident memory: {megabytes(data['peak_resident_bytes'])}",
    ]


def _baseline(path: str, measured: Mapping[str, Any]) -> float:
    """The median in ms of an earlier bench, which must have measured the same."""
    try:
        data = json.loads(Path(path).read_bytes())
        median = float(data["median_ms"])
        found = {key: {"interval_ms": 0.0, **data}[key] for key in measured}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{path}: not the output of linnet bench --json") from None
    if found != measured:
        what = f"{found['shapes']}, {counted(found['threads'], 'thread')}"
        raise ValueError(f"{path}: measured {what}, {found['interval_ms']} ms before each run")
    if not 0 < median < math.inf:
        raise ValueError(f"{path}: its median is {median} ms")
    return median


def _peak_resident() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kilobytes on Linux
