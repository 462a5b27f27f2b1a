"""Two models layer by layer: where they begin to differ, and why they might.

Each side is a model in any format linnet imports, or what some runtime saved of one: an .npz file
with an array for each value it computed, or an .npy file with the output. Layers of the two are
brought together by the names of the values they compute and, where two models share few names, by
the order of their operators and shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import Array
from ..text import count, shape_text, table
from .case import Case, Difference
from .causes import find
from .integers import Integers, integers
from .numbers import error, like, rms
from .pairs import paired
from .sides import Side, round_weights, run_model, saved

__all__ = [
    "ROUNDED_TOLERANCE",
    "TOLERANCE",
    "Difference",
    "Integers",
    "Side",
    "Verification",
    "integers",
    "round_weights",
    "run_model",
    "saved",
    "verify",
]

# Of the rms. Rounding alone stays below 1e-4 for networks of usual depth.
TOLERANCE = 1e-3
# What rounding the weights of a whole network to these types is allowed to change.
ROUNDED_TOLERANCE = {"f32": TOLERANCE, "f16": 1e-2, "int8": 1e-1}


@dataclass(frozen=True)
class Verification:
    """The outcome. first: the first value beyond the tolerance, if any, with a likely cause.

    images: how many there are, where the last value in common is a list of classes; same_class: of
    how many both find the same; correct: of how many each finds the true one. None where that is
    not known.
    """

    names: tuple[str, str]
    tolerance: float
    differences: tuple[Difference, ...]
    first: Difference | None
    cause: str
    images: int | None = None
    same_class: int | None = None
    correct: tuple[int, ...] | None = None

    @property
    def passed(self) -> bool:
        return self.first is None

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "models": list(self.names),
            "passed": self.passed,
            "tolerance": self.tolerance,
            "values": [d._asdict() for d in self.differences],
            "first": self.first.value if self.first else None,
            "cause": self.cause or None,
            "images": self.images,
            "same_class": self.same_class,
            "correct": list(self.correct) if self.correct else None,
        }
        return data

    def lines(self) -> list[str]:
        whole = any(d.steps is not None for d in self.differences)
        renamed = any(d.value != d.other for d in self.differences)
        header = [
            "value",
            *(["in the second"] if renamed else []),
            "op",
            "shape",
            *(["steps"] if whole else []),
            "max |a-b| / rms",
        ]
        rows = []
        for d in self.differences:
            name = [d.value, d.other] if renamed else [d.value]
            mark = "  <- first" if d is self.first else ""
            steps = ["-" if d.steps is None else f"{d.steps:.3g}"] if whole else []
            rows.append(
                [*name, d.op, shape_text((0, *d.shape[1:])), *steps, f"{d.error:.2g}{mark}"]
            )
        text = [f"{self.names[0]} against {self.names[1]}", "", *table(header, rows), ""]
        if self.images:
            text.append(f"same class for {self.same_class} of {count(self.images, 'image')}")
        if self.images and self.correct:
            points = [f"{n} ({100 * n / self.images:.2f} %)" for n in self.correct]
            change = 100 * (self.correct[1] - self.correct[0]) / self.images
            text.append(f"right class: {points[0]} against {points[1]}, {change:+.2f} points")
        if self.first is None:
            worst = max(d.error for d in self.differences)
            return [*text, f"PASSED: at most {worst:.2g} of rms, allowed {self.tolerance:g}"]
        text.append(f"first difference: '{self.first.value}'; likely cause: {self.cause}")
        bad = sum(not d.within(self.tolerance) for d in self.differences)
        total = count(len(self.differences), "value")
        return [*text, f"FAILED: {bad} of {total} beyond {self.tolerance:g} of rms"]


def verify(
    a: Side,
    b: Side,
    *,
    tolerance: float = TOLERANCE,
    inputs: Mapping[str, Array] | None = None,
    classes: Array | None = None,
) -> Verification:
    """Compare two sides that were given the same inputs; `a` is the one that is right.

    inputs: what `a` was computed from, if known, to find out whether `b` was given other ones.
    classes: the true class of each image.
    ValueError if they have nothing in common, or the batches differ.

    The cause is a guess: from what the graphs say of the first value that differs, from what change
    would make its numbers right, and from what other input would have given them.
    """
    pairs = paired(a, b)
    if not pairs:
        raise ValueError(
            f"{a.name} and {b.name} have no value in common: "
            f"{_some(a.values)} against {_some(b.values)}"
        )
    for mine, other in pairs:
        if len(a.values[mine]) != len(b.values[other]):
            raise ValueError(
                f"'{mine}' has {len(a.values[mine])} images in {a.name}, "
                f"{len(b.values[other])} in {b.name}"
            )
    differences = []
    for mine, other in pairs:
        u, v = a.values[mine], like(b.values[other], a.values[mine].shape)
        node = a.producer(mine) or b.producer(other)
        op = node.op if node else ""
        off = error(u, v) * (rms(u) if op == "Softmax" else 1)
        known = b.of_integers(other) or a.of_integers(mine)
        steps = None if known is None else error(u, v) * rms(u) / known.scale
        differences.append(Difference(mine, other, op, u.shape, off, steps))
    first = next((d for d in differences if not d.within(tolerance)), None)
    cause = ""
    if first is not None:
        cause = find(Case(a, b, dict(pairs), first, tolerance, inputs))
    lists = [(a.classes[m], b.classes[o]) for m, o in pairs if m in a.classes and o in b.classes]
    if not lists:
        if classes is not None:
            raise ValueError("no value of both is a list of classes, N x C")
        return Verification((a.name, b.name), tolerance, tuple(differences), first, cause)
    best = lists[-1]
    if len(best[0]) != len(best[1]):
        raise ValueError(f"{len(best[0])} images in {a.name}, {len(best[1])} in {b.name}")
    same = int(np.count_nonzero(best[0] == best[1]))
    correct = None
    if classes is not None:
        if classes.shape != best[0].shape or classes.dtype.kind not in "iu":
            raise ValueError(
                f"the true classes are not {len(best[0])} integers, one for each image"
            )
        correct = tuple(int(np.count_nonzero(found == classes)) for found in best)
    return Verification(
        (a.name, b.name),
        tolerance,
        tuple(differences),
        first,
        cause,
        len(best[0]),
        same,
        correct,
    )


def _some(names: Mapping[str, Array]) -> str:
    shown = [f"'{name}'" for name in list(names)[:4]]
    return ", ".join(shown) + (", ..." if len(names) > 4 else "") if shown else "nothing"
