"""ExecuTorch, from its wheel: PyTorch's network exported, and lowered to XNNPACK where that can be.

How many threads it has is set once for the process; XNNPACK has no batch of its own, so that a
network is exported for every size.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network

ENVIRONMENT = {
    "kind": "venv",
    # What it asks for and has no wheel of is plain Python.
    "packages": [
        "--no-binary=antlr4-python3-runtime",
        "executorch==1.5.1",
        "torch==2.13.0",
        "numpy==2.4.6",
    ],
    "import": "torch",  # before ExecuTorch, which crashes otherwise
    "bits": 64,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "executorch": {
        "what": "ExecuTorch with XNNPACK",
        "on_pi": "the same on a 64-bit system; no wheel for 32 bits",
    },
}


class Adapter:
    library = "XNNPACK"

    def __init__(self, torch: Any, threads: int, options: dict[str, Any]) -> None:
        self.runtime = importlib.import_module("executorch.extension.pybindings.portable_lib")
        self.runtime._unsafe_reset_threadpool(threads)
        self.version = importlib.metadata.version("executorch")
        # PyTorch's own file: the network is a module of PyTorch's first.
        beside = os.path.join(os.path.dirname(__file__), "torch.py")
        spec = importlib.util.spec_from_file_location("linnet_compare_torch", beside)
        assert spec is not None and spec.loader is not None
        self.torch = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.torch)

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        torch: Any = importlib.import_module("torch")
        exir: Any = importlib.import_module("executorch.exir")
        xnnpack: Any = importlib.import_module(
            "executorch.backends.xnnpack.partition.xnnpack_partitioner"
        )
        example = torch.zeros((batch, *network.shapes[network.input]))
        exported = torch.export.export(self.torch.module(torch, network), (example,))
        lowered = exir.to_edge_transform_and_lower(
            exported, partitioner=[xnnpack.XnnpackPartitioner()]
        )
        net = self.runtime._load_for_executorch_from_buffer(lowered.to_executorch().buffer)
        return lambda x: net.forward([torch.from_numpy(x)])[0].numpy()
