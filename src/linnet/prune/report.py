"""What came of making a network smaller: as data, as text, and as a chart."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from ..compare.chart import Chart
from ..graph import Graph
from ..quantize.report import MEANINGS, pareto
from ..text import megabytes, table


class Row(NamedTuple):
    """A network that was tried. loss, upper: in terms of the metric, the latter the end of its
    interval of 95 %. cost: seconds of a run; bytes: of its file.
    """

    how: str
    loss: float
    upper: float
    cost: float
    bytes: int


class LayerRow(NamedTuple):
    """Results of a layer: how many it has and had; and how many filters make them, if fewer do."""

    name: str
    op: str
    before: int
    after: int
    rank: int | None


@dataclass(frozen=True)
class Smaller:
    """The outcome. graph: the network that was chosen, to be saved.

    before, after: of the network as it was, and as chosen. loss, upper, max_loss: as of
    quantize.Quantization; speed_up: how many times faster it had to be; either is None if nobody
    asked for it. labelled: whether the true classes were known; float_correct then is the share
    that the network found as it was. fitted, judged: how many samples.
    """

    graph: Graph
    name: str
    metric: str
    labelled: bool
    float_correct: float | None
    max_loss: float | None
    speed_up: float | None
    passed: bool
    fitted: int
    judged: int
    before: Row
    after: Row
    layers: list[LayerRow]
    points: list[Row]

    @property
    def gain(self) -> float:
        """How many times faster it is."""
        return self.before.cost / self.after.cost if self.after.cost else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts, numbers and strings, ready for JSON."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "graph"}
        for name in ("before", "after"):
            plain[name] = plain[name]._asdict()
        for name in ("layers", "points"):
            plain[name] = [row._asdict() for row in plain[name]]
        return {**plain, "gain": self.gain}

    def lines(self) -> list[str]:
        rows = [
            (
                layer.name,
                layer.op,
                str(layer.before),
                str(layer.after),
                "-" if layer.rank is None else str(layer.rank),
            )
            for layer in self.layers
        ]
        text = table(("layer", "op", "channels", "now", "filters"), rows, right=(2, 3, 4))
        curve = [
            (f"{p.cost * 1e3:.3f}", megabytes(p.bytes), percent(p.loss), percent(p.upper), p.how)
            for p in self.points
        ]
        heads = ("ms", "size", "loss", "at most", "how")
        text += ["", *table(heads, curve, right=(0, 1, 2, 3)), ""]
        return [*text, *self._summary()]

    def _summary(self) -> list[str]:
        what = MEANINGS[self.metric]
        if self.float_correct is not None:
            what = f"images of the right class, of which it had {self.float_correct:.2%}"
        before, after = self.before, self.after
        asked = []
        if self.speed_up is not None:
            asked.append(f"{self.gain:.2f} times faster, asked for {self.speed_up:g}")
        if self.max_loss is not None:
            asked.append(f"allowed {percent(self.max_loss)}")
        if after.bytes >= before.bytes:
            asked.append("no smaller network is")
        return [
            f"{self.fitted} inputs fitted, {self.judged} judged; loss: {what}",
            f"{before.cost * 1e3:.3f} ms and {megabytes(before.bytes)} before, "
            f"{after.cost * 1e3:.3f} ms and {megabytes(after.bytes)} now ({self.gain:.2f} times "
            f"faster, {before.bytes / after.bytes:.2f} times smaller): {after.how}",
            f"{'PASSED' if self.passed else 'FAILED'}: loss {percent(after.loss)}, at most "
            f"{percent(after.upper)} with a certainty of 95 %; {', '.join(asked)}",
        ]

    def chart(self) -> Chart:
        """Loss over time, both logarithmic, of all that was tried."""
        families: dict[str, list[tuple[float, float]]] = {}
        for row in self.points:
            families.setdefault(row.how.partition(" ")[0], []).append((row.cost * 1e3, row.loss))
        after, before = self.after, self.before
        ends = (after.cost * 1e3, after.loss), (before.cost * 1e3, 0.0)
        name, least = f"{self.name}: loss and cost", 1 / self.judged
        return pareto(name, "ms", families, *ends, margin=self.max_loss, least=least)


def percent(loss: float) -> str:
    return f"{100 * loss:.3g} %"
