"""Networks compiled ahead are the runtime's: same plan, same kernels, same bits."""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import platform
import re
import shutil
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bands
import numpy as np
import pytest

import linnet
import linnet.compat.tflite
from linnet import _core, ahead, digits
from linnet.ahead import build, camera, printed, targets, wheel
from linnet.ahead.network import Network
from linnet.cli import main
from linnet.graph import Graph, Node, Value

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parent.parent
# An emulated CPU has its host's compiler.
MACHINE = subprocess.run(["gcc", "-dumpmachine"], capture_output=True, check=False).stdout.decode()
compiles = pytest.mark.skipif(
    not MACHINE.startswith(platform.machine()), reason="no compiler for this CPU"
)
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
STRICT_C = ("-std=c99", *STRICT)
compilers = pytest.mark.parametrize(
    "compiler",
    [
        "gcc",
        pytest.param(
            "clang", marks=pytest.mark.skipif(not shutil.which("clang"), reason="no clang")
        ),
    ],
)
MODELS = {"net": digits.MODEL, "whole": DATA / "digits_int8.onnx"}
FRAME = ("--frame", "480x640:yuv420", "--top", "3")
# A program without a heap that runs both, from C++.
PROGRAM = """
#include <cstdio>
#include <cstdlib>
#include "net.h"
#include "whole.h"
extern "C" void* malloc(size_t) { abort(); }
alignas(64) static char arena[NET_ARENA > WHOLE_ARENA ? NET_ARENA : WHOLE_ARENA];
static float x[NET_INPUT_0_COUNT], real[NET_OUTPUT_0_COUNT], whole[WHOLE_OUTPUT_0_COUNT];
int main() {
  static char buffer[1 << 16];
  setvbuf(stdin, buffer, _IOFBF, sizeof buffer / 2);
  setvbuf(stdout, buffer + sizeof buffer / 2, _IOFBF, sizeof buffer / 2);
  if (fread(x, sizeof x, 1, stdin) != 1) return 1;
  const void* const inputs[] = {x};
  void *const reals[] = {real}, *const wholes[] = {whole};
  for (int turn = 0; turn < 2; ++turn) {
    net_run(inputs, reals, arena);
    whole_run(inputs, wholes, arena);
  }
  fwrite(real, sizeof real, 1, stdout);
  fwrite(whole, sizeof whole, 1, stdout);
  return 0;
}
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with digits in floats and in integers, as libraries to link; in another within it
    one that takes the frame of the example.
    """
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "frame").mkdir()
    commands = [[str(model), "-o", str(folder / name)] for name, model in MODELS.items()]
    commands.append(["digits", "-o", str(folder / "frame/net"), *FRAME])
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda words: main(["compile", *words]), commands)) == [0, 0, 0]
    return folder


def run(*command: object, **how: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(word) for word in command], check=True, **how)  # type: ignore


@compiles
@compilers
def test_two_networks_in_a_program_are_bit_identical_to_sessions(
    compiler: str, compiled: Path
) -> None:
    (compiled / "both.cpp").write_text(PROGRAM)
    # The C++ library, of which nothing is used, would allocate memory while it is loaded.
    how = ("-O1", "-Wl,--as-needed", "-o", compiled / "both")
    run(
        *({"gcc": "g++", "clang": "clang++"}[compiler], *STRICT, *how),
        *(compiled / "both.cpp", compiled / "libnet.a", compiled / "libwhole.a", "-lm"),
    )
    x = np.random.default_rng(1).random((1, 1, 88, 88), np.float32)
    said = run(compiled / "both", input=x.tobytes(), capture_output=True).stdout
    real, whole = np.split(np.frombuffer(said, np.float32), [848])
    sessions = [linnet.load(model, threads=1, isa=_core.default_isa()) for model in MODELS.values()]
    np.testing.assert_array_equal(real, sessions[0](x).ravel())
    np.testing.assert_array_equal(whole, sessions[1](x).ravel())


@compiles
def test_the_example_reads_a_digit(compiled: Path) -> None:
    example = compiled / "frame"
    for file in ("classify.c", "Makefile"):
        (example / file).write_bytes((ROOT / "examples/compiled" / file).read_bytes())
    said = run("make", "-n", "-B", "-C", example, capture_output=True).stdout.decode()
    assert f"linnet compile digits -o net --target native {' '.join(FRAME)}\n" in said
    # Grey of limited range, without colour.
    grey = linnet.Preprocess(color="grey", size=(480, 640))(DATA / "digits/5.png").ravel()
    luma = np.rint(16 + grey * (219 / 255)).astype(np.uint8)
    (example / "frame.raw").write_bytes(luma.tobytes() + bytes([128]) * (luma.size // 2))
    run("make", "-C", example, capture_output=True)
    said = run(example / "classify", example / "frame.raw", capture_output=True).stdout
    assert re.fullmatch(rb"5 \(\d\.\d+\)\n(\d \(0\.\d+\)\n){2}", said)


@compiles
@compilers
def test_the_test_of_each_passes_in_plain_c(compiler: str, compiled: Path) -> None:
    for name in MODELS:
        run(compiler, *STRICT_C, "-o", compiled / name, compiled / f"{name}_selftest.c",
            compiled / f"lib{name}.a", "-lm")  # fmt: skip
        said = run(compiled / name, capture_output=True).stdout
        assert re.fullmatch(rb"\w+: passed, largest difference 0 of .*, 0 not the same\n", said)


@compiles
def test_a_library_needs_memory_functions_alone(compiled: Path) -> None:
    for name in MODELS:
        listing = run("nm", compiled / f"lib{name}.a", capture_output=True).stdout.decode()
        symbols = [line.split()[-2:] for line in listing.splitlines() if len(line.split()) > 1]
        assert {s for kind, s in symbols if kind == "U"} <= {
            "memcpy", "memmove", "memset", "sincos", "_GLOBAL_OFFSET_TABLE_"
        }  # fmt: skip
        assert {s for kind, s in symbols if kind.isupper() and kind != "U"} == {f"{name}_run"}


def planned(target: str, model: Path | Graph = digits.MODEL, **options: object) -> ahead.Network:
    return ahead.plan(model, None, "net", target, wisdom="", **options)[0]  # type: ignore


@pytest.mark.parametrize("target", [name for name in targets.TARGETS if name != "native"])
def test_every_target_is_planned_here_and_the_same_way_each_time(target: str) -> None:
    for model in MODELS.values():
        network = planned(target, model)
        assert network.weights == planned(target, model).weights
        assert printed.plan(network) == printed.plan(planned(target, model))
        assert build.families(network)


@pytest.mark.parametrize(
    ("names", "flag"),
    [
        (("x86-64-avx512", "x86-64-avx512vnni"), "-DLINNET_FEATURES=true, true"),
        (("aarch64-a72", "aarch64-a76"), "-march=armv8.2-a+dotprod"),
    ],
)
def test_a_target_with_dot_products_has_their_kernels(names: tuple[str, str], flag: str) -> None:
    plain, dot = (planned(name, DATA / "digits_int8.onnx") for name in names)
    assert "dot" not in build.families(plain)
    assert build.families(dot)[0] == "dot"
    assert next(unit.file for unit in build.units(dot) if flag in unit.flags) == "kernels_dot.cpp"
    assert not any(flag in unit.flags for unit in build.units(plain))
    if flag.startswith("-DLINNET"):
        assert {"avx512vbmi", "avx512_vnni"} == set(build.needs(dot)) - set(build.needs(plain))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="what a CPU has is read on x86 alone")
def test_a_wheel_says_what_the_cpu_lacks() -> None:
    text = wheel.module(planned("x86-64-avx2")).replace("'avx2'", "'avx3'")
    with pytest.raises(ImportError, match=r"net was compiled for x86-64-avx2, a CPU with avx3, "):
        exec(text, {"__file__": "nowhere"})


def test_the_header_says_what_integers_stand_for() -> None:
    text = printed.header(planned("armhf-a53", DATA / "tflite/int8.tflite"))
    [scale] = re.findall(r"#define NET_INPUT_0_SCALE (\S+)", text)
    session = linnet.compat.tflite.Interpreter(str(DATA / "tflite/int8.tflite"))
    known, zero = session.get_input_details()[0]["quantization"]
    assert np.float32(scale) == np.float32(known)
    assert f"#define NET_INPUT_0_ZERO {zero}\n" in text
    known, zero = session.get_output_details()[0]["quantization"]
    assert f"#define NET_OUTPUT_0_ZERO {zero}\n" in text
    assert "_SCALE" not in printed.header(planned("armhf-a53"))


def test_batches_share_weights() -> None:
    one, both = planned("armhf-a53"), planned("armhf-a53", batches=[1, 8])
    assert len(both.weights) < 1.5 * len(one.weights)
    assert "void net_run_8(" in printed.header(both)
    assert both.arena > one.arena


@compiles
def test_a_report_says_what_each_step_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = [str(DATA / f"caffe/inner_product.{end}") for end in ("prototxt", "caffemodel")]
    monkeypatch.chdir(tmp_path)
    assert main(["compile", *model, "--report", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["plan"]) == said["steps"]
    assert 0 < sum(step["weights"] for step in said["plan"]) <= said["weights"]
    assert not any(step["measured"] for step in said["plan"])
    assert 0 < said["stack"] < 100_000 and 0 < said["code"] < 200_000
    assert not list(tmp_path.iterdir())


def test_the_plan_is_a_session_s_without_other_libraries() -> None:
    graph = Graph("grouped", [], {}, [Value("x", (0, 64, 28, 28))], ["y"])
    graph.initializers["w"] = np.ones((64, 2, 3, 3), np.float32)
    attrs = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1]}
    graph.nodes.append(Node("Conv", "y", ["x", "w"], ["y"], {**attrs, "group": 32}))
    network, core_graph = ahead.plan(graph, None, "net", wisdom="")
    options = {"wisdom": "", "blas": "none", "nnpack": "none", "isa": _core.default_isa()}
    session = _core.Session(core_graph, threads=1, **options)  # type: ignore[arg-type]
    steps = session.plan(1, []), network.programs[0]["steps"]
    [known, found] = ([(s["algorithm"], s["problem"]) for s in group] for group in steps)
    assert known == found


def test_the_code_of_every_plan_is_found() -> None:
    found = printed.sources_of_codes(build.SOURCE)
    files = [*(build.SOURCE / "algorithms").glob("*.cpp"), build.SOURCE / "compiled/camera.cpp"]
    text = "".join(path.read_text() for path in files)
    assert len(found) == text.count("= plan_code<") + text.count("=\n    plan_code<") > 30
    assert found["direct_fc"] == ("algorithms/direct_fc.cpp", "kCode")


def test_flags_are_those_of_the_build() -> None:
    text = " ".join((ROOT / "cpp/kernels/isas.cmake").read_text().split())
    tables = {"FLAGS": targets.FLAGS, "DOT_FLAGS": targets.DOT_FLAGS}
    for name, isa in ((name, isa) for name, table in tables.items() for isa in table):
        given = re.findall(rf"(?:set|APPEND) ?\(?LINNET_{name}_{isa} ([^)]*)\)", text)
        kept = [flag for flag in " ".join(given).split() if not flag.startswith("-Wno")]
        assert kept == tables[name][isa].split()


def test_sources_are_small() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in build.SOURCE.rglob("*"):
            if path.is_file():
                archive.write(path, path.relative_to(build.SOURCE))
    assert len(buffer.getvalue()) < 400_000


@compiles
def test_sources_come_with_what_they_include(tmp_path: Path) -> None:
    assert main(["compile", "digits", "-o", str(tmp_path / "net"), "--target", "armhf-a53",
                 "--emit", "c"]) == 0  # fmt: skip
    made = tmp_path / "net.mk"
    assert "net_source/kernels_scheduled.cpp" in made.read_text()
    said = run("make", "-n", "-C", tmp_path, "-f", made, capture_output=True).stdout.decode()
    compiled = [line for line in said.splitlines() if " -c " in line]
    assert len(compiled) > 10
    # One of them for this CPU: nothing is missing.
    run("g++", "-std=c++17", "-w", "-fsyntax-only", "-DLINNET_COMPILED", "-Inet_source/compiled",
        "-Inet_source", "net_source/code_winograd.cpp", cwd=tmp_path)  # fmt: skip
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_of_someone_s_is_not_replaced_by_sources(tmp_path: Path) -> None:
    (tmp_path / "net_source").mkdir()
    (tmp_path / "net_source/mine.c").write_text("")
    with pytest.raises(ValueError, match=r"net_source is there, and not the code of a network"):
        ahead.write(planned("armhf-a53"), [], tmp_path, "c")
    assert [path.name for path in tmp_path.rglob("*")] == ["net_source", "mine.c"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "3d"], "the name '3d' is not one of C: letters, digits and _"),
        (
            ["-o", "net", "--batch", "1,1"],
            "batches are [1, 1], expected different sizes up to 4096",
        ),
        (["-o", "nowhere/net"], "nowhere: there is no such folder"),
        (["-o", "net", "--algorithm", "magic"], "there is no algorithm 'magic'"),
        ([], "-o NAME says what to write"),
        (["-o", "linnet"], "the name 'linnet' begins with linnet, as the code's own do"),
        (["-o", "numpy", "--emit", "python"], "the name 'numpy' is another module's"),
        (["-o", "net", "--wisdom", "no.txt"], "no wisdom from no.txt: there is none yet"),
        (
            ["-o", "nowhere/3d", "--batch", "1,1", "--threads", "4096"],
            "the name '3d' is not one of C: letters, digits and _; nowhere: there is no such "
            "folder; batches are [1, 1], expected different sizes up to 4096; threads are 4096, "
            "expected 1 to 1024",
        ),
    ],
)
def test_what_cannot_be_compiled_is_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["compile", "digits", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_missing_compiler_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match=r"there is no arm-linux-gnueabihf-gcc.*g\+\+-arm-linux"):
        targets.tools(targets.target("armhf-a53"))


@compiles
def test_a_library_to_load(tmp_path: Path) -> None:
    network, graph = ahead.plan(DATA / "digits_int8.onnx", None, "net", wisdom="")
    paths, sizes = ahead.write(network, ahead.expected(network, graph, {}), tmp_path, "shared")
    assert [path.name for path in paths] == ["libnet.so", "net.h", "net_selftest.c"]
    assert 0 < sizes["text"] - len(network.weights) < 100_000
    x = np.random.default_rng(2).random((1, 1, 88, 88), np.float32)
    session = linnet.load(DATA / "digits_int8.onnx", threads=1)
    np.testing.assert_array_equal(run_library(paths[0], network, x), session(x))


def run_library(path: Path, network: Network, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    library = ctypes.CDLL(str(path))
    y = np.empty(network.outputs[0].of(1), np.float32)
    arena = np.empty(network.arena + 64, np.uint8)
    address = -(-arena.ctypes.data // 64) * 64
    library.net_run(
        ctypes.byref(ctypes.c_void_p(x.ctypes.data)),
        ctypes.byref(ctypes.c_void_p(y.ctypes.data)),
        ctypes.c_void_p(address),
    )
    return y


@compiles
@pytest.mark.parametrize("integers", [False, True])
def test_steps_in_bands_of_rows_are_those_of_a_session(tmp_path: Path, integers: bool) -> None:
    graph = bands.in_integers(bands.network()) if integers else bands.network()
    network, core_graph = ahead.plan(graph, None, "net", wisdom="")
    assert network.chained
    options = {"wisdom": "", "blas": "none", "nnpack": "none", "isa": _core.default_isa()}
    session = _core.Session(core_graph, threads=1, **options)  # type: ignore[arg-type]
    results = ahead.expected(network, core_graph, {})
    [path, *_] = ahead.write(network, results, tmp_path, "shared")[0]
    x = bands.images(1)
    [known] = session.run([x], [], None)
    np.testing.assert_array_equal(run_library(path, network, x), known)


@compiles
def test_a_wheel_with_threads_and_a_file_of_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DATA / "caffe/inner_product.prototxt", DATA / "caffe/inner_product.caffemodel"
    options = ["--emit", "python", "--threads", "2", "--weights-file", "--batch", "1,4"]
    assert main(["compile", *map(str, model), "-o", str(tmp_path / "small"), *options]) == 0
    [made] = tmp_path.iterdir()
    assert re.fullmatch(r"small-1-py3-none-linux_\w+\.whl", made.name)
    with zipfile.ZipFile(made) as archive:
        archive.extractall(tmp_path)
        assert archive.read("small-1.dist-info/RECORD").count(b"sha256=") == 5
    monkeypatch.syspath_prepend(tmp_path)
    small = importlib.import_module("small")
    assert small.BATCHES == (1, 4)
    net, session = small.Network(), linnet.load(*model, threads=2, isa=_core.default_isa())
    for batch in small.BATCHES:
        x = np.random.default_rng(batch).random((batch, 4, 5, 6), np.float32)
        for _ in range(3):
            for found, known in zip(net(x), session(x)):
                np.testing.assert_array_equal(found, known)
    with pytest.raises(ValueError, match=r"a batch of 2, expected 1 or 4"):
        net(np.zeros((2, 4, 5, 6), np.float32))
    with pytest.raises(ValueError, match=r"data is float64 .*, expected float32"):
        net(np.zeros((1, 4, 5, 6)))


@compilers
def test_the_test_of_a_network_with_all_options_is_plain_c(compiler: str, tmp_path: Path) -> None:
    network = planned("armhf-a53", threads=4, weights_file=True)
    for name, text in build.plan_files(network).items():
        (tmp_path / name).write_text(text)
    results = [np.zeros(value.of(1), value.dtype) for value in network.outputs]
    (tmp_path / "net_selftest.c").write_text(printed.selftest(network, results))
    files = ("net.c", "net_selftest.c")
    run(compiler, *STRICT_C, "-fsyntax-only", "-I", build.SOURCE, *files, cwd=tmp_path)


@compiles
@pytest.mark.parametrize(
    ("planes", "frame", "options"),
    [
        (3, camera.Frame(48, 64, "yuv420"), {"fit": "letterbox", "resample": "pillow",
                                             "color": "BGR", "mean": (104, 117, 123)}),
        (1, camera.Frame(31, 45, "bgr"), {"fit": "crop"}),
    ],
)  # fmt: skip
def test_a_camera_s_frame_becomes_what_a_session_makes_of_it(
    planes: int, frame: camera.Frame, options: dict[str, Any], tmp_path: Path
) -> None:
    graph = Graph("seen", [], {}, [Value("x", (0, planes, 24, 20))], ["y"])
    graph.nodes.append(Node("Relu", "y", ["x"], ["y"]))
    record = linnet.Preprocess(scale=1 / 64, **options)
    network, core_graph = ahead.plan(graph, None, "seen", wisdom="", frame=frame, top=5,
                                     preprocess=record)  # fmt: skip
    ahead.write(network, ahead.expected(network, core_graph, {}), tmp_path, "static")
    flags = (*STRICT_C, "-fsanitize=address", "-o", "seen")
    run("gcc", *flags, "seen_selftest.c", "libseen.a", "-lm", cwd=tmp_path)
    said = run(tmp_path / "seen", capture_output=True).stdout
    assert re.fullmatch(rb"seen: passed, largest difference 0 of .*, 0 not the same\n", said)
    header = (tmp_path / "seen.h").read_text()
    assert f"SEEN_INPUT_0_COUNT {np.prod(frame.shape)} " in header
    assert "SEEN_OUTPUT_0_TYPE int32_t" in header


def test_planes_of_a_frame_are_its_colours() -> None:
    # White, black, red and blue of limited range, a block of four pixels each.
    colours = np.repeat(np.uint8([[235, 16, 81, 41]]), 2, axis=1)
    blues, reds = np.uint8([128, 128, 90, 240]), np.uint8([128, 128, 240, 110])
    planes = np.concatenate([np.tile(colours, (2, 1)).ravel(), blues, reds])
    picture = camera.Frame(2, 8, "yuv420").picture(planes)
    wanted = [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 0, 255)]
    assert np.abs(picture[0, ::2].astype(int) - wanted).max() <= 1


def test_sizes_that_are_open_are_named() -> None:
    graph = Graph("open", [], {}, [Value("x", (0, 3, 0, 20))], ["y"])
    graph.nodes.append(Node("Relu", "y", ["x"], ["y"]))
    with pytest.raises(ValueError, match=r"open: give them by shapes; x is Nx3x\?x20$"):
        planned("armhf-a53", graph)
    assert planned("armhf-a53", graph, shapes={"x": (1, 3, 8, 20)}).inputs[0].count(1) == 480


def test_all_that_is_in_the_way_of_a_network_is_said_at_once() -> None:
    graph = Graph("tall", [], {}, [Value("x", (0, 3, 24, 20))], ["y"])
    graph.nodes.append(Node("Softmax", "y", ["x"], ["y"], {"axis": 2}))  # of the reference alone
    with pytest.raises(ValueError) as error:
        ahead.plan(graph, None, "tall", wisdom="", frame=camera.Frame(3, 5, "yuv420"), top=9999,
                   batches=(1, 2), problems=["known"])  # fmt: skip
    assert str(error.value) == (
        "known; a camera's frames come one by one: the batch is 1; a frame has even sizes up to "
        "8192; the best 9999 are not among 1440 scores of float32; cannot be compiled: y: its code "
        "allocates memory"
    )
