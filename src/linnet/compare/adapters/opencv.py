"""OpenCV's dnn module, from the headless wheel: reads the ONNX file itself."""

from __future__ import annotations

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
    library = "own kernels"

    def __init__(self, cv2: Any, threads: int, options: dict[str, Any]) -> None:
        self.cv2 = cv2
        cv2.setNumThreads(threads)

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        net = self.cv2.dnn.readNetFromONNX(network.model)

        def call(x: Any) -> Any:
            net.setInput(x)
            return net.forward()

        return call
