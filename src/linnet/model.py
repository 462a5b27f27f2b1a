"""A model, from files or as a Graph, in canonical form and in the core."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Union

from . import _core
from .options import text

if TYPE_CHECKING:
    from .graph import Graph

PathLike = Union[str, "os.PathLike[str]"]


def canonical(model: PathLike, weights: PathLike | None) -> Graph:
    """The canonical graph of a model in files."""
    from . import formats, passes

    return passes.canonicalize(formats.read(model, weights))


def build(model: Any, weights: PathLike | None) -> _core.GraphBuilder:
    """The core's graph of a model in files, or of a Graph.

    An ONNX file that is canonical is read by the core, without what takes long to import.
    """
    from . import formats

    if not isinstance(model, (str, os.PathLike)):
        from . import core, graph, passes

        if not isinstance(model, graph.Graph):
            raise ValueError(f"model is {model!r}, expected a path or a Graph")
        return core.build(passes.canonicalize(model))
    text("weights", weights)
    for path in (model, weights):
        if path is not None:
            with open(path, "rb"):  # a file that is not there is an OSError, whatever its format
                pass
    if weights is None and formats.recognise(model) is formats.ONNX:
        try:
            return _core.read_onnx(os.fspath(model))
        except ValueError:
            pass  # valid but not canonical, or damaged: the reader says which
    from . import core

    return core.build(canonical(model, weights))
