"""Operators of integers with scales among their inputs, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import onnx, runtime

import linnet
from linnet import formats, interpret, passes
from linnet.graph import Array, Graph, Node, Value

RANDOM = np.random.default_rng(11)
X = RANDOM.integers(0, 256, (1, 4, 6, 6)).astype(np.uint8)
CONSTANTS: dict[str, Array] = {
    "xs": np.array(0.02, np.float32),
    "xz": np.array(100, np.uint8),
    "ys": np.array(0.05, np.float32),
    "yz": np.array(120, np.uint8),
    "half": np.array(1 / 256, np.float32),
    "none": np.array(0, np.uint8),
    # No sum of two products is beyond 16 bits, where ONNX Runtime's kernels may saturate.
    "w": RANDOM.integers(-63, 64, (6, 4, 3, 3)).astype(np.int8),
    "ws": np.linspace(0.002, 0.01, 6, dtype=np.float32),
    "wz": np.zeros(6, np.int8),
    "b": RANDOM.integers(-999, 999, 6).astype(np.int32),
    "one": np.array(0.004, np.float32),
    "middle": np.array(0, np.int8),
    "m": RANDOM.integers(-63, 64, (144, 5)).astype(np.int8),
    "ms": np.linspace(0.001, 0.003, 5, dtype=np.float32),
    "mz": np.zeros(5, np.int8),
    "c": RANDOM.integers(-9999, 9999, 5).astype(np.int32),
    "row": np.array([1, 144], np.int64),
}
WINDOW = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}
CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "QLinearConv": ("", "x,xs,xz,w,ws,wz,ys,yz,b", WINDOW),
    "QLinearConv of one scale": ("", "x,xs,xz,w,one,middle,ys,yz", {"dilations": [2, 2]}),
    "QLinearMatMul": ("", "r,xs,xz,m,ms,mz,ys,yz", {}),
    "QGemm": ("com.microsoft", "r,xs,xz,m,ms,mz,c,ys,yz", {"alpha": 1.0}),
    "QGemm of reals": ("com.microsoft", "r,xs,xz,m,ms,mz,c", {}),
    "QLinearAdd": ("com.microsoft", "x,xs,xz,x,half,none,ys,yz", {}),
    "QLinearMul": ("com.microsoft", "x,xs,xz,x,half,none,ys,yz", {}),
    "QLinearAveragePool": ("com.microsoft", "x,xs,xz,ys,yz", WINDOW),
    "QLinearGlobalAveragePool": ("com.microsoft", "x,xs,xz,ys,yz", {"channels_last": 0}),
    "QLinearSigmoid": ("com.microsoft", "x,xs,xz,half,none", {}),
    "QLinearLeakyRelu": ("com.microsoft", "x,xs,xz,ys,yz", {"alpha": 0.2}),
    "QLinearSoftmax": ("com.microsoft", "x,xs,xz,half,none", {"axis": 1, "opset": 13}),
    "QLinearConcat": ("com.microsoft", "ys,yz,x,xs,xz,x,half,none", {"axis": 1}),
    "QuantizeLinear of com.microsoft": ("com.microsoft", "f,xs,xz", {}),
}


def file(name: str) -> Any:
    """A model of one call, whose other inputs are constants."""
    domain, inputs, attrs = CALLS[name]
    given = inputs.split(",")
    kind, types = onnx.TensorProto, {"of reals": onnx.TensorProto.FLOAT}
    made = types.get(" ".join(name.split()[1:]), kind.UINT8)
    nodes = []
    if "r" in given:
        nodes.append(onnx.helper.make_node("Reshape", ["x", "row"], ["r"]))
    if "f" in given:
        nodes.append(onnx.helper.make_node("DequantizeLinear", ["x", "ys", "yz"], ["f"]))
    nodes.append(
        onnx.helper.make_node(name.split(maxsplit=1)[0], given, ["y"], domain=domain, **attrs)
    )
    graph = onnx.helper.make_graph(
        nodes,
        "test",
        [onnx.helper.make_tensor_value_info("x", kind.UINT8, X.shape)],
        [onnx.helper.make_tensor_value_info("y", made, None)],
        [
            onnx.numpy_helper.from_array(array, key)
            for key, array in CONSTANTS.items()
            if key in given or key in ("row", "ys", "yz")
        ],
    )
    opsets = [onnx.helper.make_opsetid("", 13), onnx.helper.make_opsetid("com.microsoft", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@pytest.mark.parametrize("name", CALLS)
def test_as_onnx_runtime_computes_it(name: str):
    data = file(name)
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"x": X})
    meant = interpret.run(formats.read(data), {"x": X}, np.float32)["y"]
    for ours in (meant, linnet.load(data)(X)):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if ours.dtype == np.float32:
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
        else:
            gap = np.abs(ours.astype(int) - theirs.astype(int))
            assert gap.max() <= 1 and (gap > 0).mean() < 0.05
    form = passes.canonicalize(formats.read(data))
    layers = [node for node in form.nodes if node.op in ("Conv", "Gemm")]
    assert all(layer.inputs[1] not in form.initializers for layer in layers)


def graph(op: str, inputs: str, attrs: dict[str, Any] | None = None, **more: Array) -> Graph:
    nodes = [Node(op, "y", inputs.split(","), ["y"], attrs or {})]
    return Graph("net", nodes, {**CONSTANTS, **more}, [Value("x", X.shape, X.dtype)], ["y"])


def test_products_of_integers_are_integers():
    """Beyond what 24 bits hold, float32's rounding is all that differs."""
    w = RANDOM.integers(-128, 128, (8, 4, 5, 5)).astype(np.int8)
    net = graph("ConvInteger", "x,w,xz", {"kernel_shape": [5, 5]}, w=w)
    expected = interpret.run(net, {"x": X})["y"]
    found = linnet.load(net)(X)
    assert found.dtype == expected.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


def test_scales_that_the_data_gives():
    """The network that ONNX Runtime's dynamic quantization makes: a product and its scale."""
    nodes = [
        Node("DynamicQuantizeLinear", "q", ["x"], ["q", "s", "z"]),
        Node("ConvInteger", "p", ["q", "w", "z"], ["p"]),
        Node("Cast", "r", ["p"], ["r"], {"to": 1}),
        Node("Mul", "y", ["r", "s"], ["y"]),
    ]
    inputs = [Value("x", X.shape)]
    net = Graph("net", nodes, dict(CONSTANTS), inputs, ["y", "q", "s", "z"])
    x = RANDOM.standard_normal(X.shape).astype(np.float32)
    expected = interpret.run(net, {"x": x}, np.float32)
    found = dict(zip(net.outputs, linnet.load(net).run(None, {"x": x})))
    assert np.abs(found["q"].astype(int) - expected["q"].astype(int)).max() <= 1
    np.testing.assert_array_equal(found["z"].ravel(), expected["z"].ravel())
    np.testing.assert_allclose(found["s"].ravel(), expected["s"].ravel(), rtol=1e-6)
    scale = float(np.abs(expected["y"]).max())
    np.testing.assert_allclose(found["y"], expected["y"], atol=0.01 * scale)


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (graph("QLinearConv", "x,xs,xz,w,ws,wz,ys,yz,c"), "its bias is int32 \\[5\\]"),
        (graph("QLinearConv", "x,xs,xz,w,ws,wz,ys,yz,ws"), "its bias is float32"),
        (graph("QLinearConv", "x,xs,middle,w,ws,wz,ys,yz"), "its zero point int8"),
        (graph("QLinearConv", "x,xs,xz,w,ms,mz,ys,yz"), "do not fit axis 0"),
        (graph("QLinearConv", "x,none,xz,w,ws,wz,ys,yz"), "its scale and zero point are uint8"),
        (graph("QLinearAdd", "x,xs,xz,x,x,xz,ys,yz"), "its scale 'x' is computed"),
        (graph("QLinearSigmoid", "x,xs,xz,zero,none", zero=np.zeros((), "f4")), "its scale is 0"),
        (graph("QLinearConcat", "ys,yz,x,xs", {"axis": 1}), "expected three for each part"),
        (
            graph("QLinearGlobalAveragePool", "x,xs,xz,ys,yz", {"channels_last": 1}),
            "channels_last=1 is not supported",
        ),
    ],
)
def test_what_does_not_fit_is_refused(net: Graph, said: str):
    with pytest.raises(ValueError, match=said):
        linnet.load(net)
