"""Frameworks by BLAS back-ends by models by batch sizes by threads: runs of a comparison together.

Each model and number of threads is a run (see `report`); here is what is made of all of them, and
how long they will take.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .. import core
from ..graph import Graph
from ..text import count
from .bench import LEAST, Protocol, Row
from .environments import impossible
from .report import MARKS, Data, figure, marked, table

# Seconds of starting a process, importing the runtime and loading a small network twice, on a core
# of 3 GHz; bytes of weights that are loaded a second.
START = {"linnet": 0.3, "caffe": 0.6, "mxnet": 0.9, "tensorflow": 3.0}
LOADED = 2e8
# How fast products are there in a network, of what NumPy's are for large ones.
SPEED = {"reference": 0.03, "atlas": 0.15, "its kernels": 0.9}
OTHERS = 0.4
REFERENCE = 0.15  # the same of the network in float64, of which every operator is NumPy


class Entry(NamedTuple):
    """One combination. ratio: how many times the fastest of its model, batch and threads it takes;
    None if it has no time.
    """

    model: str
    framework: str
    blas: str
    row: str
    batch: int
    threads: int
    cell: Data
    ratio: float | None


def is_matrix(runs: Sequence[Data]) -> bool:
    """Whether the runs are those of one matrix: of a machine, with the same rows and batches."""

    def shape(run: Data) -> object:
        rows = [row["name"] for row in run["rows"]]
        return run.get("matrix"), run["machine"]["cpu"], rows, run["protocol"]["batches"]

    distinct = {(run["model"], run["protocol"]["threads"]) for run in runs}
    alike = all(run.get("matrix") and shape(run) == shape(runs[0]) for run in runs)
    return alike and len(distinct) == len(runs)


def entries(runs: Sequence[Data]) -> Iterator[Entry]:
    """Every combination, in the order of the runs."""
    for run in runs:
        rows, threads = run["rows"], run["protocol"]["threads"]
        for i, batch in enumerate(run["protocol"]["batches"]):
            times = [figure(row["cells"][i]) for row in rows]
            best = min((t for t in times if t), default=math.nan)
            for row, value in zip(rows, times):
                what = model_name(run), row["runtime"], row["blas"] or "-", row["name"]
                ratio = value / best if value else None
                yield Entry(*what, batch, threads, row["cells"][i], ratio)


def model_name(run: Data) -> str:
    """The model's file without its ending."""
    return str(run["model"]).rsplit(".", 1)[0]


def as_text(runs: Sequence[Data]) -> str:
    """A table for every number of threads and batch size, why cells are empty, the verdict."""
    parts = [f"{runs[0]['machine']['cpu']}, {count(len(runs), 'run')}\n"]
    for threads, batch, together in panels(runs):
        names = [row["name"] for row in together[0]["rows"]]
        at = [list(run["protocol"]["batches"]).index(batch) for run in together]
        columns = []
        for run, i in zip(together, at):
            rows = [{**row, "cells": [row["cells"][i]]} for row in run["rows"]]
            columns.append([marked(rows, row, "median")[0] for row in rows])
        lines = [[name, *(column[i] for column in columns)] for i, name in enumerate(names)]
        empty = MARKS["error"]
        lines = [line for line in lines if any(text != empty for text in line[1:])]
        parts.append(
            f"Median ms per image at batch {batch} on {count(threads, 'thread')}; * is the best"
        )
        parts.append(table(["", *map(model_name, together)], lines))
    if found := reasons(runs):
        parts += ["Why others have none", "".join(f"  {line}\n" for line in found)]
    return "\n".join([*parts, verdict(runs)])


def panels(runs: Sequence[Data]) -> Iterator[tuple[int, int, list[Data]]]:
    """Threads, batch size and the runs that have both."""
    for threads in dict.fromkeys(run["protocol"]["threads"] for run in runs):
        own = [run for run in runs if run["protocol"]["threads"] == threads]
        for batch in dict.fromkeys(b for run in own for b in run["protocol"]["batches"]):
            yield threads, batch, [r for r in own if batch in r["protocol"]["batches"]]


def reasons(runs: Sequence[Data]) -> list[str]:
    """Every reason once, with the rows and the models it holds for."""
    found: dict[str, dict[str, set[str]]] = {}
    for entry in entries(runs):
        if entry.cell["reason"]:
            rows = found.setdefault(entry.cell["reason"], {})
            rows.setdefault(entry.row, set()).add(entry.model)
    models = {model_name(run) for run in runs}
    lines = []
    for reason, rows in found.items():
        where = set().union(*rows.values())
        only = "" if where == models else f" ({', '.join(sorted(where))})"
        lines.append(f"{', '.join(rows)}{only}: {reason}")
    return lines


def verdict(runs: Sequence[Data]) -> str:
    """How many combinations were verified, and whether the times can be trusted."""
    every = list(entries(runs))
    good = [entry for entry in every if entry.ratio]
    failed = sum(entry.cell["status"] == "failed" for entry in every)
    distinct = len({(entry.row, entry.model) for entry in good})
    problems = dict.fromkeys(p for run in runs for p in run["conditions"]["problems"])
    valid = f"INVALID: {'; '.join(problems)}" if problems else "VALID: the machine was quiet"
    return (
        f"{len(good)} cells verified, of {distinct} combinations of framework, BLAS and model; "
        f"{failed} FAILED; {len(every) - len(good) - failed} without a time.\n{valid}"
    )


class Plan(NamedTuple):
    """How long a model will take: cells, those that cannot be, and seconds by an estimate."""

    cells: int
    impossible: int
    seconds: float


def plan(graph: Graph, protocols: Sequence[Protocol], rows: Sequence[Row], images: int) -> Plan:
    """How long the rows will take on a canonical graph: from what NumPy computes a second, and from
    what starting each framework takes.
    """
    work, rate = macs(graph), macs_per_second()
    loading = 2 * sum(array.nbytes for array in graph.initializers.values()) / LOADED
    seconds, cells, never = images * work / (REFERENCE * rate), 0, 0
    for protocol in protocols:
        for batch in protocol.batches:
            for row in rows:
                if impossible(row.runtime, row.settings):
                    never += 1
                    continue
                name = row.settings.get("blas", row.settings.get("kernels", ""))
                call = batch * work / (rate * SPEED.get(name, OTHERS))
                timed = min(max(LEAST * call, min(protocol.passes * call, protocol.seconds)), 600)
                seconds += START.get(row.runtime.name, 1.0) / protocol.importing + loading
                seconds += 4 * call + max(timed, protocol.least)
                cells += 1
    return Plan(cells, never, seconds)


def macs(graph: Graph) -> int:
    """Multiply-adds of an image in convolutions and fully connected layers."""
    shapes, found = core.shapes(graph), 0
    for node in graph.nodes:
        if node.op in ("Conv", "Gemm"):
            found += graph.initializers[node.inputs[1]].size * math.prod(
                shapes[node.outputs[0]][2:]
            )
    return found


def macs_per_second() -> float:
    """Of NumPy's product of large matrices in float32, by measurement."""
    a = np.ones((512, 512), np.float32)
    a @ a
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - begin)
    return float(a.shape[0] ** 3 / min(times))
