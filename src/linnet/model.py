"""A model, from files or as a Graph, in canonical form and in the core."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Optional

from . import _core, aliases, formats
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
    *,
    outputs: Sequence[str] = (),
) -> Graph:
    """The canonical graph of a model in files; memory_limit as of passes.canonicalize."""
    from . import passes
    from .passes.outputs import with_outputs
    from .passes.sizes import checked_shapes, with_shapes

    sizes, outputs = checked_shapes(shapes), _checked("outputs", outputs)
    stages = _checked("stages", stages)
    graph = formats.read(model, weights, stages=stages, shapes=sizes, outputs=outputs)
    return passes.canonicalize(with_shapes(with_outputs(graph, outputs), sizes), memory_limit)


def build(
    model: formats.Given | Graph,
    weights: formats.Given | None,
    stages: Sequence[str] = (),
    shapes: Shapes | None = None,
    memory_limit: int | None = None,
    *,
    outputs: Sequence[str] = (),
) -> tuple[_core.GraphBuilder, dict[str, str]]:
    """The core's graph of a model in files, or of a Graph; and its metadata.

    An ONNX file that is canonical is read by the core, without what takes long to import.
    """
    stages, outputs = _checked("stages", stages), _checked("outputs", outputs)
    if isinstance(model, Graph):
        from . import core, passes
        from .passes.outputs import with_outputs
        from .passes.sizes import checked_shapes, with_shapes

        model = with_shapes(with_outputs(model, outputs), checked_shapes(shapes))
        graph = passes.canonicalize(model, memory_limit)
        return core.build(graph), aliases.told(graph)
    source = formats.Source(model)
    plain = weights is None and not (stages or outputs) and shapes is None
    if plain and source.path is not None and formats.recognise(source) is formats.ONNX:
        try:
            return _core.read_onnx(os.fsencode(source.name)), onnx_metadata.read(source)
        except ValueError:
            pass  # valid but not canonical, or damaged: the reader says which
    from . import core

    graph = canonical(source, weights, stages, shapes, memory_limit, outputs=outputs)
    return core.build(graph), aliases.told(graph)


def _checked(what: str, given: Sequence[str]) -> list[str]:
    """Names that someone has given: a list of them, or a single one."""
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{what} is {short(given)}, expected a list of names")
    return list(names)
