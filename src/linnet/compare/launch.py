"""How the process of a runtime is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..machine import read
from .backends import lender
from .cores import openblas_core
from .processes import SetupError, call, scratch_folder
from .runtimes import RESERVED, Runtime

STALE = (
    "PYTHON",
    "LD_",
    "OMP_",
    "OPENBLAS_",
    "GOTO_",
    "MKL_",
    "BLIS_",
    "KMP_",
    "TF_",
    "MXNET_",
    "GLOG_",
)


class Launch(NamedTuple):
    """How a configuration's process is started: its interpreter, its variables, adapter options."""

    command: list[str]
    variables: dict[str, str]
    options: dict[str, Any]


def launch(runtime: Runtime, settings: Mapping[str, Any], threads: int, scratch: Path) -> Launch:
    """How to start a configuration whose environments are there; temporary files go to `scratch`.

    SetupError if something of an environment has gone since it was set up.
    """
    options = {k: v for k, v in settings.items() if k not in RESERVED}
    extra = {"TMPDIR": str(scratch), **settings.get("env", {})}
    owner, folders = lender(settings), []
    if owner is not None:
        place = owner.environment.folder
        file = next(iter(sorted(place.glob(owner.library))), None)
        if file is None:
            raise SetupError(f"{place} has no {owner.library}")
        options["borrowed"] = str(file)
        if runtime.environment["kind"] != "here":
            extra["LD_PRELOAD"] = str(file)
        folders = [*place.glob(owner.needs)] if owner.needs else []
        extra.update(owner.variables)
    variables = {**environment(runtime, threads, scratch), **extra}
    if folders:
        known = variables.get("LD_LIBRARY_PATH")
        places = [*map(str, folders), *([known] if known else [])]
        variables["LD_LIBRARY_PATH"] = ":".join(places)
    return Launch(command(runtime, folders), variables, options)


def command(runtime: Runtime, more: Sequence[Path] = ()) -> list[str]:
    """The interpreter of the runtime's environment, as the start of a command line.

    more: folders with libraries that its own loader would not find.
    """
    kind = runtime.environment["kind"]
    if kind == "here":
        return [sys.executable]
    if kind == "venv":
        return [str(runtime.folder / "venv" / "bin" / "python")]
    root = runtime.folder / "root"
    loaders = sorted([*root.glob("lib*/ld-linux*.so.*"), *root.glob("lib/*/ld-linux*.so.*")])
    folders = [
        *root.glob("usr/lib/*-linux-gnu*"),
        *root.glob("lib/*-linux-gnu*"),
        root / "usr" / "lib",
        *more,
    ]
    if not loaders:
        raise SetupError(f"no dynamic loader in {root}")
    python = str(root / "usr" / "bin" / runtime.environment["python"])
    return [str(loaders[0]), "--library-path", ":".join(map(str, folders)), python]


def environment(runtime: Runtime, threads: int, scratch: Path) -> dict[str, str]:
    """Variables of the runtime's process: its number of threads, its caches under `scratch`."""
    kind = runtime.environment["kind"]
    names = ("OMP", "OPENBLAS", "GOTO", "MKL", "BLIS", "NUMEXPR", "VECLIB_MAXIMUM")
    extra = {f"{name}_NUM_THREADS": str(threads) for name in names}
    extra.update(
        OMP_DYNAMIC="FALSE", MKL_DYNAMIC="FALSE", GLOG_minloglevel="2", TF_CPP_MIN_LOG_LEVEL="2"
    )
    core = openblas_core(read(Path("/proc/cpuinfo")))
    if core:
        extra["OPENBLAS_CORETYPE"] = core
    if kind != "here":
        extra.update(
            HOME=str(scratch),
            XDG_CACHE_HOME=str(scratch),
            MPLCONFIGDIR=str(scratch),
            MPLBACKEND="Agg",
        )
    if kind == "debian":
        root = runtime.folder / "root"
        extra.update(PYTHONHOME=f"{root}/usr", PYTHONPATH=f"{root}/usr/lib/python3/dist-packages")
    return cleaned(extra, kind)


def cleaned(extra: Mapping[str, str], kind: str) -> dict[str, str]:
    own = kind == "here"  # linnet keeps what the user has set for it
    kept = {k: v for k, v in os.environ.items() if own or not k.startswith(STALE)}
    return {**kept, **({} if own else {"PYTHONNOUSERSITE": "1"}), **extra}


def import_once(runtime: Runtime, log: Any) -> None:
    """Import the runtime once, which also compiles what it imports; libraries are not imported."""
    if not runtime.module:
        return
    with scratch_folder() as scratch:
        variables = environment(runtime, 1, scratch)
        call([*command(runtime), "-c", f"import {runtime.module}"], log, variables, timeout=600)
