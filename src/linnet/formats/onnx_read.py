"""ONNX files (https://onnx.ai, opsets 7 to 28) to a Graph.

Operators keep their names; what changed its form between opsets is brought to the newest one here,
so that the rest of linnet knows a single meaning of each. One exception: "coerce" marks a Softmax
of before opset 13, which flattens its input to two axes at `axis` first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import aliases
from ..graph import OWN_DOMAIN, Array, Graph, Node, Value
from ..ops import OPERATORS
from ..ops.qlinear import MICROSOFT
from ..ops.reduce import REDUCTIONS
from ..text import short
from . import _schema
from ._source import Source
from ._translator import MissingOperator, Translator, Unsupported

OPSETS = range(7, 29)  # a newer one may mean something else by the same name

# TensorProto.DataType: (NumPy type of the stored bits, field of values that are not raw)
_TENSOR_TYPES = {
    1: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
    16: ("<u2", "int32_data"),
}
_BFLOAT16 = 16
_NIBBLES = {21: "u1", 22: "i1"}  # integers of 4 bits: the type that holds each
_INPUT_TYPES = {1, 2, 3, 5, 6, 7, 9, 10}
_DEEPEST = 16
_EXTERNAL = 1  # TensorProto.DataLocation


def read(source: Source, weights: Source | None = None) -> Graph:
    """The graph in an ONNX file; tensors in external files must lie in the same folder or below.

    ValueError if the file is damaged or its opset unknown. Single nodes, tensors and inputs that
    cannot be translated are left in the graph for passes.canonicalize to report together.
    """
    return translated(source, parsed(source))


def parsed(source: Source) -> Any:
    """The ModelProto in a file; ValueError if there is none."""
    what = f"{source}: not an ONNX model"
    try:
        return _schema.parse(_schema.onnx("ModelProto"), source.read(), what)
    except UnicodeDecodeError:
        raise ValueError(f"{source}: a name is not valid UTF-8") from None


def translated(source: Source, model: Any) -> Graph:
    """The graph of the ModelProto in a file."""
    try:
        return _Reader(source, model).graph
    except UnicodeDecodeError:
        raise ValueError(f"{source}: a name is not valid UTF-8") from None


class _Reader(Translator):
    """One translation, from the parsed file to `graph`."""

    def __init__(self, file: Source, model: Any) -> None:
        self.file = file
        self.opset = self._opset(model)
        source = model.graph
        super().__init__(source.name, str(file), (n for node in source.node for n in node.output))
        self.names.update(value.name for value in source.input)
        self.names.update(tensor.name for tensor in source.initializer)
        self.files: dict[Path, Array] = {}  # external data
        self.claimed: Counter[Path] = Counter()  # bytes of them in tensors
        self.nibbles: set[str] = set()  # initializers of 4 bits, which are there as of 8

        self.depth = 0  # of graphs in nodes of graphs
        self._fill(source)
        self.graph.outputs = [value.name for value in source.output]
        self.graph.metadata = {
            entry.key.decode("utf-8", "replace"): entry.value.decode("utf-8", "replace")
            for entry in model.metadata_props
        }
        self.graph.aliases = aliases.recorded(self.graph.metadata)
        self.graph.metadata.pop(aliases.ALIASES, None)

    def _fill(self, source: Any, body: bool = False) -> None:
        """Translate what a GraphProto holds; of a body its inputs are left out."""
        for tensor in source.initializer:
            with self.attempt("initializer", tensor.name, [], [tensor.name]):
                self._initializer(tensor)
        for name in (sparse.values.name for sparse in source.sparse_initializer):
            with self.attempt("sparse initializer", name, [], [name]):
                raise Unsupported("is not supported")
        for value in () if body else source.input:
            # Before IR version 4 every initializer was listed as an input, too.
            if value.name not in self.graph.initializers:
                with self.attempt("input", value.name, [], [value.name]):
                    self._input(value)
        for proto in source.node:
            name = proto.name or next(filter(None, proto.output), "")
            with self.attempt(proto.op_type, name, proto.input, proto.output):
                self._node(proto, name)

    def _body(self, source: Any) -> Graph:
        """A graph within a node, with the inputs that it says."""
        outer, self.graph = self.graph, Graph(source.name, [], {}, [], [], str(self.file))
        self.names.update(name for node in source.node for name in node.output)
        self.names.update(value.name for value in source.input)
        self.names.update(tensor.name for tensor in source.initializer)
        self.depth += 1
        try:
            if self.depth > _DEEPEST:
                raise Unsupported(f"is within more than {_DEEPEST} graphs")
            self._fill(source, body=True)
            body = self.graph
        finally:
            self.graph = outer
            self.depth -= 1
        body.inputs = [Value(value.name, ()) for value in source.input]
        body.outputs = [value.name for value in source.output]
        return body

    def _opset(self, model: Any) -> int:
        if not model.HasField("graph") or not model.graph.output:
            raise ValueError(f"{self.file}: not an ONNX model (it has no graph with outputs)")
        versions = [i.version for i in model.opset_import if i.domain in ("", "ai.onnx")]
        if not versions:
            raise ValueError(f"{self.file}: the model does not say which operator set it uses")
        if versions[0] not in OPSETS:
            raise ValueError(
                f"{self.file}: operator set {versions[0]} is not supported, "
                f"only {OPSETS[0]} to {OPSETS[-1]}"
            )
        return int(versions[0])

    def _initializer(self, tensor: Any) -> None:
        if tensor.name in self.graph.initializers:
            raise Unsupported("is defined twice")
        if tensor.data_type in _NIBBLES:
            self.nibbles.add(tensor.name)
            self.graph.initializers[tensor.name] = _nibbles(tensor)
        else:
            self.graph.initializers[tensor.name] = self._tensor(tensor)

    def numbers(self, hint: str, values: Any) -> str:
        """Name of a new int64 or float32 initializer."""
        array = np.asarray(values)
        return self.constant(hint, array.astype("f4" if array.dtype.kind == "f" else "i8"))

    def _input(self, value: Any) -> None:
        tensor = value.type.tensor_type
        if tensor.elem_type not in _INPUT_TYPES:
            raise Unsupported(
                f"its element type is {tensor.elem_type}; only float32 (1), float16, int8 to "
                "int64, uint8 and bool are supported"
            )
        stored = np.dtype(_TENSOR_TYPES[tensor.elem_type][0]).newbyteorder("=")
        if not tensor.HasField("shape"):
            raise Unsupported("has no shape")
        # Some exporters write -1 for a size that is left open.
        shape = tuple(max(dim.dim_value, 0) for dim in tensor.shape.dim)
        self.input(value.name, shape, stored)

    def _node(self, proto: Any, name: str) -> None:
        ours = proto.domain == "com.microsoft" and proto.op_type in MICROSOFT
        if not ours and proto.domain not in ("", "ai.onnx", OWN_DOMAIN):
            raise MissingOperator(f"operators of the domain '{proto.domain}' are not supported")
        if proto.op_type not in OPERATORS and proto.op_type != "Constant":
            raise MissingOperator("the operator is not supported")  # whatever its attributes are
        small = self.nibbles.intersection(proto.input)
        if small and proto.op_type != "DequantizeLinear":
            raise Unsupported(f"'{min(small)}' has 4 bits, as only weights can have")
        node = Node(proto.op_type, name, list(proto.input), list(proto.output))
        for attribute in proto.attribute:
            if attribute.name in node.attrs:
                raise Unsupported(f"attribute '{attribute.name}' is given twice")
            node.attrs[attribute.name] = self._attribute(attribute)
        _capture(node)
        if node.op == "Constant":
            self._constant_node(node)
            return
        modernize = _MODERNIZE.get(node.op)
        if modernize:
            modernize(self, node)
        self.graph.nodes.append(node)

    def _attribute(self, attribute: Any) -> Any:
        # Files of IR version 1 have no type; the field that is set tells.
        kind = attribute.type or next(
            (k for k, f in ((1, "f"), (2, "i"), (3, "s"), (4, "t")) if attribute.HasField(f)),
            6 if attribute.floats else 7,
        )
        if kind == 1:
            return float(attribute.f)
        if kind == 2:
            return int(attribute.i)
        if kind == 3:
            return attribute.s.decode()
        if kind == 4:
            return self._tensor(attribute.t)
        if kind == 5:
            return self._body(attribute.g)
        if kind == 6:
            return list(attribute.floats)
        if kind == 7:
            return list(attribute.ints)
        if kind == 8:
            return [text.decode() for text in attribute.strings]
        raise Unsupported(f"attribute '{attribute.name}' has the unsupported type {kind}")

    def _constant_node(self, node: Node) -> None:
        if len(node.attrs) != 1 or len(node.outputs) != 1:
            raise Unsupported("has not exactly one value and output")
        (key, setting), (name,) = *node.attrs.items(), node.outputs
        if name in self.graph.initializers:
            raise Unsupported(f"'{name}' is defined twice")
        if key == "value" and isinstance(setting, np.ndarray):
            self.graph.initializers[name] = setting
        elif key in ("value_float", "value_floats") and isinstance(setting, (float, list)):
            self.graph.initializers[name] = np.array(setting, np.float32)
        elif key in ("value_int", "value_ints") and isinstance(setting, (int, list)):
            self.graph.initializers[name] = np.array(setting, np.int64)
        else:
            raise Unsupported(f"a constant of the form '{key}' is not supported")

    def _tensor(self, tensor: Any) -> Array:
        """The array of a TensorProto. Its size is checked against the bytes that are there
        before anything else.
        """
        if tensor.data_type not in _TENSOR_TYPES:
            raise Unsupported(f"data type {tensor.data_type} is not supported")
        stored, field = _TENSOR_TYPES[tensor.data_type]
        dtype = np.dtype(stored)
        dims = list(tensor.dims)
        if min(dims, default=0) < 0:
            raise Unsupported(f"its shape is {dims}")
        count = math.prod(dims)
        try:
            if tensor.data_location == _EXTERNAL:
                array = self._external(tensor, dtype, count)
            elif tensor.HasField("raw_data"):
                data = tensor.raw_data
                if len(data) != count * dtype.itemsize:
                    raise ValueError(
                        f"holds {len(data)} bytes, its shape {dims} needs {count * dtype.itemsize}"
                    )
                array = np.frombuffer(data, dtype)
            elif dtype.kind == "f" and dtype.itemsize > 2:
                array = _schema.floats(tensor, field, _schema.onnx("TensorProtoUnpacked"), count)
            else:
                values = getattr(tensor, field)
                if len(values) != count:
                    raise ValueError(f"holds {len(values)} values, its shape {dims} needs {count}")
                array = np.fromiter(values, np.uint64 if field.startswith("u") else np.int64, count)
                bits = f"u{dtype.itemsize}" if dtype.kind == "f" else dtype
                array = array.astype(bits).view(dtype)
            if tensor.data_type == _BFLOAT16:  # the upper half of a float32
                array = (array.astype(np.uint32) << 16).view(np.float32)
            return array.reshape(dims)
        except ValueError as error:
            raise Unsupported(str(error)) from None

    def _external(self, tensor: Any, dtype: np.dtype[Any], count: int) -> Array:
        """A tensor kept in another file, read whole: a mapping would change as the file does.

        Never outside the model's folder.
        """
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if self.file.path is None:
            raise ValueError("external data of a model without a file is not supported")
        try:
            folder = self.file.path.parent.resolve()
            file = (folder / location).resolve()
            inside = folder in file.parents and file.is_file()
            size = file.stat().st_size if inside else 0
        except (OSError, RuntimeError, ValueError):  # loops of links, names no file can have
            inside = False
        if not inside:
            raise ValueError(f"external data {short(location)} is not a file in the model's folder")
        offset, nbytes = int(entries.get("offset", 0)), count * dtype.itemsize
        length = int(entries.get("length", nbytes))
        if offset < 0 or length != nbytes or offset + nbytes > size:
            raise ValueError(
                f"bytes {offset} to {offset + length} of {short(location)} ({size} bytes) "
                f"are not its {nbytes} bytes"
            )
        if nbytes == 0:
            return np.empty(0, dtype)
        # Tensors may share bytes, but a small file must not pass for many large tensors.
        self.claimed[file] += nbytes
        if self.claimed[file] > 4 * size:
            raise ValueError(f"the tensors in {short(location)} ({size} bytes) overlap too often")
        if file not in self.files:
            self.files[file] = np.fromfile(file, np.uint8)
        return self.files[file][offset : offset + nbytes].view(np.ndarray).view(dtype)


def _nibbles(tensor: Any) -> Array:
    """The integers of 4 bits of a TensorProto, of which two are in a byte, the low half first."""
    dims = list(tensor.dims)
    if min(dims, default=0) < 0 or tensor.data_location == _EXTERNAL:
        raise Unsupported(f"its shape is {dims}, or 4 bits in another file, which is not supported")
    count = math.prod(dims)
    if tensor.HasField("raw_data"):
        data = np.frombuffer(tensor.raw_data, np.uint8)
    else:
        data = np.fromiter(tensor.int32_data, np.int64).astype(np.uint8)
    if data.size != (count + 1) // 2:
        raise Unsupported(f"holds {data.size} bytes, its shape {dims} needs {(count + 1) // 2}")
    # Shifted down from the upper half, so that a sign fills what it leaves.
    halves = np.stack([data << 4, data & 0xF0], 1).reshape(-1)[:count]
    return np.asarray(halves.view(_NIBBLES[tensor.data_type]) >> 4).reshape(dims)


def _capture(node: Node) -> None:
    """What bodies read of the values around them is read by the node, and by each body, last."""
    bodies = [body for body in node.attrs.values() if isinstance(body, Graph)]
    if not bodies:
        return
    own = 0 if node.op == "If" else len(node.inputs)
    captured: dict[str, None] = {}
    for body in bodies:
        if len(body.inputs) != own:
            raise Unsupported(f"its body has {len(body.inputs)} inputs, expected {own}")
        made = {name for inner in body.nodes for name in inner.outputs}.union(body.initializers)
        made.update(value.name for value in body.inputs)
        read = [name for inner in body.nodes for name in inner.inputs] + body.outputs
        captured.update(dict.fromkeys(name for name in read if name and name not in made))
    for body in bodies:
        body.inputs += [Value(name, ()) for name in captured]
    node.inputs += captured
    if node.op != "If":
        node.attrs["captured"] = len(captured)


def _axes_to_input(reader: _Reader, node: Node) -> None:
    """Squeeze, Unsqueeze (before 13) and reductions (before 18) had their axes as an attribute."""
    if "axes" in node.attrs:
        node.inputs[1:] = [reader.numbers(f"{node.name}.axes", _int_list(node, "axes"))]


def _slice(reader: _Reader, node: Node) -> None:
    if reader.opset < 10:
        starts, ends = _int_list(node, "starts"), _int_list(node, "ends")
        axes = _int_list(node, "axes") if "axes" in node.attrs else list(range(len(starts)))
        lists = {"starts": starts, "ends": ends, "axes": axes}
        node.inputs[1:] = [
            reader.numbers(f"{node.name}.{key}", values) for key, values in lists.items()
        ]


def _split(reader: _Reader, node: Node) -> None:
    """Sizes were an attribute before opset 13; without them there are as many parts as outputs."""
    if "split" in node.attrs:
        sizes = _int_list(node, "split")
        node.inputs[1:] = [reader.numbers(f"{node.name}.split", sizes)]
    if len(node.inputs) < 2 or not node.inputs[1]:
        node.attrs.setdefault("num_outputs", len(node.outputs))


def _pad(reader: _Reader, node: Node) -> None:
    if reader.opset < 11:
        fill = node.attrs.pop("value", 0.0)
        if not isinstance(fill, float):
            raise Unsupported("attribute 'value' is not a number")
        node.inputs[1:] = [
            reader.numbers(f"{node.name}.pads", _int_list(node, "pads")),
            reader.numbers(f"{node.name}.value", fill),
        ]


def _clip(reader: _Reader, node: Node) -> None:
    if reader.opset < 11:
        for key in ("min", "max"):
            limit = node.attrs.pop(key, None)
            if not isinstance(limit, (float, type(None))):
                raise Unsupported(f"attribute '{key}' is not a number")
            name = "" if limit is None else reader.numbers(f"{node.name}.{key}", limit)
            node.inputs.append(name)


def _resize(reader: _Reader, node: Node) -> None:
    """Before opset 11 it is an Upsample; a place within a crop's roi came with 11."""
    if reader.opset < 11:
        node.op = "Upsample"


def _max_pool(reader: _Reader, node: Node) -> None:
    if len(node.outputs) > 1 and node.outputs[1]:
        node.op = "MaxPoolWithPlaces"


def _upsample(reader: _Reader, node: Node) -> None:
    if reader.opset < 9:
        scales = node.attrs.pop("scales", None)
        if not isinstance(scales, list) or not all(isinstance(s, (float, int)) for s in scales):
            raise Unsupported("attribute 'scales' is not a list of numbers")
        node.inputs[1:] = [reader.numbers(f"{node.name}.scales", scales)]


def _lstm(reader: _Reader, node: Node) -> None:
    _not_ours(node, "cell_limit")


def _not_ours(node: Node, attribute: str) -> None:
    """An attribute that readers of other formats set, and ONNX has not."""
    if attribute in node.attrs:
        raise Unsupported(f"attribute '{attribute}' is not supported")


def _softmax(reader: _Reader, node: Node) -> None:
    _not_ours(node, "coerce")
    if reader.opset < 13:
        node.attrs.setdefault("axis", 1)
        node.attrs["coerce"] = 1


def _batch_normalization(reader: _Reader, node: Node) -> None:
    if reader.opset < 9 and node.attrs.pop("spatial", 1) != 1:
        raise Unsupported("spatial=0 (statistics per pixel) is not supported")


def _dropout(reader: _Reader, node: Node) -> None:
    if reader.opset < 12:
        node.attrs.pop("ratio", None)


def _int_list(node: Node, key: str) -> list[int]:
    values = node.attrs.pop(key, None)
    if not isinstance(values, list) or not all(isinstance(value, int) for value in values):
        raise Unsupported(f"attribute '{key}' is not a list of integers")
    return values


def _top_k(reader: _Reader, node: Node) -> None:
    """Up to opset 9 how many is an attribute."""
    if reader.opset < 10 and "k" in node.attrs:
        node.inputs.append(reader.numbers(f"{node.name}.k", [node.attrs.pop("k")]))


def _roi_align(reader: _Reader, node: Node) -> None:
    """Up to opset 15 a pixel's place is its corner."""
    if reader.opset < 16:
        node.attrs.setdefault("coordinate_transformation_mode", "output_half_pixel")


_MODERNIZE: dict[str, Callable[[_Reader, Node], None]] = {
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Dropout": _dropout,
    "LSTM": _lstm,
    "LogSoftmax": _softmax,
    "MaxPool": _max_pool,
    "Pad": _pad,
    **{f"Reduce{name}": _axes_to_input for name in REDUCTIONS},
    "Resize": _resize,
    "RoiAlign": _roi_align,
    "Slice": _slice,
    "Hardmax": _softmax,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _axes_to_input,
    "TopK": _top_k,
    "Unsqueeze": _axes_to_input,
    "Upsample": _upsample,
}
