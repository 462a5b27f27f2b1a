"""Write the held-out digits as arrays and as pictures, and the model's weights as a .npz.

    python tests/data/make_digits.py WEIGHTS.npz

Runs in the environment of bench/train_digits.py plus pillow. WEIGHTS.npz is for make_caffe.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from PIL import Image
from sklearn.datasets import load_digits

DATA = Path(__file__).resolve().parent
ROOT = DATA.parent.parent
sys.path.insert(0, str(ROOT / "bench"))
from train_digits import HELD_OUT, SIZE, enlarge, grey_levels  # noqa: E402

GROUND = np.array([38.0, 60.0, 48.0])  # blackboard
CHALK = np.array([236.0, 232.0, 214.0])


def blackboard(digit: np.ndarray) -> np.ndarray:
    """A grey digit [h, w] as chalk on a grainy, unevenly lit blackboard: RGB [h, w, 3]."""
    random = np.random.RandomState(5)
    ink = digit[..., None] / 255.0
    light = np.linspace(0.75, 1.0, digit.shape[1])[None, :, None]
    colour = (GROUND + ink * (CHALK - GROUND)) * light + random.normal(0, 4, (*digit.shape, 3))
    return np.clip(np.rint(colour), 0, 255).astype(np.uint8)


def main(weights: Path) -> None:
    digits = load_digits()
    images = grey_levels(digits.images[-HELD_OUT:])
    labels = digits.target[-HELD_OUT:].astype(np.uint8)
    np.savez_compressed(
        ROOT / "src" / "linnet" / "models" / "digits_heldout.npz", images=images, labels=labels
    )

    folder = DATA / "digits"
    folder.mkdir(exist_ok=True)
    firsts = [int(np.flatnonzero(labels == digit)[0]) for digit in range(10)]
    for digit, index in enumerate(firsts):
        large = Image.fromarray(enlarge(images[index : index + 1])[0])
        large.save(folder / f"{digit}.png", optimize=True)
    for digit in (3, 8):
        Image.fromarray(images[firsts[digit]]).save(folder / f"{digit}_8x8.png", optimize=True)
    photo = blackboard(enlarge(images[firsts[5]][None], 132)[0])
    Image.fromarray(photo).save(folder / "5_rgb.png", optimize=True)

    graph = onnx.load(ROOT / "src" / "linnet" / "models" / "digits.onnx").graph
    arrays = {t.name: numpy_helper.to_array(t).astype(np.float32) for t in graph.initializer}
    inputs = enlarge(images[firsts[:8]])
    assert inputs.shape[1:] == (SIZE, SIZE)
    np.savez(weights, inputs=inputs, labels=labels[firsts[:8]], **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
