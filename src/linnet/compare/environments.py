"""One environment per runtime, in a cache folder: created, checked, described.

Nothing outside that folder is touched: wheels go into virtual environments, Debian packages are
resolved by a private apt and unpacked, never installed, and the two flavours of OpenBLAS are
compiled in a folder of their own. An environment is complete when its stamp is there, which is
written last; a set-up cut short starts again with what it had downloaded and compiled.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .backends import parts
from .debian import make_debian
from .openblas import make_openblas
from .processes import Child, SetupError, locked
from .runtimes import Runtime, Say
from .venvs import make_venv


def missing(runtime: Runtime, settings: Mapping[str, Any] = MappingProxyType({})) -> str | None:
    """Why the runtime, or a configuration of it, cannot be used now; None if it can."""
    if reason := impossible(runtime, settings):
        return reason
    for part in parts(runtime, settings):
        if reason := _missing(part):
            return reason if part is runtime else f"{part.name}: {reason}"
    return None


def impossible(runtime: Runtime, settings: Mapping[str, Any]) -> str | None:
    """Why there is no such thing for this system, whatever is installed; None if there is."""
    if "impossible" in settings:
        return str(settings["impossible"])
    system = "a 32-bit system" if sys.maxsize < 1 << 32 else platform.machine()
    for part in parts(runtime, settings):
        if not exists(part):
            name = "" if part is runtime else f"{part.name}: "
            return f"{name}there is no build of it for {system}"
    return None


def _missing(runtime: Runtime) -> str | None:
    if runtime.environment["kind"] == "here":
        return None
    stamp = _read(runtime.folder / "stamp.json")
    if stamp.get("recipe") == _recipe(runtime):
        return None
    failure = _read(runtime.folder / "failed.json")
    if failure.get("recipe") == _recipe(runtime):
        return str(failure["reason"])
    return "set up with other versions; run --setup" if stamp else "not set up; run --setup"


def exists(runtime: Runtime) -> bool:
    """Whether anybody has built it for a system like this."""
    machine = platform.machine()
    bits, wanted = (runtime.environment.get(name) for name in ("bits", "machine"))
    return (sys.maxsize > 1 << 32 or bits != 64) and wanted in (None, machine)


def set_up(wanted: Sequence[Runtime], say: Say) -> None:
    """Create what is missing, several at once; a failure is recorded and stops no other."""
    todo = [r for r in wanted if _missing(r) is not None and exists(r)]
    todo.sort(key=lambda r: r.environment["kind"] != "build")  # it takes longest
    if not todo:
        return
    with ThreadPoolExecutor(max(2, min(4, os.cpu_count() or 1))) as pool:
        futures = [pool.submit(_set_up, runtime, say) for runtime in todo]
        try:
            for future in futures:
                future.result()
        except BaseException:  # interrupted: what runs ends at once, not when it is done
            pool.shutdown(wait=False, cancel_futures=True)
            Child.end_all()
            raise


def _set_up(runtime: Runtime, say: Say) -> None:
    begin = time.monotonic()
    folder, recipe = runtime.folder, _recipe(runtime)
    folder.mkdir(parents=True, exist_ok=True)
    makers = {"venv": make_venv, "debian": make_debian, "build": make_openblas}
    with locked(folder / "lock"):
        if _missing(runtime) is None:  # another process has just done it
            return
        for name in ("stamp.json", "failed.json"):
            (folder / name).unlink(missing_ok=True)
        try:
            with open(folder / "setup.log", "w", encoding="utf-8") as log:
                make = makers[runtime.environment["kind"]]
                installed = make(runtime, lambda text: say(f"{runtime.name}: {text}"), log)
        except (SetupError, OSError) as error:
            if not Child.ended:
                _write(folder / "failed.json", {"recipe": recipe, "reason": str(error)})
                say(f"{runtime.name}: failed: {error}")
            return
        seconds = round(time.monotonic() - begin, 1)
        stamp = {"recipe": recipe, "installed": installed, "seconds": seconds}
        _write(folder / "stamp.json", stamp)
        say(f"{runtime.name}: ready after {time.monotonic() - begin:.0f} s")


def _recipe(runtime: Runtime) -> dict[str, Any]:
    """What an environment was made from, as JSON holds it."""
    host = f"{sys.version_info.major}.{sys.version_info.minor} {platform.machine()}"
    recipe: dict[str, Any] = json.loads(json.dumps({**runtime.environment, "host": host}))
    return recipe


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _write(path: Path, data: Mapping[str, Any]) -> None:
    """Atomically: a stamp is there whole or not at all."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(data, indent=1), encoding="utf-8")
    os.replace(temporary, path)
