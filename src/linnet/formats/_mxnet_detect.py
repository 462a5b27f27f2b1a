"""The end of MXNet's SSDs: boxes around every pixel, and those that stay."""

from __future__ import annotations

import math

import numpy as np

from ._boxes import around
from ._mxnet_call import Call, Rule, named
from ._mxnet_moves import compared
from ._translator import Unsupported

_MOST_BOXES = 1 << 20


def _multi_box_prior(call: Call) -> str:
    """[1, boxes, 4]: corners of boxes around every pixel, as parts of the image. They depend on its
    size alone.
    """
    high, wide = call.known(call.x)[2:] if len(call.shape()) == 4 else (0, 0)
    sizes, ratios = call.reals("sizes", [1.0]), call.reals("ratios", [1.0])
    steps, offsets = call.reals("steps", [-1, -1]), call.reals("offsets", [0.5, 0.5])
    clip = call.flag("clip", False)
    if not sizes or not ratios or min(ratios) <= 0 or len(steps) != 2 or len(offsets) != 2:
        raise Unsupported(f"sizes {sizes}, ratios {ratios}, steps {steps}, offsets {offsets}")
    sides = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    if not high or high * wide * len(sides) > _MOST_BOXES:
        raise Unsupported(f"{len(sides)} boxes for each of {high}x{wide} pixels")
    shapes = [
        (size / math.sqrt(ratio), size * high / wide * math.sqrt(ratio)) for size, ratio in sides
    ]
    step_y, step_x = (1 / n if step <= 0 else step for n, step in zip((high, wide), steps))
    corners = around(
        (high, wide),
        np.array(shapes),
        steps=(step_y, step_x),
        offsets=(offsets[0], offsets[1]),
    )
    corners = corners.clip(0, 1) if clip else corners
    return call.constant("boxes", corners.reshape(1, -1, 4))


def _multi_box_detection(call: Call) -> str:
    """[N, boxes, 6] of class, score and corners: those that stay, by score; then -1 instead of
    those that overlap with one that stays, which MXNet leaves among them with the class -1.

    inputs: scores [N, 1 + classes, boxes], codes [N, 4 x boxes], corners [1, boxes, 4].
    """
    scores, shape = call.input(0), call.shape(0)
    prior = call.reader.value(call.input(2))
    kinds, count = shape[1:] if len(shape) == 3 else (0, 0)
    if prior is None or prior.shape != (1, count, 4) or kinds < 2:
        raise Unsupported(f"its boxes are not constant, or not those of {count} scores")
    variances, clip = call.reals("variances", [0.1, 0.1, 0.2, 0.2]), call.flag("clip", True)
    threshold, overlap = call.real("threshold", 0.01), call.real("nms_threshold", 0.5)
    together, top = call.flag("force_suppress", False), call.integer("nms_topk", -1)
    background = call.integer("background_id", 0)
    if len(variances) != 4 or background != 0 or not 0 <= overlap <= 1:
        raise Unsupported(
            f"variances {variances}, background_id {background}, nms_threshold {overlap}"
        )
    # Of each box the largest score of a class alone counts.
    own = call.cut(scores, 1, 1, kinds)
    best = call.part("ReduceMax", [own, call.integers("axes", [1])], keepdims=1)
    own = call.part("Mul", [own, compared(call, "GreaterOrEqual", own, best)])
    if 0 < top < count:
        highest = call.part("TopK", [best, call.integers("k", [top])], axis=2)
        least = call.cut(highest, 2, top - 1, top)
        own = call.part("Mul", [own, compared(call, "GreaterOrEqual", best, least)])
    corners = prior[0].astype(np.float64)
    sides = corners[:, 2:] - corners[:, :2]
    middle = corners[:, :2] + sides / 2
    table = np.hstack(
        [middle, sides, sides * variances[:2], np.broadcast_to(variances[2:], sides.shape)]
    )
    y = call.part(
        "Detections",
        [call.reshaped(call.input(1), [0, count, 1, 4]), own, call.constant("priors", table)],
        rows=count,
        classes=kinds - 1,
        background=-1,
        centers=1,
        planar=1,
        clip=int(clip),
        together=int(together),
        score=float(np.nextafter(np.float32(threshold), np.float32(-1))),
        overlap=max(float(np.nextafter(np.float32(overlap), np.float32(-1))), 0.0),
    )
    call.reader.shapes[y] = (0, count, 7)
    # What is left over has -1 in front, and 0 behind it.
    return call.part("Add", [call.cut(y, 2, 1, 7), call.cut(y, 2, 0, 1)])


RULES = named(
    {
        "_contrib_MultiBoxPrior": Rule(_multi_box_prior),
        "_contrib_MultiBoxDetection": Rule(_multi_box_detection),
    },
    {
        "_contrib_MultiBoxPrior": "MultiBoxPrior",
        "_contrib_MultiBoxDetection": "MultiBoxDetection",
    },
)
