"""One environment per runtime, in a cache folder: created, checked, described.

Nothing outside that folder is touched: wheels go into virtual environments, Debian packages are
resolved by a private apt and unpacked, never installed. An environment is complete when its stamp
is there, which is written last; a set-up cut short starts again with what it had downloaded.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

Say = Callable[[str], None]
ADAPTERS = Path(__file__).parent / "adapters"
STALE = ("PYTHON", "LD_", "OMP_", "OPENBLAS_", "GOTO_", "MKL_", "KMP_", "TF_", "MXNET_", "GLOG_")


class SetupError(Exception):
    """An environment cannot be made; the message is the reason shown in its cells."""


@dataclass(frozen=True)
class Runtime:
    """One adapter file: its name, where it is and the environment it asks for.

    environment["kind"] is "here" (this interpreter), "venv" ("packages" for pip) or "debian"
    ("packages" of "suite", run by its "python"); "import" names the module if it is not the file's.
    """

    name: str
    adapter: Path
    environment: Mapping[str, Any]
    configurations: Mapping[str, Mapping[str, Any]]

    @property
    def folder(self) -> Path:
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
        module = _import(path)
        found[path.stem] = Runtime(path.stem, path, module.ENVIRONMENT, module.CONFIGURATIONS)
    return found


def _import(path: Path) -> ModuleType:
    # By path, as the worker does: an adapter named like its runtime must never shadow it.
    spec = importlib.util.spec_from_file_location(f"linnet_compare_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def missing(runtime: Runtime) -> str | None:
    """Why the runtime cannot be used now, None if it can."""
    if runtime.environment["kind"] == "here":
        return None
    stamp = _read(runtime.folder / "stamp.json")
    if stamp.get("recipe") == _recipe(runtime):
        return None
    failure = _read(runtime.folder / "failed.json")
    if failure.get("recipe") == _recipe(runtime):
        return str(failure["reason"])
    return "set up with other versions; run --setup" if stamp else "not set up; run --setup"


def set_up(wanted: Sequence[Runtime], say: Say) -> None:
    """Create what is missing, several at once; a failure is recorded and stops no other."""
    todo = [r for r in wanted if missing(r) is not None]
    if todo:
        with ThreadPoolExecutor(max(2, min(4, os.cpu_count() or 1))) as pool:
            list(pool.map(lambda runtime: _set_up(runtime, say), todo))


def _set_up(runtime: Runtime, say: Say) -> None:
    begin = time.monotonic()
    folder, recipe = runtime.folder, _recipe(runtime)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        if missing(runtime) is None:  # another process has just done it
            return
        for name in ("stamp.json", "failed.json"):
            (folder / name).unlink(missing_ok=True)
        try:
            with open(folder / "setup.log", "w", encoding="utf-8") as log:
                make = {"venv": _make_venv, "debian": _make_debian}[runtime.environment["kind"]]
                installed = make(runtime, lambda text: say(f"{runtime.name}: {text}"), log)
                say(f"{runtime.name}: first import")
                _check(runtime, log)
        except (SetupError, OSError) as error:
            _write(folder / "failed.json", {"recipe": recipe, "reason": str(error)})
            say(f"{runtime.name}: failed: {error}")
            return
        seconds = round(time.monotonic() - begin, 1)
        stamp = {"recipe": recipe, "installed": installed, "seconds": seconds}
        _write(folder / "stamp.json", stamp)
        say(f"{runtime.name}: ready after {time.monotonic() - begin:.0f} s")


def _recipe(runtime: Runtime) -> dict[str, Any]:
    return {
        **runtime.environment,
        "host": f"{sys.version_info.major}.{sys.version_info.minor} {platform.machine()}",
    }


def _make_venv(runtime: Runtime, say: Say, log: Any) -> list[str]:
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
    _call([*pip, *runtime.environment["packages"]], log, _environment({}, "venv"))
    return sorted(path.stem for path in target.glob("lib/*/site-packages/*.dist-info"))


def _make_debian(runtime: Runtime, say: Say, log: Any) -> list[str]:
    """Unpack Debian packages into a root of their own; names and versions of all that went in."""
    folder = runtime.folder
    for tool in ("apt-get", "apt-config", "dpkg", "dpkg-deb", "tar"):
        if shutil.which(tool) is None:
            raise SetupError(f"needs {tool}, which only Debian and its descendants have")
    apt, root = folder / "apt", folder / "root"
    suite, packages = runtime.environment["suite"], runtime.environment["packages"]
    say(f"resolving {' '.join(packages)} from Debian {suite}")
    private = _private_apt(apt)
    (apt / "sources.list").write_text(f"deb {_signed()}{_mirror()} {suite} main\n", "utf-8")
    _call(["apt-get", "-o", "APT::Update::Error-Mode=any", "update"], log, private)
    say("downloading")
    _call(["apt-get", "-y", "--download-only", "install", *packages], log, private)
    archives = sorted((apt / "cache" / "archives").glob("*.deb"))
    say(f"unpacking {len(archives)} packages")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda archive: _unpack(archive, root), archives))
    _mend_links(root)
    shutil.rmtree(apt)
    return [archive.stem for archive in archives]


def _private_apt(folder: Path) -> dict[str, str]:
    """Make an apt with its own lists, status and cache in `folder`; return what selects it."""
    for name in ("parts", "lists/partial", "cache/archives/partial", "log"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    # Proxies and certificates as the host has them; its hooks and sources stay out.
    host = subprocess.run(
        ["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False
    ).stdout
    # An old suite's index is past its validity date by design; its signature is still checked.
    own = f"""
Dir "/";
Dir::Etc "{folder}";
Dir::Etc::Parts "{folder}/parts";
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "{folder}/parts";
Dir::Etc::PreferencesParts "{folder}/parts";
Dir::Etc::Preferences "{folder}/none";
Dir::State "{folder}";
Dir::State::Lists "{folder}/lists";
Dir::State::Status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Cache::Archives "{folder}/cache/archives";
Dir::Log "{folder}/log";
APT::Install-Recommends "0";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "root";
Debug::NoLocking "1";
"""
    (folder / "apt.conf").write_text(host + own, encoding="utf-8")
    return {**_environment({}, "debian"), "APT_CONFIG": str(folder / "apt.conf")}


def _signed() -> str:
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    return f"[signed-by={keyring}] " if keyring.exists() else ""


def _mirror() -> str:
    """DEBIAN_MIRROR, else the first Debian mirror among the host's sources."""
    if named := os.environ.get("DEBIAN_MIRROR"):
        return named
    if re.search(r"^ID=debian$", _text(Path("/etc/os-release")), re.M):
        sources = [
            Path("/etc/apt/sources.list"),
            *sorted(Path("/etc/apt/sources.list.d").glob("*")),
        ]
        for text in map(_text, sources):
            match = re.search(
                r"^(?:URIs:|deb(?: \[.*?\])?)\s+(\w+://\S+/debian/?)(?:\s|$)", text, re.M
            )
            if match:
                return match[1]
    raise SetupError("no Debian mirror among apt's sources; name one in DEBIAN_MIRROR")


def _unpack(archive: Path, root: Path) -> None:
    skip = [f"--exclude=./usr/share/{name}" for name in ("doc", "man", "locale")]
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE
    ) as source:
        tar = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", "--no-same-owner", *skip]
        result = subprocess.run(
            tar, stdin=source.stdout, capture_output=True, text=True, check=False
        )
    if source.returncode or result.returncode:
        raise SetupError(f"cannot unpack {archive.name}: {result.stderr.strip()}")


def _mend_links(root: Path) -> None:
    """Point absolute links into the root and make the BLAS links that maintainer scripts would."""
    for folder, folders, files in os.walk(root):
        for path in (Path(folder, name) for name in [*folders, *files]):
            if path.is_symlink() and os.readlink(path).startswith("/"):
                target = os.path.relpath(f"{root}{os.readlink(path)}", folder)
                path.unlink()
                path.symlink_to(target)
    for library in root.glob("usr/lib/*/openblas-pthread/lib*.so.*"):
        link = library.parents[1] / library.name
        if library.name.count(".") == 2 and not link.exists():
            link.symlink_to(f"openblas-pthread/{library.name}")


def command(runtime: Runtime) -> list[str]:
    """The interpreter of the runtime's environment, as the start of a command line."""
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
    ]
    if not loaders:
        raise SetupError(f"no dynamic loader in {root}")
    paths = ":".join(map(str, folders))
    return [
        str(loaders[0]),
        "--library-path",
        paths,
        str(root / "usr" / "bin" / runtime.environment["python"]),
    ]


def environment(runtime: Runtime, threads: int, scratch: Path) -> dict[str, str]:
    """Variables of the runtime's process: its number of threads, its caches under `scratch`."""
    kind = runtime.environment["kind"]
    names = ("OMP", "OPENBLAS", "GOTO", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
    extra = {f"{name}_NUM_THREADS": str(threads) for name in names}
    extra.update(
        OMP_DYNAMIC="FALSE", MKL_DYNAMIC="FALSE", GLOG_minloglevel="2", TF_CPP_MIN_LOG_LEVEL="2"
    )
    core = openblas_core(_text(Path("/proc/cpuinfo")))
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
    return _environment(extra, kind)


def openblas_core(cpuinfo: str) -> str | None:
    """OPENBLAS_CORETYPE for this CPU: on one newer than itself, OpenBLAS falls back to SSE3."""
    match = re.search(r"^flags\s*:(.*)$", cpuinfo, re.M)
    flags = set(match[1].split()) if match else set()
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags:
        return "SkylakeX"
    return "Haswell" if {"avx2", "fma"} <= flags else None


def _environment(extra: Mapping[str, str], kind: str) -> dict[str, str]:
    own = kind == "here"  # linnet keeps what the user has set for it
    kept = {k: v for k, v in os.environ.items() if own or not k.startswith(STALE)}
    return {**kept, **({} if own else {"PYTHONNOUSERSITE": "1"}), **extra}


def _check(runtime: Runtime, log: Any) -> None:
    """Import the runtime once, which also compiles what it imports."""
    module = runtime.environment.get("import", runtime.name)
    with tempfile.TemporaryDirectory() as scratch:
        variables = environment(runtime, 1, Path(scratch))
        _call([*command(runtime), "-c", f"import {module}"], log, variables, timeout=600)


def _call(
    arguments: Sequence[str], log: Any, variables: Mapping[str, str], timeout: float = 3600
) -> None:
    """Run a command with its output in `log`; SetupError with its last telling line if it fails."""
    log.write(f"$ {' '.join(arguments)}\n")
    log.flush()
    start = log.tell()
    # No download goes on after this process has been killed.
    guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    try:
        result = subprocess.run(
            [*guard, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=variables,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"{arguments[0]} took more than {timeout:.0f} s") from error
    if result.returncode:
        with open(log.name, encoding="utf-8", errors="replace") as file:
            file.seek(start)
            lines = [line.strip() for line in file if line.strip()]
        telling = [line for line in lines if re.match(r"(ERROR|E:|\w*Error\b)", line)]
        reason = (telling or lines or ["no output"])[-1]
        raise SetupError(f"{reason} (log: {log.name})")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
