"""Where a detector looks: windows around what moves and what is followed, few and large enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

MARGIN = 0.6  # of the longer side, added all around: there may be more, and surroundings help
WHOLE = 1.0  # of the picture: windows that cover more of it are one


def windows(
    boxes: Array, size: tuple[int, int], least: tuple[int, int], most: int
) -> list[tuple[int, int, int, int]]:
    """Windows x0, y0, x1, y1 in whole pixels that hold all boxes with a margin.

    boxes: float32 [N, 4] in pixels; size: height and width of the picture; least: those of a
    window, as the detector's input has them, whose shape all windows take; most: how many windows
    there may be.
    """
    if not len(boxes):
        return []
    sides = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True), 16)
    wide = np.hstack([boxes[:, :2] - MARGIN * sides, boxes[:, 2:] + MARGIN * sides])
    parts = [_shaped(box, size, least) for box in wide.tolist()]
    while len(parts) > 1:
        cost, i, j = min(
            (_cost(a, b, size, least), i, j)
            for i, a in enumerate(parts)
            for j, b in enumerate(parts[:i])
        )
        if cost > 0 and len(parts) <= most:
            break
        joined = _shaped(_around(parts[i], parts[j]), size, least)
        parts = [part for k, part in enumerate(parts) if k not in (i, j)] + [joined]
    if sum(map(_area, parts)) > WHOLE * size[0] * size[1]:
        return [(0, 0, size[1], size[0])]
    return [(int(x0), int(y0), int(x1), int(y1)) for x0, y0, x1, y1 in parts]


Box = Sequence[float]


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _around(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _cost(a: Box, b: Box, size: tuple[int, int], least: tuple[int, int]) -> float:
    """Pixels that one window for both has more than two: what they share counts twice, since it
    may be one thing that was cut.
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return _area(_shaped(_around(a, b), size, least)) - _area(a) - _area(b) - shared


def _shaped(box: Box, size: tuple[int, int], least: tuple[int, int]) -> Box:
    """A box grown to the detector's shape about its middle, moved into the picture, cut at its
    edges.
    """
    scale = max((box[3] - box[1]) / least[0], (box[2] - box[0]) / least[1], 1.0)
    found = [0.0] * 4
    for axis in (0, 1):  # x, y
        span = min(round(least[1 - axis] * scale), size[1 - axis])
        begin = round((box[axis] + box[axis + 2] - span) / 2)
        begin = min(max(begin, 0), size[1 - axis] - span)
        found[axis], found[axis + 2] = begin, begin + span
    return found


def cut(boxes: Array, window: Sequence[int], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """bool [N]: which boxes of a window, in pixels of the picture, touch an edge that is not the
    picture's.
    """
    near = 2.0
    inner = [window[0] > 0, window[1] > 0, window[2] < size[1], window[3] < size[0]]
    edges = np.abs(boxes - np.asarray(window, np.float32)) <= near
    return np.asarray((edges & inner).any(axis=1))
