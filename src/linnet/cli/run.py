"""linnet run"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..answers import Answers, is_classes
from ..text import shape_text
from . import many
from .inputs import check_writable, feed, load, names_in, read_labels
from .options import add_inputs, add_model, add_session, count
from .result import Result

Array = npt.NDArray[np.float32]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_model(parser, "MODEL [WEIGHTS] [PICTURES]")
    add_session(parser)
    add_inputs(parser)
    add("--top", type=count, metavar="K", help="print the K best classes (default for images: 5)")
    add("--print-top", dest="top", action="store_const", const=5, help="same as --top 5")
    add("--labels", metavar="FILE", help="names of the classes, one a line (default: the model's)")
    add("--fetch", metavar="NAME,NAME", help="values to compute instead of the outputs")
    add("--save-outputs", metavar="FILE.npz", help="write all computed values")
    many.add_arguments(parser)


def run(args: argparse.Namespace) -> Result | int:
    """Compute; print the best classes where an output is a list of classes, else statistics."""
    args.pictures = many.split(args)
    if args.pictures:
        return many.run(args)
    if args.image is None and args.inputs is None and args.fill is None:
        raise ValueError("nothing to run on: give pictures, --image, --inputs or --fill")
    check_writable(args.save_outputs)
    net = load(args)
    arrays = feed(args, net)
    fetch = names_in(args.fetch, net)
    answers = Answers(net, fetch=fetch, labels=read_labels(args.labels))
    outputs = dict(zip(answers.names, net.run(arrays, fetch=answers.names)))
    if args.save_outputs is not None:
        _save(args.save_outputs, outputs)

    alone = net.inputs[0].shape[0] is not None  # the model has no batch
    rows = args.image or [f"input {i}" for i in range(1 if alone else len(arrays[0]))]
    top = 5 if args.top is None and args.image else args.top
    data: dict[str, Any] = {
        name: {
            "shape": list(y.shape),
            "min": float(y.min()),
            "max": float(y.max()),
            "mean": float(y.mean()),
        }
        for name, y in outputs.items()
    }
    lines = []
    for name, y in outputs.items():
        images = y[None] if alone else y
        if top is None or not is_classes(images):
            statistics = ", ".join(f"{key} {data[name][key]:.6g}" for key in ("min", "max", "mean"))
            lines.append(f"{name} {shape_text(y.shape)}: {statistics}")
            continue
        data[name]["top"] = answers.best(images, top)
        for row, found in zip(rows, data[name]["top"]):
            lines.append(row if len(outputs) == 1 else f"{row}: {name}")
            lines += [
                f"  {f['value']:9.6f}  {f['label'] or 'class ' + str(f['index'])}" for f in found
            ]
    if args.top is not None and not any("top" in d for d in data.values()):
        raise ValueError("--top: no value computed is a list of classes, N x C")
    return Result({"inputs": list(rows), "outputs": data}, lines)


def _save(path: str, arrays: Mapping[str, Array]) -> None:
    """Write an .npz file; unlike numpy.savez, whatever the arrays are called."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
