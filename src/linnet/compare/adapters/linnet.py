"""linnet itself, in the interpreter that runs the comparison."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network

ENVIRONMENT = {"kind": "here"}
ON_PI = "the same on NEON"
ON_BLAS: dict[str, Any] = {
    "what": "linnet, im2col",
    "on_pi": ON_PI,
    "algorithm": "im2col-openblas",
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "linnet": {
        "what": "linnet, the fastest algorithm for each layer",
        "on_pi": ON_PI,
        "kernels": "its kernels",
    },
    "linnet-int8": {
        "what": "linnet, every layer in int8 that can be",
        "on_pi": ON_PI,
        "int8": "linnet",
    },
    "linnet-shrunk": {
        "what": "linnet, the smaller network that it makes of the digits network",
        "on_pi": ON_PI,
        "smaller": True,
    },
    "linnet-direct": {
        "what": "linnet, direct convolution only",
        "on_pi": ON_PI,
        "algorithm": "direct",
    },
    "linnet-winograd": {
        "what": "linnet, winograd wherever it can",
        "on_pi": ON_PI,
        "algorithm": "winograd",
    },
    "linnet-fourier": {
        "what": "linnet, fourier wherever it can",
        "on_pi": ON_PI,
        "algorithm": "fourier",
    },
    "linnet-scalar": {
        "what": "linnet-direct without SIMD",
        "on_pi": ON_PI,
        "algorithm": "direct",
        "isa": "scalar",
    },
    "linnet-openblas": {
        **ON_BLAS,
        "what": "linnet, im2col and OpenBLAS as it is",
        "blas": "openblas",
    },
    "linnet-openblas-dl": {
        **ON_BLAS,
        "what": "linnet, im2col and the equivalent of optimized_for_deeplearning",
        "blas": "openblas-dl",
    },
    "linnet-nnpack": {
        "what": "linnet, convolutions by the NNPACK in PyTorch, or the one LINNET_NNPACK names",
        "on_pi": "32 bits: LINNET_NNPACK must name one",
        "algorithm": "nnpack",
        "kernels": "NNPACK",
        "borrows": ("torch", "venv/lib/python*/site-packages/torch/lib/libtorch_cpu.so"),
        "unless": "LINNET_NNPACK",
    },
}


class Adapter:
    def __init__(self, linnet: Any, threads: int, options: dict[str, Any]) -> None:
        self.linnet = linnet
        borrowed, algorithm = options.pop("borrowed", None), options.get("algorithm", "")
        # float32 throughout, however the file stores its weights.
        self.settings = {"threads": threads, "weights_dtype": "f32", **options}
        core = importlib.import_module("linnet._core")
        self.library = f"own kernels, {options.get('isa', core.default_isa())}"
        if algorithm == "im2col-openblas":
            self.settings["blas"], self.library = borrowed, Path(borrowed).name
        if algorithm == "nnpack":
            # Without its library linnet would choose freely, and the row would be another.
            found, where = core.find_nnpack(borrowed or "")
            if not found:
                raise RuntimeError(f"no NNPACK ({where})")
            self.settings["nnpack"] = where
            self.library = f"NNPACK of {Path(where).name}"

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        net: Callable[[Any], Any] = self.linnet.load(network.model, **self.settings)
        return net
