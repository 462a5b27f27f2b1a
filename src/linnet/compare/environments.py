"""One environment per runtime, in a cache folder: created, checked, described.

Nothing outside that folder is touched: wheels go into virtual environments, Debian packages are
resolved by a private apt and unpacked, never installed, and the two flavours of OpenBLAS are
compiled in a folder of their own. An environment is complete when its stamp is there, which is
written last; a set-up cut short starts again with what it had downloaded and compiled.
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
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import venv
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar, NamedTuple

Say = Callable[[str], None]
ADAPTERS = Path(__file__).parent / "adapters"
SHARES = Path(__file__).with_name("shares.py")
RESERVED = ("what", "on_pi", "env", "borrows", "unless")
STALE = ("PYTHON", "LD_", "OMP_", "OPENBLAS_", "GOTO_", "MKL_", "KMP_", "TF_", "MXNET_", "GLOG_")


class SetupError(Exception):
    """An environment cannot be made; the message is the reason shown in its cells."""


@dataclass(frozen=True)
class Runtime:
    """One adapter file: its name, where it is and the environment it asks for.

    environment["kind"] is "here" (this interpreter), "venv" ("packages" for pip) or "debian"
    ("packages" of "suite", run by its "python"); "import" names the module if it is not the file's;
    "bits": 64 says that there is nothing to install on a 32-bit system. A configuration is a set of
    options for the adapter, except for these keys:

    what, on_pi: one line each: what the row is, and what it is on a Raspberry Pi.
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
        module = _import(path)
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
        "target": openblas_target(_text(Path("/proc/cpuinfo"))),
        "recipe": zlib.crc32(_text(recipe).encode()),
    }
    return Runtime("openblas", recipe, environment, {})


def parts(runtime: Runtime, settings: Mapping[str, Any] = MappingProxyType({})) -> list[Runtime]:
    """The environments that a configuration needs: its runtime's, and the one it borrows from."""
    lender = _lender(settings)
    return [runtime, *([lender] if lender else [])]


def _lender(settings: Mapping[str, Any]) -> Runtime | None:
    if "borrows" not in settings or os.environ.get(settings.get("unless", "")):
        return None
    name = settings["borrows"][0]
    return openblas() if name == "openblas" else runtimes()[name]


def _import(path: Path) -> ModuleType:
    # By path, as the worker does: an adapter named like its runtime must never shadow it.
    spec = importlib.util.spec_from_file_location(f"linnet_compare_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def missing(runtime: Runtime, settings: Mapping[str, Any] = MappingProxyType({})) -> str | None:
    """Why the runtime, or a configuration of it, cannot be used now; None if it can."""
    for part in parts(runtime, settings):
        if reason := _missing(part):
            return reason if part is runtime else f"{part.name}: {reason}"
    return None


def _missing(runtime: Runtime) -> str | None:
    if runtime.environment["kind"] == "here":
        return None
    if not _exists(runtime):
        return "there is no build of it for a 32-bit system"
    stamp = _read(runtime.folder / "stamp.json")
    if stamp.get("recipe") == _recipe(runtime):
        return None
    failure = _read(runtime.folder / "failed.json")
    if failure.get("recipe") == _recipe(runtime):
        return str(failure["reason"])
    return "set up with other versions; run --setup" if stamp else "not set up; run --setup"


def _exists(runtime: Runtime) -> bool:
    """Whether anybody has built it for a system like this."""
    return sys.maxsize > 1 << 32 or runtime.environment.get("bits") != 64


def set_up(wanted: Sequence[Runtime], say: Say) -> None:
    """Create what is missing, several at once; a failure is recorded and stops no other."""
    todo = [r for r in wanted if _missing(r) is not None and _exists(r)]
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
            _Child.end_all()
            raise


def _set_up(runtime: Runtime, say: Say) -> None:
    begin = time.monotonic()
    folder, recipe = runtime.folder, _recipe(runtime)
    folder.mkdir(parents=True, exist_ok=True)
    makers = {"venv": _make_venv, "debian": _make_debian, "build": _make_openblas}
    with _locked(folder / "lock"):
        if _missing(runtime) is None:  # another process has just done it
            return
        for name in ("stamp.json", "failed.json"):
            (folder / name).unlink(missing_ok=True)
        try:
            with open(folder / "setup.log", "w", encoding="utf-8") as log:
                make = makers[runtime.environment["kind"]]
                installed = make(runtime, lambda text: say(f"{runtime.name}: {text}"), log)
        except (SetupError, OSError) as error:
            if not _Child.ended:
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
    downloads = runtime.folder / "pip"  # of complete files: kept until all is well
    variables = _environment({"PIP_CACHE_DIR": str(downloads)}, "venv")
    _call([*pip, *runtime.environment["packages"]], log, variables)
    say("first import")
    _check(runtime, log)
    shutil.rmtree(downloads, ignore_errors=True)
    return sorted(path.stem for path in target.glob("lib/*/site-packages/*.dist-info"))


def _make_debian(runtime: Runtime, say: Say, log: Any) -> list[str]:
    """Unpack Debian packages into a root of their own; names and versions of all that went in."""
    apt, suite = runtime.folder / "apt", runtime.environment["suite"]
    private = _private_apt(apt, f"deb {_signed()}{_mirror()} {suite} main\n", log)
    installed = _unpack_root(runtime, private, say, log)
    say("first import")
    _check(runtime, log)
    shutil.rmtree(apt)
    return installed


def _make_openblas(runtime: Runtime, say: Say, log: Any) -> list[str]:
    """Compile both flavours by the recipe; what went in, and how each divides a product."""
    folder = runtime.folder
    _need("bash", "gcc", "make")
    apt, (suite, package) = folder / "apt", runtime.environment["source"]
    sources = f"deb {_signed()}{_mirror()} {runtime.environment['suite']} main\n"
    sources += f"deb-src {_signed()}{_mirror()} {suite} main\n"
    if not (folder / "source").exists():
        private = _private_apt(apt, sources, log)
        _unpack_root(runtime, private, say, log)
        _call(["apt-get", "source", "--download-only", package], log, private, folder=apt)
        part = folder / "source.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        (archive,) = apt.glob(f"{package}_*.orig.tar.*")
        _call(["tar", "-xf", str(archive), "-C", str(part), "--strip-components=1"], log, private)
        part.rename(folder / "source")
        shutil.rmtree(apt)
    target = runtime.environment["target"]
    say(f"compiling master and dl for {target}")
    make = ["bash", str(runtime.adapter), str(folder), "gcc", str(folder / "root")]
    _call([*make, f"TARGET={target}"], log, _environment({}, "build"))
    found = []
    for library in sorted(folder.glob("*.so"), reverse=True):
        text = _call(
            [sys.executable, str(SHARES), str(library)], log, _environment({}, "build"), timeout=60
        )
        say(f"{library.name}: {text}")
        found.append(f"{library.name}: {text}")
    for name in ("source", "root"):
        shutil.rmtree(folder / name)
    return found


def _unpack_root(runtime: Runtime, private: Mapping[str, str], say: Say, log: Any) -> list[str]:
    """Download the environment's Debian packages and unpack them into its "root"."""
    root, packages = runtime.folder / "root", runtime.environment["packages"]
    say(f"downloading {' '.join(packages)} from Debian {runtime.environment['suite']}")
    _call(["apt-get", "-y", "--download-only", "install", *packages], log, private)
    archives = sorted((runtime.folder / "apt" / "cache" / "archives").glob("*.deb"))
    say(f"unpacking {len(archives)} packages")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda archive: _unpack(archive, root), archives))
    _mend_links(root)
    return [archive.stem for archive in archives]


def _need(*tools: str) -> None:
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    if lacking:
        raise SetupError(f"needs {', '.join(lacking)}")


def _private_apt(folder: Path, sources: str, log: Any) -> dict[str, str]:
    """Make an apt with its own sources, lists, status and cache in `folder`; what selects it."""
    _need("apt-get", "apt-config", "dpkg", "dpkg-deb", "tar")
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
APT::Architecture "{_debian_architecture()}";
APT::Architectures {{ "{_debian_architecture()}"; }};
APT::Install-Recommends "0";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "root";
Debug::NoLocking "1";
"""
    (folder / "apt.conf").write_text(host + own, encoding="utf-8")
    (folder / "sources.list").write_text(sources, encoding="utf-8")
    private = {**_environment({}, "debian"), "APT_CONFIG": str(folder / "apt.conf")}
    _call(["apt-get", "-o", "APT::Update::Error-Mode=any", "update"], log, private)
    return private


def _debian_architecture() -> str:
    """What Debian calls the architecture of this interpreter, which need not be the host's."""
    triplets = {"x86_64-linux-gnu": "amd64", "aarch64-linux-gnu": "arm64"}
    triplets["arm-linux-gnueabihf"] = "armhf"
    triplet = sysconfig.get_config_var("MULTIARCH")
    if triplet not in triplets:
        raise SetupError(f"no Debian architecture is known for {triplet}")
    return triplets[triplet]


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
    lender = _lender(settings)
    if lender is not None:
        pattern = settings["borrows"][1]
        file = next(iter(sorted(lender.folder.glob(pattern))), None)
        if file is None:
            raise SetupError(f"{lender.folder} has no {pattern}")
        options["borrowed"] = str(file)
        if runtime.environment["kind"] != "here":
            extra["LD_PRELOAD"] = str(file)
    return Launch(command(runtime), {**environment(runtime, threads, scratch), **extra}, options)


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
    python = str(root / "usr" / "bin" / runtime.environment["python"])
    return [str(loaders[0]), "--library-path", ":".join(map(str, folders)), python]


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


def openblas_target(cpuinfo: str) -> str:
    """OpenBLAS's name (TARGET) for the kernels this CPU should have."""
    core = openblas_core(cpuinfo)
    if core == "Haswell" and "AuthenticAMD" in cpuinfo:
        return "ZEN"
    if core:
        return core.upper()
    if platform.machine() == "x86_64":
        return "SANDYBRIDGE" if re.search(r"^flags\s*:.*\bavx\b", cpuinfo, re.M) else "CORE2"
    if sys.maxsize < 1 << 32:
        return "ARMV7"
    part = re.search(r"^CPU part\s*:\s*(\w+)", cpuinfo, re.M)
    cores = {"0xd03": "CORTEXA53", "0xd07": "CORTEXA57", "0xd08": "CORTEXA72"}
    return cores.get(part[1].lower() if part else "", "ARMV8")


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
    with scratch_folder() as scratch:
        variables = environment(runtime, 1, scratch)
        _call([*command(runtime), "-c", f"import {module}"], log, variables, timeout=600)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Makes exceptions of SIGTERM and SIGHUP, so that processes end and temporary folders go."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new temporary folder, removed at the end; those that killed processes left behind as well.

    Who uses a folder holds its lock, which ends with the process however that ends.
    """
    prefix = f"linnet-compare-{os.getuid()}-"
    for stale in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError), _locked(stale, os.O_RDONLY, fcntl.LOCK_NB):
            shutil.rmtree(stale)
    with contextlib.ExitStack() as stack:
        while True:
            folder = Path(tempfile.mkdtemp(prefix=prefix))
            with contextlib.suppress(FileNotFoundError):
                stack.enter_context(_locked(folder, os.O_RDONLY))
            if folder.exists():  # nobody took it for stale before it was locked
                break
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


class _Child:
    """A command that runs in a process group of its own, which ends with this process.

    The group is led by a shell that is told when this thread is gone, since Linux tells children
    alone: a compiler three levels down would go on.
    """

    LEADER = 'trap "trap - TERM; kill -TERM 0" TERM; "$@" & wait $!'
    running: ClassVar[set[_Child]] = set()
    lock: ClassVar = threading.Lock()
    ended: ClassVar = False

    def __init__(
        self, arguments: Sequence[str], log: Any, variables: Mapping[str, str], folder: Path | None
    ) -> None:
        guard = ["bash", "-c", self.LEADER, "bash"]
        if shutil.which("setpriv"):
            guard = ["setpriv", "--pdeathsig", "TERM", "--", *guard]
        with self.lock:
            if _Child.ended:
                raise SetupError("interrupted")
            self.process = subprocess.Popen(
                [*guard, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=variables,
                cwd=folder,
                start_new_session=True,
            )
            self.running.add(self)

    def wait(self, timeout: float) -> int:
        """Its exit status; subprocess.TimeoutExpired after `timeout` seconds."""
        try:
            return self.process.wait(timeout)
        finally:
            self.end()
            with self.lock:
                self.running.discard(self)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @classmethod
    def end_all(cls) -> None:
        """End what runs and start nothing more."""
        with cls.lock:
            cls.ended = True
            for child in cls.running:
                child.end()


def _call(
    arguments: Sequence[str],
    log: Any,
    variables: Mapping[str, str],
    timeout: float = 3600,
    folder: Path | None = None,
) -> str:
    """Run a command with its output in `log`; its last line.

    SetupError with its last telling line if it fails.
    """
    log.write(f"$ {' '.join(arguments)}\n")
    log.flush()
    start = log.tell()
    try:
        status = _Child(arguments, log, variables, folder).wait(timeout)
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"{arguments[0]} took more than {timeout:.0f} s") from error
    with open(log.name, encoding="utf-8", errors="replace") as file:
        file.seek(start)
        lines = [line.strip() for line in file if line.strip()] or ["no output"]
    log.seek(0, os.SEEK_END)
    if status:
        telling = [line for line in lines if re.match(r"ERROR|E: (?!Some index)|\w*Error\b", line)]
        raise SetupError(f"{(telling or lines)[-1]} (log: {log.name})")
    return lines[-1]


@contextlib.contextmanager
def _locked(path: Path, flags: int = os.O_CREAT | os.O_WRONLY, wait: int = 0) -> Iterator[None]:
    """Hold the lock of a file or folder; with wait=LOCK_NB, BlockingIOError if another does."""
    lock = os.open(path, flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | wait)
        yield
    finally:
        os.close(lock)


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
