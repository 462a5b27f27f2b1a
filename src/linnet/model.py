"""A model, from files or as a Graph, in canonical form and in the core."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Optional

from . import _core, formats
from .formats import onnx_metadata
from .graph import Graph
from .text import short

Shapes = Mapping[str, Sequence[Optional[int]]]


def canonical(
    model: formats.Given | formats.Source,
    weights: formats.Given | None,
    stages: Sequence[str] = (),
    shapes: Shapes | None = None,
    memory_limit: int | None = None,
) -> Graph:
    """The canonical graph of a model in files; memory_limit as of passes.canonicalize."""
    from . import passes
    from .passes.sizes import checked_shapes, with_shapes

    sizes = checked_shapes(shapes)
    graph = formats.read(model, weights, stages=checked_stages(stages), shapes=sizes)
    return passes.canonicalize(with_shapes(graph, sizes), memory_limit)


def build(
    model: formats.Given | Graph,
    weights: formats.Given | None,
    stages: Sequence[str] = (),
    shapes: Shapes | None = None,
    memory_limit: int | None = None,
) -> tuple[_core.GraphBuilder, dict[str, str]]:
    """The core's graph of a model in files, or of a Graph; and its metadata.

    An ONNX file that is canonical is read by the core, without what takes long to import.
    """
    stages = checked_stages(stages)
    if isinstance(model, Graph):
        from . import core, passes
        from .passes.sizes import checked_shapes, with_shapes

        model = with_shapes(model, checked_shapes(shapes))
        return core.build(passes.canonicalize(model, memory_limit)), model.metadata
    source = formats.Source(model)
    plain = weights is None and not stages and shapes is None and source.path is not None
    if plain and formats.recognise(source) is formats.ONNX:
        try:
            return _core.read_onnx(os.fsencode(source.name)), onnx_metadata.read(source)
        except ValueError:
            pass  # valid but not canonical, or damaged: the reader says which
    from . import core

    graph = canonical(source, weights, stages, shapes, memory_limit)
    return core.build(graph), graph.metadata


def checked_stages(stages: Sequence[str]) -> list[str]:
    """Names of stages that someone has given: a list of them, or a single one."""
    names = [stages] if isinstance(stages, str) else stages
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"stages is {short(stages)}, expected a list of names")
    return list(names)
