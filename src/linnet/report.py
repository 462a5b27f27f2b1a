"""What Session.explain and Session.profile return, and the tables they print."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .text import number, table


class Candidate(NamedTuple):
    """What became of one algorithm for one layer: its time in seconds, or why it was refused."""

    algorithm: str
    seconds: float | None
    refusal: str
    measured: bool = False  # or estimated


class Layer(NamedTuple):
    """One step of a running model: a node with the followers fused into it, or a change of layout.

    estimate (seconds) and macs (multiply-adds; convolutions and fully connected layers only) are
    those of the problem, whose batch is the chunk the session cuts larger batches into; times
    (seconds, one for each run of a profile, none for explain) and gflops those of the whole batch.
    """

    name: str
    op: str
    problem: str
    algorithm: str
    isa: str  # of the kernels that ran; "-" for what is not linnet's own kernels
    macs: float
    estimate: float
    candidates: tuple[Candidate, ...]
    times: tuple[float, ...] = ()
    gflops: float | None = None
    percent_of_peak: float | None = None  # that all threads reach, measured
    measured: bool = False  # whether `estimate` is a time measured before, from the wisdom file
    phases: Mapping[str, float] = {}  # mean seconds of a profile by phase, of layers that have any
    rows: int = 0  # of the last of the layers computed together, at a time; 0: it is computed alone

    @property
    def how(self) -> str:
        """Its algorithm, and whether it is computed in bands of rows."""
        return f"{self.algorithm}, {self.rows} rows" if self.rows else self.algorithm

    @property
    def seconds(self) -> float | None:
        """Mean time of a profile."""
        return sum(self.times) / len(self.times) if self.times else None


class Report:
    """What Session.explain and profile return: print it, or read `layers` or `to_dict()`."""

    def __init__(self, title: str, batch: int, layers: Sequence[Layer]) -> None:
        self.title = title
        self.batch = batch
        self.layers = list(layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts, numbers and strings, ready for JSON; times in seconds."""
        layers = []
        for layer in self.layers:
            entry = layer._asdict()
            entry["candidates"] = [candidate._asdict() for candidate in layer.candidates]
            entry["times"] = list(layer.times)
            entry["phases"] = dict(layer.phases)
            entry["seconds"] = layer.seconds
            layers.append(entry)
        return {"title": self.title, "batch": self.batch, "layers": layers}

    def __str__(self) -> str:
        profiled = any(layer.times for layer in self.layers)
        return "\n".join([self.title, "", *(self._profile() if profiled else self._plan())])

    def __repr__(self) -> str:
        return str(self)

    def _plan(self) -> list[str]:
        rows = []
        for layer in self.layers:
            others = [c for c in layer.candidates if c.algorithm != layer.algorithm]
            rows.append(
                (
                    layer.name,
                    layer.op,
                    layer.how,
                    f"{layer.estimate * 1e3:.3f}",
                    _source(layer.measured),
                    layer.problem,
                )
            )
            for other in _by_family(others):
                if other.seconds is None:
                    cells = ("", "", f"refused: {other.refusal}")
                else:
                    cells = (f"{other.seconds * 1e3:.3f}", _source(other.measured), "")
                rows.append(("", "", other.algorithm, *cells))
        return table(("layer", "op", "algorithm", "ms", "", "problem"), rows, right=(3,))

    def _profile(self) -> list[str]:
        total = sum(layer.seconds or 0 for layer in self.layers) or 1.0
        rows = []
        for layer in self.layers:
            time = layer.seconds or 0
            rows.append(
                (
                    layer.name,
                    layer.op,
                    layer.how,
                    layer.isa,
                    f"{time * 1e3:.3f}",
                    f"{100 * time / total:.1f}",
                    number(layer.gflops, 1),
                    number(layer.percent_of_peak, 0),
                )
            )
            for phase, seconds in layer.phases.items():
                share = f"{100 * seconds / total:.1f}"
                rows.append(("", "", f"  {phase}", "", f"{seconds * 1e3:.3f}", share, "", ""))
        rows.append(("total", "", "", "", f"{total * 1e3:.3f}", "100.0", "", ""))
        header = ("layer", "op", "algorithm", "isa", "ms", "%", "GFLOP/s", "% of peak")
        return table(header, rows, right=(4, 5, 6, 7))


def _by_family(candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """Algorithms of one family that are refused for one reason become one line, as "nnpack-*"."""
    for (family, refusal), group in itertools.groupby(
        candidates, lambda c: (c.algorithm.partition("-")[0], c.refusal)
    ):
        members = list(group)
        if refusal and len(members) > 2:
            yield members[0]._replace(algorithm=f"{family}-*")
        else:
            yield from members


def _source(measured: bool) -> str:
    return "measured" if measured else "estimated"
