"""A detector: a network, how pictures become its input, and how its outputs become boxes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

import linnet

Array = npt.NDArray[Any]


class Detections(NamedTuple):
    """What was found in one picture, the best first. A box may reach over the picture's edge by
    nothing: boxes are cut at it.
    """

    boxes: npt.NDArray[np.float32]  # [N, 4]: x0, y0, x1, y1 in pixels of the picture
    scores: npt.NDArray[np.float32]  # [N], 0 to 1
    classes: npt.NDArray[np.int32]  # [N], places in Detector.labels


class Detector:
    """Finds objects in pictures.

    model: a path of a model, (model, weights), or a loaded `linnet.Session`.
    labels: names of the classes, or a text file with one a line; by default the model's.
    classes: only these, names or numbers; by default all.
    threshold: least score; by default the family's usual one.
    threads: as of `linnet.load`.

    ValueError if the model is no detector of a known family, or labels or classes do not fit it.
    """

    labels: list[str]  # of every class that `classes` of Detections can hold
    size: tuple[int, int]  # height and width of the network's input
    session: linnet.Session

    def __init__(
        self,
        model: Union[str, os.PathLike[str], tuple[Any, Any], linnet.Session],
        labels: Union[Sequence[str], str, os.PathLike[str], None] = None,
        classes: Union[Sequence[Union[str, int]], None] = None,
        threshold: float | None = None,
        threads: int | None = None,
    ) -> None:
        raise NotImplementedError

    def __call__(self, images: Sequence[Array]) -> list[Detections]:
        """What is in each picture, uint8 RGB [H, W, 3] of any size; all go in one batch."""
        raise NotImplementedError
