"""A smaller network without training: the channels that matter least go, and the weights of those
that stay are fitted to what the network computed, until it is fast enough or would lose too much.

`spaces` has what can be cut, `refit` which channels matter and least squares, `build` makes the
networks, `choose` finds the one, `report` says what came of it. Samples, losses and costs are those
of `quantize`, which `shrink` puts to use on the smaller networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..channels import remove_dead
from ..graph import Array, Graph
from ..quantize import METHODS, PRECISIONS, Samples, of_schemes, quantize
from ..quantize.choose import WORTH, Progress, not_worse
from ..quantize.costs import Make, Meter, Written
from ..quantize.loss import NO_LOSS, Judge, Loss
from ..quantize.samples import Runner, fixed_batch
from .build import Builder, State
from .choose import Chooser, Cut
from .report import LayerRow, Row, Smaller
from .spaces import Structure

__all__ = ["MakeMeter", "Smaller", "Work", "prune", "shrink"]

ALONE = 32  # samples on which the loss of each cut alone is measured, at most
FITTING = 512  # samples that weights are fitted to, at most
FEW = 16  # samples to fit, of which none are spared to measure the loss of cuts
FASTEST = 4  # of those within the margin that are measured as a whole
BASES = 3  # smaller networks that are quantized, besides the whole one

# A meter of networks that can be made, with an input of batch 1.
MakeMeter = Callable[[Make, Mapping[str, Array]], Meter]


def _silent(what: str, done: int, total: int) -> None:
    pass


def prune(
    graph: Graph,
    samples: Samples,
    make_meter: MakeMeter,
    *,
    max_loss: float | None = None,
    speed_up: float | None = None,
    metric: str | None = None,
    progress: Progress = _silent,
) -> Smaller:
    """A canonical graph with fewer channels: the fastest that loses no more than `max_loss`, or
    that which loses least of those `speed_up` times as fast.

    samples: every second one, but at most FITTING, is what weights are fitted to; the others judge.
    max_loss: as of quantize.quantize; 1 % if neither is given. With both, the result has `passed`
    if it is fast enough and within the margin.
    progress: called with what is being done, how much of it is done, and of how much.

    The result's `graph` is what to save; it is the best network found if none is good enough, or
    hardly faster. ValueError if there is nothing to cut, or samples, labels or metric do not fit.
    """
    max_loss = 0.01 if max_loss is None and speed_up is None else max_loss
    work = Work(graph, samples, make_meter, metric, progress)
    chooser = work.chooser
    if speed_up is not None:
        chooser.of(chooser.faster(speed_up))
    else:
        assert max_loss is not None
        chooser.within(max_loss)
    chooser.of(chooser.chain[0])
    cuts = _candidates(work.judge, list(chooser.tried.values()), max_loss, speed_up)
    rows = [_row(_how(cut), cut.loss, cut.graph) for cut in cuts]
    rows = work.measured(rows, [work.written(cut) for cut in cuts])
    cut, row = _chosen(work.judge, list(zip(cuts, rows)), max_loss, speed_up)
    return work.outcome(cut.graph, cut.state, row, rows, max_loss=max_loss, speed_up=speed_up)


def shrink(
    graph: Graph,
    samples: Samples,
    make_meter: MakeMeter,
    *,
    max_loss: float = 0.01,
    metric: str | None = None,
    method: str = METHODS[0],
    precisions: Sequence[str] = PRECISIONS,
    progress: Progress = _silent,
) -> Smaller:
    """A canonical graph with fewer channels and fewer bits: the fastest of the networks found that
    loses no more than `max_loss` of what the graph itself finds. Parameters as of `prune` and
    quantize.quantize.
    """
    work = Work(graph, samples, make_meter, metric, progress)
    work.chooser.within(max_loss)
    cuts = [work.chooser.of(work.chooser.chain[0]), *_bases(work.judge, work.chooser, max_loss)]
    rows, networks = [], []
    for number, cut in enumerate(cuts):

        def told(what: str, done: int, total: int, number: int = number) -> None:
            progress(f"bits {number + 1} of {len(cuts)}: {what}", done, total)

        found = quantize(
            cut.graph,
            samples,
            lambda calibration, feed: make_meter(of_schemes(calibration), feed),
            max_loss=max_loss,
            metric=metric,
            method=method,
            precisions=precisions,
            progress=told,
            like=work.graph,
            parts=(work.fitting, work.judge.rows),
        )
        bits = ", ".join(f"{n} {p}" for p, n in found.precisions.items())
        rows += [
            _row(_how(cut), cut.loss, cut.graph),
            _row(f"{_how(cut)}, {bits}", Loss(found.loss, found.upper), found.graph),
        ]
        networks += [work.written(cut), Written(found.graph, {}, work.graph)]
    rows = work.measured(rows, networks)
    states = [cut.state for cut in cuts for _ in range(2)]
    tried = list(zip(networks, states, rows))
    allowed = [t for t in tried if work.judge.allows(Loss(t[2].loss, t[2].upper), max_loss)]
    network, state, row = min(
        allowed or [min(tried, key=lambda t: t[2].loss)], key=lambda t: t[2].cost
    )
    return work.outcome(network.graph, state, row, rows, max_loss=max_loss, speed_up=None)


class Work:
    """What both begin with: a network, what is known of it, and the chain of its cuts."""

    def __init__(
        self,
        graph: Graph,
        samples: Samples,
        make_meter: MakeMeter,
        metric: str | None,
        progress: Progress,
    ) -> None:
        self.graph, self._progress = graph, progress
        runner = Runner(graph)
        rows = range(samples.count)
        self.fitting = runner.usable(rows[:: max(2, 2 * -(-samples.count // (2 * FITTING)))])
        judging = runner.usable(rows[1::2] or rows)
        self.structure = Structure(remove_dead(graph)[0])
        self.judge = Judge(graph, runner, samples, judging, metric)
        least = fixed_batch(graph) or 1
        one = samples.take(runner.usable(rows)[:least])
        feed = {name: array[0] if graph.batchless else array for name, array in one.items()}
        self.meter = make_meter(lambda built: Written(built.graph, built.owners, graph), feed)
        self.whole = make_meter(lambda network: network, feed).whole
        count = max(min(ALONE, len(self.fitting) // 4), least)
        # Neighbours may be alike: those that measure cuts are apart from those that fit.
        rest, few = self.fitting[:-count], runner.usable(self.fitting[-count:])
        if len(self.fitting) < FEW or len(rest) < least:
            few = rest = self.fitting
        builder = Builder(
            self.structure,
            samples,
            runner.usable(rest),
            lambda done, total: progress("calibrating", done, total),
        )
        self.chooser = Chooser(builder, self.meter, self.judge, few, progress)

    def written(self, cut: Cut) -> Written:
        return Written(cut.graph, {}, self.graph)

    def measured(self, rows: Sequence[Row], networks: Sequence[Written]) -> list[Row]:
        """With the costs of the whole networks, the first of which is the one as it was."""
        self._progress("measuring", 0, 1)
        costs = self.whole([Written(self.graph, {}, self.graph), *networks])
        self._before = _row("as it was", NO_LOSS, self.graph)._replace(cost=costs[0])
        self._progress("measuring", 1, 1)
        return [row._replace(cost=cost) for row, cost in zip(rows, costs[1:])]

    def outcome(
        self,
        graph: Graph,
        state: State,
        row: Row,
        rows: list[Row],
        *,
        max_loss: float | None,
        speed_up: float | None,
    ) -> Smaller:
        judge = self.judge
        loss = Loss(row.loss, row.upper)
        least = 1 / WORTH if speed_up is None else speed_up
        fast = self._before.cost >= least * row.cost
        good = max_loss is None or judge.allows(loss, max_loss)
        smaller = row.bytes < self._before.bytes  # times alone differ of the same network, too
        return Smaller(
            graph=replace(graph, name=self.graph.name),
            name=self.graph.name or self.graph.source or "model",
            metric=judge.metric,
            labelled=judge.correct is not None,
            float_correct=judge.correct,
            max_loss=max_loss,
            speed_up=speed_up,
            passed=fast and good and smaller,
            fitted=len(self.fitting),
            judged=len(judge.rows),
            before=self._before,
            after=row,
            layers=self._layers(state),
            points=not_worse(rows, [r.cost for r in rows]),
        )

    def _layers(self, state: State) -> list[LayerRow]:
        structure, gone = self.structure, self.chooser.builder.removed(state)
        found = []
        for name, node in structure.layers.items():
            classes = structure.outputs[name]
            after = int((~np.isin(classes, gone)).sum())
            level = state.get(("rank", name), 0)
            rank = structure.rank(name, level) if level else after
            split = rank if rank < after else None
            found.append(LayerRow(name, node.op, len(classes), after, split))
        return found


def _row(how: str, loss: Loss, graph: Graph) -> Row:
    size = sum(array.nbytes for array in graph.initializers.values())
    return Row(how, loss.value, loss.upper, 0.0, size)


def _how(cut: Cut) -> str:
    cuts = sum(level > 0 for (kind, _), level in cut.state.items() if kind == "channels")
    splits = sum(level > 0 for (kind, _), level in cut.state.items() if kind == "rank")
    parts = [f"pruned {cuts}"] * bool(cuts) + [f"split {splits}"] * bool(splits)
    return ", ".join(parts) or "whole"


def _candidates(
    judge: Judge, cuts: list[Cut], max_loss: float | None, speed_up: float | None
) -> list[Cut]:
    """Of the networks tried those that may be the fastest within the margin, and a curve of others;
    all where that is not what was asked for.
    """
    ordered = sorted(cuts, key=lambda cut: (cut.estimate, cut.loss))
    if max_loss is None or speed_up is not None:
        return ordered
    found = [cut for cut in ordered if judge.allows(cut.loss, max_loss)][:FASTEST]
    found += not_worse(ordered, [cut.estimate for cut in ordered])
    return [cut for i, cut in enumerate(found) if not any(cut is other for other in found[:i])]


def _chosen(
    judge: Judge, tried: list[tuple[Cut, Row]], max_loss: float | None, speed_up: float | None
) -> tuple[Cut, Row]:
    """With a factor the network found for it, else the fastest within the margin or, if none is,
    that of least loss; the whole is no choice if there is another.
    """
    cuts = [t for t in tried if any(t[0].state.values())] or tried
    if speed_up is not None:
        return min(cuts, key=lambda t: t[0].estimate)
    assert max_loss is not None
    allowed = [t for t in cuts if judge.allows(t[0].loss, max_loss)]
    return min(allowed, key=lambda t: t[1].cost) if allowed else min(cuts, key=lambda t: t[0].loss)


def _bases(judge: Judge, chooser: Chooser, max_loss: float) -> list[Cut]:
    """Networks that leave some of the margin to bits, those that leave least first."""
    allowed = [cut for cut in chooser.tried.values() if judge.allows(cut.loss, max_loss)]
    allowed = [cut for cut in allowed if any(cut.state.values())]
    found: list[Cut] = []
    for share in np.linspace(1, 0, BASES):
        fitting = [cut for cut in allowed if cut.loss.value <= share * max_loss]
        if fitting:
            best = min(fitting, key=lambda cut: cut.estimate)
            found += [] if any(best is cut for cut in found) else [best]
    return found
