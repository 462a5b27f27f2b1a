"""One node of MXNet's being translated: its settings, which are text, and its parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..graph import LONGEST_AXIS, Array, Shape
from ..text import short
from ._channels_first import ChannelsFirst, Step
from ._mxnet_files import Node
from ._translator import Unsupported

# Settings of training, of other devices, and what a symbol's makers note beside them.
_HARMLESS = re.compile(
    r"__\w+__|workspace|cudnn_\w+|num_args|momentum|grad_scale|(.*_)?(ctx_group|lr_mult|wd_mult|"
    r"force_mirroring|mirror_stage)|key|ndev|regularization_coefficient|"
    r"use_linear|margin|valid_thresh|normalization|ignore_label|use_ignore|out_grad|smooth_alpha"
)
_INTEGER = r"[+-]?\d+L?"
_REAL = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_TRUE, _FALSE = ("True", "true", "1"), ("False", "false", "0")


class Call(Step):
    """A node, the values it reads and those it makes.

    Every setting that may change a result has to be asked for: `done` refuses those left.
    """

    def __init__(
        self,
        reader: ChannelsFirst,
        node: Node,
        inputs: Sequence[str],
        outputs: Sequence[str],
        arrays: Callable[[int], Array],
    ) -> None:
        super().__init__(reader, node.name or outputs[0], inputs, outputs)
        self.node = node
        self._arrays = arrays
        self._read: set[str] = set()

    def _setting(self, key: str) -> str | None:
        self._read.add(key)
        text = self.node.attrs.get(key)
        return None if text in (None, "None") else text.strip()

    def has(self, key: str) -> bool:
        return self._setting(key) is not None

    def text(self, key: str, default: str, *choices: str) -> str:
        text = self._setting(key) or default
        if text not in choices:
            raise Unsupported(f"its {key} is {short(text)}, expected {' or '.join(choices)}")
        return text

    def flag(self, key: str, default: bool) -> bool:
        text = self._setting(key)
        if text is not None and text not in _TRUE + _FALSE:
            raise Unsupported(f"its {key} is {short(text)}, expected True or False")
        return default if text is None else text in _TRUE

    def integer(self, key: str, default: int | None = None) -> int:
        text = self._setting(key)
        if text is None and default is not None:
            return default
        if text is None or not re.fullmatch(_INTEGER, text) or len(text) > 20:
            raise Unsupported(f"its {key} is {short(text)}, expected an integer")
        return int(text.rstrip("L"))

    def real(self, key: str, default: float | None = None) -> float:
        text = self._setting(key)
        if text is None and default is not None:
            return default
        if text is None or not re.fullmatch(rf"{_REAL}|[+-]?(inf|nan)", text):
            raise Unsupported(f"its {key} is {short(text)}, expected a number")
        return float(text)

    def reals(self, key: str, default: Sequence[float] = ()) -> list[float]:
        """A tuple of numbers, or a single one."""
        return [float(part) for part in self._tuple(key, _REAL, default)]

    def integers_of(self, key: str, default: Sequence[int | None] = ()) -> list[int | None]:
        """A tuple of integers, some of them None, or a single one."""
        parts = self._tuple(key, rf"{_INTEGER}|None", default)
        numbers = [None if part in (None, "None") else int(str(part).rstrip("L")) for part in parts]
        if any(n is not None and abs(n) >= LONGEST_AXIS for n in numbers):
            raise Unsupported(f"its {key} is {short(numbers)}")
        return numbers

    def sizes(self, key: str, default: Sequence[int] = (), count: int | None = None) -> list[int]:
        """The same without None; `count` of them if that is given."""
        numbers = self.integers_of(key, default)
        if None in numbers or count not in (None, len(numbers)):
            wanted = "integers" if count is None else f"{count} integers"
            raise Unsupported(f"its {key} is {short(numbers)}, expected {wanted}")
        return [n for n in numbers if n is not None]

    def _tuple(self, key: str, item: str, default: Sequence[Any]) -> Sequence[Any]:
        text = self._setting(key)
        if text is None:
            return default
        inner = text
        if (text[:1], text[-1:]) in (("(", ")"), ("[", "]")):
            inner = text[1:-1]
        parts = [part.strip() for part in inner.split(",", 4096)]
        parts = parts[:-1] if parts[-1] == "" else parts
        if not all(re.fullmatch(item, part) and len(part) <= 24 for part in parts):
            raise Unsupported(f"its {key} is {short(text)}, expected numbers")
        return parts

    def float_type(self, key: str = "dtype") -> None:
        """Its result has to be of float32."""
        self.text(key, "float32", "float32", "0", "float16", "2", "float64", "1")

    def axis(self, key: str, default: int, rank: int) -> int:
        axis = self.integer(key, default)
        if not -rank <= axis < rank:
            raise Unsupported(f"its {key} is {axis} of {rank} axes")
        return axis % rank

    def axes(self, rank: int) -> list[int]:
        """Of a reduction: those it is over."""
        axes = self.sizes("axis")
        if any(not -rank <= axis < rank for axis in axes):
            raise Unsupported(f"its axis is {axes} of {rank} axes")
        chosen = sorted({axis % rank for axis in axes}) or list(range(rank))
        if self.flag("exclude", False) and axes:
            chosen = [axis for axis in range(rank) if axis not in chosen]
        return chosen

    def parameter(self, index: int) -> Array:
        """The parameter that is input `index`."""
        self.input(index)
        return self._arrays(index)

    def array(self, index: int, shape: Shape) -> Array:
        """The same, which has this shape."""
        array = self.parameter(index)
        if array.shape != shape:
            raise Unsupported(
                f"its parameter '{self.inputs[index]}' is {list(array.shape)}, expected "
                f"{list(shape)}"
            )
        return array

    def done(self) -> None:
        """Unsupported for a setting that nobody has asked for."""
        for key in self.node.attrs:
            if key not in self._read and not _HARMLESS.fullmatch(key):
                raise Unsupported(f"has a setting that is not known: {short(key)}")


class Rule(NamedTuple):
    """How an operator is translated, and what MXNet calls its inputs, where some are parameters."""

    translate: Callable[[Call], Any]  # the value it makes, or a list of them
    inputs: tuple[str, ...] = ()
    aux: tuple[str, ...] = ()  # those of them that are states; before 0.9 no input in the file

    def parameter(self, index: int) -> str:
        """What an input is called if it is a parameter, else ""."""
        names = self.inputs + self.aux
        return names[index] if 0 < index < len(names) else ""


def named(rules: Mapping[str, Rule], aliases: Mapping[str, str]) -> dict[str, Rule]:
    """With the other names of operators, each in a text of its own."""
    return {
        **rules,
        **{other: rules[name] for name, texts in aliases.items() for other in texts.split()},
    }
