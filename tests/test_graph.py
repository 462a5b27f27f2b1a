"""The graph: order, names, the core's view of it, and saving."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from linnet import _core, core, formats, interpret, ops, passes
from linnet.core import build
from linnet.formats.onnx_write import save
from linnet.graph import Graph, Node, Value
from linnet.options import WEIGHT_TYPES

RANDOM = np.random.default_rng(1)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def network():
    """Every canonical operator at least once, in canonical form."""
    window = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1]}
    nodes = [
        Node(
            "Conv", "conv", ["x", "w", "b"], ["c"], {"kernel_shape": [3, 3], **window, "group": 2}
        ),
        Node("Relu", "relu", ["c"], ["r"]),
        Node("Add", "sum", ["r", "c"], ["s"]),
        Node("Add", "shift", ["s", "t.shift"], ["t"]),
        Node(
            "MaxPool",
            "max",
            ["t"],
            ["m"],
            {"kernel_shape": [3, 3], **window, "strides": [2, 2], "ceil_mode": 1},
        ),
        Node(
            "AveragePool",
            "mean",
            ["m"],
            ["a"],
            {
                "kernel_shape": [2, 2],
                "strides": [1, 2],
                "pads": [0, 1, 1, 0],
                "ceil_mode": 0,
                "count_include_pad": 1,
            },
        ),
        Node("Reshape", "reshape", ["a", "shape"], ["q"]),
        Node("Flatten", "flatten", ["q"], ["f"], {"axis": 1}),
        Node("Gemm", "fc", ["f", "matrix", "bias"], ["g"], {"transB": 1}),
        Node("Softmax", "prob", ["g"], ["y"], {"axis": 1}),
        Node("GlobalMaxPool", "top", ["a"], ["z"]),
        Node("GlobalAveragePool", "middle", ["a"], ["v"]),
        Node("Concat", "join", ["z", "v", "z"], ["j"], {"axis": 1}),
    ]
    constants = {
        "w": normal(6, 2, 3, 3),
        "b": normal(6),
        "t.shift": normal(6, 1, 1),
        "shape": np.array([0, 21, 2, 3], np.int64),
        "matrix": normal(7, 126),
        "bias": normal(7),
    }
    return Graph("everything", nodes, constants, [Value("x", (0, 4, 12, 9))], ["y", "z", "v", "j"])


def equal(a, b):
    assert (a.name, a.nodes, a.inputs, a.outputs) == (b.name, b.nodes, b.inputs, b.outputs)
    assert a.initializers.keys() == b.initializers.keys()
    for name, array in a.initializers.items():
        assert array.dtype == b.initializers[name].dtype
        np.testing.assert_array_equal(array, b.initializers[name], err_msg=name)


def test_network_is_canonical_already():
    graph = network()
    equal(passes.canonicalize(graph), graph)


def test_shapes_are_the_cores():
    shapes = core.shapes(network())
    assert shapes["x"] == (0, 4, 12, 9)
    assert shapes["m"] == (0, 6, 7, 5)
    assert shapes["a"] == (0, 6, 7, 3)
    assert shapes["y"] == (0, 7)
    assert shapes["j"] == (0, 18, 1, 1)
    values = interpret.run(network(), {"x": normal(2, 4, 12, 9)}, fetch=list(shapes))
    assert {name: (0, *array.shape[1:]) for name, array in values.items()} == shapes


def test_build_names_file_node_and_problem():
    graph = network()
    graph.source = "net.onnx"
    graph.nodes[8].attrs = {}
    with pytest.raises(ValueError, match=r"net\.onnx: node 'fc' \(Gemm\): .*transB"):
        build(graph)


def test_sort_brings_nodes_into_execution_order():
    graph = network()
    names = [node.name for node in graph.nodes]
    graph.nodes.reverse()
    assert graph.sort() == []
    build(graph)
    graph = network()
    assert graph.sort() == []
    assert [node.name for node in graph.nodes] == names  # already in order: as it was


def test_sort_reports_every_wrong_name():
    graph = network()
    graph.nodes[1].outputs = ["c"]
    graph.nodes[8].inputs[1] = "lost"
    graph.outputs.append("nothing")
    problems = graph.sort()
    assert "'c' is defined again as an output of node 'relu' (Relu)" in problems
    assert "node 'sum' (Add): input 'r' is not defined anywhere" in problems
    assert "node 'fc' (Gemm): input 'lost' is not defined anywhere" in problems
    assert "output 'nothing' is not defined anywhere" in problems
    assert len(problems) == 4


def test_sort_finds_cycles():
    graph = network()
    graph.nodes[2].inputs = ["r", "m"]
    (problem,) = graph.sort()
    assert "cycle" in problem
    assert "'sum' (Add)" in problem
    with pytest.raises(ValueError, match="cycle"):
        passes.canonicalize(graph)


def test_saved_graph_comes_back_the_same(tmp_path):
    graph = network()
    save(graph, tmp_path / "net.onnx")
    equal(passes.canonicalize(formats.read(tmp_path / "net.onnx")), graph)
    save(graph, tmp_path / "again.onnx")
    assert (tmp_path / "net.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x08\x08\x12\x07", "ONNX"),
        (b"\x08\x03:\x80\x02", "ONNX"),
        (b"\n# a net\n\nlayer {", "Caffe"),
        (b'name: "net"', "Caffe"),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"\x0a\x10", None),
        (b"name = net", None),
        (b"", None),
    ],
)
def test_format_by_content(head, name, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(head)
    found = formats.recognise(formats.Source(path))
    assert (found and found.name) == name


def test_model_without_its_suffix(tmp_path):
    graph = network()
    save(graph, tmp_path / "model.bin")
    equal(passes.canonicalize(formats.read(tmp_path / "model.bin")), graph)


def test_saved_half_precision_is_the_rounded_graph(tmp_path):
    graph = network()
    save(graph, tmp_path / "net.onnx", weights="f16")
    save(graph, tmp_path / "single.onnx")
    for name, array in graph.initializers.items():
        if array.dtype == np.float32:
            graph.initializers[name] = array.astype(np.float16).astype(np.float32)
    back = passes.canonicalize(formats.read(tmp_path / "net.onnx"))
    equal(back, graph)
    size = (tmp_path / "net.onnx").stat().st_size
    assert size < 0.7 * (tmp_path / "single.onnx").stat().st_size
    save(back, tmp_path / "again.onnx", weights="f16")
    assert (tmp_path / "net.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()


def test_saved_int8_is_the_rounded_graph(tmp_path):
    graph = network()
    save(graph, tmp_path / "net.onnx", weights="int8")
    for node in graph.nodes:
        if node.op in ("Conv", "Gemm"):
            name = node.inputs[1]
            graph.initializers[name] = ops.quant.rounded(graph.initializers[name], "int8")
    back = passes.canonicalize(formats.read(tmp_path / "net.onnx"))
    equal(back, graph)


@pytest.mark.parametrize("weights", WEIGHT_TYPES)
def test_saved_graph_is_read_by_the_core(tmp_path, weights):
    graph = network()
    save(graph, tmp_path / "net.onnx", weights)
    builder = _core.read_onnx(str(tmp_path / "net.onnx"))
    assert {name: tuple(builder.shape(name)) for name in core.shapes(graph)} == core.shapes(graph)


@pytest.mark.parametrize("weights", WEIGHT_TYPES)
def test_saved_graph_is_valid_onnx_and_means_the_same(tmp_path, weights):
    onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = str(tmp_path / "net.onnx")
    save(network(), path, weights)
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path)
    assert model.ir_version == 8
    assert 13 <= model.opset_import[0].version <= 18
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"

    graph = passes.canonicalize(formats.read(path))
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = normal(batch, 4, 12, 9)
        expected = interpret.run(graph, {"x": x})
        for name, array in zip(graph.outputs, session.run(None, {"x": x})):
            np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-5)


def test_save_refuses_weights_beyond_half_precision(tmp_path):
    graph = network()
    graph.initializers["b"][2] = 1e5
    with pytest.raises(ValueError, match=r"'b' is beyond float16"):
        save(graph, tmp_path / "net.onnx", weights="f16")
    assert not (tmp_path / "net.onnx").exists()
    with pytest.raises(ValueError, match="'f8'"):
        save(graph, tmp_path / "net.onnx", weights="f8")
    graph.initializers["w"][0] = np.inf
    with pytest.raises(ValueError, match=r"'w' has infinities"):
        save(graph, tmp_path / "net.onnx", weights="int8")


def test_failed_save_leaves_the_target(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"mine")

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        save(network(), path)
    assert error.value.filename == str(path)
    assert path.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [path]
