"""linnet quantize"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from .. import quantize
from ..graph import Array
from . import smaller
from .result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    smaller.add_arguments(parser, "1%%")
    smaller.add_bits(parser)
    parser.set_defaults(max_loss=0.01)
    parser.add_argument(
        "--objective",
        choices=("time", "bytes"),
        default="time",
        help="what to make less of: time measured here (default), or bytes that a run moves",
    )


def run(args: argparse.Namespace) -> Result:
    """Exit status 1, and no file, if no network found is good enough."""
    if args.wisdom is not None and args.objective == "bytes":
        raise ValueError("--wisdom holds times, --objective is bytes")
    timing = smaller.timing(args)

    def meter(calibration: quantize.Calibration, feed: Mapping[str, Array]) -> quantize.Meter:
        if args.objective == "bytes":
            return quantize.Bytes(calibration)
        return timing(quantize.of_schemes(calibration), feed)

    return smaller.run(
        args,
        lambda graph, samples: quantize.quantize(
            graph,
            samples,
            meter,
            max_loss=args.max_loss,
            metric=args.metric,
            method=args.calibration,
            precisions=args.precisions,
            progress=smaller.progress,
        ),
    )
