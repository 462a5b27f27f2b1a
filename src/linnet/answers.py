"""What is told of each image that a model ran on: best classes, numbers, or how they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .session import Session

Array = npt.NDArray[Any]


class Answers:
    """Tells of every image, as data that JSON holds.

    fetch: names of values to compute instead of the outputs. top: how many classes, the best
    first, where a value is a list of classes, C or Cx1x1 for each image. values: tell the numbers
    themselves. Else the shape, least, largest and mean number are told. labels: what the classes
    are called, by default as the model's file says.
    """

    def __init__(
        self,
        net: Session,
        *,
        fetch: Sequence[str] = (),
        top: int = 5,
        values: bool = False,
        labels: Sequence[str] | None = None,
    ) -> None:
        outputs = [value.name for value in net.outputs]
        self.names = list(fetch) or outputs
        self._top, self._values = top, values
        self._given = labels
        self._known = net.labels
        self._whole = len(outputs) == 1 and self.names == outputs  # whose classes have labels

    def of(self, arrays: Sequence[Array]) -> list[dict[str, Any]]:
        """For each image {value's name: {"top": [...]}, or {"values": ...}, or {"shape": ...,
        "min": ..., "max": ..., "mean": ...}}.

        arrays: for each of `names`, [n, ...]. ValueError if there are not as many labels as
        classes.
        """
        told = [self._told(array) for array in arrays]
        return [dict(zip(self.names, image)) for image in zip(*told)]

    def _told(self, array: Array) -> Sequence[dict[str, Any]]:
        if self._values:
            return [{"values": _plain(image)} for image in array]
        if is_classes(array):
            return [{"top": found} for found in self.best(array, self._top)]
        return [
            {
                "shape": list(image.shape),
                "min": _plain(image.min()) if image.size else None,
                "max": _plain(image.max()) if image.size else None,
                "mean": float(image.mean(dtype=np.float64)) if image.size else None,
            }
            for image in array
        ]

    def best(self, array: Array, top: int) -> list[list[dict[str, Any]]]:
        """Of each image the best classes: their index, label and value. array: [n, C, ...]."""
        scores = array.reshape(len(array), -1)
        labels = self._labels(scores.shape[1])
        order = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, :top]
        return [
            [
                {
                    "index": int(i),
                    "label": labels[i] if i < len(labels) else None,
                    "value": _plain(row[i]),
                }
                for i in best
            ]
            for row, best in zip(scores, order)
        ]

    def _labels(self, classes: int) -> Sequence[str]:
        """Those given, one for each class; or those the model has, of its single output be it for
        some classes only.
        """
        if self._given is None:
            return self._known if self._whole or len(self._known) == classes else []
        if len(self._given) != classes:
            raise ValueError(f"{len(self._given)} labels for {classes} classes")
        return self._given


def is_classes(array: Array) -> bool:
    """Whether each image of [n, ...] has a list of classes."""
    return array.ndim > 1 and array.size == len(array) * array.shape[1] and array.shape[1] > 1


def _plain(numbers: Any) -> Any:
    """A number, or lists of them, as Python's, of a real the shortest that stands for it alone."""
    array = np.asarray(numbers)
    if array.dtype.kind == "f":
        array = np.array([float(str(n)) for n in array.ravel()]).reshape(array.shape)
    return array.tolist()
