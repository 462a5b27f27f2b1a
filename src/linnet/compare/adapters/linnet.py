"""linnet itself, in the interpreter that runs the comparison."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network

ENVIRONMENT = {"kind": "here"}
CONFIGURATIONS: dict[str, dict[str, Any]] = {"linnet": {}}
linnet: Any  # set by start
settings: dict[str, Any]


def start(threads: int, options: dict[str, Any]) -> tuple[str, str]:
    global linnet, settings
    linnet = importlib.import_module("linnet")
    settings = {"threads": threads, **options}
    return linnet.__version__, "own kernels"


def load(network: Network, batch: int) -> Callable[[Any], Any]:
    net: Callable[[Any], Any] = linnet.load(network.model, **settings)
    return net
