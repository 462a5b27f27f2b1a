"""A model whose programs depend on sizes that only its inputs tell, and on integers among them.

Where a graph has one form for all sizes, the core resolves it for each that comes up. What is
unrolled, or takes other ways at other sizes, has a form for each: here graphs are made canonical
when inputs come, and kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from . import _core
from .graph import Array, Graph
from .model import build_for
from .scalars import without_axes
from .text import shape_text

MOST_FORMS = 4  # kept, each with its packed weights
_Form = tuple[_core.GraphBuilder, frozenset[str]]
_Described = list[tuple[str, list[int], np.dtype[Any]]]


def deferred(graph: Graph, options: Mapping[str, Any]) -> SizedSession:
    """What runs a graph whose form is made when inputs come."""
    make = partial(build_for, graph, memory_limit=options.get("memory_limit"))
    return SizedSession(graph, options, make)


class SizedSession:
    """What _core.Session is, of a graph that has to know the sizes of its inputs.

    make: gives a core's graph for inputs of these shapes and, of integers without axes, values; and
        the names of values that have no axes.
    """

    def __init__(
        self,
        graph: Graph,
        options: Mapping[str, Any],
        make: Callable[[Mapping[str, tuple[int, ...]], Mapping[str, Array]], _Form],
    ) -> None:
        self._graph, self._options, self._make = graph, dict(options), make
        self._lock = threading.Lock()
        self._forms: dict[Any, _core.Session] = {}
        self._last: _core.Session | None = None
        self._scalars: frozenset[str] = frozenset()  # of the forms that have been made
        builder = _core.GraphBuilder("")
        builder.input("x", [1, 1])
        builder.node("Relu", "y", ["x"], ["y"], {})
        builder.output("y")
        self._any = _core.Session(builder, **self._options)  # says what is wrong with the options

    @property
    def name(self) -> str:
        return self._graph.name

    @property
    def inputs(self) -> _Described:
        return [(value.name, list(value.shape), value.dtype) for value in self._graph.inputs]

    @property
    def outputs(self) -> _Described:
        """As of the last run; before the first nothing is known but the names."""
        if self._last is not None:
            return [
                (name, [] if name in self._scalars else shape, dtype)
                for name, shape, dtype in self._last.outputs
            ]
        return [(name, [], np.dtype(np.float32)) for name in self._graph.outputs]

    @property
    def values(self) -> _Described:
        """Those of the source, of which a form may have fewer; sizes are not known."""
        made = [name for node in self._graph.nodes for name in node.outputs if name]
        return [*self.inputs, *((name, [], np.dtype(np.float32)) for name in made)]

    @property
    def threads(self) -> int:
        return self._any.threads

    @property
    def isa(self) -> str:
        return self._any.isa

    @property
    def weight_bytes(self) -> int:
        return sum(form.weight_bytes for form in self._kept())

    @property
    def arena_bytes(self) -> int:
        return sum(form.arena_bytes for form in self._kept())

    def run(
        self, inputs: Sequence[Array], wanted: Sequence[str], out: Sequence[Array] | None
    ) -> list[Array]:
        form, given = self._form(inputs)
        if out is not None:
            out = [array if array.ndim else array.reshape(1) for array in out]
        names = wanted or self._graph.outputs
        found = form.run(given, wanted, out)
        return [without_axes(x) if n in self._scalars else x for n, x in zip(names, found)]

    def profile(self, inputs: Sequence[Array], wanted: Sequence[str]) -> list[_core.TimedStep]:
        form, given = self._form(inputs)
        return form.profile(given, wanted)

    def peak(self) -> float:
        return self._any.peak()

    def plan(self, batch: int, wanted: Sequence[str]) -> list[_core.Step]:
        return self._known().plan(batch, wanted)

    def dump(self, batch: int, wanted: Sequence[str]) -> str:
        return self._known().dump(batch, wanted)

    def wisdom_note(self) -> str:
        return self._known().wisdom_note()

    @property
    def weights_note(self) -> str:
        return self._known().weights_note

    def _kept(self) -> list[_core.Session]:
        with self._lock:
            return list(self._forms.values())

    def _known(self) -> _core.Session:
        if self._last is None:
            raise RuntimeError(
                "how it is computed depends on sizes that are not known before a run"
            )
        return self._last

    def _form(self, inputs: Sequence[Array]) -> tuple[_core.Session, list[Array]]:
        """The session for these inputs, and those of them that it takes."""
        values = self._graph.inputs
        if len(inputs) != len(values):
            raise ValueError(f"{len(inputs)} arrays, the model has {len(values)} inputs")
        settings: dict[str, Array] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for value, given in zip(values, inputs):
            array = given
            # Whether there may be other images than the file says is the form's to tell.
            sizes = zip(array.shape[1:], value.shape[1:])
            fits = len(array.shape) == len(value.shape) and 0 not in array.shape
            if not fits or any(m not in (0, n) for n, m in sizes):
                wanted = shape_text(value.shape) if value.shape else "a number without axes"
                raise ValueError(
                    f"input '{value.name}' has shape {list(array.shape)}, expected {wanted}"
                )
            if not value.shape and array.dtype.kind in "iub":
                array = array.astype(value.dtype)
            if array.dtype != value.dtype:
                raise ValueError(f"input '{value.name}' is {array.dtype}, expected {value.dtype}")
            if value.shape:
                shapes[value.name] = (value.shape[0] or len(array), *array.shape[1:])
            elif value.dtype.kind == "f":
                shapes[value.name] = ()
            else:
                settings[value.name] = array
        key = (*shapes.values(), *(array.item() for array in settings.values()))
        with self._lock:
            form = self._forms.pop(key, None)
            if form is None:
                form = self._made(shapes, settings)
            self._forms[key] = self._last = form
        taken = {name for name, _, _ in form.inputs}
        kept = [x for x, value in zip(inputs, values) if value.name in taken]
        return form, [x if x.ndim else x.reshape(1) for x in kept]

    def _made(
        self, shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Array]
    ) -> _core.Session:
        most, limit = MOST_FORMS - 1, self._options.get("memory_limit")
        if limit is not None:  # what one form leaves is not known beforehand
            most = 0
        while len(self._forms) > most:
            self._forms.pop(next(iter(self._forms)))
        self._last = None
        builder, scalars = self._make(shapes, settings)
        self._scalars |= scalars
        return _core.Session(builder, **self._options)
