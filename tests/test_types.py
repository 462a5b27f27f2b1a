"""Values of other types than float32, and inputs whose sizes a model leaves open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import _core, core, interpret, passes
from linnet.formats import onnx_write
from linnet.graph import Graph, Node, Value

TYPES = ["float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool"]
ONNX_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int16": 5, "int32": 6, "int64": 7, "bool": 9}
ONNX_TYPES["float16"] = 10


def numbers(dtype: str, *shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def moving(dtype: str) -> Graph:
    """Transposes, a reshape and a concatenation of one type; a result of another."""
    to = {"to": ONNX_TYPES["int16" if dtype == "float32" else "float32"]}
    nodes = [
        Node("Transpose", "t", ["a"], ["t"], {"perm": [0, 2, 3, 1]}),
        Node("Reshape", "r", ["t", "shape"], ["r"]),
        Node("Transpose", "u", ["r"], ["u"], {"perm": [0, 3, 1, 2]}),
        Node("Concat", "c", ["u", "b", "a"], ["c"], {"axis": 1}),
        Node("Cast", "d", ["c"], ["d"], to),
    ]
    inputs = [Value(name, (0, 5, 6, 7), np.dtype(dtype)) for name in "ab"]
    return Graph("moving", nodes, {"shape": np.array([0, 6, 7, 5], np.int64)}, inputs, ["c", "d"])


@pytest.mark.parametrize("isa", _core.available_isas())
@pytest.mark.parametrize("dtype", TYPES)
def test_values_of_any_type_move(dtype: str, isa: str, tmp_path: Path) -> None:
    graph = moving(dtype)
    feeds = {"a": numbers(dtype, 3, 5, 6, 7), "b": numbers(dtype, 3, 5, 6, 7)[::-1].copy()}
    want = interpret.run(graph, feeds, np.float32 if dtype != "float16" else np.float16)
    onnx_write.save(graph, tmp_path / "moving.onnx")
    for builder in (core.build(graph), _core.read_onnx(str(tmp_path / "moving.onnx"))):
        net = linnet.Session(_core.Session(builder, isa=isa, threads=2))
        assert [v.dtype for v in net.inputs] == [np.dtype(dtype)] * 2
        for got, info in zip(net(*feeds.values()), net.outputs):
            assert got.dtype == info.dtype == want[info.name].dtype
            np.testing.assert_array_equal(got, want[info.name])


def test_another_type_than_the_input_has_is_named() -> None:
    net = linnet.Session(_core.Session(core.build(moving("uint8")), threads=1))
    x = numbers("uint8", 1, 5, 6, 7)
    with pytest.raises(ValueError, match="'b' has dtype int64, expected uint8"):
        net(x, x.astype(np.int64))
    with pytest.raises(ValueError, match="'c' has dtype float32, expected uint8"):
        net(x, x, out=[np.empty((1, 15, 6, 7), np.float32), np.empty((1, 15, 6, 7), np.float32)])


def test_operators_of_floats_refuse_other_types() -> None:
    graph = Graph("g", [Node("Sigmoid", "r", ["x"], ["y"])], {}, [Value("x", (0, 3))], ["y"])
    graph.inputs = [graph.inputs[0]._replace(dtype=np.dtype(np.int32))]
    with pytest.raises(ValueError, match=r"node 'r' \(Sigmoid\): an input is int64, only float32"):
        passes.canonicalize(graph)


def test_an_image_of_bytes_is_cast_and_convolved() -> None:
    weights = {"w": np.random.default_rng(1).normal(size=(8, 3, 3, 3)).astype("f4")}
    nodes = [
        Node("Cast", "f", ["x"], ["f"], {"to": 1}),
        Node("Conv", "c", ["f", "w"], ["c"], {"pads": [1, 1, 1, 1]}),
        Node("Cast", "y", ["c"], ["y"], {"to": 2}),
    ]
    graph = Graph("g", nodes, weights, [Value("x", (0, 3, 9, 10), np.dtype(np.uint8))], ["c", "y"])
    x = numbers("uint8", 2, 3, 9, 10)
    want = interpret.run(graph, {"x": x})
    c, y = linnet.load(graph, threads=1)(x)
    np.testing.assert_allclose(c, want["c"], rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(y, np.clip(c, 0, 255).astype(np.uint8))


def open_network(rest: list[Node] | None = None) -> Graph:
    """Convolutions, pools, a concatenation of any height and width, and classes of both."""
    random = np.random.default_rng(2)
    weights = {
        "w1": random.normal(size=(8, 3, 3, 3)).astype("f4"),
        "w2": random.normal(size=(12, 8, 3, 3)).astype("f4") / 8,
        "w3": random.normal(size=(5, 20)).astype("f4"),
        "flat": np.array([0, -1], np.int64),
        "rows": np.array([0, 20, -1], np.int64),
    }
    nodes = [
        Node("Conv", "c1", ["x", "w1"], ["c1"], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        Node("Relu", "r1", ["c1"], ["r1"]),
        Node("Conv", "c2", ["r1", "w2"], ["c2"], {"pads": [1, 1, 1, 1]}),
        Node("Concat", "j", ["c2", "r1"], ["j"], {"axis": 1}),
        Node("MaxPool", "p", ["j"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        Node("GlobalAveragePool", "g", ["p"], ["g"]),
        Node("Reshape", "f", ["g", "flat"], ["f"]),
        Node("Gemm", "fc", ["f", "w3"], ["fc"], {"transB": 1}),
        Node("Reshape", "rows", ["p", "rows"], ["rows.y"]),
        *(rest or []),
    ]
    return Graph("open", nodes, weights, [Value("x", (0, 3, 0, 0))], ["fc", "rows.y"])


def test_open_sizes_run_at_every_size(tmp_path: Path) -> None:
    graph = open_network()
    canonical = passes.canonicalize(graph)
    onnx_write.save(canonical, tmp_path / "open.onnx")
    for builder in (core.build(canonical), _core.read_onnx(str(tmp_path / "open.onnx"))):
        net = linnet.Session(_core.Session(builder, threads=2))
        assert net.inputs[0].shape == (None, 3, None, None)
        assert [v.shape for v in net.outputs] == [(None, 5), (None, 20, None)]
        weights = None
        for n, h, w in [(1, 32, 40), (3, 17, 23), (1, 64, 9), (2, 32, 40), (1, 1, 200)] * 2:
            if h == 1:
                with pytest.raises(ValueError, match=r"node 'p'.*window"):
                    net(np.zeros((n, 3, h, w), np.float32))
                continue
            x = np.random.default_rng(h).normal(size=(n, 3, h, w)).astype("f4")
            want = interpret.run(graph, {"x": x})
            for got, name in zip(net(x), graph.outputs):
                np.testing.assert_allclose(got, want[name], rtol=1e-4, atol=1e-4)
            weights = weights or net.weight_bytes
        with pytest.raises(ValueError, match=r"expected Nx3x\?x\?"):
            net(np.zeros((1, 4, 32, 40), np.float32))
        assert net.explain().layers


def test_sizes_that_come_again_cost_no_memory() -> None:
    net = linnet.load(open_network(), threads=1, algorithm="direct")
    sizes = [(16 + 2 * i, 20) for i in range(12)]
    seen = []
    for _ in range(2):
        for h, w in sizes:
            net(np.zeros((1, 3, h, w), np.float32))
        seen.append((net.arena_bytes, net.weight_bytes))
    assert seen[0] == seen[1]


def test_open_sizes_are_nothing_before_the_first() -> None:
    net = linnet.load(open_network(), threads=1)
    with pytest.raises(ValueError, match="run it first"):
        net.explain()


def test_what_rests_on_the_size_is_refused() -> None:
    same = Node("Conv", "same", ["x", "w1"], ["y"], {"strides": [2, 2], "auto_pad": "SAME_UPPER"})
    graph = open_network([same])
    graph.outputs.append("y")
    with pytest.raises(ValueError, match=r"node 'same' \(Conv\) depends on the size"):
        passes.canonicalize(graph)


def mixing(batch: int, target: list[int], back: list[int] | None = None) -> Graph:
    """A convolution, a reshape that joins the batch with others, classes, perhaps the way back."""
    random = np.random.default_rng(3)
    weights = {
        "w": random.normal(size=(8, 3, 3, 3)).astype("f4"),
        "m": random.normal(size=(4, target[1])).astype("f4"),
        "target": np.array(target, np.int64),
    }
    nodes = [
        Node("Conv", "c", ["x", "w"], ["c"], {"pads": [1, 1, 1, 1]}),
        Node("Reshape", "r", ["c", "target"], ["r"]),
        Node("Gemm", "g", ["r", "m"], ["g"], {"transB": 1}),
        Node("Softmax", "s", ["g"], ["y"], {"axis": 1}),
    ]
    outputs = ["y"]
    if back:
        weights["back"] = np.array(back, np.int64)
        nodes.append(Node("Reshape", "b", ["y", "back"], ["z"]))
        outputs = ["z"]
    return Graph("mixing", nodes, weights, [Value("x", (batch, 3, 6, 5))], outputs)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("isa", _core.available_isas())
def test_axis_0_may_be_an_axis_like_others(batch: int, isa: str, tmp_path: Path) -> None:
    graph = mixing(batch, [-1, 10])
    canonical = passes.canonicalize(graph)
    onnx_write.save(canonical, tmp_path / "mixing.onnx")
    x = np.random.default_rng(4).normal(size=(batch, 3, 6, 5)).astype("f4")
    want = interpret.run(graph, {"x": x})["y"]
    for builder in (core.build(canonical), _core.read_onnx(str(tmp_path / "mixing.onnx"))):
        net = linnet.Session(_core.Session(builder, isa=isa, threads=2))
        assert net.inputs[0].shape == (batch, 3, 6, 5)
        assert net.outputs[0].shape == (batch * 24, 4)
        np.testing.assert_allclose(net(x), want, rtol=1e-4, atol=1e-5)
        everything = net.run(x, fetch=[value.name for value in net.values])
        np.testing.assert_allclose(everything[-1], want, rtol=1e-4, atol=1e-5)
        with pytest.raises(ValueError, match=f"the model is for {batch}"):
            net(np.concatenate([x, x]))


def test_a_larger_batch_runs_in_groups_where_each_image_has_its_results() -> None:
    graph = mixing(2, [-1, 10], [2, 96])
    net = linnet.load(graph, threads=1)
    x = np.random.default_rng(5).normal(size=(6, 3, 6, 5)).astype("f4")
    want = [interpret.run(graph, {"x": x[i : i + 2]})["z"] for i in (0, 2, 4)]
    np.testing.assert_allclose(net(x), np.concatenate(want), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="'x' has shape"):
        net(x[:3])
    with pytest.raises(ValueError, match="the model is for 2"):
        net.run(x, fetch=["r"])


def test_axis_0_may_be_transposed() -> None:
    nodes = [
        Node("Transpose", "t", ["x"], ["t"], {"perm": [1, 2, 0, 3]}),
        Node("Relu", "r", ["t"], ["r"]),
        Node("Transpose", "u", ["r"], ["u"], {"perm": [3, 0, 2, 1]}),
    ]
    graph = Graph("g", nodes, {}, [Value("x", (2, 3, 4, 5))], ["r", "u"])
    net = linnet.Session(_core.Session(core.build(graph)))
    x = np.random.default_rng(6).normal(size=(2, 3, 4, 5)).astype("f4")
    want = interpret.run(graph, {"x": x}, np.float32)
    for got, name in zip(net(x), graph.outputs):
        np.testing.assert_array_equal(got, want[name])


def test_shapes_given_to_load_settle_what_a_model_leaves_open(tmp_path: Path) -> None:
    same = Node("Conv", "same", ["x", "w1"], ["y"], {"strides": [2, 2], "auto_pad": "SAME_UPPER"})
    graph = open_network([same])
    graph.outputs.append("y")
    net = linnet.load(graph, shapes={"x": (None, 3, 25, 30)}, threads=1)
    assert net.inputs[0].shape == (None, 3, 25, 30)
    x = np.random.default_rng(7).normal(size=(2, 3, 25, 30)).astype("f4")
    np.testing.assert_allclose(net(x)[2], interpret.run(graph, {"x": x})["y"], rtol=1e-4, atol=1e-4)
    onnx_write.save(passes.canonicalize(open_network()), tmp_path / "open.onnx")
    linnet.convert(tmp_path / "open.onnx", None, tmp_path / "set.onnx", shapes={"x": (1, 3, 8, 9)})
    assert linnet.load(tmp_path / "set.onnx", threads=1).inputs[0].shape == (None, 3, 8, 9)
    for wrong, said in (({"z": (1, 3, 8, 9)}, "no input 'z'"), ({"x": (3, 8, 9)}, "4 sizes")):
        with pytest.raises(ValueError, match=said):
            linnet.load(graph, shapes=wrong)
