"""Face detectors with outputs of their own: YuNet, RetinaFace, SCRFD and CenterFace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._family import (
    Array,
    Family,
    Found,
    Outputs,
    Reader,
    as_rows,
    cells_of,
    corners,
    count_of,
    finite_exp,
    stride_of,
)

_FACE = ("face",)


def _faces(boxes: Sequence[Array], scores: Sequence[Array]) -> Found:
    together = np.concatenate(scores)
    return Found(np.concatenate(boxes), together, np.zeros(len(together), np.int64))


def _levels(outputs: Outputs) -> list[tuple[int, dict[int, list[int]]]]:
    """Of outputs that are rows [cells, n], or maps [n, H, W], of several levels: each level's
    number of cells, or stride, the finest first, and its outputs by n. [] if they are anything
    else.
    """
    ranks = {array.ndim for array in outputs.arrays}
    if ranks not in ({2}, {3}):
        return []
    levels: dict[int, dict[int, list[int]]] = {}
    for index, array in enumerate(outputs.arrays):
        if ranks == {2}:
            key, n = array.shape
        else:
            n, key = len(array), stride_of(outputs.size, *array.shape[1:])
        levels.setdefault(key, {}).setdefault(n, []).append(index)
    return [] if 0 in levels else sorted(levels.items(), reverse=ranks == {2})


def yunet(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """YuNet: for each stride [cells, 1] of class and of objectness, [cells, 4] of boxes, and mostly
    [cells, 10] of landmarks.
    """
    parts = []
    for stride, (cells, by_size) in zip((8, 16, 32, 64), _levels(outputs)):
        if cells != count_of(outputs.size, (stride,)) or len(by_size.get(1, ())) != 2:
            return None
        if len(by_size.get(4, ())) != 1:
            return None
        parts.append((stride, *by_size[1], by_size[4][0]))
    if not parts:
        return None

    def decode(given: Sequence[Array], threshold: float) -> Found:
        boxes, scores = [], []
        for stride, first, second, place in parts:
            score = np.sqrt(given[first][:, 0].clip(0, 1) * given[second][:, 0].clip(0, 1))
            keep = score >= threshold
            row, cells = given[place][keep], cells_of(outputs.size, (stride,))[keep]
            x, y = ((cells[:, :2] + row[:, :2]) * stride).T
            boxes.append(corners(x, y, *(finite_exp(row[:, 2:]) * stride).T))
            scores.append(score[keep])
        return _faces(boxes, scores)

    return Reader(decode, 1, _FACE)


def scrfd(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """SCRFD: for each stride probabilities and the distances of a box's sides, in strides, of one
    or two boxes for each cell: as maps [n, H, W] and [4 n, H, W], or rows [cells x n, 1] and
    [cells x n, 4].
    """
    parts = []
    for level, (key, by_size) in enumerate(_levels(outputs)):
        least = min(by_size)  # numbers of a cell, or of a box
        each, stride = least, key
        if outputs.arrays[0].ndim == 2:
            stride = 8 << level
            each = key // count_of(outputs.size, (stride,))
            if key != count_of(outputs.size, (stride,), each) or least != 1:
                return None
        one = [by_size.get(n, []) for n in (least, 4 * least)]
        if each not in (1, 2) or any(len(indices) != 1 for indices in one):
            return None
        parts.append((stride, each, one[0][0], one[1][0]))
    if len(parts) < 2:
        return None

    def decode(given: Sequence[Array], threshold: float) -> Found:
        boxes, scores = [], []
        for stride, each, first, place in parts:
            score, row = given[first], given[place]
            if score.ndim == 3:
                score, row = as_rows(score, each), as_rows(row, each)
            keep = score[:, 0] >= threshold
            x, y, _ = (cells_of(outputs.size, (stride,), each)[keep] * stride).T
            left, top, right, bottom = (row[keep] * stride).T
            boxes.append(np.stack([x - left, y - top, x + right, y + bottom], axis=-1))
            scores.append(score[keep, 0])
        return _faces(boxes, scores)

    return Reader(decode, 1, _FACE)


def retinaface(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """RetinaFace of insightface: for each stride [2 n, H, W], n probabilities of no face and then n
    of one, and [4 n, H, W] offsets from anchors of half and a quarter of the stride's square. Those
    were pixels 0 to 15, enlarged about their middle, which is the edge between pixels 7 and 8.
    """
    parts = []
    for key, by_size in _levels(outputs):
        if outputs.arrays[0].ndim != 3 or any(len(by_size.get(n, ())) != 1 for n in (4, 8)):
            return None
        parts.append((key, by_size[4][0], by_size[8][0]))
    if len(parts) < 2:
        return None

    def decode(given: Sequence[Array], threshold: float) -> Found:
        boxes, scores = [], []
        for stride, first, place in parts:
            score = as_rows(given[first][2:], 2)[:, 0]
            keep = np.flatnonzero(score >= threshold)
            row = as_rows(given[place], 2)[keep]
            side = stride * stride / np.where(keep % 2 == 0, 2, 4)
            x, y, _ = (cells_of(outputs.size, (stride,), 2)[keep] * stride).T
            middle = [at + 8 + row[:, k] * side for k, at in enumerate((x, y))]
            wide, high = (finite_exp(row[:, k]) * side for k in (2, 3))
            boxes.append(corners(middle[0], middle[1], wide, high))
            scores.append(score[keep])
        return _faces(boxes, scores)

    return Reader(decode, 1, _FACE)


def centerface(outputs: Outputs, settings: Mapping[str, Any]) -> Reader | None:
    """CenterFace: one level of maps, [1, H, W] of faces' middles, [2, H, W] of logarithms of their
    sizes, [2, H, W] of offsets, both with y first, and [10, H, W] of landmarks.
    """
    levels = _levels(outputs)
    stride, by_size = levels[0] if len(levels) == 1 else (0, {})
    if outputs.arrays[0].ndim != 3 or [len(by_size.get(n, ())) for n in (1, 2)] != [1, 2]:
        return None
    heat, (sizes, offsets) = by_size[1][0], by_size[2]

    def decode(given: Sequence[Array], threshold: float) -> Found:
        row, column = np.nonzero(given[heat][0] >= threshold)
        high, wide = finite_exp(given[sizes][:, row, column]) * stride
        dy, dx = given[offsets][:, row, column]
        x, y = (column + dx + 0.5) * stride, (row + dy + 0.5) * stride
        scores = given[heat][0, row, column]
        return _faces([corners(x, y, wide, high)], [scores])

    return Reader(decode, 1, _FACE)


FAMILIES = (
    Family("yunet", yunet, 0.6, 0.3, preprocess={"color": "BGR"}),
    Family("retinaface", retinaface, 0.6, 0.4, preprocess={"color": "RGB"}),
    Family(
        "scrfd", scrfd, 0.4, 0.45, preprocess={"mean": 127.5, "scale": 1 / 128, "fit": "letterbox"}
    ),
    Family("centerface", centerface, 0.4, 0.3, preprocess={"color": "RGB"}),
)
