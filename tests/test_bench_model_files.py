"""Networks of the benches as files of other formats, compared with what was drawn."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linnet.compare import network, worker
from linnet.compare.processes import SetupError
from linnet.compare.runtimes import ADAPTERS, load_adapter
from linnet.formats import onnx_write

BENCH = Path(__file__).parents[1] / "bench"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def models() -> Any:
    return load("models")


@pytest.fixture(scope="module")
def files() -> Any:
    return load("model_files")


def test_the_matrix_has_eleven_networks_of_all_kinds(models: Any) -> None:
    graphs = {name: models.make(name) for name in ("CaffeNet", "MobileNet-SSD", "CIFAR-10-quick")}
    assert len(models.MATRIX) == 11 and graphs.keys() <= set(models.MATRIX)
    ops = {name: [node.op for node in graph.nodes] for name, graph in graphs.items()}
    assert ops["CaffeNet"].count("LRN") == 2
    assert {n.attrs["group"] for n in graphs["CaffeNet"].nodes if n.op == "Conv"} == {1, 2}
    assert ops["CIFAR-10-quick"].count("AveragePool") == 2
    assert "Softmax" not in ops["MobileNet-SSD"]


def as_tflite(graph: Any, path: Path, folder: Path) -> None:
    """Written as LiteRT's adapter does, which needs no LiteRT for that."""
    network.export(graph, folder)
    writer = load_adapter(ADAPTERS / "litert.py").Writer
    path.write_bytes(writer(worker.Network(str(folder), "network"), 1).finish())


@pytest.mark.parametrize("name", ["LeNet-5", "CIFAR-10-quick"])
def test_files_are_equal_until_a_weight_is_not(
    models: Any, files: Any, tmp_path: Path, name: str
) -> None:
    graph = models.make(name)
    path, work = tmp_path / "net", tmp_path / "work"
    work.mkdir()
    as_tflite(graph, tmp_path / "net.tflite", work)
    onnx_write.save(graph, tmp_path / "net.onnx")
    assert [files.difference(graph, path, kind) for kind in ("onnx", "tflite")] == ["", ""]
    layer = next(n for n in reversed(graph.nodes) if n.op == "Gemm")
    weights = graph.initializers[layer.inputs[1]]
    weights[0, 0] = np.nextafter(weights[0, 0], np.float32(1))  # by the least there is
    for kind in ("onnx", "tflite"):
        assert files.difference(graph, path, kind) == "1 weights differ, sorted by size"


def test_the_same_weights_at_other_places_are_no_equal(
    models: Any, files: Any, tmp_path: Path
) -> None:
    graph = models.make("LeNet-5")
    onnx_write.save(graph, tmp_path / "net.onnx")
    weights = graph.initializers[graph.nodes[0].inputs[1]]
    weights[:2] = weights[1::-1].copy()
    assert "the output differs by" in files.difference(graph, tmp_path / "net", "onnx")


def test_check_says_what_is_missing(
    models: Any, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    arguments = [str(tmp_path), "study", "--formats", "onnx,caffe", "--check"]
    monkeypatch.setattr(sys, "argv", ["models.py", *arguments])
    assert models.main() == 1
    out = capsys.readouterr().out
    assert f"study, caffe: FAILED: there is no {tmp_path / 'study.prototxt'}" in out


def test_a_format_whose_runtime_is_not_there_says_so(
    models: Any, files: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path))
    with pytest.raises(SetupError, match="caffe: not set up"):
        files.write(models.make("LeNet-5"), tmp_path / "net", "caffe", setup=False)
