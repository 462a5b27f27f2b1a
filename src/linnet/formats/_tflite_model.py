"""What a .tflite file holds: tensors with their constants and quantisation, operators, names.

The schema is tensorflow/compiler/mlir/lite/schema/schema.fbs; fields go by its numbers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..graph import LONGEST_AXIS, Array, Shape
from ._flatbuffer import Bytes, Table
from ._source import Source
from ._tflite_sparse import dense
from ._translator import Unsupported

# TensorType: NumPy's names of those that the Graph can hold. int4 lies in the low half of a byte,
# then in the high one.
TYPES = {
    0: "<f4",
    1: "<f2",
    2: "<i4",
    3: "u1",
    4: "<i8",
    6: "?",
    7: "<i2",
    9: "i1",
    10: "<f8",
    15: "<u4",
    16: "<u2",
    17: "i1",
}
_INT4 = 17
_TYPE_NAMES = {5: "STRING", 8: "COMPLEX64", 13: "RESOURCE", 14: "VARIANT", 18: "BFLOAT16"}
_BUILTIN = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6
RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL
CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST
PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN
TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW
ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK
REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR
LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS
WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
BATCH_MATMUL PLACEHOLDER CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS
HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE
READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM
MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX
UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT
"""
KINDS = _BUILTIN.split()  # BuiltinOperator, from 0 on


class Quantization(NamedTuple):
    """A number q stands for scale * (q - zero), of which there are one each, or one for each
    index of `axis`.
    """

    scale: Array
    zero: Array
    axis: int


class Tensor:
    """A tensor. Its shape is 0 where the file leaves a size open."""

    def __init__(self, table: Table, index: int) -> None:
        self.name = table.text(3) or f"tensor{index}"
        shape, signature = table.integers(0), table.integers(7)
        self.declared = tuple(shape)
        self.signature = tuple(signature or shape)
        if len(signature) == len(shape):
            shape = [0 if open_ == -1 else n for n, open_ in zip(shape, signature)]
        self.shape: Shape = tuple(shape)
        self.type: int = table.number(1, "b")
        self.buffer: int = table.number(2, "I")
        self.variable = bool(table.number(5, "B"))
        self.sparsity = table.table(6)
        self._quantization = table.table(4)
        self.external = table.number(10, "I")

    @property
    def dtype(self) -> np.dtype[Any]:
        if self.type not in TYPES:
            name = _TYPE_NAMES.get(self.type, f"number {self.type}")
            raise Unsupported(f"tensor '{self.name}' has the unsupported type {name}")
        return np.dtype(TYPES[self.type])

    def scales(self) -> Quantization | None:
        """The scales and zero points that the file has, whatever they are."""
        table = self._quantization
        scale = None if table is None else table.numbers(2, "<f4")
        if table is None or scale is None or not scale.size:
            return None
        zero = table.numbers(3, "<i8")
        zero = np.zeros(scale.size, np.int64) if zero is None or not zero.size else zero
        if zero.size == 1:
            zero = np.broadcast_to(zero, scale.size)
        return Quantization(scale, zero, table.number(6))

    def quantization(self) -> Quantization | None:
        """How its integers stand for reals, if they do."""
        found = self.scales()
        if found is None or self.dtype.kind not in "iu":
            return None
        if self._quantization is not None and self._quantization.number(4, "B"):
            raise Unsupported(f"tensor '{self.name}' is quantised in a way that is not supported")
        scale, zero, axis = found
        limits = np.iinfo(self.dtype)
        inside = bool((zero >= limits.min).all() and (zero <= limits.max).all())
        # Some files say the axis of the weights of the scales of a vector, which has one only.
        axis = 0 if len(self.shape) == 1 else axis
        each = scale.size > 1
        if each and not (0 <= axis < len(self.shape) and scale.size == self.shape[axis]):
            inside = False
        if zero.size != scale.size or not inside or not (np.isfinite(scale) & (scale > 0)).all():
            raise Unsupported(f"the scales or zero points of tensor '{self.name}' do not fit it")
        if not each:
            scale, zero = scale.reshape(()), zero.reshape(())
        return Quantization(scale.astype(np.float32), zero.astype(self.dtype), axis)


class Operator:
    """An operator: its kind by the schema's name, or its own if it is `custom`."""

    def __init__(self, table: Table, code: Table) -> None:
        # Numbers above 127 came when the first field, a byte, was full.
        number = max(code.number(0, "b"), code.number(3, "i"))
        self.kind = KINDS[number] if 0 <= number < len(KINDS) else f"operator {number}"
        self.custom = self.kind == "CUSTOM"
        if self.custom:
            self.kind = code.text(1)
        self.inputs = table.integers(1)
        self.outputs = table.integers(2)
        self.options_type = table.number(3, "B")
        self.options = table.table(4)
        self.custom_options = table.numbers(5, "u1")

    def text(self, field: int) -> str:
        """A field of the options that is a text."""
        return "" if self.options is None else self.options.text(field)


class Signature(NamedTuple):
    """One way to call a graph of the file, by its number: names of inputs and outputs, and the
    tensors that these are.
    """

    inputs: dict[str, int]
    outputs: dict[str, int]
    graph: int


class Model:
    """A parsed file. ValueError if it is damaged."""

    def __init__(self, source: Source) -> None:
        self.data = source.read()
        if self.data[4:8] != b"TFL3":
            raise ValueError(f"{source}: not a TFLite model (it has no 'TFL3' at byte 4)")
        what = f"{source}: not a TFLite model, or damaged"
        file = Bytes(self.data, what)
        root = file.root()
        if root.number(0, "I") != 3:
            raise ValueError(f"{source}: version {root.number(0, 'I')} of TFLite is not supported")
        self.description = root.text(3)
        self._root = root
        self._buffers = root.tables(4)
        graphs = root.tables(2)
        self.graphs = len(graphs)
        if not graphs:
            raise ValueError(f"{what}: it has no graph")
        self._codes, self._what = root.tables(1), what
        # Others are of branches, loops and initialisation, which operators of this one call.
        main = graphs[0]
        self.name = main.text(4)
        self.inputs, self.outputs = main.integers(1), main.integers(2)
        self.tensors, self.operators = self._graph(main)
        ends = {*self.inputs, *self.outputs}
        if ends and not 0 <= min(ends) <= max(ends) < len(self.tensors):
            raise ValueError(f"{what}: an operator names a tensor that there is not")
        # Tensors may share bytes, but a small file must not pass for many large tensors.
        self._room = 8 * len(self.data) + (1 << 22)

    def _graph(self, graph: Table) -> tuple[list[Tensor], list[Operator]]:
        tensors = [Tensor(table, i) for i, table in enumerate(graph.tables(0))]
        operators = []
        for table in graph.tables(3):
            index = table.number(0, "I")
            if index >= len(self._codes):
                raise ValueError(f"{self._what}: an operator has no code")
            operators.append(Operator(table, self._codes[index]))
        used = {i for op in operators for i in (*op.inputs, *op.outputs)}
        if not all(-1 <= i < len(tensors) for i in used):
            raise ValueError(f"{self._what}: an operator names a tensor that there is not")
        return tensors, operators

    def assigned(self, index: int) -> dict[str, Array]:
        """The constants that a graph assigns to variables, which is all that it may do."""
        graphs = self._root.tables(2)
        if not 0 < index < len(graphs):
            raise Unsupported(f"calls graph {index}, which there is not")
        tensors, operators = self._graph(graphs[index])
        names: dict[int, str] = {}
        found = {}
        for operator in operators:
            value = None
            if operator.kind == "VAR_HANDLE" and len(operator.outputs) == 1:
                names[operator.outputs[0]] = operator.text(1)
                continue
            if operator.kind == "ASSIGN_VARIABLE" and len(operator.inputs) == 2:
                value = self.constant(tensors[operator.inputs[1]])
            if value is None or operator.inputs[0] not in names:
                raise Unsupported("does more than to assign constants to variables")
            found[names[operator.inputs[0]]] = value
        return found

    def signatures(self) -> dict[str, Signature]:
        """The signatures by their keys, names in their alphabet's order as LiteRT has them."""
        found = {}
        for table in self._root.tables(7):
            sides = [
                {entry.text(0): int(entry.number(1, "I")) for entry in table.tables(field)}
                for field in (0, 1)
            ]
            inputs, outputs = (dict(sorted(side.items())) for side in sides)
            found[table.text(2)] = Signature(inputs, outputs, table.number(4, "I"))
        return found

    def _bytes(self, tensor: Tensor) -> Array | None:
        """The bytes of a constant, None if it is none. The first buffer is always empty."""
        if not 0 < tensor.buffer < len(self._buffers):
            return None
        table = self._buffers[tensor.buffer]
        # Files beyond 2 GB have the bytes after the tables.
        offset, size = table.number(1, "Q"), table.number(2, "Q")
        if offset > 1:
            if offset + size > len(self.data):
                raise Unsupported(f"the bytes of tensor '{tensor.name}' lie outside of the file")
            return np.frombuffer(self.data, np.uint8, size, offset)
        data = table.numbers(0, "u1")
        return None if data is None or not data.size else data

    def metadata(self, name: str) -> bytes:
        """What the file says under a name, empty if nothing. ValueError if it is damaged."""
        for table in self._root.tables(6):
            index = table.number(1, "I")
            if table.text(0) == name and index < len(self._buffers):
                data = self._buffers[index].numbers(0, "u1")
                return b"" if data is None else data.tobytes()
        return b""

    def constant(self, tensor: Tensor) -> Array | None:
        """The numbers of a constant, in a view of the file if they are stored plainly; None if it
        is computed.
        """
        dtype, shape = tensor.dtype, tensor.declared
        if tensor.external:
            raise Unsupported(f"the numbers of tensor '{tensor.name}' are in another file")
        data = self._bytes(tensor)
        if data is None:
            return None
        if any(not 0 <= n < LONGEST_AXIS for n in shape):
            raise Unsupported(f"tensor '{tensor.name}' has the shape {list(shape)}")
        count = math.prod(shape)
        self._room -= count * dtype.itemsize
        if self._room < 0:
            raise Unsupported("its constants are far larger than the file")
        if tensor.type == _INT4:
            data = np.stack([data << 4, data], -1).reshape(-1)[: max(count, 0)]
            data = (data.view(np.int8) >> 4).view(np.uint8)
        if tensor.sparsity is not None:
            values = data[: data.size // dtype.itemsize * dtype.itemsize]
            return dense(tensor.sparsity, values.view(dtype), shape, tensor.name)
        if data.size != count * dtype.itemsize:
            raise Unsupported(
                f"tensor '{tensor.name}' holds {data.size} bytes, its shape {list(shape)} needs "
                f"{count * dtype.itemsize}"
            )
        numbers = data != 0 if dtype.kind == "b" else data.view(dtype)
        return numbers.reshape(shape)
