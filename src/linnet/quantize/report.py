"""What came of quantizing a network: as data, as text, and as a chart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from ..compare.chart import Chart, Line
from ..graph import Graph
from ..text import table
from .choose import Point
from .scheme import PRECISIONS

_UNITS = {"s": ("ms", 1e3), "bytes": ("kB", 1e-3)}
LONGEST_NAME = 48  # that a table shows whole
MEANINGS = {
    "top1": "images whose class changes",
    "rms": "difference / rms of the outputs",
    "cosine": "1 - cosine of the outputs",
}


class LayerRow(NamedTuple):
    """float_cost and cost, in the quantization's unit, of the layer and what follows on it; None of
    float32 where that was not allowed. noise: by precision, the power of the differences of the
    outputs relative to them if only this layer has it.
    """

    name: str
    op: str
    precision: str
    float_cost: float | None
    cost: float
    noise: Mapping[str, float]


class PointRow(NamedTuple):
    """A network on the Pareto curve. upper: the end of the loss's interval of 95 %. estimate: of
    the cost, from layers; cost: of the whole.
    """

    layers: Mapping[str, int]  # how many there are of each precision
    loss: float
    upper: float
    estimate: float
    cost: float

    @staticmethod
    def of(point: Point, cost: float) -> PointRow:
        counts = Counter(point.assignment.values())
        return PointRow(
            {p: counts[p] for p in PRECISIONS if p in counts}, *point.loss, point.estimate, cost
        )


@dataclass(frozen=True)
class Quantization:
    """The outcome. graph: the network that was chosen, to be saved.

    loss, max_loss: in terms of the metric, as fractions. upper: the end of the loss's interval of
    95 %, which is within the margin if `passed`; but of fewer than `needed` inputs that judge, to
    be sure, none differs. unit: of costs, "s" or "bytes". labelled:
    whether the true classes were known; float_correct then is the share that float32 finds.
    calibrated, judged: how many samples.
    """

    graph: Graph
    name: str
    metric: str
    labelled: bool
    float_correct: float | None
    max_loss: float
    loss: float
    upper: float
    passed: bool
    needed: int
    unit: str
    float_cost: float
    cost: float
    calibrated: int
    judged: int
    layers: list[LayerRow]
    points: list[PointRow]

    @property
    def precisions(self) -> dict[str, int]:
        """How many layers there are of each."""
        counts = Counter(row.precision for row in self.layers)
        return {p: counts[p] for p in PRECISIONS if p in counts}

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts, numbers and strings, ready for JSON."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "graph"}
        plain["layers"] = [row._asdict() for row in self.layers]
        plain["points"] = [row._asdict() for row in self.points]
        return plain

    def lines(self) -> list[str]:
        unit, factor = _UNITS[self.unit]

        def cost(value: float | None) -> str:
            return "-" if value is None else f"{value * factor:.3f}"

        rows = []
        for row in self.layers:
            least = row.noise.get("int8", row.noise.get("int8-weights"))
            alone = "-" if least is None else f"{math.sqrt(least):.2g}"
            rows.append(
                (
                    _shortened(row.name),
                    row.op,
                    row.precision,
                    cost(row.float_cost),
                    cost(row.cost),
                    alone,
                )
            )
        header = ("layer", "op", "precision", f"{unit} as f32", unit, "rms lost by int8 alone")
        text = table(header, rows, right=(3, 4, 5))
        curve = [
            (cost(p.cost), cost(p.estimate), self._percent(p.loss), _composition(p.layers))
            for p in self.points
        ]
        heads = (unit, "estimated", "loss", "layers")
        text += ["", *table(heads, curve, right=(0, 1, 2)), "", *self._summary(unit, factor)]
        return text

    def _summary(self, unit: str, factor: float) -> list[str]:
        gain = self.float_cost / self.cost if self.cost else 1.0
        lines = [
            f"{self.calibrated} inputs calibrated, {self.judged} judged; loss: {self._meaning()}"
        ]
        if self.judged < self.needed:
            lines.append(
                f"to be sure of the margin, {self.needed} have to judge; of fewer, none may differ"
            )
        lines.append(
            f"{self.float_cost * factor:.3f} {unit} in float32, {self.cost * factor:.3f} {unit} "
            f"now ({gain:.2f} times less): {_composition(self.precisions)}"
        )
        if all(row.precision == "f32" for row in self.layers):
            lines.append("nothing that is allowed is faster than float32 here")
        word = "PASSED" if self.passed else "FAILED"
        return [
            *lines,
            f"{word}: loss {self._percent(self.loss)}, at most {self._percent(self.upper)} with a "
            f"certainty of 95 %, allowed {self._percent(self.max_loss)}",
        ]

    def _meaning(self) -> str:
        if self.metric == "top1" and self.float_correct is not None:
            return f"images of the right class, of which float32 has {self.float_correct:.2%}"
        return MEANINGS[self.metric]

    def _percent(self, loss: float) -> str:
        return f"{100 * loss:.3g} %"

    def chart(self) -> Chart:
        """The Pareto curve: loss over cost, both logarithmic; no loss is drawn at a tenth of the
        least there is.
        """
        unit, factor = _UNITS[self.unit]
        ends = (self.cost * factor, self.loss), (self.float_cost * factor, 0.0)
        tried = {"tried": [(p.cost * factor, p.loss) for p in self.points]}
        name, least = f"{self.name}: loss and cost", 1 / self.judged
        return pareto(name, unit, tried, *ends, margin=self.max_loss, least=least)


At = tuple[float, float]  # cost and loss


def pareto(
    name: str,
    unit: str,
    tried: Mapping[str, Sequence[At]],
    chosen: At,
    before: At,
    *,
    margin: float | None,
    least: float,
) -> Chart:
    """Loss over cost, both logarithmic, of networks by what was done to them; no loss is drawn at a
    tenth of the least there is, or could be.
    """
    known = [at for points in tried.values() for at in points if at[1] < math.inf]
    losses = [loss for _, loss in known if loss > 0]
    floor = min([*losses, margin or 1.0, least]) / 10

    def at(point: At) -> At:
        return float(f"{point[0]:.3g}"), 100 * max(point[1], floor)

    lines = [
        Line(what, [at(p) for p in points if p[1] < math.inf], what)
        for what, points in tried.items()
    ]
    lines += [
        Line("chosen", [at(chosen)], "chosen", bold=True),
        Line("float32", [at(before)], "float32"),
    ]
    if margin is not None:
        ends = sorted({at(point)[0] for point in (*known, chosen, before)})
        lines.append(Line("allowed", [at((x, margin)) for x in (ends[0], ends[-1])], ""))
    return Chart(name, f"{unit} a run", "loss, %", lines)


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"...{name[3 - LONGEST_NAME :]}"


def _composition(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[p]} {p}" for p in PRECISIONS if counts.get(p))
