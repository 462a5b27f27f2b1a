"""linnet compile"""

from __future__ import annotations

import argparse
from typing import Any

from .. import ahead
from ..ahead import camera
from ..ahead.network import Network
from ..ahead.targets import TARGETS
from ..options import WEIGHT_TYPES
from ..text import count, short, table
from .inputs import files
from .options import (
    add_float,
    add_model,
    add_preprocess,
    arithmetic,
    counts,
    given_preprocess,
    shapes,
)
from .options import count as count_of
from .result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add = parser.add_argument
    add("-o", dest="output", metavar="NAME", help="what to write, a name of C")
    add("--target", choices=TARGETS, default="native", help="the CPU it is for (default: this one)")
    add(
        "--emit",
        choices=ahead.EMITS,
        default="static",
        help="a library to link (default), one to load, sources with a makefile, or a wheel",
    )
    add("--batch", type=counts, default=[1], metavar="N,N", help="sizes of batches (default: 1)")
    add(
        "--shapes",
        type=shapes,
        metavar="NAME=1x3x224x224[,...]",
        help="sizes of inputs (default: the model's)",
    )
    add("--threads", type=count_of, default=1, metavar="N", help="that may run it (default: 1)")
    add("--weights-file", action="store_true", help="weights in a file, which the program maps")
    add(
        "--frame",
        type=frame,
        metavar="HEIGHTxWIDTH[:FORMAT]",
        help=f"take a camera's frame, {', '.join(camera.FORMATS)} (default: rgb)",
    )
    add("--top", type=count_of, default=0, metavar="K", help="give the K best classes and scores")
    add("--wisdom", metavar="FILE", help="what linnet tune measured on the target")
    add("--weights-dtype", choices=WEIGHT_TYPES, help="of layers that take any")
    add("--algorithm", metavar="NAME", help="use this algorithm, or family, wherever it can")
    add("--strict", action="store_true", help="only algorithms that add up plain products")
    add("--report", action="store_true", help="print what it takes, step by step; write nothing")
    add_float(parser)
    add_preprocess(parser)


def frame(text: str) -> camera.Frame:
    sizes, _, form = text.partition(":")
    height, _, width = sizes.partition("x")
    if form not in ("", *camera.FORMATS):
        expected = ", ".join(camera.FORMATS)
        raise argparse.ArgumentTypeError(f"the format is {short(form)}, expected {expected}")
    return camera.Frame(count_of(height), count_of(width), form or "rgb")


def run(args: argparse.Namespace) -> Result:
    model, weights, _ = files(args)
    if not args.output and not args.report:
        raise ValueError("-o NAME says what to write")
    output = args.output or "net"
    folder, name = ahead.c_name(output)
    options = {"algorithm": args.algorithm, "weights_dtype": args.weights_dtype}
    given = {key: value for key, value in options.items() if value is not None}
    if args.strict:
        given["strict"] = True
    planned, graph = ahead.plan(
        model,
        weights,
        name,
        args.target,
        args.batch,
        stages=args.stages,
        shapes=args.shapes,
        outputs=args.outputs,
        arithmetic=arithmetic(args),
        threads=args.threads,
        weights_file=args.weights_file,
        frame=args.frame,
        top=args.top,
        preprocess=given_preprocess(args) or None,
        problems=ahead.objections(output, args.target, args.emit),
        wisdom=args.wisdom or "",
        **given,
    )
    data: dict[str, Any] = {
        "name": name,
        "target": args.target,
        "weights": len(planned.weights),
        "arena": planned.arena,
        "seconds": {str(p["batch"]): p["seconds"] for p in planned.programs},
        "wisdom": planned.wisdom,
        "steps": len(planned.programs[0]["steps"]),
    }
    rows = [["weights", str(len(planned.weights))], ["arena", str(planned.arena)]]
    written: list[str] = []
    steps: list[str] = []
    if args.report:
        data |= ahead.measured(planned)
        rows = [["code", str(data["code"])], *rows, ["stack", str(data["stack"])]]
        data["plan"], steps = _steps(planned)
    else:
        results = ahead.expected(planned, graph, {**given, "wisdom": args.wisdom or ""})
        paths, sizes = ahead.write(planned, results, folder, args.emit)
        written = [str(path) for path in paths]
        data["files"] = written
        if sizes:
            data["code"] = sizes["text"] + sizes["data"] - planned.weights_inside
            rows = [["code", str(data["code"])], *rows]
    times = ", ".join(
        f"{p['seconds'] * 1e3:.3g} ms for a batch of {p['batch']}" for p in planned.programs
    )
    lines = [
        f"{name}: {count(data['steps'], 'step')} for {args.target}, {planned.wisdom}",
        *steps,
        *table(["", "bytes"], rows, right=[1]),
        f"estimated {times}, in proportion to other estimates only",
        *written,
    ]
    return Result(data, lines)


def _steps(planned: Network) -> tuple[list[dict[str, Any]], list[str]]:
    """The steps of the first program, for JSON and as lines."""
    found: list[dict[str, Any]] = []
    for step, weights in zip(planned.programs[0]["steps"], planned.weights_by_step):
        told = {"name": step["name"], "algorithm": step["algorithm"], "weights": weights}
        found.append({**told, "seconds": step["seconds"], "measured": step["measured"]})
    rows = [
        [
            step["name"],
            step["algorithm"],
            str(step["weights"]),
            f"{step['seconds'] * 1e3:.3f}" if step["seconds"] else "-",
            "measured" if step["measured"] else "",
        ]
        for step in found
    ]
    return found, table(["step", "algorithm", "weights", "ms", ""], rows, right=[2, 3])
