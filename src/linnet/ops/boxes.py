"""The ends of TensorFlow's detectors: boxes that stay of many, with room for a fixed number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph import ELEMENT_TYPES, FLOAT32, Array
from . import _lifting
from ._lowering import Call, Lowering, Refusal
from ._moving import slice_of
from ._registry import Operator
from .detect import MOST_ROWS, detections


def _padded(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of Detections."""
    if not 0 < attrs["most"] <= MOST_ROWS or not attrs["overlap"] >= 0:
        raise Refusal(f"{attrs['most']} boxes or overlap {attrs['overlap']:g} are not supported")
    return {
        "rows": attrs["most"],
        "places": 1,
        "classes": 1,
        "planar": 1,
        "each": attrs["most"],
        "score": attrs["score"],
        "overlap": attrs["overlap"],
    }


def padded_non_max_suppression(
    boxes: Array, scores: Array, *, most: int, overlap: float, score: float
) -> tuple[Array, ...]:
    """TensorFlow's NonMaxSuppressionV4 and V5, padded: places of the boxes that stay [most], their
    scores [most], 0 where there are no more, and how many there are [1].

    boxes: [boxes, 4], two opposite corners; scores: [boxes]. One stays if its score is above
    `score` and it overlaps by no more than `overlap` with those that do.
    """
    how = _padded({"most": most, "overlap": overlap, "score": score})
    y = detections(boxes[None, :, None], scores[None, None], **how)[0]
    there = y[:, 0] + 1
    return y[:, 2], scores[y[:, 2]] * there, there.sum(keepdims=True)


def lower_padded_non_max_suppression(low: Lowering, call: Call) -> None:
    """Of boxes that are no images: where axis 0 is no batch."""
    how = _padded(call.attrs)
    if not call.lifted:
        raise Refusal("its boxes are no images: the file has to say how many images there are")
    boxes, scores = (low.shape(call.input(i)) for i in (0, 1))
    if len(boxes) != 3 or boxes[2] != 4 or scores != boxes[:2]:
        raise Refusal("its inputs are not boxes and a score for each")
    x = low.reshape(call, call.input(0), (1, boxes[1], 1, 4), "boxes")
    of = low.reshape(call, call.input(1), (1, 1, boxes[1]), "scores")
    y = low.emit(call, "Detections", [x, of], how, "rows")
    places, best, count = (*call.node.outputs, "", "")[:3]
    shape = (1, how["rows"])
    at = slice_of(low, call, y, [(2, 2, 3, 1)], "column")
    at = low.reshape(call, at, shape, "places")
    if places:
        low.reshape(call.of(places), at, shape)
    there = _there(low, call, y)
    if best:
        rows = low.reshape(call, of, (1, 1, boxes[1], 1), "each")
        value = low.emit(call, "GatherRows", [rows, at], step="best")
        value = low.reshape(call, value, shape, "row")
        low.emit(call.of(best), "Mul", [value, low.reshape(call, there, shape, "there")])
    if count:
        low.reshape(call.of(count), _count(low, call, there), (1, 1))


def _there(low: Lowering, call: Call, y: str) -> str:
    """Of rows of Detections, [N, rows, 1] in float32: 1, or 0 where there is none."""
    there = slice_of(low, call, y, [(2, 0, 1, 1)], "first")
    if low.dtypes[there] != FLOAT32:
        there = low.emit(call, "Cast", [there], {"to": ELEMENT_TYPES["float32"]}, "real")
    one = low.add_constant(f"{call.output}.one", np.array(1, np.float32))
    return low.emit(call, "Add", [there, one], step="present")


def _count(low: Lowering, call: Call, there: str) -> str:
    """How many there are, int64 [N, 1, 1]."""
    axes = low.add_constant(f"{call.output}.count.axes", np.array([1], np.int64))
    count = low.emit(call, "ReduceSum", [there, axes], {"keepdims": 1}, "count")
    return low.emit(call, "Cast", [count], {"to": ELEMENT_TYPES["int64"]}, "whole")


def _combined(attrs: Mapping[str, Any], boxes: Any, scores: Any) -> dict[str, Any]:
    """Attributes of Detections, of shapes of boxes and scores."""
    if len(boxes) != 4 or len(scores) != 3 or boxes[2] not in (1, scores[2]):
        raise Refusal("its inputs are not boxes and scores of classes")
    classes, rows = scores[2], attrs["total"]
    if attrs["pad_per_class"]:
        rows = min(rows, attrs["each"] * classes)
    if not 0 < rows <= MOST_ROWS or attrs["each"] < 1 or not attrs["overlap"] >= 0:
        raise Refusal(f"{rows} boxes or overlap {attrs['overlap']:g} are not supported")
    return {
        "rows": rows,
        "classes": classes,
        "own": int(boxes[2] > 1),
        "each": attrs["each"],
        "score": attrs["score"],
        "overlap": attrs["overlap"],
    }


def combined_non_max_suppression(
    boxes: Array,
    scores: Array,
    *,
    each: int,
    total: int,
    overlap: float,
    score: float,
    pad_per_class: int = 0,
    clip_boxes: int = 1,
) -> tuple[Array, ...]:
    """TensorFlow's: boxes [N, total, 4], scores and classes [N, total], the highest score first and
    0 where there are no more; how many boxes there are [N].

    boxes: [N, boxes, 1 or classes, 4], two opposite corners, of which those with the smaller
    numbers come first in the result; scores: [N, boxes, classes]. Of every class `each` at most.
    """
    attrs = {"each": each, "total": total, "overlap": overlap, "score": score}
    how = _combined({**attrs, "pad_per_class": pad_per_class}, boxes.shape, scores.shape)
    y = detections(boxes, scores, **how)
    found = np.clip(y[:, :, 3:], 0, 1) if clip_boxes else y[:, :, 3:]
    return found, y[:, :, 2], y[:, :, 1], (y[:, :, 0] + 1).sum(1).astype(np.int64)


def lower_combined_non_max_suppression(low: Lowering, call: Call) -> None:
    """Of any number of images."""
    shapes = [low.shape(call.input(i)) for i in (0, 1)]
    how = _combined(call.attrs, *shapes)
    y = low.emit(call, "Detections", call.inputs, how, "rows")
    n, rows = low.shape(y)[:2]
    boxes, *columns, count = (*call.node.outputs, "", "", "")[:4]
    if boxes and call.attrs["clip_boxes"]:
        limits = [low.add_constant(f"{boxes}.limit", np.array(i, np.float32)) for i in (0, 1)]
        corners = slice_of(low, call, y, [(2, 3, 7, 1)], "corners")
        low.emit(call.of(boxes), "Clip", [corners, *limits])
    elif boxes:
        slice_of(low, call.of(boxes), y, [(2, 3, 7, 1)])
    for output, column in zip(columns, (2, 1)):
        if output:
            part = slice_of(low, call, y, [(2, column, column + 1, 1)], f"column{column}")
            low.reshape(call.of(output), part, (n, rows))
    if count:
        low.reshape(call.of(count), _count(low, call, _there(low, call, y)), (n,))


def _post_process(
    attrs: Mapping[str, Any], anchors: Array, width: int
) -> tuple[dict[str, Any], Array]:
    """Attributes and priors of Detections, of scores of `width` classes, for TFLite's."""
    scales = np.array([attrs[f"{axis}_scale"] for axis in "yxhw"], np.float64)
    if anchors.ndim != 2 or anchors.shape[1] != 4 or not (scales > 0).all():
        raise Refusal(
            f"anchors {list(anchors.shape)} or scales {scales.tolist()} are not supported"
        )
    classes, most = attrs["num_classes"], attrs["max_detections"]
    if not 0 < classes <= width or most < 1:
        raise Refusal(f"{classes} classes of scores for {width}, and {most} boxes do not fit")
    middle, sizes = anchors[:, :2].astype(np.float64), anchors[:, 2:].astype(np.float64)
    priors = np.hstack(
        [middle, sizes, sizes / scales[:2], np.broadcast_to(1 / scales[2:], sizes.shape)]
    )
    regular, together = attrs["use_regular_nms"], min(attrs["max_classes_per_detection"], classes)
    if not regular and together < 1:
        raise Refusal("max_classes_per_detection is not positive")
    how = {
        "rows": most if regular else most * together,
        "classes": classes,
        "centers": 1,
        "each": attrs["detections_per_class"] if regular else most,
        "together": 0 if regular else together,
        # One of exactly that score stays.
        "score": float(np.nextafter(np.float32(attrs["nms_score_threshold"]), np.float32(-np.inf))),
        "overlap": attrs["nms_iou_threshold"],
    }
    if how["rows"] > MOST_ROWS or how["each"] < 1:
        raise Refusal(f"{how['rows']} boxes are not supported")
    return how, priors


def detection_post_process(
    boxes: Array,
    scores: Array,
    anchors: Array,
    *,
    max_detections: int,
    max_classes_per_detection: int,
    num_classes: int,
    nms_score_threshold: float,
    nms_iou_threshold: float,
    y_scale: float,
    x_scale: float,
    h_scale: float,
    w_scale: float,
    detections_per_class: int = 100,
    use_regular_nms: int = 0,
) -> tuple[Array, ...]:
    """The end of TensorFlow's detectors, TFLite_Detection_PostProcess: boxes [N, rows, 4] of top,
    left, bottom, right; classes and scores [N, rows]; how many boxes there are [N].

    boxes: [N, anchors, 4] of y, x, height, width, relative to anchors [anchors, 4]; scores: [N,
    anchors, classes], one of the background before them perhaps.
    """
    attrs = {
        "max_detections": max_detections, "max_classes_per_detection": max_classes_per_detection,
        "num_classes": num_classes, "nms_score_threshold": nms_score_threshold,
        "nms_iou_threshold": nms_iou_threshold, "detections_per_class": detections_per_class,
        "use_regular_nms": use_regular_nms, "y_scale": y_scale, "x_scale": x_scale,
        "h_scale": h_scale, "w_scale": w_scale,
    }  # fmt: skip
    how, priors = _post_process(attrs, anchors, scores.shape[2])
    y = detections(boxes[:, :, None], scores[:, :, -num_classes:], priors, **how)
    count = (y[:, :, 0] + 1).sum(1) / (how["together"] or 1)
    return y[:, :, 3:], y[:, :, 1], y[:, :, 2], np.asarray(count)


def lower_detection_post_process(low: Lowering, call: Call) -> None:
    """With constant anchors."""
    anchors = low.numbers(call.input(2), "input of anchors")
    low.spend(anchors.size, 64)
    boxes, scores = (low.shape(call.input(i)) for i in (0, 1))
    if len(boxes) != 3 or len(scores) != 3:
        raise Refusal("boxes and scores have to have 3 axes")
    how, priors = _post_process(call.attrs, anchors, scores[2])

    inputs = [low.reshape(call, call.input(0), (*boxes[:2], 1, boxes[2]), "codes"), call.input(1)]
    if scores[2] > how["classes"]:
        section = (2, scores[2] - how["classes"], scores[2], 1)
        inputs[1] = slice_of(low, call, inputs[1], [section], "scores")
    inputs.append(low.add_constant(f"{call.output}.priors", priors.astype(np.float32)))
    y = low.emit(call, "Detections", inputs, how, "rows")
    n, rows = low.shape(y)[:2]
    parts = ((3, 7, (n, rows, 4)), (1, 2, (n, rows)), (2, 3, (n, rows)), (0, 1, (n,)))
    for output, (begin, end, shape) in zip(call.node.outputs, parts):
        if not output:
            continue
        part = slice_of(low, call, y, [(2, begin, end, 1)], f"column{begin}")
        if begin == 0:  # 0, or -1 where there is none
            one = low.add_constant(f"{call.output}.one", np.array(1, np.float32))
            part = low.emit(call, "Add", [part, one], step="present")
            axes = low.add_constant(f"{call.output}.count.axes", np.array([1], np.int64))
            part = low.emit(call, "ReduceSum", [part, axes], step="count")
            if how["together"] > 1:
                factor = np.array(how["together"], np.float32)
                many = low.add_constant(f"{call.output}.many", factor)
                part = low.emit(call, "Div", [part, many], step="boxes")
        low.reshape(call.of(output), part, shape)


OPERATORS = (
    Operator(
        "PaddedNonMaxSuppression",
        padded_non_max_suppression,
        lower_padded_non_max_suppression,
        several=True,
        lift=_lifting.unchanged,
    ),
    Operator(
        "CombinedNonMaxSuppression",
        combined_non_max_suppression,
        lower_combined_non_max_suppression,
        several=True,
    ),
    Operator(
        "DetectionPostProcess",
        detection_post_process,
        lower_detection_post_process,
        several=True,
    ),
)
