"""The runtimes there are, one for each file in adapters, and the environments they need."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

Say = Callable[[str], None]  # told what goes on
ADAPTERS = Path(__file__).parent / "adapters"
ROLES = ["what", "on_pi", "int8", "smaller", "impossible"]  # of a row
RESERVED = [*ROLES, "env", "blas", "borrows", "unless", "kernels"]


@dataclass(frozen=True)
class Runtime:
    """One adapter file: its name, where it is and the environment it asks for.

    environment["kind"] is "here" (this interpreter), "venv" ("packages" for pip) or "debian"
    ("packages" of "suite", run by its "python"); "import" names the module if it is not the file's,
    "" if there is none, as in environments of libraries; "bits": 64 and "machine" say that there is
    nothing to install on a 32-bit system, or on another machine. A configuration is a set of
    options for the adapter, except for these keys:

    what, on_pi: one line each: what the row is, and what it is on a Raspberry Pi.
    int8: if it runs the network in int8: "linnet" on the ONNX file that linnet made
        (network.in_int8), "own" if the adapter quantizes, by the worker.Network's calibration.
    smaller: if it runs a smaller network, that which linnet made (network.shrunk).
    env: environment variables of its process.
    blas: the back-end (backends.py) it computes with. The adapter gets the library's file as
        options["borrowed"]; in a process of another kind than "here" it is loaded first, so that
        the functions it exports replace all others of their names.
    borrows: (name of another runtime, pattern of a file in its folder), a library to take so.
    unless: an environment variable in whose presence nothing is borrowed.
    kernels: what it computes with in a matrix beside the back-ends, if it is to be there.
    impossible: why there is no such thing.

    on_blas: what its configurations on any back-end have in common; empty if there are none.
    """

    name: str
    adapter: Path
    environment: Mapping[str, Any]
    configurations: Mapping[str, Mapping[str, Any]]
    on_blas: Mapping[str, Any] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """What its process imports."""
        return str(self.environment.get("import", self.name))

    @property
    def folder(self) -> Path:
        if "folder" in self.environment:
            return Path(self.environment["folder"])
        return cache_folder() / "compare" / self.name


def cache_folder() -> Path:
    """$LINNET_CACHE, else linnet under $XDG_CACHE_HOME, else ~/.cache/linnet."""
    if os.environ.get("LINNET_CACHE"):
        return Path(os.environ["LINNET_CACHE"]).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "linnet"


@cache
def runtimes() -> dict[str, Runtime]:
    """Every runtime that has an adapter file, by name; linnet first, then alphabetical."""
    found = {}
    for path in sorted(ADAPTERS.glob("*.py"), key=lambda p: (p.stem != "linnet", p.stem)):
        module = load_adapter(path)
        computes = ADAPTERS / f"{getattr(module, 'ADAPTER', path.stem)}.py"
        on_blas = getattr(module, "ON_BLAS", {})
        found[path.stem] = Runtime(
            path.stem, computes, module.ENVIRONMENT, module.CONFIGURATIONS, on_blas
        )
    return found


def load_adapter(path: Path) -> ModuleType:
    # By path, as the worker does: an adapter named like its runtime must never shadow it.
    spec = importlib.util.spec_from_file_location(f"linnet_compare_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
