"""How far a changed network is from the float32 one, on inputs that it was not calibrated on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..graph import OWN_OPERATORS, Array, Graph
from .samples import Runner, Samples

METRICS = ("top1", "rms", "cosine")

Outputs = Mapping[str, list[Array]]  # of each value an array for each run


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


class Judge:
    """Compares networks with the float32 one on some samples.

    metric: "top1", of how many the largest output is another class or, with labels, of how many
    fewer it is the true one, as a fraction; "rms", of the differences relative to the outputs';
    "cosine", 1 - the cosine of both, the mean over samples. By default top1 of a network whose last
    judged value is a list of classes, else rms.
    ValueError if the metric is not possible.
    """

    def __init__(
        self,
        graph: Graph,
        runner: Runner,
        samples: Samples,
        rows: Sequence[int],
        metric: str | None,
    ) -> None:
        self.names = judged(graph)
        self.samples, self.rows = samples, runner.usable(rows)
        self._right = runner.all(samples, self.rows, self.names)
        last = self._right[self.names[-1]][0]
        single = graph.batchless
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
        self._best = self._top1(self._right) if listed else None

    @property
    def correct(self) -> float | None:
        """The share of which float32 finds the true class, if that is known."""
        return None if self._labels is None else float(np.mean(self._best == self._labels))

    def loss(self, runner: Runner) -> float:
        found = runner.all(self.samples, self.rows, self.names)
        if self.metric == "rms":
            return math.sqrt(noise(self._right, found))
        if self.metric == "cosine":
            return max(_cosine(self._right[name], found[name]) for name in self.names)
        best = self._top1(found)
        if self._labels is None:
            return float(np.mean(best != self._best))
        return float(np.mean(self._best == self._labels) - np.mean(best == self._labels))

    def _top1(self, outputs: Outputs) -> Array:
        rows = np.concatenate([y.reshape(-1, self._classes) for y in outputs[self.names[-1]]])
        return np.asarray(rows.argmax(axis=1))


def noise(right: Outputs, found: Outputs) -> float:
    """The power of the differences relative to that of the right values, the mean over outputs."""
    return float(np.mean([_each(right[name], found[name], _noise) for name in right]))


def _each(right: list[Array], found: list[Array], what: Callable[[Array, Array], float]) -> float:
    """Infinite where they do not compare."""
    a, b = (np.concatenate([x.reshape(-1) for x in side], dtype=float) for side in (right, found))
    return what(a, b) if a.shape == b.shape and np.isfinite(b).all() else math.inf


def _noise(a: Array, b: Array) -> float:
    power = float(a @ a)
    change = float(np.square(a - b).sum())
    return change / power if power > 0 else (math.inf if change else 0.0)


def _cosine(right: list[Array], found: list[Array]) -> float:
    """The mean over samples; those of one run have axis 0, if they have a batch."""

    def part(a: Array, b: Array) -> float:
        size = math.sqrt(float(a @ a) * float(b @ b))
        return 1 - float(a @ b) / size if size > 0 else float((a != b).any())

    parts = []
    for a, b in zip(right, found):
        rows = zip(a, b) if a.ndim > 1 else zip([a], [b])
        parts += [_each([u], [v], part) for u, v in rows]
    return float(np.mean(parts))
