"""ONNX Runtime, from its wheel: runs the ONNX file itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network

ENVIRONMENT = {
    "kind": "venv",
    "packages": ["onnxruntime==1.31.1"],
    "bits": 64,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "onnxruntime": {
        "what": "ONNX Runtime, CPU provider",
        "on_pi": "the same on a 64-bit system; no wheel for 32 bits",
    },
    "onnxruntime-int8": {
        "what": "ONNX Runtime in int8, on the file that linnet quantized",
        "on_pi": "the same on a 64-bit system; no wheel for 32 bits",
        "int8": "linnet",
    },
}


class Adapter:
    library = "MLAS"

    def __init__(self, onnxruntime: Any, threads: int, options: dict[str, Any]) -> None:
        self.ort, self.settings = onnxruntime, onnxruntime.SessionOptions()
        self.settings.intra_op_num_threads = threads
        self.settings.inter_op_num_threads = 1

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        providers = ["CPUExecutionProvider"]
        session = self.ort.InferenceSession(network.model, self.settings, providers=providers)
        name = session.get_inputs()[0].name
        return lambda x: session.run(None, {name: x})[0]
