"""The `linnet` command: every verb's text, JSON, exit status and answer to bad input."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import cli, digits, interpret, machine, passes
from linnet.formats.onnx_write import save
from linnet.graph import Graph, Node, Value

Call = Callable[..., Any]
Refused = Callable[..., str]

DATA = Path(__file__).parent / "data"
DIGIT = str(DATA / "digits" / "5.png")
HUGE = "allocate" if sys.maxsize > 1 << 32 else "dimension"  # how NumPy refuses a huge array
QUICK = ["--iterations", "3", "--duration", "0"]


@pytest.fixture
def model(small: Graph, tmp_path: Path) -> str:
    save(small, tmp_path / "small.onnx")
    return str(tmp_path / "small.onnx")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command that succeeds; its output, parsed if it is JSON."""

    def run(*argv: object, status: int = 0) -> Any:
        assert cli.main([str(a) for a in argv]) == status
        out, err = capsys.readouterr()
        assert err == ""
        return json.loads(out) if "--json" in argv else out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must be refused with status 2 and one line of error; the message."""

    def run(*argv: object) -> str:
        assert cli.main([str(a) for a in argv]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("linnet: error: ") and err.count("\n") == 1
        return err[len("linnet: error: ") :]

    return run


# run


@pytest.mark.parametrize("digit", range(10))
def test_run_digits(call: Call, digit: int) -> None:
    image = DATA / "digits" / f"{digit}.png"
    data = call("run", "digits", "--image", image, "--json")
    best = data["outputs"]["prob"]["top"][0][0]
    assert best["index"] == digit and best["label"] == f"digit {digit}" and best["value"] > 0.5


def test_run_photo(call: Call) -> None:
    """Colour, another size, and two images in one batch."""
    photo = DATA / "digits" / "5_rgb.png"
    lines = call("run", "digits", "--image", photo, "--image", DIGIT, "--top", "2").splitlines()
    assert [lines[0], lines[3]] == [str(photo), DIGIT] and len(lines) == 6
    assert lines[1].endswith("digit 5") and lines[4].endswith("digit 5")


def test_run_is_what_the_session_computes(
    call: Call, model: str, small: Graph, tmp_path: Path
) -> None:
    x = np.random.default_rng(3).random((4, 2, 9, 11), np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", data=x)
    expected = interpret.run(small, {"data": x}, fetch=["fc", "relu1"])
    for name in ("x.npy", "x.npz"):
        out = tmp_path / "y.npz"
        options = ["--inputs", tmp_path / name, "--fetch", "fc,relu1", "--save-outputs", out]
        text = call("run", model, *options)
        with np.load(out) as saved:
            assert set(saved) == {"fc", "relu1"}
            for key in saved:
                np.testing.assert_allclose(saved[key], expected[key], rtol=1e-4, atol=1e-5)
        assert re.search(r"^fc 4x7: min -?[\d.]+, max [\d.]+, mean -?[\d.]+$", text, re.MULTILINE)
    data = call(
        "run", model, "--inputs", tmp_path / "x.npz", "--fetch", "fc", "--print-top", "--json"
    )
    tops = data["outputs"]["fc"]["top"]
    assert [len(top) for top in tops] == [5] * 4
    assert [top[0]["index"] for top in tops] == expected["fc"].argmax(1).tolist()
    assert data["outputs"]["fc"]["max"] == pytest.approx(expected["fc"].max(), rel=1e-4)


def test_run_fill(call: Call, model: str) -> None:
    shape = ["--shapes", "data:3x2x9x11", "--json"]
    seeds = [call("run", model, "--fill", "random", "--seed", s, *shape) for s in (1, 1, 2)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert seeds[0]["outputs"]["prob"]["shape"] == [3, 7]
    zeros = call("run", model, "--fill", "zeros", "--fetch", "data", "--json")
    assert zeros["outputs"]["data"] == {"shape": [1, 2, 9, 11], "min": 0, "max": 0, "mean": 0}


def test_run_labels(call: Call, refused: Refused, model: str, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"n{i} kind {i}\n" for i in range(7)))
    text = call("run", model, "--fill", "random", "--top", "7", "--labels", labels)
    assert sorted(re.findall(r"n\d kind \d", text)) == [f"n{i} kind {i}" for i in range(7)]
    labels.write_text("one\ntwo\n")
    message = refused("run", model, "--fill", "zeros", "--top", "1", "--labels", labels)
    assert "2 labels for 7 classes" in message


def test_run_pixels(call: Call, tmp_path: Path) -> None:
    """Channel order, mean and scale reach the model."""
    image_module = pytest.importorskip("PIL.Image", reason="the image extra is not installed")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    image_module.fromarray(pixels).save(tmp_path / "p.png")
    graph = Graph("", [Node("Relu", "relu", ["x"], ["y"])], {}, [Value("x", (0, 3, 4, 5))], ["y"])
    save(graph, tmp_path / "relu.onnx")
    options = ["--channel-order", "BGR", "--mean", "1,2,3", "--scale", "1/4"]
    out = ["--fetch", "x", "--save-outputs", tmp_path / "x.npz"]
    call("run", tmp_path / "relu.onnx", "--image", tmp_path / "p.png", *options, *out)
    with np.load(tmp_path / "x.npz") as saved:
        expected = (pixels[..., ::-1].transpose(2, 0, 1) - np.reshape([1, 2, 3], (3, 1, 1))) / 4
        np.testing.assert_allclose(saved["x"][0], expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_run_pixels_with_channels_last(call: Call, tmp_path: Path, dtype: type) -> None:
    """As TFLite files take them, bytes too."""
    image_module = pytest.importorskip("PIL.Image", reason="the image extra is not installed")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    image_module.fromarray(pixels).save(tmp_path / "p.png")
    inputs = [Value("x", (1, 4, 5, 3), np.dtype(dtype))]
    graph = Graph("", [Node("Cast", "c", ["x"], ["y"], {"to": 6})], {}, inputs, ["y"])
    save(passes.canonicalize(graph), tmp_path / "cast.onnx")
    out = ["--fetch", "x", "--save-outputs", tmp_path / "x.npz"]
    call("run", tmp_path / "cast.onnx", "--image", tmp_path / "p.png", *out)
    with np.load(tmp_path / "x.npz") as saved:
        assert saved["x"].dtype == dtype
        np.testing.assert_array_equal(saved["x"][0], pixels)


def test_convert_keeps_how_pictures_become_inputs(call: Call, tmp_path: Path) -> None:
    """What one command stores, the others use; single fields can be given, files of means too."""
    picture = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    image_module = pytest.importorskip("PIL.Image", reason="the image extra is not installed")
    image_module.fromarray(picture).save(tmp_path / "p.png")
    graph = Graph("", [Node("Relu", "relu", ["x"], ["y"])], {}, [Value("x", (0, 3, 4, 5))], ["y"])
    save(graph, tmp_path / "plain.onnx")
    options = "--fit crop --resize 6x7 --mean 1,2,3 --scale 1/2 --color BGR --resample pillow"
    call("convert", tmp_path / "plain.onnx", tmp_path / "net.onnx", *options.split())
    record = linnet.Preprocess(
        fit="crop", resize=(6, 7), mean=(1, 2, 3), scale=0.5, color="BGR", resample="pillow"
    )
    assert linnet.load(tmp_path / "net.onnx").preprocess == record
    assert "pictures: Preprocess(fit='crop'" in call("inspect", tmp_path / "net.onnx")
    np.save(tmp_path / "mean.npy", np.full((3, 5, 6), 7.0))
    run = ["--fetch", "x", "--image", tmp_path / "p.png", "--save-outputs", tmp_path / "x.npz"]
    for given, changes in (
        ("", {}),
        ("--size 4x5 --fit letterbox --pad 9", {"fit": "letterbox", "pad": 9, "resize": None}),
        (f"--mean {tmp_path}/mean.npy", {"mean": np.full((3, 5, 6), 7)}),
    ):
        name = "plain" if "--size" in given else "net"
        more = [*given.split(), *(options.split()[4:] if name == "plain" else [])]
        call("run", tmp_path / f"{name}.onnx", *run, *more)
        with np.load(tmp_path / "x.npz") as saved:
            wanted = replace(record, size=(4, 5), **changes)(picture)
            np.testing.assert_array_equal(saved["x"], wanted)
    both = [tmp_path / "net.onnx", tmp_path / "plain.onnx", "--image", tmp_path / "p.png"]
    assert "PASSED" in call("verify", *both)
    assert "Throughput" in call("bench", *both[:1], *both[2:], *QUICK)


def test_run_prints_the_labels_of_the_model(call: Call, tmp_path: Path) -> None:
    graph = Graph("", [Node("Flatten", "f", ["x"], ["y"])], {}, [Value("x", (0, 3))], ["y"])
    graph.metadata = {"linnet.labels": "low\nhigh"}
    save(graph, tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", np.float32([[1, 2, 3]]))
    text = call("run", tmp_path / "net.onnx", "--inputs", tmp_path / "x.npy", "--top", "3")
    assert [line.split(None, 1)[1] for line in text.splitlines()[1:]] == ["class 2", "high", "low"]


def test_inputs_of_integers(call: Call, tmp_path: Path) -> None:
    """Made up as bytes, computed by every verb; the best class is the largest integer."""
    network = DATA / "tflite" / "int8.tflite"
    assert "Throughput" in call("bench", network, "--iterations", "1", "--duration", "0.01")
    data = call("run", network, "--fill", "random", "--top", "10", "--json")
    found = data["outputs"]["StatefulPartitionedCall_1:0"]
    values = [entry["value"] for entry in found["top"][0]]
    assert values == sorted(values, reverse=True) and values[0] == found["max"]
    call("convert", network, tmp_path / "net.onnx")
    assert "PASSED" in call("verify", network, tmp_path / "net.onnx")
    assert b"QuantizeLinear" in (tmp_path / "net.onnx").read_bytes()
    call("convert", network, tmp_path / "float.onnx", "--float")
    assert b"QuantizeLinear" not in (tmp_path / "float.onnx").read_bytes()
    steps = call("inspect", network, "--steps", "--float")
    assert " u8" not in steps and "DequantizeLinear" not in call("inspect", network, "--float")
    assert "DequantizeLinear" in call("inspect", network)


def test_run_options_reach_the_session(call: Call, model: str) -> None:
    """Through the report of the layers."""
    options = ["--threads", "1", "--isa", "scalar", "--algorithm", "direct-ref", "--strict"]
    data = call("profile", model, "--iterations", "1", *options, "--json")
    weighted = [layer for layer in data["layers"] if layer["macs"]]
    assert {layer["algorithm"] for layer in weighted} == {"direct-ref"}
    assert "scalar, 1 thread," in data["title"]
    for alias in ("-t", "--num_threads"):
        title = call("profile", model, "--iterations", "1", alias, "3", "--json")["title"]
        assert "3 threads" in title


# inspect, convert


def test_inspect(call: Call, model: str, small: Graph) -> None:
    data = call("inspect", model, "--json")
    assert data["inputs"] == [{"name": "data", "shape": [None, 2, 9, 11]}]
    assert data["outputs"] == [{"name": "prob", "shape": [None, 7]}]
    assert [n["op"] for n in data["nodes"]] == [n.op for n in small.nodes]
    assert data["parameters"] == sum(a.size for a in small.initializers.values())
    conv1, conv2, fc = 9 * 11 * 5 * 2 * 9, 4 * 5 * 5 * 5, 100 * 7
    macs = {n["name"]: n["macs"] for n in data["nodes"] if n["macs"]}
    assert macs == {"conv1": conv1, "conv2": conv2, "fc": fc}
    assert data["macs"] == conv1 + conv2 + fc
    text = call("inspect", model)
    assert "input data Nx2x9x11" in text and f"{data['parameters']:,} parameters" in text


def test_inspect_the_program(call: Call, model: str) -> None:
    steps = call("inspect", model, "--steps", "--threads", "1")
    layers = linnet.load(model, threads=1).explain().layers
    assert steps.count("step ") == len(layers)
    for layer in layers:
        assert f" {layer.name} ({layer.op}) {layer.algorithm}: {layer.problem}\n" in steps
    arena = call("inspect", model, "--arena", "--batch", "3", "--json")
    assert arena["steps"] == []
    sizes = [re.match(r"block \d+: (\d+) bytes at (\d+), ", line) for line in arena["arena"][:-1]]
    total = re.match(r"arena: (\d+) bytes", arena["arena"][-1])
    assert total and all(sizes)
    assert all(int(m[1]) + int(m[2]) <= int(total[1]) for m in sizes if m)
    both = call("inspect", model, "--steps", "--arena", "--threads", "1")
    assert both.startswith(steps.rstrip()) and "arena: " in both


def test_inspect_the_memory(call: Call, model: str) -> None:
    found = call("inspect", model, "--memory", "--threads", "1", "--json")
    net = linnet.load(model, threads=1)
    assert found["weights"] == net.weight_bytes and found["arena"] == net.arena_bytes
    assert 0 < found["values"] <= found["arena"] and found["read"] < 4096 * 10
    assert found["total"] == sum(found[n] for n in ("weights", "arena", "callers", "read"))
    larger = call("inspect", model, "--memory", "--batch", "8", "--threads", "1", "--json")
    assert larger["callers"] == 8 * found["callers"] and larger["arena"] > found["arena"]
    assert "in all" in call("inspect", model, "--memory", "--batch", "8")


def test_inspect_in_caffe_style(call: Call) -> None:
    model, weights = DATA / "digits.prototxt", DATA / "digits.caffemodel"
    forms = [
        (model, weights),
        ("-model", model, "-weights", weights),
        (model, "--weights", weights),
    ]
    results = [call("inspect", *form, "--json") for form in forms]
    assert results[0] == results[1] == results[2]
    assert results[0]["macs"] == call("inspect", "digits", "--json")["macs"]


def test_convert(call: Call, tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    text = call("convert", DATA / "digits.prototxt", DATA / "digits.caffemodel", target)
    assert text.startswith(f"{target}: 4.") and "f32" in text
    x = np.random.default_rng(0).random((2, 1, 88, 88), np.float32)
    expected = linnet.load(digits.MODEL)(x)
    np.testing.assert_allclose(linnet.load(target)(x), expected, rtol=1e-4, atol=1e-7)
    data = call("convert", "digits", target, "--weights-dtype", "f16", "--json")
    assert data["bytes"] == target.stat().st_size < 2_100_000
    np.testing.assert_array_equal(linnet.load(target)(x), expected)
    text = call("convert", "digits", target, "--weights-dtype", "int8")
    assert text == f"{target}: 1.0 MB, int8 weights\n"


def test_options_reach_the_session(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    load = linnet.load

    def spy(*files: Any, **options: Any) -> linnet.Session:
        given.update(options)
        return load(*files, **options)

    monkeypatch.setattr(linnet, "load", spy)
    options = ["--nnpack", "/no/such.so", "--weights-dtype", "int8", "--memory-limit", "50M"]
    data = call("profile", "digits", "--iterations", "1", *options, "-t", "2", "--strict", "--json")
    assert given == {
        "stages": [],
        "outputs": [],
        "preprocess": None,
        "arithmetic": None,
        "threads": 2,
        "algorithm": None,
        "strict": True,
        "isa": None,
        "blas": None,
        "nnpack": "/no/such.so",
        "weights_dtype": "int8",
        "memory_limit": "50M",
    }
    assert [" wint8 " in layer["problem"] for layer in data["layers"] if layer["op"] == "Gemm"] == [
        True,
        True,
    ]


# bench, profile


def test_bench(call: Call, model: str) -> None:
    text = call("bench", model, *QUICK, "--shapes", "data:2x2x9x11", "--percentile", "50,99.9")
    stats = r"first=\d+ curr=\d+ min=\d+ max=\d+ avg=[\d.e+]+ std=\d+"
    number = r"[\d.e+]+"
    for pattern in (
        rf"count=1 {stats}",
        rf"count=3 {stats}",
        rf"Inference timings in us: Init: \d+, First inference: \d+, "
        rf"Warmup \(avg\): {number}, Inference \(avg\): {number}",
        "=== Performance summary ===",
        rf"Throughput: {number} qps, {number} images/s",
        rf"Latency: min = {number} ms, max = {number} ms, mean = {number} ms, "
        rf"median = {number} ms, percentile\(50%\) = {number} ms, percentile\(99.9%\) = .* ms",
    ):
        assert re.search(f"^{pattern}$", text, re.MULTILINE), pattern


def test_bench_stops_by_count_and_time(call: Call, model: str) -> None:
    data = call("bench", model, *QUICK, "--json")
    assert data["count"] == 3 and data["shapes"] == {"data": "1x2x9x11"}
    assert data["min_ms"] <= data["median_ms"] <= data["percentiles_ms"]["99"] <= data["max_ms"]
    assert list(data["percentiles_ms"]) == ["90", "95", "99"]
    longer = call("bench", model, "--iterations", 1, "--duration", 0.1, "--json")
    assert longer["count"] > 3 and longer["count"] * longer["mean_ms"] >= 50
    cut = call("bench", "digits", "--iterations", 10**6, "--max-secs", 0.1, "--json")
    assert 1 <= cut["count"] < 10**6
    assert call("bench", model, *QUICK, "--warmup", 0, "--json")["count"] == 3


def test_bench_waits_between_runs(
    monkeypatch: pytest.MonkeyPatch, call: Call, model: str, refused: Refused, tmp_path: Path
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("linnet.cli.times.time.sleep", waits.append)
    data = call("bench", model, *QUICK, "--interval", 20, "--json")
    assert data["interval_ms"] == 20 and waits == [0.02] * 3
    assert "20 ms before each run\n" in call("bench", model, *QUICK, "--interval", 20)
    assert "before each run" not in call("bench", model, *QUICK) and len(waits) == 6

    baseline = tmp_path / "baseline.json"
    baseline.write_text(json.dumps(data))
    assert "20.0 ms before each run" in refused("bench", model, *QUICK, "--baseline", baseline)
    del data["interval_ms"]  # as written before it was measured
    baseline.write_text(json.dumps({**data, "median_ms": 1000.0}))
    assert "PASSED" in call("bench", model, *QUICK, "--baseline", baseline)


def test_bench_baseline(call: Call, refused: Refused, model: str, tmp_path: Path) -> None:
    data = call("bench", model, *QUICK, "--json")
    baseline = tmp_path / "baseline.json"
    check = ["bench", model, *QUICK, "--baseline", baseline, "--max-regression", "50%"]

    baseline.write_text(json.dumps({**data, "median_ms": 1000.0}))
    assert "\nPASSED: median" in call(*check)
    baseline.write_text(json.dumps({**data, "median_ms": 1e-6}))
    assert "\nFAILED: median" in call(*check, status=1)
    verdict = call(*check, "--json", status=1)["baseline"]
    assert verdict["passed"] is False and verdict["slower"] > 0.5

    for broken in ("{", "[]", '{"median_ms": "x"}', json.dumps({**data, "median_ms": 0})):
        baseline.write_text(broken)
        assert str(baseline) in refused(*check)
    baseline.write_text(json.dumps({**data, "shapes": {"data": "5x2x9x11"}}))
    assert "measured {'data': '5x2x9x11'}" in refused(*check)


def test_bench_warns_of_unsteady_times(
    monkeypatch: pytest.MonkeyPatch, call: Call, model: str
) -> None:
    times = iter([0.01] * 50)
    monkeypatch.setattr(
        "linnet.cli.bench.repeat", lambda *_: [next(times), next(times), next(times)]
    )
    assert "Warning" not in call("bench", model)
    monkeypatch.setattr("linnet.cli.bench.repeat", lambda *_: [0.01, 0.03, 0.02])
    assert "coefficient of variance = 40.8%" in call("bench", model)


def test_profile(call: Call, tmp_path: Path) -> None:
    text = call("profile", "digits", "--iterations", 2, "--export-profile", tmp_path / "p.csv")
    titles = re.findall(r"^=+ (.*) =+$", text, re.MULTILINE)
    assert titles == ["Run Order", "Top by Computation Time", "Summary by node type"]
    header = text.split("Run Order")[1].splitlines()[1]
    names = ["node type", "first", "avg ms", "%", "cdf%", "algorithm", "isa", "GFLOP/s"]
    assert re.findall(r"\[(.*?)\]", header) == [*names, "% of peak", "Name"]
    assert re.search(r"^Timings \(microseconds\): count=2 first=\d+ ", text, re.MULTILINE)
    layers = len(linnet.load(digits.MODEL).explain())
    assert f"Number of nodes executed: {layers}" in text
    with open(tmp_path / "p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == layers and float(rows[0]["seconds"]) > 0 and rows[0]["algorithm"]

    data = call(
        "profile", "digits", "--iterations", 2, "--export-profile", tmp_path / "p.json", "--json"
    )
    assert json.loads((tmp_path / "p.json").read_text()) == data
    assert [len(layer["times"]) for layer in data["layers"]] == [2] * layers


# doctor, compare, and what all have in common


def test_doctor(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    data = call("doctor", "--json")
    assert data["isa"] in data["isas"] and data["self-test"].startswith("passed")
    assert data["advice"] and 0 < data["import_ms"] < 10_000
    monkeypatch.setattr("linnet.cli.doctor._self_test", lambda: data["self-test"])
    text = call("doctor")
    assert all(re.search(f"^{key} ", text, re.MULTILINE) for key in data)


def test_doctor_says_what_operators_there_are(call: Call) -> None:
    assert "Conv: Of images, rows" in call("doctor", "--operators")
    assert call("doctor", "--operators", "--json")["GridSample"].startswith("Of images")


def test_doctor_where_linnet_cannot_run(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_ISA", "sse9")
    last = call("doctor", status=1).splitlines()[-1]
    assert last.startswith("linnet cannot run here: isa sse9 is unknown")
    assert call("doctor", "--json", status=1)["error"] == last


def test_doctor_notices_an_isa_held_back(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_ISA", "scalar")
    monkeypatch.setattr("linnet.cli.doctor._self_test", lambda: "left to another test")
    data = call("doctor", "--json")
    best = data["isas"][0]
    assert ("LINNET_ISA" in data["advice"]) == (best != "scalar")


@pytest.mark.parametrize(
    ("bits", "throttled", "advice"),
    [
        ("0", "no", ""),
        ("50005", "under-voltage now, throttled now", "5.1 V"),
        ("0x10000", "under-voltage before", "5.1 V"),
        ("80008", "soft temperature limit now", "heat sink"),
        ("", "unknown", ""),
        ("what?", "unknown", ""),
    ],
)
def test_doctor_on_a_raspberry_pi(
    call: Call, monkeypatch: pytest.MonkeyPatch, bits: str, throttled: str, advice: str
) -> None:
    read = machine.read
    files = {
        "/proc/device-tree/model": "Raspberry Pi 3 Model B Rev 1.2\0",
        "/sys/devices/platform/soc/soc:firmware/get_throttled": f"{bits}\n",
    }
    monkeypatch.setattr(machine, "read", lambda path: files.get(str(path)) or read(path))
    monkeypatch.setattr("linnet.cli.doctor._self_test", lambda: "left to another test")
    monkeypatch.setattr("linnet.cli.doctor._import_ms", lambda: 1.0)
    monkeypatch.delenv("LINNET_ISA", raising=False)
    data = call("doctor", "--json")
    assert data["board"] == "Raspberry Pi 3 Model B Rev 1.2"
    assert data["throttled"] == throttled
    assert advice in data["advice"]


def test_compare_is_wired(call: Call) -> None:
    assert "linnet" in call("compare", "--list")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "VERB"),
        (["fly"], "'fly'"),
        (["run"], "nothing to run on"),
        (["run", "--fill", "zeros"], "a model is needed"),
        (["run", "digits"], "give pictures, --image, --inputs or --fill"),
        (["run", "digits", "--fill", "ones"], "'ones'"),
        (["run", "digits", "--nonsense"], "--nonsense"),
        (["run", "digits", "--fill", "zeros", "--image", DIGIT], "not allowed with"),
        (["run", "digits", "--fill", "zeros", "--scale", "2"], "--scale is for --image"),
        (["verify", "digits", "digits", "--fit", "crop"], "--fit is for --image"),
        (["bench", "digits", "--image", DIGIT, "--shapes", "2x1x88x88"], "not for --image"),
        (["run", "digits", "--image", DIGIT, "--scale", "1/0"], "'1/0'"),
        (["run", "digits", "--image", DIGIT, "--mean", "1,2"], "mean is [1.0, 2.0], expected"),
        (["run", "digits", "--image", DIGIT, "--mean", "1,2,3"], "3 means for 1 planes"),
        (["run", "digits", "--image", DIGIT, "--mean", "no.npy"], "no.npy: No such file"),
        (["run", "digits", "--image", DIGIT, "--size", "9x9"], "size is 9x9, but the model"),
        (["run", "digits", "--image", DIGIT, "--size", "9x9x9"], "not HEIGHTxWIDTH"),
        (["run", "digits", "--image", DIGIT, "--resize", "9"], "resize is 9x9, less than"),
        (
            ["run", "digits", "--image", DIGIT, "--channel-order", "RGB"],
            "'RGB', but the model takes 1 planes",
        ),
        (["run", "digits", "--image", "none.png"], "none.png: No such file"),
        (["run", "digits", "--image", __file__], "not a readable image"),
        (["run", "digits", "--inputs", "none.npz"], "none.npz: No such file"),
        (["run", "digits", "--inputs", __file__], "not a readable .npz or .npy file"),
        (["run", "digits", "--inputs", str(DATA / "digits_caffe.npz")], "no array 'data'"),
        (["run", "digits", "--fill", "zeros", "--fetch", "fc9"], "no value 'fc9'"),
        (["run", "digits", "--fill", "zeros", "--fetch", "conv1", "--top", "1"], "--top"),
        (["run", "digits", "--fill", "zeros", "--top", "0"], "'0' is not a positive number"),
        (["run", "digits", "--fill", "zeros", "-t", "-1"], "'-1' is not a positive number"),
        (["run", "digits", "--fill", "zeros", "--isa", "sse9"], "sse9 is unknown"),
        (["run", "digits", "--fill", "zeros", "--memory-limit", "1K"], "memory_limit is 1024"),
        (["run", "none.onnx", "--fill", "zeros"], "none.onnx: No such file"),
        (["run", __file__, "--fill", "zeros"], "test_cli.py"),
        (["bench", "a", "b", "c"], "too many files: 'a', 'b', 'c'"),
        (["bench", "digits", "--shapes", "data:1x2"], "'data' is Nx1x88x88, not 1x2"),
        (["bench", "digits", "--shapes", "image:1x1x88x88"], "no input 'image'"),
        (["bench", "digits", "--shapes", "1x1x88x-88"], "expected NAME:"),
        (["bench", "digits", "--shapes", "0x1x88x88"], "the batch is empty"),
        (["bench", "digits", "--shapes", "9999999999999x1x88x88"], HUGE),
        (["bench", "digits", "--percentile", "100"], "--percentile"),
        (["bench", "digits", "--warmup", "-1"], "--warmup is -1"),
        (["bench", "digits", "--duration", "nan"], "'nan'"),
        (["bench", "digits", "--interval", "-1"], "negative"),
        (["bench", "digits", "--interval", "1e9"], "more than 60000"),
        (["bench", "digits", *QUICK, "--baseline", "none.json"], "none.json: No such file"),
        (["profile", "digits", "--export-profile", "p.txt"], ".json or .csv"),
        (["profile", "digits", "--export-profile", "/no/folder/p.csv"], "/no/folder/p.csv"),
        (["run", "digits", "--fill", "zeros", "--save-outputs", "/no/folder/y.npz"], "/no/folder"),
        (["convert", "digits"], "and a file to write"),
        (["convert", "digits", "out.caffemodel"], "must end in .onnx"),
        (["convert", "digits", "/no/such/folder/out.onnx"], "/no/such/folder/out.onnx"),
        (["inspect", str(DATA / "digits.prototxt")], "caffemodel"),
        (["inspect", f"{DATA}/digits.caffemodel", f"{DATA}/digits.prototxt"], "holds weights only"),
    ],
)
def test_bad_input(refused: Refused, argv: list[str], message: str) -> None:
    assert message in refused(*argv)


def test_failed_run_leaves_its_output_file(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "y.npz"
    path.write_bytes(b"earlier")
    refused("run", "digits", "--fill", "zeros", "--fetch", "nothing", "--save-outputs", path)
    assert path.read_bytes() == b"earlier"


def test_missing_pillow(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "pip install pillow" in refused("run", "digits", "--image", DIGIT)


def test_damaged_files(refused: Refused, tmp_path: Path) -> None:
    """Cut short at many places: always one line, never a traceback."""
    for path, form in (
        (digits.MODEL, ["run", "{}", "--fill", "zeros"]),
        (DATA / "digits.prototxt", ["inspect", "{}", str(DATA / "digits.caffemodel")]),
        (DATA / "digits.caffemodel", ["inspect", str(DATA / "digits.prototxt"), "{}"]),
        (DATA / "digits" / "5.png", ["run", "digits", "--image", "{}"]),
        (
            Path(linnet.__file__).parent / "models" / "digits_heldout.npz",
            ["run", "digits", "--inputs", "{}"],
        ),
    ):
        whole = path.read_bytes()
        cut = tmp_path / path.name
        for part in (0.0, 0.1, 0.5, 0.9):
            cut.write_bytes(whole[: int(part * len(whole))])
            assert refused(*(word.format(cut) for word in form))


def test_process(model: str) -> None:
    """The installed command: status, streams, a reader that stops early."""

    def linnet_command(*argv: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "linnet.cli", *argv]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = linnet_command("--version")
    assert (done.returncode, done.stdout) == (0, f"linnet {linnet.__version__}\n")
    done = linnet_command("run", model, "--fill", "random", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["inputs"] == ["input 0"]
    done = linnet_command("run", "none.onnx", "--fill", "zeros")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "linnet: error: none.onnx: No such file or directory\n"
    done = linnet_command("--help")
    assert done.returncode == 0 and "doctor" in done.stdout
    pipe = f"{sys.executable} -m linnet.cli inspect digits | true"
    piped = subprocess.run(pipe, shell=True, capture_output=True, text=True, check=False)
    assert (piped.returncode, piped.stderr) == (0, "")


def test_out_of_memory(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*files: Any, **options: Any) -> None:
        raise MemoryError("std::bad_alloc")

    monkeypatch.setattr(linnet, "load", fail)
    assert refused("run", "digits", "--fill", "zeros") == "out of memory\n"


def test_two_models_are_compared_up_to_a_value(call: Call, tmp_path: Path) -> None:
    """What comes after it may be what linnet has not."""
    path, target = tmp_path / "net.prototxt", tmp_path / "out.onnx"
    path.write_text(
        'input: "x" input_shape { dim: 1 dim: 3 }'
        'layer { name: "a" type: "Sigmoid" bottom: "x" top: "a" }'
        'layer { name: "b" type: "ReLU" bottom: "a" top: "b" }'
        'layer { name: "c" type: "Strange" bottom: "b" top: "c" }'
    )
    call("convert", path, target, "--outputs", "a,b")
    values = call("verify", path, target, "--outputs", "a", "--json")["values"]
    assert [value["value"] for value in values] == ["a"]
    assert values[0]["error"] == 0


def test_stages_are_options(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'input: "x" input_shape { dim: 1 dim: 3 }'
        'layer { name: "a" type: "ReLU" bottom: "x" top: "a" }'
        'layer { name: "b" type: "Softmax" bottom: "a" top: "b" include { stage: "deploy" } }'
    )
    for options, output in (([], "a"), (["--stage", "x", "--stage", "deploy"], "b")):
        assert [v["name"] for v in call("inspect", path, *options, "--json")["outputs"]] == [output]
        data = call("run", path, *options, "--fill", "zeros", "--json")
        assert list(data["outputs"]) == [output]
        target = tmp_path / "out.onnx"
        call("convert", path, target, *options)
        assert [value.name for value in linnet.load(target).outputs] == [output]
        call("verify", path, target, *options)
        call("bench", path, *options, *QUICK)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b", ["a,b"]),
        ("a,b,c", ["a,b", "c"]),
        ("c,a,b", ["c", "a,b"]),
        ("c,d", ["c", "d"]),
        ("e,,f", ["e,,f"]),
        ("c", ["c"]),
    ],
)
def test_names_with_commas_are_fetched(
    text: str, names: list[str], call: Call, tmp_path: Path
) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'input: "x" input_shape { dim: 1 dim: 3 }'
        + "".join(
            f'layer {{ name: "{name}" type: "ReLU" bottom: "x" top: "{name}" }}'
            for name in ("a,b", "c", "d", "e,,f")
        )
    )
    data = call("run", path, "--fill", "zeros", "--fetch", text, "--json")
    assert list(data["outputs"]) == names


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_labels_in_any_encoding(encoding: str, call: Call, model: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(
        "null\r\néin\r\nzwei\r\n3\r\n4\r\n5\r\n6".encode(encoding)
    )
    options = ["--labels", tmp_path / "labels.txt", "--fill", "zeros", "--top", "7", "--json"]
    found = call("run", model, *options)["outputs"]["prob"]["top"][0]
    assert {f["index"]: f["label"] for f in found}[0] == "null"
    assert {f["index"]: f["label"] for f in found}[1] == "éin"


@pytest.mark.parametrize("arguments", [["--version"], ["doctor"], ["bench", "digits", *QUICK]])
def test_a_package_without_metadata(arguments: list[str], tmp_path: Path) -> None:
    """As bundlers leave it; the module itself says its version."""
    package = Path(linnet.__file__).parent
    shutil.copytree(package, tmp_path / "linnet", ignore=shutil.ignore_patterns("__pycache__"))
    hide = (
        "import importlib.metadata, sys; sys.argv[0] = 'linnet'\n"
        "def version(name): raise importlib.metadata.PackageNotFoundError(name)\n"
        "importlib.metadata.version = importlib.metadata.distribution = version\n"
        f"from linnet.cli import main; sys.exit(main({arguments}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", hide], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert linnet.__version__ in done.stdout or "bench" in arguments


def test_python_dash_m() -> None:
    for module in ("linnet", "linnet.cli"):
        command = [sys.executable, "-m", module, "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, f"linnet {linnet.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "digits", "--fill", "zeros", "--shapes", "x" * 100_000],
        ["run", "digits", "--fill", "zeros", "--shapes", "x" * 100_000 + ":1x1"],
        ["run", "digits", "--fill", "x" * 100_000],
        ["run", "digits", "--fill", "zeros", "--fetch", "x" * 100_000],
        ["run", "digits", "--inputs", "x" * 100_000],
        ["bench", "digits", "--iterations", "x" * 100_000],
        ["convert", "digits", "x" * 100_000],
        ["inspect", "x" * 100_000, "y" * 100_000, "z" * 100_000],
        ["compare", "--runtimes", "x," * 50_000],
        ["x" * 100_000],
    ],
    ids=lambda arguments: arguments[0][:10],
)
def test_long_arguments_are_quoted_short(arguments: list[str], refused: Refused) -> None:
    assert len(refused(*arguments)) < 1200
