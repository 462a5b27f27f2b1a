"""linnet shrink"""

from __future__ import annotations

import argparse

from ..prune import shrink
from . import smaller
from .result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    smaller.add_arguments(parser, "1%%")
    smaller.add_bits(parser)
    parser.set_defaults(max_loss=0.01)


def run(args: argparse.Namespace) -> Result:
    """Exit status 1, and no file, if no network found is good enough."""
    return smaller.run(
        args,
        lambda graph, samples: shrink(
            graph,
            samples,
            smaller.timing(args),
            max_loss=args.max_loss,
            metric=args.metric,
            method=args.calibration,
            precisions=args.precisions,
            progress=smaller.progress,
        ),
    )
