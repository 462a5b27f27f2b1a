"""Write what OpenCV makes of pictures in other sizes: opencv.npz.

    OPENCV_PYTHON tests/data/image/make.py

OPENCV_PYTHON is a Python with opencv-python-headless 4, `pip install 'opencv-python-headless<5'`.
"""

import json
from pathlib import Path

import cv2
import numpy as np

RANDOM = np.random.RandomState(2)
PICTURES = {
    "colour": (37, 53, 3),
    "grey": (24, 17),
    "wide": (9, 80, 3),
    "dot": (1, 1, 3),
}
SIZES = [(20, 30), (53, 37), (37, 53), (12, 60), (16, 16), (1, 2)]
FITS = ["stretch", "crop", "letterbox"]
PAD = 114


def stretched(picture, size):
    return cv2.resize(picture, size[::-1])


def cropped(picture, size):
    blob = cv2.dnn.blobFromImage(picture, size=size[::-1], crop=True, ddepth=cv2.CV_8U)
    return blob[0].transpose(1, 2, 0)


def letterboxed(picture, size):
    """As YOLO's programs do since version 5."""
    height, width = picture.shape[:2]
    factor = min(size[0] / height, size[1] / width)
    inner = max(round(height * factor), 1), max(round(width * factor), 1)
    down, right = ((size[axis] - inner[axis]) / 2 for axis in (0, 1))
    top, bottom, left, right_ = (
        round(n) for n in (down - 0.1, down + 0.1, right - 0.1, right + 0.1)
    )
    picture = picture if picture.shape[:2] == inner else cv2.resize(picture, inner[::-1])
    border = cv2.BORDER_CONSTANT
    return cv2.copyMakeBorder(picture, top, bottom, left, right_, border, value=[PAD] * 3)


def main():
    arrays, notes = {}, {"opencv": cv2.__version__, "pad": PAD, "cases": []}
    functions = dict(zip(FITS, (stretched, cropped, letterboxed)))
    for name, shape in PICTURES.items():
        # Half noise, half something smooth, so that places matter as well as rounding.
        rows, columns = np.indices(shape[:2])
        smooth = 64 * (2 + np.sin(rows / 5) + np.cos(columns / 7))
        smooth = smooth if len(shape) == 2 else np.stack([smooth, 255 - smooth, smooth], 2)
        picture = (smooth + RANDOM.randint(-60, 60, shape)).clip(0, 255).astype(np.uint8)
        arrays[name] = picture
        for size in SIZES:
            for fit, function in functions.items():
                arrays[f"case{len(notes['cases'])}"] = function(picture, size)
                notes["cases"].append([name, fit, size])
    arrays["notes"] = np.frombuffer(json.dumps(notes).encode(), np.uint8)
    np.savez_compressed(Path(__file__).parent / "opencv.npz", **arrays)


if __name__ == "__main__":
    main()
