"""The model that comes with linnet, "digits", and images that it was not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

MODEL = Path(__file__).parent / "models" / "digits.onnx"
HELD_OUT = MODEL.with_name("digits_heldout.npz")


class Labelled(NamedTuple):
    """Images [n, ...] float32 as the network takes them, and where its largest output should be."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def held_out(size: int) -> Labelled:
    """The handwritten digits that the model was not trained on, as [360, 1, size, size]."""
    with np.load(HELD_OUT) as file:
        return Labelled(enlarged(file["images"], size), file["labels"].astype(np.int64))


def enlarged(images: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.float32]:
    """Grey levels [n, s, s] as inputs [n, 1, size, size], enlarged as they were for training:
    bilinear, border pixels repeated, rounded to grey levels (bench/train_digits.py).
    """
    source = images.shape[-1]
    centre = ((np.arange(size) + 0.5) * source / size - 0.5).clip(0, source - 1)
    weights = np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(source)))
    rounded = np.floor(weights @ images @ weights.T + 0.5)
    return np.asarray((rounded[:, None] / 255).astype(np.float32))
