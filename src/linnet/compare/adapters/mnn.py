"""MNN, from its wheel: the ONNX file through MNN's own converter, in float32 (precision "high")."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network

ENVIRONMENT = {
    "kind": "venv",
    "packages": ["MNN==3.6.1", "numpy"],
    "import": "MNN",
    "bits": 64,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "mnn": {
        "what": "MNN, precision high (float32)",
        "on_pi": "the same on a 64-bit system; no wheel for 32 bits",
    },
}


class Adapter:
    library = "own kernels"

    def __init__(self, mnn: Any, threads: int, options: dict[str, Any]) -> None:
        self.mnn, self.expr = mnn, importlib.import_module("MNN.expr")
        self.version = importlib.metadata.version("MNN")
        settings = {"backend": "CPU", "numThread": threads, "precision": "high"}
        self.manager = self.mnn.nn.create_runtime_manager((settings,))

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        target = os.path.splitext(network.model)[0] + ".mnn"
        if not os.path.exists(target):  # it takes any batch: once is enough
            convert = os.path.join(os.path.dirname(sys.executable), "mnnconvert")
            files = ["--modelFile", network.model, "--MNNModel", target, "--bizCode", "linnet"]
            subprocess.run([convert, "-f", "ONNX", *files], check=True, stdout=sys.stderr)
        net = self.mnn.nn.load_module_from_file(
            target, [network.input], [network.output], runtime_manager=self.manager
        )
        const, layout = self.expr.const, self.expr.NCHW
        return lambda x: net.forward(const(x, list(x.shape), layout)).read()
