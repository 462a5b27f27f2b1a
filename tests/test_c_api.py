"""The C library as its users meet it: installed, found, linked; and its command linnet-run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import linnet

ROOT = Path(__file__).parents[1]
DIGITS = Path(linnet.__file__).parent / "models" / "digits.onnx"
BUILD = ROOT / "build" / "dev"


def call(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(a) for a in arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where the C library is installed."""
    if not (BUILD / "liblinnet.so").exists():
        pytest.skip("the C library is not built (cmake --build --preset dev)")
    prefix = tmp_path_factory.mktemp("prefix")
    done = call("cmake", "--install", BUILD, "--prefix", prefix)
    assert done.returncode == 0, done.stderr
    return prefix


@pytest.fixture(scope="module")
def linnet_run(request):
    """How linnet-run is started: $LINNET_RUN, a command line, or the installed one."""
    if os.environ.get("LINNET_RUN"):
        return shlex.split(os.environ["LINNET_RUN"])
    return [request.getfixturevalue("installed") / "bin" / "linnet-run"]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((3, 1, 88, 88), dtype=np.float32)


def test_linnet_run_gives_what_python_gives(linnet_run, images, tmp_path):
    np.save(tmp_path / "x.npy", images)
    net = linnet.load(DIGITS, threads=1)
    written = tmp_path / f"y-{net.outputs[0].name}.npy"
    written.write_bytes(bytes(1 << 20))  # of which nothing stays
    done = call(
        *linnet_run,
        DIGITS,
        tmp_path / "x.npy",
        "--output",
        tmp_path / "y-",
        "-t",
        1,
        "--iterations",
        3,
    )
    assert done.returncode == 0, done.stderr
    wanted = net(images)
    np.testing.assert_allclose(np.load(written), wanted, rtol=1e-4, atol=1e-6)
    assert written.stat().st_size < wanted.nbytes + 256
    assert re.search(
        r"^count=3 first=\d+ curr=\d+ min=\d+ max=\d+ avg=[\d.]+ std=\d+$", done.stdout, re.M
    )
    assert re.search(
        r"^Inference timings in us: Init: \d+, First inference: \d+,", done.stdout, re.M
    )
    classes = [int(c) for c in re.findall(r" (\d+) \(", done.stdout)]
    assert classes == list(np.argmax(wanted, axis=1))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("float64", np.zeros((1, 1, 88, 88)), "not float32"),
        ("shape", np.zeros((1, 1, 88, 87), np.float32), "has shape (N, 1, 88, 88)"),
        ("order", np.asfortranarray(np.zeros((2, 1, 88, 88), np.float32)), "Fortran order"),
    ],
)
def test_a_wrong_array_is_refused(linnet_run, tmp_path, name, array, message):
    path = tmp_path / f"{name}.npy"
    np.save(path, array)
    done = call(*linnet_run, DIGITS, path)
    assert done.returncode == 1
    assert message in done.stderr and path.name in done.stderr


def test_damaged_input_is_refused(linnet_run, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((1, 1, 88, 88), np.float32))
    whole = path.read_bytes()
    huge = whole.replace(b"(1, 1,", b"(9999999999999, 1,").replace(
        b" " * 13 + b"\n", b" " * 1 + b"\n", 1
    )
    for data in (b"", whole[:40], whole[:-1], huge, b"PNG" + whole):
        path.write_bytes(data)
        done = call(*linnet_run, DIGITS, path)
        assert done.returncode == 1
        assert "x.npy: " in done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["--threads", "0"], ["--bogus", "1"], ["--batch"], ["/no/such.onnx"]]
)
def test_wrong_arguments_are_refused(linnet_run, arguments):
    done = call(
        *linnet_run, *([DIGITS, *arguments] if arguments[:1] != ["/no/such.onnx"] else arguments)
    )
    if not arguments:  # a model alone runs on random numbers
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 1
    assert arguments[0] in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", 1000000000], "out of memory"),
        (["--memory-limit", "1K"], "memory_limit is 1024 bytes"),
        (["--memory-limit", "much"], "--memory-limit much: expected a size"),
        (["--strict", "--algorithm", "winograd"], "no algorithm accepts"),
        (["--output", "/no/such/folder/", "--iterations", 1000000000], "/no/such/folder/"),
    ],
)
def test_what_cannot_be_done_is_one_line(linnet_run, arguments, message):
    done = call(*linnet_run, DIGITS, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert re.fullmatch(r"linnet-run: .*\n", done.stderr)


def test_output_that_cannot_be_written_is_a_failure(linnet_run):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [*linnet_run, DIGITS], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "linnet-run: the standard output cannot be written\n"


def test_the_library_builds_in_parallel_with_make(tmp_path):
    # Empty objects do: what is tested is that the archive waits for all of them.
    empty = "-DCMAKE_CXX_COMPILE_OBJECT=<CMAKE_CXX_COMPILER> -x c++ -c /dev/null -o <OBJECT>"
    done = call("cmake", "-S", ROOT, "-B", tmp_path, "-G", "Unix Makefiles", empty)
    assert done.returncode == 0, done.stderr
    done = call("cmake", "--build", tmp_path, "-j", 2, "--target", "linnet_static")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "liblinnet.a").exists()


def test_the_shared_library_exports_the_c_api_alone(installed):
    header = (installed / "include" / "linnet.h").read_text(encoding="utf-8")
    declared = set(re.findall(r"LINNET_API .*?(linnet_\w+)\(", header))
    done = call("nm", "-D", "--defined-only", installed / "lib" / "liblinnet.so")
    if done.returncode:
        done = call("nm", "-D", "--defined-only", next(installed.glob("lib*/**/liblinnet.so")))
    assert {line.split()[-1] for line in done.stdout.splitlines()} == declared


@pytest.mark.parametrize("static", [False, True])
def test_the_example_builds_with_pkg_config(installed, tmp_path, images, static):
    if not shutil.which("pkg-config"):
        pytest.skip("pkg-config is not installed")
    folder = next(installed.glob("lib*/**/linnet.pc")).parent
    variables = {**os.environ, "PKG_CONFIG_PATH": str(folder)}
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "linnet", *(["--static"] if static else [])],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    library = folder.parent
    if static:
        flags = [str(library / "liblinnet.a") if flag == "-llinnet" else flag for flag in flags]
    source = ROOT / "examples" / "c" / "classify.c"
    build = [
        "cc",
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        source,
        "-o",
        tmp_path / "classify",
    ]
    done = call(*build, *flags, f"-Wl,-rpath,{library}")
    assert done.returncode == 0, done.stderr

    levels = np.round(images[:, 0] * 255).astype(np.uint8)
    for i, image in enumerate(levels):
        (tmp_path / f"{i}.pgm").write_bytes(b"P5 88 88 255\n" + image.tobytes())
    done = call("./classify", DIGITS, "0.pgm", "1.pgm", "2.pgm", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wanted = np.argmax(linnet.load(DIGITS)(levels[:, None] / np.float32(255)), axis=1)
    assert [int(c) for c in re.findall(r"class (\d+)", done.stdout)] == list(wanted)
    assert call("./classify", DIGITS, "classify", cwd=tmp_path).returncode == 1


def test_the_example_builds_with_cmake(installed, tmp_path):
    done = call(
        "cmake", "-S", ROOT / "examples" / "c", "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={installed}"
    )
    assert done.returncode == 0, done.stderr
    assert call("cmake", "--build", tmp_path).returncode == 0
    assert call(tmp_path / "classify").returncode == 1
