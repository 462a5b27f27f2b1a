"""linnet itself, in the interpreter that runs the comparison."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network

ENVIRONMENT = {"kind": "here"}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "linnet": {},
    "linnet-direct": {"algorithm": "direct"},
    "linnet-openblas": {"algorithm": "im2col-openblas"},
    "linnet-fourier": {"algorithm": "fourier"},
    "linnet-nnpack": {"algorithm": "nnpack"},
    "linnet-scalar": {"isa": "scalar"},
}


class Adapter:
    def __init__(self, threads: int, options: dict[str, Any]) -> None:
        self.linnet = importlib.import_module("linnet")
        self.settings = {"threads": threads, **options}
        config, algorithm = self.linnet.show_config(), options.get("algorithm", "")
        self.version = self.linnet.__version__
        self.library = f"own kernels, {options.get('isa', config['isa'])}"
        # Without its library linnet would choose freely, and the row would be another.
        if algorithm == "im2col-openblas":
            if isinstance(config["openblas"], str):
                raise RuntimeError(f"no OpenBLAS ({config['openblas']})")
            self.library = "OpenBLAS"
        if algorithm == "nnpack":
            where = config["nnpack"]
            if where.startswith("none: "):
                raise RuntimeError(f"no NNPACK ({where[6:]}); LINNET_NNPACK names one")
            self.library = f"NNPACK of {Path(where).name}"

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        net: Callable[[Any], Any] = self.linnet.load(network.model, **self.settings)
        return net
