"""SSD: boxes told as offsets from anchors, or already sorted out by the network's last layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._family import (
    Array,
    Family,
    Found,
    Outputs,
    Reader,
    best_of,
    cells_of,
    corners,
    count_of,
    finite_exp,
    sigmoid,
    softmax,
)
from .labels import COCO_90, VOC

_VARIANCES = (0.1, 0.2)
_UNIT = {"mean": 127.5, "scale": 1 / 127.5}
_RETINAFACE_INPUT = {"mean": (104, 117, 123), "color": "BGR"}


def _number(array: Array) -> bool:
    return array.size == 1


def post_process(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """TFLite_Detection_PostProcess: boxes [n, 4] as y0, x0, y1, x1 in parts of the picture, classes
    [n], scores [n] and how many there are; or these in another order.
    """
    arrays = outputs.arrays
    if len(arrays) != 4:
        return None
    boxes = [i for i, array in enumerate(arrays) if array.ndim == 2 and array.shape[1] == 4]
    counts = [i for i, array in enumerate(arrays) if _number(array)]
    lists = [i for i in range(4) if i not in (*boxes[:1], *counts[:1])]
    if (
        len(boxes) != 1
        or not counts
        or any(arrays[i].shape != arrays[boxes[0]].shape[:1] for i in lists)
    ):
        return None
    kinds, scores = lists
    if not _whole(arrays[kinds]) or (_whole(arrays[scores]) and arrays[kinds].max() > 1):
        kinds, scores = scores, kinds
    if not _whole(arrays[kinds]):
        return None
    high, wide = outputs.size

    def decode(given: Sequence[Array], threshold: float) -> Found:
        some = int(np.clip(given[counts[0]].reshape(-1)[0], 0, len(given[scores])))
        keep = np.flatnonzero(given[scores][:some] >= threshold)
        y0, x0, y1, x1 = given[boxes[0]][keep].T
        corner = np.stack([x0 * wide, y0 * high, x1 * wide, y1 * high], axis=-1)
        return Found(corner, given[scores][keep], given[kinds][keep].astype(np.int64))

    return Reader(decode, 0, COCO_90)


def _whole(array: Array) -> bool:
    return bool((array == np.rint(array)).all() and array.min() >= 0)


def detection_output(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """Caffe's DetectionOutput, [n, 7] of image, class, score and corners; ncnn's and MXNet's,
    [n, 6] without the image. In the first two, class 0 is the background.
    """
    table = outputs.arrays[0]
    if len(outputs.arrays) != 1 or table.ndim not in (2, 3) or table.shape[-1] not in (6, 7):
        return None
    columns = table.shape[-1]
    numbers = table.reshape(-1, columns)[:, columns - 6]
    if (numbers != np.rint(numbers)).any():
        return None
    background = int(settings.get("background", columns == 7 or not outputs.batched))
    high, wide = outputs.size

    def decode(given: Sequence[Array], threshold: float) -> Found:
        found = given[0].reshape(-1, columns)[:, columns - 6 :]
        found = found[(found[:, 0] >= background) & (found[:, 1] >= threshold)]
        corner = found[:, 2:] * (wide, high, wide, high)
        return Found(corner, found[:, 1], found[:, 0].astype(np.int64) - background)

    return Reader(decode, 0, VOC)


# Anchors, [n, 4] of middle x, y, width and height in parts of the picture.


def _ultraface(size: tuple[int, int]) -> Array:
    """Ultra-Light-Fast-Generic-Face-Detector's: squares in pixels, not larger than the picture, in
    cells that divide it.
    """
    sides = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))
    parts = []
    for stride, own in zip((8, 16, 32, 64), sides):
        high, wide = (math.ceil(n / stride) for n in size)
        parts.append(_squares(size, stride, own, (1 / wide, 1 / high)))
    return np.concatenate(parts).clip(0, 1)


def _retinaface(size: tuple[int, int]) -> Array:
    """RetinaFace's in PyTorch: squares in pixels."""
    sides = ((16, 32), (64, 128), (256, 512))
    return np.concatenate(
        [
            _squares(size, stride, own, (stride / size[1], stride / size[0]))
            for stride, own in zip((8, 16, 32), sides)
        ]
    )


def _squares(
    size: tuple[int, int], stride: int, sides: Sequence[int], step: tuple[float, float]
) -> Array:
    """Anchors of a level; step: from a cell to the next, across and down."""
    cells = cells_of(size, (stride,), len(sides))
    each = np.tile(np.array(sides, np.float32), len(cells) // len(sides))
    middles = (cells[:, :2] + 0.5) * np.array(step, np.float32)
    return np.concatenate([middles, each[:, None] / np.array(size[::-1], np.float32)], axis=1)


def _mobilenet(size: tuple[int, int]) -> Array:
    """Those of TensorFlow's object detection for SSD on MobileNet: six levels, scales from 0.2 to
    0.95, three boxes for each cell of the first, then six.
    """
    scales = [0.2 + 0.15 * k for k in range(6)] + [1.0]
    sides = [math.ceil(max(size) / 16)]
    while len(sides) < 6:
        sides.append(math.ceil(sides[-1] / 2))
    parts = []
    for k, side in enumerate(sides):
        ratios = [1.0, 2.0, 0.5] if k == 0 else [1.0, 2.0, 0.5, 3.0, 1 / 3]
        shapes = [(0.1 if k == 0 and r == 1 else scales[k], r) for r in ratios]
        if k:
            shapes.append((math.sqrt(scales[k] * scales[k + 1]), 1.0))
        y, x = np.mgrid[:side, :side].reshape(2, -1)
        for_cell = np.array([(s * math.sqrt(r), s / math.sqrt(r)) for s, r in shapes])
        middles = np.stack([x + 0.5, y + 0.5], 1).repeat(len(shapes), 0) / side
        parts.append(np.concatenate([middles, np.tile(for_cell, (side * side, 1))], 1))
    return np.concatenate(parts).astype(np.float32)


def anchored(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """Offsets [n, 4] from anchors, scores [n, classes] whose first is the background and, of faces,
    landmarks [n, 10]; or corners [n, 4] instead of offsets.

    The anchors are those of the setting "anchors", [n, 4], else of one of the known sets that has
    as many.
    """
    by_columns = {array.shape[1]: i for i, array in enumerate(outputs.arrays) if array.ndim == 2}
    rest = sorted(set(by_columns) - {4, 10})
    if len(by_columns) != len(outputs.arrays) or 4 not in by_columns or len(rest) != 1:
        return None
    place, kinds = by_columns[4], by_columns[rest[0]]
    boxes, scores = outputs.arrays[place], outputs.arrays[kinds]
    if rest[0] < 2 or len({len(array) for array in outputs.arrays}) != 1:
        return None
    if "anchors" not in settings and bool((boxes[:, :2] < boxes[:, 2:]).all()):
        anchors, y_first = None, False
    else:
        anchors, y_first = _anchors(len(boxes), outputs.size, settings)
        if anchors is None:
            return None
    probable = scores.min() >= 0 and scores.max() <= 1
    exclusive = bool(np.allclose(scores.sum(axis=1), 1, atol=0.01))
    high, wide = outputs.size

    def decode(given: Sequence[Array], threshold: float) -> Found:
        every = given[kinds]
        if not probable:
            every = sigmoid(every) if y_first else softmax(every)
        best, classes = best_of(every[:, 1:])
        keep = best >= threshold
        offset = given[place][keep]
        if anchors is None:
            return Found(offset * (wide, high, wide, high), best[keep], classes[keep])
        x, y, w, h = anchors[keep].T
        dx, dy, dw, dh = offset.T if not y_first else offset[:, [1, 0, 3, 2]].T
        middle = (x + dx * _VARIANCES[0] * w) * wide, (y + dy * _VARIANCES[0] * h) * high
        sides = finite_exp(dw * _VARIANCES[1]) * w * wide, finite_exp(dh * _VARIANCES[1]) * h * high
        return Found(corners(*middle, *sides), best[keep], classes[keep])

    face = rest[0] == 2 and (exclusive or 10 in by_columns)
    own = _RETINAFACE_INPUT if 10 in by_columns else None
    return Reader(decode, rest[0] - 1, ("face",) if face else (), own)


def _anchors(
    count: int, size: tuple[int, int], settings: Mapping[str, Any]
) -> tuple[Array | None, bool]:
    """As many anchors, and whether their offsets have y before x."""
    if "anchors" in settings:
        try:
            given = np.array(settings["anchors"], np.float32).reshape(-1, 4)
        except (ValueError, TypeError):
            return None, False
        fits = len(given) == count and bool(np.isfinite(given).all())
        return (given if fits else None), bool(settings.get("y_first", False))
    for make, y_first in ((_ultraface, False), (_retinaface, False), (_mobilenet, True)):
        anchors = make(size)
        if len(anchors) == count:
            return anchors, y_first
    return None, False


# MediaPipe's: how often a cell of each stride has a box, and what rows of so many numbers are.
_BLAZE = (
    {8: 2, 16: 6},
    {16: 2, 32: 6},
    {4: 1},
    {8: 2, 16: 2, 32: 6},
)
_BLAZE_KINDS = {16: "face", 18: "palm", 12: "person"}
_BLAZE_INPUT = {**_UNIT, "fit": "letterbox", "pad": 0}


def blaze(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """MediaPipe's detectors (BlazeFace): [cells, 4 + 2 x points] of middle, size and points in
    pixels from the cell's middle, and [cells, 1] of logits.

    Those of poses find a face, and with two points the circle around the whole person; its square
    is the box here.
    """
    shapes = [array.shape for array in outputs.arrays]
    if len(shapes) != 2 or any(len(shape) != 2 for shape in shapes) or shapes[0][0] != shapes[1][0]:
        return None
    place, kind = (0, 1) if shapes[1][1] == 1 else (1, 0)
    columns = shapes[place][1]
    if shapes[kind][1] != 1 or columns not in _BLAZE_KINDS:
        return None
    for boxes in _BLAZE:
        if sum(count_of(outputs.size, (s,), n) for s, n in boxes.items()) == shapes[0][0]:
            break
    else:
        return None
    cells = np.concatenate([cells_of(outputs.size, (s,), n) for s, n in boxes.items()])
    middles = (cells[:, :2] + 0.5) * cells[:, 2:]

    def decode(given: Sequence[Array], threshold: float) -> Found:
        scores = sigmoid(given[kind][:, 0])
        keep = scores >= threshold
        row, at = given[place][keep], middles[keep]
        x, y = (row[:, :2] + at).T
        wide, high = row[:, 2:4].T
        if columns == 12:
            x, y = (row[:, 4:6] + at).T
            wide = high = 2 * np.hypot(*(row[:, 6:8] - row[:, 4:6]).T)
        return Found(corners(x, y, wide, high), scores[keep], np.zeros(len(row), np.int64))

    own = {**_BLAZE_INPUT, "mean": 0, "scale": 1 / 255} if columns == 18 else None
    return Reader(decode, 1, (_BLAZE_KINDS[columns],), own)


FAMILIES = (
    Family("ssd-postprocess", post_process, 0.5, suppress="none", preprocess=_UNIT),
    Family(
        "ssd-output", detection_output, 0.5, suppress="none", preprocess={**_UNIT, "color": "BGR"}
    ),
    Family("blaze", blaze, 0.5, 0.3, "average", _BLAZE_INPUT),
    Family("ssd", anchored, 0.6, 0.3, preprocess={"mean": 127, "scale": 1 / 128}),
)
