"""HardSwish and HardSigmoid that exporters have written as arithmetic, each one step then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Array, Graph, Node

_SIXTH = 1 / 6


def join_hard_swish(graph: Graph) -> Graph:
    """x * clip(x + 3, 0, 6) / 6, in any order, is HardSwish; without the product HardSigmoid."""
    return _Joining(graph).graph


class _Joining:
    def __init__(self, source: Graph) -> None:
        self.constants = source.initializers
        self.made = {name: node for node in source.nodes for name in node.outputs}
        nodes = []
        for node in source.nodes:
            joined = self._joined(node) if node.op == "Mul" else None
            nodes.append(joined or node)
            self.made[node.outputs[0]] = nodes[-1]
        self.graph = replace(source, nodes=nodes)

    def _joined(self, node: Node) -> Node | None:
        for x, gate in (node.inputs, node.inputs[::-1]):
            if x not in self.constants and self._sigmoid_of(gate) == x:
                return replace(node, op="HardSwish", inputs=[x], attrs={})
        whole = self._times_sixth(node)
        before = self.made.get(whole)
        if before is not None and before.op == "Mul":
            for x, gate in (before.inputs, before.inputs[::-1]):
                if x not in self.constants and self._shifted_of(gate) == x:
                    return replace(node, op="HardSwish", inputs=[x], attrs={})
        if x := self._shifted_of(whole):
            attrs = {"alpha": _SIXTH, "beta": 0.5}
            return replace(node, op="HardSigmoid", inputs=[x], attrs=attrs)
        return None

    def _sigmoid_of(self, value: str) -> str:
        """The x of which a value is clip(x + 3, 0, 6) / 6; empty if it is none."""
        node = self.made.get(value)
        if node is None or node.op != "HardSigmoid":
            return ""
        attrs = {"alpha": 0.2, "beta": 0.5, **node.attrs}
        same = np.allclose([attrs["alpha"], attrs["beta"]], [_SIXTH, 0.5], rtol=1e-6)
        return node.inputs[0] if same else ""

    def _times_sixth(self, node: Node) -> str:
        """What it multiplies by 1/6, if it does."""
        for x, number in (node.inputs, node.inputs[::-1]):
            if _is(self.constants.get(number), _SIXTH):
                return x
        return ""

    def _shifted_of(self, value: str) -> str:
        """The x of which a value is clip(x + 3, 0, 6)."""
        clip = self.made.get(value)
        if clip is None or clip.op != "Clip" or len(clip.inputs) != 3:
            return ""
        least, most = (self.constants.get(name) for name in clip.inputs[1:])
        add = self.made.get(clip.inputs[0])
        if not (_is(least, 0) and _is(most, 6)) or add is None or add.op != "Add":
            return ""
        for x, number in (add.inputs, add.inputs[::-1]):
            if _is(self.constants.get(number), 3):
                return x
        return ""


def _is(array: Array | None, number: float) -> bool:
    """Whether a constant is one number, however often."""
    if array is None or array.dtype.kind != "f" or not array.size:
        return False
    return bool(np.allclose(array, number, rtol=1e-6, atol=0))
