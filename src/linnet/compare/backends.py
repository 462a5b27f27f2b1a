"""The BLAS back-ends that frameworks can be made to compute with, and where they come from.

Each is a library that exports cblas_sgemm under that name, so that it can take the place of the one
a framework was linked against. All but MKL are linked against the libc of an old Debian, since
Caffe's process has that one.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ..machine import read
from .cores import openblas_target
from .runtimes import Runtime, runtimes


class Backend(NamedTuple):
    """A BLAS: one line about it, the environment that has it, the library's pattern in its folder.

    needs: pattern of a folder that has the libraries it needs itself, "" if it needs none.
    variables: of the processes that compute with it.
    """

    what: str
    environment: Runtime
    library: str
    needs: str = ""
    variables: Mapping[str, str] = MappingProxyType({})


@cache
def backends() -> dict[str, Backend]:
    """Every back-end by name, in the order in which they are shown."""
    own = openblas()
    debian = Runtime(
        "blas",
        Path(__file__),
        {
            "kind": "debian",
            "suite": "bullseye",
            "packages": ["libblas3", "libatlas3-base", "libblis3-pthread", "libopenblas0-pthread"],
            "import": "",
        },
        {},
    )
    mkl = Runtime(
        "mkl",
        Path(__file__),
        {
            "kind": "venv",
            # What else it asks for is for other devices than a CPU.
            "packages": ["--no-deps", "mkl==2026.2.0", "intel-openmp==2026.2.0"],
            "import": "",
            "machine": "x86_64",
        },
        {},
    )
    folder = "root/usr/lib/*-linux-gnu*"
    return {
        "reference": Backend("the reference BLAS", debian, f"{folder}/blas/libblas.so.3"),
        "atlas": Backend("Debian's ATLAS", debian, f"{folder}/atlas/libblas.so.3", folder),
        "blis": Backend("Debian's BLIS", debian, f"{folder}/blis-pthread/libblis.so.3"),
        "openblas-debian": Backend(
            "Debian's OpenBLAS", debian, f"{folder}/openblas-pthread/libopenblas.so.0", folder
        ),
        "openblas": Backend("OpenBLAS as it is", own, "liblinnet-openblas-master.so"),
        "openblas-dl": Backend(
            "the equivalent of optimized_for_deeplearning", own, "liblinnet-openblas-dl.so"
        ),
        "mkl": Backend(
            "MKL", mkl, "venv/lib/libmkl_rt.so.*", "venv/lib", {"MKL_THREADING_LAYER": "INTEL"}
        ),
    }


def openblas() -> Runtime:
    """The environment "openblas": its two flavours, no runtime of its own.

    Those linnet came with, if it did (see `linnet.load`, blas=), else compiled for this CPU.
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


def on_backends(runtime: Runtime) -> dict[str, dict[str, Any]]:
    """The runtime on every back-end, as configurations by name; none if it takes no other's."""
    found: dict[str, dict[str, Any]] = {}
    for name, backend in backends().items() if runtime.on_blas else ():
        own = {**runtime.on_blas, "blas": name}
        found[f"{runtime.name}-{name}"] = {**own, "what": f"{own['what']} on {backend.what}"}
    return found


def lender(settings: Mapping[str, Any]) -> Backend | None:
    """What a configuration borrows, if it does."""
    if "impossible" in settings or os.environ.get(settings.get("unless", "")):
        return None
    if "blas" in settings:
        return backends()[settings["blas"]]
    if "borrows" not in settings:
        return None
    name, library = settings["borrows"]
    return Backend("", runtimes()[name], library)


def parts(runtime: Runtime, settings: Mapping[str, Any] = MappingProxyType({})) -> list[Runtime]:
    """The environments that a configuration needs: its runtime's, and the one it borrows from."""
    owner = lender(settings)
    return [runtime, *([owner.environment] if owner else [])]
