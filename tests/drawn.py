"""Graphs that tests draw."""

from __future__ import annotations

from typing import Any

import numpy as np

from linnet.graph import Array, Graph, Node, Value


class Drawing:
    """A graph being drawn of one input x; each method returns the value it adds."""

    def __init__(self, seed: int, *shape: int) -> None:
        self.random = np.random.default_rng(seed)
        self.graph = Graph("drawn", [], {}, [Value("x", shape)], [])

    def node(self, op: str, *inputs: str | Array, **attrs: Any) -> str:
        """Arrays become constants."""
        name = f"{op.lower()}{len(self.graph.nodes)}"
        names = []
        for i, value in enumerate(inputs):
            names.append(value if isinstance(value, str) else f"{name}.{i}")
            if not isinstance(value, str):
                self.graph.initializers[names[-1]] = value
        self.graph.nodes.append(Node(op, name, names, [name], attrs))
        return name
