"""OpenCV 4's dnn module, whose engine is another than OpenCV 5's."""

from __future__ import annotations

from typing import Any

ADAPTER = "opencv"
ENVIRONMENT = {
    "kind": "venv",
    "packages": ["opencv-python-headless==4.14.0.94"],
    "import": "cv2",
    "bits": 64,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "opencv4": {
        "what": "OpenCV 4's dnn module",
        "on_pi": "the same on a 64-bit system; Debian's python3-opencv on 32 bits",
    },
}
