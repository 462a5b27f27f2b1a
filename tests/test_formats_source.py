"""Where models come from: files of any name, bytes, open files; and what is none of these."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import core, formats
from linnet.formats.onnx_write import save
from linnet.graph import Graph

CAFFE = Path(__file__).parent / "data" / "caffe" / "batchnorm.prototxt"
PROTOTXT, CAFFEMODEL = CAFFE.read_bytes(), CAFFE.with_suffix(".caffemodel").read_bytes()
ODD_NAMES = [
    b"mod\xe8le.onnx",
    b"\xff\xfe.onnx",
    b"\xe7\xbd\x91\xe7.onnx",
    b"a\x80 b",
    "网络.onnx".encode(),
    "网络.onnx".encode("gbk"),
]


def image(net: linnet.Session) -> Any:
    random = np.random.default_rng(0)
    return random.random((2, *(n or 1 for n in net.inputs[0].shape[1:])), np.float32)


@pytest.fixture
def onnx(small: Graph, tmp_path: Path) -> Path:
    save(small, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, io.BytesIO])
def test_models_from_bytes(make: Any, onnx: Path) -> None:
    expected = linnet.load(onnx)
    net = linnet.load(make(onnx.read_bytes()))
    np.testing.assert_array_equal(net(image(net)), expected(image(net)))
    expected = linnet.load(CAFFE, CAFFE.with_suffix(".caffemodel"))
    net = linnet.load(make(PROTOTXT), make(CAFFEMODEL))
    np.testing.assert_array_equal(net(image(net)), expected(image(net)))
    mixed = linnet.load(CAFFE, make(CAFFEMODEL))
    np.testing.assert_array_equal(mixed(image(net)), expected(image(net)))


def test_bytes_may_change_after_loading(onnx: Path) -> None:
    data = bytearray(onnx.read_bytes())
    net = linnet.load(data)
    x = image(net)
    expected = net(x)
    data[:] = bytes(len(data))
    np.testing.assert_array_equal(net(x), expected)
    np.testing.assert_allclose(net(x[:1]), expected[:1], rtol=1e-4)  # a plan of its own


def test_models_from_open_files(onnx: Path, tmp_path: Path) -> None:
    expected = linnet.load(onnx)
    with gzip.open(tmp_path / "net.gz", "wb") as packed:
        packed.write(onnx.read_bytes())
    for open_, path in ((open, onnx), (gzip.open, tmp_path / "net.gz")):
        with open_(path, "rb") as file:  # type: ignore[operator]
            net = linnet.load(file)
        np.testing.assert_array_equal(net(image(net)), expected(image(net)))
    with open(CAFFE, encoding="utf-8") as text:
        net = linnet.load(text, CAFFEMODEL)
    assert net.outputs[0].name == linnet.load(CAFFE, CAFFEMODEL).outputs[0].name


def test_models_from_bytes_are_converted(tmp_path: Path) -> None:
    linnet.convert(PROTOTXT, CAFFEMODEL, tmp_path / "out.onnx")
    expected = linnet.load(CAFFE, CAFFEMODEL)
    net = linnet.load(tmp_path / "out.onnx")
    np.testing.assert_array_equal(net(image(net)), expected(image(net)))


def test_bytes_that_are_no_model(onnx: Path) -> None:
    for data in (b"", b"hello", bytes(1 << 20), CAFFEMODEL):
        with pytest.raises(
            ValueError, match="the model given as bytes: unknown model format"
        ) as error:
            linnet.load(data)
        assert len(str(error.value)) < 200
    with pytest.raises(ValueError, match="the model given as bytes: not an ONNX model"):
        linnet.load(onnx.read_bytes()[:-100])
    with pytest.raises(ValueError, match="the weights given as bytes: not a caffemodel"):
        linnet.load(PROTOTXT, CAFFEMODEL[:-100])
    with pytest.raises(ValueError, match="holds its own weights"):
        linnet.load(onnx.read_bytes(), CAFFEMODEL)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_of_files_in_any_encoding(name: bytes, onnx: Path, tmp_path: Path) -> None:
    expected = linnet.load(onnx)
    path = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
    os.rename(onnx, path)
    for model in (path, Path(path)):
        net = linnet.load(model)
        np.testing.assert_array_equal(net(image(net)), expected(image(net)))
    Path(path).write_bytes(b"\x08\x08\x12\x07")
    with pytest.raises(ValueError, match="not an ONNX model"):
        linnet.load(path)
    os.remove(path)
    with pytest.raises(FileNotFoundError):
        linnet.load(path)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_command_with_names_in_any_encoding(name: bytes, onnx: Path, tmp_path: Path) -> None:
    """The model's name and the home folder's, where the wisdom file lies."""
    home = os.fsencode(tmp_path) + b"/" + name
    os.mkdir(home)
    model = home + b"/" + name
    os.rename(onnx, model)
    environment = {k: v for k, v in os.environb.items() if k != b"LINNET_WISDOM"}
    environment = {**environment, b"HOME": home, b"XDG_CACHE_HOME": b""}
    for arguments in (
        [b"tune", model, b"--batches", b"1", b"--threads", b"1", b"--timeout", b"1"],
        [b"bench", model, b"--iterations", b"1", b"--duration", b"0"],
        [b"convert", model, home + b"/copy.onnx"],
    ):
        command = [sys.executable, "-m", "linnet", *arguments]
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
    assert os.path.getsize(home + b"/.cache/linnet/wisdom.txt") > 0


def test_pipes_and_devices_are_refused(onnx: Path, tmp_path: Path) -> None:
    """Opening a pipe would wait for ever, reading a device too."""
    pipe = tmp_path / "pipe.onnx"
    os.mkfifo(pipe)
    (tmp_path / "link.onnx").symlink_to(pipe)
    for model in (pipe, tmp_path / "link.onnx", "/dev/zero", "/dev/null"):
        with pytest.raises(ValueError, match="a pipe or device, not a file"):
            linnet.load(model)
        with pytest.raises(ValueError, match="a pipe or device, not a file"):
            linnet.load(CAFFE, model)
    with pytest.raises(IsADirectoryError):
        linnet.load(tmp_path)


@pytest.mark.parametrize("what", ["pipe", "/dev/zero", "/dev/null", "."])
def test_wisdom_that_is_no_file(what: str, onnx: Path, tmp_path: Path, monkeypatch: Any) -> None:
    if what == "pipe":
        what = str(tmp_path / "pipe")
        os.mkfifo(what)
    monkeypatch.setenv("LINNET_WISDOM", what)
    assert "cannot be read" in str(linnet.load(onnx).explain())


@pytest.mark.parametrize(
    "model", ["x" * 5_000_000, "layer {\n}" * 1000, "a/" * 4000, "x\0y", "deep/" * 200 + "x.onnx"]
)
def test_texts_that_are_no_path(model: str) -> None:
    with pytest.raises((ValueError, OSError)) as error:
        linnet.load(model)
    assert len(str(error.value)) < 1000
    with pytest.raises((ValueError, OSError)) as error:
        linnet.load(CAFFE, model)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    "options",
    [
        {"threads": "4" * 100_000},
        {"isa": "avx" * 100_000},
        {"algorithm": ["direct"] * 100_000},
        {"memory_limit": "1G" * 100_000},
        {"strict": np.zeros((100, 100)).tolist()},
        {"blas": "/lib/" * 100_000},
        {"weights_dtype": b"f32" * 100_000},
        {"stages": {"a": "b" * 100_000}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_are_quoted_short(options: Any) -> None:
    with pytest.raises(ValueError) as error:
        linnet.load(CAFFE, CAFFEMODEL, **options)
    assert len(str(error.value)) < 1000


def test_arguments_of_runs_are_quoted_short(onnx: Path) -> None:
    net = linnet.load(onnx)
    x = image(net)
    name = "y" * 1_000_000
    for call in (
        lambda: net.run(x, fetch=[name]),
        lambda: net.run(x, fetch=[name] * 1000),
        lambda: net.run(x, fetch=["\udce9"]),
        lambda: net.run(x, fetch=x.tolist()),
        lambda: net.run(None, x.tolist()),
        lambda: net.run(None, {"data": x, **{f"{name}{i}": x for i in range(20)}}),
        lambda: net(x, out=x.tolist()),
        lambda: net(x, out={"prob": x.tolist()}),
        lambda: net.explain(batch=name),  # type: ignore[arg-type]
        lambda: net.profile(x, runs=x.tolist()),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert len(str(error.value)) < 1000


@pytest.mark.parametrize("opset", [13, 11, 19])
@pytest.mark.parametrize("batch", [-1, 0, 1, 7])
def test_batches_of_any_size_in_the_file(opset: int, batch: int, onnx: Path) -> None:
    """Both readers: a canonical file of opset 13 is the core's."""
    proto = pytest.importorskip("onnx").load(onnx)
    proto.opset_import[0].version = opset
    del proto.graph.node[1:]
    proto.graph.node[0].output[0] = "prob"
    for value in (*proto.graph.input, *proto.graph.output):
        size = value.type.tensor_type.shape.dim[0]
        size.Clear()
        size.dim_value = batch
    del proto.graph.output[0].type.tensor_type.shape.dim[1:]
    net = linnet.load(proto.SerializeToString())
    assert net.inputs[0].shape == (None, 2, 9, 11)
    (onnx.parent / "again.onnx").write_bytes(proto.SerializeToString())
    again = linnet.load(onnx.parent / "again.onnx")
    np.testing.assert_array_equal(net(image(net)), again(image(net)))
    graph = formats.read(onnx.parent / "again.onnx")
    assert core.build(graph).shape("prob") == [0, 5, 9, 11]


def test_targets_are_quoted_short(onnx: Path) -> None:
    for target in ("x" * 1_000_000, "x" * 1_000_000 + ".onnx", 3, onnx.parent / "out.pb"):
        with pytest.raises(ValueError) as error:
            linnet.convert(onnx, None, target)  # type: ignore[arg-type]
        assert len(str(error.value)) < 1000
