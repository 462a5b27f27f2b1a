"""What the verbs share that make a network smaller: inputs to fit and judge it, times, and what is
written.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .. import digits, folder, quantize
from ..compare.chart import Chart
from ..graph import Array, Graph
from ..model import canonical
from ..options import core_options
from ..preprocess import merged, recorded
from ..quantize import samples
from ..quantize.costs import Make
from ..text import listed
from .inputs import files, read_arrays
from .options import (
    add_model,
    add_preprocess,
    add_session,
    given_preprocess,
    percent,
    session_options,
    shapes,
)
from .result import Result

# Options of a session that make no sense here.
_OWN = ("algorithm", "float", "strict", "weights_dtype")
_CHARTS: dict[str, Callable[[Chart], bytes]] = {
    ".png": Chart.png,
    ".svg": lambda chart: chart.svg().encode(),
}


class Outcome(Protocol):
    """What came of it."""

    @property
    def graph(self) -> Graph: ...
    @property
    def passed(self) -> bool: ...
    def to_dict(self) -> dict[str, Any]: ...
    def lines(self) -> list[str]: ...
    def chart(self) -> Chart: ...


def add_arguments(parser: argparse.ArgumentParser, margin: str) -> None:
    """margin: what the largest loss is by default, in words."""
    add = parser.add_argument
    add_model(parser)
    add("-o", "--output", required=True, metavar="OUT.onnx", help="the file to write")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--images", metavar="FOLDER", help="pictures of the kind that the model is for, 100 or more"
    )
    source.add_argument(
        "--inputs", metavar="FILE", help=".npz with an array of many for each input, or .npy"
    )
    add(
        "--labels",
        metavar="FILE",
        help="the true classes: .npy, or text with lines CLASS or PICTURE CLASS "
        "(default: what the model itself finds)",
    )
    add("--max-loss", type=percent, metavar="P%", help=f"allowed (default: {margin})")
    add(
        "--metric",
        choices=quantize.METRICS,
        help="of the loss: classes that change, or differences of outputs (default: top1 where "
        "there are classes, else rms)",
    )
    add("--wisdom", metavar="FILE", help="times of another machine, from linnet tune there")
    add("--chart", metavar="FILE", help="the Pareto curve as .svg or .png")
    add(
        "--shapes",
        type=shapes,
        metavar="NAME=1x3x224x224[,...]",
        help="sizes of inputs, ? for one that stays open (default: the model's)",
    )
    add_session(parser, without=_OWN)
    add_preprocess(parser)


def add_bits(parser: argparse.ArgumentParser) -> None:
    """The options of fewer bits."""
    parser.add_argument(
        "--calibration",
        choices=quantize.METHODS,
        default="mse",
        help="how ranges of values are found (default: mse)",
    )
    parser.add_argument(
        "--precisions",
        type=_precisions,
        default=quantize.PRECISIONS,
        metavar="P,P",
        help=f"what layers may be (default: {','.join(quantize.PRECISIONS)})",
    )


def _precisions(text: str) -> tuple[str, ...]:
    names = text.split(",")
    unknown = [name for name in names if name not in quantize.PRECISIONS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{listed(unknown)} is none of {', '.join(quantize.PRECISIONS)}"
        )
    return tuple(names)


def run(args: argparse.Namespace, make: Callable[[Graph, samples.Samples], Outcome]) -> Result:
    """Make a network and write it. Exit status 1, and no file, if none found is good enough."""
    target = _target(args.output, (".onnx",))
    chart = None if args.chart is None else _target(args.chart, tuple(_CHARTS))
    model, weights, _ = files(args)
    graph = canonical(
        model, weights, args.stages, args.shapes, outputs=args.outputs, arithmetic="float"
    )
    if args.images is not None:  # by default as they are
        graph.metadata = merged(graph.metadata, given_preprocess(args))
    found = make(graph, _samples(args, graph))
    data, lines = found.to_dict(), found.lines()
    if found.passed:
        quantize.save(found.graph, target, graph)
        lines.append(f"{target}: written")
    if chart is not None:
        chart.write_bytes(_CHARTS[chart.suffix.lower()](found.chart()))
    data["file"] = str(target) if found.passed else None
    return Result(data, lines, 0 if found.passed else 1)


def timing(args: argparse.Namespace) -> Callable[[Make, Mapping[str, Array]], quantize.Meter]:
    """What measures networks that can be made, on an input of batch 1."""
    options = core_options(session_options(args, without=_OWN))

    def meter(make: Make, feed: Mapping[str, Array]) -> quantize.Meter:
        if args.wisdom is not None:
            return quantize.Wisdom(make, args.wisdom, args.threads)
        return quantize.Times(make, feed, options)

    return meter


def _target(name: str, suffixes: tuple[str, ...]) -> Path:
    """A file to write, of which a mistake is said now rather than when the work is done."""
    path = Path(name)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{name}: the file to write must end in {' or '.join(suffixes)}")
    if path.is_dir() or not os.access(path.resolve().parent, os.W_OK):
        raise ValueError(f"{name}: cannot be written there")
    if path.suffix.lower() == ".png":
        Chart("", "", "", []).png()  # says what it needs
    return path


def _samples(args: argparse.Namespace, graph: Graph) -> samples.Samples:
    given = given_preprocess(args)
    if given and args.images is None:
        raise ValueError(f"--{next(iter(given))} is for --images")
    if args.images is not None:
        pictures = folder.pictures(args.images)
        found = samples.from_pictures(graph, recorded(graph.metadata), pictures)
        labels = None if args.labels is None else samples.read_labels(args.labels, pictures)
    elif args.inputs is not None:
        arrays = read_arrays(args.inputs, graph.inputs[0].name)
        try:
            found = samples.from_arrays(graph, arrays)
        except ValueError as error:
            raise ValueError(f"{args.inputs}: {error}") from None
        labels = None if args.labels is None else samples.read_labels(args.labels)
    elif Path(graph.source) == digits.MODEL and args.labels is None:
        images, labels = digits.held_out(graph.inputs[0].shape[-1])
        found = samples.from_arrays(graph, {graph.inputs[0].name: images})
        labels = labels if args.metric in (None, "top1") else None
    else:
        raise ValueError("--images or --inputs is needed: what to calibrate the model with")
    try:
        return found.labelled(labels)
    except ValueError as error:
        raise ValueError(f"{args.labels}: {error}") from None


def progress(what: str, done: int, total: int) -> None:
    """A bar on a terminal."""
    if sys.stderr.isatty():
        full = 30 * done // max(total, 1)
        end = "\n" if done >= total else ""
        bar = f"[{'#' * full}{'.' * (30 - full)}]"
        print(f"\r{what:40} {bar} {done:4d} of {total}", end=end, file=sys.stderr, flush=True)
