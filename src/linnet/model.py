"""A model, from files or as a Graph, in canonical form and in the core."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional

from . import _core, aliases, formats, scalars
from .formats import onnx_metadata
from .graph import Array, Graph
from .options import choice
from .text import short

Shapes = Mapping[str, Sequence[Optional[int]]]


def read(
    model: formats.Given | formats.Source | Graph,
    weights: formats.Given | None,
    stages: Sequence[str],
    shapes: Shapes | None,
    outputs: Sequence[str],
) -> Graph:
    """The graph of a model, of these sizes and outputs, as its reader or caller made it."""
    from .passes.outputs import with_outputs
    from .passes.sizes import checked_shapes, with_shapes

    sizes = checked_shapes(shapes)
    if not isinstance(model, Graph):
        model = formats.read(model, weights, stages=stages, shapes=sizes, outputs=outputs)
    return with_shapes(with_outputs(model, outputs), sizes)


def _computed(graph: Graph, arithmetic: str | None) -> Graph:
    """With "integer" or "float"; None leaves it as it is."""
    chosen = choice("arithmetic", arithmetic, ("integer", "float"))
    return graph if chosen is None else replace(graph, in_float=chosen == "float")


def canonical(
    model: formats.Given | formats.Source,
    weights: formats.Given | None,
    stages: Sequence[str] = (),
    shapes: Shapes | None = None,
    memory_limit: int | None = None,
    *,
    outputs: Sequence[str] = (),
    arithmetic: str | None = None,
) -> Graph:
    """The canonical graph of a model in files; memory_limit as of passes.canonicalize."""
    from . import passes

    stages, outputs = _checked("stages", stages), _checked("outputs", outputs)
    graph = _computed(read(model, weights, stages, shapes, outputs), arithmetic)
    return passes.canonicalize(graph, memory_limit)


def build(
    model: formats.Given | Graph,
    weights: formats.Given | None,
    stages: Sequence[str] = (),
    shapes: Shapes | None = None,
    memory_limit: int | None = None,
    *,
    outputs: Sequence[str] = (),
    arithmetic: str | None = None,
) -> tuple[_core.GraphBuilder | Graph, dict[str, str]]:
    """The core's graph of a model in files, or of a Graph; and its metadata. A Graph where that
    depends on sizes that the model leaves open: `build_for` makes the core's graph of it.

    An ONNX file that is canonical is read by the core, without what takes long to import.
    """
    stages, outputs = _checked("stages", stages), _checked("outputs", outputs)
    source = model if isinstance(model, Graph) else formats.Source(model)
    plain = weights is None and not (stages or outputs) and shapes is None and not arithmetic
    file = None if isinstance(source, Graph) or source.path is None else source
    if file and plain and formats.recognise(file) is formats.ONNX:
        try:
            return _core.read_onnx(os.fsencode(file.name)), onnx_metadata.read(file)
        except ValueError:
            pass  # valid but not canonical, or damaged: the reader says which
    from . import core, passes
    from .ops._lowering import OperatorsMissing
    from .passes.sizes import SizesMatter, is_unrolled

    graph = _computed(read(source, weights, stages, shapes, outputs), arithmetic)
    try:
        form = passes.canonicalize(graph, memory_limit)
    except SizesMatter:
        return graph, graph.metadata
    except OperatorsMissing:
        raise
    except ValueError:
        # Another size may be one that it can be unrolled for.
        if is_unrolled(graph) and any(0 in value.shape for value in graph.inputs):
            return graph, graph.metadata
        raise
    return core.build(form), aliases.told(form)


def needs(
    graph: _core.GraphBuilder | Graph, batch: int, options: Mapping[str, Any]
) -> dict[str, int]:
    """Bytes that a session of the core's graph would take for a batch, without packing weights.

    weights: packed ones; plain: as the graph has them; read: of those that are in memory already;
    arena: values and workspaces; values: of the step that has most; callers: inputs and outputs;
    available: that this process can still have. ValueError where sizes of its inputs are open.
    """
    if isinstance(graph, Graph):
        raise ValueError("what it takes depends on the sizes of its inputs")
    return dict(_core.needs(graph, batch, **options))  # type: ignore[arg-type]


def build_for(
    graph: Graph,
    shapes: Mapping[str, tuple[int, ...]],
    settings: Mapping[str, Array],
    memory_limit: int | None = None,
) -> tuple[_core.GraphBuilder, frozenset[str]]:
    """The core's graph for inputs of these shapes, and of these values where they are integers
    without axes; and the names of values that have no axes.
    """
    from . import core, passes
    from .passes.sizes import with_inputs

    form = passes.canonicalize(with_inputs(graph, shapes, settings), memory_limit)
    return core.build(form), scalars.recorded(form.metadata)


def _checked(what: str, given: Sequence[str]) -> list[str]:
    """Names that someone has given: a list of them, or a single one."""
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{what} is {short(given)}, expected a list of names")
    return list(names)
