"""YOLO and what came of it: rows of centre, size, objectness and classes, or maps of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ._family import (
    Array,
    Family,
    Found,
    Outputs,
    Reader,
    as_rows,
    best_of,
    cells_of,
    corners,
    count_of,
    finite_exp,
    sigmoid,
    softmax,
    stride_of,
)

# Of the pictures YOLO v3 and its tiny form were trained on, by their number of levels; of
# YOLO-FastestV2 on COCO. Width and height in pixels, the finest level first.
_V3_ANCHORS = {
    2: (((10, 14), (23, 27), (37, 58)), ((81, 82), (135, 169), (344, 319))),
    3: (
        ((10, 13), (16, 30), (33, 23)),
        ((30, 61), (62, 45), (59, 119)),
        ((116, 90), (156, 198), (373, 326)),
    ),
}
_V2_ANCHORS = (
    ((12.64, 19.39), (37.88, 51.48), (55.71, 138.31)),
    ((126.91, 78.23), (131.57, 214.55), (279.92, 258.87)),
)
_MOST_OBJECTNESS = 0.2  # of half the boxes, in any picture
_ROWS_OF_PARTS = 2.0  # larger coordinates than this are pixels, not parts of the picture


def _scored(rows: Array, threshold: float, premultiplied: bool) -> tuple[Array, Array, Array]:
    """Which rows of objectness and classes [n, 1 + c] may be found, their scores and classes."""
    keep = np.flatnonzero(rows[:, 0] >= threshold)
    if rows.shape[1] == 1:
        return keep, rows[keep, 0], np.zeros(len(keep), np.int64)
    scores, classes = best_of(rows[keep, 1:])
    scores = scores if premultiplied else scores * rows[keep, 0]
    good = scores >= threshold
    return keep[good], scores[good], classes[good]


def _rows_of(outputs: Outputs, least: int) -> int:
    """How many columns all outputs have, if they are rows of that many; else 0."""
    columns = {array.shape[-1] if array.ndim == 2 else 0 for array in outputs.arrays}
    only = columns.pop() if len(columns) == 1 else 0
    return only if only >= least else 0


def yolox(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """YOLOX before its centres and sizes are made pixels: [cells, 5 + classes]."""
    strides = settings.get("strides", (8, 16, 32))
    columns = _rows_of(outputs, 5)
    if not columns or len(outputs.arrays) != 1:
        return None
    rows = outputs.arrays[0]
    if len(rows) != count_of(outputs.size, strides):
        return None
    # Centres lie near their own cells, as one reads them or as the other.
    cells = cells_of(outputs.size, strides)
    middle = (cells[:, :2] + 0.5) * cells[:, 2:]
    raw = np.median(np.abs(rows[:, :2] - 0.5))
    whole = [
        np.median(np.abs(rows[:, :2] * unit - middle) / cells[:, 2:])
        for unit in (1, np.array(outputs.size[::-1]))
    ]
    probable = rows[:, 4:].min() >= 0 and rows[:, 4:].max() <= 1
    if "family" not in settings and (raw > min(whole) or not probable):
        return None

    def decode(arrays: Sequence[Array], threshold: float) -> Found:
        keep, scores, classes = _scored(arrays[0][:, 4:], threshold, False)
        row, (x, y, stride) = arrays[0][keep], cells[keep].T
        wide, high = finite_exp(row[:, 2]) * stride, finite_exp(row[:, 3]) * stride
        centre = (row[:, 0] + x) * stride, (row[:, 1] + y) * stride
        return Found(corners(*centre, wide, high), scores, classes)

    return Reader(decode, max(columns - 5, 1))


def rows(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """Rows [boxes, 5 + classes] of boxes as they are, in pixels (YOLO v5) or as parts of the
    picture (Darknet's layers, as OpenCV has them: classes have been multiplied with objectness).
    """
    columns = _rows_of(outputs, 6)
    if not columns:
        return None
    every = np.concatenate(outputs.arrays)
    if not len(every):
        return None
    premultiplied = bool((every[:, 5:].max(axis=1) <= every[:, 4] + 1e-5).all())
    high, wide = outputs.size if every[:, :4].max() <= _ROWS_OF_PARTS else (1, 1)
    scored = every[:, 2:].min() >= 0 and every[:, 4:].max() <= 1.001
    scored = scored and np.median(every[:, 4]) < _MOST_OBJECTNESS
    # There are boxes all over the picture.
    first, last = np.quantile(every[:, :2] * (wide, high) / outputs.size[::-1], (0.1, 0.9), axis=0)
    if "family" not in settings and not (scored and first.max() < 0.3 and last.min() > 0.7):
        return None

    def decode(arrays: Sequence[Array], threshold: float) -> Found:
        found = np.concatenate(arrays)
        keep, scores, classes = _scored(found[:, 4:], threshold, premultiplied)
        x, y, w, h = found[keep, :4].T
        return Found(corners(x * wide, y * high, w * wide, h * high), scores, classes)

    return Reader(decode, columns - 5)


def columns(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """[4 + classes, boxes]: YOLO v8's, without objectness, in pixels."""
    if len(outputs.arrays) != 1 or outputs.arrays[0].ndim != 2:
        return None
    kinds, count = len(outputs.arrays[0]) - 4, outputs.arrays[0].shape[1]
    if kinds < 1 or count != count_of(outputs.size, settings.get("strides", (8, 16, 32))):
        return None

    def decode(arrays: Sequence[Array], threshold: float) -> Found:
        scores, classes = best_of(arrays[0][4:].T)
        keep = scores >= threshold
        return Found(corners(*arrays[0][:4, keep]), scores[keep], classes[keep])

    return Reader(decode, kinds)


def _maps(outputs: Outputs, last: bool) -> list[tuple[int, int]]:
    """Stride and place of every output, if all are maps of cells and as deep as each other, the
    finest first; `last`: channels are. Else none.
    """
    found, depths = [], set()
    for index, array in enumerate(outputs.arrays):
        if array.ndim != 3:
            return []
        high, wide = array.shape[:2] if last else array.shape[1:]
        depths.add(array.shape[2 if last else 0])
        found.append((stride_of(outputs.size, high, wide), index))
    return sorted(found) if len(depths) == 1 and all(stride for stride, _ in found) else []


def _anchors(settings: Mapping[str, Any], default: Any, levels: int) -> Array | None:
    """[levels, anchors, 2] in pixels, as a sidecar says or by default."""
    try:
        array = np.array(settings.get("anchors", default), np.float32)
        array = array.reshape(levels, -1, 2)
    except (ValueError, TypeError):
        return None
    return array if array.size and np.isfinite(array).all() and array.min() > 0 else None


def v3(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """Maps [anchors x (5 + classes), H, W] that are logits, as YOLO v3's last convolutions."""
    maps = _maps(outputs, last=False)
    anchors = _anchors(settings, _V3_ANCHORS.get(len(maps)), len(maps)) if maps else None
    if anchors is None:
        return None
    each = anchors.shape[1]
    depth = len(outputs.arrays[0])
    if depth % each or depth // each < 6:
        return None

    def decode(arrays: Sequence[Array], threshold: float) -> Found:
        parts = []
        for (stride, index), sizes in zip(maps, anchors):
            row = as_rows(arrays[index], each)
            cells = cells_of(outputs.size, (stride,), each)
            keep, scores, classes = _scored(sigmoid(row[:, 4:]), threshold, False)
            row, cells = row[keep], cells[keep]
            wide, high = (finite_exp(row[:, 2:4]) * sizes[keep % each]).T
            x, y = ((sigmoid(row[:, :2]) + cells[:, :2]) * stride).T
            parts.append(Found(corners(x, y, wide, high), scores, classes))
        return Found(*map(np.concatenate, zip(*parts)))

    return Reader(decode, depth // each - 5)


def fastest_v2(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """YOLO-FastestV2: maps [H, W, anchors x 4 + anchors + classes], sigmoids and a softmax of the
    classes, which a cell's anchors share.
    """
    maps = _maps(outputs, last=True)
    default = _V2_ANCHORS if len(maps) == len(_V2_ANCHORS) else ()
    anchors = _anchors(settings, default, len(maps)) if maps else None
    if anchors is None:
        return None
    each = anchors.shape[1]
    kinds = outputs.arrays[0].shape[2] - 5 * each
    if kinds < 1 or min(array.min() for array in outputs.arrays) < 0:
        return None
    sums = [array[..., 5 * each :].sum(axis=2) for array in outputs.arrays]
    if "family" not in settings and not all(np.allclose(total, 1, atol=0.01) for total in sums):
        return None

    def decode(arrays: Sequence[Array], threshold: float) -> Found:
        parts = []
        for (stride, index), sizes in zip(maps, anchors):
            row = arrays[index].reshape(-1, arrays[index].shape[2])
            best, classes = best_of(row[:, 5 * each :])
            scores = row[:, 4 * each : 5 * each] * best[:, None]
            cell, anchor = np.nonzero(scores >= threshold)
            box = row[:, : 4 * each].reshape(-1, each, 4)[cell, anchor]
            at = cells_of(outputs.size, (stride,))[cell, :2]
            x, y = ((box[:, :2] * 2 - 0.5 + at) * stride).T
            wide, high = ((box[:, 2:] * 2) ** 2 * sizes[anchor]).T
            found = Found(corners(x, y, wide, high), scores[cell, anchor], classes[cell])
            parts.append(found)
        return Found(*map(np.concatenate, zip(*parts)))

    return Reader(decode, kinds)


def fastest_det(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """FastestDet: one map [5 + classes, H, W] of objectness, box and classes."""
    maps = _maps(outputs, last=False)
    if len(maps) != 1 or len(outputs.arrays[0]) < 6:
        return None
    kinds = outputs.arrays[0][5:]
    if "family" not in settings and not np.allclose(kinds.sum(axis=0), 1, atol=0.01):
        return None
    high, wide = outputs.size

    def decode(arrays: Sequence[Array], threshold: float) -> Found:
        row = as_rows(arrays[0], 1)
        cells = cells_of(outputs.size, (maps[0][0],))
        best, classes = best_of(row[:, 5:])
        scores = row[:, 0] * best
        keep = scores >= threshold
        rows_, columns_ = arrays[0].shape[1:]
        x, y = ((np.tanh(row[keep, 1:3]) + cells[keep, :2]) / (columns_, rows_) * (wide, high)).T
        w, h = (sigmoid(row[keep, 3:5]) * (wide, high)).T
        return Found(corners(x, y, w, h), scores[keep], classes[keep])

    return Reader(decode, len(outputs.arrays[0]) - 5)


def nanodet(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """NanoDet: classes, and for each side of a box the distribution of its distance: together,
    [cells, classes + 4 x bins], or apart, a pair for every level.

    NanoDet-Plus, with a level of stride 64, measures from the cells' corners, others from their
    middles.
    """
    sides = 4 * int(settings.get("bins", 8))
    for strides in ((8, 16, 32, 64), (8, 16, 32)):
        counts = [count_of(outputs.size, (stride,)) for stride in strides]
        split = _split(outputs.arrays, counts, sides)
        if split is not None:
            break
    else:
        return None
    cells = cells_of(outputs.size, strides)
    shift = 0.0 if 64 in strides else 0.5

    def decode(arrays: Sequence[Array], threshold: float) -> Found:
        kinds, far = split(arrays)
        scores, classes = best_of(kinds)
        keep = scores >= threshold
        x, y, stride = cells[keep].T
        spread = softmax(far[keep].reshape(-1, 4, sides // 4))
        left, top, right, bottom = (spread @ np.arange(sides // 4, dtype=np.float32)).T * stride
        x, y = (x + shift) * stride, (y + shift) * stride
        boxes = np.stack([x - left, y - top, x + right, y + bottom], axis=-1)
        return Found(boxes, scores[keep], classes[keep])

    return Reader(decode, split(outputs.arrays)[0].shape[1])


def _split(
    arrays: Sequence[Array], counts: Sequence[int], sides: int
) -> Callable[[Sequence[Array]], tuple[Array, Array]] | None:
    """What takes NanoDet's outputs apart, into classes and distances; None if they are others."""
    shapes = [array.shape for array in arrays]
    if any(len(shape) != 2 for shape in shapes):
        return None
    if len(arrays) == 1:
        x = arrays[0]
        whole = len(x) == sum(counts) and x.shape[1] > sides
        if not whole or x[:, :-sides].min() < 0 or x[:, -sides:].min() >= 0:
            return None
        return lambda given: (given[0][:, :-sides], given[0][:, -sides:])
    pairs = []
    for count in counts:
        same = [index for index, shape in enumerate(shapes) if shape[0] == count]
        same.sort(key=lambda index: shapes[index][1] == sides)
        if len(same) != 2 or shapes[same[1]][1] != sides:
            return None
        pairs.append(same)
    if len(arrays) != 2 * len(pairs):
        return None
    return lambda given: (
        np.concatenate([given[first] for first, _ in pairs]),
        np.concatenate([given[second] for _, second in pairs]),
    )


# The order is that in which they are asked: those that look closest at the numbers come first.
FAMILIES = (
    Family(
        "nanodet",
        nanodet,
        0.4,
        0.6,
        preprocess={
            "color": "BGR",
            "mean": (103.53, 116.28, 123.675),
            "scale": (1 / 57.375, 1 / 57.12, 1 / 58.395),
            "fit": "letterbox",
        },
    ),
    Family("yolox", yolox, 0.3, suppress="all", preprocess={"color": "BGR", "fit": "letterbox"}),
    Family("yolo", rows, 0.25, preprocess={"scale": 1 / 255}),
    Family("yolov8", columns, 0.25, preprocess={"scale": 1 / 255, "fit": "letterbox"}),
    Family("yolo-fastestv2", fastest_v2, 0.3, 0.25, preprocess={"color": "BGR", "scale": 1 / 255}),
    Family("yolov3", v3, 0.25, preprocess={"scale": 1 / 255}),
    Family(
        "fastestdet",
        fastest_det,
        0.5,
        0.35,
        suppress="all",
        preprocess={"color": "BGR", "scale": 1 / 255},
    ),
)
