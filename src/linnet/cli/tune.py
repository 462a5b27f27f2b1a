"""linnet tune"""

from __future__ import annotations

import argparse
import math
import sys

from .. import tune as tuning
from ..graph import Graph
from ..model import build
from ..options import core_options
from .inputs import files
from .options import add_model, add_session, arithmetic, counts, seconds, session_options
from .result import Result

OWN = ("threads", "algorithm", "strict")  # options it has others for, or none


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_model(parser)
    add("--batches", type=counts, default=[1, 16], metavar="N,N", help="default: 1,16")
    add("--threads", "-t", "--num_threads", type=counts, metavar="N,N", help="default: all cores")
    add(
        "--search",
        choices=("fast", "full"),
        default="fast",
        help="measure what looks promising (default), or all that is not hopeless, and for longer",
    )
    add("--cache", metavar="FILE", help="wisdom file (default: LINNET_WISDOM, or in ~/.cache)")
    add("--timeout", type=seconds, default=math.inf, metavar="S", help="measure for at most S s")
    add("--continue", dest="keep", action="store_true", help="measure only what is not known yet")
    add_session(parser, without=OWN)


def run(args: argparse.Namespace) -> Result:
    model, weights, _ = files(args)

    def progress(done: int, problem: str) -> None:
        print(f"{done + 1:5d}  {problem}", file=sys.stderr, flush=True)

    graph, _ = build(model, weights, args.stages, outputs=args.outputs, arithmetic=arithmetic(args))
    if isinstance(graph, Graph):
        raise ValueError("the model's layers depend on sizes that it leaves open")
    found = tuning.tune(
        graph,
        threads=args.threads,
        batches=args.batches,
        search=args.search,
        cache=args.cache,
        timeout=args.timeout,
        keep=args.keep,
        progress=progress,
        **core_options(session_options(args, without=OWN)),
    )
    return Result(found.to_dict(), found.lines())
