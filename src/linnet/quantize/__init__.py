"""A network of fewer bits: of each layer those that make the whole cheapest while it stays about as
good, by what layers cost and lose, both measured.

`samples` has inputs, `calibrate` ranges of values, `scheme` which parts compute in integers,
`write` the networks made of that, `costs` and `loss` what they cost and lose, `choose` the search,
`report` what came of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from ..graph import Array, Graph
from .calibrate import METHODS, Calibration
from .choose import WORTH, Chooser, Point, Progress, not_worse
from .costs import Bytes, Meter, Times, Wisdom, of_schemes, save
from .loss import METRICS, Judge
from .report import LayerRow, PointRow, Quantization
from .samples import Runner, Samples, fixed_batch
from .scheme import PRECISIONS, Network, Scheme
from .write import simulated, written

__all__ = [
    "METHODS",
    "METRICS",
    "PRECISIONS",
    "Bytes",
    "Calibration",
    "MakeMeter",
    "Meter",
    "Network",
    "Quantization",
    "Samples",
    "Scheme",
    "Times",
    "Wisdom",
    "of_schemes",
    "quantize",
    "save",
    "simulated",
    "written",
]

CALIBRATING = 128  # samples at most: ranges do not become better with more
ALONE = 16  # samples on which the loss of each layer alone is measured, at most
ALONE_SECONDS = 60.0

# A meter of a calibrated network, with an input of batch 1.
MakeMeter = Callable[[Calibration, Mapping[str, Array]], Meter]


def quantize(
    graph: Graph,
    samples: Samples,
    make_meter: MakeMeter,
    *,
    max_loss: float = 0.01,
    metric: str | None = None,
    method: str = "mse",
    precisions: Sequence[str] = PRECISIONS,
    progress: Progress = lambda what, done, total: None,
    like: Graph | None = None,
    parts: tuple[Sequence[int], Sequence[int]] | None = None,
) -> Quantization:
    """The cheapest network made of a canonical graph that loses no more than `max_loss`. Of a graph
    that is quantized already, `model.canonical(..., arithmetic="float")` makes one to begin with.

    samples: half of them, but at most CALIBRATING, calibrate; the others judge. With one, it does
    both.
    max_loss: in terms of the metric (loss.Judge), as a fraction, for the upper end of the loss's
    interval of 95 %. method: one of calibrate.METHODS.
    precisions: what layers may be; one that can be none of them stays float32.
    progress: called with what is being done, how much of it is done, and of how much.
    like: the network that it should compute the same as, by default itself. parts: samples that may
    calibrate, and those that judge.

    The result's `graph` is what to `save`; it is the best network found if none is good enough.
    ValueError if samples, labels or metric do not fit the network.
    """
    network = Network(graph)
    choices = network.choices(tuple(p for p in PRECISIONS if p in precisions))
    able = {name: "int8" if "int8" in own else "f32" for name, own in choices.items()}
    calibration = Calibration(network, Scheme(network, able).values, method)
    sizes = [_numbers(network, name) for name in calibration.wanted]
    plain = Runner(graph, sum(sizes))
    rows = range(samples.count)
    calibrating = plain.usable(rows[:: max(2, -(-samples.count // CALIBRATING))])
    judging = plain.usable(sorted(set(rows).difference(calibrating)) or rows)
    if parts is not None:
        calibrating = plain.usable(parts[0][:: -(-len(parts[0]) // CALIBRATING)])
        judging = parts[1]
    begun = time.monotonic()
    done = 0
    for images, values in plain.values(samples, calibrating, calibration.wanted):
        progress("calibrating", done, len(calibrating))
        calibration.see(values, images)
        done += images
    progress("calibrating", len(calibrating), len(calibrating))
    right = graph if like is None else like
    judge = Judge(right, Runner(right), samples, judging, metric, margin=max_loss)
    per_image = (time.monotonic() - begun) / (len(calibrating) + len(judging))
    least = fixed_batch(graph) or 1
    one = samples.take(plain.usable(rows)[:least])
    feed = {name: array[0] if graph.batchless else array for name, array in one.items()}
    meter = make_meter(calibration, feed)
    chooser = Chooser(network, calibration, meter, judge, choices=choices, progress=progress)
    if like is not None:
        chooser.plain_loss = judge.loss(Runner(graph))
    most = max(1, min(ALONE, int(ALONE_SECONDS / (per_image * max(chooser.runs, 1)))))
    few = calibrating[:: max(1, len(calibrating) // most)][:most]
    chooser.measure_noise(plain, plain.usable(few if len(few) > least else calibrating[:least]))
    best = chooser.search(max_loss)
    return _measured(chooser, best, max_loss, (len(calibrating), len(judge.rows)))


def _measured(
    chooser: Chooser, best: Point, max_loss: float, counts: tuple[int, int]
) -> Quantization:
    """What was found, of which the fastest as a whole is taken."""
    network, meter, judge = chooser.network, chooser.meter, chooser.judge
    points = chooser.candidates(max_loss)
    points += [] if best in points else [best]
    for index, point in enumerate(points):
        chooser.progress("judging what would be written", index, len(points))
        points[index] = chooser.as_run(point)
    chooser.progress("judging what would be written", len(points), len(points))
    plain = dict.fromkeys(network.layers, "f32")
    possible = all(own[0] == "f32" for own in chooser.choices.values())
    if possible and all(p.assignment != plain for p in points):
        points.append(Point(plain, chooser.plain_loss, chooser.estimate(plain)))
    chooser.progress("measuring", 0, 1)
    others = [p for p in points if p.assignment != plain]
    assignments = [plain, *(p.assignment for p in others)]
    reference, *found = meter.whole([Scheme(network, a) for a in assignments])
    costs = [found[others.index(p)] if p in others else reference for p in points]
    measured = sorted(zip(points, costs), key=lambda m: (m[1], m[0].loss))
    allowed = [m for m in measured if judge.allows(m[0].loss, max_loss)]
    point, cost = (allowed or [min(measured, key=lambda m: m[0].loss)])[0]
    if possible and point.assignment != plain:
        # The fastest of many measured may have been lucky: once more, against float32 alone.
        schemes = [Scheme(network, a) for a in (plain, point.assignment)]
        reference, cost = meter.whole(schemes)
        if cost > WORTH * reference:
            point, cost = next(m for m in measured if m[0].assignment == plain)[0], reference
    chooser.progress("measuring", 1, 1)
    layers = [
        LayerRow(
            layer.name,
            layer.op,
            point.assignment[layer.name],
            chooser.costs.layers[layer.name].get("f32"),
            chooser.costs.layers[layer.name][point.assignment[layer.name]],
            dict(chooser.noise[layer.name]),
        )
        for layer in network.layers.values()
    ]
    curve = not_worse(points, costs)
    return Quantization(
        graph=written(Scheme(network, point.assignment), chooser.calibration)[0],
        name=network.graph.name or network.graph.source or "model",
        metric=judge.metric,
        labelled=judge.correct is not None,
        float_correct=judge.correct,
        max_loss=max_loss,
        loss=point.loss.value,
        upper=point.loss.upper,
        passed=judge.allows(point.loss, max_loss),
        needed=judge.needed(max_loss),
        unit=meter.unit,
        float_cost=reference,
        cost=cost,
        calibrated=counts[0],
        judged=counts[1],
        layers=layers,
        points=[PointRow.of(p, c) for p in curve for q, c in measured if p is q],
    )


def _numbers(network: Network, name: str) -> int:
    """How many a value has for one image, where that is known."""
    product = 1
    for size in network.shapes[name][1:]:
        product *= size or 1
    return product
