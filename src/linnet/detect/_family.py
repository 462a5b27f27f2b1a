"""What decoders share: what they are given and give, and the cells that outputs belong to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Found(NamedTuple):
    """Boxes of one image that may still overlap: corners [n, 4] in pixels of the network's input,
    scores [n], classes [n].
    """

    boxes: Array
    scores: Array
    classes: Array


Decode = Callable[[Sequence[Array], float], Found]  # outputs of one image, least score


class Outputs(NamedTuple):
    """What a network computes of one image, by which its family is recognised."""

    arrays: list[Array]  # without the axis of the batch
    size: tuple[int, int]  # height and width of the input
    batched: bool  # the network has a batch; ncnn's have none


class Reader(NamedTuple):
    """How the outputs of one network are read.

    classes: how many there are, 0 if the outputs do not say. labels: their names, if the family has
    some. preprocess: as of Family, where some of its networks differ.
    """

    decode: Decode
    classes: int
    labels: Sequence[str] = ()
    preprocess: Mapping[str, Any] | None = None


Recognise = Callable[[Outputs, Mapping[str, Any]], Optional[Reader]]


@dataclass(frozen=True)
class Family:
    """A kind of detector.

    recognise: its reader for such outputs and the settings of a sidecar file, None if they are not
        this family's.
    threshold, overlap: least score, and the overlap from which on one of two boxes goes.
    suppress: which boxes suppress each other: those of a "class", "all"; "average" all into one;
        "none", where the network has done so itself.
    preprocess: fields of linnet.Preprocess, where neither the model's file nor anybody says.
    """

    name: str
    recognise: Recognise
    threshold: float
    overlap: float = 0.45
    suppress: str = "class"
    preprocess: Mapping[str, Any] = field(default_factory=dict)


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -80, 80))))


def softmax(x: Array) -> Array:
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def corners(x: Array, y: Array, wide: Array, high: Array) -> Array:
    """Boxes [n, 4] of their middles and sizes."""
    return np.stack([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2], axis=-1)


def finite_exp(x: Array) -> Array:
    """Of the logarithm of a size; numbers that no box has stay finite."""
    return np.asarray(np.exp(np.clip(x, -30, 30)))


def best_of(scores: Array) -> tuple[Array, Array]:
    """The largest of each row of scores [n, classes], and which it is."""
    classes = scores.argmax(axis=1) if scores.size else np.zeros(len(scores), np.int64)
    return np.take_along_axis(scores, classes[:, None], 1)[:, 0], classes


def cells_of(size: tuple[int, int], strides: Sequence[int], each: int = 1) -> Array:
    """Column, row and stride [n, 3] of every cell, row by row, from the first stride to the last;
    `each` times in a row.
    """
    parts = []
    for stride in strides:
        high, wide = (math.ceil(n / stride) for n in size)
        y, x = np.mgrid[:high, :wide].reshape(2, -1)
        parts.append(np.stack([x, y, np.full(len(x), stride)], axis=1).repeat(each, axis=0))
    return np.concatenate(parts).astype(np.float32)


def count_of(size: tuple[int, int], strides: Sequence[int], each: int = 1) -> int:
    return each * sum(math.ceil(size[0] / s) * math.ceil(size[1] / s) for s in strides)


def stride_of(size: tuple[int, int], high: int, wide: int) -> int:
    """Of a map of so many cells; 0 if its sides have different strides."""
    for stride in (4, 8, 16, 32, 64, 128):
        if (math.ceil(size[0] / stride), math.ceil(size[1] / stride)) == (high, wide):
            return stride
    return 0


def as_rows(grid: Array, each: int) -> Array:
    """A map [each x n, H, W] as rows [H x W x each, n], in the order of cells_of."""
    channels, high, wide = grid.shape
    parts = grid.reshape(each, channels // each, high * wide)
    return parts.transpose(2, 0, 1).reshape(high * wide * each, channels // each)
