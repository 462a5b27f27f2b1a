"""OpenVINO, from its wheel: runs the ONNX file itself, with float32 instead of its bfloat16."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network

ENVIRONMENT = {
    "kind": "venv",
    "packages": ["openvino==2026.4.1"],
    "bits": 64,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "openvino": {
        "what": "OpenVINO, CPU plugin in float32",
        "on_pi": "the same on a 64-bit system; its 32-bit wheel is not on PyPI",
    },
    "openvino-int8": {
        "what": "OpenVINO in int8, on the file that linnet quantized",
        "on_pi": "the same on a 64-bit system; its 32-bit wheel is not on PyPI",
        "int8": "linnet",
    },
}


class Adapter:
    library = "oneDNN"

    def __init__(self, openvino: Any, threads: int, options: dict[str, Any]) -> None:
        self.openvino, self.version = openvino, openvino.__version__.split("-")[0]
        self.settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
        }

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        core = self.openvino.Core()
        model = core.read_model(network.model)
        model.reshape([batch, *network.shapes[network.input]])
        request = core.compile_model(model, "CPU", self.settings).create_infer_request()

        def call(x: Any) -> Any:
            request.infer([x], share_inputs=True, share_outputs=True)
            return request.get_output_tensor(0).data

        return call
