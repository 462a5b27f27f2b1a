"""A canonical graph to an ONNX file that any runtime reads: IR version 8, opset 13 if possible."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import aliases, core
from .._core import GraphBuilder
from ..graph import ELEMENT_TYPES, OWN_DOMAIN, OWN_OPERATORS, Array, Graph, Names
from ..ops.quant import quantize
from ..ops.reduce import REDUCTIONS
from ..options import WEIGHT_TYPES
from ..text import short
from . import PathLike, _schema

_FLOAT, _INT, _STRING, _TENSOR, _FLOATS, _INTS, _STRINGS = 1, 2, 3, 4, 6, 7, 8  # AttributeType
# Operators, or forms of them, that are newer than operator set 13.
_SCALED = {"DequantizeLinear", "QuantizeLinear", "Resize"}  # that have scales as inputs
_SINCE = {"HardSwish": 14, "Mish": 18, "Resize": 18, "Gelu": 20} | {
    f"Reduce{name}": 18 for name in REDUCTIONS
}


def save(graph: Graph, path: PathLike, weights: str = "f32", *, like: Graph | None = None) -> None:
    """Write the graph to `path`.

    like: a canonical graph of the same inputs and outputs, if this one has other operators too.

    With weights="f16" every float tensor but scales, and what layers of integers have, is stored
    rounded to float16, followed by a Cast to float32. With "int8" the weights of convolutions and
    fully connected layers are stored as int8 with a float32 scale for each output channel
    (quantize), followed by a DequantizeLinear; biases stay float32. ValueError if a weight is
    outside float16's range, is not finite, or the file would exceed protobuf's 2 GB.
    """
    if weights not in WEIGHT_TYPES:
        raise ValueError(f"weights is {short(weights)}, expected 'f32', 'f16' or 'int8'")
    builder = core.build(graph if like is None else like)
    if sum(array.nbytes for array in graph.initializers.values()) >= 2**31:
        raise ValueError(f"{path}: more than 2 GB of weights do not fit one ONNX file")
    model = _schema.onnx("ModelProto")(ir_version=8, producer_name="linnet")
    version = max([13, *(_SINCE.get(node.op, 13) for node in graph.nodes)])
    model.opset_import.add(domain="", version=version)
    if any(node.op in OWN_OPERATORS for node in graph.nodes):
        model.opset_import.add(domain=OWN_DOMAIN, version=1)
    for key, text in aliases.told(graph).items():
        model.metadata_props.add(key=key.encode(), value=text.encode())
    model.graph.name = graph.name or "graph"
    for value in graph.inputs:
        _describe(model.graph.input.add(), value.name, builder)
    for name in graph.outputs:
        _describe(model.graph.output.add(), name, builder)
    names = graph.names()
    layers = [node for node in graph.nodes if node.op in ("Conv", "Gemm")]
    kernels = {node.inputs[1] for node in layers}
    scaled = [node for node in graph.nodes if node.op in _SCALED]
    scaled += [node for node in layers if node.inputs[1] not in graph.initializers]
    exact = {name for node in scaled for name in node.inputs[1:]}
    for name, array in graph.initializers.items():
        if weights == "f16" and array.dtype.kind == "f" and name not in exact:
            _add_half(model.graph, name, array, names)
        elif weights == "int8" and name in kernels:
            _add_quantized(model.graph, name, array, names)
        else:
            _add_tensor(model.graph, name, array)
    for node in graph.nodes:
        _add_node(model.graph, node.op, node.name, node.inputs, node.outputs, **node.attrs)
    _replace(Path(path), model.SerializeToString(deterministic=True))


def _add_half(proto: Any, name: str, array: Array, names: Names) -> None:
    with np.errstate(over="ignore"):
        halves = array.astype(np.float16)
    if not np.array_equal(np.isfinite(halves), np.isfinite(array)):
        raise ValueError(f"initializer '{name}' is beyond float16's range of +-65504")
    stored = names.fresh(name + ".f16")
    _add_tensor(proto, stored, halves)
    _add_node(proto, "Cast", stored, [stored], [name], to=ELEMENT_TYPES["float32"])


def _add_quantized(proto: Any, name: str, array: Array, names: Names) -> None:
    try:
        q, scale = quantize(array)
    except ValueError as error:
        raise ValueError(f"initializer '{name}' {error}") from None
    stored, scales = names.fresh(name + ".int8"), names.fresh(name + ".scale")
    _add_tensor(proto, stored, q)
    _add_tensor(proto, scales, scale)
    _add_node(proto, "DequantizeLinear", stored, [stored, scales], [name], axis=0)


def _add_node(
    proto: Any, op: str, name: str, inputs: Sequence[str], outputs: Sequence[str], **attrs: Any
) -> None:
    node = proto.node.add(op_type=op, name=name, input=inputs, output=outputs)
    if op in OWN_OPERATORS:
        node.domain = OWN_DOMAIN
    for key, setting in attrs.items():
        _write_attribute(node.attribute.add(name=key), setting)


def _add_tensor(proto: Any, name: str, array: Array) -> None:
    _write_tensor(proto.initializer.add(name=name), array)


def _write_tensor(tensor: Any, array: Array) -> None:
    tensor.data_type = ELEMENT_TYPES[array.dtype.name]
    tensor.dims.extend(array.shape)
    tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _describe(info: Any, name: str, builder: GraphBuilder) -> None:
    """Fill in a ValueInfoProto, sizes that are open left so."""
    info.name = name
    tensor = info.type.tensor_type
    tensor.elem_type = ELEMENT_TYPES[builder.dtype(name).name]
    for axis, size in enumerate(builder.shape(name)):
        dim = tensor.shape.dim.add()
        if size:
            dim.dim_value = size
        elif axis == 0:
            dim.dim_param = "N"


def _write_attribute(proto: Any, setting: Any) -> None:
    if isinstance(setting, str):
        proto.type, proto.s = _STRING, setting.encode()
    elif isinstance(setting, float):
        proto.type, proto.f = _FLOAT, setting
    elif isinstance(setting, np.ndarray):
        proto.type = _TENSOR
        _write_tensor(proto.t, setting)
    elif not isinstance(setting, list):
        proto.type, proto.i = _INT, setting
    elif any(isinstance(item, str) for item in setting):
        proto.type = _STRINGS
        proto.strings.extend(item.encode() for item in setting)
    elif any(isinstance(item, float) for item in setting):
        proto.type = _FLOATS
        proto.floats.extend(setting)
    else:
        proto.type = _INTS
        proto.ints.extend(setting)


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
