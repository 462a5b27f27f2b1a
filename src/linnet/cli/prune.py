"""linnet prune"""

from __future__ import annotations

import argparse

from ..prune import prune
from . import smaller
from .options import positive
from .result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    smaller.add_arguments(parser, "1%%, with --speed-up any")
    parser.add_argument(
        "--speed-up",
        type=positive,
        metavar="X",
        help="be so many times as fast, and lose as little as that takes",
    )


def run(args: argparse.Namespace) -> Result:
    """Exit status 1, and no file, if no network found is fast and good enough."""
    return smaller.run(
        args,
        lambda graph, samples: prune(
            graph,
            samples,
            smaller.timing(args),
            max_loss=args.max_loss,
            speed_up=args.speed_up,
            metric=args.metric,
            progress=smaller.progress,
        ),
    )
