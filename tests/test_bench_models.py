"""The networks of the benches."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import core, digits, formats, interpret, passes
from linnet.formats.onnx_write import save

SMALL = ["study", "LeNet-5", "large kernels", "NiN", "ResNet-20", "SqueezeNet", "MobileNet-v2"]


@pytest.fixture(scope="module")
def models() -> Any:
    path = Path(__file__).parents[1] / "bench" / "models.py"
    spec = importlib.util.spec_from_file_location("models", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SMALL)
def test_networks_are_canonical_and_always_the_same(models: Any, name: str) -> None:
    graph = models.make(name)
    assert [n.op for n in passes.canonicalize(graph).nodes] == [n.op for n in graph.nodes]
    again = models.make(name)
    for key, array in graph.initializers.items():
        np.testing.assert_array_equal(array, again.initializers[key])
    (output,) = graph.outputs
    assert core.shapes(graph)[output][0] == 0


def test_the_study_is_the_digit_model(models: Any) -> None:
    drawn, shipped = models.make("study"), passes.canonicalize(formats.read(digits.MODEL))
    assert [n.op for n in drawn.nodes] == [n.op for n in shipped.nodes]
    assert [n.attrs for n in drawn.nodes] == [n.attrs for n in shipped.nodes]
    shapes = [a.shape for a in drawn.initializers.values()]
    assert shapes == [a.shape for a in shipped.initializers.values()]


def test_values_neither_vanish_nor_explode(models: Any, tmp_path: Path) -> None:
    graph = models.make("ResNet-20")
    save(graph, tmp_path / "net.onnx")
    net = linnet.load(tmp_path / "net.onnx", threads=1)
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    (expected,) = interpret.run(graph, {"data": x}, np.float32).values()
    assert 0.05 < np.abs(expected).max() < 500
    np.testing.assert_allclose(net(x), expected, atol=1e-3 * np.abs(expected).max())
