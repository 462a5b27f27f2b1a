"""Rewriting an imported graph to the canonical operators, the only ones the core knows.

`lower` goes through the nodes once, in execution order, and does all that needs shapes or
constants, by the operators' rules; the small PASSES after it, in order, match patterns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..core import build
from ..graph import Graph
from .affine import fold_affine
from .aliases import keep_aliases
from .expand import expand
from .hard_swish import join_hard_swish
from .integers import expand_weights, move_integers
from .limits import join_limits
from .lowering import lower, report
from .names import name_nodes
from .pad import fold_zero_pad
from .sizes import SizesMatter, common_form, is_open, with_scalars
from .unused import remove_unused

PASSES: list[Callable[[Graph], Graph]] = [
    remove_unused,
    fold_affine,
    fold_zero_pad,
    move_integers,
    remove_unused,
    join_limits,
    expand_weights,
    expand,
    join_hard_swish,
    remove_unused,
    name_nodes,
    keep_aliases,
]


def canonicalize(graph: Graph, memory_limit: int | None = None) -> Graph:
    """The canonical form of an imported graph; a canonical graph stays as it is.

    memory_limit: bytes that constants may take that the graph does not hold but makes, by default
    half of the memory available.

    ValueError lists every node that has none, with the reason.
    """
    graph = with_scalars(graph)
    for value in graph.inputs:
        if not value.shape:
            where = f"{graph.source}: " if graph.source else ""
            raise SizesMatter(f"{where}input '{value.name}' has no axes: it has to be known before")
    if is_open(graph):
        return common_form(graph, canonicalize, memory_limit)
    graph = replace(graph, nodes=[replace(node, attrs=dict(node.attrs)) for node in graph.nodes])
    graph = remove_unused(graph)
    report(graph, graph.sort())
    with np.errstate(all="ignore"):  # what is not finite in the file stays so
        graph = lower(graph, memory_limit)
        for rewrite in PASSES:
            graph = rewrite(graph)
    build(graph)
    return graph
