"""Measure which algorithm is fastest for every layer of a model, and remember it: `linnet tune`.

What was measured goes into the wisdom file, which every later session reads when it is loaded: the
one LINNET_WISDOM names, else linnet/wisdom.txt in the user's cache. Times of another machine, build
or instruction set are ignored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from . import _core
from .options import text
from .text import short, table

COMPARE_SECONDS = 1.0  # of running the model as estimated and as tuned, in turns
COMPARE_ROUNDS = 5  # at least, of each


class Change(NamedTuple):
    """A layer that measuring runs otherwise than the estimate would."""

    layer: str
    problem: str
    estimated: str  # algorithm
    tuned: str


class Plan(NamedTuple):
    """A model for one number of threads and one batch, run both ways: seconds of one run."""

    threads: int
    batch: int
    estimated: float
    tuned: float
    changes: tuple[Change, ...]


class Tuning(NamedTuple):
    wisdom: str  # what the wisdom file holds now
    layers: int  # measured this time
    seconds: float
    complete: bool  # False where the timeout came first
    plans: tuple[Plan, ...]

    def to_dict(self) -> dict[str, Any]:
        plans = [{**p._asdict(), "changes": [c._asdict() for c in p.changes]} for p in self.plans]
        return {**self._asdict(), "plans": plans}

    def lines(self) -> list[str]:
        rows = [
            (
                str(p.threads),
                str(p.batch),
                f"{p.estimated * 1e3:.3f}",
                f"{p.tuned * 1e3:.3f}",
                f"{p.estimated / p.tuned:.2f}",
                str(len(p.changes)),
            )
            for p in self.plans
        ]
        header = ("threads", "batch", "estimated ms", "tuned ms", "gain", "layers changed")
        text = table(header, rows, right=range(6)) if rows else []
        for p in self.plans:
            text += [
                f"threads {p.threads}, batch {p.batch}: {c.layer}: {c.estimated} -> {c.tuned}"
                for c in p.changes
            ]
        text.append(f"measured {self.layers} layers in {self.seconds:.1f} s; {self.wisdom}")
        if not self.complete:
            text.append("the timeout came first: --continue measures the rest")
        return text


def tune(
    graph: _core.GraphBuilder,
    *,
    threads: Sequence[int] | None = None,
    batches: Sequence[int],
    search: str = "fast",
    cache: str | None = None,
    timeout: float = float("inf"),
    keep: bool = False,
    progress: Callable[[int, str], object] | None = None,
    **options: Any,
) -> Tuning:
    """Measure the layers of a model for each number of threads and each batch.

    threads: by default one for every core this process may use.
    search: "fast" measures what the estimate finds promising, "full" all that is not hopeless, and
        for longer.
    cache: the wisdom file; by default the one sessions read.
    timeout: seconds after which no more layers are measured.
    keep: do not measure again what the file already knows.
    progress: called before each layer with the number of those measured and the problem; what it
        raises ends the tuning. What was measured is kept then, but for the last seconds.
    options: isa, blas, nnpack, weights_dtype and memory_limit as of options.core_options.
    """
    if search not in ("fast", "full"):
        raise ValueError(f"search is {short(search)}, expected 'fast' or 'full'")
    threads = threads or [_core.default_threads()]
    start = time.monotonic()
    seen: set[str] = set()

    def count(problem: str) -> None:
        if progress:
            progress(len(seen), problem)
        seen.add(problem)

    remembering = options if cache is None else {**options, "wisdom": text("cache", cache)}
    for number in threads:
        session = _core.Session(
            graph,
            threads=number,
            search=search,
            seconds=max(0.0, timeout - (time.monotonic() - start)),
            keep=keep,
            progress=count,
            **remembering,
        )
        try:
            for batch in batches:
                session.plan(batch, [])
        finally:
            session.save_wisdom()
    complete = time.monotonic() - start < timeout
    plans = []
    note = ""
    for number in threads:
        estimated = _core.Session(graph, threads=number, wisdom="", **options)
        tuned = _core.Session(graph, threads=number, **remembering)
        plans += [_compare(estimated, tuned, number, batch) for batch in batches]
        note = tuned.wisdom_note()
    return Tuning(note, len(seen), time.monotonic() - start, complete, tuple(plans))


def _compare(estimated: _core.Session, tuned: _core.Session, threads: int, batch: int) -> Plan:
    """Run both in turns on the same input."""
    random = np.random.default_rng(0)
    x = [
        random.random((batch, *shape[1:]), np.float32).astype(dtype)
        for _, shape, dtype in tuned.inputs
    ]
    changes = _changes(estimated.plan(batch, []), tuned.plan(batch, []))
    times: dict[int, list[float]] = {0: [], 1: []}
    for session in (estimated, tuned):
        session.run(x, [], None)
    end = time.monotonic() + COMPARE_SECONDS
    while len(times[0]) < COMPARE_ROUNDS or time.monotonic() < end:
        for i, session in enumerate((estimated, tuned)):
            start = time.perf_counter()
            session.run(x, [], None)
            times[i].append(time.perf_counter() - start)
    return Plan(threads, batch, median(times[0]), median(times[1]), changes)


def _changes(estimated: Sequence[_core.Step], tuned: Sequence[_core.Step]) -> tuple[Change, ...]:
    """Layers of both plans by name; changes of layout come and go with them."""
    before = {step["name"]: step["algorithm"] for step in estimated}
    return tuple(
        Change(step["name"], step["problem"], before[step["name"]], step["algorithm"])
        for step in tuned
        if before.get(step["name"], step["algorithm"]) != step["algorithm"]
    )
