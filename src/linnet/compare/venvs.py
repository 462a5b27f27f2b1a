"""Environments of wheels, each a virtual environment."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from .launch import cleaned, import_once
from .processes import SetupError, call
from .runtimes import Runtime, Say


def make_venv(runtime: Runtime, say: Say, log: Any) -> list[str]:
    """Install wheels into a new virtual environment; names and versions of all that went in."""
    target = runtime.folder / "venv"
    shutil.rmtree(target, ignore_errors=True)
    say(f"installing {' '.join(runtime.environment['packages'])}")
    # This interpreter's pip works on the new environment, so that it needs no pip of its own and no
    # ensurepip. This is what `pip --python` does, minus a process in between that would survive us.
    found = importlib.util.find_spec("pip")
    runner = Path(found.origin).with_name("__pip-runner__.py") if found and found.origin else None
    borrowed = runner is not None and runner.exists()
    try:
        # PyPI has no NumPy for 32-bit ARM: there, the system's.
        system = sys.maxsize < 1 << 32
        venv.create(target, symlinks=True, with_pip=not borrowed, system_site_packages=system)
    except subprocess.CalledProcessError as error:
        raise SetupError("no pip here and none can be bootstrapped (python3-venv)") from error
    pip = [str(target / "bin" / "python"), *([str(runner)] if borrowed else ["-m", "pip"])]
    pip += ["--disable-pip-version-check", "install", "--no-compile", "--only-binary=:all:"]
    downloads = runtime.folder / "pip"  # of complete files: kept until all is well
    variables = cleaned({"PIP_CACHE_DIR": str(downloads)}, "venv")
    call([*pip, *runtime.environment["packages"]], log, variables)
    say("first import")
    import_once(runtime, log)
    shutil.rmtree(downloads, ignore_errors=True)
    return sorted(path.stem for path in target.glob("lib/*/site-packages/*.dist-info"))
