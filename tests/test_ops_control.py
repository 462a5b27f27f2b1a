"""Branches and loops in ONNX files, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import FLOAT, INT64, onnx, runtime

import linnet
from linnet import formats, interpret

helper, BOOL = onnx.helper, onnx.TensorProto.BOOL
node = helper.make_node


def value(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def body(nodes, outputs, inputs=(), name="body", **constants):
    """A graph within a node, or the model's; outputs are names, or values where they need types."""
    given = [v if not isinstance(v, str) else value(v) for v in inputs]
    made = [v if not isinstance(v, str) else value(v) for v in outputs]
    arrays = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    return helper.make_graph(nodes, name, given, made, arrays)


def file(folder, nodes, inputs, outputs, *, opset=16, **constants):
    graph = body(nodes, outputs, inputs, "model", **constants)
    opsets = [helper.make_opsetid("", opset)]
    path = folder / "model.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    return path


def agree(path, feeds):
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = session.run(None, feeds)
    meant = interpret.run(formats.read(path), feeds).values()
    net = linnet.load(path)
    for found in (meant, net.run(None, feeds)):
        for a, b in zip(found, expected, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    return net


def random(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def branches(then, otherwise):
    """Of what the node around them has: x, and the constant w."""
    one = body([then], [then.output[0]], name="then")
    other = body([otherwise], [otherwise.output[0]], name="else")
    return {"then_branch": one, "else_branch": other}


THEN, ELSE = node("Mul", ["x", "w"], ["a"]), node("Relu", ["x"], ["a"])


@pytest.mark.parametrize("width", [4, 6])
def test_a_branch_that_sizes_choose(width, tmp_path):
    """Its file leaves them open: both are right, one after the other."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "last"], ["size"]),
        node("Equal", ["size", "four"], ["is four"]),
        node("If", ["is four"], ["y"], **branches(THEN, ELSE)),
    ]
    constants = {"last": np.int64(2), "four": np.int64(4), "w": np.float32([2])}
    path = file(tmp_path, nodes, [value("x", (1, 3, "W"))], ["y"], **constants)
    net = agree(path, {"x": random(1, 3, width)})
    assert net.inputs[0].shape == (1, 3, None)
    np.testing.assert_array_equal(net(-np.ones((1, 3, 5), "f4")), 0)
    np.testing.assert_array_equal(net(-np.ones((1, 3, 4), "f4")), [[[-2] * 4] * 3])
    np.testing.assert_array_equal(net(-np.ones((2, 3, 4), "f4")), [[[-2] * 4] * 3] * 2)
    np.testing.assert_array_equal(net.run(np.ones((1, 3, 4), "f4"), fetch=["y"])[0], 2)
    with pytest.raises(ValueError, match="no value 'z'"):
        net.run(np.ones((1, 3, 4), "f4"), fetch=["z"])


def test_an_integer_that_chooses(tmp_path):
    """What it is comes with a call, and there are programs for each."""
    nodes = [
        node("Equal", ["rate", "wanted"], ["fits"]),
        node("If", ["fits"], ["y"], **branches(THEN, ELSE)),
    ]
    inputs = [value("x", (2, 3)), value("rate", (), INT64)]
    constants = {"wanted": np.int64(16000), "w": np.float32([3])}
    path = file(tmp_path, nodes, inputs, ["y"], **constants)
    x = random(2, 3)
    net = agree(path, {"x": x, "rate": np.array(16000)})
    assert [v.shape for v in net.inputs] == [(2, 3), ()]
    agree(path, {"x": x, "rate": np.array(8000)})
    np.testing.assert_array_equal(net(x, 8000), np.maximum(x, 0))
    np.testing.assert_array_equal(net.run([x, 16000])[0], 3 * x)
    with pytest.raises(ValueError, match="'rate' has shape"):
        net(x, [8000])
    with pytest.raises(ValueError, match="'rate' is float64"):
        net(x, 8000.0)
    with pytest.raises(ValueError, match="'x' has shape"):
        net(random(2, 4), 8000)
    with pytest.raises(ValueError, match="'rate' has no axes"):
        linnet.convert(path, None, tmp_path / "converted.onnx")


def test_a_condition_that_is_computed_chooses_of_both(tmp_path):
    nodes = [
        node("ReduceMax", ["x"], ["top"], axes=[1], keepdims=1),
        node("Greater", ["top", "one"], ["large"]),
        node("If", ["large"], ["y"], **branches(THEN, ELSE)),
    ]
    constants = {"one": np.float32([1]), "w": np.float32([3])}
    path = file(tmp_path, nodes, [value("x", (1, 3))], ["y"], **constants)
    for factor in (0.1, 10):
        agree(path, {"x": factor * random(1, 3)})


def turns(*more, **constants):
    """A body that counts: the state s, what it is multiplied by around it."""
    nodes = [
        node("Mul", ["s", "w"], ["t"]),
        node("Add", ["t", "x"], ["s next"]),
        node("Identity", ["going"], ["going next"]),
        *more,
    ]
    inputs = [value("turn", (), INT64), value("going", (), BOOL), value("s")]
    outputs = [value("going next", (), BOOL), "s next", "t"]
    return body(nodes, outputs, inputs, **constants)


@pytest.mark.parametrize("trips", [1, 5])
def test_a_loop_of_known_turns(trips, tmp_path):
    nodes = [node("Loop", ["trips", "", "x"], ["y", "every"], body=turns())]
    constants = {"trips": np.int64(trips), "w": np.float32([0.5])}
    path = file(tmp_path, nodes, [value("x", (2, 3))], ["y", "every"], **constants)
    agree(path, {"x": random(2, 3)})


def test_a_loop_ends_when_its_body_says_so(tmp_path):
    more = [node("Less", ["turn", "last"], ["ended"])]
    part = turns(*more, last=np.int64(3))
    part.output[0].name = "ended"
    nodes = [node("Loop", ["", "", "x"], ["y", "every"], body=part)]
    path = file(tmp_path, nodes, [value("x", (2, 3))], ["y"], w=np.float32([0.5]))
    agree(path, {"x": random(2, 3)})
    part.output[0].name = "going next"
    nodes = [node("Loop", ["", "", "x"], ["y", "every"], body=part)]
    path = file(tmp_path, nodes, [value("x", (2, 3))], ["y"], w=np.float32([0.5]))
    with pytest.raises(ValueError, match="to unroll, at most 4096"):  # it never ends
        linnet.load(path)


def test_a_loop_that_values_end_is_refused(tmp_path):
    more = [
        node("ReduceMax", ["s next"], ["top"], keepdims=0),
        node("Less", ["top", "limit"], ["small"]),
    ]
    part = turns(*more, limit=np.float32(9))
    part.output[0].name = "small"
    nodes = [node("Loop", ["", "", "x"], ["y", "every"], body=part)]
    path = file(tmp_path, nodes, [value("x", (1, 3))], ["y"], w=np.float32([2]))
    with pytest.raises(ValueError, match=r"Loop|batch"):
        linnet.load(path)


@pytest.mark.parametrize(
    ("shape", "attrs"),
    [
        ((3, 4, 5), {}),
        ((3, 4, 5), {"scan_input_axes": [1], "scan_output_axes": [1]}),
        ((3, 4, 5), {"scan_input_axes": [-1], "scan_output_axes": [0]}),
        (
            (3, 4, 5),
            {
                "scan_input_axes": [2],
                "scan_input_directions": [1],
                "scan_output_axes": [2],
                "scan_output_directions": [1],
            },
        ),
    ],
)
def test_scan(shape, attrs, tmp_path):
    part = body(
        [node("Mul", ["s", "w"], ["t"]), node("Add", ["t", "part"], ["s next"])],
        ["s next", "t"],
        ["s", "part"],
    )
    nodes = [node("Scan", ["start", "x"], ["y", "every"], body=part, num_scan_inputs=1, **attrs)]
    left = [n for i, n in enumerate(shape) if i != attrs.get("scan_input_axes", [0])[0] % 3]
    inputs = [value("start", left), value("x", shape)]
    path = file(tmp_path, nodes, inputs, ["y", "every"], w=np.float32([0.5]))
    agree(path, {"start": random(*left), "x": random(*shape)})


def test_weights_are_the_same_in_all_turns(tmp_path):
    nodes = [node("MatMul", ["s", "w"], ["t"]), node("Tanh", ["t"], ["u"])]
    nodes += [node("Add", ["u", "part"], ["next"])]
    part = body(nodes, ["next"], ["s", "part"], w=random(16, 16))
    nodes = [node("Scan", ["start", "x"], ["y"], body=part, num_scan_inputs=1)]
    inputs = [value("start", (1, 16)), value("x", (7, 1, 16))]
    path = file(tmp_path, nodes, inputs, ["y"])
    net = agree(path, {"start": random(1, 16), "x": random(7, 1, 16)})
    assert net.weight_bytes < 2 * 4 * 16 * 16


def test_what_is_wrong_with_bodies_is_told(tmp_path):
    def refused(said, nodes, inputs, **constants):
        path = file(tmp_path, nodes, inputs, ["y"], **constants)
        with pytest.raises(ValueError, match=said):
            linnet.load(path)

    x = [value("x", (2, 3))]
    one = branches(node("Erf", ["x"], ["a"]), node("Mystery", ["x"], ["a"]))
    path = file(tmp_path, [node("If", ["c"], ["y"], **one)], x, ["y"], c=np.bool_(True))
    linnet.load(path)  # what is not taken may be anything
    refused("Mystery", [node("If", ["c"], ["y"], **one)], x, c=np.bool_(False))
    refused(
        "'else_branch' is missing",
        [node("If", ["c"], ["y"], then_branch=one["then_branch"])],
        x,
        c=np.bool_(1),
    )
    refused(
        "'then_branch' is not a graph",
        [node("If", ["c"], ["y"], then_branch=1, else_branch=one["else_branch"])],
        x,
        c=np.bool_(1),
    )
    refused("not as many results", [node("If", ["c"], ["y", "z"], **one)], x, c=np.bool_(True))
    refused(
        "expected 4", [node("Loop", ["t", "", "x", "x"], ["y"], body=turns())], x, t=np.int64(2)
    )
    refused(
        "is not defined anywhere",
        [node("If", ["c"], ["y"], **branches(node("Erf", ["zz"], ["a"]), ELSE))],
        x,
        c=np.bool_(True),
    )
    nested = one["then_branch"]
    other = branches(THEN, ELSE)["else_branch"]
    for _ in range(20):
        nested = body([node("If", ["c"], ["a"], then_branch=nested, else_branch=other)], ["a"])
    refused(
        "within more than 16 graphs",
        [node("If", ["c"], ["y"], then_branch=nested, else_branch=other)],
        x,
        c=np.bool_(True),
    )
