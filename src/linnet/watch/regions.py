"""Where a detector looks: windows around what moves and what is followed, few and large enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .. import _watch

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
    parts = _watch.join(wide, size, least, most)
    if sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in parts) > WHOLE * size[0] * size[1]:
        return [(0, 0, size[1], size[0])]
    return parts


def cut(boxes: Array, window: Sequence[int], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """bool [N]: which boxes of a window, in pixels of the picture, touch an edge that is not the
    picture's.
    """
    near = 2.0
    inner = [window[0] > 0, window[1] > 0, window[2] < size[1], window[3] < size[0]]
    edges = np.abs(boxes - np.asarray(window, np.float32)) <= near
    return np.asarray((edges & inner).any(axis=1))
