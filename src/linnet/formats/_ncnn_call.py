"""One layer of ncnn's being translated: its settings, which have numbers for names, its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph import LONGEST_AXIS, Array
from ..text import short
from ._channels_first import ChannelsFirst, Step
from ._ncnn_files import Block, Layer
from ._translator import MissingOperator, Unsupported

_HINTS = (30, 31)  # shapes that are found out anyway, and how to compute


class Settings:
    """A layer's, by number. Every one has to be asked for: `unread` names those left."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self._read: set[int] = set(_HINTS)

    def _get(self, key: int) -> Any:
        self._read.add(key)
        return self.layer.settings.get(key)

    def has(self, key: int) -> bool:
        return self._get(key) is not None

    def integer(self, key: int, default: int = 0) -> int:
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, (int, float)) or value != int_of(value):
            raise Unsupported(f"its setting {key} is {short(value)}, expected an integer")
        if abs(value) >= LONGEST_AXIS:
            raise Unsupported(f"its setting {key} is {short(value)}")
        return int(value)

    def real(self, key: int, default: float = 0.0) -> float:
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, (int, float)):
            raise Unsupported(f"its setting {key} is {short(value)}, expected a number")
        return float(value)

    def reals(self, key: int) -> list[float]:
        value = self._get(key)
        if value is None:
            return []
        values = [value] if isinstance(value, (int, float)) else value
        if not isinstance(values, list):
            raise Unsupported(f"its setting {key} is {short(value)}, expected numbers")
        return [float(n) for n in values]

    def integers(self, key: int) -> list[int]:
        values = self.reals(key)
        if any(n != int_of(n) or abs(n) >= LONGEST_AXIS for n in values):
            raise Unsupported(f"its setting {key} is {short(values)}, expected integers")
        return [int(n) for n in values]

    def unread(self) -> list[int]:
        return [key for key in self.layer.settings if key not in self._read]


def int_of(value: float) -> int | None:
    return int(value) if abs(value) < LONGEST_AXIS else None


class Call(Step):
    """A layer, the values it reads and those it makes: of three axes [1, C, H, W], as all others
    with 1 before them, which ncnn's have not.
    """

    def __init__(
        self,
        reader: ChannelsFirst,
        settings: Settings,
        inputs: Sequence[str],
        outputs: Sequence[str],
        weights: Sequence[Array],
    ) -> None:
        super().__init__(reader, settings.layer.name, inputs, outputs)
        self.settings = settings
        self.layer = settings.layer
        self.weights = list(weights)

    @property
    def dims(self) -> int:
        """How many axes ncnn says that its first input has."""
        return len(self.shape()) - 1

    def axis(self, axis: int, rank: int | None = None) -> int:
        """One that ncnn counts from 0, as counted here."""
        rank = self.dims if rank is None else rank
        if not -rank <= axis < rank:
            raise Unsupported(f"axis {axis} of {rank} axes")
        return axis % rank + 1

    def activated(self, x: str, kind: int = 9, parameters: int = 10) -> str:
        """By the function that is joined with a layer."""
        number, given = self.settings.integer(kind), self.settings.reals(parameters)
        count = {2: 1, 3: 2, 6: 2}.get(number, 0)
        if len(given) < count:
            raise Unsupported(f"its activation {number} has {len(given)} parameters")
        if number == 0:
            return x
        if number == 2:
            return self.part("LeakyRelu", [x], alpha=given[0])
        if number == 3:
            return self.clipped(x, given[0], given[1])
        if number == 6:
            return self.hard_swish(x, given[0], given[1])
        if number not in _ACTIVATIONS:
            raise MissingOperator(f"the activation {number} is not supported")
        return self.part(_ACTIVATIONS[number], [x])

    def hard_swish(self, x: str, alpha: float, beta: float) -> str:
        if abs(6 * alpha - 1) < 1e-6 and beta == 0.5:  # as all networks have it
            return self.part("HardSwish", [x])
        gate = self.part("HardSigmoid", [x], alpha=alpha, beta=beta)
        return self.part("Mul", [x, gate])

    def along_first(self, array: Array) -> Array:
        """Numbers of each channel, as a constant that broadcasts to the input."""
        count = self.shape()[1]
        if array.size not in (1, count):
            raise Unsupported(f"has {array.size} numbers for {count} channels")
        return np.asarray(array).reshape(-1, *(1,) * (self.dims - 1))


_ACTIVATIONS = {1: "Relu", 4: "Sigmoid", 5: "Mish"}


def no_weights(settings: Settings) -> list[Block]:
    return []


class Rule(NamedTuple):
    """How a type of layer is translated, and which weights the file has for it."""

    translate: Callable[[Call], Any]  # the value it makes, or a list of them
    weights: Callable[[Settings], list[Block]] = no_weights
