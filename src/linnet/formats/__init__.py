"""The formats that models come in. To add one: a file here, a row in FORMATS, a test.

A reader translates files into a Graph and decides nothing else; passes.canonicalize does the rest.
Its module has `read(model, weights)`, which takes `stages=`, `shapes=` and `outputs=` too where the
format has stages, is translated for given sizes, or is read only as far as it is wanted. It is
imported only when a model of the format is: what readers need, such as protobuf, takes longer to
import than all the rest of linnet.
"""

from __future__ import annotations

import codecs
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ._source import LONGEST_SHOWN as LONGEST_SHOWN
from ._source import Given as Given
from ._source import PathLike as PathLike
from ._source import Source as Source

if TYPE_CHECKING:
    from ..graph import Array, Graph, Shape


MEAN_SUFFIXES = (".binaryproto", ".npy")  # of files that `mean_image` reads


class Format(NamedTuple):
    """One format. A file belongs to it by its suffix or, where that says nothing, by its first
    bytes.
    """

    name: str
    suffixes: tuple[str, ...]  # of the model's file
    weights: tuple[str, ...]  # of a second file with its weights; none if it holds its own
    reader: str  # the module here that reads it
    stages: bool = False  # whether one file holds several networks, chosen by names of stages
    alone: bool = False  # whether that second file may hold the network, too
    begins: Callable[[bytes], bool] = lambda head: False  # whether a file with this head is one
    sized: bool = False  # whether what a file becomes depends on the sizes of its inputs
    partial: bool = False  # whether only what is wanted of it is read


def _onnx(head: bytes) -> bool:
    """IR version, then the producer's name or version, domain, number, text or operator sets."""
    return re.match(rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]", head) is not None


def _prototxt(head: bytes) -> bool:
    """Text with a field of a network before any other, comments aside."""
    text = head.decode("utf-16", "replace").encode() if head[:2] in _UTF16 else head
    return _NETWORK.match(text) is not None


def _keras(head: bytes) -> bool:
    """HDF5; a zip with a configuration; or JSON that begins with a class or its settings."""
    if head[:4] == b"PK\x03\x04":
        return b"config.json" in head or b"metadata.json" in head
    return head[:8] == b"\x89HDF\r\n\x1a\n" or _KERAS_JSON.match(head) is not None


def _graph_def(head: bytes) -> bool:
    """A node with its name and operator."""
    return re.match(rb"\x0a[^\x00][\x01-\x1f]?\x0a.[\w./-]+\x12.[A-Z]\w+", head, re.S) is not None


def _mxnet(head: bytes) -> bool:
    """JSON that begins with a list of nodes, or with what else a symbol has."""
    return re.match(rb'\s*\{\s*"(nodes|arg_nodes|node_row_ptr|heads)"\s*:', head) is not None


def _darknet(head: bytes) -> bool:
    """A section of the network before any other, comments aside."""
    return re.match(rb"(\xef\xbb\xbf)?\s*([#;][^\n]*\n\s*)*\[net(work)?\]", head) is not None


def _ncnn(head: bytes) -> bool:
    """The number that text of layers begins with, as text or, in a binary file, as such."""
    return re.match(rb"7767517\s|\xdd\x85v\x00", head) is not None


_KERAS_JSON = re.compile(rb'(\xef\xbb\xbf)?\s*\{\s*"(class_name|module|config|backend)":')
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NETWORK = re.compile(
    rb"(\xef\xbb\xbf)?\s*(#[^\n]*\n\s*)*"
    rb"(name|input(_shape|_dim)?|layers?|state|force_backward)\s*[:{<]"
)


ONNX = Format("ONNX", (".onnx",), (), "onnx_read", begins=_onnx)
FORMATS = (
    ONNX,
    Format("Caffe", (".prototxt",), (".caffemodel",), "caffe", True, True, _prototxt, sized=True),
    Format("TensorFlow", (".pb", ".meta"), (), "tensorflow", True, begins=_graph_def, partial=True),
    Format("Keras", (".keras",), (".h5", ".hdf5"), "keras", alone=True, begins=_keras),
    Format(
        "TFLite", (".tflite",), (), "tflite", begins=lambda head: head[4:8] == b"TFL3", sized=True
    ),
    Format("MXNet", ("-symbol.json",), (".params",), "mxnet", begins=_mxnet, sized=True),
    Format("Darknet", (".cfg",), (".weights",), "darknet", begins=_darknet, sized=True),
    Format("ncnn", (".param",), (".bin",), "ncnn", begins=_ncnn, sized=True),
)


def recognise(model: Source) -> Format | None:
    """The format of a model; None if it is none of them."""
    for format in FORMATS:
        if model.suffix in format.suffixes:
            return format
    head = model.head()
    return next((format for format in FORMATS if format.begins(head)), None)


def holds_weights(file: PathLike) -> Format | None:
    """The format whose weights are in files named like this."""
    suffix = Path(file).suffix.lower()
    return next((format for format in FORMATS if suffix in format.weights), None)


def read(
    model: Given | Source,
    weights: Given | Source | None = None,
    *,
    stages: Sequence[str] = (),
    shapes: Mapping[str, Shape] | None = None,
    outputs: Sequence[str] = (),
) -> Graph:
    """The graph of a model, and of the file with its weights if it has one.

    stages: which of the networks that one file may hold. shapes: of inputs by name, 0 where the
    file's size is meant; outputs: names of values that are wanted instead of the file's. Only
    formats whose translation depends on them look at these two.
    ValueError names what is wrong with the files; what linnet cannot express is left to
    passes.canonicalize to report.
    """
    model = _source(model, "model")
    owner = None if model.path is None else holds_weights(model.path)
    recognised = recognise(model)
    if recognised is not None and recognised is not owner:
        owner = None  # whatever its suffix says
    if owner is not None and not (owner.alone and weights is None):
        suffix = owner.suffixes[0]
        raise ValueError(
            f"{model}: holds weights only; the model is its {suffix}, this is its weights="
        )
    format = owner or recognised
    if format is None:
        known = " or ".join(suffix for format in FORMATS for suffix in format.suffixes)
        raise ValueError(f"{model}: unknown model format, expected {known}")
    if weights is not None and not format.weights:
        article = "an" if format.name[0] in "AEIOU" else "a"
        raise ValueError(
            f"{model}: {article} {format.name} file holds its own weights; "
            f"{_source(weights, 'weights')} is not needed"
        )
    if stages and not format.stages:
        raise ValueError(f"{model}: {format.name} files have no stages")
    reader = importlib.import_module(f".{format.reader}", __name__)
    given = None if weights is None else _source(weights, "weights")
    options: dict[str, Any] = {"stages": stages} if format.stages else {}
    if format.sized:
        options["shapes"] = shapes or {}
    if format.partial:
        options["outputs"] = outputs
    graph: Graph = reader.read(model, given, **options)
    return graph


def mean_image(file: Given) -> Array:
    """The mean of the pictures of training, [planes, height, width], of one of Caffe's .binaryproto
    files or an .npy file. ValueError if it holds something else.
    """
    from ._caffe_mean import read_mean

    return read_mean(_source(file, "mean"))


def _source(given: Given | Source, what: str) -> Source:
    return given if isinstance(given, Source) else Source(given, what)
