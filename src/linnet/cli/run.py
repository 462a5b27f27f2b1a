"""linnet run"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import linnet

from .. import digits
from ..text import decode, shape_text
from .inputs import check_writable, files, inputs, load
from .options import add_inputs, add_model, add_session, count, fraction, numbers
from .result import Result

Array = npt.NDArray[np.float32]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_model(parser)
    add_session(parser)
    source = add_inputs(parser)
    source.add_argument("--image", action="append", metavar="FILE", help="photo; may be repeated")
    add(
        "--scale",
        type=fraction,
        metavar="S",
        help="input is (pixel - mean) * S; as 0.017 or 1/255",
    )
    add("--mean", type=numbers, metavar="M,M,M", help="one for each plane, or one for all")
    add("--channel-order", choices=("RGB", "BGR", "grey"), help="planes of the input")
    add("--top", type=count, metavar="K", help="print the K best classes (default for images: 5)")
    add("--print-top", dest="top", action="store_const", const=5, help="same as --top 5")
    add("--labels", metavar="FILE", help="names of the classes, one a line")
    add("--fetch", metavar="NAME,NAME", help="values to compute instead of the outputs")
    add("--save-outputs", metavar="FILE.npz", help="write all computed values")


def run(args: argparse.Namespace) -> Result:
    """Compute; print the best classes where an output is a list of classes, else statistics."""
    pixels = (args.scale, args.mean, args.channel_order)
    if args.image is None and any(option is not None for option in pixels):
        raise ValueError("--scale, --mean and --channel-order are for --image")
    if args.image is None and args.inputs is None and args.fill is None:
        raise ValueError("nothing to run on: give --image, --inputs or --fill")
    check_writable(args.save_outputs)
    net = load(args)
    shipped = files(args)[0] == digits.MODEL
    if args.image is not None:
        scale = args.scale if args.scale is not None else digits.SCALE if shipped else 1.0
        arrays: list[npt.NDArray[Any]] = [_images(args, net, scale)]
    else:
        arrays = inputs(args, net.inputs)
    known = [value.name for value in (net.values if args.fetch else net.outputs)]
    names = _names(args.fetch, set(known)) if args.fetch else known
    outputs = dict(zip(names, net.run(arrays, fetch=names)))
    if args.save_outputs is not None:
        _save(args.save_outputs, outputs)

    rows = args.image or [f"input {i}" for i in range(len(arrays[0]))]
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
        scores = y.reshape(len(y), -1)
        if top is None or scores.shape[1] != y.shape[1] or scores.shape[1] == 1:
            statistics = ", ".join(f"{key} {data[name][key]:.6g}" for key in ("min", "max", "mean"))
            lines.append(f"{name} {shape_text(y.shape)}: {statistics}")
            continue
        labels = _labels(args.labels, scores.shape[1], shipped)
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


def _labels(path: str | None, classes: int, shipped: bool) -> dict[int, str]:
    if path is None:
        return dict(enumerate(digits.LABELS)) if shipped else {}
    try:
        labels = decode(Path(path).read_bytes()).splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file") from None
    if len(labels) != classes:
        raise ValueError(f"{path}: {len(labels)} labels for {classes} classes")
    return dict(enumerate(labels))


def _images(args: argparse.Namespace, net: linnet.Session, scale: float) -> npt.NDArray[Any]:
    """The batch of images that --image names."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise ValueError("reading images needs Pillow: pip install pillow") from None
    from .. import _image

    shape, dtype = net.inputs[0].shape, net.inputs[0].dtype
    last = len(shape) == 4 and shape[1] not in (1, 3) and shape[3] in (1, 3)
    planes = (shape[0], shape[3], *shape[1:3]) if last else shape
    if len(net.inputs) != 1 or len(planes) != 4 or planes[1] not in (1, 3) or dtype == np.int8:
        wanted = ", ".join(f"'{v.name}' {shape_text(v.shape)} {v.dtype}" for v in net.inputs)
        raise ValueError(f"--image: the model takes {wanted}, not one image of 1 or 3 channels")
    order = args.channel_order or ("grey" if planes[1] == 1 else "RGB")
    batch = np.empty((len(args.image), *(n or 1 for n in planes[1:])), np.float32)
    for path, row in zip(args.image, batch):
        with open(path, "rb") as file:
            try:
                photo: Image.Image = Image.open(file)
                if photo.mode[0] in "IF":
                    raise ValueError("more than 8 bits per channel")
                photo = ImageOps.exif_transpose(photo)
                pixels = np.asarray(photo.convert("L" if photo.mode in ("1", "L", "LA") else "RGB"))
            except MemoryError:
                raise
            except Exception as error:  # decoders raise all sorts on damaged files
                raise ValueError(f"{path}: not a readable image: {error}") from None
        _image.prepare(pixels, row, order=order, mean=args.mean or (0.0,), scale=scale)
    batch = np.ascontiguousarray(batch.transpose(0, 2, 3, 1)) if last else batch
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.clip(np.rint(batch), limits.min, limits.max).astype(dtype)
    return batch.astype(dtype, copy=False)


def _save(path: str, arrays: Mapping[str, Array]) -> None:
    """Write an .npz file; unlike numpy.savez, whatever the arrays are called."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
