"""linnet verify"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

import linnet

from .. import digits, formats, model, passes
from .. import verify as verification
from ..graph import Graph
from ..options import WEIGHT_TYPES
from ..preprocess import merged, prepared, recorded
from ..verify import Side
from .inputs import inputs, named, preprocess, read_arrays
from .options import add_inputs, add_outputs, add_stages, seconds
from .result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "files",
        nargs="*",
        metavar="A B",
        help="each a model (.onnx, .prototxt .caffemodel, digits) or what a runtime computed of it "
        "(.npz with an array for each value, .npy of the output); A is taken to be right",
    )
    add(
        "--against",
        choices=WEIGHT_TYPES,
        help="in place of B: A with the weights of fully connected and 1x1 layers so rounded",
    )
    add_stages(parser)
    add_outputs(parser)
    add_inputs(parser)
    add(
        "--classes",
        metavar="FILE.npy",
        help="the true class of each image, to count the right ones",
    )
    add(
        "--tolerance",
        type=seconds,
        metavar="T",
        help="largest difference relative to a value's rms "
        "(default: 0.001; with --against f16 0.01, int8 0.1; of integers 0.1, or a step)",
    )


def run(args: argparse.Namespace) -> Result:
    """Every value both sides have; exit status 1 if one is beyond the tolerance."""
    preprocess(args)  # said before anything is read: that its options are for --image
    sides = _sides(args.files)
    if len(sides) != (2 if args.against is None else 1):
        raise ValueError("two models or saved outputs are needed, or one model and --against")
    models = [_model(*files, args) if _is_model(files[0]) else None for files in sides]
    graphs = [None if found is None else found[0] for found in models]
    whole = [{} if found is None else found[1] for found in models]
    saved = [
        None if graph else verification.saved(files[0].name, read_arrays(str(files[0]), "output"))
        for files, graph in zip(sides, graphs)
    ]
    names = [files[0].name for files in sides]
    if args.against is not None:
        if graphs[0] is None:
            raise ValueError(f"{names[0]}: --against needs a model")
        names.append(f"itself with {args.against} weights")
        graphs.append(verification.round_weights(graphs[0], args.against))
        whole.append({})
        saved.append(None)
    elif len(set(names)) == 1:
        names = [str(files[0]) for files in sides]

    feed, classes = _feed(args, graphs, saved)
    for i, graph in enumerate(graphs):
        if graph is not None:
            wanted = [value.name for value in graph.inputs]
            if len(wanted) != len(feed):
                raise ValueError(f"{names[i]} has {len(wanted)} inputs, not {len(feed)}")
            given = feed if set(wanted) == set(feed) else dict(zip(wanted, feed.values()))
            kept = args.against if i else None
            saved[i] = verification.run_model(names[i], graph, given, kept, whole[i])
    a, b = (side for side in saved if side is not None)
    tolerance = args.tolerance
    if tolerance is None:
        rounded = args.against or ("int8" if any(whole) else "f32")
        tolerance = verification.ROUNDED_TOLERANCE[rounded]
    found = verification.verify(a, b, tolerance=tolerance, inputs=feed, classes=classes)
    return Result(found.to_dict(), found.lines(), 0 if found.passed else 1)


def _sides(files: Sequence[str]) -> list[tuple[Path, Path | None]]:
    """The files of each side: weights follow their model."""
    sides: list[tuple[Path, Path | None]] = []
    for name in files:
        if formats.holds_weights(name) and sides and sides[-1][1] is None:
            sides[-1] = (sides[-1][0], Path(name))
        else:
            sides.append((named(name), None))
    return sides


def _model(
    file: Path, weights: Path | None, args: argparse.Namespace
) -> tuple[Graph, dict[str, verification.Integers]]:
    """A model in canonical form, and which of its values are integers; of two, only those that have
    stages are given them.
    """
    found = formats.recognise(formats.Source(file))
    stages = args.stages if found and found.stages else ()
    source = model.read(file, weights, stages, None, args.outputs)
    return passes.canonicalize(source), verification.integers(source)


def _is_model(file: Path) -> bool:
    return file.suffix.lower() not in (".npz", ".npy")


def _feed(
    args: argparse.Namespace, graphs: Sequence[Graph | None], saved: Sequence[Side | None]
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[Any] | None]:
    """What the models are to be run on, by the first one's names, and the true classes if known."""
    classes = None
    if args.classes is not None:
        classes = read_arrays(args.classes, "classes").get("classes")
        if classes is None:
            raise ValueError(f"{args.classes}: no array 'classes'")
    graph = next((graph for graph in graphs if graph is not None), None)
    if graph is None:
        return {}, classes
    values = [
        linnet.ValueInfo(v.name, (v.shape[0] if graph.batchless else None, *v.shape[1:]), v.dtype)
        for v in graph.inputs
    ]
    made_up = args.inputs is None and args.fill is None and args.image is None
    kept = {
        name: array for side in saved if side is not None for name, array in side.values.items()
    }
    if made_up and all(value.name in kept for value in values):
        return {value.name: kept[value.name].astype(value.dtype) for value in values}, classes
    if made_up and any(side is not None for side in saved):
        raise ValueError("--inputs or --image is needed: what the saved values were computed from")
    if made_up and Path(graph.source) == digits.MODEL and args.shapes is None and classes is None:
        images, labels = digits.held_out(graph.inputs[0].shape[-1])
        return {values[0].name: images}, labels
    if args.image is not None:
        record = recorded(merged(graph.metadata, preprocess(args)))
        return {values[0].name: prepared(record, values, args.image)}, classes
    return dict(zip((value.name for value in values), inputs(args, values))), classes
