"""ONNX Runtime, from its wheel: runs the ONNX file itself."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network

ENVIRONMENT = {"kind": "venv", "packages": ["onnxruntime==1.31.1"]}
CONFIGURATIONS: dict[str, dict[str, Any]] = {"onnxruntime": {}}
ort: Any  # set by start
settings: Any


def start(threads: int, options: dict[str, Any]) -> tuple[str, str]:
    global ort, settings
    ort = importlib.import_module("onnxruntime")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    return ort.__version__, "MLAS"


def load(network: Network, batch: int) -> Callable[[Any], Any]:
    session = ort.InferenceSession(network.model, settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]
