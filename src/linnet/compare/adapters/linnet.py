"""linnet itself, in the interpreter that runs the comparison."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network

ENVIRONMENT = {"kind": "here"}
KNOWN: dict[str, dict[str, Any]] = {
    "linnet": {"what": "linnet, the fastest algorithm for each layer"},
    "linnet-direct": {"what": "linnet, direct convolution only", "algorithm": "direct"},
    "linnet-scalar": {
        "what": "linnet-direct without SIMD",
        "algorithm": "direct",
        "isa": "scalar",
    },
    "linnet-openblas": {
        "what": "linnet, im2col and OpenBLAS as it is",
        "algorithm": "im2col-openblas",
        "borrows": ("openblas", "liblinnet-openblas-master.so"),
    },
    "linnet-openblas-dl": {
        "what": "linnet, im2col and the equivalent of optimized_for_deeplearning",
        "algorithm": "im2col-openblas",
        "borrows": ("openblas", "liblinnet-openblas-dl.so"),
    },
    "linnet-nnpack": {
        "what": "linnet, convolutions by the NNPACK in PyTorch, or the one LINNET_NNPACK names",
        "on_pi": "32 bits: LINNET_NNPACK must name one",
        "algorithm": "nnpack",
        "borrows": ("torch", "venv/lib/python*/site-packages/torch/lib/libtorch_cpu.so"),
        "unless": "LINNET_NNPACK",
    },
}
# What runs no convolution, or only depthwise ones, and the oracle of the tests, slow by design.
NO_ROW = {"depthwise", "direct-ref", "elementwise", "normalize", "pool", "reorder"}


def __getattr__(name: str) -> Any:
    """CONFIGURATIONS: the known ones, then one for each further family of linnet's algorithms.

    A worker imports linnet later, with a clock beside it.
    """
    if name != "CONFIGURATIONS":
        raise AttributeError(name)
    rows = {row: {"on_pi": "the same on NEON", **settings} for row, settings in KNOWN.items()}
    known = NO_ROW | {settings.get("algorithm") for settings in KNOWN.values()}
    for algorithm in importlib.import_module("linnet._core").algorithms():
        family = algorithm.split("-")[0]
        if not {algorithm, family} & known:
            what = f"linnet, {family} wherever it can"
            rows[f"linnet-{family}"] = {
                "what": what,
                "on_pi": "the same on NEON",
                "algorithm": family,
            }
    return rows


class Adapter:
    def __init__(self, linnet: Any, threads: int, options: dict[str, Any]) -> None:
        self.linnet = linnet
        borrowed, algorithm = options.pop("borrowed", None), options.get("algorithm", "")
        # float32 throughout, however the file stores its weights.
        self.settings = {"threads": threads, "weights_dtype": "f32", **options}
        core = importlib.import_module("linnet._core")
        self.library = f"own kernels, {options.get('isa', core.default_isa())}"
        if algorithm == "im2col-openblas":
            self.settings["blas"], self.library = borrowed, "OpenBLAS"
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
