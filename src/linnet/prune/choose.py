"""The choice of what to cut: the network whose loss is within a margin, or that is faster by a
factor, that costs or loses least.

What each cut adds to the noise of the outputs is measured alone, what it saves is read off the
times of layers in networks that are cut everywhere to the same share. Cuts that save most for the
noise they add come first, which makes a chain of networks; few of those are tried as a whole, by
halving, with their weights fitted layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..graph import Array, Graph
from ..quantize.choose import Progress
from ..quantize.costs import Meter
from ..quantize.loss import NO_LOSS, Judge, Loss, before_softmax, noise
from ..quantize.samples import Runner
from .build import Builder, Item
from .spaces import FRACTIONS, RANKS

WORTH = 0.97  # of the time of a layer that is whole: what it may take split
LEAST_GAIN = 0.002  # of the whole's time: a cut that saves less is none
CURVE = 5  # networks of the chain that are tried in any case
MEASURED = (1, 2, 4, 6, 7)  # levels of channels whose noise is measured; others lie between
LEAST_NOISE = 1e-9


class Cut(NamedTuple):
    """A network that was tried. estimate: of its cost, from layers."""

    state: dict[Item, int]
    graph: Graph
    loss: Loss
    estimate: float


class Chooser:
    def __init__(
        self, builder: Builder, meter: Meter, judge: Judge, rows: Sequence[int], progress: Progress
    ) -> None:
        """rows: few, on which the noise of each cut alone is measured."""
        self.builder, self.meter, self.judge, self._progress = builder, meter, judge, progress
        self.tried: dict[tuple[int, ...], Cut] = {}  # by the levels of all items
        self._measure_costs()
        self._measure_noise(rows)
        self.chain = self._chain()

    # Costs.

    def _uniform(self, kind: str, level: int) -> dict[Item, int]:
        return {item: level for item in self.builder.items if item[0] == kind}

    def _measure_costs(self) -> None:
        self._progress("costs of layers", 0, 1)
        structure = self.builder.structure
        states = [self._uniform("channels", level) for level in range(len(FRACTIONS))]
        states += [self._uniform("rank", level) for level in range(1, len(RANKS))]
        found = self.meter.layers([self.builder.cut_only(state) for state in states])
        whole = found[: len(FRACTIONS)]
        self._rest = found[0].get("", 0.0)
        self._curves: dict[str, tuple[Array, Array, Array]] = {}
        self._split: dict[str, list[float]] = {}
        for layer in structure.layers:
            times = np.minimum.accumulate([costs.get(layer, 0.0) for costs in whole])
            shares = np.array(
                [structure.shares(layer, self._widths(s)) for s in states[: len(whole)]]
            )
            self._curves[layer] = shares[:, 0], shares[:, 1], times
            full = max(times[0], 1e-12)
            self._split[layer] = [
                1.0,
                *(costs.get(layer, 0.0) / full for costs in found[len(whole) :]),
            ]
        self._progress("costs of layers", 1, 1)

    def _widths(self, state: Mapping[Item, int]) -> dict[str, int]:
        spaces = self.builder.structure.spaces
        return {name: s.width(state.get(("channels", name), 0)) for name, s in spaces.items()}

    def estimate(self, state: Mapping[Item, int]) -> float:
        """Of the cost of a network."""
        widths = self._widths(state)
        return self._rest + sum(self._layer(layer, state, widths) for layer in self._curves)

    def _layer(self, layer: str, state: Mapping[Item, int], widths: Mapping[str, int]) -> float:
        """What reads less and what makes less each have their part in a layer's time; with both, it
        is the root of the product of the times in which both were the one, and both the other.
        """
        read, made, times = self._curves[layer]
        now = self.builder.structure.shares(layer, widths)
        parts = [
            float(np.interp(share, known[::-1], times[::-1]))
            for share, known in zip(now, (read, made))
            if known[-1] < 1
        ]
        time = math.prod(parts) ** (1 / len(parts)) if parts else float(times[0])
        return time * self._split[layer][state.get(("rank", layer), 0)]

    # Noise.

    def _levels(self, item: Item) -> list[int]:
        kind, name = item
        if kind == "channels":
            return list(MEASURED)
        factors = self._split[name]
        return [level for level in range(1, len(RANKS)) if factors[level] < WORTH]

    def _measure_noise(self, rows: Sequence[int]) -> None:
        judge, builder = self.judge, self.builder
        graph = builder.structure.graph
        names = before_softmax(graph, judge.names)
        right = Runner(graph).all(judge.samples, rows, names)
        wanted = [(item, level) for item in builder.items for level in self._levels(item)]
        alone: dict[Item, dict[int, float]] = {item: {0: 0.0} for item in builder.items}
        for done, (item, level) in enumerate(wanted):
            self._progress("loss of each cut", done, len(wanted))
            runner = Runner(builder.fitted_alone({item: level}).graph)
            found = runner.all(judge.samples, rows, names)
            alone[item][level] = max(noise(right, found), LEAST_NOISE)
        self._progress("loss of each cut", len(wanted), len(wanted))
        self.noise = {item: _rising(item, levels) for item, levels in alone.items()}

    # The search.

    def _chain(self) -> list[dict[Item, int]]:
        """States from the whole network on, each with one more cut: that which saves most for the
        noise it adds.
        """
        state: dict[Item, int] = dict.fromkeys(self.builder.items, 0)
        chain, cost = [dict(state)], self.estimate(state)
        least = LEAST_GAIN * cost
        while True:
            moves = []
            for order, (item, levels) in enumerate(self.noise.items()):
                for level, much in levels.items():
                    if level <= state[item]:
                        continue
                    saved = cost - self.estimate({**state, item: level})
                    if saved > least:
                        more = max(much - levels[state[item]], 1e-300)
                        moves.append((more / saved, order, level, item))
            if not moves:
                return chain
            _, _, level, item = min(moves)
            state[item] = level
            cost = self.estimate(state)
            chain.append(dict(state))

    def of(self, state: Mapping[Item, int]) -> Cut:
        """A network, with its weights fitted, and its loss on what judges."""
        key = tuple(state.values())
        if key not in self.tried:
            built = self.builder.fitted(state)
            loss = self.judge.loss(Runner(built.graph)) if any(key) else NO_LOSS
            self.tried[key] = Cut(dict(state), built.graph, loss, self.estimate(state))
        return self.tried[key]

    def within(self, margin: float) -> None:
        """Try networks around the last whose loss is within the margin."""
        spread = self._spread()
        most = len(spread) + math.ceil(math.log2(max(len(self.chain), 2)))
        count = 0

        def allowed(index: int) -> bool:
            nonlocal count
            self._progress("whole networks", count, most)
            count += 1
            return self.judge.allows(self.of(self.chain[index]).loss, margin)

        good = [index for index in spread if allowed(index)]
        low = max(good, default=0)
        high = min((index for index in spread if index > low), default=low)
        self._halve(low, high, allowed)
        self._progress("whole networks", most, most)

    def faster(self, factor: float) -> dict[Item, int]:
        """The state of the first network of the chain that is measured to be so much faster, the
        last if none is; without the cuts that it can do without.
        """
        steps = math.ceil(math.log2(max(len(self.chain), 2))) + 1
        gains: dict[int, float] = {}

        def slower(index: int) -> bool:
            self._progress("speed of networks", len(gains), steps)
            gains[index] = self._gain(self.chain[index])
            return gains[index] < factor

        last = len(self.chain) - 1
        found = min(self._halve(0, last, slower) + 1, last)
        state = self.chain[found]
        if found in gains:
            # Estimates are off by about as much of networks that are alike.
            least = self.estimate(state) * gains[found] / factor
            less = self._without(state, least)
            state = less if self._gain(less) >= factor else state
        self._progress("speed of networks", steps, steps)
        return state

    def _gain(self, state: Mapping[Item, int]) -> float:
        """How many times faster a network is measured to be."""
        states = (self.chain[0], state)
        before, now = self.meter.whole([self.builder.cut_only(state) for state in states])
        return before / now

    def _without(self, state: Mapping[Item, int], most: float) -> dict[Item, int]:
        """A state whose cuts go back as long as they add noise and the estimate is no larger."""
        found = dict(state)
        while True:
            moves = [
                (self.noise[item][found[item]] - much, level, item)
                for item, levels in self.noise.items()
                for level, much in levels.items()
                if level < found[item] and self.estimate({**found, item: level}) <= most
            ]
            if not moves:
                return found
            _, level, item = max(moves)
            found[item] = level

    @staticmethod
    def _halve(low: int, high: int, fits: Callable[[int], bool]) -> int:
        """The last place that fits, where low does and high does not."""
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def _spread(self) -> list[int]:
        """Places in the chain at equal distances of costs."""
        costs = np.array([self.estimate(state) for state in self.chain])
        wanted = np.linspace(costs[0], costs[-1], CURVE + 1)
        return sorted({int(np.abs(costs - cost).argmin()) for cost in wanted})


def _rising(item: Item, measured: Mapping[int, float]) -> dict[int, float]:
    """Of every level the noise, which only grows: of those that were not measured what lies between
    the neighbours, as powers.
    """
    known = sorted(measured)
    if item[0] == "rank":
        return dict(zip(known, np.maximum.accumulate([measured[n] for n in known]).tolist()))
    levels = np.arange(len(FRACTIONS))
    logs = np.log([max(measured[n], LEAST_NOISE) for n in known])
    values = np.exp(np.interp(levels, known, np.maximum.accumulate(logs)))
    values[0] = 0.0
    return dict(zip(levels.tolist(), values.tolist()))
