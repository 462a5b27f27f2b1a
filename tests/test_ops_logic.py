"""Comparisons and choices as files say them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import agree, model

import linnet
from linnet import formats, interpret, passes

F4, I8 = np.float32, np.int64
RANDOM = np.random.default_rng(12)
SHAPE = (2, 3, 5, 7)
COMPARISONS = ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]
# Of a rounded input, so that there are equal numbers.
ROUND = ("Round", "x", "r", {})
AS_NUMBERS = ("Cast", "b", "y", {"to": 1})


@pytest.mark.parametrize("op", COMPARISONS)
@pytest.mark.parametrize("order", ["r,k", "k,r"])
def test_comparisons_with_constants(op, order, tmp_path):
    for constant in (F4(1), RANDOM.integers(-1, 2, (3, 1, 7)).astype(F4)):
        proto = model([ROUND, (op, order, "b", {}), AS_NUMBERS], {"k": constant}, SHAPE)
        agree(proto, tmp_path, SHAPE)


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons_of_two_values(op, tmp_path):
    nodes = [ROUND, ("ReduceMax", "r,a", "m", {}), (op, "r,m", "b", {}), AS_NUMBERS]
    agree(model(nodes, {"a": I8([2])}, SHAPE), tmp_path, SHAPE)
    nodes[2] = (op, "m,r", "b", {})
    agree(model(nodes, {"a": I8([2])}, SHAPE), tmp_path, SHAPE)


def test_truth_values(tmp_path):
    nodes = [
        ROUND,
        ("Less", "r,k", "p", {}),
        ("Greater", "x,k", "q", {}),
        ("Not", "p", "n", {}),
        ("And", "n,q", "s", {}),
        ("Or", "s,t", "u", {}),
        ("Or", "u,p", "b", {}),
        AS_NUMBERS,
    ]
    truth = RANDOM.integers(0, 2, (5, 1)).astype(bool)
    agree(model(nodes, {"k": F4(0.25), "t": truth}, SHAPE), tmp_path, SHAPE)


@pytest.mark.parametrize("order", ["b,x,k", "b,k,x", "b,x,r", "b,k,j", "t,x,k", "t,k,x", "t,x,r"])
def test_choices(order, tmp_path):
    constants = {
        "k": RANDOM.standard_normal((3, 1, 1)).astype(F4),
        "j": F4(-np.inf),
        "t": RANDOM.integers(0, 2, (1, 5, 7)).astype(bool),
    }
    nodes = [ROUND, ("Greater", "r,x", "b", {}), ("Where", order, "y", {})]
    if order == "b,k,j":
        nodes[2:] = [("Where", order, "w", {}), ("Exp", "w", "y", {})]
    agree(model(nodes, constants, SHAPE), tmp_path, SHAPE)


def test_special_numbers(tmp_path):
    x = np.array([[0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 1e-30]], F4)
    for op in COMPARISONS:
        proto = model([(op, "x,k", "b", {}), AS_NUMBERS], {"k": F4(0)}, ("N", 8))
        (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
        meant = interpret.run(formats.read(tmp_path / "m.onnx"), {"x": x})["y"]
        np.testing.assert_array_equal(linnet.load(tmp_path / "m.onnx")(x), meant)
    # Every number with every other, and as two values that are computed.
    for op in COMPARISONS:
        turned = ("Transpose", "x", "t", {"perm": [0, 2, 1]})
        nodes = [turned, (op, "x,t", "b", {}), AS_NUMBERS]
        (tmp_path / "m.onnx").write_bytes(model(nodes, {}, ("N", 9, 1)).SerializeToString())
        square = np.append(x, np.finfo(F4).max).reshape(1, 9, 1)
        meant = interpret.run(formats.read(tmp_path / "m.onnx"), {"x": square})["y"]
        np.testing.assert_array_equal(linnet.load(tmp_path / "m.onnx")(square), meant)
    # Of infinities one may be chosen; a quotient by 0 that is not chosen leaves no NaN.
    nodes = [
        ("Sub", "x,x", "zero", {}),
        ("Equal", "zero,k", "b", {}),
        ("Div", "zero,zero", "q", {}),
        ("Where", "b,i,q", "y", {}),
    ]
    constants = {"k": F4(0), "i": F4(np.inf)}
    (tmp_path / "m.onnx").write_bytes(model(nodes, constants, ("N", 8)).SerializeToString())
    y = linnet.load(tmp_path / "m.onnx")(np.ones((3, 8), F4))
    np.testing.assert_array_equal(y, np.full((3, 8), np.inf))


def test_shapes_with_choices_are_folded(tmp_path):
    """As exporters write the shape an Expand takes: -1 is any size."""
    nodes = [
        ("ConstantOfShape", "four", "ones0", {}),
        ("Cast", "ones0", "zeros", {"to": 7}),
        ("Add", "zeros,one", "ones", {}),
        ("Equal", "target,minus", "any", {}),
        ("Where", "any,ones,target", "shape", {}),
        ("Expand", "x,shape", "y", {}),
    ]
    constants = {
        "four": I8([4]),
        "one": I8([1]),
        "minus": I8([-1]),
        "target": I8([-1, 3, 5, -1]),
    }
    nodes[5:] = [("ReduceMax", "x,a", "m", {}), ("Expand", "m,shape", "y", {})]
    constants["a"] = I8([1])
    agree(model(nodes, constants, SHAPE), tmp_path, SHAPE)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (("Equal", "x,i", "b", {}), "infinity"),
        (("Not", "x", "b", {}), "float32, not bool"),
        (("Where", "i,x,x", "b", {}), "not of truth values"),
    ],
)
def test_what_cannot_be_compared_is_refused(node, said, tmp_path):
    proto = model([node, AS_NUMBERS], {"i": F4(np.inf)}, SHAPE)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=said):
        passes.canonicalize(formats.read(tmp_path / "m.onnx"))
