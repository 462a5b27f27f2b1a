"""What the comparison installs, in its folder alone, and how it starts the runtimes."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from linnet.compare import (
    backends,
    cores,
    debian,
    environments,
    launch,
    processes,
    runtimes,
    worker,
)
from linnet.compare.runtimes import Runtime


@pytest.mark.parametrize(
    ("flags", "core"),
    [
        ("sse2 avx2 fma avx512f avx512dq avx512bw avx512vl", "SkylakeX"),
        ("sse2 avx2 fma avx512f", "Haswell"),
        ("sse2 avx", None),
    ],
)
def test_openblas_core_follows_the_flags(flags: str, core: str | None) -> None:
    assert cores.openblas_core(f"model name : x\nflags\t\t: {flags}\n") == core


def test_openblas_core_is_left_alone_on_arm() -> None:
    assert cores.openblas_core("Features : half thumb neon vfpv4\n") is None


def test_threads_are_pinned_and_stale_settings_dropped(tmp_path: Path, monkeypatch: Any) -> None:
    runtime = Runtime("wheel", tmp_path, {"kind": "venv", "packages": []}, {})
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    variables = launch.environment(runtime, 3, Path("/scratch"))
    assert variables["OMP_NUM_THREADS"] == variables["OPENBLAS_NUM_THREADS"] == "3"
    assert "OMP_PROC_BIND" not in variables
    assert "PYTHONHOME" not in variables


def make_wheel(folder: Path) -> Path:
    """A package `tiny` with nothing in it."""
    path = folder / "tiny-1.0-py3-none-any.whl"
    info = "tiny-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"tiny.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")
    return path


def test_set_up_stamps_what_works_and_says_why_the_rest_does_not(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    wheel, adapter = str(make_wheel(tmp_path)), tmp_path / "adapter.py"
    good = Runtime("tiny", adapter, {"kind": "venv", "packages": [wheel]}, {})
    bad = Runtime("bad", adapter, {"kind": "venv", "packages": [f"{wheel}.not"]}, {})
    said: list[str] = []
    environments.set_up([good, bad], said.append)
    assert environments.missing(good) is None
    assert json.loads((good.folder / "stamp.json").read_text())["installed"] == ["tiny-1.0"]
    assert any(line.startswith("tiny: ready") for line in said)
    assert "not.whl" in str(environments.missing(bad)) or ".not" in str(environments.missing(bad))
    assert not list((tmp_path / "cache").rglob("*.part"))
    newer = Runtime("tiny", adapter, {"kind": "venv", "packages": [wheel, wheel]}, {})
    assert "other versions" in str(environments.missing(newer))
    (good.folder / "stamp.json").write_text("{")  # cut short: as if it were not there
    assert environments.missing(good) is not None
    environments.set_up([good], said.append)
    assert environments.missing(good) is None


def script(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "worker.py"
    path.write_text(text)
    return [sys.executable, str(path)]


SLOW_SETUP = """
import subprocess, sys, threading
from pathlib import Path
from linnet.compare import environments, processes
from linnet.compare.processes import terminable
from linnet.compare.runtimes import Runtime

def make(runtime, say, log):
    processes.call(["bash", "-c", "sleep 61 & sleep 62; wait"], log, {"PATH": "/usr/bin:/bin"})

environments.make_venv = make
wanted = [Runtime(n, Path("x.py"), {"kind": "venv", "packages": []}, {}) for n in "ab"]
with terminable(), processes.scratch_folder() as folder:
    print(folder, flush=True)
    threading.Timer(1.0, lambda: print("going", flush=True)).start()
    environments.set_up(wanted, lambda *_: None)
"""


@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_set_up_leaves_nothing_and_can_be_repeated(
    way: signal.Signals, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)  # ask TMPDIR again
    command = script(tmp_path, SLOW_SETUP)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().decode().strip())
        assert folder.exists()
        assert process.stdout.readline() == b"going\n"
        assert len(sleepers(tmp_path)) == 2 * 2
        process.send_signal(way)
        process.wait(timeout=20)
    for _ in range(200):
        if not sleepers(tmp_path):
            break
        time.sleep(0.02)
    assert not sleepers(tmp_path)
    assert not list(tmp_path.rglob("failed.json"))  # it is no fault of the runtime
    with processes.scratch_folder() as new:  # clears away what SIGKILL left
        assert new.exists() and not folder.exists()
        with processes.scratch_folder() as other:
            assert new.exists() and other != new  # it is in use
    assert not new.exists()


def sleepers(folder: Path) -> list[str]:
    """The set-up's processes that wait below, found by where their output goes."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if path.joinpath("comm").read_text() == "sleep\n":
                found += [str(path)] * os.readlink(path / "fd" / "1").startswith(str(folder))
    return found


def test_a_borrowed_library_must_be_the_one_that_is_used(tmp_path: Path, monkeypatch: Any) -> None:
    runtime = Runtime("own", tmp_path, {"kind": "here"}, {})
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    # As where linnet came without libraries of its own.
    monkeypatch.setattr(backends, "__file__", str(tmp_path / "a/b/c/linnet/compare/x.py"))
    backends.backends.cache_clear()
    settings = {"what": "x", "blas": "openblas", "unless": "GIVEN", "own": 1}
    assert str(environments.missing(runtime, settings)).startswith("openblas: not set up")
    folder = backends.openblas().folder
    with pytest.raises(processes.SetupError, match="has no"):
        launch.launch(runtime, settings, 1, tmp_path)
    folder.mkdir(parents=True)
    library = folder / backends.backends()["openblas"].library
    library.touch()
    start = launch.launch(runtime, settings, 1, tmp_path)
    assert start.options == {"own": 1, "borrowed": str(library)}
    assert "LD_PRELOAD" not in start.variables  # linnet opens it itself
    wheel = Runtime("wheel", tmp_path, {"kind": "venv", "packages": []}, {})
    start = launch.launch(wheel, settings, 1, tmp_path)
    assert start.variables["LD_PRELOAD"] == str(library)
    with pytest.raises(RuntimeError, match=r"\.so is not used"):
        worker.check_borrowed(str(library))
    monkeypatch.setenv("GIVEN", "/elsewhere")
    assert environments.missing(runtime, settings) is None
    assert launch.launch(runtime, settings, 1, tmp_path).options == {"own": 1}
    backends.backends.cache_clear()


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "target"),
    [
        ("vendor_id : GenuineIntel\nflags : avx avx2 fma\n", "x86_64", "HASWELL"),
        ("vendor_id : AuthenticAMD\nflags : avx avx2 fma\n", "x86_64", "ZEN"),
        ("flags : avx avx2 fma avx512f avx512dq avx512bw avx512vl\n", "x86_64", "SKYLAKEX"),
        ("flags : sse2 avx\n", "x86_64", "SANDYBRIDGE"),
        ("flags : sse2 ssse3\n", "x86_64", "CORE2"),
        ("CPU part\t: 0xd08\n", "aarch64", "CORTEXA72"),
        ("CPU part\t: 0xfff\n", "aarch64", "ARMV8"),
    ],
)
def test_openblas_is_built_for_this_cpu(
    cpuinfo: str, machine: str, target: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(sys, "maxsize", (1 << 63) - 1)
    assert cores.openblas_target(cpuinfo) == target


def test_what_has_no_32_bit_build_is_not_tried_there(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "maxsize", (1 << 31) - 1)
    torch = runtimes.runtimes()["torch"]
    environments.set_up([torch], lambda text: None)
    assert not list(tmp_path.iterdir())
    assert "32-bit" in str(environments.missing(torch))


def test_cache_folder(monkeypatch: Any) -> None:
    monkeypatch.delenv("LINNET_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert runtimes.cache_folder() == Path("/x/linnet")
    monkeypatch.setenv("LINNET_CACHE", "/y")
    assert runtimes.cache_folder() == Path("/y")


def test_links_of_an_unpacked_root_point_into_it(tmp_path: Path) -> None:
    library = tmp_path / "usr/lib/arm-linux-gnueabihf/openblas-pthread/libblas.so.3"
    library.parent.mkdir(parents=True)
    library.touch()
    link = tmp_path / "usr/lib/python"
    link.symlink_to("/usr/lib/arm-linux-gnueabihf")
    debian._mend_links(tmp_path)
    assert os.readlink(link) == "arm-linux-gnueabihf"
    assert (library.parents[1] / "libblas.so.3").samefile(library)
