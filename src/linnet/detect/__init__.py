"""Objects in pictures: boxes, scores and classes, out of what a detector's network computes.

>>> detector = linnet.detect.Detector("model.onnx", classes=["person", "cat"], threads=2)
>>> for found in detector([frame, crop]):  # uint8 RGB [H, W, 3] of any sizes, one batch
...     for (x0, y0, x1, y1), score, number in zip(*found):
...         print(detector.labels[number], score, x0, y0, x1, y1)
"""

from __future__ import annotations

from pathlib import Path

from .detector import Detections, Detector

# The detector that comes with linnet: people, cats and cars, trained on drawings.
YARD = Path(__file__).parents[1] / "models" / "yard.onnx"

__all__ = ["YARD", "Detections", "Detector"]
