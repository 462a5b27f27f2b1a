"""Layers with a state as files say them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import FLOAT, onnx, runtime

import linnet
from linnet import formats, interpret, passes

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STATES = {"RNN": 1, "GRU": 1, "LSTM": 2}
helper = onnx.helper


def layer(op, shape, size=5, *, given=(), absent=(), layout=0, opset=14, scale=1, **attrs):
    """A model of one layer and what to feed it: `given` are inputs, all others constants."""
    random = np.random.default_rng(size)
    directions = 2 if attrs.get("direction") == "bidirectional" else 1
    batch, rows = shape[1 - layout], GATES[op] * size
    state = (batch, directions, size) if layout else (directions, batch, size)
    shapes = {
        "x": shape,
        "w": (directions, rows, shape[2]),
        "r": (directions, rows, size),
        "b": (directions, 2 * rows),
        "lens": (batch,),
        "h": state,
    }
    if op == "LSTM":
        shapes.update(c=state, p=(directions, 3 * size))
    arrays = {
        name: (scale * random.standard_normal(dims)).astype(np.float32)
        for name, dims in shapes.items()
    }
    arrays["lens"] = np.full(batch, shape[layout], np.int32)
    names = ["" if name in absent else name for name in shapes]
    outputs = ["y", "y_h", "y_c"][: 1 + STATES[op]]
    if layout:
        attrs["layout"] = 1
    node = helper.make_node(op, names, outputs, hidden_size=size, **attrs)
    feeds = {name: arrays[name] for name in ("x", *given)}
    graph = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info(n, FLOAT, a.shape) for n, a in feeds.items()],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [
            onnx.numpy_helper.from_array(array, name)
            for name, array in arrays.items()
            if name not in feeds and name in names
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return proto, feeds


def agree(proto, feeds, folder, bound=2e-6):
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    expected = runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)
    source = formats.read(path)
    graph = passes.canonicalize(source)
    every = [interpret.run(g, feeds).values() for g in (source, graph)]
    every.append(linnet.load(path).run(None, feeds))
    for found in every:
        for a, b in zip(found, expected, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=0, atol=bound)
    return graph


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_directions_and_states(op, direction, tmp_path):
    states = ("h", "c")[: STATES[op]]
    for shape, given, absent in [
        ((4, 1, 3), (), ("p",)),
        ((4, 3, 8), states, ()),
        ((3, 1, 3), states, ("b", "lens", "p")),
        ((1, 2, 3), (), ("b", *states)),
        ((1, 1, 3), states[:1], ("lens",)),
    ]:
        agree(*layer(op, shape, given=given, absent=absent, direction=direction), tmp_path)


FORMS = [
    ("RNN", {"activations": ["Relu"], "clip": 0.7}),
    ("RNN", {"activations": ["Affine"], "activation_alpha": [0.5], "activation_beta": [0.1]}),
    ("RNN", {"activations": ["ScaledTanh"], "activation_alpha": [1.5], "activation_beta": [0.3]}),
    ("RNN", {"activations": ["LeakyRelu"], "activation_alpha": [0.3]}),
    ("GRU", {"linear_before_reset": 1}),
    ("GRU", {"linear_before_reset": 1, "direction": "bidirectional", "clip": 0.5}),
    ("GRU", {"activations": ["HardSigmoid", "Softsign"]}),
    ("GRU", {"activations": ["HardSigmoid", "Elu"], "activation_alpha": [0.3, 0.7]}),
    ("LSTM", {"input_forget": 1}),
    ("LSTM", {"activations": ["sigmoid", "Softplus", "HardSigmoid"]}),
    (
        "LSTM",
        {
            "direction": "bidirectional",
            "activations": ["HardSigmoid", "Relu", "Tanh", "Sigmoid", "Elu", "Tanh"],
            "activation_alpha": [0.25, 0.5],
            "activation_beta": [0.4],
        },
    ),
]


@pytest.mark.parametrize(("op", "attrs"), FORMS)
def test_activations_and_other_forms(op, attrs, tmp_path):
    for given, absent in [(("h",), ("p",)), ((), ()), ((), ("h", "c", "b"))]:
        agree(*layer(op, (3, 2, 4), given=given, absent=absent, **attrs), tmp_path)


def test_sums_are_limited(tmp_path):
    for absent in (("p", "lens"), ("h", "c")):
        proto, feeds = layer("LSTM", (4, 1, 4), absent=absent, scale=3, clip=0.8)
        agree(proto, feeds, tmp_path)


@pytest.mark.parametrize("op", GATES)
def test_the_batch_may_come_first_and_is_free_then(op, tmp_path):
    proto, feeds = layer(op, (2, 4, 3), absent=("lens", "h", "c"), layout=1)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    source = formats.read(path)
    net, x = linnet.load(path), feeds["x"]
    assert net.inputs[0].shape == (None, 4, 3)
    for inputs in (x, np.concatenate([x, -x])):
        meant = interpret.run(source, {"x": inputs}).values()
        for a, b in zip(net.run(inputs), meant, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)


def test_all_steps_share_their_weights(tmp_path):
    proto, feeds = layer("LSTM", (9, 1, 16), size=32, absent=("p",))
    graph = agree(proto, feeds, tmp_path)
    factors = {node.inputs[1] for node in graph.nodes if node.op == "Gemm"}
    assert len(factors) == 1
    assert sum(node.op == "Conv" for node in graph.nodes) == 1
    assert linnet.load(graph).weight_bytes < 1.2 * 4 * (4 * 32 * (16 + 32))


def refusal(proto, folder):
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=r"model\.onnx") as error:
        linnet.load(path)
    return str(error.value)


def test_what_does_not_fit_is_refused(tmp_path):
    proto, _ = layer("GRU", (3, 1, 4), activations=["Sigmoid", "Cosine"])
    assert "activation 'Cosine' is not supported" in refusal(proto, tmp_path)
    proto, _ = layer("GRU", (3, 1, 4), activations=["Sigmoid"])
    assert "1 activations, expected 2" in refusal(proto, tmp_path)
    proto, _ = layer("LSTM", (3, 1, 4), given=("r",))
    assert "recurrence 'r' is computed" in refusal(proto, tmp_path)
    proto, _ = layer("RNN", (3, 2, 4))
    lens = next(tensor for tensor in proto.graph.initializer if tensor.name == "lens")
    lens.CopyFrom(onnx.numpy_helper.from_array(np.int32([3, 2]), "lens"))
    assert "sequences of other lengths than 3" in refusal(proto, tmp_path)
    proto, _ = layer("RNN", (3, 1, 4))
    proto.graph.initializer[0].dims[1] -= 1
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-16]
    assert "its input 1 has shape [1, 4, 4], expected [1, 5, 4]" in refusal(proto, tmp_path)
    proto, _ = layer("RNN", (5000, 1, 4))
    assert "5000 to unroll, at most 4096" in refusal(proto, tmp_path)
