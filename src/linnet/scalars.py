"""Values that have no axes in the source and one of size 1 in the core: their names, as text in a
model's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from .graph import Array

SCALARS = "linnet.scalars"  # a JSON list of names


def record(names: Collection[str]) -> dict[str, str]:
    """Metadata with these names; none if there are none."""
    return {SCALARS: json.dumps(sorted(names))} if names else {}


def recorded(metadata: Mapping[str, str]) -> frozenset[str]:
    """The names in metadata. Those of a record that is damaged are none: the values are there with
    their axis.
    """
    try:
        names = json.loads(metadata.get(SCALARS, "[]"))
    except (ValueError, RecursionError):
        return frozenset()
    if not isinstance(names, list):
        return frozenset()
    return frozenset(name for name in names if isinstance(name, str))


def without_axes(array: Array) -> Array:
    """The one number of an array; itself if there are more, as of several images."""
    return array.reshape(()) if array.size == 1 else array
