"""OpenCV's dnn module, from the headless wheel: reads the ONNX file itself."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network

ENVIRONMENT = {
    "kind": "venv",
    "packages": ["opencv-python-headless==5.0.0.93"],
    "import": "cv2",
    "bits": 64,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "opencv": {
        "what": "OpenCV's dnn module",
        "on_pi": "the same on a 64-bit system; 32 bits must build it",
    },
}


class Adapter:
    def __init__(self, threads: int, options: dict[str, Any]) -> None:
        self.cv2 = importlib.import_module("cv2")
        self.cv2.setNumThreads(threads)
        self.version, self.library = self.cv2.__version__, "own kernels"

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        net = self.cv2.dnn.readNetFromONNX(network.model)

        def call(x: Any) -> Any:
            net.setInput(x)
            return net.forward()

        return call
