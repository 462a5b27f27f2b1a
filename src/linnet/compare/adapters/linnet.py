"""linnet itself, in the interpreter that runs the comparison."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network

ENVIRONMENT = {"kind": "here"}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "linnet": {},
    "linnet-direct": {"algorithm": "direct"},
    "linnet-openblas": {"algorithm": "im2col-openblas"},
    "linnet-scalar": {"isa": "scalar"},
}


class Adapter:
    def __init__(self, threads: int, options: dict[str, Any]) -> None:
        self.linnet = importlib.import_module("linnet")
        self.settings = {"threads": threads, **options}
        isa = options.get("isa", self.linnet.show_config()["isa"])
        blas = "openblas" in options.get("algorithm", "")
        self.version = self.linnet.__version__
        self.library = "OpenBLAS" if blas else f"own kernels, {isa}"

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        net: Callable[[Any], Any] = self.linnet.load(network.model, **self.settings)
        return net
