"""linnet.load and Session: every form of a call, its errors, threads, limits and reports."""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import _core, digits, interpret, ops
from linnet.formats.onnx_write import save
from linnet.graph import Graph, Node, Value

DATA = Path(__file__).parent / "data"
DIGITS = Path(linnet.__file__).parent / "models" / "digits.onnx"
ISAS = [os.environ["LINNET_ISA"]] if os.environ.get("LINNET_ISA") else _core.available_isas()


def images(batch: int, *shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, *(shape or (2, 9, 11)))).astype("f4")


def close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> bool:
    """Within a fraction of the root mean square of what is expected; Winograd needs the default."""
    assert actual.shape == expected.shape
    return bool(np.abs(actual - expected).max() <= tolerance * np.sqrt(np.mean(expected**2)))


@pytest.fixture
def net(small: Graph) -> linnet.Session:
    return linnet.load(small)


@pytest.fixture
def two() -> Graph:
    """Two inputs, two outputs: their sum, and the first one's positive part."""
    nodes = [Node("Add", "add", ["a", "b"], ["sum"]), Node("Relu", "relu", ["a"], ["positive"])]
    inputs = [Value("a", (0, 3)), Value("b", (0, 3))]
    return Graph("two", nodes, {}, inputs, ["sum", "positive"])


# What can be loaded


def test_load_graph_and_its_file(small: Graph, tmp_path: Path) -> None:
    x = images(3)
    expected = interpret.run(small, {"data": x})["prob"]
    save(small, tmp_path / "small.onnx")
    for model in (small, tmp_path / "small.onnx", str(tmp_path / "small.onnx")):
        assert close(linnet.load(model)(x), expected)


def test_load_caffe() -> None:
    model, weights = DATA / "digits.prototxt", DATA / "digits.caffemodel"
    stored = np.load(DATA / "digits_caffe.npz")
    x = stored["inputs"][:, None].astype("f4") / np.float32(255)
    for files in ((model, weights), (str(model), str(weights))):
        assert close(linnet.load(*files)(x), stored["prob"], 1e-4)


def test_load_onnx_that_is_not_canonical(tmp_path: Path) -> None:
    """MatMul and BatchNormalization are none of the core's operators."""
    onnx = pytest.importorskip("onnx", reason="the test extra is not installed")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    random = np.random.default_rng(0)
    w = random.normal(size=(3, 4)).astype("f4")
    scale, shift, mean = (random.normal(size=4).astype("f4") for _ in range(3))
    variance = random.random(4).astype("f4") + 1
    constants = {"w": w, "scale": scale, "shift": shift, "mean": mean, "variance": variance}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["product"]),
            helper.make_node(
                "BatchNormalization", ["product", "scale", "shift", "mean", "variance"], ["y"]
            ),
        ],
        "loose",
        [helper.make_tensor_value_info("x", 1, ["N", 3])],
        [helper.make_tensor_value_info("y", 1, ["N", 4])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    path = tmp_path / "loose.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)
    with pytest.raises(ValueError, match="MatMul"):
        _core.read_onnx(str(path))

    x = images(5, 3)
    expected = (x @ w - mean) / np.sqrt(variance + 1e-5) * scale + shift
    assert close(linnet.load(path)(x), expected)
    linnet.convert(path, None, tmp_path / "canonical.onnx")
    _core.read_onnx(str(tmp_path / "canonical.onnx"))
    assert close(linnet.load(tmp_path / "canonical.onnx")(x), expected)


def test_load_names_what_is_missing_or_broken(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        linnet.load(tmp_path / "none.onnx")
    with pytest.raises(FileNotFoundError, match=r"none\.caffemodel"):
        linnet.load(DATA / "digits.prototxt", tmp_path / "none.caffemodel")
    with pytest.raises(IsADirectoryError):
        linnet.load(tmp_path)
    with pytest.raises(ValueError, match="caffemodel"):
        linnet.load(DATA / "digits.prototxt")
    for name in ("broken.onnx", "broken.prototxt", "broken.pb"):
        (tmp_path / name).write_bytes(b"\x0a\xff\xff\xff\xff\x0fgarbage")
        with pytest.raises(ValueError, match="broken"):
            linnet.load(tmp_path / name, None if name != "broken.prototxt" else DIGITS)
    (tmp_path / "short.onnx").write_bytes(DIGITS.read_bytes()[:1_000_000])
    with pytest.raises(ValueError, match=r"short\.onnx"):
        linnet.load(tmp_path / "short.onnx")


def test_load_refuses_what_is_no_model(small: Graph) -> None:
    for model in (None, 3, ["net.onnx"]):
        with pytest.raises(ValueError, match="expected a path, bytes, a file or a Graph"):
            linnet.load(model)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the model given as bytes: unknown model format"):
        linnet.load(b"net.onnx")
    with pytest.raises(ValueError, match="weights is 3"):
        linnet.load(digits.MODEL, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weights_dtype is 'f8'"):
        linnet.convert("net.onnx", None, "out.onnx", "f8")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threads": 0}, ValueError, "threads is 0"),
        ({"threads": -1}, ValueError, "threads is -1"),
        ({"threads": 10**6}, ValueError, "1000000"),
        ({"isa": "sse9"}, ValueError, r"sse9 is unknown.*scalar"),
        ({"blas": "/no/such/blas.so"}, RuntimeError, "/no/such/blas.so"),
        ({"algorithm": "magic"}, ValueError, r"'magic'.*direct-ref"),
        ({"weights_dtype": "f8"}, ValueError, r"'f8'.*f32, f16, int8 or auto"),
        ({"memory_limit": "much"}, ValueError, "'much'"),
        ({"memory_limit": 0}, ValueError, "memory_limit is 0"),
        ({"memory_limit": "-5M"}, ValueError, "'-5M'"),
        ({"memory_limit": float("nan")}, ValueError, "memory_limit is nan"),
        ({"memory_limit": "9" * 400}, ValueError, "memory_limit is '999"),
        ({"threads": 2.0}, ValueError, "threads is 2.0"),
        ({"threads": "2"}, ValueError, "threads is '2'"),
        ({"threads": 10**10}, ValueError, "threads is 10000000000"),
        ({"isa": 3}, ValueError, "isa is 3, expected a string"),
        ({"weights_dtype": np.float16}, ValueError, "weights_dtype is .*expected a string"),
        ({"strict": "no"}, ValueError, "strict is 'no'"),
    ],
)
def test_load_refuses_options(
    small: Graph, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        linnet.load(small, **options)


def kept(net: linnet.Session) -> dict[str, str]:
    """How each layer's weights are kept."""
    found = {}
    for layer in net.explain().layers:
        p = _core.parse_problem(layer.problem)
        if p["macs"]:
            found[layer.name] = p["weights"]
    return found


@pytest.mark.parametrize("dtype", ["f16", "int8"])
@pytest.mark.parametrize("threads", [1, 3])
def test_weights_dtype(dtype: str, threads: int, tmp_path: Path) -> None:
    """Rounded are the weights of fully connected and 1x1 layers, no others."""
    random = np.random.default_rng(7)
    weights = {
        name: random.standard_normal(shape).astype(np.float32)
        for name, shape in (("w1", (13, 2, 3, 3)), ("w2", (37, 13, 1, 1)), ("w3", (10, 37 * 5 * 6)))
    }

    def graph(weights: dict[str, Any]) -> Graph:
        nodes = [
            Node("Conv", "three", ["x", "w1"], ["a"]),
            Node("Relu", "relu", ["a"], ["r"]),
            Node("Conv", "one", ["r", "w2"], ["b"]),
            Node("Flatten", "flat", ["b"], ["f"], {"axis": 1}),
            Node("Gemm", "fc", ["f", "w3"], ["y"], {"transB": 1}),
        ]
        return Graph("net", nodes, dict(weights), [Value("x", (0, 2, 7, 8))], ["y"])

    expected = graph({**weights, **{n: ops.quant.rounded(weights[n], dtype) for n in ("w2", "w3")}})
    net = linnet.load(graph(weights), weights_dtype=dtype, threads=threads)
    assert kept(net) == {"three+relu": "f32", "one": dtype, "fc": dtype}
    plain = linnet.load(graph(weights), weights_dtype="f32", algorithm="direct")
    assert kept(plain) == {"three+relu": "f32", "one": "f32", "fc": "f32"}
    for batch in (1, 2, 23):
        x = random.standard_normal((batch, 2, 7, 8)).astype(np.float32)
        (want,) = interpret.run(expected, {"x": x}).values()
        rms = np.sqrt(np.mean(want**2))
        assert np.abs(net(x) - want).max() < 1e-5 * rms
        assert np.abs(plain(x) - want).max() > 1e-5 * rms
    assert net.weight_bytes < plain.weight_bytes

    # A file keeps its own way, unless load says else.
    save(graph(weights), tmp_path / "net.onnx", dtype)
    stored = linnet.load(tmp_path / "net.onnx", threads=threads)
    assert kept(stored) == kept(net)
    again = linnet.load(tmp_path / "net.onnx", weights_dtype="f32", threads=threads)
    assert kept(again) == kept(plain)
    assert close(stored(x), again(x))


@pytest.mark.parametrize("in_file", [False, True])
def test_float16_where_nothing_is_lost(in_file: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    weights = {
        "w1": random.standard_normal((300, 200)).astype("f2").astype("f4"),
        "w2": random.standard_normal((40, 300)).astype("f4"),
    }
    nodes = [
        Node("Gemm", "one", ["x", "w1"], ["a"], {"transB": 1}),
        Node("Gemm", "two", ["a", "w2"], ["y"], {"transB": 1}),
    ]
    model: Any = Graph("net", nodes, weights, [Value("x", (0, 200))], ["y"])
    plain = linnet.load(model)
    if in_file:
        save(model, tmp_path / "net.onnx")
        model = tmp_path / "net.onnx"
    net = linnet.load(model, weights_dtype="auto")
    assert kept(net) == {"one": "f16", "two": "f32"}
    assert "1 of 2 weights that can be float16 are, losing nothing" in str(net.explain())
    x = random.standard_normal((1, 200)).astype(np.float32)
    assert np.abs(net(x) - plain(x)).max() < 1e-5 * np.abs(plain(x)).max()


def test_convert(small: Graph, tmp_path: Path) -> None:
    save(small, tmp_path / "small.onnx")
    x = images(4)
    sizes = {}
    for dtype, tolerance in (("f32", 0), ("f16", 1e-2), ("int8", 5e-2)):
        target = tmp_path / f"{dtype}.onnx"
        linnet.convert(tmp_path / "small.onnx", None, target, dtype)
        assert close(linnet.load(target)(x), linnet.load(small)(x), tolerance)
        sizes[dtype] = target.stat().st_size
    saved = sum(2 * array.size for array in small.initializers.values())
    assert sizes["f16"] < sizes["f32"] - saved / 2
    with pytest.raises(ValueError, match="'f8'"):
        linnet.convert(tmp_path / "small.onnx", None, tmp_path / "no.onnx", "f8")


def test_import_is_light() -> None:
    """Importing brings nothing slow beyond NumPy; a canonical model needs no protobuf either."""
    code = (
        "import sys, numpy; before = set(sys.modules); import linnet; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before})); "
        f"linnet.load({str(DIGITS)!r}); assert not any('protobuf' in name for name in sys.modules)"
    )
    brought = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    slow = {"google", "PIL", "argparse", "subprocess", "importlib_metadata", "asyncio", "email"}
    assert "linnet" in brought and not brought & slow


# Calls


def test_info(net: linnet.Session, two: Graph) -> None:
    float32 = np.dtype("float32")
    assert net.inputs == [linnet.ValueInfo("data", (None, 2, 9, 11), float32)]
    assert net.outputs == [linnet.ValueInfo("prob", (None, 7), float32)]
    assert net.inputs[0].name == "data" and net.outputs[0].shape == (None, 7)
    names = [value.name for value in net.values]
    assert names[0] == "data" and {"conv1", "relu1", "add", "fc", "prob"} <= set(names)
    assert net.name == "small" and net.isa in _core.available_isas()
    assert net.weight_bytes > 0 and net.arena_bytes > 0
    assert repr(net).startswith("<linnet.Session data Nx2x9x11 -> prob Nx7, ")
    assert [value.name for value in linnet.load(two).inputs] == ["a", "b"]


def test_call_forms(net: linnet.Session, small: Graph) -> None:
    x = images(2)
    expected = interpret.run(small, {"data": x}, fetch=["prob", "fc", "conv1"])
    result = net(x)
    assert result.dtype == np.float32 and close(result, expected["prob"])
    for results in (net.run(x), net.run([x]), net.run(None, {"data": x})):
        assert len(results) == 1 and (results[0] == result).all()
    for results in (
        net.run(x, fetch=["fc", "prob"]),
        net.run(["fc", "prob"], {"data": x}),
        net.run(None, {"data": x}, fetch=("fc", "prob")),
    ):
        assert isinstance(results, list) and len(results) == 2
        assert close(results[0], expected["fc"]) and close(results[1], expected["prob"])
    assert close(net.run(x, fetch="conv1")[0], expected["conv1"])


def test_several_inputs_and_outputs(two: Graph) -> None:
    net = linnet.load(two)
    a, b = images(4, 3, seed=1), images(4, 3, seed=2)
    results = net(a, b)
    assert isinstance(results, tuple)
    for sums, positive in (results, net.run([a, b]), net.run(None, {"b": b, "a": a})):
        np.testing.assert_array_equal(sums, a + b)
        np.testing.assert_array_equal(positive, np.maximum(a, 0))


def test_out_is_written_without_a_copy(net: linnet.Session, two: Graph) -> None:
    x = images(3)
    out = np.full((5, 7), np.nan, np.float32)
    assert net(x, out=out[1:4]).base is out
    np.testing.assert_array_equal(out[1:4], net(x))
    assert np.isnan(out[[0, 4]]).all()  # nothing around it
    fc, conv1 = np.empty((3, 7), np.float32), np.empty((3, 5, 9, 11), np.float32)
    results = net.run(x, fetch=["fc", "conv1"], out=[fc, conv1])
    assert results[0] is fc and results[1] is conv1
    assert close(fc, net.run(x, fetch=["fc"])[0]) and close(conv1, net.run(x, fetch=["conv1"])[0])

    a, b = images(2, 3, seed=1), images(2, 3, seed=2)
    outs = np.empty((2, 2, 3), np.float32)
    linnet.load(two)(a, b, out=list(outs))
    np.testing.assert_array_equal(outs, [a + b, np.maximum(a, 0)])


def test_fetch_every_value(net: linnet.Session, small: Graph) -> None:
    """All at once and one by one, so that each is fused away in some runs and wanted in others."""
    x = images(3)
    names = [value.name for value in net.values]
    expected = interpret.run(small, {"data": x}, fetch=names)
    for wanted in (names, names[::-1], *([name] for name in names)):
        for name, value in zip(wanted, net.run(x, fetch=wanted)):
            assert close(value, expected[name]), (name, wanted)
    assert (expected["conv1"] < 0).any()  # before its ReLU, that is


@pytest.mark.parametrize("batch", [1, 2, 7, 17, 40])
def test_batch_equals_single_runs(small: Graph, batch: int) -> None:
    x = images(batch)
    expected = interpret.run(small, {"data": x}, fetch=["prob", "pool1"])
    for strict, tolerance in ((True, 1e-5), (False, 1e-4)):  # another batch, another algorithm
        net = linnet.load(small, strict=strict)
        single = [net.run(x[i : i + 1], fetch=["prob", "pool1"]) for i in range(batch)]
        for i, value in enumerate(net.run(x, fetch=["prob", "pool1"])):
            assert close(value, np.concatenate([values[i] for values in single]), tolerance)
            assert close(value, expected[["prob", "pool1"][i]], tolerance)


def test_batch_in_chunks() -> None:
    """Large enough images for the session to cut the batch, which does not divide evenly."""
    weights = {"w": images(16, 2, 3, 3, seed=2), "v": images(3, 16, 1, 1, seed=3)}
    nodes = [
        Node("Conv", "wide", ["x", "w"], ["wide"], {"pads": [1] * 4}),
        Node("Relu", "relu", ["wide"], ["relu"]),
        Node("Conv", "narrow", ["relu", "v"], ["y"]),
    ]
    graph = Graph("large", nodes, weights, [Value("x", (0, 2, 96, 96))], ["y"])
    net = linnet.load(graph, strict=True)
    x = images(7, 2, 96, 96)
    (chunk,) = {int(layer.problem.split(" n")[1].split()[0]) for layer in net.explain(7)}
    assert chunk < 7 and 7 % chunk
    together = net(x)
    assert close(together, np.concatenate([net(x[i : i + 1]) for i in range(7)]), 1e-5)
    assert close(together, interpret.run(graph, {"x": x})["y"], 1e-5)


def test_any_float32_layout_is_an_input(net: linnet.Session) -> None:
    x = images(3)
    expected = net(x)
    wide = np.repeat(x, 2, axis=3)
    read_only = x.copy()
    read_only.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.float32, offset=1).reshape(x.shape)
    for other in (
        wide[..., ::2],
        x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
        x[::-1].copy()[::-1],
        np.asfortranarray(x),
        read_only,
        unaligned,
        pickle.loads(pickle.dumps(x)),
    ):
        np.testing.assert_array_equal(net(other), expected)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 2, 9, 11)), "'data' has dtype float64, expected float32"),
        (np.zeros((1, 2, 9, 11), np.uint8), "uint8"),
        (np.zeros((1, 2, 9, 11), ">f4"), ">f4"),
        ([[1, 2]], "int(32|64)"),
        (np.zeros((2, 9, 11), "f4"), r"'data' has shape \(2, 9, 11\), expected Nx2x9x11"),
        (np.zeros((1, 2, 9, 12), "f4"), r"\(1, 2, 9, 12\)"),
        (np.zeros((), "f4"), "expected Nx2x9x11"),
        (np.zeros((1, 9, 11, 2), "f4"), "channels first"),
        (np.zeros((0, 2, 9, 11), "f4"), "the batch is empty"),
    ],
)
def test_bad_input(net: linnet.Session, x: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        net(x)
    with pytest.raises(ValueError, match=message):
        net.run(None, {"data": x})
    with pytest.raises(ValueError, match=message):
        net.profile(x)


def test_bad_calls(net: linnet.Session, two: Graph) -> None:
    x = images(2)
    with pytest.raises(ValueError, match="got 2 inputs, the model has 1"):
        net(x, x)
    with pytest.raises(ValueError, match="'data' is missing; the model has no input 'image'"):
        net.run(None, {"image": x})
    with pytest.raises(ValueError, match="no value 'fc7', 'fc8'"):
        net.run(x, fetch=["fc7", "fc", "fc8"])
    with pytest.raises(ValueError, match="'fc' is asked for twice"):
        net.run(x, fetch=["fc", "fc"])
    with pytest.raises(ValueError, match="given twice"):
        net.run(["fc"], {"data": x}, fetch=["fc"])
    refused: list[list[Any]] = [[], [3]]
    for names in refused:
        with pytest.raises(ValueError, match="expected names"):
            net.run(x, fetch=names)
    for batch in (0, 1.5, 10**20):
        with pytest.raises(ValueError, match=rf"batch is {batch}"):
            net.explain(batch)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"run\(None, \{"):
        net.run({"data": x})
    with pytest.raises(ValueError, match="fetch is a ndarray"):
        net.run(x, {"data": x})
    with pytest.raises(ValueError, match="feed is a ndarray"):
        net.run(None, x)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="out is 1"):
        net(x, out=1)  # type: ignore[arg-type]
    a, b = images(2, 3), np.zeros((3, 3), "f4")
    with pytest.raises(ValueError, match=r"'b' has a batch of 3"):
        linnet.load(two)(a, b)
    with pytest.raises(ValueError, match=r"'a' has shape.*; 'b' has dtype"):  # all at once
        linnet.load(two)(np.zeros((1, 4), "f4"), np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((2, 8), "f4"), r"'prob' has shape \(2, 8\), expected Nx7"),
        (np.zeros((2, 7)), "'prob' has dtype float64"),
        (np.zeros((7, 2), "f4").T, "C-contiguous"),
        (np.broadcast_to(np.float32(0), (2, 7)), "C-contiguous and writable"),
        (np.zeros((3, 7), "f4"), "another batch"),
        ([np.zeros((2, 7), "f4")] * 2, "overlaps"),
        ([np.zeros((2, 7), "f4"), np.zeros((2, 7), "f4")], "got 2 outputs"),
        ([[0.0] * 7] * 2, "list"),
    ],
)
def test_bad_out(net: linnet.Session, out: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        net(images(2), out=out)


def test_out_must_not_overlap_the_input(two: Graph) -> None:
    both = images(2, 3)
    with pytest.raises(ValueError, match="overlaps"):
        linnet.load(two)(both, images(2, 3), out=[both, np.empty_like(both)])


def test_close(small: Graph) -> None:
    x = images(1)
    with linnet.load(small) as net:
        assert net(x).shape == (1, 7)
    with pytest.raises(RuntimeError, match="closed"):
        net(x)
    with pytest.raises(RuntimeError, match="closed"):
        _ = net.inputs
    assert repr(net) == "<linnet.Session, closed>"


# Threads and processes


def test_threads_are_kept(small: Graph) -> None:
    assert linnet.load(small).threads == _core.default_threads()
    x = images(7)
    expected = linnet.load(small, threads=1)(x)
    for threads in (2, 3, 9):  # also more than this machine has
        net = linnet.load(small, threads=threads)
        assert net.threads == threads
        assert close(net(x), expected)


def test_one_session_from_many_threads(small: Graph) -> None:
    """Different batches and fetches at once: every caller gets the answer to its own question."""
    net = linnet.load(small, threads=2)
    batches = [images(size, seed=size) for size in (1, 2, 3, 5, 8, 13, 21, 34)]
    names = ["prob", "fc", "relu1"]
    expected = [interpret.run(small, {"data": x}, fetch=names) for x in batches]
    wrong: list[object] = []

    def call(i: int) -> None:
        try:
            for k in range(40):
                x, name = batches[i], names[(i + k) % 3]
                if not close(net.run(x, fetch=[name])[0], expected[i][name]):
                    wrong.append((i, k))
        except Exception as error:
            wrong.append(error)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(len(batches))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


def test_gil_is_released(small: Graph) -> None:
    """While a run lasts, another Python thread keeps ticking."""
    net = linnet.load(small, algorithm="direct-ref", threads=1)
    x = images(64)
    net(x)
    start = time.perf_counter()
    net(x)
    x = np.tile(x, (math.ceil(0.3 / (time.perf_counter() - start)), 1, 1, 1))
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(0.001):
            ticks.append(time.perf_counter())

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        start = time.perf_counter()
        net(x)
        end = time.perf_counter()
    finally:
        stop.set()
        ticker.join()
    assert end - start > 0.05  # else it would show nothing
    during = [start, *(t for t in ticks if start < t < end), end]
    assert np.diff(during).max() < 0.5 * (end - start)


def test_fork(small: Graph) -> None:
    net = linnet.load(small, threads=2)
    x = images(4)
    expected = net(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, about its own threads
        child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(net(x), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(net(x), expected)


# Instruction sets and limits


@pytest.mark.parametrize("isa", ISAS)
def test_isa(small: Graph, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(3)
    expected = interpret.run(small, {"data": x})["prob"]
    monkeypatch.setenv("LINNET_ISA", isa)
    for net in (linnet.load(small), linnet.load(small, isa=isa)):
        assert net.isa == isa and close(net(x), expected)
        assert {layer.isa for layer in net.profile(x)} <= {isa, "-"}
    weighted = [r for r in linnet.load(small, algorithm="direct").profile(x) if r.macs]
    assert [layer.isa for layer in weighted] == [isa] * 3
    assert linnet.show_config()["isa"] == isa


def test_isa_that_is_not_there(small: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_ISA", "sse9")
    for call in (lambda: linnet.load(small), linnet.show_config):
        with pytest.raises(ValueError, match="sse9 is unknown; this build has ") as caught:
            call()
    compiled = str(caught.value).partition("has ")[2].split(", ")
    assert set(_core.available_isas()) <= set(compiled)
    for isa in set(compiled) - set(_core.available_isas()):
        monkeypatch.setenv("LINNET_ISA", isa)
        with pytest.raises(RuntimeError, match=f"{isa}: this CPU"):
            linnet.load(small)


def test_memory_limit() -> None:
    with pytest.raises(MemoryError, match="memory_limit is 1024 bytes") as error:
        linnet.load(DIGITS, memory_limit="1K")
    match = re.search(r"needs (\d+)", str(error.value))
    assert match
    limit = int(match[1])
    net = linnet.load(DIGITS, memory_limit=limit)
    with pytest.raises(MemoryError, match=f"needs {limit}"):
        linnet.load(DIGITS, memory_limit=limit - 1)
    x = images(3, 1, 88, 88)
    assert close(net.run(x, fetch=["fc2"])[0], linnet.load(DIGITS).run(x, fetch=["fc2"])[0])
    assert net.weight_bytes + net.arena_bytes <= limit
    for size in ("300M", "0.5G", "1 GiB", 1 << 40):
        assert linnet.load(DIGITS, memory_limit=size)(x[:1]).shape == (1, 848)


if sys.maxsize > 1 << 32:  # a 32-bit process may be given all that an array can take

    @pytest.mark.parametrize("call", ["__call__", "profile"])
    def test_an_input_too_large_to_copy(call: str) -> None:
        net = linnet.load(DIGITS)
        x = np.broadcast_to(np.zeros((1, 1, 88, 88), "f4"), (10**12, 1, 88, 88))
        with pytest.raises(MemoryError, match="Unable to allocate"):
            getattr(net, call)(x)


# Reports


def test_explain(net: linnet.Session) -> None:
    report = net.explain()
    conv = next(layer for layer in report if layer.macs)
    assert conv.name.startswith("conv1") and conv.op.startswith("Conv")
    for layer in report:
        assert layer.problem and layer.estimate > 0 and layer.times == ()
        chosen = [c for c in layer.candidates if c.algorithm == layer.algorithm]
        assert len(chosen) == 1 and not chosen[0].refusal
        for candidate in layer.candidates:
            assert bool(candidate.refusal) == (candidate.seconds is None)
    assert any(c.refusal for layer in report for c in layer.candidates)
    assert json.loads(json.dumps(report.to_dict()))["layers"][0]["op"] == report.layers[0].op
    text = str(report)
    assert all(layer.name in text and layer.problem in text for layer in report)
    assert "n5 " in net.explain(5).layers[0].problem


def test_algorithm_is_kept(small: Graph) -> None:
    x = images(3)
    expected = interpret.run(small, {"data": x})["prob"]
    for algorithm in ("direct", "direct-ref"):
        net = linnet.load(small, algorithm=algorithm)
        weighted = [layer for layer in net.explain() if layer.op.startswith(("Conv", "Gemm"))]
        assert [layer.algorithm for layer in weighted] == [algorithm] * 3
        assert close(net(x), expected)
    net = linnet.load(small, strict=True)
    assert close(net(x), expected, 1e-5)
    candidates = [c for layer in net.explain() for c in layer.candidates]
    assert all(c.refusal for c in candidates if c.algorithm == "winograd")


def test_openblas(small: Graph) -> None:
    found = linnet.show_config()["openblas"]
    net = linnet.load(small, algorithm="im2col-openblas")
    x = images(3)
    assert close(net(x), interpret.run(small, {"data": x})["prob"])
    used = [layer for layer in net.profile(x) if layer.algorithm == "im2col-openblas"]
    if isinstance(found, str):  # the reason why there is none
        assert used == [] and found
    else:
        assert len(used) == 3 and {layer.isa for layer in used} == {"-"}


def test_profile(net: linnet.Session) -> None:
    x = images(3)
    report = net.profile(x, runs=4)
    assert report.batch == 3 and len(report) == len(net.explain(3))
    for layer in report:
        assert len(layer.times) == 4 and min(layer.times) >= 0
        assert layer.isa in (net.isa, "-")
        assert (layer.gflops is None) == (layer.macs == 0)
    conv = next(layer for layer in report if layer.macs)
    assert conv.macs == 3 * (9 * 11) * 5 * (2 * 3 * 3)
    assert conv.seconds is not None and conv.gflops is not None
    assert conv.gflops * conv.seconds == pytest.approx(2e-9 * conv.macs)
    assert json.loads(json.dumps(report.to_dict()))["layers"][0]["times"]
    assert all(0 < (layer.percent_of_peak or 0) < 200 for layer in report if layer.macs)
    assert "GFLOP/s" in str(report) and conv.name in str(report)
    with pytest.raises(ValueError, match="runs is 0"):
        net.profile(x, runs=0)


def test_profile_counts_all_chunks(net: linnet.Session) -> None:
    assert "n10 " in net.explain(19).layers[0].problem
    work = {}
    for batch in (1, 19):
        report = net.profile(images(batch), runs=1)
        work[batch] = sum((layer.gflops or 0) * (layer.seconds or 0) for layer in report)
    assert work[19] == pytest.approx(19 * work[1])


def test_show_config() -> None:
    config = linnet.show_config()
    assert config["linnet"] == linnet.__version__
    assert config["isa"] in config["isas"] and config["isas"][-1] == "scalar"
    assert {"direct", "direct-ref", "im2col-openblas"} <= set(config["algorithms"])
    assert config["threads"] >= 1 and config["numpy"] == np.__version__ and config["cpu"]
    assert set(config) <= set(str(config).split())
    json.dumps(config)
