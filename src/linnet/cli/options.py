"""What options' texts mean, and the options that several verbs have."""

from __future__ import annotations

import argparse
import math
from collections.abc import Container
from typing import Any

from .. import options
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


# Options.

Group = Any  # an argparse.ArgumentParser, or one of its groups


def add_model(parser: Group, metavar: str = "MODEL [WEIGHTS]") -> None:
    parser.add_argument(
        "files", nargs="*", metavar=metavar, help=".onnx, .prototxt .caffemodel, or digits"
    )
    parser.add_argument("-model", "--model", help=argparse.SUPPRESS)
    parser.add_argument("-weights", "--weights", help=argparse.SUPPRESS)
    add_stages(parser)
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


def add_session(parser: Group, without: Container[str] = ()) -> None:
    """The options of a session."""
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


def add_inputs(parser: Group) -> Group:
    """Where a model's input comes from; the group of options that exclude each other."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--inputs",
        metavar="FILE",
        help=".npz with an array for each input, or .npy for a single one",
    )
    source.add_argument("--fill", choices=("random", "zeros"), help="made-up input")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of --fill random (default: 0)"
    )
    parser.add_argument("--shapes", metavar="NAME:16x1x88x88", help="of --fill (default: batch 1)")
    return source


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
