"""The motion gate: which parts of a picture are worth a detector's time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import _watch

CELLS = 160  # across a picture, about
# Seconds in which a cell follows what it shows: the background, what stands there, what moves.
CALM, STILL, BUSY = 4.0, 8.0, 40.0
SUDDEN = 0.3  # part of the cells that changes at once when light is switched or the camera turned
LEAST = 6  # cells of a thing that moves
GAP = 2  # cells between parts of one thing
MOST = 16  # things
_BLACK = 16.0  # added to luma before the logarithm: noise in the dark stays small

_CURVE = np.log2(np.arange(1021, dtype=np.float32) / 4 + np.float32(_BLACK))


class Motion(NamedTuple):
    """What moves in a picture.

    boxes: float32 [N, 4], x0, y0, x1, y1 in pixels, the largest first.
    sudden: everything changed at once; then there are no boxes.
    """

    boxes: npt.NDArray[np.float32]
    sudden: bool


class Gate:
    """Compares each picture with what the place looks like when nothing moves."""

    def __init__(self) -> None:
        self._background: Any = None
        self._grid = (0, 0, 0)
        self._time = 0.0

    def __call__(self, luma: npt.NDArray[np.uint8], time: float) -> Motion:
        """luma: uint8 [H, W]; time: seconds, not before the last picture's."""
        height, width = luma.shape
        cell = min(max(1, round(width / CELLS)), 128)
        rows, columns = max(height // cell, 1), max(width // cell, 1)
        if self._background is None or (rows, columns, cell) != self._grid:
            cell = min(cell, height, width)
            self._grid = rows, columns, cell
            self._background = _watch.Background(rows, columns)
            self._cells = np.empty((rows, columns), np.float32)
            self._mask = np.empty((rows, columns), np.uint8)
            self._time = time
        _watch.shrink(luma, cell, _CURVE, self._cells)
        passed = max(time - self._time, 0.0)
        self._time = time
        rates = [1 - np.exp(-passed / span) for span in (CALM, STILL, BUSY)]
        part = self._background.update(self._cells, self._mask, *rates)
        if part > SUDDEN:
            self._background.reset()
            return Motion(np.empty((0, 4), np.float32), True)
        found = _watch.components(self._mask, GAP, LEAST, MOST)
        return Motion((found[:, :4] * cell).astype(np.float32), False)

    @property
    def mask(self) -> npt.NDArray[np.uint8]:
        """uint8 [rows, columns] of the last picture's cells: 1 where something moved."""
        return self._mask
