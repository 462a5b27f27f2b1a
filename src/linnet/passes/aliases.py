"""Names of the source for what is another value, as that of an Identity that is left out."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Graph


def keep_aliases(graph: Graph) -> Graph:
    """Aliases lead to the values themselves; those of values that are not there any more go."""
    known = graph.names().difference(graph.initializers, [""])
    ends: dict[str, str] = {}
    for alias in graph.aliases:
        path, name = [], alias
        while name not in known and name in graph.aliases and name not in ends:
            path.append(name)
            ends[name] = ""  # what leads to itself leads nowhere
            name = graph.aliases[name]
        ends.update(dict.fromkeys(path, ends.get(name, name)))
    return replace(graph, aliases={name: end for name, end in ends.items() if end in known})
