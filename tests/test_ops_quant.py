"""Integers that stand for reals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import model

import linnet
from linnet import formats, interpret, passes
from linnet.formats.onnx_write import save
from linnet.graph import Graph, Node, Value
from linnet.ops.quant import dequantize_linear, quantize_linear, scales_of_rows

X = np.linspace(-3, 3, 2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


def graph(
    nodes: Sequence[tuple[str, str, str]], outputs: str, dtype: Any = np.float32, **more: Any
) -> Graph:
    constants = {
        "s": np.array(0.02, np.float32),
        "z": np.array(-5, np.int8),
        "s2": np.array(0.015, np.float32),
        "z2": np.array(100, np.uint8),
        **more,
    }
    made = [Node(op, y, x.split(","), [y]) for op, x, y in nodes]
    return Graph("net", made, constants, [Value("x", (1, 3, 4, 5), np.dtype(dtype))], [outputs])


def operators(source: Graph) -> list[str]:
    return [node.op for node in passes.canonicalize(source).nodes]


@pytest.mark.parametrize(("scale", "zero"), [("s", "z"), ("s2", "z2")])
def test_reals_are_rounded_to_what_integers_stand_for(scale: str, zero: str):
    net = graph(
        [
            ("QuantizeLinear", f"x,{scale},{zero}", "q"),
            ("DequantizeLinear", f"q,{scale},{zero}", "y"),
        ],
        "y",
    )
    assert operators(net) == ["QuantizeLinear", "DequantizeLinear"]
    loaded = linnet.load(net)
    y, q = loaded.run(["y", "q"], {"x": X})
    meant = quantize_linear(X, net.initializers[scale], net.initializers[zero])
    assert q.dtype == meant.dtype == net.initializers[zero].dtype
    np.testing.assert_array_equal(q, meant)
    np.testing.assert_array_equal(y, interpret.run(net, {"x": X}, np.float32)["y"])
    info = np.iinfo(meant.dtype)
    assert (meant.min(), meant.max()) == (info.min if zero == "z" else 0, info.max)


def test_the_type_without_a_zero_point():
    net = graph([("QuantizeLinear", "x,s", "y")], "y")
    assert linnet.load(net).outputs[0].dtype == np.uint8
    net = graph([("DequantizeLinear", "x,s", "y")], "y", np.int8)
    q = np.arange(-60, 60, dtype=np.int8).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(linnet.load(net)(q), q * np.float32(0.02))


def test_more_axes_than_an_image_has():
    target = np.array([-1, 3, 2, 2, 5], np.int64)
    steps = [("Reshape", "x,t", "r"), ("QuantizeLinear", "r,s,z", "q")]
    net = graph(steps, "q", t=target)
    np.testing.assert_array_equal(linnet.load(net)(X), interpret.run(net, {"x": X})["q"])
    net = graph([*steps, ("DequantizeLinear", "q,s2,z", "y")], "y", t=target)
    expected = interpret.run(net, {"x": X})["y"]
    np.testing.assert_allclose(linnet.load(net)(X), expected, rtol=1e-5, atol=1e-6)


def test_inputs_of_integers():
    net = graph([("DequantizeLinear", "x,s,z", "r"), ("Relu", "r", "y")], "y", np.int8)
    q = np.arange(-60, 60, dtype=np.int8).reshape(2, 3, 4, 5)
    expected = np.maximum((q.astype(np.float32) + 5) * np.float32(0.02), 0)
    np.testing.assert_allclose(linnet.load(net)(q), expected, rtol=1e-6)
    np.testing.assert_allclose(interpret.run(net, {"x": q})["y"], expected, rtol=1e-6)


def test_halves():
    """Numbers of float16 are rounded as those of float32; a scale of float16 makes such."""
    net = graph([("QuantizeLinear", "x,h,z", "q"), ("DequantizeLinear", "q,h,z", "y")], "y")
    net.initializers["h"] = np.array(0.02, np.float16)
    net.inputs = [net.inputs[0]._replace(dtype=np.dtype(np.float16))]
    loaded = linnet.load(net)
    assert loaded.outputs[0].dtype == np.float16
    np.testing.assert_allclose(loaded(X.astype(np.float16)), np.clip(X, -2.46, 2.64), atol=0.011)


def test_order_of_axes_and_scales_do_not_mind_each_other():
    net = graph([("QuantizeLinear", "t,s,z", "q"), ("DequantizeLinear", "q,s,z", "y")], "y")
    net.nodes.insert(0, Node("Transpose", "t", ["x"], ["t"], {"perm": [0, 2, 3, 1]}))
    assert operators(net) == ["QuantizeLinear", "Transpose", "DequantizeLinear"]
    net = graph([("QuantizeLinear", "t,s,z", "q")], "q")
    net.nodes.insert(0, Node("Transpose", "t", ["x"], ["t"], {"perm": [0, 2, 3, 1]}))
    expected = interpret.run(net, {"x": X})["q"]
    np.testing.assert_array_equal(linnet.load(net)(X), expected)


C = np.array([0.5, -2, 0.01], np.float32).reshape(3, 1, 1)
ARITHMETIC = {
    "sum": [("Add", "a,c", "b")],
    "difference": [("Sub", "a,c", "b")],
    "product": [("Mul", "a,c", "b")],
    "quotient": [("Div", "a,c", "b")],
    "one number": [("Add", "a,s", "b")],
    "both": [("Mul", "a,c", "t"), ("Add", "t,c", "b")],
    "limited": [("Add", "a,c", "t"), ("Relu", "t", "b")],
}


@pytest.mark.parametrize("kind", ARITHMETIC)
def test_arithmetic_with_constants_between_integers_is_of_integers(kind: str):
    around = [("DequantizeLinear", "q,s,z", "a"), *ARITHMETIC[kind]]
    nodes = [("QuantizeLinear", "x,s,z", "q"), *around, ("QuantizeLinear", "b,s2,z2", "y")]
    net = graph(nodes, "y", c=C)
    steps = [step.problem for step in linnet.load(net).explain()]
    assert not any(" f32" in step for step in steps[1:])
    expected = interpret.run(net, {"x": X})["y"]
    found = linnet.load(net)(X)
    assert found.dtype == np.uint8
    # A term is rounded to 1/127 of the step that its input is a multiple of.
    apart = np.abs(found.astype(int) - expected)
    assert apart.max() <= 1 and np.mean(apart > 0) < 0.02


def test_arithmetic_with_constants_stays_real_where_integers_would_not_do():
    quantize = ("QuantizeLinear", "x,s,z", "q")
    nodes = [quantize, ("DequantizeLinear", "q,s,z", "a"), ("Add", "a,c", "y")]
    assert "Conv" not in operators(graph(nodes, "y", c=C))  # real numbers are asked for
    nodes = [*nodes[:2], ("Mul", "a,c", "b"), ("QuantizeLinear", "b,s2,z2", "y")]
    assert "Conv" not in operators(graph(nodes, "y", c=0 * C))
    nodes[2] = ("Add", "a,c", "b")
    assert "Conv" not in operators(graph(nodes, "y", c=C * 1e12))


# Computed with the reals: as asked, or as there are no integers of 8 bits.


def in_float(nodes: Sequence[tuple[str, str, str]], outputs: str, **more: Any) -> Graph:
    return replace(graph(nodes, outputs, **more), in_float=True)


@pytest.mark.parametrize("wide", [False, True])
def test_reals_are_kept_within_what_integers_stand_for(wide: bool):
    steps = [("QuantizeLinear", "x,s,z", "q"), ("DequantizeLinear", "q,s,z", "y")]
    least, most = -128, 127
    net = in_float(steps, "y")
    if wide:
        least, most = -32768, 32767
        net = in_float(steps, "y", z=np.array(-5, np.int16), s=np.array(2**-14, np.float32))
    assert operators(net) == ["Clip"]
    y = linnet.load(net)(X)
    scale = net.initializers["s"]
    np.testing.assert_allclose(y, np.clip(X, (least + 5) * scale, (most + 5) * scale), rtol=1e-6)
    assert np.abs(y - interpret.run(net, {"x": X})["y"]).max() <= 0.0101


def test_reals_are_rounded_to_integers_of_16_bits():
    zero, scale = np.array(-5, np.int16), np.array(1e-4, np.float32)
    steps = [("QuantizeLinear", "x,s,z", "q"), ("DequantizeLinear", "q,s,z", "y")]
    net = replace(graph(steps, "y", z=zero, s=scale), outputs=["y", "q"])
    y, q = linnet.load(net).run([X])
    expected = interpret.run(net, {"x": X})["q"]
    assert expected.min() == -30005 and expected.max() == 29995
    # A quotient and a product with the reciprocal are apart where they lie next to a half.
    apart = np.abs(q.astype(int) - expected)
    assert apart.max() <= 1 and np.mean(apart > 0) < 0.05
    np.testing.assert_allclose(y, (q.astype(np.float32) + 5) * scale, rtol=1e-6)


def test_integers_are_rounded_where_they_are_asked_for():
    net = in_float([("QuantizeLinear", "x,s,z", "q")], "q")
    np.testing.assert_array_equal(linnet.load(net)(X), interpret.run(net, {"x": X})["q"])
    assert linnet.load(net, arithmetic="integer").outputs[0].dtype == np.int8
    assert "QuantizeLinear" not in operators(net)
    with pytest.raises(ValueError, match="arithmetic is 'int4', expected 'integer' or 'float'"):
        linnet.load(net, arithmetic="int4")


def test_other_scales_round():
    """What is read with another scale, or as integers, has to be those integers."""
    steps = [("QuantizeLinear", "x,s,z", "q"), ("DequantizeLinear", "q,s2,z", "y")]
    net = in_float(steps, "y")
    expected = interpret.run(net, {"x": X})["y"]
    np.testing.assert_allclose(linnet.load(net)(X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [1, -1])
def test_scales_along_an_axis(axis: int):
    count = X.shape[axis]
    more = {"s": np.linspace(0.25, 0.5, count, dtype=np.float32), "z": np.arange(count, dtype="i1")}
    net = graph([("QuantizeLinear", "x,s,z", "q"), ("DequantizeLinear", "q,s,z", "y")], "y", **more)
    for node in net.nodes:
        node.attrs["axis"] = axis
    np.testing.assert_allclose(
        linnet.load(net)(X), interpret.run(net, {"x": X})["y"], rtol=1e-5, atol=1e-6
    )


def test_each_index_of_an_axis_has_its_scale():
    scale, zero = np.array([0.5, 0.25, 2], np.float32), np.array([1, 0, -1], np.int8)
    q = quantize_linear(X, scale, zero, axis=1)
    for i in range(3):
        np.testing.assert_array_equal(q[:, i], quantize_linear(X[:, i], scale[i], zero[i]))
    single = np.full(1, 0.5, np.float32)  # a list of one number is that number
    assert quantize_linear(X.ravel(), single, np.array(3, np.int8)).min() == -3
    np.testing.assert_array_equal(dequantize_linear(q, single, np.array(3, np.int8)), (q - 3.0) / 2)
    back = dequantize_linear(q, scale, zero, axis=1)
    np.testing.assert_allclose(back, X, atol=1)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"s": np.ones(3, np.float32)}, r"its scale is \[3\], its zero point \[\]"),
        ({"s": np.ones(2, np.float32), "z": np.ones(2, np.int8)}, "2 scales do not fit axis 1"),
        ({"s": np.ones((3, 1), np.float32), "z": np.ones(3, np.int8)}, r"its scale is \[3, 1\]"),
        ({"s": np.array(0, np.float32)}, "its scale is 0"),
        ({"s": np.array(-1, np.float32)}, "its scale is -1"),
        ({"s": np.array(np.inf, np.float32)}, "its scale is inf"),
        ({"s": np.array(np.nan, np.float32)}, "its scale is nan"),
        ({"z": np.array(0, np.int64)}, "scale and zero point are float32 and int64"),
        ({"s": np.array(1, np.int32)}, "scale and zero point are int32 and int8"),
    ],
)
def test_what_cannot_be_computed_is_refused(more: dict[str, Any], said: str):
    net = graph([("QuantizeLinear", "x,s,z", "y")], "y", **more)
    with pytest.raises(ValueError, match=r"node 'y' \(QuantizeLinear\): .*" + said):
        linnet.load(net)
    net = graph([("DequantizeLinear", "x,s,z", "y")], "y", np.int8, **more)
    with pytest.raises(ValueError, match=r"node 'y' \(DequantizeLinear\): .*" + said):
        linnet.load(net)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"s": np.ones(2, np.float32), "z": np.ones(2, np.int8)}, "do not fit axis 0"),
        ({"s": np.ones(3, np.float32)}, "its zero point is int8"),
        ({"z": np.array(1, np.uint8)}, "its zero point is uint8"),
        ({"s": np.array(-1, np.float32)}, "a scale is negative, infinite or no number"),
        ({"s": np.array(np.nan, np.float32)}, "a scale is negative, infinite or no number"),
    ],
)
def test_weights_that_do_not_fit_are_refused(more: dict[str, Any], said: str):
    weights = np.ones((3, 3, 1, 1), np.int8)
    net = graph([("Conv", "x,k", "y")], "y", w=weights, **more)
    net.nodes.insert(0, Node("DequantizeLinear", "k", ["w", "s", "z"], ["k"], {"axis": 0}))
    with pytest.raises(ValueError, match=r"node 'k' \(DequantizeLinear\): .*" + said):
        linnet.load(net)


def test_types_have_to_fit():
    with pytest.raises(ValueError, match="its input is uint8, its zero point int8"):
        linnet.load(graph([("DequantizeLinear", "x,s,z", "y")], "y", np.uint8))
    with pytest.raises(ValueError, match="its input is float32, only integers"):
        linnet.load(graph([("DequantizeLinear", "x,s,z", "y")], "y"))
    with pytest.raises(ValueError, match="its input is int8, only float32"):
        linnet.load(graph([("QuantizeLinear", "x,s,z", "y")], "y", np.int8))


def test_a_quantised_network_of_onnx(tmp_path):
    """Layers between pairs of QuantizeLinear and DequantizeLinear, against ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    random = np.random.default_rng(3)
    weights = random.integers(-63, 64, (8, 3, 3, 3)).astype(np.int8)  # no sum saturates
    constants = {
        "s": np.array(0.02, np.float32),
        "z": np.array(-5, np.int8),
        "w": weights,
        "ws": np.linspace(0.002, 0.01, 8, dtype=np.float32),
        "wz": np.zeros(8, np.int8),
        "s2": np.array(0.05, np.float32),
        "z2": np.array(0, np.uint8),
    }
    proto = model(
        [
            ("QuantizeLinear", "x,s,z", "q", {}),
            ("DequantizeLinear", "q,s,z", "r", {}),
            ("DequantizeLinear", "w,ws,wz", "k", {"axis": 0}),
            ("Conv", "r,k", "c", {"pads": [1, 1, 1, 1]}),
            ("Relu", "c", "a", {}),
            ("QuantizeLinear", "a,s2,z2", "aq", {}),
            ("DequantizeLinear", "aq,s2,z2", "ar", {}),
            ("GlobalAveragePool", "ar", "y", {}),
        ],
        constants,
        [1, 3, 8, 8],
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    x = random.standard_normal((1, 3, 8, 8)).astype(np.float32)
    plain = runtime.SessionOptions()  # its integer kernels saturate on some CPUs
    plain.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(path, plain, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"x": x})
    np.testing.assert_allclose(linnet.load(path)(x), theirs, atol=0.051)
    np.testing.assert_allclose(linnet.load(path, arithmetic="float")(x), theirs, atol=0.02)
    source = passes.canonicalize(formats.read(path))
    assert [node.op for node in source.nodes if node.op != "DequantizeLinear"] == [
        "QuantizeLinear",
        "Conv",
        "Relu",
        "QuantizeLinear",
        "GlobalAveragePool",
    ]
    source = passes.canonicalize(replace(formats.read(path), in_float=True))
    assert [node.op for node in source.nodes] == ["Clip", "Conv", "Clip", "GlobalAveragePool"]


@pytest.mark.parametrize("weights_dtype", ["f32", "f16", "int8"])
def test_files_keep_the_integers(weights_dtype: str, tmp_path: Path):
    """Scales exactly, weights as they are; read by the core alone."""
    random = np.random.default_rng(3)
    constants = {
        "k": random.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8),
        "ks": np.linspace(0.002, 0.01, 8, dtype=np.float32),
        "kz": np.zeros(8, np.int8),
        "b": np.arange(8, dtype=np.float32) * np.float32(0.02),
    }
    steps = [("QuantizeLinear", "x,s,z", "q"), ("DequantizeLinear", "q,s,z", "r")]
    steps += [("Conv", "r,w,b", "c"), ("QuantizeLinear", "c,s2,z2", "y")]
    net = graph(steps, "y", **constants)
    net.nodes.insert(0, Node("DequantizeLinear", "w", ["k", "ks", "kz"], ["w"], {"axis": 0}))
    form = passes.canonicalize(net)
    path = tmp_path / "net.onnx"
    save(form, path, weights_dtype)
    read = passes.canonicalize(formats.read(path))
    assert [node.op for node in read.nodes] == [node.op for node in form.nodes]
    np.testing.assert_array_equal(linnet.load(path)(X), linnet.load(net)(X))


@pytest.mark.parametrize("kind", ["INT4", "UINT4"])
def test_weights_of_four_bits(kind: str):
    """Two in a byte, expanded to 8 bits."""
    onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
    signed = kind == "INT4"
    values = np.arange(3 * 3 * 1 * 1).reshape(3, 3, 1, 1) * 5 % 16 - 8 * signed
    constants = {"ws": np.array([0.5, 0.25, 1], np.float32), "s": np.array(0.1, np.float32)}
    steps = [("DequantizeLinear", "w,ws,wz", "k", {"axis": 0}), ("Conv", "x,k", "y", {})]
    proto = model(steps, constants, [1, 3, 4, 5], opset=21)
    four = getattr(onnx.TensorProto, kind)
    zeros = [1, 2, 3]
    made = onnx.helper.make_tensor
    proto.graph.initializer.append(made("w", four, [3, 3, 1, 1], values.ravel().tolist()))
    proto.graph.initializer.append(made("wz", four, [3], zeros))
    weights = (values - np.reshape(zeros, (3, 1, 1, 1))) * constants["ws"].reshape(3, 1, 1, 1)
    expected = np.einsum("nchw,kc->nkhw", X, weights[:, :, 0, 0])
    found = linnet.load(proto.SerializeToString())(X)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    del proto.graph.initializer[-1].int32_data[0]
    with pytest.raises(
        ValueError, match=r"'wz' \(initializer\): holds 1 bytes, its shape .* needs 2"
    ):
        linnet.load(proto.SerializeToString())
    proto = model([("QuantizeLinear", "x,s,n", "y", {})], constants, [1, 3, 4, 5], opset=21)
    proto.graph.initializer.append(made("n", four, [], [0]))
    with pytest.raises(ValueError, match="'n' has 4 bits"):
        linnet.load(proto.SerializeToString())


def test_scales_of_weights_are_found_again():
    """Exactly, also where neighbours are the next floats, or a row is zero or holds -128."""
    q = np.random.default_rng(1).integers(-128, 128, (64, 5)).astype(np.int8)
    q[3], q[7, 2] = 0, -128
    scales = np.full(64, 0.0123, np.float32)
    for i in range(1, 64):
        scales[i] = np.nextafter(scales[i - 1], np.float32(1))
    shuffled = np.random.default_rng(2).permutation(scales)
    found = scales_of_rows(q * shuffled[:, None], q, scales)
    assert found is not None
    np.testing.assert_array_equal(q * found[:, None], q * shuffled[:, None])
    assert scales_of_rows(q * np.float32(0.5), q, scales) is None
    assert scales_of_rows(np.zeros((2, 3), "f4"), np.zeros((2, 3), "i1"), np.zeros(1, "f4")) is None
    wide = q.astype(np.int16) * 2
    assert scales_of_rows(wide * np.float32(0.5), wide, np.full(1, 0.5, np.float32)) is None


@pytest.mark.parametrize("zero", ["", ",z", ",z2", ",c"])
def test_a_scale_that_is_computed(zero: str):
    """That of what is largest, as where integers are dynamic."""
    nodes = [
        ("Abs", "x", "a"),
        ("ReduceMax", "a", "m"),
        ("Mul", "m,s2", "t"),
        ("Cast", "m", "c"),
        ("QuantizeLinear", f"x,t{zero}", "q"),
        ("DequantizeLinear", f"q,t{zero}", "y"),
    ]
    net = graph(nodes, "y")
    net.inputs = [Value("x", X.shape)]
    net.nodes[1].attrs["keepdims"] = 0
    net.nodes[3].attrs["to"] = 3
    form = passes.canonicalize(net)
    wanted = interpret.run(net, {"x": X}, np.float32)["y"]
    assert len(np.unique(wanted)) > 30
    for y in interpret.run(form, {"x": X}, np.float32)["y"], linnet.load(net)(X):
        np.testing.assert_allclose(y, wanted, atol=1e-5)
