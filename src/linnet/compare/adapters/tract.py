"""tract, from its wheel: reads the ONNX file itself. It computes on one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network

ENVIRONMENT = {
    "kind": "venv",
    "packages": ["tract==0.23.9", "numpy==2.4.6"],
    "bits": 64,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "tract": {
        "what": "tract, on one thread",
        "on_pi": "the same on a 64-bit system; no wheel for 32 bits",
    },
}


class Adapter:
    library = "own kernels"

    def __init__(self, tract: Any, threads: int, options: dict[str, Any]) -> None:
        self.tract, self.version = tract, tract.version()

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        model = self.tract.onnx().load(network.model)
        shape = [batch, *network.shapes[network.input]]
        model.set_input_fact(0, ",".join([*map(str, shape), "f32"]))
        net = model.into_model().into_runnable()
        return lambda x: net.run([x])[0].to_numpy()
