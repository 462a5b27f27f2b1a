"""A network that ends at the values someone wants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import cli, passes
from linnet.formats import onnx_write
from linnet.graph import UNSUPPORTED, Graph, Node, Value
from linnet.passes.outputs import with_outputs

X = np.array([[1, -2, 3]], np.float32)


def detector() -> Graph:
    """Two inputs, raw boxes, and what linnet has not behind them."""
    nodes = [
        Node("Relu", "body", ["x"], ["boxes"]),
        Node("Add", "sum", ["boxes", "k"], ["scores"]),
        Node("Mul", "scaled", ["boxes", "size"], ["scaled"]),
        Node("Strange", "strange", ["scaled", "scores"], ["kept"]),
        Node(UNSUPPORTED, "loop", ["kept"], ["result"], {"op": "While", "reason": "is a loop"}),
    ]
    constants = {"k": np.float32([1, 1, 1])}
    inputs = [Value("x", (0, 3)), Value("size", (0, 3))]
    return Graph("detector", nodes, constants, inputs, ["result"], "detector.pb")


def test_what_is_behind_is_not_looked_at() -> None:
    net = linnet.load(detector(), outputs=["scores", "boxes"])
    assert [v.name for v in net.inputs] == ["x"]
    assert [v.name for v in net.outputs] == ["scores", "boxes"]
    scores, boxes = net(X)
    np.testing.assert_array_equal(boxes, [[1, 0, 3]])
    np.testing.assert_array_equal(scores, [[2, 1, 4]])
    cut = with_outputs(detector(), ["boxes"])
    assert cut.left_out == ["Add", "Mul", "Strange", "While"]
    assert (len(cut.nodes), cut.initializers) == (1, {})
    assert with_outputs(detector(), []).outputs == ["result"]


def test_a_refusal_says_where_to_end() -> None:
    with pytest.raises(ValueError) as error:
        passes.canonicalize(detector())
    assert "end it before them (outputs=['scaled', 'scores']) and" in str(error.value)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["Scores"], r"detector.pb: the model has no value 'Scores'; did you mean 'scores'\?"),
        (["x"], "output 'x' is an input"),
        (["k"], "output 'k' is a constant"),
        ([1], "expected a list of names"),
    ],
)
def test_names_that_do_not_fit(given: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        linnet.load(detector(), outputs=given)


def test_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line and converted; a canonical file, too, which the core reads itself."""
    graph = detector()
    graph.nodes = graph.nodes[:3]
    graph.outputs = ["scores", "scaled"]
    whole, cut = tmp_path / "whole.onnx", tmp_path / "cut.onnx"
    onnx_write.save(passes.canonicalize(graph), whole)
    assert cli.main(["inspect", str(whole), "--outputs", "boxes", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [v["name"] for v in data["outputs"]] == ["boxes"]
    assert data["left_out"] == ["Add", "Mul"]
    assert cli.main(["run", str(whole), "--outputs", "boxes,scores", "--fill", "zeros"]) == 0
    assert "scores Nx3: " in capsys.readouterr().out.replace("1x3", "Nx3")
    linnet.convert(whole, None, cut, outputs="boxes")
    assert [v.name for v in linnet.load(cut).outputs] == ["boxes"]


@pytest.mark.parametrize("array", [np.arange(6).reshape(2, 3), np.ones((3,), np.float32)])
def test_constants_are_results(array):
    """Beside others, of a model whose first axis has a size; and read by others, too."""
    nodes = [Node("Relu", "r", ["x"], ["y"])]
    if array.dtype == np.float32:
        nodes.append(Node("Add", "a", ["x", "c"], ["z"]))
    graph = Graph("g", nodes, {"c": array}, [Value("x", (2, 3))], ["y", "c"])
    x = np.array([[np.nan, -1, np.inf], [0, 1, 2]], np.float32)
    for net in (linnet.load(graph), linnet.load(passes.canonicalize(graph))):
        y, c = net.run(None, {"x": x})
        np.testing.assert_array_equal(c, array)
        assert c.dtype == array.dtype
        np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_a_constant_beside_a_free_batch_is_no_result():
    graph = Graph(
        "g", [Node("Relu", "r", ["x"], ["y"])], {"c": np.ones(3)}, [Value("x", (0, 3))], ["y", "c"]
    )
    with pytest.raises(ValueError, match="output 'c' is a constant"):
        passes.canonicalize(graph)
