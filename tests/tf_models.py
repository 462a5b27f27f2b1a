"""Graphs of TensorFlow, node by node."""

from __future__ import annotations

from typing import Any

import numpy as np

from linnet.formats import _schema

FLOAT, INT, BOOL, STRING = 1, 3, 10, 7


class Builder:
    """A GraphDef, node by node."""

    def __init__(self) -> None:
        self.graph = _schema.tensorflow("GraphDef")()

    def add(self, op: str, name: str, *inputs: str, **attrs: Any) -> Builder:
        node = self.graph.node.add(name=name, op=op, input=list(inputs))
        for key, value in attrs.items():
            attr = node.attr.add(key=key).value
            if isinstance(value, bool):
                attr.b = value
            elif isinstance(value, int):
                attr.i = value
            elif isinstance(value, float):
                attr.f = value
            elif isinstance(value, bytes):
                attr.s = value
            else:
                attr.list.i.extend(value)
        return self

    def input(self, *shape: int, name: str = "x", dtype: int = FLOAT) -> Builder:
        self.add("Placeholder", name)
        attrs = self.graph.node[-1].attr
        attrs.add(key="dtype").value.type = dtype
        for size in shape:
            attr = next((a for a in attrs if a.key == "shape"), None) or attrs.add(key="shape")
            attr.value.shape.dim.add(size=size)
        return self

    def const(self, name: str, values: Any, control: str = "") -> Builder:
        array = np.asarray(values)
        kinds = {"f": (FLOAT, "f4"), "i": (INT, "i4"), "b": (BOOL, "?")}
        code, stored = kinds[array.dtype.kind]
        self.add("Const", name, *[f"^{control}"] * bool(control))
        tensor = self.graph.node[-1].attr.add(key="value").value.tensor
        tensor.dtype = code
        tensor.tensor_content = array.astype(stored).tobytes()
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        return self

    def data(self) -> bytes:
        return bytes(self.graph.SerializeToString())
