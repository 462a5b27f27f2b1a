"""Names of nodes."""

from __future__ import annotations

from ..graph import Graph, Names


def name_nodes(graph: Graph) -> Graph:
    """Every node gets a name that no other has, if need be its output's."""
    names = Names()
    for node in graph.nodes:
        node.name = names.fresh(node.outputs[0] if node.name in names else node.name)
    return graph
