"""One of TensorFlow's operators being translated: attributes, inputs; constants in files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import Array, Shape
from ..text import short
from . import _schema
from ._inferred import Inferred
from ._tf_bundle import widened
from ._tf_graph import Op
from ._tf_proto import TEXT, TYPES
from ._translator import Unsupported

# Types of tensors, and what is of one machine or of training.
_HARMLESS = re.compile(
    r"_.*|[TU]\w*|SrcT|Index|dtype|out_type|key_dtype|use_cudnn_on_gpu|cudnn_fmt|N|num_args|validate_shape|"
    r"exponential_avg_factor|grad_[abxy]|index_type|message|shape|container|shared_name|allowed_devices|"
    r"output_types|debug_name|parallel_iterations|element_shape|half_to_float|validate_indices"
)

_MOST_AXES = 8
_MOST_LISTED = 1 << 12  # numbers of a list that decides something


class Blockwise(Inferred):
    """A translation of graphs with SpaceToBatchND.

    blocks: of values between that and BatchToSpaceND, the blocks' height and width; the values
    themselves are the whole images, and convolutions on them have holes.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.blocks: dict[str, list[int]] = {}


class Step:
    """An operator, the values it reads and those it makes.

    Every attribute that may change a result has to be asked for: `finish` refuses those left.
    """

    def __init__(self, reader: Blockwise, op: Op, inputs: Sequence[str], outputs: Sequence[str]):
        self.reader = reader
        self.op = op
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self._read: set[str] = set()

    @property
    def x(self) -> str:
        return self.input(0)

    @property
    def y(self) -> str:
        return self.outputs[0]

    def input(self, index: int) -> str:
        if index >= len(self.inputs):
            raise Unsupported(f"has {len(self.inputs)} inputs, expected {index + 1} at least")
        return self.inputs[index]

    def shape(self, index: int = 0) -> Shape:
        """Of an input."""
        return self.reader.shape(self.input(index))

    def constant(self, index: int, what: str) -> Array:
        """An input that is a constant, as far as its numbers are known."""
        value = self.reader.value(self.input(index))
        if value is None:
            raise Unsupported(f"its {what} is computed, only constants are supported")
        return value

    def ints(self, index: int, what: str) -> list[int]:
        """An input that is a constant of integers, one or a list of them."""
        value = self.constant(index, what)
        if value.dtype.kind not in "iu" or value.ndim > 1 or value.size > _MOST_LISTED:
            raise Unsupported(f"its {what} is no list of integers that are known")
        return [int(n) for n in value.reshape(-1)]

    def axis(self, index: int, rank: int, what: str = "axis") -> int:
        axes = self.ints(index, what)
        if len(axes) != 1 or not -rank <= axes[0] < rank:
            raise Unsupported(f"its {what} is {axes} of {rank} axes")
        return axes[0] % rank

    def attr(self, key: str) -> Any:
        """The AttrValue, or None."""
        self._read.add(key)
        return self.op.attrs.get(key)

    def integer(self, key: str, default: int) -> int:
        value = self.attr(key)
        return default if value is None else int(value.i)

    def number(self, key: str, default: float) -> float:
        value = self.attr(key)
        return default if value is None else float(value.f)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.attr(key)
        return default if value is None else bool(value.b)

    def integers(self, key: str) -> list[int]:
        value = self.attr(key)
        return [] if value is None else list(value.list.i)

    def text(self, key: str, default: str, *choices: str) -> str:
        value = self.attr(key)
        text = default if value is None else value.s.decode(errors="replace")
        if text not in choices:
            raise Unsupported(f"its {key} is {short(text)}, expected {' or '.join(choices)}")
        return text

    def channels_last(self) -> bool:
        return self.text("data_format", "NHWC", "NHWC", "NCHW") == "NHWC"

    def spatial(self, key: str, default: int | None = None) -> list[int]:
        """Those two of an attribute's four numbers that are of height and width."""
        values = self.integers(key) or [1 if default is None else default] * 4
        others, inner = ([0, 3], [1, 2]) if self.channels_last() else ([0, 1], [2, 3])
        if len(values) != 4 or any(values[i] != 1 for i in others):
            raise Unsupported(f"its {key} is {values}, which is not for height and width alone")
        return [values[i] for i in inner]

    def fresh(self, what: str) -> str:
        return self.reader.names.fresh(f"{self.y}.{what}")

    def make(self, what: str, values: Any) -> str:
        """Name of a new constant; integers become int64."""
        array = np.asarray(values)
        return self.reader.constant(
            f"{self.y}.{what}", array.astype(np.int64) if array.dtype.kind in "iu" else array
        )

    def add(self, op: str, inputs: Sequence[str], y: str = "", **attrs: Any) -> str:
        """Append a node; its output is the operator's unless that is given."""
        y = y or self.y
        self.reader.add(y, op, list(inputs), [y], **attrs)
        return y

    def between(self, rule: Callable[[str, str], None], first: bool) -> None:
        """The result from the input by a rule for values that have their channels last or, with
        `first`, first.
        """
        rank = len(self.shape())
        last_to_first = [0, rank - 1, *range(1, rank - 1)]
        first_to_last = [0, *range(2, rank), 1]
        if self.channels_last() != first:
            rule(self.x, self.y)
            return
        before, after = (last_to_first, first_to_last) if first else (first_to_last, last_to_first)
        x = self.add("Transpose", [self.x], self.fresh("turned"), perm=before)
        inner = self.fresh("inner")
        rule(x, inner)
        self.add("Transpose", [inner], perm=after)

    def finish(self) -> None:
        """Unsupported for an attribute that nobody has asked for."""
        for key in self.op.attrs:
            if key not in self._read and not _HARMLESS.fullmatch(key):
                raise Unsupported(f"has an attribute that is not known: {short(key)}")


def tensor(proto: Any, budget: list[int]) -> Array:
    """The array of a TensorProto, whose last number may stand for all after it; text is an array of
    objects.

    Unsupported if its bytes do not fit its shape. budget: the bytes that may be filled in all,
    which are taken from it.
    """
    dims = [dim.size for dim in proto.tensor_shape.dim]
    if min(dims, default=0) < 0 or proto.tensor_shape.unknown_rank or len(dims) > _MOST_AXES:
        raise Unsupported(f"its shape is {dims}")
    count = math.prod(dims)
    if proto.dtype == TEXT:
        text = np.empty(len(proto.string_val), object)
        text[:] = list(proto.string_val)
        return text
    if proto.dtype not in TYPES:
        raise Unsupported(f"its type {proto.dtype} is not supported")
    stored, field = TYPES[proto.dtype]
    dtype = np.dtype(stored)
    if proto.HasField("tensor_content"):
        data = proto.tensor_content
        if len(data) != count * dtype.itemsize:
            raise Unsupported(f"holds {len(data)} bytes, its shape {dims} needs {count} numbers")
        return widened(np.frombuffer(data, dtype).reshape(dims), proto.dtype)
    values = widened(_typed(proto, field, dtype), proto.dtype)
    if values.size > count:
        raise Unsupported(f"holds {values.size} values, its shape {dims} needs {count}")
    large = Unsupported(f"its shape {dims} is far larger than what the file holds of it")
    if count > np.iinfo(np.intp).max // dtype.itemsize:  # no array could have it
        raise large
    if values.size < 2:
        return np.broadcast_to(values[0] if values.size else values.dtype.type(0), dims)
    if values.size < count:
        budget[0] -= count * values.itemsize
        if budget[0] < 0:
            raise large
        values = np.concatenate([values, np.broadcast_to(values[-1], count - values.size)])
    return values.reshape(dims)


def _typed(proto: Any, field: str, dtype: np.dtype[Any]) -> Array:
    """The numbers in the field for a type."""
    if dtype.kind == "f" and dtype.itemsize > 2:
        data = b"".join(getattr(proto, field))
        if data and len(data) % dtype.itemsize == 0:
            return np.frombuffer(data, dtype)
        unpacked = _schema.tensorflow("TensorProtoUnpacked")
        values = getattr(_schema.parse(unpacked, proto.SerializeToString(), "a tensor"), field)
        return np.fromiter(values, dtype, len(values))
    values = getattr(proto, field)
    wide = np.fromiter(values, np.uint64 if field.startswith("uint") else np.int64, len(values))
    return wide.astype(f"u{dtype.itemsize}" if dtype.kind == "f" else dtype).view(dtype)
