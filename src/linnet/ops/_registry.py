"""What an operator is: what it means, and how it becomes canonical, side by side.

To add one: its meaning and a row in its family's OPERATORS; a rule too, unless the core takes it as
it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..graph import Array
from ._lifting import Lift
from ._lowering import Call, Lowering, Refusal


class Operator(NamedTuple):
    """One of ONNX's operators.

    meaning: the definition in NumPy, slow and obviously correct: the tests' oracle, and what folds
        constants. Positional parameters are inputs, None where absent; keywords are attributes with
        ONNX's defaults. It returns an array, or a tuple of them if the operator has several
        outputs, in the precision of its arguments.
    lower: rewrites a call to canonical operators; None if the core takes the operator as it is.
    several: it has several outputs, and its rule makes those that are used.
    unrolls: what it becomes depends on sizes, and on integers that are inputs, by its nature.
    lift: what has to change where its inputs have one more axis before all others; None if its
        rule minds no axis, or knows what to do about the first.
    folds: how many elements computing the operator of these constants allocates; None where
        constants are not folded.
    """

    name: str
    meaning: Callable[..., Any]
    lower: Callable[[Lowering, Call], None] | None
    folds: Callable[..., int] | None = None
    several: bool = False
    lift: Lift | None = None
    unrolls: bool = False

    @property
    def inputs(self) -> tuple[int, int]:
        """How many inputs it has, at least and at most."""
        positional = [p for p in _parameters(self.meaning) if p.kind is not p.KEYWORD_ONLY]
        if any(p.kind is p.VAR_POSITIONAL for p in positional):
            return len(positional) - 1, 1 << 31
        return sum(p.default is p.empty for p in positional), len(positional)

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes and their defaults, inspect.Parameter.empty where there is none."""
        keywords = [p for p in _parameters(self.meaning) if p.kind is p.KEYWORD_ONLY]
        return {p.name: p.default for p in keywords}

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All attributes: as given, else by default.

        ValueError for one that there is not, that has to be there, or is of another type than its
        default.
        """
        known = self.attributes
        unknown = given.keys() - known.keys()
        if unknown:
            raise Refusal(f"attribute '{min(map(str, unknown))}' is not supported")
        bound = {}
        for name, default in known.items():
            value = given.get(name, default)
            if value is inspect.Parameter.empty:
                raise Refusal(f"attribute '{name}' is missing")
            if isinstance(default, float) and isinstance(value, int):
                value = float(value)
            kind = list if isinstance(default, tuple) else type(default)
            typed = default is not inspect.Parameter.empty
            if typed and name in given and not isinstance(value, kind):
                raise Refusal(f"attribute '{name}' is not of type {kind.__name__}")
            bound[name] = value
        return bound

    def compute(
        self, inputs: Sequence[Array | None], attrs: Mapping[str, Any]
    ) -> tuple[Array, ...]:
        """The outputs for these inputs and all attributes, as of `bind`."""
        result = self.meaning(*inputs, **attrs)
        return tuple(map(np.asarray, result)) if isinstance(result, tuple) else (result,)


@cache
def _parameters(meaning: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(meaning).parameters.values())


# What folding allocates, for Operator.folds.


def nothing(*inputs: Array | None, **attrs: Any) -> int:
    """The result is a view of an input, or tiny."""
    return 0


def as_inputs(*inputs: Array | None, **attrs: Any) -> int:
    """As much as the inputs together."""
    return sum(x.size for x in inputs if x is not None)
