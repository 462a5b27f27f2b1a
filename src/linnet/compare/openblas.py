"""The two flavours of OpenBLAS, compiled for this CPU in a folder of their own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from .debian import mirror, need, private_apt, signed, unpack_root
from .launch import cleaned
from .processes import call
from .runtimes import Runtime, Say

SHARES = Path(__file__).with_name("shares.py")


def make_openblas(runtime: Runtime, say: Say, log: Any) -> list[str]:
    """Compile both flavours by the recipe; what went in, and how each divides a product."""
    folder = runtime.folder
    need("bash", "gcc", "make")
    apt, (suite, package) = folder / "apt", runtime.environment["source"]
    sources = f"deb {signed()}{mirror()} {runtime.environment['suite']} main\n"
    sources += f"deb-src {signed()}{mirror()} {suite} main\n"
    if not (folder / "source").exists():
        private = private_apt(apt, sources, log)
        unpack_root(runtime, private, say, log)
        call(["apt-get", "source", "--download-only", package], log, private, folder=apt)
        part = folder / "source.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        (archive,) = apt.glob(f"{package}_*.orig.tar.*")
        call(["tar", "-xf", str(archive), "-C", str(part), "--strip-components=1"], log, private)
        part.rename(folder / "source")
        shutil.rmtree(apt)
    target = runtime.environment["target"]
    say(f"compiling master and dl for {target}")
    make = ["bash", str(runtime.adapter), str(folder), "gcc", str(folder / "root")]
    call([*make, f"TARGET={target}"], log, cleaned({}, "build"))
    found = []
    for library in sorted(folder.glob("*.so"), reverse=True):
        text = call(
            [sys.executable, str(SHARES), str(library)], log, cleaned({}, "build"), timeout=60
        )
        say(f"{library.name}: {text}")
        found.append(f"{library.name}: {text}")
    for name in ("source", "root"):
        shutil.rmtree(folder / name)
    return found
