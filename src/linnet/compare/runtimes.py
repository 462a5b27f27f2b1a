"""The runtimes there are, one for each file in adapters, and the environments they need."""

from __future__ import annotations

import importlib.util
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from ..machine import read
from .cores import openblas_target

Say = Callable[[str], None]  # told what goes on
ADAPTERS = Path(__file__).parent / "adapters"
RESERVED = ("what", "on_pi", "env", "int8", "smaller", "borrows", "unless")


@dataclass(frozen=True)
class Runtime:
    """One adapter file: its name, where it is and the environment it asks for.

    environment["kind"] is "here" (this interpreter), "venv" ("packages" for pip) or "debian"
    ("packages" of "suite", run by its "python"); "import" names the module if it is not the file's;
    "bits": 64 says that there is nothing to install on a 32-bit system. A configuration is a set of
    options for the adapter, except for these keys:

    what, on_pi: one line each: what the row is, and what it is on a Raspberry Pi.
    int8: if it runs the network in int8: "linnet" on the ONNX file that linnet made
        (network.in_int8), "own" if the adapter quantizes, by the worker.Network's calibration.
    smaller: if it runs a smaller network, that which linnet made (network.shrunk).
    env: environment variables of its process.
    borrows: (name of another environment, pattern of a file in its folder). The adapter gets the
        file as options["borrowed"]; in a process of another kind than "here" it is loaded first, so
        that the functions it exports replace all others of their names.
    unless: an environment variable in whose presence nothing is borrowed.
    """

    name: str
    adapter: Path
    environment: Mapping[str, Any]
    configurations: Mapping[str, Mapping[str, Any]]

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
        found[path.stem] = Runtime(path.stem, path, module.ENVIRONMENT, module.CONFIGURATIONS)
    return found


def openblas() -> Runtime:
    """The environment "openblas": its two flavours, no runtime of its own.

    Those linnet came with, if it did (see `linnet.load`, blas=), else compiled for this CPU. They
    are linked against the libc of an old Debian, since Caffe's process has that one.
    """
    packaged = Path(__file__).parents[1] / "_blas"
    if packaged.is_dir():
        return Runtime("openblas", packaged, {"kind": "here", "folder": str(packaged)}, {})
    recipe = Path(__file__).with_name("build_openblas.sh")  # where the wheel has it
    if not recipe.exists():
        recipe = Path(__file__).resolve().parents[3] / "third_party" / "openblas" / "build.sh"
    environment = {
        "kind": "build",
        "suite": "bullseye",
        "packages": ["libc6-dev"],
        "source": ("bookworm", "openblas"),
        "target": openblas_target(read(Path("/proc/cpuinfo"))),
        "recipe": zlib.crc32(read(recipe).encode()),
    }
    return Runtime("openblas", recipe, environment, {})


def parts(runtime: Runtime, settings: Mapping[str, Any] = MappingProxyType({})) -> list[Runtime]:
    """The environments that a configuration needs: its runtime's, and the one it borrows from."""
    owner = lender(settings)
    return [runtime, *([owner] if owner else [])]


def lender(settings: Mapping[str, Any]) -> Runtime | None:
    if "borrows" not in settings or os.environ.get(settings.get("unless", "")):
        return None
    name = settings["borrows"][0]
    return openblas() if name == "openblas" else runtimes()[name]


def load_adapter(path: Path) -> ModuleType:
    # By path, as the worker does: an adapter named like its runtime must never shadow it.
    spec = importlib.util.spec_from_file_location(f"linnet_compare_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
