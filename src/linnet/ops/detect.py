"""Boxes that stay of many that overlap."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph import Array
from ._lowering import Call, Lowering, Refusal
from ._registry import Operator

MOST_ROWS = 1 << 20


def _decoded(x: Array, priors: Array | None, centers: int, clip: int) -> Array:
    """Corners [N, boxes, 1 or classes, 4] of boxes coded relative to priors, or to nothing."""
    if priors is None and centers:
        boxes = np.concatenate([x[..., :2] - x[..., 2:] / 2, x[..., :2] + x[..., 2:] / 2], -1)
    elif priors is None:
        boxes = np.sort(x.reshape(*x.shape[:-1], 2, 2), -2).reshape(x.shape)
    else:
        at, by = priors[:, None, :4], priors[:, None, 4:]
        boxes = x * by + at
        if centers:
            middle = boxes[..., :2]
            size = np.exp(x[..., 2:] * by[..., 2:]) * at[..., 2:]
            boxes = np.concatenate([middle - size / 2, middle + size / 2], -1)
    return np.clip(boxes, 0, 1) if clip else np.asarray(boxes)


def _overlap(box: Array, others: Array, pixel: int) -> Array:
    """Intersection over union of a box with some others, [others]."""

    def area(boxes: Array) -> Any:
        sides = boxes[..., 2:] - boxes[..., :2]
        return np.where((sides >= 0).all(-1), (sides + pixel).prod(-1), 0)

    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.where((sides >= 0).all(-1), (sides + pixel).prod(-1), 0)
    return np.asarray(both / np.where(both > 0, area(box) + area(others) - both, 1))


def _stay(boxes: Array, scores: Array, how: Mapping[str, Any]) -> list[int]:
    """Places of the boxes that stay of some, the highest score first."""
    looked = [i for i in np.argsort(-scores, kind="stable") if scores[i] > how["score"]]
    stay: list[int] = []
    limit = how["overlap"]
    for i in looked[: how["candidates"] or None]:
        if how["each"] and len(stay) == how["each"]:
            break
        if (_overlap(boxes[i], boxes[stay], how["pixels"]) > limit).any():
            continue
        stay.append(int(i))
        if limit > 0.5:
            limit *= how["eta"]
    return stay


def _found(boxes: Array, scores: Array, how: Mapping[str, Any]) -> list[tuple[int, int]]:
    """(class, place) of the boxes [boxes, 1 or classes, 4] of an image that stay; of scores
    [boxes, classes].
    """
    classes = [c for c in range(how["classes"]) if c != how["background"]]
    if how["together"]:
        top = scores[:, classes].max(1)
        return [
            (c, i)
            for i in _stay(boxes[:, 0], top, how)
            for c in sorted(classes, key=lambda c: -scores[i, c])[: how["together"]]
        ][: how["rows"]]
    found = [
        (c, i) for c in classes for i in _stay(boxes[:, c if how["own"] else 0], scores[:, c], how)
    ]
    found = sorted(found, key=lambda pair: -scores[pair[1], pair[0]])[: how["rows"]]
    if how["grouped"]:
        found.sort(key=lambda pair: pair[0])
    return found


def detections(
    x: Array,
    scores: Array,
    priors: Array | None = None,
    *,
    rows: int,
    places: int = 0,
    classes: int,
    background: int = -1,
    centers: int = 0,
    own: int = 0,
    planar: int = 0,
    pixels: int = 0,
    clip: int = 0,
    grouped: int = 0,
    candidates: int = 0,
    each: int = 0,
    together: int = 0,
    score: float = 0.0,
    overlap: float = 1.0,
    eta: float = 1.0,
) -> Array:
    """linnet's own, which all others become: `rows` rows [0, class, score, box] of each image, or
    of `places` [0, class, place of the box]; -1 in front where there are no more.

    x: boxes [N, boxes, 1 or, if each class has its `own`, classes, 4], as corners or `centers` and
    sizes. scores: [N, boxes, classes], or `planar` [N, classes, boxes]. priors [boxes, 8]: what is
    added to the code, and what it is multiplied by; of a centre's size the prior's size, and what
    the code of the logarithm is multiplied by. Of every class, or of all `together`, those with a
    score above `score` are looked at, `candidates` of the highest scores; one stays if it overlaps
    with none that stays by more than `overlap`, which `eta` is a factor of for each of those while
    it is above 0.5, until there are `each`. `grouped`: rows are ordered by class, then by score. A
    box that stays of all together comes with so many classes. `pixels`: sides are one longer than
    the corners are apart. `clip`: to 0 and 1.
    """
    how = {
        "rows": rows, "classes": classes, "background": background, "own": own, "pixels": pixels,
        "grouped": grouped, "candidates": candidates, "each": each, "together": together,
        "score": score, "overlap": overlap, "eta": eta,
    }  # fmt: skip
    y = np.zeros((len(x), rows, 3 if places else 7), np.int64 if places else x.dtype)
    y[:, :, 0] = -1
    of_boxes = scores.transpose(0, 2, 1) if planar else scores
    for image, (boxes, of) in enumerate(zip(_decoded(x, priors, centers, clip), of_boxes)):
        for row, (c, i) in enumerate(_found(boxes, of, how)):
            box = boxes[i, c if own else 0]
            y[image, row] = [0, c, i] if places else [0, c, of[i, c], *box]
    return y


def lower_detections(low: Lowering, call: Call) -> None:
    """With constant priors, if any."""
    inputs = call.inputs[:2]
    if call.input(2):
        inputs.append(low.weight(call.input(2), "priors"))
    low.emit(call, "Detections", inputs, dict(call.attrs))


def rows_of(y: Array) -> Array:
    """What is given of such a result: rows of all images with the image's number, as Caffe has them
    ([1, 1, rows, 7]) or, of places, ONNX ([rows, 3]).
    """
    y = y.copy()
    present = y[:, :, 0] >= 0
    y[:, :, 0] = np.arange(len(y))[:, None]
    found = y[present]
    return found if y.shape[2] == 3 else found[None, None]


def _only_as_output(low: Lowering, call: Call) -> None:
    if any(call.output in node.inputs for node in low.graph.nodes):
        raise Refusal(
            "how many boxes it finds depends on them: it has to be an output of the model"
        )


CODES = ("CORNER", "CENTER_SIZE", "CORNER_SIZE")


def _caffe_priors(prior: Array, code: str, encoded: int) -> Array:
    """Of PriorBox's [1, 2, 4 x boxes], corners and variances, or corners alone if those are
    `encoded` in the code.
    """
    corners = prior.reshape(-1)[: prior.shape[-1]].reshape(-1, 4).astype(np.float64)
    factors = np.ones_like(corners) if encoded else prior.reshape(2, -1, 4)[1].astype(np.float64)
    sizes = corners[:, 2:] - corners[:, :2]
    if code == "CENTER_SIZE":
        middle = corners[:, :2] + sizes / 2
        return np.hstack([middle, sizes, factors[:, :2] * sizes, factors[:, 2:]])
    if code == "CORNER_SIZE":
        factors = factors * np.hstack([sizes, sizes])
    return np.hstack([corners, factors])


def _caffe(
    loc: Any, prior: Array, attrs: Mapping[str, Any]
) -> tuple[tuple[int, int, int, int], Array, dict[str, Any]]:
    """Shape of the boxes, priors and attributes that Detections has for Caffe's."""
    if attrs["code_type"] not in CODES:
        raise Refusal(f"code_type '{attrs['code_type']}' is not one of {', '.join(CODES)}")
    encoded, classes = attrs["variance_encoded_in_target"], attrs["num_classes"]
    count, own = prior.shape[-1] // 4, 0 if attrs["share_location"] else 1
    if (
        prior.ndim != 3
        or prior.shape[-1] % 4
        or prior.shape[1] not in ((1, 2) if encoded else (2,))
    ):
        raise Refusal(f"its priors have shape {list(prior.shape)}")
    keep, top = attrs["keep_top_k"], attrs["top_k"]
    rows = keep if keep > 0 else count * classes
    if classes < 1 or rows > MOST_ROWS:
        raise Refusal(f"{classes} classes and {rows} boxes are not supported; give keep_top_k")
    least = attrs["confidence_threshold"]
    how = {
        "rows": rows,
        "classes": classes,
        "background": attrs["background_label_id"],
        "centers": int(attrs["code_type"] == "CENTER_SIZE"),
        "own": own,
        "clip": attrs["clip"],
        "candidates": max(top, 0),
        "score": max(least, float(np.finfo(np.float32).min)),
        "overlap": attrs["nms_threshold"],
        "eta": attrs["eta"],
    }
    if not math.isfinite(how["score"]) or not how["overlap"] >= 0 or not 0 < how["eta"] <= 1:
        raise Refusal("nms_threshold has to be positive, eta within 0 and 1")
    boxes = (loc, count, classes if own else 1, 4)
    return boxes, _caffe_priors(prior, attrs["code_type"], encoded), how


def detection_output(
    loc: Array,
    conf: Array,
    prior: Array,
    *,
    num_classes: int,
    share_location: int = 1,
    background_label_id: int = 0,
    nms_threshold: float = 0.3,
    top_k: int = -1,
    eta: float = 1.0,
    code_type: str = "CORNER",
    variance_encoded_in_target: int = 0,
    keep_top_k: int = -1,
    confidence_threshold: float = -3.0e38,
    clip: int = 0,
) -> Array:
    """The end of an SSD (Liu et al., 2016) as Caffe's fork and OpenCV compute it: [1, 1, rows, 7],
    each row image, class, score, left, top, right, bottom; as OpenCV 4 those of an image by score,
    where the fork goes by class before.

    loc: [N, priors x 4 (x classes)]; conf: [N, priors x classes]; prior: as PriorBox makes it.
    """
    attrs = {
        "num_classes": num_classes, "share_location": share_location,
        "background_label_id": background_label_id, "nms_threshold": nms_threshold,
        "top_k": top_k, "eta": eta, "code_type": code_type,
        "variance_encoded_in_target": variance_encoded_in_target, "keep_top_k": keep_top_k,
        "confidence_threshold": confidence_threshold, "clip": clip,
    }  # fmt: skip
    shape, priors, how = _caffe(len(loc), prior, attrs)
    scores = conf.reshape(len(loc), -1, num_classes)
    return rows_of(detections(loc.reshape(shape), scores, priors, **how))


def lower_detection_output(low: Lowering, call: Call) -> None:
    """With priors that are constant; as an output of the model."""
    _only_as_output(low, call)
    prior = low.numbers(call.input(2), "input of priors")
    low.spend(prior.size, 32)
    loc, conf = (call.input(i) for i in (0, 1))
    shape, priors, how = _caffe(low.shape(loc)[0], prior, call.attrs)
    scores = (low.shape(conf)[0], shape[1], how["classes"])
    for name, wanted, what in ((loc, shape, "corners"), (conf, scores, "scores")):
        count = math.prod(low.shape(name)[1:])
        if count != math.prod(wanted[1:]):
            raise Refusal(f"{count} {what} are not those of {shape[1]} priors")
    inputs = [
        low.reshape(call, loc, shape, "boxes"),
        low.reshape(call, conf, scores, "scores"),
        low.add_constant(f"{call.output}.priors", priors.astype(np.float32)),
    ]
    low.emit(call, "Detections", inputs, how)


def non_max_suppression(
    boxes: Array,
    scores: Array,
    max_output_boxes_per_class: Array | None = None,
    iou_threshold: Array | None = None,
    score_threshold: Array | None = None,
    *,
    center_point_box: int = 0,
) -> Array:
    """[rows, 3] of image, class and place of the boxes that stay.

    boxes: [N, boxes, 4], two opposite corners, or a centre and a size; scores: [N, classes, boxes].
    """
    limits = (max_output_boxes_per_class, iou_threshold, score_threshold)
    how = _suppression(scores.shape, *limits, center_point_box)
    if how is None:
        return np.zeros((0, 3), np.int64)
    return rows_of(detections(boxes[:, :, None], scores, **how))


def _suppression(
    scores: Any, most: Array | None, overlap: Array | None, score: Array | None, centers: int
) -> dict[str, Any] | None:
    """Attributes of Detections; None if nothing may stay."""
    each = 0 if most is None else min(int(most.reshape(-1)[0]), scores[2])
    if each <= 0:
        return None
    least = np.finfo(np.float32).min if score is None else score.reshape(-1)[0]
    return {
        "rows": each * scores[1],
        "places": 1,
        "classes": scores[1],
        "centers": centers,
        "planar": 1,
        "grouped": 1,
        "each": each,
        "score": float(least),
        "overlap": 0.0 if overlap is None else float(overlap.reshape(-1)[0]),
    }


def lower_non_max_suppression(low: Lowering, call: Call) -> None:
    """With constant limits; as an output of the model."""
    _only_as_output(low, call)
    names = ("number of boxes", "overlap", "least score")
    limits = [
        low.numbers(call.input(2 + i), what) if call.input(2 + i) else None
        for i, what in enumerate(names)
    ]
    if any(limit is not None and limit.size != 1 for limit in limits):
        raise Refusal("its limits are not a number each")
    boxes, scores = (low.shape(call.input(i)) for i in (0, 1))
    if len(boxes) != 3 or len(scores) != 3:
        raise Refusal("boxes and scores have to have 3 axes")
    how = _suppression(scores, limits[0], limits[1], limits[2], call.attrs["center_point_box"])
    if how is None:
        raise Refusal("max_output_boxes_per_class is 0, which leaves nothing")
    if how["rows"] > MOST_ROWS:
        raise Refusal(f"{how['rows']} boxes are not supported")
    x = low.reshape(call, call.input(0), (*boxes[:2], 1, boxes[2]), "boxes")
    low.emit(call, "Detections", [x, call.input(1)], how)


OPERATORS = (
    Operator("Detections", detections, lower_detections),
    Operator("DetectionOutput", detection_output, lower_detection_output),
    Operator("NonMaxSuppression", non_max_suppression, lower_non_max_suppression),
)
