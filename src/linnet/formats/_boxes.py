"""Tables of boxes, and orders of numbers, that several formats have in common."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..graph import LONGEST_AXIS, Array, Shape
from ._translator import Unsupported


class Regrouping(NamedTuple):
    """An image as an array of more axes, these in another order, and what it is then; without the
    batch but for `order`.
    """

    split: list[int]
    order: list[int]
    target: list[int]


def regrouping(shape: Shape, stride: int, back: bool) -> Regrouping:
    """Darknet's reorg: the pixels of each square of `stride` a side become channels; `back` undoes
    it.

    Its loops take the numbers of an image of C channels for one of C / stride^2 channels, `stride`
    times as high and wide, and what they make of it again for C channels. Unsupported if `stride`
    does not fit.
    """
    _, channels, high, wide = shape
    fits = 0 < stride < LONGEST_AXIS and channels % (stride * stride) == 0 and channels > 0
    if not fits or (not back and (high % stride or wide % stride)):
        raise Unsupported(f"stride {stride} does not divide {list(shape)}")
    inner = channels // (stride * stride)
    if back:
        split, order = [stride, stride, inner, high, wide], [0, 3, 4, 1, 5, 2]
        return Regrouping(split, order, [inner, high * stride, wide * stride])
    # Channel = (row in the square, column in it, channel of the wide image).
    split, order = [inner, high, stride, wide, stride], [0, 3, 5, 1, 2, 4]
    return Regrouping(split, order, [channels * stride * stride, high // stride, wide // stride])


def cells(sizes: Array, high: int, wide: int) -> Array:
    """Priors [boxes x cells, 8], as Detections has them, of boxes of these sizes [boxes, 2] in each
    cell, as parts of the image.
    """
    rows, columns = np.divmod(np.arange(high * wide), wide)
    table = np.ones((len(sizes), high * wide, 8))
    table[:, :, 0], table[:, :, 1] = columns / wide, rows / high
    table[:, :, 2:4] = sizes[:, None]
    table[:, :, 4], table[:, :, 5] = 1 / wide, 1 / high
    return table.reshape(-1, 8)


def around(
    size: tuple[int, int],
    sides: Array,
    *,
    steps: tuple[float, float],
    offsets: tuple[float, float],
    image: tuple[float, float] = (1, 1),
    shifts: Array | float = 0,
) -> Array:
    """Corners [high, wide, boxes, 4] of boxes of these sides [boxes, (height, width)] around every
    pixel of an image of `size`, whose centres are `steps` apart, the first one `offsets` of that
    from the image's corner, `shifts` [boxes, 2] away from it; as parts of `image`. All pairs are
    of height and width.
    """
    centre_y, centre_x = ((np.arange(n) + o) * s for n, o, s in zip(size, offsets, steps))
    centres = np.stack(np.broadcast_arrays(centre_x, centre_y[:, None]), -1)[:, :, None]
    halves, shifts = np.asarray(sides)[:, ::-1] / 2, np.atleast_2d(shifts)[:, ::-1]
    centres = centres + shifts
    boxes = np.concatenate([centres - halves, centres + halves], -1)
    return np.asarray(boxes / np.tile(image[::-1], 2))
