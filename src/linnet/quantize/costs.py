"""What a network costs, as a whole and layer by layer: seconds measured on this machine, seconds
that a wisdom file of another one holds, or bytes.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

from .. import _core, model
from ..formats import onnx_write
from ..graph import Array, Graph
from ..session import Session
from ..text import count, listed
from .calibrate import Calibration
from .scheme import Scheme
from .write import written

# Networks run in turns, so that what else the machine does is shared: for so many seconds each, and
# so many rounds at least.
SECONDS, ROUNDS = 1.0, 5

_BITS = {"f32": 32, "f16": 16, "int8-weights": 8, "int8": 8}
# What a key in a wisdom file says that another machine may do otherwise: layouts, and threads.
_LAYOUT = re.compile(r"(nchw|nhwc)(/\d+)?(>(nchw|nhwc)(/\d+)?)?")


class Written(NamedTuple):
    """A network to measure: what would be written, of each node the layer that it belongs to, and
    the network that it computes as.
    """

    graph: Graph
    owners: Mapping[str, str]
    like: Graph


Make = Callable[[Any], Written]  # of what stands for a network, as a scheme does


def of_schemes(calibration: Calibration) -> Make:
    """Makes the networks of schemes."""
    return lambda scheme: Written(*written(scheme, calibration), scheme.network.graph)


class Meter(Protocol):
    """Costs of a scheme. unit: "s" or "bytes"."""

    unit: str

    def layers(self, schemes: Sequence[Any]) -> list[dict[str, float]]:
        """Of each of several networks by layer, with what follows on it; of the rest under ""."""

    def whole(self, schemes: Sequence[Any]) -> list[float]:
        """Of each of several networks."""


class Bytes:
    """What a run reads of weights and writes of results, of values that may be integers: for a
    machine that is not at hand.
    """

    unit = "bytes"

    def __init__(self, calibration: Calibration) -> None:
        self._sizes = calibration.sizes

    def layers(self, schemes: Sequence[Scheme]) -> list[dict[str, float]]:
        return [self._layers(scheme) for scheme in schemes]

    def _layers(self, scheme: Scheme) -> dict[str, float]:
        found = dict.fromkeys(["", *scheme.network.layers], 0.0)
        for layer in scheme.network.layers.values():
            bits = _BITS[scheme.assignment[layer.name]]
            found[layer.name] += math.prod(layer.shape) * bits / 8
        for index, unit in enumerate(scheme.network.units):
            size = self._sizes.get(unit.output, 0)
            found[unit.layer] += size * (1 if index in scheme.integer else 4)
        return found

    def whole(self, schemes: Sequence[Scheme]) -> list[float]:
        return [sum(layers.values()) for layers in self.layers(schemes)]


class Times:
    """Measured, on one input, by running the networks as they would be written.

    make: a network of a scheme. options: of the sessions, as of options.core_options.
    """

    unit = "s"

    def __init__(self, make: Make, feed: Mapping[str, Array], options: Mapping[str, Any]) -> None:
        self._make, self._feed, self._options = make, feed, options

    def layers(self, schemes: Sequence[Any]) -> list[dict[str, float]]:
        """Of profiles. Steps of a layer that are the same problem in several networks take the
        same.
        """
        loaded = [load(self._make(scheme), self._options) for scheme in schemes]
        steps: list[list[tuple[str, str]]] = [[] for _ in loaded]  # layer and problem
        times: list[list[tuple[float, ...]]] = [[] for _ in loaded]

        def profile(index: int) -> None:
            session, owners = loaded[index]
            report = session.profile(*self._inputs(session), runs=1)
            steps[index] = [(_owner(layer.name, owners), layer.problem) for layer in report]
            times[index].append(tuple(layer.times[0] for layer in report))

        _in_turns(len(loaded), profile)
        typical = [[_typical(own) for own in zip(*rounds)] for rounds in times]
        least: dict[tuple[str, str], float] = {}
        for mine, seconds in zip(steps, typical):
            for step, second in zip(mine, seconds):
                least[step] = min(second, least.get(step, math.inf))
        return [
            _by_layer(own.owners, ((owner, least[owner, key]) for owner, key in mine))
            for own, mine in zip(loaded, steps)
        ]

    def whole(self, schemes: Sequence[Any]) -> list[float]:
        """Of calls."""
        sessions = [load(self._make(s), self._options).session for s in schemes]
        times: list[list[float]] = [[] for _ in sessions]

        def call(index: int) -> None:
            start = time.perf_counter()
            sessions[index](*self._inputs(sessions[index]))
            times[index].append(time.perf_counter() - start)

        _in_turns(len(sessions), call)
        return [_typical(mine[1:]) for mine in times]

    def _inputs(self, session: Session) -> list[Array]:
        return [self._feed[value.name] for value in session.inputs]


class Wisdom:
    """As the wisdom file of another machine says, where `linnet tune` has run networks like these.

    ValueError if it is none, has times of several machines or numbers of threads, or lacks most.
    """

    unit = "s"

    def __init__(self, make: Make, path: str | Path, threads: int | None = None) -> None:
        self._make, self._path = make, path
        self._seconds: dict[str, float] = {}
        text = Path(path).read_text("utf-8", "replace")
        if not text.startswith("linnet wisdom "):
            raise ValueError(f"{path}: not a wisdom file of linnet tune")
        if len(re.findall(r"(?m)^linnet \d", text)) > 1:
            raise ValueError(f"{path}: it has times of several machines or builds")
        rows = re.findall(r"(?m)^(\w+ [^=\n]*) t(\d+) = \S+ ([0-9.e+-]+)", text)
        known = sorted({int(number) for _, number, _ in rows})
        if threads is None and len(known) == 1:
            threads = known[0]
        if threads not in known:
            raise ValueError(f"{path}: it has times of {known} threads: give --threads")
        for key, number, seconds in rows:
            if int(number) == threads:
                plain = _plain(key)
                found = _number(seconds)
                self._seconds[plain] = min(found, self._seconds.get(plain, math.inf))

    def layers(self, schemes: Sequence[Any]) -> list[dict[str, float]]:
        """A step that it does not know takes what is estimated here, in proportion."""
        made: list[Mapping[str, str]] = []
        steps = []  # scheme, owner, name, estimate and time of each
        for index, scheme in enumerate(schemes):
            session, owners = load(self._make(scheme), {})
            made.append(owners)
            for step in session.explain():
                known = self._seconds.get(_plain(step.problem))
                steps.append((index, _owner(step.name, owners), step.name, step.estimate, known))
        here = sum(estimate for *_, estimate, known in steps if known is not None)
        if here < sum(estimate for *_, estimate, _ in steps) / 2:
            missing = [name for _, _, name, _, known in steps if known is None]
            raise ValueError(
                f"{self._path}: no times of {count(len(missing), 'step')}, as {listed(missing, 3)}"
                ": run linnet tune there on such a network"
            )
        ratio = sum(known for *_, known in steps if known is not None) / here
        costs: list[list[tuple[str, float]]] = [[] for _ in schemes]
        for index, owner, _, estimate, known in steps:
            costs[index].append((owner, estimate * ratio if known is None else known))
        return [_by_layer(owners, own) for owners, own in zip(made, costs)]

    def whole(self, schemes: Sequence[Any]) -> list[float]:
        return [sum(layers.values()) for layers in self.layers(schemes)]


class _Loaded(NamedTuple):
    session: Session
    owners: Mapping[str, str]  # of each node, the layer


def load(network: Written, options: Mapping[str, Any]) -> _Loaded:
    """The network as it would be written, as a session: what a user of the file gets."""
    graph = network.graph
    with TemporaryDirectory(prefix="linnet-") as folder:
        path = Path(folder) / "network.onnx"
        save(graph, path, network.like)
        try:
            core, metadata = model.build(path, None)
        except ValueError as error:
            is_open = any(0 in value.shape[1:] for value in graph.inputs)
            why = "; the model leaves sizes open: give --shapes" if is_open else ""
            text = str(error).replace(f"{path}: ", "")
            raise ValueError(f"what would be written cannot be read: {text}{why}") from None
        if isinstance(core, Graph):
            raise ValueError("layers depend on sizes that the model leaves open: give --shapes")
        return _Loaded(Session(_core.Session(core, **options), metadata), network.owners)


def save(graph: Graph, path: str | Path, like: Graph) -> None:
    """A graph of `written`, which computes what `like` does."""
    onnx_write.save(graph, path, like=like)


def _typical(times: Sequence[float]) -> float:
    """The lower decile: what else a machine does makes runs slower, never faster."""
    return sorted(times)[len(times) // 10]


def _in_turns(networks: int, run: Callable[[int], None]) -> None:
    end = time.monotonic() + SECONDS * networks
    rounds = 0
    while rounds <= ROUNDS or time.monotonic() < end:
        for index in range(networks):
            run(index)
        rounds += 1


def _owner(step: str, owners: Mapping[str, str]) -> str:
    """The layer of a step, which is called by the names of nodes, "conv1+relu1", or of what became
    of one, "conv1.part".
    """
    while step and step not in owners:
        step = step[: max(step.rfind("+"), step.rfind("."), 0)]
    return owners.get(step, "")


def _by_layer(owners: Mapping[str, str], costs: Iterable[tuple[str, float]]) -> dict[str, float]:
    found = dict.fromkeys(["", *owners.values()], 0.0)
    for owner, cost in costs:
        found[owner] += cost
    return found


def _plain(key: str) -> str:
    words = re.sub(r" t\d+$", "", key).split()
    return " ".join(word for word in words if not _LAYOUT.fullmatch(word))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf
