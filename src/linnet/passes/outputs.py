"""A network that ends earlier than its file says: at the values that someone wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..graph import Graph, Node
from ..states import outputs_of, without
from ..text import listed, nearest
from .unused import remove_unused


def with_outputs(graph: Graph, names: Sequence[str]) -> Graph:
    """The graph that computes the values of these names, with the nodes, constants and inputs that
    it takes; all of it if there are no names.

    `left_out` tells of operators that it does not take. ValueError for names that it has not.
    """
    if not names:
        return graph
    known = graph.names()
    copies = [
        Node("Identity", name, [graph.aliases[name]], [name])
        for name in dict.fromkeys(names)
        if name not in known and graph.aliases.get(name) in known
    ]
    known.update(node.name for node in copies)
    unknown = [name for name in names if name not in known]
    if unknown:
        where = f"{graph.source}: " if graph.source else ""
        raise ValueError(
            f"{where}the model has no value {listed(unknown)}{nearest(unknown, known)}"
        )
    graph = replace(graph, nodes=graph.nodes + copies)
    wanted = list(dict.fromkeys(names))
    while True:  # what they depend on may be a state, and that on others
        cut = remove_unused(replace(graph, outputs=wanted))
        read = {name for node in cut.nodes for name in node.inputs}.union(wanted)
        more = [name for name in outputs_of(graph.metadata, read) if name not in wanted]
        if not more:
            break
        wanted += more
    kept = {id(node) for node in cut.nodes}
    left = (str(node.attrs.get("op", node.op)) for node in graph.nodes if id(node) not in kept)
    return replace(
        cut,
        metadata=without(graph.metadata, read),
        inputs=[value for value in graph.inputs if value.name in read],
        left_out=graph.left_out or sorted(set(left)),
    )
