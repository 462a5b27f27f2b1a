"""What no output depends on."""

from __future__ import annotations

from dataclasses import replace

from ..graph import UNSUPPORTED, Graph


def remove_unused(graph: Graph) -> Graph:
    """Drop the nodes and initializers no output depends on; initializers in the order of use.

    What a reader says of the file as a whole, in a node without outputs, stays.
    """
    producers = {name: node for node in graph.nodes for name in node.outputs if name}
    needed: set[str] = set()
    pending = list(graph.outputs)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            if name in producers:
                pending += producers[name].inputs
    nodes = [
        node
        for node in graph.nodes
        if needed.intersection(node.outputs) - {""} or (node.op == UNSUPPORTED and not node.outputs)
    ]
    read = [name for node in nodes for name in node.inputs]
    read += graph.outputs
    constants = graph.initializers
    used = {name: constants[name] for name in read if name in constants}
    return replace(graph, nodes=nodes, initializers=used)
