"""Names of the source for what is another value, as text in a model's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .graph import Graph

ALIASES = "linnet.aliases"  # a JSON object: the value's own name by its other one


def told(graph: Graph) -> dict[str, str]:
    """The graph's metadata, with its aliases."""
    if not graph.aliases:
        return dict(graph.metadata)
    return {**graph.metadata, ALIASES: json.dumps(graph.aliases)}


def recorded(metadata: Mapping[str, str]) -> dict[str, str]:
    """The aliases in metadata. Those of a record that is damaged are none: the values are there
    under their own names.
    """
    try:
        aliases = json.loads(metadata.get(ALIASES, "{}"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(aliases, dict):
        return {}
    return {name: value for name, value in aliases.items() if isinstance(value, str)}
