"""Normalisations as files say them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import agree, model

import linnet
from linnet import formats, interpret

F4, I8 = np.float32, np.int64
RANDOM = np.random.default_rng(13)
SHAPE = (2, 6, 5, 7)
BOUND = 2e-5


def random(*shape):
    return RANDOM.standard_normal(shape).astype(F4)


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
@pytest.mark.parametrize("target", [None, [0, 210], [0, 6, 35], [0, 2, 3, 5, 7]])
def test_log_softmax(axis, target, tmp_path):
    nodes = [("LogSoftmax", "r" if target else "x", "y", {"axis": axis})]
    if target:
        nodes.insert(0, ("Reshape", "x,n", "r", {}))
        if axis >= len(target):
            return
    for opset in (18, 11):
        agree(model(nodes, {"n": I8(target or [0])}, SHAPE, opset=opset), tmp_path, SHAPE)


def test_log_softmax_of_large_numbers(tmp_path):
    nodes = [("Mul", "x,k", "l", {}), ("LogSoftmax", "l", "y", {"axis": 1})]
    agree(model(nodes, {"k": F4(300)}, SHAPE), tmp_path, SHAPE)


@pytest.mark.parametrize(
    ("axis", "scale", "bias"),
    [
        (-1, (7,), (7,)),
        (1, (6, 5, 7), None),
        (2, (5, 7), (5, 7)),
        (2, (1, 7), (5, 1)),
    ],
)
def test_layer_normalization(axis, scale, bias, tmp_path):
    constants = {"s": random(*scale)}
    if bias:
        constants["b"] = random(*bias)
    attrs = {"axis": axis, "epsilon": 1e-3}
    nodes = [("LayerNormalization", "x,s,b" if bias else "x,s", "y", attrs)]
    agree(model(nodes, constants, SHAPE), tmp_path, SHAPE, bound=BOUND)


def test_layer_normalization_of_more_axes(tmp_path):
    constants = {"n": I8([0, 2, 3, 5, 7]), "s": random(3, 5, 7), "b": random(3, 5, 7)}
    nodes = [("Reshape", "x,n", "r", {}), ("LayerNormalization", "r,s,b", "y", {"axis": 2})]
    agree(model(nodes, constants, SHAPE), tmp_path, SHAPE, bound=BOUND)


@pytest.mark.parametrize("target", [[0, 6, 5, 7], [0, 6, 35], [0, 6, 5, 7, 1]])
def test_instance_normalization(target, tmp_path):
    constants = {"n": I8(target), "s": random(6), "b": random(6)}
    nodes = [("Reshape", "x,n", "r", {}), ("InstanceNormalization", "r,s,b", "y", {})]
    agree(model(nodes, constants, SHAPE), tmp_path, SHAPE, bound=BOUND)


@pytest.mark.parametrize(("opset", "count"), [(18, 3), (21, 6)])
@pytest.mark.parametrize("target", [[0, 6, 5, 7], [0, 6, 35]])
def test_group_normalization(opset, count, target, tmp_path):
    constants = {"n": I8(target), "s": random(count), "b": random(count)}
    nodes = [
        ("Reshape", "x,n", "r", {}),
        ("GroupNormalization", "r,s,b", "y", {"num_groups": 3, "epsilon": 1e-2}),
    ]
    proto = model(nodes, constants, SHAPE, opset=opset)
    agree(proto, tmp_path, SHAPE, bound=BOUND)


def test_group_normalization_of_open_sizes(tmp_path):
    nodes = [("GroupNormalization", "x,s,b", "y", {"num_groups": 2})]
    proto = model(nodes, {"s": random(6), "b": random(6)}, ("N", 6, "H", "W"), opset=21)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    net, graph = linnet.load(path), formats.read(path)
    for shape in ((1, 6, 4, 3), (2, 6, 2, 2), (1, 6, 4, 3)):  # its number of numbers depends on it
        x = random(*shape)
        np.testing.assert_allclose(net(x), interpret.run(graph, {"x": x})["y"], atol=BOUND)
    with pytest.raises(ValueError, match="depends on the size"):
        linnet.convert(path, None, tmp_path / "c.onnx")
    assert linnet.load(path, shapes={"x": (1, 6, 4, 3)})(random(1, 6, 4, 3)).shape == (1, 6, 4, 3)


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalization(axis, p, tmp_path):
    nodes = [("Relu", "x", "r", {}), ("LpNormalization", "r", "y", {"axis": axis, "p": p})]
    proto = model(nodes, {}, SHAPE)
    agree(proto, tmp_path, SHAPE)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert not linnet.load(tmp_path / "m.onnx")(np.zeros(SHAPE, F4)).any()


def test_mean_variance_normalization(tmp_path):
    nodes = [("MeanVarianceNormalization", "x", "y", {"axes": [1, 3]})]
    agree(model(nodes, {}, SHAPE), tmp_path, SHAPE, bound=BOUND)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (("LayerNormalization", "x,s", "y", {}), "scale"),
        (("GroupNormalization", "x,s,s", "y", {"num_groups": 4}), "4 groups"),
        (("InstanceNormalization", "x,t,t", "y", {}), "scale"),
        (("LpNormalization", "x", "y", {"p": 3}), "p=3"),
        (("MeanVarianceNormalization", "x", "y", {}), "over the batch"),
    ],
)
def test_what_does_not_fit_is_refused(node, said, tmp_path):
    proto = model([node], {"s": random(6), "t": random(3)}, SHAPE)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(tmp_path / "m.onnx")
