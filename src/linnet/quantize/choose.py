"""The choice of a precision for each layer: the cheapest network whose loss is within a margin.

Costs of layers add up, and so, nearly, do the powers of the noise that rounding them adds to the
outputs. So both are measured of each layer alone. Which layer to give more bits next is then known
for any margin: that which takes away most noise for what it costs (the convex hull of a knapsack
with several choices for each item; Sinha, Zoltners: The Multiple-Choice Knapsack Problem, 1979).
That makes a chain of networks from the cheapest to the most precise, in which few are tried as a
whole, by halving.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar

from ..passes import canonicalize
from .calibrate import Calibration
from .costs import Meter, load, of_schemes
from .loss import NO_LOSS, Judge, Loss, before_softmax, noise
from .samples import Runner
from .scheme import PRECISIONS, Assignment, Network, Scheme
from .write import simulated

# Of the cost of a more precise layer or network: what a less precise one may cost at most.
WORTH = 0.97
CURVE = 5  # networks of the chain that are tried in any case, for the curve
FASTEST = 4  # of those within the margin that are measured as a whole
LEAST_NOISE = 1e-12  # of what is rounded, even if few samples do not show it
REFINEMENTS = 8  # those tried beside the chain

Progress = Callable[[str, int, int], object]  # what is done, how much of it, of how much


class Costs(NamedTuple):
    """What was measured: of each layer by precision; of a number that crosses a border between
    reals and integers; of what belongs to no layer.
    """

    layers: Mapping[str, Mapping[str, float]]
    border: float
    rest: float


class Point(NamedTuple):
    """A network that was tried. estimate: of its cost, from those of its layers."""

    assignment: dict[str, str]
    loss: Loss
    estimate: float


class WithLoss(Protocol):
    @property
    def loss(self) -> Any: ...


Tried = TypeVar("Tried", bound=WithLoss)


class Chooser:
    """The measurements, and the search that needs them.

    choices: what each layer may be.
    """

    def __init__(
        self,
        network: Network,
        calibration: Calibration,
        meter: Meter,
        judge: Judge,
        *,
        choices: Mapping[str, Sequence[str]],
        progress: Progress,
    ) -> None:
        self.network, self.calibration, self.meter = network, calibration, meter
        self.judge, self.choices, self.progress = judge, choices, progress
        self.plain_loss = NO_LOSS  # of float32, which may be compared with another network
        self.points: list[Point] = []
        self._tried: dict[tuple[str, ...], Point] = {}
        self.costs = self._measure_costs()
        self.noise: dict[str, dict[str, float]] = {}

    # Costs.

    def _uniform(self, precision: str) -> dict[str, str]:
        """Every layer of this precision or, where it cannot be, of the nearest with more bits."""
        rank = PRECISIONS.index(precision)
        found = {}
        for name, choices in self.choices.items():
            ranks = [PRECISIONS.index(choice) for choice in choices]
            below = [r for r in ranks if r <= rank]
            found[name] = PRECISIONS[max(below) if below else min(ranks)]
        return found

    def _measure_costs(self) -> Costs:
        """All that is possible of one precision; and, for the borders, integers and reals in
        turns.
        """
        self.progress("costs of layers", 0, 1)
        wanted = [p for p in PRECISIONS if any(p in c for c in self.choices.values())]
        tried = [self._uniform(precision) for precision in wanted]
        if "int8" in wanted:
            turns = dict(tried[-1])
            for name in list(turns)[1::2]:
                turns[name] = self.choices[name][0]
            tried.append(turns)
        schemes = [Scheme(self.network, assignment) for assignment in tried]
        measured = self.meter.layers(schemes)
        layers: dict[str, dict[str, float]] = {name: {} for name in self.choices}
        for assignment, found in zip(tried[: len(wanted)], measured):
            for name, own in assignment.items():
                layers[name][own] = min(layers[name].get(own, math.inf), found[name])
        rest = min(found[""] for found in measured)
        border = 0.0
        if len(tried) > len(wanted) and (numbers := self._crossing(schemes[-1])):
            alone = rest + sum(layers[name][own] for name, own in tried[-1].items())
            border = max(0.0, (sum(measured[-1].values()) - alone) / numbers)
        self.progress("costs of layers", 1, 1)
        return Costs(layers, border, rest)

    def _crossing(self, scheme: Scheme) -> int:
        return sum(self.calibration.sizes[name] for name in scheme.borders())

    def estimate(self, assignment: Assignment) -> float:
        layers = sum(self.costs.layers[name][own] for name, own in assignment.items())
        borders = 0.0
        if self.costs.border:
            borders = self.costs.border * self._crossing(Scheme(self.network, assignment))
        return self.costs.rest + layers + borders

    # Noise.

    def measure_noise(self, runner: Runner, rows: Sequence[int]) -> None:
        """Of each layer alone, in each precision that may pay, on few samples."""
        judge = self.judge
        names = before_softmax(self.network.graph, judge.names)
        right = runner.all(judge.samples, rows, names)
        plain = {name: choices[0] for name, choices in self.choices.items()}
        for done, (name, worth) in enumerate(self._worthwhile().items()):
            self.progress("loss of each layer", done, len(self.choices))
            self.noise[name] = {}
            for own in worth:
                if own == "f32":
                    self.noise[name][own] = 0.0
                    continue
                scheme = Scheme(self.network, {**dict.fromkeys(plain, "f32"), name: own})
                found = self._runner(scheme, names).all(judge.samples, rows, names)
                self.noise[name][own] = max(noise(right, found), LEAST_NOISE)
        self.progress("loss of each layer", len(self.choices), len(self.choices))

    def _runner(self, scheme: Scheme, names: Sequence[str]) -> Runner:
        """What computes these values."""
        graph = replace(simulated(scheme, self.calibration), outputs=list(names))
        return Runner(canonicalize(graph))

    @property
    def runs(self) -> int:
        """How many networks measure_noise tries."""
        return sum(len(own) - (own[0] == "f32") for own in self._worthwhile().values())

    def _worthwhile(self) -> dict[str, list[str]]:
        """Of each layer the precisions that are cheaper than all with more bits."""
        found = {}
        for name, choices in self.choices.items():
            costs = self.costs.layers[name]
            kept = list(choices[:1])
            for own in choices[1:]:
                if costs[own] < WORTH * costs[kept[-1]]:
                    kept.append(own)
            found[name] = kept
        return found

    # The search.

    def chain(self) -> list[dict[str, str]]:
        """Assignments from the cheapest on, each with one layer of more bits."""
        assignment: dict[str, str] = {}
        steps: list[tuple[float, int, str, str]] = []
        for order, (name, noises) in enumerate(self.noise.items()):
            hull = _hull([(self.costs.layers[name][own], noises[own], own) for own in noises])
            assignment[name] = hull[0][2]
            for (cost, much, _), (more, less, own) in zip(hull, hull[1:]):
                steps.append(((more - cost) / max(much - less, 1e-300), order, name, own))
        found = [dict(assignment)]
        for _, _, name, own in sorted(steps):
            assignment[name] = own
            found.append(dict(assignment))
        settled = [self._settled(a) for a in found] if self.costs.border else found
        return [a for i, a in enumerate(settled) if i == 0 or a != settled[i - 1]]

    def _settled(self, assignment: dict[str, str]) -> dict[str, str]:
        """Without integers that cost more at their borders than they save."""
        best, cost = dict(assignment), self.estimate(assignment)
        changed = True
        while changed:
            changed = False
            for name in [n for n, own in best.items() if own == "int8"]:
                others = [own for own in self.noise[name] if own != "int8"]
                if not others:
                    continue
                own = min(others, key=lambda p: self.costs.layers[name][p])
                trial = {**best, name: own}
                if (less := self.estimate(trial)) < cost:
                    best, cost, changed = trial, less, True
        return best

    def tried(self, assignment: dict[str, str]) -> Point:
        """Its loss on the samples that judge, measured once."""
        key = tuple(assignment.values())
        if key not in self._tried:
            scheme = Scheme(self.network, assignment)
            plain = set(key) == {"f32"}
            runner = self._runner(scheme, self.judge.names)
            loss = self.plain_loss if plain else self.judge.loss(runner)
            self._tried[key] = Point(assignment, loss, self.estimate(assignment))
            self.points.append(self._tried[key])
        return self._tried[key]

    def search(self, margin: float) -> Point:
        """The cheapest found whose loss is within the margin or, if none is, that of least loss."""
        chain = self.chain()
        most = CURVE + math.ceil(math.log2(len(chain))) + REFINEMENTS
        self._done = 0

        def within(assignment: dict[str, str]) -> bool:
            self.progress("whole networks", self._done, most)
            self._done += 1
            return self.judge.allows(self.tried(assignment).loss, margin)

        low, high = 0, len(chain) - 1
        good = [within(chain[i * high // (CURVE - 1)]) for i in range(CURVE)]
        if good[-1] and not good[0]:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if within(chain[middle]) else (middle, high)
            self._refine(chain[high], within)
        self.progress("whole networks", most, most)
        best = [p for p in self.points if self.judge.allows(p.loss, margin)]
        if not best:
            return min(self.points, key=lambda p: p.loss)
        return min(best, key=lambda p: (p.estimate, p.loss))

    def _refine(self, assignment: dict[str, str], within: Callable[[dict[str, str]], bool]) -> None:
        """Some layers may have been given bits in vain: those that cost most for their noise."""
        for count, (name, own) in enumerate(self._cheaper(assignment)):
            if count >= REFINEMENTS:
                return
            trial = {**assignment, name: own}
            if within(trial):
                assignment = trial

    def _cheaper(self, assignment: Assignment) -> Iterator[tuple[str, str]]:
        """Layers and precisions that would save something, the best bargain first."""
        found = []
        for order, (name, noises) in enumerate(self.noise.items()):
            costs, now = self.costs.layers[name], assignment[name]
            own = min(noises, key=lambda p: costs[p])
            more = noises[own] - noises[now]
            if costs[own] < costs[now] and self.estimate({**assignment, name: own}) < self.estimate(
                assignment
            ):
                found.append((max(more, 1e-300) / (costs[now] - costs[own]), order, name, own))
        yield from ((name, own) for _, _, name, own in sorted(found))

    def as_run(self, point: Point) -> Point:
        """With the loss of the network as it would be written, computed by linnet, if that has the
        values to compare.
        """
        if set(point.assignment.values()) == {"f32"}:
            return point._replace(loss=self.plain_loss)
        scheme = Scheme(self.network, point.assignment)
        session = load(of_schemes(self.calibration)(scheme), {}).session
        if not {value.name for value in session.values}.issuperset(self.judge.names):
            return point
        loss = self.judge.loss(Runner(self.network.graph, session=session))
        return point._replace(loss=loss)

    def candidates(self, margin: float) -> list[Point]:
        """Of the networks tried those that may be the fastest within the margin, and the Pareto
        curve of estimates, some of each.
        """
        tried = sorted(self.points, key=lambda p: (p.estimate, p.loss))
        found = [p for p in tried if self.judge.allows(p.loss, margin)][:FASTEST]
        curve = not_worse(tried, [p.estimate for p in tried])
        found += curve[:: max(1, -(-len(curve) // CURVE))]
        return [p for i, p in enumerate(found) if p not in found[:i]]


def not_worse(points: Sequence[Tried], costs: Sequence[float]) -> list[Tried]:
    """Those that none is better than in both loss and cost, the cheapest first."""
    best: list[Tried] = []
    for _, _, point in sorted(zip(costs, (p.loss for p in points), points), key=lambda t: t[:2]):
        if not best or point.loss < best[-1].loss:
            best.append(point)
    return best


def _hull(options: list[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Of (cost, noise, precision) the lower convex hull, from the cheapest to the least noise."""
    hull: list[tuple[float, float, str]] = []
    for option in sorted(options):
        if hull and option[1] >= hull[-1][1]:
            continue
        while len(hull) > 1 and _slope(hull[-2], option) <= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(option)
    return hull


def _slope(a: tuple[float, float, str], b: tuple[float, float, str]) -> float:
    return (b[1] - a[1]) / max(b[0] - a[0], 1e-300)
