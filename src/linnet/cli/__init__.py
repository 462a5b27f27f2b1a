"""The `linnet` command: every verb computes one result, printed as text or with --json as JSON.

A verb is a module here, imported only when asked for: `add_arguments(parser)` adds its options,
`run(args)` returns a Result or, having printed by itself, an exit status.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import linnet

from ..formats import LONGEST_SHOWN
from ..text import finite, short
from .result import Result

VERBS = {
    "run": "Run a model on an image or on arrays.",
    "detect": "Find objects in a photo: their classes and boxes.",
    "inspect": "Show what a model consists of.",
    "convert": "Convert a model to the ONNX that linnet loads fastest.",
    "bench": "Measure how long a model takes.",
    "profile": "Measure how long every layer takes, and show what ran it.",
    "compile": "Make code of a model, for a program without linnet.",
    "prune": "Remove channels of a model that matter least: the fastest that is about as good.",
    "quantize": "Give a model fewer bits: the fastest that is about as good.",
    "shrink": "Give a model fewer channels and fewer bits: the fastest that is about as good.",
    "tune": "Measure what is fastest for every layer, for later runs to use.",
    "verify": "Find where two models, or runtimes, begin to differ, and why.",
    "compare": "Compare linnet with other runtimes on one model.",
    "watch": "Watch a camera or video: who was there, when and where.",
    "doctor": "Show what linnet found on this machine and check that it computes right.",
}


class _Parser(argparse.ArgumentParser):
    """Reports bad arguments as all other bad input is reported."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message if len(message) <= 1000 else f"{message[:1000]} ...")


class _Version(argparse.Action):
    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, help="print the version", **options)

    def __call__(self, parser: argparse.ArgumentParser, *ignored: Any) -> None:
        print(f"linnet {linnet.__version__}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for a failed check, 2 for bad input."""
    if sys.stdout is None:  # closed by whoever started the process
        sys.stdout = io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be in any encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        arguments = list(sys.argv[1:] if argv is None else argv)
        args = _parser(arguments).parse_args(arguments)
        result: Result | int = args.verb(args)
        if isinstance(result, int):
            return result
        print(json.dumps(finite(result.data), indent=1) if args.json else "\n".join(result.lines))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, RuntimeError, MemoryError, OSError, ImportError) as error:
        print(f"linnet: error: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return result.status


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        name = str(error.filename)
        return f"{name if len(name) <= LONGEST_SHOWN else short(name)}: {error.strerror}"
    if isinstance(error, MemoryError) and str(error) in ("", "std::bad_alloc"):
        return "out of memory"
    return re.sub(r"\s*\n\s*", "; ", str(error).strip()).replace(":;", ":")


def _parser(arguments: Sequence[str]) -> _Parser:
    """The parser of these arguments: only the verb they ask for has options of its own."""
    parser = _Parser("linnet", description="Runs trained CNNs fast on a CPU.", allow_abbrev=False)
    parser.add_argument("--version", action=_Version)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    wanted = next((argument for argument in arguments if argument[:1] != "-"), None)
    for name, text in VERBS.items():
        verb = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name == wanted:
            module = importlib.import_module(f".{name}", __name__)
            module.add_arguments(verb)
            verb.add_argument("--json", action="store_true", help="print JSON")
            verb.set_defaults(verb=module.run)
    return parser
