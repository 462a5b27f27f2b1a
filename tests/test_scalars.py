"""Values without axes, which have one in the core."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import FLOAT, agree, model, onnx, runtime

import linnet
from linnet import formats, interpret, passes
from linnet.scalars import SCALARS, recorded

SHAPE = (2, 3, 4)
X = np.random.default_rng(5).standard_normal(SHAPE).astype("f4")


def saved(proto, folder, name="model.onnx"):
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def total(*after, outputs=("y",), constants=None, shape=SHAPE):
    nodes = [("ReduceSum", "x", "t", {"keepdims": 0}), *after]
    return model(nodes, constants or {}, shape, outputs=outputs)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([("Relu", "t", "y", {})], {}),
        ([("Mul", "t,n", "y", {})], {"n": np.float32(3)}),
        ([("Mul", "t,n", "y", {})], {"n": np.float32([3])}),
        ([("Add", "t,t", "y", {})], {}),
        ([("Div", "x,t", "y", {})], {}),
        ([("Sub", "t,x", "y", {})], {}),
        ([("Unsqueeze", "t,n", "y", {})], {"n": np.int64([0])}),
        ([("Unsqueeze", "t,n", "y", {})], {"n": np.int64([0, 1])}),
        ([("Unsqueeze", "t,n", "u", {}), ("Squeeze", "u", "y", {})], {"n": np.int64([0, 1])}),
        ([("Reshape", "t,n", "y", {})], {"n": np.int64([1, 1])}),
        ([("Reshape", "t,n", "u", {}), ("Reshape", "u,m", "y", {})],
         {"n": np.int64([1]), "m": np.zeros(0, np.int64)}),
        ([("Expand", "t,n", "y", {})], {"n": np.int64([2, 3])}),
        ([("Unsqueeze", "t,n", "u", {}), ("Concat", "u,u", "y", {"axis": 0})],
         {"n": np.int64([0])}),
        ([("Shape", "t", "s", {}), ("Reshape", "t,s", "y", {})], {}),
        ([("Identity", "t", "i", {}), ("Identity", "i", "y", {})], {}),
        ([("Size", "x", "n", {}), ("Cast", "n", "y", {"to": FLOAT})], {}),
    ],
)  # fmt: skip
def test_within_a_graph(nodes, constants, tmp_path):
    agree(total(*nodes, constants=constants), tmp_path, SHAPE)


@pytest.mark.parametrize(
    "nodes",
    [
        [("ArgMax", "x", "places", {"axis": 0, "keepdims": 0})],
        [("ArgMax", "x", "i", {"axis": 0, "keepdims": 0}), ("Gather", "x,i", "y", {})],
        [("Gather", "x,one", "y", {})],
        [("MatMul", "x,v", "y", {})],
        [("MatMul", "x,x", "y", {})],
    ],
)
def test_of_a_vector(nodes, tmp_path):
    constants = {"one": np.int64(1), "v": np.arange(5, dtype="f4")}
    outputs = [nodes[-1][2]]
    agree(model(nodes, constants, (5,), outputs=outputs), tmp_path, (5,))


def test_a_session_gives_and_tells_them_as_the_source(tmp_path):
    path = saved(total(("Relu", "t", "y", {}), outputs=("y", "t")), tmp_path)
    linnet.convert(path, None, tmp_path / "again.onnx")
    for net in linnet.load(path), linnet.load(tmp_path / "again.onnx"):
        assert [value.shape for value in net.outputs] == [(), ()]
        assert {v.name: v.shape for v in net.values}["t"] == ()
        wanted = np.maximum(X.sum(), 0)
        y, t = net(X)
        assert y.shape == t.shape == ()
        np.testing.assert_allclose([y, t], [wanted, X.sum()], rtol=1e-5)
        (again,) = net.run(X, fetch=["t"])
        assert again.shape == ()
        out = [np.zeros((), "f4"), np.zeros((), "f4")]
        assert net.run(X, out=out)[0] is out[0]
        np.testing.assert_array_equal(out, [y, t])
        assert net.profile(X, runs=1).layers
    graph = passes.canonicalize(formats.read(tmp_path / "again.onnx"))
    assert recorded(graph.metadata) == {"t", "y"}
    assert interpret.run(graph, {"x": X})["t"].shape == ()
    plain = onnx.load(str(tmp_path / "again.onnx"))
    assert [len(value.type.tensor_type.shape.dim) for value in plain.graph.output] == [1, 1]


def test_of_each_image(tmp_path):
    """Where the file says that there is one, a call may have more, and gives a number of each."""
    net = linnet.load(saved(total(outputs=("t",), shape=(1, 3, 4)), tmp_path))
    assert net(X[:1]).shape == ()
    np.testing.assert_allclose(net(X), X.sum((1, 2)), rtol=1e-5)


def test_a_batch_is_not_lost(tmp_path):
    path = saved(total(outputs=("t",), shape=("N", 3, 4)), tmp_path)
    with pytest.raises(ValueError, match="batch"):
        linnet.load(path)


@pytest.mark.parametrize("text", ["{", "{}", "3", '[["y"]]', "[" * 100000, '["no"]', '["x", "y"]'])
def test_a_damaged_record_is_none(text, tmp_path):
    proto = model([("Flatten", "x", "f", {}), ("Relu", "f", "y", {})], {}, SHAPE)
    proto.metadata_props.add(key=SCALARS, value=text)
    net = linnet.load(saved(proto, tmp_path))
    np.testing.assert_array_equal(net(X), np.maximum(X, 0).reshape(2, 12))
    assert [value.shape for value in net.inputs] == [(None, 3, 4)]
    linnet.convert(tmp_path / "model.onnx", None, tmp_path / "again.onnx")
    np.testing.assert_array_equal(linnet.load(tmp_path / "again.onnx")(X), net(X))


def with_number(nodes, shape, constants=None):
    """Of x, and of t without axes."""
    proto = model(nodes, constants or {}, shape)
    proto.graph.input.append(onnx.helper.make_tensor_value_info("t", FLOAT, []))
    return proto


@pytest.mark.parametrize("shape", [SHAPE, (1, 3, 4), ("N", 3, 4)])
@pytest.mark.parametrize("order", ["x,t", "t,x"])
def test_an_input(shape, order, tmp_path):
    nodes = [("Exp", "t", "e", {}), ("Sub", order.replace("t", "e"), "y", {})]
    path = saved(with_number(nodes, shape), tmp_path)
    linnet.convert(path, None, tmp_path / "again.onnx")
    for net in linnet.load(path), linnet.load(tmp_path / "again.onnx"):
        assert {value.name: value.shape for value in net.inputs}["t"] == ()
        for t in np.float32([0.5, 2]):
            wanted = X - np.exp(t) if order == "x,t" else np.exp(t) - X
            for y in net(X, np.array(t)), *net.run(None, {"t": t, "x": X}):
                np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)
        assert net.profile(X, t, runs=1).layers
        assert net.explain().layers


def test_an_input_of_a_model_that_is_unrolled(tmp_path):
    """A form is made for every length, not for every number."""
    weights = {name: np.full((1, 4, n), 0.5, "f4") for name, n in (("w", 4), ("r", 1))}
    nodes = [
        ("Mul", "x,t", "m", {}),
        ("Transpose", "m", "s", {"perm": [1, 0, 2]}),
        ("LSTM", "s,w,r", "h", {"hidden_size": 1}),
        ("Flatten", "h", "y", {"axis": 2}),
    ]
    nodes.append(("ReduceMax", "y", "top", {"keepdims": 0}))
    proto = with_number(nodes, (1, None, 4), weights)
    proto.graph.output.append(onnx.helper.make_tensor_value_info("top", FLOAT, []))
    path = saved(proto, tmp_path)
    net = linnet.load(path)
    x = X.reshape(1, 6, 4)
    runs = {t: net(x, np.float32(t)) for t in (1, 2)}
    theirs = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for t, ours in runs.items():
        for own, wanted in zip(ours, theirs.run(None, {"x": x, "t": np.array(t, "f4")})):
            assert own.shape == wanted.shape
            np.testing.assert_allclose(own, wanted, rtol=1e-4, atol=1e-6)
    assert [value.shape for value in net.outputs] == [(6, 1), ()]
