"""How far a changed network is from the float32 one, on inputs that it was not calibrated on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..graph import OWN_OPERATORS, Array, Graph
from .samples import Runner, Samples

METRICS = ("top1", "rms", "cosine")
Z = 1.96  # standard deviations on either side that hold 95 %

Outputs = Mapping[str, list[Array]]  # of each value an array for each run
Pair = tuple[list[Array], list[Array]]  # of each sample what is right, and what was found


class Loss(NamedTuple):
    """upper: the end of its interval of 95 %, what it may be on other inputs of the kind."""

    value: float
    upper: float


NO_LOSS = Loss(0.0, 0.0)


def judged(graph: Graph) -> list[str]:
    """The values to compare: outputs, or the reals they come from where those are found boxes or
    places, of which there is another number each time.
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    names: list[str] = []
    for name in graph.outputs:
        node = makers.get(name)
        if node is not None and (node.op in OWN_OPERATORS or node.op in ("ArgMax", "ArgMin")):
            names += [n for n in node.inputs if n in makers and makers[n].op not in OWN_OPERATORS]
        elif node is not None:
            names.append(name)
    return list(dict.fromkeys(names)) or list(graph.outputs)


def before_softmax(graph: Graph, names: Sequence[str]) -> list[str]:
    """The values, or of probabilities what a Softmax makes them of: where those are all but 0 or 1,
    no change shows in them.
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    found = []
    for name in names:
        node = makers.get(name)
        while node is not None and node.op in ("Flatten", "Reshape", "Transpose"):
            node = makers.get(node.inputs[0])
        softmax = node is not None and node.op == "Softmax"
        found.append(node.inputs[0] if node and softmax else name)
    return found


class Judge:
    """Compares networks with the float32 one on some samples.

    metric: "top1", of how many the largest output is another class or, with labels, of how many
    fewer it is the true one, as a fraction; "rms", of the differences relative to the outputs';
    "cosine", 1 - the cosine of both, the mean over samples. By default top1 of a network whose last
    judged value is a list of classes, else rms. margin: of a network that is beyond it, top1 needs
    not be known exactly.
    ValueError if the metric is not possible.
    """

    def __init__(
        self,
        graph: Graph,
        runner: Runner,
        samples: Samples,
        rows: Sequence[int],
        metric: str | None,
        *,
        margin: float = math.inf,
    ) -> None:
        self._margin = margin
        self.names = judged(graph)
        self.samples, self.rows = samples, runner.usable(rows)
        self._right = runner.all(samples, self.rows, self.names)
        last = self._right[self.names[-1]][0]
        self._single = single = graph.batchless
        classes = math.prod(last.shape) if single else math.prod(last.shape[1:])
        listed = classes > 1 and last.ndim > 1 - single and last.shape[1 - single] == classes
        self.metric = metric or ("top1" if listed else "rms")
        self._classes = classes
        if self.metric == "top1" and not listed:
            raise ValueError(f"'{self.names[-1]}' is no list of classes: use --metric rms")
        if samples.labels is not None and self.metric != "top1":
            raise ValueError("labels are for --metric top1")
        self._labels = None if samples.labels is None else samples.labels[list(self.rows)]
        if self._labels is not None and self._labels.max() >= classes:
            raise ValueError(
                f"class {self._labels.max()} is among the labels, the model has {classes}"
            )
        self._best = self._top1(self._right[self.names[-1]]) if listed else np.empty(0, np.int64)

    @property
    def correct(self) -> float | None:
        """The share of which float32 finds the true class, if that is known."""
        return None if self._labels is None else float(np.mean(self._best == self._labels))

    def needed(self, margin: float) -> int:
        """Of how many samples none has to differ for the upper end to be within the margin, if any
        number does.
        """
        exact = self.metric == "top1" and 0 < margin < 1
        return math.ceil(Z * Z * (1 / margin - 1)) if exact else 0

    def allows(self, loss: Loss, margin: float) -> bool:
        """Whether the upper end is within the margin. Where it cannot be, since there are too few
        samples, there must be no loss.
        """
        few = margin <= 0 or len(self.rows) < self.needed(margin)
        return loss.upper <= margin or (few and loss.value <= 0)

    def loss(self, runner: Runner) -> Loss:
        if self.metric == "top1":
            return self._share_lost(runner)
        found = runner.all(self.samples, self.rows, self.names)
        if self.metric == "rms":
            power = _typical(_noises(self._pairs(found)))
            return Loss(math.sqrt(power.value), math.sqrt(power.upper))
        return max(_typical(_cosines(*each)) for each in self._pairs(found))

    def _share_lost(self, runner: Runner) -> Loss:
        """Of all samples, or of the first that lose more than all may."""
        right = self._best if self._labels is None else self._labels
        most = max(self._margin, upper_end(0, 0, len(self.rows)))
        lost = won = seen = 0
        for count, values in runner.values(self.samples, self.rows, self.names[-1:]):
            part = slice(seen, seen + count)
            before = self._best[part] == right[part]
            now = self._top1(values.values()) == right[part]
            lost, won = lost + int((before & ~now).sum()), won + int((now & ~before).sum())
            seen += count
            if upper_end(lost, won, len(self.rows)) > most:
                break
        return Loss((lost - won) / seen, upper_end(lost, won, seen))

    def _pairs(self, found: Outputs) -> list[Pair]:
        """Of each output what is right and what was found, of each sample."""
        single = self._single
        return [(_samples(self._right[n], single), _samples(found[n], single)) for n in self.names]

    def _top1(self, outputs: Iterable[Array]) -> Array:
        rows = np.concatenate([y.reshape(-1, self._classes) for y in outputs])
        return np.asarray(rows.argmax(axis=1))


def upper_end(lost: float, won: float, count: float) -> float:
    """Of the interval of 95 % of (lost - won) / count: of both shares Wilson's, their distances
    from the shares added as squares (Newcombe: Interval estimation for the difference between
    independent proportions, method 10, 1998), which rare changes nearly are.
    """
    most, least = (_wilson(n / count, count)[i] for n, i in ((lost, 1), (won, 0)))
    return (lost - won) / count + math.hypot(most - lost / count, won / count - least)


def _wilson(share: float, count: float) -> tuple[float, float]:
    middle = share + Z * Z / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + (Z / (2 * count)) ** 2)
    whole = 1 + Z * Z / count
    return (middle - half) / whole, (middle + half) / whole


def _typical(losses: Array) -> Loss:
    """The mean over samples, and the upper end of that."""
    mean = float(losses.mean())
    if len(losses) < 2 or not math.isfinite(mean):
        return Loss(mean, mean)
    return Loss(mean, mean + Z * float(losses.std(ddof=1)) / math.sqrt(len(losses)))


def noise(right: Outputs, found: Outputs) -> float:
    """The power of the differences relative to that of the right values, the mean over outputs."""
    pairs = []
    for name in right:  # which may have been run in other parts
        a, b = (np.concatenate([x.reshape(-1) for x in side[name]]) for side in (right, found))
        pairs.append((_samples([a], True), _samples([b], True)))
    return float(_noises(pairs).mean())


def _samples(values: list[Array], single: bool) -> list[Array]:
    """Of each sample the numbers; of each run, if it has a single one or no axis of samples."""
    rows = (row for array in values for row in ([array] if single or array.ndim < 2 else array))
    return [row.reshape(-1).astype(float) for row in rows]


def _noises(pairs: list[Pair]) -> Array:
    """What each sample adds to the noise, times how many there are; one number where outputs have
    other samples. Infinite where they do not compare.
    """
    parts = []
    for a, b in pairs:
        power = sum(float(x @ x) for x in a) / len(a)
        changes = [_change(x, y) for x, y in zip(a, b)] if len(a) == len(b) else [math.inf]
        parts.append([c / power if power > 0 else (math.inf if c else 0.0) for c in changes])
    if len({len(part) for part in parts}) > 1:
        return np.array([np.mean([np.mean(part) for part in parts])])
    return np.asarray(np.mean(parts, axis=0))


def _change(a: Array, b: Array) -> float:
    comparable = a.shape == b.shape and np.isfinite(b).all()
    return float(np.square(a - b).sum()) if comparable else math.inf


def _cosines(right: list[Array], found: list[Array]) -> Array:
    """1 - the cosine of each sample."""

    def one(a: Array, b: Array) -> float:
        if a.shape != b.shape or not np.isfinite(b).all():
            return math.inf
        size = math.sqrt(float(a @ a) * float(b @ b))
        return 1 - float(a @ b) / size if size > 0 else float((a != b).any())

    same = len(right) == len(found)
    return np.array([one(a, b) for a, b in zip(right, found)] if same else [math.inf])
