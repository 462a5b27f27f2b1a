"""What options' texts mean, and the options that several verbs have."""

from __future__ import annotations

import argparse
import math
from collections.abc import Container
from pathlib import Path
from typing import Any

from .. import options, preprocess
from ..formats import MEAN_SUFFIXES, mean_image
from ..text import short

MAX_INTERVAL_MS = 60_000

# The types of options. What they say of a wrong text follows the option's name.


def count(text: str) -> int:
    if not text.strip().isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{short(text)} is not a positive number")
    return int(text)


def counts(text: str) -> list[int]:
    return [count(part) for part in text.split(",")]


def shapes(text: str) -> dict[str, tuple[int | None, ...]]:
    found = {}
    for part in text.split(","):
        name, _, sizes = part.rpartition("=")
        if not name:
            raise argparse.ArgumentTypeError(f"{short(part)} is not NAME=SIZExSIZE...")
        found[name] = tuple(None if n in ("?", "N") else count(n) for n in sizes.split("x"))
    return found


def fraction(text: str) -> float:
    try:
        above, _, below = text.partition("/")
        value = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{short(text)} is not a number or fraction")
    return value


def seconds(text: str) -> float:
    value = fraction(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{short(text)} is negative")
    return value


def positive(text: str) -> float:
    value = fraction(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{short(text)} is not a positive number")
    return value


def part(text: str) -> float:
    value = fraction(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{short(text)} is not a number from 0 to 1")
    return value


def milliseconds(text: str) -> float:
    value = seconds(text)
    if value > MAX_INTERVAL_MS:
        raise argparse.ArgumentTypeError(f"{short(text)} is more than {MAX_INTERVAL_MS}")
    return value


def percent(text: str) -> float:
    """As a fraction."""
    return seconds(text.rstrip("%")) / 100


def size(text: str) -> int:
    """Bytes."""
    try:
        return options.size("the size", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def numbers(text: str) -> list[float]:
    return [fraction(part) for part in text.split(",")]


def numbers_or_file(text: str) -> list[float] | Path:
    return Path(text) if Path(text).suffix.lower() in MEAN_SUFFIXES else numbers(text)


def size_of_picture(text: str) -> tuple[int, int]:
    """Height and width, one number for both."""
    sizes = [count(part) for part in text.lower().split("x")]
    if len(sizes) > 2:
        raise argparse.ArgumentTypeError(f"{short(text)} is not HEIGHTxWIDTH")
    return sizes[0], sizes[-1]


# Options.

Group = Any  # an argparse.ArgumentParser, or one of its groups


def add_model(parser: Group, metavar: str = "MODEL [WEIGHTS]") -> None:
    parser.add_argument(
        "files",
        nargs="*",
        metavar=metavar,
        help=".onnx, .tflite, .prototxt .caffemodel, .pb, .keras, -symbol.json .params, "
        ".cfg .weights, .param .bin, or digits",
    )
    parser.add_argument("-model", "--model", help=argparse.SUPPRESS)
    parser.add_argument("-weights", "--weights", help=argparse.SUPPRESS)
    add_stages(parser)
    add_outputs(parser)


def add_outputs(parser: Group) -> None:
    parser.add_argument(
        "--outputs",
        type=lambda text: text.split(","),
        default=[],
        metavar="NAME,NAME",
        help="values to end at instead of the model's outputs; what comes after is not looked at",
    )


def add_stages(parser: Group) -> None:
    parser.add_argument(
        "--stage",
        dest="stages",
        action="append",
        default=[],
        metavar="NAME",
        help="a stage of a Caffe network's state, or a SavedModel's signature; may be repeated",
    )


def add_float(parser: Group) -> None:
    parser.add_argument(
        "--float",
        action="store_true",
        help="compute a quantized model with the reals that its integers stand for",
    )


def arithmetic(args: argparse.Namespace) -> str | None:
    """What add_float's option says, as linnet.load takes it."""
    return "float" if args.float else None


def add_session(parser: Group, without: Container[str] = ()) -> None:
    """The options of a session, and what it computes with."""
    if "float" not in without:
        add_float(parser)
    for option in options.OPTIONS:
        name, kind = option["name"], option["kind"]
        if name in without:
            continue
        how: dict[str, Any] = {"help": option["help"].replace("%", "%%")}
        if kind == "flag":
            how["action"] = "store_true"
        elif option["choices"]:
            how["choices"] = option["choices"]
        else:
            how.update(metavar=option["value"], type=count if kind == "count" else str)
        aliases = ["-t", "--num_threads"] if name == "threads" else []
        parser.add_argument(f"--{name.replace('_', '-')}", *aliases, **how)


def session_options(args: argparse.Namespace, without: Container[str] = ()) -> dict[str, Any]:
    """What add_session's options were given, by the names of linnet.load's arguments."""
    names = (option["name"] for option in options.OPTIONS)
    return {name: getattr(args, name) for name in names if name not in without}


def add_preprocess(parser: Group) -> None:
    """How a picture becomes a model's input: fields of linnet.Preprocess."""
    group = parser.add_argument_group(
        "how a picture becomes the input (default: as the model's file says)"
    )
    add = group.add_argument
    add("--size", type=size_of_picture, metavar="HxW", help="its size (default: the model's)")
    add(
        "--resize",
        type=size_of_picture,
        metavar="HxW",
        help="what it is made to be before the middle is cut out",
    )
    add("--fit", choices=preprocess.FITS, help="how it becomes as large")
    add("--pad", type=fraction, metavar="P", help="the pixels of a letterbox's borders")
    add(
        "--mean",
        type=numbers_or_file,
        metavar="M,M,M",
        help="one for each plane, or one for all; or a .binaryproto or .npy file with an image",
    )
    add(
        "--scale",
        type=numbers,
        metavar="S,S,S",
        help="input is (pixel - mean) * S; as 0.017 or 1/255",
    )
    add("--color", "--channel-order", choices=preprocess.COLORS, help="planes of the input")
    add("--resample", choices=preprocess.RESAMPLES, help="which library's bilinear resizing")


def given_preprocess(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of linnet.Preprocess that add_preprocess's options were given."""
    names = ("size", "resize", "fit", "pad", "mean", "scale", "color", "resample")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if isinstance(given.get("mean"), Path):
        given["mean"] = mean_image(given["mean"])
    return given


def add_inputs(parser: Group) -> None:
    """Where a model's input comes from."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--inputs",
        metavar="FILE",
        help=".npz with an array for each input, or .npy for a single one",
    )
    source.add_argument("--fill", choices=("random", "zeros"), help="made-up input")
    source.add_argument("--image", action="append", metavar="FILE", help="photo; may be repeated")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of --fill random (default: 0)"
    )
    parser.add_argument("--shapes", metavar="NAME:16x1x88x88", help="of --fill (default: batch 1)")
    add_preprocess(parser)


def add_interval(parser: Group, what: str) -> None:
    parser.add_argument(
        "--interval",
        type=milliseconds,
        default=0.0,
        metavar="MS",
        help=f"wait before each {what}, as a camera makes a model wait (default: 0)",
    )


def add_max_regression(parser: Group, help: str) -> None:
    parser.add_argument(
        "--max-regression",
        type=percent,
        default=0.05,
        metavar="P%",
        help=f"{help} (default: 5%%)",
    )
