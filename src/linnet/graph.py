"""A network as a list of nodes: what importers make, passes rewrite, and the core and ONNX files
are made from.

A graph's operators are those of ONNX's default domain with the meaning of opset 13 and later,
whatever file it came from. `passes.canonicalize` rewrites them to the canonical few, which
`Graph.build` and `Graph.save` require.
"""

from __future__ import annotations

import heapq
import os
import secrets
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from . import _core
from .reference import quantize

Array = npt.NDArray[Any]
PathLike = Union[str, Path]

LONGEST_AXIS = 1 << 31  # exclusive, as in the core, whose arithmetic has 64 bits

WEIGHT_TYPES = ("f32", "f16", "int8")  # how weights can be stored

# The operator of a node that its importer could not express; the attribute "reason" says why.
# Keeping it in the graph lets canonicalize report it together with every other problem.
UNSUPPORTED = "Unsupported"


class Value(NamedTuple):
    """A graph input: float32 of `shape`. Axis 0 is the batch; its size is the file's, or 0 where
    that leaves it free.
    """

    name: str
    shape: tuple[int, ...]


@dataclass
class Node:
    """One operator. An empty input or output name stands for an absent optional one.

    Attribute values are int, float, str, list of those, or ndarray.
    """

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"node '{self.name}' ({self.attrs.get('op', self.op)})"


@dataclass
class Graph:
    """Nodes, constants, inputs and the names of the outputs; `source` is the file, for messages."""

    name: str
    nodes: list[Node]
    initializers: dict[str, Array]
    inputs: list[Value]
    outputs: list[str]
    source: str = ""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every input and node output of a canonical graph, 0 for the batch."""
        builder = self.build()
        names = [value.name for value in self.inputs] + [node.outputs[0] for node in self.nodes]
        return {name: tuple(builder.shape(name)) for name in names}

    def build(self) -> _core.GraphBuilder:
        """The graph in the core. float32 weights are borrowed, not copied; ValueError if it is
        not canonical.
        """
        try:
            builder = _core.GraphBuilder(self.name)
            for value in self.inputs:
                builder.input(value.name, (0, *value.shape[1:]))
            for name, array in self.initializers.items():
                dtype = np.int64 if array.dtype.kind == "i" else np.float32
                builder.initializer(name, np.require(array, dtype, ["C", "A"]))
            for node in self.nodes:
                builder.node(node.op, node.name, node.inputs, node.outputs, node.attrs)
            for name in self.outputs:
                builder.output(name)
        except ValueError as error:
            raise ValueError(f"{self.source}: {error}" if self.source else str(error)) from None
        return builder

    def save(self, path: PathLike, weights: str = "f32") -> None:
        """Write a canonical graph as an ONNX file (IR version 8) that any ONNX runtime reads.

        With weights="f16" every float tensor is stored rounded to float16, followed by a Cast to
        float32. With "int8" the weights of convolutions and fully connected layers are stored as
        int8 with a float32 scale for each output channel (reference.quantize), followed by a
        DequantizeLinear; biases stay float32. ValueError if a weight is outside float16's range, is
        not finite, or the file would exceed protobuf's 2 GB.
        """
        from .importers import _schema

        if weights not in WEIGHT_TYPES:
            raise ValueError(f"weights is {weights!r}, expected 'f32', 'f16' or 'int8'")
        shapes = self.shapes()
        if sum(array.nbytes for array in self.initializers.values()) >= 2**31:
            raise ValueError(f"{path}: more than 2 GB of weights do not fit one ONNX file")
        model = _schema.onnx("ModelProto")(ir_version=8, producer_name="linnet")
        model.opset_import.add(domain="", version=13)
        model.graph.name = self.name or "graph"
        for value in self.inputs:
            _describe(model.graph.input.add(), value.name, shapes[value.name])
        for name in self.outputs:
            _describe(model.graph.output.add(), name, shapes[name])
        taken = (shapes, self.initializers)
        kernels = {node.inputs[1] for node in self.nodes if node.op in ("Conv", "Gemm")}
        for name, array in self.initializers.items():
            if weights == "f16" and array.dtype.kind == "f":
                with np.errstate(over="ignore"):
                    halves = array.astype(np.float16)
                if not np.array_equal(np.isfinite(halves), np.isfinite(array)):
                    raise ValueError(f"initializer '{name}' is beyond float16's range of +-65504")
                stored = _unused(name + ".f16", taken)
                _add_tensor(model.graph, stored, halves)
                cast = model.graph.node.add(
                    op_type="Cast", name=stored, input=[stored], output=[name]
                )
                _write_attribute(cast.attribute.add(name="to"), _TENSOR_TYPE["float32"])
            elif weights == "int8" and name in kernels:
                try:
                    q, scale = quantize(array)
                except ValueError as error:
                    raise ValueError(f"initializer '{name}' {error}") from None
                stored, scales = _unused(name + ".int8", taken), _unused(name + ".scale", taken)
                _add_tensor(model.graph, stored, q)
                _add_tensor(model.graph, scales, scale)
                dequantize = model.graph.node.add(
                    op_type="DequantizeLinear", name=stored, input=[stored, scales], output=[name]
                )
                _write_attribute(dequantize.attribute.add(name="axis"), 0)
            else:
                _add_tensor(model.graph, name, array)
        for node in self.nodes:
            proto = model.graph.node.add(
                op_type=node.op, name=node.name, input=node.inputs, output=node.outputs
            )
            for key, setting in node.attrs.items():
                _write_attribute(proto.attribute.add(name=key), setting)
        _replace(Path(path), model.SerializeToString(deterministic=True))

    def sort(self) -> list[str]:
        """Bring the nodes into execution order, keeping the given order wherever it is one.

        Returns what is wrong: names defined twice, used but never defined, or in a cycle.
        """
        problems = []
        inputs = [value.name for value in self.inputs]
        defined = set(self.initializers)
        definitions = [(name, "an input") for name in inputs]
        definitions += [
            (name, f"an output of {node}") for node in self.nodes for name in node.outputs if name
        ]
        for name, what in definitions:
            if name in defined:
                problems.append(f"'{name}' is defined again as {what}")
            defined.add(name)
        for node in self.nodes:
            for name in node.inputs:
                if name and name not in defined:
                    problems.append(f"{node}: input '{name}' is not defined anywhere")
        for name in self.outputs:
            if name not in defined:
                problems.append(f"output '{name}' is not defined anywhere")
        if problems:
            return problems

        readers: dict[str, list[int]] = {}
        missing = []  # of each node, how many inputs are not computed yet
        available = set(self.initializers).union(inputs)
        for index, node in enumerate(self.nodes):
            needed = {name for name in node.inputs if name and name not in available}
            missing.append(len(needed))
            for name in needed:
                readers.setdefault(name, []).append(index)
        ready = [index for index, count in enumerate(missing) if count == 0]
        order = []
        while ready:
            node = self.nodes[heapq.heappop(ready)]
            order.append(node)
            for name in node.outputs:
                for index in readers.get(name, ()):
                    missing[index] -= 1
                    if missing[index] == 0:
                        heapq.heappush(ready, index)
        if len(order) < len(self.nodes):
            stuck = [str(node) for node, count in zip(self.nodes, missing) if count]
            return [f"the graph has a cycle through or before {', '.join(stuck[:5])}"]
        self.nodes = order
        return []


_ATTRIBUTE_TYPE = {float: 1, int: 2, str: 3, list: 7}  # AttributeProto.AttributeType
_TENSOR_TYPE = {"float32": 1, "int8": 3, "int64": 7, "float16": 10}  # TensorProto.DataType


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or leave what is there: a model may be converted in place."""
    target = path.resolve()  # a link stays a link
    temporary = target.with_name(f".linnet-{secrets.token_hex(8)}")
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _unused(name: str, taken: Sequence[Container[str]]) -> str:
    while any(name in names for names in taken):
        name += "_"
    return name


def _add_tensor(graph: Any, name: str, array: Array) -> None:
    graph.initializer.add(
        name=name,
        data_type=_TENSOR_TYPE[array.dtype.name],
        dims=array.shape,
        raw_data=array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(),
    )


def _describe(info: Any, name: str, shape: tuple[int, ...]) -> None:
    """Fill in a ValueInfoProto: float32, free batch."""
    info.name = name
    tensor = info.type.tensor_type
    tensor.elem_type = _TENSOR_TYPE["float32"]
    tensor.shape.dim.add(dim_param="N")
    for size in shape[1:]:
        tensor.shape.dim.add(dim_value=size)


def _write_attribute(proto: Any, setting: Any) -> None:
    proto.type = _ATTRIBUTE_TYPE[type(setting)]
    if isinstance(setting, list):
        proto.ints.extend(setting)
    elif isinstance(setting, str):
        proto.s = setting.encode()
    elif isinstance(setting, float):
        proto.f = setting
    else:
        proto.i = setting
