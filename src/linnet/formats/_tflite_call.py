"""What the rules of TFLite's operators work with: a translation, its variables, one operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph import ELEMENT_TYPES, Array, Node, Shape
from ..states import State
from ._channels_last import Kernel
from ._inferred import Inferred
from ._source import Source
from ._tflite_model import Model, Operator, Tensor
from ._translator import Unsupported

_ACTIVATIONS: dict[int, tuple[str, list[float]]] = {
    1: ("Relu", []),
    2: ("Clip", [-1, 1]),
    3: ("Clip", [0, 6]),
    4: ("Tanh", []),
}


class States:
    """The variables of a translation, by their names."""

    def __init__(self) -> None:
        self.initial: dict[str, Array] = {}
        self.handles: dict[str, str] = {}  # names of variables, by values that stand for them
        self.before: dict[str, str] = {}
        self.after: dict[str, str] = {}

    def all(self) -> list[State]:
        """Those that are read."""
        return [
            State(before, self.after.get(name, ""), self.initial[name])
            for name, before in self.before.items()
        ]


class Lite(Inferred):
    """A translation in which a tensor has up to two values: what the file stores, under the
    tensor's name, and the reals that its integers stand for.

    Shapes are the file's; for inputs of other sizes they are inferred, as far as that goes.
    """

    def __init__(self, source: Source) -> None:
        model = Model(source)
        super().__init__(model.name or "tflite", str(source), ())
        self.model = model
        # Where several tensors have one name, a graph's inputs and outputs come first.
        every = range(len(model.tensors))
        order = dict.fromkeys(i for i in (*model.inputs, *model.outputs, *every) if i >= 0)
        fresh = {i: self.names.fresh(model.tensors[i].name) for i in order}
        self.value_of = [fresh[i] for i in every]
        self._reals: dict[int, str] = {}
        # Values that stand for an image cut into as many phases as these along height and width.
        self.phases: dict[str, tuple[int, int]] = {}
        # Values that say where a pool of such a window found its numbers.
        self.places: dict[str, list[int]] = {}
        self.states = States()  # the model's variables
        self.resized = False  # whether inputs have other sizes than the file says

    def emit(self, op: str, name: str, inputs: list[str], outputs: list[str], **attrs: Any) -> None:
        """Append a node."""
        if self.resized:
            self.add(name, op, inputs, outputs, **attrs)
        else:
            self.graph.nodes.append(Node(op, name, inputs, outputs, attrs))

    def real(self, index: int) -> str:
        """Name of the reals of a tensor: of floats, and of integers that stand for themselves,
        the value itself.
        """
        if index not in self._reals:
            self._reals[index] = self._made_real(self.model.tensors[index], self.value_of[index])
        return self._reals[index]

    def _made_real(self, tensor: Tensor, name: str) -> str:
        made, inputs = tensor.quantization(), [name]
        attrs: dict[str, Any] = {}
        half = tensor.dtype.kind == "f" and tensor.dtype.itemsize != 4
        if made is None and not half:
            return name
        real = self.names.fresh(f"{name}.real")
        if made is None:
            op, attrs = "Cast", {"to": ELEMENT_TYPES["float32"]}
        else:
            op, attrs = "DequantizeLinear", {"axis": made.axis}
            inputs += self._pair(name, made.scale, made.zero)
        self.emit(op, real, inputs, [real], **attrs)
        self.same(name, real)
        return real

    def same(self, x: str, y: str) -> None:
        """What is known of a value is true of another."""
        if x in self.shapes:
            self.shapes[y] = self.shapes[x]
        if x in self.phases:
            self.phases[y] = self.phases[x]

    def _pair(self, name: str, scale: Array, zero: Array) -> list[str]:
        return [self.constant(f"{name}.scale", scale), self.constant(f"{name}.zero", zero)]

    def stored(self, index: int) -> str:
        """The name under which an operator has to make the reals of a tensor; `store` follows."""
        tensor, name = self.model.tensors[index], self.value_of[index]
        plain = tensor.quantization() is None and tensor.dtype not in (np.float16, np.float64)
        self._reals[index] = name if plain else self.names.fresh(f"{name}.exact")
        if name in self.shapes:
            self.shapes.setdefault(self._reals[index], self.shapes[name])
        return self._reals[index]

    def store(self, index: int) -> None:
        """Make what the file stores of the reals of a tensor."""
        tensor, name, real = self.model.tensors[index], self.value_of[index], self._reals.pop(index)
        self.same(real, name)
        if name == real:
            return
        made, inputs = tensor.quantization(), [real]
        op, attrs = "Cast", {"to": ELEMENT_TYPES[tensor.dtype.name]}
        if made is not None:
            if made.scale.ndim:
                raise Unsupported(f"its result '{name}' has a scale for each index of an axis")
            op, attrs = "QuantizeLinear", {}
            inputs += self._pair(name, made.scale, made.zero)
        self.emit(op, name, inputs, [name], **attrs)


class Call:
    """One operator being translated.

    x, y: names of the reals of inputs, "" where absent, and of results; given, made: their tensors.
    """

    def __init__(self, lite: Lite, operator: Operator, raw: bool) -> None:
        tensors = lite.model.tensors
        self.lite = lite
        self.custom_options = operator.custom_options
        self._options = operator.options
        self._inputs = operator.inputs
        self.given = [tensors[i] if i >= 0 else None for i in operator.inputs]
        self.made = [tensors[i] for i in operator.outputs]
        name = lite.value_of.__getitem__ if raw else lite.real
        self.x = [name(i) if i >= 0 else "" for i in operator.inputs]
        name = lite.value_of.__getitem__ if raw else lite.stored
        self.y = [name(i) for i in operator.outputs]

    def option(self, field: int, kind: str = "i", default: Any = 0) -> Any:
        """A field of the operator's options."""
        return default if self._options is None else self._options.number(field, kind, default)

    def options(self, field: int) -> list[int]:
        """One that is a vector of integers."""
        return [] if self._options is None else self._options.integers(field)

    def text(self, field: int) -> str:
        """One that is a text."""
        return "" if self._options is None else self._options.text(field)

    def input(self, index: int) -> str:
        """Name of the reals of an input, "" if it is absent."""
        return self.x[index] if index < len(self.x) else ""

    def tensor(self, index: int) -> Tensor:
        tensor = self.given[index] if index < len(self.given) else None
        if tensor is None:
            raise Unsupported(f"input {index} is missing")
        return tensor

    def rank(self, index: int = 0) -> int:
        return len(self.tensor(index).shape)

    def shape(self, index: int = 0) -> Shape:
        return self.lite.shape(self.x[index])

    def sizes(self, index: int = 0) -> Shape:
        """The shape of an input, with the batch of the file unless there is another."""
        declared = self.tensor(index).declared
        if not self.lite.resized:
            return declared
        shape = self.shape(index)
        return (shape[0] or declared[0], *shape[1:]) if shape and declared else shape

    def is_constant(self, index: int) -> bool:
        self.tensor(index)
        return self.lite.value_of[self._inputs[index]] in self.lite.graph.initializers

    def integers(self, index: int, what: str) -> list[int]:
        """The numbers of an input that is a constant, or one for these sizes of inputs."""
        self.tensor(index)
        array = self.lite.value(self.lite.value_of[self._inputs[index]])
        if array is None or array.dtype.kind not in "iu":
            raise Unsupported(f"its {what} are computed, only constants are supported")
        if array.size > 1 << 16:
            raise Unsupported(f"has {array.size} {what}")
        return [int(n) for n in array.ravel()]

    def number(self, index: int, what: str) -> float:
        """An input that is a constant of one number."""
        self.tensor(index)
        array = self.lite.value(self.lite.value_of[self._inputs[index]])
        if array is None or array.size != 1 or array.dtype.kind not in "iuf":
            raise Unsupported(f"its {what} is computed, only constants are supported")
        return float(array.item())

    def kernel(self, index: int, axes: str) -> Kernel:
        return Kernel(self.x[index], self.tensor(index).shape, axes)

    def vector(self, what: str, values: Sequence[int]) -> str:
        """Name of a new constant of int64."""
        return self.lite.constant(f"{self.y[0]}.{what}", np.array(values, np.int64))

    def real_number(self, what: str, value: float) -> str:
        return self.lite.constant(f"{self.y[0]}.{what}", np.array(value, np.float32))

    def part(self, op: str, what: str, inputs: Sequence[str], **attrs: Any) -> str:
        """A value on the way to the result, named `what`."""
        name = self.lite.names.fresh(f"{self.y[0]}.{what}")
        self.finish(op, inputs, name, **attrs)
        return name

    def finish(self, op: str, inputs: Sequence[str], y: str = "", **attrs: Any) -> None:
        """The node that makes the result, or `y`."""
        y = y or self.y[0]
        self.lite.emit(op, y, list(inputs), [y], **attrs)

    def activated(self, code: int, make: Callable[[str], None]) -> None:
        """What `make` computes, under the name it is given, and a fused activation of it."""
        if code == 0:
            make(self.y[0])
            return
        if code not in _ACTIVATIONS:
            raise Unsupported(f"the fused activation number {code} is not supported")
        op, limits = _ACTIVATIONS[code]
        y, lite = self.y[0], self.lite
        inner = lite.names.fresh(f"{y}.{op.lower()}")
        if y in lite.shapes:
            lite.shapes[inner] = lite.shapes[y]
        make(inner)
        bounds = [self.real_number(what, n) for what, n in zip(("least", "most"), limits)]
        self.finish(op, [inner, *bounds])
        lite.same(inner, y)


class Rule(NamedTuple):
    """How operators of one kind are translated, and how many inputs and results they have.

    options: the number of the options' table in the schema's union, 0 if none is read.
    raw: of what the file stores, instead of the reals that stands for.
    """

    translate: Callable[[Call], None]
    inputs: tuple[int, int] = (1, 1)
    outputs: tuple[int, int] = (1, 1)
    options: int = 0
    raw: bool = False
    each: bool = False  # of each element of the first input, and of those of others in its place
