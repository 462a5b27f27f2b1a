"""linnet run"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..text import decode, shape_text
from .inputs import check_writable, feed, load
from .options import add_inputs, add_model, add_session, count
from .result import Result

Array = npt.NDArray[np.float32]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_model(parser)
    add_session(parser)
    add_inputs(parser)
    add("--top", type=count, metavar="K", help="print the K best classes (default for images: 5)")
    add("--print-top", dest="top", action="store_const", const=5, help="same as --top 5")
    add("--labels", metavar="FILE", help="names of the classes, one a line (default: the model's)")
    add("--fetch", metavar="NAME,NAME", help="values to compute instead of the outputs")
    add("--save-outputs", metavar="FILE.npz", help="write all computed values")


def run(args: argparse.Namespace) -> Result:
    """Compute; print the best classes where an output is a list of classes, else statistics."""
    if args.image is None and args.inputs is None and args.fill is None:
        raise ValueError("nothing to run on: give --image, --inputs or --fill")
    check_writable(args.save_outputs)
    net = load(args)
    arrays = feed(args, net)
    known = [value.name for value in (net.values if args.fetch else net.outputs)]
    names = _names(args.fetch, set(known)) if args.fetch else known
    outputs = dict(zip(names, net.run(arrays, fetch=names)))
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
        scores = images.reshape(len(images), -1)
        if top is None or scores.shape[1] != images.shape[1] or scores.shape[1] == 1:
            statistics = ", ".join(f"{key} {data[name][key]:.6g}" for key in ("min", "max", "mean"))
            lines.append(f"{name} {shape_text(y.shape)}: {statistics}")
            continue
        whole = known == [name] and not args.fetch
        labels = _labels(args.labels, scores.shape[1], net.labels, whole)
        data[name]["top"] = []
        for row, values in zip(rows, scores):
            best = np.argsort(-values.astype(np.float64), kind="stable")[:top]
            found = [
                {"index": int(i), "label": labels.get(int(i)), "value": float(values[i])}
                for i in best
            ]
            data[name]["top"].append(found)
            lines.append(row if len(outputs) == 1 else f"{row}: {name}")
            lines += [
                f"  {f['value']:9.6f}  {f['label'] or 'class ' + str(f['index'])}" for f in found
            ]
    if args.top is not None and not any("top" in d for d in data.values()):
        raise ValueError("--top: no value computed is a list of classes, N x C")
    return Result({"inputs": list(rows), "outputs": data}, lines)


def _names(text: str, known: set[str]) -> list[str]:
    """The values that a list with commas names, some of which may be in the names themselves."""
    parts = text.split(",")
    names = []
    while parts:
        ends = range(len(parts), 0, -1)
        end = next((end for end in ends if ",".join(parts[:end]) in known), 1)
        names.append(",".join(parts[:end]))
        parts = parts[end:]
    return [name for name in names if name]


def _labels(path: str | None, classes: int, known: Sequence[str], single: bool) -> dict[int, str]:
    """Of a file, with one for each class; or those the model has, of its single output be it for
    some classes only.
    """
    if path is None:
        return dict(enumerate(known)) if single or len(known) == classes else {}
    try:
        labels = decode(Path(path).read_bytes()).splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file") from None
    if len(labels) != classes:
        raise ValueError(f"{path}: {len(labels)} labels for {classes} classes")
    return dict(enumerate(labels))


def _save(path: str, arrays: Mapping[str, Array]) -> None:
    """Write an .npz file; unlike numpy.savez, whatever the arrays are called."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
