"""What a model keeps from one call to the next: inputs that a session feeds with what an output
was in the call before.

The record of it is JSON in the metadata of a graph or an ONNX file, under STATES: a list of
{"input", "output", "shape", "type", "initial"}, where "initial" is the number that all of it is at
first, or the bytes in base64; without "output" it never changes.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .graph import Array
from .text import short

STATES = "linnet.states"
_MOST_BYTES = 1 << 26  # of all states together
_TYPES = ("float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool")


class State(NamedTuple):
    """An input, the output that it is in the next call, "" if it stays, and what it is at first."""

    before: str
    after: str
    initial: Array


def recorded(metadata: Mapping[str, str]) -> list[State]:
    """The states in a model's metadata, which nobody vouches for; ValueError says what is wrong."""
    text = metadata.get(STATES, "[]")
    try:
        entries = json.loads(text, parse_float=float)
        if not isinstance(entries, list):
            raise TypeError
        found, room = [], _MOST_BYTES
        for entry in entries:
            shape, kind = entry["shape"], entry["type"]
            names = entry["input"], entry.get("output", "")
            sizes = [type(n) is int and n > 0 for n in shape]
            if kind not in _TYPES or not all(sizes) or not 1 <= len(sizes) <= 8:
                raise ValueError
            if not all(isinstance(name, str) for name in names) or not names[0]:
                raise ValueError
            dtype, count = np.dtype(kind), math.prod(shape)
            room -= count * dtype.itemsize
            if room < 0:
                raise ValueError
            found.append(State(*names, _array(entry["initial"], dtype, count).reshape(shape)))
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError):
        raise ValueError(f"{STATES}: {short(text)} is no record of states") from None
    given = [name for state in found for name in (state.before, state.after) if name]
    if len(set(given)) != len(given):
        raise ValueError(f"{STATES}: {short(text)} names a value twice")
    return found


def _array(initial: Any, dtype: np.dtype[Any], count: int) -> Array:
    if isinstance(initial, str):
        data = base64.b64decode(initial, validate=True)
        return np.frombuffer(data, dtype.newbyteorder("<"), count).astype(dtype)
    if not isinstance(initial, (int, float)):
        raise TypeError
    return np.full(count, initial, dtype)


def record(states: Iterable[State]) -> dict[str, str]:
    """Metadata with these states; none if there are none."""
    entries = []
    for state in states:
        array = np.ascontiguousarray(state.initial)
        first = array.ravel()[0].item()
        little = array.astype(array.dtype.newbyteorder("<"))
        same = array.tobytes() == np.full_like(array, first).tobytes() and np.isfinite(first)
        entries.append(
            {
                "input": state.before,
                **({"output": state.after} if state.after else {}),
                "shape": list(array.shape),
                "type": array.dtype.name,
                "initial": first if same else base64.b64encode(little.tobytes()).decode(),
            }
        )
    return {STATES: json.dumps(entries)} if entries else {}


def outputs_of(metadata: Mapping[str, str], inputs: Iterable[str]) -> list[str]:
    """The outputs that states among these inputs become."""
    read = set(inputs)
    return [state.after for state in recorded(metadata) if state.before in read and state.after]


def without(metadata: Mapping[str, str], inputs: Iterable[str]) -> dict[str, str]:
    """Metadata with the states alone that are among these inputs."""
    if STATES not in metadata:
        return dict(metadata)
    read = set(inputs)
    rest = {key: text for key, text in metadata.items() if key != STATES}
    return rest | record(state for state in recorded(metadata) if state.before in read)


class Kept:
    """The states of a session, as they are now."""

    def __init__(
        self, states: Sequence[State], inputs: Mapping[str, Any], outputs: set[str]
    ) -> None:
        """inputs: shapes, 0 for a size that is open, and types by name. ValueError for states that
        are not of the model.
        """
        self._states = list(states)
        for state in states:
            shape, dtype = inputs.get(state.before, ((), None))
            fits = len(shape) == state.initial.ndim and all(
                n in (0, m) for n, m in zip(shape, state.initial.shape)
            )
            if not fits or dtype != state.initial.dtype:
                raise ValueError(
                    f"{STATES}: the model has no input {short(state.before)} of "
                    f"{state.initial.dtype} {list(state.initial.shape)}"
                )
            if state.after and state.after not in outputs:
                raise ValueError(f"{STATES}: the model has no output {short(state.after)}")
        self.before = frozenset(state.before for state in states)
        self.after = [state.after for state in states if state.after]
        self.now: dict[str, Array] = {}
        self.reset()

    def reset(self) -> None:
        self.now = {state.before: state.initial.copy() for state in self._states}

    def room(self, output: str) -> Array:
        """Where to write what a state becomes."""
        return next(np.empty_like(s.initial) for s in self._states if s.after == output)

    def update(self, results: Mapping[str, Array]) -> None:
        """What the outputs were, by their names."""
        for state in self._states:
            if state.after:
                array = results[state.after]
                if array.shape != state.initial.shape:
                    raise ValueError(
                        f"the state '{state.after}' became {list(array.shape)}: a call has as many "
                        f"images as the state {list(state.initial.shape)} is of"
                    )
        self.now.update({s.before: results[s.after].copy() for s in self._states if s.after})
