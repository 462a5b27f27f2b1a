"""Element by element: of any axes, with constants and without, as files say it, against ONNX
Runtime.
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import agree, model

import linnet

F4, I8 = np.float32, np.int64
RANDOM = np.random.default_rng(8)
SHAPE = (2, 3, 8, 10)
WEIGHT = {"w": RANDOM.standard_normal((24, 3, 1, 1)).astype(F4)}
SIX = {"six": I8([0, 2, 3, 4, 8, 10])}
FUNCTIONS = [
    "Erf",
    "Relu",
    "Sigmoid",
    "Clip",
    "LeakyRelu",
    "HardSwish",
    "Softplus",
    "Neg",
    "Elu",
    "Abs",
    "Sin",
    "Cos",
]


def after_a_layer(nodes, constants, shape=SHAPE):
    nodes = [("Conv", "x,w", "c", {}), *nodes]
    return model(nodes, {**WEIGHT, **constants}, shape)


@pytest.mark.parametrize("op", FUNCTIONS)
def test_functions_of_six_axes(op, tmp_path):
    inputs = "r,low" if op == "Clip" else "r"
    nodes = [("Reshape", "c,six", "r", {}), (op, inputs, "y", {})]
    agree(after_a_layer(nodes, {**SIX, "low": F4(-0.5)}), tmp_path, SHAPE)


@pytest.mark.parametrize("op", ["Sin", "Cos"])
def test_series_of_many_turns(op, tmp_path):
    x = np.array([0, -0.0, np.pi, -np.pi / 2, 1e-20, 6.28125, 1000, -2345.6], F4)
    nodes = [("Mul", "x,wide", "s", {}), (op, "s", "y", {})]
    agree(model(nodes, {"wide": F4(8)}, ("N", 3, 5, 8)), tmp_path, (2, 3, 5, 8))
    net = linnet.load(model([(op, "x", "y", {})], {}, ("N", 8)).SerializeToString())
    np.testing.assert_allclose(net(x[None])[0], getattr(np, op.lower())(np.float64(x)), 0, 1e-6)
    assert np.isnan(net(np.full((1, 8), np.inf, F4))).all()


@pytest.mark.parametrize("how", ["none", "tanh"])
def test_gelu(how, tmp_path):
    nodes = [("Gelu", "c", "y", {"approximate": how})]
    proto = model([("Conv", "x,w", "c", {}), *nodes], WEIGHT, SHAPE, opset=20)
    agree(proto, tmp_path, SHAPE)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0, 2.5, -0.75, 4.0, [0.5, 3.0, 1.2], "computed"])
def test_powers(power, tmp_path):
    k = None if power == "computed" else F4(power).reshape(-1, *(1,) * 2 if np.ndim(power) else ())
    nodes = [
        ("Sigmoid", "x", "s", {}),
        ("Tanh", "x", "computed", {}),
        ("Pow", "s,computed" if k is None else "s,k", "y", {}),
        ("Pow", "s,s" if k is None else "k,s", "z", {}),
    ]
    constants = {} if k is None else {"k": k}
    outputs = ("y", "z") if k is None or (k > 0).all() else ("y",)
    agree(model(nodes[: 2 + len(outputs)], constants, SHAPE, outputs=outputs), tmp_path, SHAPE)


@pytest.mark.parametrize("axis", [1, 3, 4, -1])
def test_softmax_of_six_axes(axis, tmp_path):
    nodes = [("Reshape", "c,six", "r", {}), ("Softmax", "r", "y", {"axis": axis})]
    agree(after_a_layer(nodes, SIX), tmp_path, SHAPE)


@pytest.mark.parametrize("first", ["constant", "computed"])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max"])
@pytest.mark.parametrize(
    "shape",
    [
        (),
        (10,),
        (4, 1, 1),
        (2, 3, 1, 8, 1),
        (1, 2, 1, 4, 1, 10),  # no four axes say this
        (3, 4, 8, 10),
        (1, 1, 3, 1, 1, 1),
    ],
)
def test_constants_and_six_axes(shape, op, first, tmp_path):
    k = RANDOM.uniform(0.5, 2, shape).astype(F4)
    inputs = "k,e" if first == "constant" else "e,k"
    nodes = [("Reshape", "c,six", "r", {}), ("Exp", "r", "e", {}), (op, inputs, "y", {})]
    agree(after_a_layer(nodes, {**SIX, "k": k}), tmp_path, SHAPE)


@pytest.mark.parametrize(
    "shape",
    [
        (2, 24, 8, 10),  # the batch that the file declares
        (2, 1, 1, 1),
        (5, 2, 24, 8, 10),  # more axes than the activation
        (1, 1, 24, 1, 1),
        (3, 1, 1, 2, 1, 1, 10),
    ],
)
@pytest.mark.parametrize("op", ["Mul", "Sub"])
def test_constants_with_a_batch_or_more_axes(shape, op, tmp_path):
    """The result has NumPy's axes; a file's batch is all there is then."""
    k = RANDOM.standard_normal(shape).astype(F4)
    agree(after_a_layer([(op, "c,k", "y", {})], {"k": k}), tmp_path, SHAPE)
    agree(after_a_layer([(op, "k,c", "y", {})], {"k": k}), tmp_path, SHAPE)


@pytest.mark.parametrize("shape", [(24, 1, 5), (1, 24, 1, 7), (1, 7), (24, 6, 1)])
def test_both_broadcast(shape, tmp_path):
    """A mean of rows and a constant of columns."""
    k = RANDOM.standard_normal(shape).astype(F4)
    axis = -1 if shape[-1] > 1 else 2
    nodes = [
        ("ReduceMean", "c,a", "m", {"keepdims": 1}),
        ("Add", "m,k", "y", {}),
    ]
    agree(after_a_layer(nodes, {"k": k, "a": I8([axis])}), tmp_path, SHAPE)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max"])
@pytest.mark.parametrize("six", [False, True])
def test_activations_broadcast_to_each_other(op, six, tmp_path):
    nodes = [
        ("ReduceMean", "c,rows", "a", {"keepdims": 1}),
        ("ReduceMean", "c,columns", "b", {"keepdims": 1}),
        (op, "a,b", "y", {}),
    ]
    constants = {"rows": I8([2]), "columns": I8([1, 3])}
    if six:
        nodes = [
            ("Reshape", "c,six", "r", {}),
            *[(o, i.replace("c,", "r,"), *n) for o, i, *n in nodes],
        ]
        constants = {**SIX, "rows": I8([1, 3]), "columns": I8([2, 4])}
    agree(after_a_layer(nodes, constants), tmp_path, SHAPE)


def test_activations_of_several_batches(tmp_path):
    """Axis 0 moved, so it is an axis like others: one that repeats, or fits, or does not."""
    nodes = [
        ("Transpose", "x", "t", {"perm": [1, 0, 2, 3]}),
        ("Slice", "t,zero,one,zero", "s", {}),
        ("Add", "t,s", "u", {}),
        ("Mul", "s,u", "y", {}),
    ]
    constants = {"zero": I8([0]), "one": I8([1])}
    agree(model(nodes, constants, SHAPE), tmp_path, SHAPE)


@pytest.mark.parametrize("shape", [(5, 2, 24, 8, 10), (2, 1, 1, 1)])
def test_a_batch_left_open_stays_the_first_axis(shape):
    """Groups of images would have results that the file does not mean."""
    proto = after_a_layer([("Mul", "c,k", "y", {})], {"k": np.ones(shape, F4)}, ("N", *SHAPE[1:]))
    with pytest.raises(ValueError, match=r"node 'y' \(Mul\): .*batch axis"):
        linnet.load(proto.SerializeToString())


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([("Add", "c,k", "y", {})], r"Nx24x8x10 and the constant \[24, 8, 9\] do not broadcast"),
        ([("Mul", "c,nothing", "y", {})], r"constant \[8, 0\] do not broadcast"),
        ([("MaxPool", "c", "m", {"kernel_shape": [8, 10]}), ("Add", "m,nothing", "y", {})], "no n"),
        ([("Transpose", "x", "t", {"perm": [1, 0, 2, 3]}), ("Add", "x,t", "y", {})], "broadcast"),
    ],
)
def test_what_does_not_broadcast_is_refused(nodes, said, tmp_path):
    constants = {"k": np.ones((24, 8, 9), F4), "nothing": np.ones((8, 0), F4)}
    proto = after_a_layer(nodes, constants)
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(tmp_path / "model.onnx")
