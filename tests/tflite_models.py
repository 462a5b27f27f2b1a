"""Writes TFLite files of a few operators: what FlatBuffers look like, and the schema's numbers."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

TYPES = {
    "float32": 0,
    "float16": 1,
    "int32": 2,
    "uint8": 3,
    "int64": 4,
    "bool": 6,
    "int16": 7,
    "int8": 9,
    "resource": 13,
}
CODES = dict.fromkeys(("CUSTOM",), 32)
CODES.update(
    ADD=0,
    AVERAGE_POOL_2D=1,
    CONCATENATION=2,
    CONV_2D=3,
    DEPTHWISE_CONV_2D=4,
    DEPTH_TO_SPACE=5,
    DEQUANTIZE=6,
    FULLY_CONNECTED=9,
    L2_NORMALIZATION=11,
    L2_POOL_2D=12,
    LOCAL_RESPONSE_NORMALIZATION=13,
    LOGISTIC=14,
    LSTM=16,
    MAX_POOL_2D=17,
    MUL=18,
    RELU=19,
    RELU_N1_TO_1=20,
    RELU6=21,
    RESHAPE=22,
    RESIZE_BILINEAR=23,
    SOFTMAX=25,
    SPACE_TO_DEPTH=26,
    TANH=28,
    PAD=34,
    GATHER=36,
    BATCH_TO_SPACE_ND=37,
    SPACE_TO_BATCH_ND=38,
    TRANSPOSE=39,
    MEAN=40,
    SUB=41,
    DIV=42,
    SQUEEZE=43,
    UNIDIRECTIONAL_SEQUENCE_LSTM=44,
    STRIDED_SLICE=45,
    EXP=47,
    SPLIT=49,
    LOG_SOFTMAX=50,
    CAST=53,
    PRELU=54,
    MAXIMUM=55,
    ARG_MAX=56,
    MINIMUM=57,
    LESS=58,
    PADV2=60,
    SELECT=64,
    SLICE=65,
    TRANSPOSE_CONV=67,
    TILE=69,
    TOPK_V2=48,
    EXPAND_DIMS=70,
    SUM=74,
    SHAPE=77,
    REDUCE_PROD=81,
    REDUCE_MAX=82,
    PACK=83,
    UNPACK=88,
    RESIZE_NEAREST_NEIGHBOR=97,
    LEAKY_RELU=98,
    SQUARED_DIFFERENCE=99,
    MIRROR_PAD=100,
    SPLIT_V=102,
    GATHER_ND=107,
    ELU=111,
    QUANTIZE=114,
    HARD_SWISH=117,
    NON_MAX_SUPPRESSION_V4=120,
    NON_MAX_SUPPRESSION_V5=121,
    SELECT_V2=123,
    DENSIFY=124,
    BATCH_MATMUL=126,
    CALL_ONCE=129,
    VAR_HANDLE=142,
    READ_VARIABLE=143,
    ASSIGN_VARIABLE=144,
    GELU=150,
)


def flat(root: Mapping[int, Any], identifier: bytes = b"TFL3") -> bytes:
    """A FlatBuffer. Tables are {field: value}; a value is a table, a list of them, an array, a
    text, or a pair of a `struct` type and a number.
    """
    out = bytearray(b"\0" * 4 + identifier)

    def align(size: int, more: int = 0) -> None:
        out.extend(b"\0" * (-(len(out) + more) % size))

    def put(value: Any) -> int:
        if isinstance(value, dict):
            count = max(value, default=-1) + 1
            slots = {field: 8 + 8 * i for i, field in enumerate(sorted(value))}
            align(8, 4 + 2 * count)
            fields = len(out)
            out.extend(struct.pack("<HH", 4 + 2 * count, 8 + 8 * len(slots)))
            out.extend(struct.pack(f"<{count}H", *(slots.get(i, 0) for i in range(count))))
            at = len(out)
            out.extend(struct.pack("<i", at - fields) + b"\0" * (4 + 8 * len(slots)))
            for field, slot in slots.items():
                given = value[field]
                if isinstance(given, tuple):
                    struct.pack_into(f"<{given[0]}", out, at + slot, given[1])
                else:
                    struct.pack_into("<I", out, at + slot, put(given) - at - slot)
            return at
        if isinstance(value, str):
            value = np.frombuffer(value.encode() + b"\0", np.uint8)
            return array(value, len(value) - 1)
        if isinstance(value, list):
            align(4)
            at = len(out)
            out.extend(struct.pack("<I", len(value)) + b"\0" * 4 * len(value))
            for i, item in enumerate(value):
                slot = at + 4 + 4 * i
                struct.pack_into("<I", out, slot, put(item) - slot)
            return at
        return array(value, value.size)

    def array(value: Any, count: int) -> int:
        align(16, 4)
        at = len(out)
        out.extend(struct.pack("<I", count) + value.tobytes())
        return at

    struct.pack_into("<I", out, 0, put(root))
    return bytes(out)


class Tensor(NamedTuple):
    """A tensor: of what shape, or with which numbers; (scale, zero, axis) of its integers."""

    shape: Sequence[int] = ()
    data: Any = None
    dtype: str = "float32"
    quant: tuple[Any, Any, int] | None = None
    signature: Sequence[int] | None = None
    more: Mapping[int, Any] = {}


class Op(NamedTuple):
    """An operator: names of inputs, "" for an absent one, and of results; options are (type,
    fields).
    """

    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    options: tuple[int, Mapping[int, Any]] | None = None
    custom: bytes | None = None


def constant(data: Any, dtype: str = "int32", **more: Any) -> Tensor:
    array = np.asarray(data, dtype)
    return Tensor(array.shape, array, dtype, **more)


class Part(NamedTuple):
    """A graph of a file: its tensors by name, operators, names of inputs and outputs."""

    tensors: Mapping[str, Tensor]
    operators: Sequence[Op]
    inputs: Sequence[str]
    outputs: Sequence[str]


def model(
    tensors: Mapping[str, Tensor],
    operators: Sequence[Op],
    inputs: Sequence[str],
    outputs: Sequence[str],
    more: Mapping[int, Any] = {},
    *,
    others: Sequence[Part] = (),
) -> bytes:
    """The bytes of a file; `more` are other fields of its root, `others` graphs after the first."""
    parts = [Part(tensors, operators, inputs, outputs), *others]
    kinds = list(dict.fromkeys(op.kind for part in parts for op in part.operators))
    codes = []
    for kind in kinds:
        number = CODES.get(kind, 32)
        code: dict[int, Any] = {0: ("b", min(number, 127)), 2: ("i", 1), 3: ("i", number)}
        codes.append({**code, 1: kind} if number == 32 else code)
    buffers: list[dict[int, Any]] = [{}]
    graphs = [graph(part, kinds, buffers) for part in parts]
    root = {0: ("I", 3), 1: codes, 2: graphs, 3: "written by a test", 4: buffers}
    return flat({**root, **more})


def graph(part: Part, kinds: Sequence[str], buffers: list[dict[int, Any]]) -> dict[int, Any]:
    """Its table; the numbers of constants go to `buffers`."""
    tables = []
    for name, tensor in part.tensors.items():
        table: dict[int, Any] = {
            0: np.array(tensor.shape, np.int32),
            1: ("b", TYPES.get(tensor.dtype, 5)),
            3: name,
        }
        if tensor.data is not None:
            table[2] = ("I", len(buffers))
            stored = np.frombuffer(np.ascontiguousarray(tensor.data).tobytes(), np.uint8)
            buffers.append({0: stored})
        if tensor.quant is not None:
            scale, zero, axis = tensor.quant
            table[4] = {
                2: np.atleast_1d(np.asarray(scale, np.float32)),
                3: np.atleast_1d(np.asarray(zero, np.int64)),
                6: ("i", axis),
            }
        if tensor.signature is not None:
            table[7] = np.array(tensor.signature, np.int32)
        tables.append({**table, **tensor.more})
    index = {name: i for i, name in enumerate(part.tensors)} | {"": -1}
    calls = []
    for op in part.operators:
        call: dict[int, Any] = {
            0: ("I", kinds.index(op.kind)),
            1: np.array([index[name] for name in op.inputs], np.int32),
            2: np.array([index[name] for name in op.outputs], np.int32),
        }
        if op.options is not None:
            call[3], call[4] = ("B", op.options[0]), dict(op.options[1])
        if op.custom is not None:
            call[5] = np.frombuffer(op.custom, np.uint8)
        calls.append(call)
    sides = (part.inputs, part.outputs)
    ends = (np.array([index[name] for name in side], np.int32) for side in sides)
    return dict(zip(range(5), (tables, *ends, calls, "main")))


def numbers(*shape: int, seed: int = 0) -> Any:
    """Numbers between -2 and 2 that look random and are the same in every NumPy."""
    count = int(np.prod(shape, dtype=np.int64))
    bits = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(977 * seed)) * np.uint64(
        2654435761
    )
    bits = (bits ^ (bits >> np.uint64(15))) * np.uint64(2246822519) % np.uint64(1 << 32)
    return (bits / float(1 << 30) - 2).astype(np.float32).reshape(shape)
