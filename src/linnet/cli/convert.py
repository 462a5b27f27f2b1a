"""linnet convert"""

from __future__ import annotations

import argparse
from pathlib import Path

import linnet

from ..options import WEIGHT_TYPES
from ..text import megabytes
from .inputs import files
from .options import add_float, add_model, add_preprocess, arithmetic, given_preprocess, shapes
from .result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser, "MODEL [WEIGHTS] OUT.onnx")
    parser.add_argument(
        "--shapes",
        type=shapes,
        metavar="NAME=1x3x224x224[,...]",
        help="sizes of inputs, ? for one that stays open (default: the model's)",
    )
    parser.add_argument("--weights-dtype", choices=WEIGHT_TYPES, default="f32", help="default: f32")
    add_float(parser)
    add_preprocess(parser)


def run(args: argparse.Namespace) -> Result:
    model, weights, (target,) = files(args, outputs=1)
    removed = linnet.convert(
        model,
        weights,
        target,
        args.weights_dtype,
        stages=args.stages,
        shapes=args.shapes,
        outputs=args.outputs,
        preprocess=given_preprocess(args) or None,
        arithmetic=arithmetic(args),
    )
    size = Path(target).stat().st_size
    data = {
        "file": target,
        "weights_dtype": args.weights_dtype,
        "bytes": size,
        "removed": [layer._asdict() for layer in removed],
    }
    lines = [f"removed {layer}" for layer in removed]
    return Result(data, [*lines, f"{target}: {megabytes(size)}, {args.weights_dtype} weights"])
