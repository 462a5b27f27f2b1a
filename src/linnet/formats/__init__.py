"""The formats that models come in. To add one: a file here, a row in FORMATS, a test.

A reader translates files into a Graph and decides nothing else; passes.canonicalize does the rest.
Its module has `read(model, weights)` and is imported only when a model of the format is: what
readers need, such as protobuf, takes longer to import than all the rest of linnet.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Union

if TYPE_CHECKING:
    from ..graph import Graph

PathLike = Union[str, "os.PathLike[str]"]


class Format(NamedTuple):
    """One format. A file belongs to it by its suffix or, where that says nothing, by its first
    bytes.
    """

    name: str
    suffixes: tuple[str, ...]  # of the model's file
    weights: tuple[str, ...]  # of a second file with its weights; none if it holds its own
    reader: str  # the module here that reads it
    begins: Callable[[bytes], bool] = lambda head: False  # whether a file with this head is one


def _onnx(head: bytes) -> bool:
    """IR version, then the producer's name or version, domain, number, text or operator sets."""
    return re.match(rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]", head) is not None


def _prototxt(head: bytes) -> bool:
    """Text with a field of a network before any other, comments aside."""
    return re.match(rb"\s*(#[^\n]*\n\s*)*(name|input|layers?)\s*[:{]", head) is not None


ONNX = Format("ONNX", (".onnx",), (), "onnx_read", _onnx)
FORMATS = (
    ONNX,
    Format("Caffe", (".prototxt",), (".caffemodel",), "caffe", _prototxt),
)


def recognise(model: PathLike) -> Format | None:
    """The format of a model's file; None if it is none of them."""
    suffix = Path(model).suffix.lower()
    for format in FORMATS:
        if suffix in format.suffixes:
            return format
    try:
        with open(model, "rb") as file:
            head = file.read(4096)
    except OSError:
        return None
    return next((format for format in FORMATS if format.begins(head)), None)


def holds_weights(file: PathLike) -> Format | None:
    """The format whose weights are in files named like this."""
    suffix = Path(file).suffix.lower()
    return next((format for format in FORMATS if suffix in format.weights), None)


def read(model: PathLike, weights: PathLike | None = None) -> Graph:
    """The graph of a model, and of the file with its weights if it has one.

    ValueError names what is wrong with the files; what linnet cannot express is left to
    passes.canonicalize to report.
    """
    model = Path(model)
    if (owner := holds_weights(model)) is not None:
        suffix = owner.suffixes[0]
        raise ValueError(
            f"{model}: holds weights only; the model is its {suffix}, this is its weights="
        )
    format = recognise(model)
    if format is None:
        known = " or ".join(suffix for format in FORMATS for suffix in format.suffixes)
        raise ValueError(f"{model}: unknown model format, expected {known}")
    if weights is not None and not format.weights:
        article = "an" if format.name[0] in "AEIOU" else "a"
        raise ValueError(
            f"{model}: {article} {format.name} file holds its own weights; {weights} is not needed"
        )
    reader = importlib.import_module(f".{format.reader}", __name__)
    graph: Graph = reader.read(model, None if weights is None else Path(weights))
    return graph
