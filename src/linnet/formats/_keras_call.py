"""One call of a layer of Keras being translated: its settings, its weights, its activation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ..graph import Array, Shape
from ..text import short
from . import _channels_last as nhwc
from ._inferred import Inferred
from ._keras_model import Layer
from ._translator import MissingOperator, Unsupported

# Settings of training, and of what a file says elsewhere.
_HARMLESS = re.compile(
    r"\w+_(initializer|regularizer|constraint)|name|trainable|dtype|batch_input_shape|batch_shape|"
    r"input_dtype|input_shape|momentum|seed|noise_shape|synchronized|renorm\w*|fused|"
    r"virtual_batch_size|autocast|batch_size"
)
_FLOATS = re.compile(r"(mixed_)?(float(16|32|64)|bfloat16)$")


class LayerCall:
    """A layer, the values it is called with, and the one it makes.

    Every setting that is not of training has to be asked for: `finish` refuses those left.
    """

    def __init__(
        self,
        reader: Inferred,
        layer: Layer,
        inputs: Sequence[str],
        y: str,
        *,
        version: int,
        weights: Callable[[int], str],
    ) -> None:
        self.reader = reader
        self.layer = layer
        self.inputs = list(inputs)
        self.y = y
        self.version = version  # of Keras: 1, 2 or 3
        self._weights = weights
        self._read: set[str] = set()

    @property
    def x(self) -> str:
        """The only input."""
        if len(self.inputs) != 1:
            raise Unsupported(f"has {len(self.inputs)} inputs, expected one")
        return self.inputs[0]

    def setting(self, key: str, default: Any = None) -> Any:
        self._read.add(key)
        value = self.layer.config.get(key, default)
        return default if value is None else value

    def flag(self, key: str, default: bool) -> bool:
        value = self.setting(key, default)
        if not isinstance(value, (bool, int)):
            raise Unsupported(f"its {key} is {short(value)}, expected true or false")
        return bool(value)

    def number(self, key: str, default: float) -> float:
        value = self.setting(key, default)
        if isinstance(value, Mapping):  # an array of NumPy's, as some versions wrote it
            value = value.get("value")
        if not isinstance(value, (int, float)):
            raise Unsupported(f"its {key} is {short(value)}, expected a number")
        return float(value)

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.setting(key, default)
        if not isinstance(value, int):
            raise Unsupported(f"its {key} is {short(value)}, expected an integer")
        return value

    def text(self, key: str, default: str, *choices: str) -> str:
        value = self.setting(key, default)
        if value not in choices:
            raise Unsupported(f"its {key} is {short(value)}, expected {' or '.join(choices)}")
        return str(value)

    def sizes(self, key: str, count: int, default: Any = None) -> list[int]:
        """`count` integers, or one for all."""
        value = self.setting(key, default)
        values = [value] * count if isinstance(value, int) else value
        fits = isinstance(values, list) and all(isinstance(n, int) for n in values)
        if not fits or len(values) != count:
            raise Unsupported(f"its {key} is {short(value)}, expected {count} integers")
        return list(values)

    def channels_last(self) -> bool:
        choices = ("channels_last", "channels_first")
        return self.text("data_format", "channels_last", *choices) == choices[0]

    def weight(self, index: int, rank: int | None = None) -> tuple[str, Shape]:
        """Name and shape of one of the layer's weights."""
        arrays = self.layer.arrays
        if arrays is None or index >= len(arrays):
            count = "none" if not arrays else f"only {len(arrays)}"
            raise Unsupported(f"needs {index + 1} weights or more, the file has {count} for it")
        shape = arrays[index].shape
        if rank is not None and len(shape) != rank:
            raise Unsupported(f"its weights number {index} are {list(shape)}, expected {rank} axes")
        return self._weights(index), tuple(shape)

    def weight_name(self, index: int) -> str:
        return self._weights(index)

    def array(self, index: int, shape: Shape) -> Array:
        """One of the layer's weights, which has this shape."""
        self.weight(index)
        array: Array = (self.layer.arrays or [])[index]
        if array.shape != shape:
            raise Unsupported(
                f"its weights number {index} are {list(array.shape)}, expected {list(shape)}"
            )
        return array

    def constant(self, what: str, values: Any) -> str:
        return self.reader.constant(f"{self.y}.{what}", values)

    def fresh(self, what: str) -> str:
        return self.reader.names.fresh(f"{self.y}.{what}")

    def add(self, op: str, inputs: list[str], y: str = "", **attrs: Any) -> str:
        """Append a node; its output is the layer's unless that is given."""
        y = y or self.y
        self.reader.add(y, op, inputs, [y], **attrs)
        return y

    def turned(self, op: str, x: str, others: Sequence[str] = (), y: str = "", **attrs: Any) -> str:
        """The same of an operator that has channels first, on a value that has them last."""
        inner = nhwc.first(self.reader, x)
        made = self.add(op, [inner, *others], self.fresh("nchw"), **attrs)
        y = y or self.y
        nhwc.last(self.reader, made, y)
        return y

    def activate(self, x: str, setting: Any, y: str = "") -> None:
        """The layer's result from `x`, or `y`: by the function that a setting names."""
        name = "linear" if setting is None else setting
        if isinstance(name, Mapping) and name.get("class_name") == "function":
            name = name.get("config")
        if name == "hard_sigmoid":
            name = f"hard_sigmoid of Keras {max(self.version, 2)}"
        if not isinstance(name, str) or name not in ACTIVATIONS:
            raise MissingOperator(f"the activation {short(name)} is not supported")
        op, limits, attrs = ACTIVATIONS[name]
        self.add(op, [x, *(self.constant("limit", np.float32(n)) for n in limits)], y, **attrs)

    def finish(self) -> None:
        """Unsupported for a setting that nobody has asked for."""
        policy = self.layer.config.get("dtype")
        if isinstance(policy, Mapping):
            policy = (policy.get("config") or {}).get("name")
        if policy is not None and not _FLOATS.match(str(policy)):
            raise Unsupported(f"its dtype is {short(policy)}, expected floats")
        for key, value in self.layer.config.items():
            if key not in self._read and value is not None and not _HARMLESS.fullmatch(key):
                raise Unsupported(f"has a setting that is not known: {short(key)}")


class Activation(NamedTuple):
    """An operator with its constant inputs, which are single numbers, and its attributes."""

    op: str
    limits: tuple[float, ...] = ()
    attrs: Mapping[str, Any] = MappingProxyType({})


# Those of keras.activations, and MobileNet's own.
ACTIVATIONS = {
    "linear": Activation("Identity"),
    "relu": Activation("Relu"),
    "relu6": Activation("Clip", (0.0, 6.0)),
    "elu": Activation("Elu"),
    "selu": Activation("Selu"),
    "sigmoid": Activation("Sigmoid"),
    "hard_sigmoid of Keras 2": Activation("HardSigmoid", (), {"alpha": 0.2, "beta": 0.5}),
    "hard_sigmoid of Keras 3": Activation("HardSigmoid", (), {"alpha": 1 / 6, "beta": 0.5}),
    "gelu": Activation("Gelu"),
    "leaky_relu": Activation("LeakyRelu", (), {"alpha": 0.2}),
    "tanh": Activation("Tanh"),
    "hard_tanh": Activation("Clip", (-1.0, 1.0)),
    "exponential": Activation("Exp"),
    "softmax": Activation("Softmax", (), {"axis": -1}),
    "log_softmax": Activation("LogSoftmax", (), {"axis": -1}),
    "softplus": Activation("Softplus"),
    "softsign": Activation("Softsign"),
    "swish": Activation("Swish"),
    "silu": Activation("Swish"),
    "mish": Activation("Mish"),
    "hard_swish": Activation("HardSwish"),
    "hard_silu": Activation("HardSwish"),
}
