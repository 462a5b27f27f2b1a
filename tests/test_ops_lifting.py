"""Axis 0 as an axis like others, in files that mix it with them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import agree, model

import linnet

F4, I8 = np.float32, np.int64
SHAPE = (3, 4, 6)
LISTS = {
    "zero": I8([0]),
    "one": I8([1]),
    "two": I8([2]),
    "ends": I8([3, 4]),
    "starts": I8([1, 1]),
    "both": I8([0, 2]),
    "backwards": I8([-1]),
    "begin": I8([-(1 << 62)]),
    "thrice": I8([2, 1, 3]),
    "deeper": I8([2, 3, 1, 6]),
    "pads": I8([1, 0, 2, 0, 1, 0]),
    "k": np.random.default_rng(1).standard_normal((2, 4, 6)).astype(F4),
}
CALLS = [
    ("Concat", "x,k,x", {"axis": 0}),
    ("Concat", "x,x", {"axis": -3}),
    ("Slice", "x,one,two,zero", {}),
    ("Slice", "x,starts,ends", {}),
    ("Slice", "x,backwards,begin,zero,backwards", {}),
    ("Gather", "x,both", {"axis": 0}),
    ("Pad", "x,pads", {}),
    ("Pad", "x,pads", {"mode": "edge"}),
    ("Tile", "x,thrice", {}),
    ("Softmax", "x", {"axis": 0}),
    ("LogSoftmax", "x", {"axis": -3}),
    ("LpNormalization", "x", {"axis": 0}),
    ("ReduceMean", "x,zero", {}),
    ("ReduceMax", "x,both", {"keepdims": 0}),
    ("ReduceSum", "x", {"keepdims": 1}),
    ("ReduceL2", "x,zero", {"keepdims": 0}),
]


@pytest.mark.parametrize(("op", "inputs", "attrs"), CALLS)
def test_operators_along_axis_0(op, inputs, attrs, tmp_path):
    constants = {name: LISTS[name] for name in inputs.split(",") if name != "x"}
    agree(model([(op, inputs, "y", attrs)], constants, SHAPE), tmp_path, SHAPE)


def test_parts_of_axis_0(tmp_path):
    nodes = [("Split", "x", "a,b,c", {"axis": 0, "num_outputs": 3}), ("Add", "a,c", "y", {})]
    agree(model(nodes, {}, SHAPE, outputs=("y", "b")), tmp_path, SHAPE)


def test_a_layer_between(tmp_path):
    """Its batch is what axis 0 was."""
    shape = (1, 3, 8, 10)
    nodes = [
        ("Concat", "x,x", "two", {"axis": 0}),
        ("Conv", "two,w", "c", {"pads": [1, 1, 1, 1]}),
        ("ReduceMax", "c,zero", "m", {}),
        ("Squeeze", "m,zero", "s", {}),
        ("ArgMax", "s", "a", {"axis": 0}),
        ("Cast", "a", "y", {"to": 1}),
    ]
    w = np.random.default_rng(2).standard_normal((8, 3, 3, 3)).astype(F4)
    agree(model(nodes, {"w": w, "zero": I8([0])}, shape), tmp_path, shape)


def test_a_single_axis(tmp_path):
    """A batch of numbers, or a vector: files do not tell them apart."""
    nodes = [("Sigmoid", "x", "s", {}), ("Concat", "s,x", "y", {"axis": 0})]
    agree(model(nodes, {}, (7,)), tmp_path, (7,))
    agree(model([("Mul", "x,x", "y", {})], {}, (7,)), tmp_path, (7,))
    proto = model([("Tanh", "x", "y", {})], {}, ("N",))
    net = linnet.load(proto.SerializeToString())
    assert net.inputs[0].shape == net.outputs[0].shape == (None,)
    np.testing.assert_allclose(net(F4([1, 2, 3])), np.tanh(F4([1, 2, 3])), rtol=1e-6)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (("Gather", "x,four", "y", {"axis": 0}), "batch cannot be cut"),
        (("Concat", "x,k", "y", {"axis": 0}), "over the batch"),
        (("Tile", "x,four", "y", {}), "repeats"),
        (("ReduceSum", "x,four", "y", {}), "axis 4"),
    ],
)
def test_what_does_not_fit_is_refused(node, said, tmp_path):
    proto = model([node], {"four": I8([4]), "k": np.ones((2, 4, 5), F4)}, SHAPE)
    with pytest.raises(ValueError, match=said):
        linnet.load(proto.SerializeToString())
