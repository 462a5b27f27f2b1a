"""Renders the pictures here and what is in them, truth.json; needs OpenCV.

python tests/data/yard/make.py
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[2] / "bench"))

from yard_scenes import CLASSES, scene  # noqa: E402

# Seeds beyond those of any training.
SCENES = {
    "walker.jpg": 900000063,
    "car.jpg": 900000035,
    "cat.jpg": 900000233,
    "street.jpg": 900000084,
}

truth = {}
for name, seed in SCENES.items():
    made = scene(np.random.default_rng(seed), 192)
    cv2.imwrite(str(FOLDER / name), made.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    things = zip(made.classes, made.boxes)
    truth[name] = [[CLASSES[kind], box.tolist()] for kind, box in things]
(FOLDER / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
