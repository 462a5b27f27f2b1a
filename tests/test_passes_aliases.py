"""Names of the source for values that are only another's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import linnet
from linnet import cli, passes
from linnet.aliases import ALIASES, recorded
from linnet.compat import cv2dnn
from linnet.formats import onnx_write
from linnet.graph import Graph, Node, Value

X = np.array([[1, -2, 3]], np.float32)
RELU, EXP = np.maximum(X, 0), np.exp(np.maximum(X, 0))

PROTOTXT = b"""
input: "data" input_dim: 1 input_dim: 2 input_dim: 4 input_dim: 4
layer { name: "pool" type: "Pooling" bottom: "data" top: "p"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "relu" type: "ReLU" bottom: "p" top: "p" }
layer { name: "drop" type: "Dropout" bottom: "p" top: "p" }
layer { name: "join" type: "Concat" bottom: "p" top: "joined" }
layer { name: "split" type: "Split" bottom: "joined" top: "one" top: "two" }
layer { name: "prob" type: "Sigmoid" bottom: "one" top: "prob" }
"""


def passing_on() -> Graph:
    """A value with four names, of an output with two, and an input with two."""
    nodes = [
        Node("Identity", "first", ["x"], ["given"]),
        Node("Relu", "relu", ["given"], ["a"]),
        Node("Identity", "identity", ["a"], ["b"]),
        Node("Dropout", "dropout", ["b"], ["c"]),
        Node("Clip", "limits", ["c", "least"], ["d"]),  # where no number lies beyond
        Node("Exp", "exp", ["d"], ["e"]),
        Node("Identity", "last", ["e"], ["out"]),
    ]
    return Graph(
        "passing", nodes, {"least": np.array(-1, np.float32)}, [Value("x", (0, 3))], ["out"]
    )


def test_names_lead_to_the_values_there_are() -> None:
    graph = passes.canonicalize(passing_on())
    assert [node.op for node in graph.nodes] == ["Relu", "Exp"]
    assert graph.aliases == {"given": "x", "b": "a", "c": "a", "d": "a", "e": "out"}
    assert passes.canonicalize(graph).aliases == graph.aliases


def test_a_session_has_the_values_under_all_names() -> None:
    net = linnet.load(passing_on())
    assert [v.name for v in net.values] == ["x", "a", "out", "given", "b", "c", "e", "d"]
    assert {v.shape for v in net.values} == {(None, 3)}
    values = net.run(X, fetch=["c", "given", "e", "d", "out"])
    for value, expected in zip(values, (RELU, X, EXP, RELU, EXP)):
        np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert not np.shares_memory(values[0], values[3])
    out = np.empty_like(X)
    net.run(X, fetch=["d"], out=out)
    np.testing.assert_array_equal(out, RELU)
    with pytest.raises(ValueError, match="by two of its names"):
        net.run(X, fetch=["c", "d"], out=[out, out.copy()])
    with pytest.raises(ValueError, match="'a' is asked for twice"):
        net.run(X, fetch=["c", "c"])
    with pytest.raises(ValueError, match="no value 'f'"):
        net.run(X, fetch=["c", "f"])


@pytest.mark.parametrize("names", [["c"], ["e", "b"], ["given", "a", "d"]])
def test_a_network_can_end_there(names: list[str], tmp_path: Path) -> None:
    """Of a graph, and of the file that it was converted to."""
    file = tmp_path / "passing.onnx"
    onnx_write.save(passes.canonicalize(passing_on()), file)
    for model in (passing_on(), str(file)):
        net = linnet.load(model, outputs=names)
        assert [v.name for v in net.outputs] == names
        for name, value in zip(names, net.run(X)):
            expected = {"e": EXP, "given": X}.get(name, RELU)
            np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_a_file_keeps_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, file = tmp_path / "net.prototxt", tmp_path / "net.onnx"
    source.write_bytes(PROTOTXT)
    linnet.convert(source, None, file)
    images = np.random.default_rng(0).standard_normal((2, 2, 4, 4), np.float32)
    names = ["relu", "drop", "join", "joined", "one", "two", "p"]
    first, *others = linnet.load(file).run(images, fetch=names)
    expected = np.maximum(images.reshape(2, 2, 2, 2, 2, 2).max((3, 5)), 0)
    np.testing.assert_array_equal(first, expected)
    assert all(np.array_equal(first, other) for other in others)
    assert cli.main(["inspect", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["aliases"]["joined"] == "two"
    assert cli.main(["inspect", str(file)]) == 0
    assert "other names: 'pool for p.pool', " in capsys.readouterr().out
    assert cli.main(["run", str(file), "--fill", "zeros", "--fetch", "drop"]) == 0
    assert capsys.readouterr().out.startswith("drop 1x2x2x2: ")


def test_opencv_has_them_in_the_session_that_is_there() -> None:
    net = cv2dnn.readNetFromCaffe(PROTOTXT)
    net.setInput(np.ones((1, 2, 4, 4), np.float32))
    net.forward()
    session = net._session
    for name in ("pool", "relu", "drop", "join", "joined", "split", "one"):
        assert net.forward(name).shape == (1, 2, 2, 2)
    assert net._session is session


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "[" * 100_000, '{"b": 1}', '{"b": "b"}', '{"b": "none", "a": "x"}']
)
def test_what_a_file_says_is_not_trusted(text: str) -> None:
    assert set(recorded({ALIASES: text})) <= {"a", "b"}
    graph = passing_on()
    graph.aliases = recorded({ALIASES: text})
    net = linnet.load(graph)
    np.testing.assert_array_equal(net.run(X, fetch=["a"])[0], RELU)


def test_aliases_that_lead_in_a_circle_lead_nowhere() -> None:
    graph = passing_on()
    graph.aliases = {"p": "q", "q": "r", "r": "p", "s": "p", "t": "e", "u": "t", "out": "a"}
    aliases = passes.canonicalize(graph).aliases
    assert {"p", "q", "r", "s", "out"}.isdisjoint(aliases)
    assert aliases["u"] == aliases["t"] == "out"
