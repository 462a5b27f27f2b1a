"""A loaded model: run it, explain it, profile it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from .aliases import recorded as recorded_aliases
from .graph import BATCHLESS
from .options import whole
from .preprocess import LABELS, Picture, Preprocess, prepared, recorded
from .report import Candidate, Layer, Report
from .scalars import recorded as recorded_scalars
from .scalars import without_axes
from .states import Kept
from .states import recorded as recorded_states
from .text import count, listed, shape_text, short

if TYPE_CHECKING:
    from types import TracebackType

    from .sized import SizedSession

Array = npt.NDArray[Any]


class ValueInfo(NamedTuple):
    """An input or output of a model. None in its shape is any size, as of axis 0, the batch. What
    has no axes has the shape ().
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


class Session:
    """A loaded model. Made by `load`.

    Any number of Python threads may call one session; calls run one after the other, each on all of
    its threads, with the GIL released. A model that keeps a state from one call to the next has one
    for each session; reset() sets it to what it is at first. After a fork the child may go on using
    it. Leaving a `with` block, or close(), gives the memory back at once.
    """

    def __init__(
        self, core: _core.Session | SizedSession, metadata: Mapping[str, str] | None = None
    ) -> None:
        self._open: _core.Session | SizedSession | None = core
        self._metadata = dict(metadata or {})
        self._first = _first_sizes(self._metadata.get(BATCHLESS, ""))
        self._scalars = recorded_scalars(self._metadata)
        self._lock = threading.Lock()  # of calls, where there is a state
        self._kept = self._states()

    @property
    def _inner(self) -> _core.Session | SizedSession:
        if self._open is None:
            raise RuntimeError("the session is closed")
        return self._open

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free weights, activations and threads; a call that is under way ends first."""
        self._open = None

    def __repr__(self) -> str:
        if self._open is None:
            return "<linnet.Session, closed>"
        values = ", ".join(f"{v.name} {shape_text(v.shape)}" for v in self.inputs)
        results = ", ".join(f"{v.name} {shape_text(v.shape)}" for v in self.outputs)
        return (
            f"<linnet.Session {values} -> {results}, {self.isa}, {count(self.threads, 'thread')}>"
        )

    @property
    def name(self) -> str:
        """The name stored in the model."""
        return self._inner.name

    @property
    def inputs(self) -> list[ValueInfo]:
        """What a call takes, which states are not."""
        hidden = self._kept.before if self._kept else ()
        return [
            self._info(
                name, (shape[0] or self._first.get(name, 0), *shape[1:]) if shape else (), dtype
            )
            for name, shape, dtype in self._inner.inputs
            if name not in hidden
        ]

    @property
    def outputs(self) -> list[ValueInfo]:
        """What a call gives, without what states become."""
        hidden = self._kept.after if self._kept else ()
        return [self._info(*value) for value in self._inner.outputs if value[0] not in hidden]

    def _info(self, name: str, shape: Sequence[int], dtype: np.dtype[Any]) -> ValueInfo:
        scalar = name in self._scalars and len(shape) == 1
        return ValueInfo(name, () if scalar else tuple(size or None for size in shape), dtype)

    def reset(self) -> None:
        """Set what the model keeps from one call to the next to what it is at first."""
        if self._kept:
            with self._lock:
                self._kept.reset()

    @property
    def values(self) -> list[ValueInfo]:
        """All that fetch= accepts: inputs, results of every node, outputs; and those of them under
        other names that the model's file has for them.
        """
        own = {value[0]: self._info(*value) for value in self._inner.values}
        return [own[to]._replace(name=name) for name, to in self._names.items()]

    @cached_property
    def _names(self) -> dict[str, str]:
        """Of every value that can be asked for, its own name."""
        own = {name: name for name, _, _ in self._inner.values}
        aliases = recorded_aliases(self._metadata)
        others = {name: to for name, to in aliases.items() if to in own and name not in own}
        return {**own, **others}

    @cached_property
    def preprocess(self) -> Preprocess | None:
        """How a picture becomes the input: as `load` was told, or the file says; None if neither.

        ValueError if the file's record is wrong or misses something, with what and why.
        """
        return recorded(self._metadata)

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file holds beside the network, text by key."""
        return dict(self._metadata)

    @property
    def labels(self) -> list[str]:
        """What the file calls the classes, in their order; empty if it does not say."""
        return self._metadata.get(LABELS, "").splitlines()

    @property
    def threads(self) -> int:
        """How many threads a run uses, the caller's included."""
        return self._inner.threads

    @property
    def isa(self) -> str:
        """Instruction set of the kernels."""
        return self._inner.isa

    @property
    def weight_bytes(self) -> int:
        """Bytes of packed weights."""
        return self._inner.weight_bytes

    @property
    def arena_bytes(self) -> int:
        """Bytes of activations and workspaces, for the batch sizes kept ready."""
        return self._inner.arena_bytes

    def __call__(
        self, x: npt.ArrayLike, *more: npt.ArrayLike, out: Array | Sequence[Array] | None = None
    ) -> Any:
        """Run the model on a batch of any size: an array for each of `inputs`, in order.

        Returns the output, an array; a tuple of them where the model has several. `out` is what to
        write them into instead of new arrays: C-contiguous, of the right type and shape.
        ValueError says what is wrong with which input.
        """
        results = self._run([x, *more], [], out)
        return results[0] if len(results) == 1 else tuple(results)

    def prepare(self, *pictures: Picture) -> Array:
        """Pictures as the input of the model, as `preprocess` says: an array [n, ...] of its type.

        Each is a file that Pillow reads, or uint8 [H, W] grey or [H, W, 3] RGB. ValueError if the
        model does not take pictures, or nobody has said how.
        """
        return prepared(self.preprocess, self.inputs, pictures)

    def run_image(self, *pictures: Picture) -> Any:
        """Run the model on a batch of pictures: a call with what `prepare` makes of them."""
        return self(self.prepare(*pictures))

    def run(
        self,
        x_or_fetch: Any,
        feed: Mapping[str, npt.ArrayLike] | None = None,
        *,
        fetch: Sequence[str] | None = None,
        out: Array | Sequence[Array] | None = None,
    ) -> list[Array]:
        """Run the model and return a list: the outputs, or the values named in `fetch`.

        Two forms: `run(x, fetch=["fc7"])`, where x is an array, or a list or tuple with one for
        every input; and `run(fetch, {"data": x})`, with names or None for the outputs. Any of
        `values` can be fetched, also one that is usually fused away, which costs time. `out` as for
        a call.
        """
        if feed is None:
            if isinstance(x_or_fetch, Mapping):
                raise ValueError("inputs by name come second, as in run(None, {...})")
            inputs = list(x_or_fetch) if isinstance(x_or_fetch, (list, tuple)) else [x_or_fetch]
        else:
            if x_or_fetch is not None and fetch is not None:
                raise ValueError("the values to fetch are given twice")
            fetch = x_or_fetch if fetch is None else fetch
            inputs = self._ordered(feed)
        if isinstance(fetch, str):
            fetch = [fetch]
        if fetch is not None and not (
            isinstance(fetch, (list, tuple))
            and fetch
            and all(isinstance(name, str) for name in fetch)
        ):
            raise ValueError(f"fetch is {short(fetch)}, expected names of values")
        return self._run(inputs, [] if fetch is None else list(fetch), out)

    def explain(self, batch: int | None = None) -> Report:
        """How a batch of this size is run, by default of one image, or of what a model without a
        batch takes: every layer's algorithm, the others' times and refusals.

        Times are estimates, or measured where `linnet tune` has been run; the title names the file
        they come from, or why there is none.
        """
        batch = self._batch(batch)
        steps = self._inner.plan(batch, [])
        notes = (self._inner.wisdom_note(), self._inner.weights_note)
        return Report(
            self._title(batch, ", ".join(filter(None, notes))),
            batch,
            [self._layer(step, batch, []) for step in steps],
        )

    def program(self, batch: int | None = None) -> str:
        """What a batch of this size, as of `explain`, is compiled to, a line or two for each step:
        its problem, algorithm and the places its operands have in memory; then the blocks of the
        arena.
        """
        return self._inner.dump(self._batch(batch), [])

    def profile(self, x: npt.ArrayLike, *more: npt.ArrayLike, runs: int = 10) -> Report:
        """Time every layer of `runs` runs on this input, after one that is not timed."""
        runs = whole("runs", runs)
        core = self._inner
        inputs = self._with_states(self._with_axes(_arrays([x, *more])))
        core.profile(inputs, [])
        profiles = [core.profile(inputs, []) for _ in range(runs)]
        batch = len(inputs[0]) if inputs[0].ndim else 1
        layers = [
            self._layer(steps[0], batch, [step["seconds"] for step in steps])._replace(
                phases={
                    phase: sum(step["phases"][phase] for step in steps) / runs
                    for phase in steps[0]["phases"]
                }
            )
            for steps in zip(*profiles)
        ]
        what = f"mean of {count(runs, 'run')}, peak {core.peak() / 1e9:.3g} GFLOP/s"
        return Report(self._title(batch, what), batch, layers)

    def _batch(self, given: int | None) -> int:
        return (self.inputs[0].shape or (1,))[0] or 1 if given is None else whole("batch", given)

    def _title(self, batch: int, what: str) -> str:
        name = self.name or "model"
        return f"{name}: batch {batch}, {self.isa}, {count(self.threads, 'thread')}, {what}"

    def _run(
        self, inputs: Sequence[Any], wanted: list[str], out: Array | Sequence[Array] | None
    ) -> list[Array]:
        arrays = self._with_axes(_arrays(inputs))
        own = wanted
        if wanted:
            unknown = [name for name in wanted if name not in self._names]
            if unknown:
                raise ValueError(f"the model has no value {listed(unknown)}")
            own = [self._names[name] for name in wanted]
        if out is not None:
            if isinstance(out, np.ndarray):
                out = [out]
            if not isinstance(out, (list, tuple)):
                raise ValueError(f"out is {short(out)}, expected arrays")
            for i, array in enumerate(out):
                if not isinstance(array, np.ndarray):
                    raise ValueError(f"out is a {type(array).__name__}, expected arrays")
                if any(np.may_share_memory(array, other) for other in (*arrays, *out[:i])):
                    raise ValueError("out overlaps an input or another output")
        run = partial(self._run_with_states, self._kept) if self._kept else self._inner.run
        if wanted and len(set(own)) < len(set(wanted)) == len(wanted):  # under several names
            if out is not None:
                raise ValueError("out cannot hold a value that is asked for by two of its names")
            once = list(dict.fromkeys(own))
            values = dict(zip(once, run(arrays, once, None)))
            return self._as_source(own, [values[name].copy() for name in own])
        if out is None:
            return self._as_source(own, run(arrays, own, None))
        whole = out
        if self._scalars:
            whole = [array.reshape(1) if array.ndim == 0 else array for array in out]
        run(arrays, own, whole)
        return list(out)

    def _with_axes(self, arrays: list[Array]) -> list[Array]:
        """What a call is given, of scalars with the axis that they have in the core: once for every
        group of images.
        """
        if not self._scalars:  # as of nearly all models: what follows takes time in every call
            return arrays
        if self._scalars.isdisjoint(name for name, _, _ in self._inner.inputs):
            return arrays
        sizes = {name: shape[0] for name, shape, _ in self._inner.inputs if shape}
        names = [value.name for value in self.inputs]
        groups = (
            max(1, len(x) // max(1, sizes.get(name, 1)))
            for name, x in zip(names, arrays)
            if x.ndim and name not in self._scalars
        )
        times = next(groups, 1)
        scalar = [name in self._scalars for name in names] + [False] * len(arrays)
        return [x.repeat(times) if x.ndim == 0 and s else x for x, s in zip(arrays, scalar)]

    def _as_source(self, names: Sequence[str], arrays: list[Array]) -> list[Array]:
        """What a call gives, of scalars without axes."""
        if not self._scalars:
            return arrays
        names = names or [value.name for value in self.outputs]
        return [without_axes(x) if n in self._scalars else x for n, x in zip(names, arrays)]

    def _states(self) -> Kept | None:
        states = recorded_states(self._metadata)
        if not states:
            return None
        inputs = {name: (shape, dtype) for name, shape, dtype in self._inner.inputs}
        return Kept(states, inputs, {name for name, _, _ in self._inner.outputs})

    def _with_states(self, arrays: list[Array]) -> list[Array]:
        """What the core takes: states among the arrays of a call."""
        if not self._kept:
            return arrays
        names = [name for name, _, _ in self._inner.inputs]
        expected = len(names) - len(self._kept.before)
        if len(arrays) != expected:
            raise ValueError(f"{len(arrays)} arrays, the model has {count(expected, 'input')}")
        given, now = iter(arrays), self._kept.now
        return [now[name] if name in now else next(given) for name in names]

    def _run_with_states(
        self, kept: Kept, arrays: list[Array], wanted: list[str], out: Sequence[Array] | None
    ) -> list[Array]:
        public = wanted or [value.name for value in self.outputs]
        more = [name for name in kept.after if name not in public]
        with self._lock:
            if out is not None:
                out = [*out, *(kept.room(name) for name in more)]
            found = self._inner.run(self._with_states(arrays), [*public, *more], out)
            kept.update(dict(zip([*public, *more], found)))
        return found[: len(public)]

    def _ordered(self, feed: Mapping[str, npt.ArrayLike]) -> list[npt.ArrayLike]:
        if not isinstance(feed, Mapping):
            raise ValueError(f"the feed is {short(feed)}, expected arrays by name")
        names = [value.name for value in self.inputs]
        missing = [name for name in names if name not in feed]
        unknown = [name for name in feed if name not in names]
        problems = [f"input {listed(missing)} is missing"] if missing else []
        problems += [f"the model has no input {listed(unknown)}"] if unknown else []
        if problems:
            raise ValueError("; ".join(problems))
        return [feed[name] for name in names]

    def _layer(self, step: _core.Step, batch: int, times: Sequence[float]) -> Layer:
        gflops = percent = None
        if times and step["macs"]:
            mean = max(sum(times) / len(times), 1e-9)
            gflops = 2e-9 * step["macs"] * batch / step["batch"] / mean
            percent = 100e9 * gflops / self._inner.peak()
        return Layer(
            step["name"],
            step["op"],
            step["problem"],
            step["algorithm"],
            self.isa if step["uses_kernels"] else "-",
            step["macs"],
            step["estimate"],
            tuple(Candidate(**candidate) for candidate in step["candidates"]),
            tuple(times),
            gflops,
            percent,
            step["measured"],
            rows=step["rows"],
        )


def _first_sizes(text: str) -> dict[str, int]:
    """How long axis 0 of each input is, of text in a file that nobody vouches for; {} if it is the
    batch.
    """
    with suppress(ValueError, RecursionError):
        found = json.loads(text, parse_int=float)
        if isinstance(found, dict):
            return {k: int(n) for k, n in found.items() if isinstance(n, float) and 0 < n < 1 << 31}
    return {}


def _arrays(inputs: Sequence[Any]) -> list[npt.NDArray[Any]]:
    """As ndarrays. A type of another making, such as an unpickled one, becomes NumPy's own."""
    return [_plain(np.asarray(x)) for x in inputs]


# By number, since all that is done for every call takes as long as a small layer.
_OWN = {dtype.num: dtype for dtype in map(np.dtype, np.typecodes["All"])}


def _plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    dtype = array.dtype
    if dtype is _OWN.get(dtype.num) or dtype.kind not in "fiub" or not dtype.isnative:
        return array
    return np.asarray(array, dtype.type)
