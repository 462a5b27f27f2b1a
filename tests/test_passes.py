"""The passes one by one; test_formats_onnx.py compares whole models with ONNX Runtime."""

from __future__ import annotations

import copy
import gc
import weakref

import numpy as np
import pytest

from linnet import interpret, ops, passes
from linnet.graph import UNSUPPORTED, Graph, Node, Value
from linnet.passes.lowering import advice

RANDOM = np.random.default_rng(4)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def graph(nodes, constants=None, shape=(0, 4, 6, 5), outputs=("y",), source=""):
    return Graph("test", nodes, constants or {}, [Value("x", shape)], list(outputs), source)


def operators(result):
    return [node.op for node in result.nodes]


def normalised(x, scale, bias, mean, variance):
    shape = (-1, *(1,) * (x.ndim - 2))
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + 1e-3)
    return (x - mean.reshape(shape)) * factor.reshape(shape) + bias.reshape(shape)


STATISTICS = {"s": normal(4), "b": normal(4), "m": normal(4), "v": normal(4) ** 2}
BATCH_NORM = Node("BatchNormalization", "bn", ["c", "s", "b", "m", "v"], ["y"], {"epsilon": 1e-3})


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("group", [1, 2])
def test_batch_norm_folds_into_the_convolution(bias, group):
    w, k = normal(4, 4 // group, 3, 3), normal(4)
    conv = Node("Conv", "conv", ["x", "w", "k"] if bias else ["x", "w"], ["c"], {"group": group})
    result = passes.canonicalize(graph([conv, BATCH_NORM], {**STATISTICS, "w": w, "k": k}))
    assert operators(result) == ["Conv"]
    assert result.nodes[0].name == "conv"
    assert all(array.dtype == np.float32 for array in result.initializers.values())
    x = normal(2, 4, 6, 5)
    c = ops.conv.conv(x.astype(np.float64), w, k if bias else None, group=group)
    expected = normalised(c, *STATISTICS.values())
    y = interpret.run(result, {"x": x})["y"]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_weights_that_became_others_are_freed():
    """At once: the collector may come late, as it counts objects, not bytes."""
    w = normal(5, 3)
    source = graph([Node("MatMul", "m", ["x", "w"], ["y"])], {"w": w}, (0, 5))
    left = weakref.ref(w)
    gc.disable()
    try:
        result = passes.canonicalize(source)
        del source, w
        assert left() is None
    finally:
        gc.enable()
    assert operators(result) == ["Gemm"]


def test_batch_norm_is_folded_in_double_precision():
    # In single precision variance + epsilon would be variance, and the difference of the means 0.
    statistics = {
        "s": np.ones(4, np.float32),
        "b": np.zeros(4, np.float32),
        "m": np.full(4, 3e-8),
        "v": np.full(4, 1e-12),
    }
    w, k = np.ones((4, 4, 1, 1), np.float32), np.full(4, 3e-8, np.float32)
    conv = Node("Conv", "conv", ["x", "w", "k"], ["c"])
    norm = Node("BatchNormalization", "bn", ["c", "s", "b", "m", "v"], ["y"], {"epsilon": 1e-20})
    result = passes.canonicalize(graph([conv, norm], {**statistics, "w": w, "k": k}))
    bias = result.initializers[result.nodes[0].inputs[2]]
    np.testing.assert_allclose(bias, (k.astype(np.float64) - 3e-8) * 1e6, rtol=1e-6)


def test_batch_norm_folds_into_the_fully_connected_layer():
    nodes = [Node("Gemm", "fc", ["x", "w"], ["c"], {"transB": 1}), BATCH_NORM]
    w, x = normal(4, 7), normal(3, 7)
    result = passes.canonicalize(graph(nodes, {**STATISTICS, "w": w}, (0, 7)))
    assert operators(result) == ["Gemm"]
    expected = normalised(x @ w.T, *STATISTICS.values())
    np.testing.assert_allclose(interpret.run(result, {"x": x})["y"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "ops"),
    [((0, 4, 6, 5), "Conv"), ((0, 4), "Reshape Conv Flatten"), ((0, 4, 3), "Reshape Conv Reshape")],
)
def test_batch_norm_alone_is_a_convolution_of_each_channel(shape, ops):
    node = Node("BatchNormalization", "bn", ["x", "s", "b", "m", "v"], ["y"], {"epsilon": 1e-3})
    result = passes.canonicalize(graph([node], STATISTICS, shape))
    assert operators(passes.canonicalize(result)) == ops.split()
    x = normal(2, *shape[1:])
    expected = normalised(x, *STATISTICS.values())
    np.testing.assert_allclose(interpret.run(result, {"x": x})["y"], expected, rtol=1e-5, atol=1e-5)


def test_what_others_read_is_not_folded_away():
    conv, norm = Node("Conv", "conv", ["x", "w"], ["c"]), BATCH_NORM
    constants = {**STATISTICS, "w": normal(4, 4, 1, 1)}
    assert operators(passes.canonicalize(graph([conv, norm], constants))) == ["Conv"]
    result = passes.canonicalize(graph([conv, norm], constants, outputs=["c", "y"]))
    assert operators(result) == ["Conv", "Conv"]
    add = Node("Add", "add", ["c", "y"], ["z"])
    result = passes.canonicalize(graph([conv, norm, add], constants, outputs=["z"]))
    assert operators(result) == ["Conv", "Conv", "Add"]


def test_the_source_graph_stays_as_it_is():
    source = graph(
        [Node("Conv", "conv", ["x", "w"], ["c"]), BATCH_NORM],
        {**STATISTICS, "w": normal(4, 4, 1, 1)},
    )
    before = copy.deepcopy(source)
    first, second = passes.canonicalize(source), passes.canonicalize(source)
    assert (source.nodes, source.outputs) == (before.nodes, before.outputs)
    for name, array in before.initializers.items():
        np.testing.assert_array_equal(source.initializers[name], array)
    assert first.nodes == second.nodes


def test_canonical_weights_are_not_copied():
    w, b = normal(5, 4, 3, 3), normal(5)
    result = passes.canonicalize(
        graph([Node("Conv", "conv", ["x", "w", "b"], ["y"])], {"w": w, "b": b})
    )
    assert result.initializers["w"] is w
    assert result.initializers["b"] is b


def test_attributes_of_windows_are_written_out():
    nodes = [
        Node("Conv", "conv", ["x", "w"], ["c"]),
        Node("MaxPool", "max", ["c"], ["m"], {"kernel_shape": [2, 2], "storage_order": 1}),
        Node("AveragePool", "mean", ["m"], ["y"], {"kernel_shape": [2, 1], "count_include_pad": 1}),
    ]
    conv, largest, mean = passes.canonicalize(graph(nodes, {"w": normal(2, 4, 3, 1)})).nodes
    window = {"strides": [1, 1], "pads": [0, 0, 0, 0]}
    assert conv.attrs == {"kernel_shape": [3, 1], **window, "dilations": [1, 1], "group": 1}
    assert largest.attrs == {
        "kernel_shape": [2, 2],
        **window,
        "dilations": [1, 1],
        "ceil_mode": 0,
    }
    assert mean.attrs == {
        "kernel_shape": [2, 1],
        **window,
        "ceil_mode": 0,
        "count_include_pad": 0,  # there is no padding
    }


def test_ceil_mode_is_kept_only_where_it_adds_a_window():
    def pool(height):
        attrs = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}
        node = Node("MaxPool", "max", ["x"], ["y"], attrs)
        return passes.canonicalize(graph([node], shape=(0, 4, height, 6))).nodes[0]

    assert pool(6).attrs["ceil_mode"] == 0
    assert pool(7).attrs["ceil_mode"] == 1


def test_remove_unused_follows_the_outputs():
    nodes = [
        Node("Relu", "a", ["x"], ["a"]),
        Node("Add", "b", ["a", "k"], ["b"]),
        Node("Relu", "c", ["a"], ["y"]),
    ]
    result = passes.remove_unused(graph(nodes, {"k": normal(4, 1, 1), "l": normal(3)}))
    assert [node.name for node in result.nodes] == ["a", "c"]
    assert result.initializers == {}


def test_dropout_and_identity_leave_no_trace():
    nodes = [
        Node("Dropout", "drop", ["x"], ["a", "mask"]),
        Node("Identity", "same", ["a"], ["b"]),
        Node("Relu", "relu", ["b"], ["c"]),
        Node("Dropout", "last", ["c"], ["y"]),
    ]
    (node,) = passes.canonicalize(graph(nodes)).nodes
    assert node == Node("Relu", "relu", ["x"], ["y"])


def test_fully_connected_layers_in_every_form():
    w, b, x = normal(7, 3), normal(3), normal(5, 7)
    forms = {
        "matmul": ([Node("MatMul", "n", ["x", "w"], ["y"])], x @ w),
        "bias": (
            [Node("MatMul", "n", ["x", "w"], ["h"]), Node("Add", "m", ["b", "h"], ["y"])],
            x @ w + b,
        ),
        "gemm": ([Node("Gemm", "n", ["x", "w", "b"], ["y"])], x @ w + b),
        "factors": (
            [Node("Gemm", "n", ["x", "w", "b"], ["y"], {"alpha": 0.5, "beta": -2.0})],
            0.5 * (x @ w) - 2 * b,
        ),
        "no bias": ([Node("Gemm", "n", ["x", "w", "b"], ["y"], {"beta": 0.0})], x @ w),
    }
    for form, (nodes, expected) in forms.items():
        result = passes.canonicalize(graph(nodes, {"w": w, "b": b}, (0, 7)))
        assert operators(result) == ["Gemm"], form
        assert result.nodes[0].attrs == {"transB": 1}
        assert result.initializers[result.nodes[0].inputs[1]].flags.c_contiguous
        y = interpret.run(result, {"x": x})["y"]
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5, err_msg=form)


def test_one_matrix_transposed_for_two_layers_is_transposed_once():
    nodes = [
        Node("MatMul", "a", ["x", "w"], ["a"]),
        Node("MatMul", "b", ["a", "w"], ["y"]),
    ]
    result = passes.canonicalize(graph(nodes, {"w": normal(6, 6)}, (0, 6)))
    assert result.nodes[0].inputs[1] == result.nodes[1].inputs[1]
    assert len(result.initializers) == 1


def test_the_batch_cannot_be_computed_with():
    nodes = [
        Node("Shape", "shape", ["x"], ["s"]),
        Node("Mul", "twice", ["s", "s"], ["t"]),
        Node("Reshape", "reshape", ["x", "t"], ["y"]),
    ]
    with pytest.raises(ValueError, match=r"node 'twice' \(Mul\): cannot be computed"):
        passes.canonicalize(graph(nodes))


def test_one_problem_is_a_sentence_and_more_are_a_list():
    nodes = [Node(UNSUPPORTED, "a", ["x"], ["a"], {"op": "Foo", "reason": "is strange"})]
    with pytest.raises(ValueError) as error:
        passes.canonicalize(graph(nodes, outputs=["a"], source="net.onnx"))
    assert str(error.value) == "net.onnx: node 'a' (Foo): is strange"
    nodes.append(Node("Bar", "b", ["x"], ["b"]))
    with pytest.raises(ValueError) as error:
        passes.canonicalize(graph(nodes, outputs=["a", "b"]))
    assert [line.strip() for line in str(error.value).splitlines()] == [
        "2 problems",
        "node 'b' (Bar): the operator is not supported",
        "node 'a' (Foo): is strange",
        advice(),
    ]
    many = [
        Node(UNSUPPORTED, f"b{i}", ["x"], [f"b{i}"], {"op": "Foo", "reason": "is strange"})
        for i in range(500)
    ]
    with pytest.raises(ValueError, match="500 problems") as error:
        passes.canonicalize(graph(many, outputs=[f"b{i}" for i in range(500)]))
    assert str(error.value).endswith("and 400 more")


def test_every_missing_operator_is_listed_once():
    """With its count and first node, also behind others, whatever else is wrong."""
    strange = {"op": "Foo", "reason": "is strange"}
    nodes = [Node(UNSUPPORTED, f"s{i}", ["x"], [f"s{i}"], strange) for i in range(150)]
    nodes += [Node("Det", f"l{i}", [f"s{i}"], [f"l{i}"]) for i in range(110)]
    nodes += [
        Node("Shape", "shape", ["l7"], ["shape"]),
        Node("Slice", "sizes", ["shape", "zero", "one"], ["sizes"]),  # of shapes: may be constants
        Node("Reshape", "reshape", ["l8", "sizes"], ["reshape"]),
        Node("NonZero", "first", ["reshape"], ["first"]),
        Node("NonZero", "second", ["first"], ["second"]),
        Node("Relu", "relu", ["second"], ["relu"]),
        Node("ConstantOfShape", "filled", ["relu"], ["filled"]),
    ]
    constants = {"zero": np.array([0]), "one": np.array([1])}
    outputs = [*(f"s{i}" for i in range(150)), *(f"l{i}" for i in range(110)), "filled"]
    with pytest.raises(ValueError, match="153 problems") as error:
        passes.canonicalize(graph(nodes, constants, outputs=outputs))
    lines = [line.strip() for line in str(error.value).splitlines()]
    assert lines[1:4] == [
        "node 'l0' (Det): the operator is not supported (110 nodes)",
        "node 'first' (NonZero): is supported for constants only (2 nodes)",
        "node 'filled' (ConstantOfShape): is supported for constants only",
    ]
    assert "(Slice)" not in str(error.value)
    assert lines[-1] == advice()


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (Node("Conv", "n", ["x", "x"], ["y"]), "its weight 'x' is computed"),
        (Node("Conv", "n", ["x"], ["y"]), "its weight is missing"),
        (Node("Conv", "n", ["k", "k"], ["y"]), "input 'k' is a constant"),
        (Node("Conv", "n", ["x", "k", "k", "k"], ["y"]), "has 4 inputs"),
        (Node("Conv", "n", ["x", "k"], ["y"], {"strides": [1]}), "'strides' is [1], expected 2"),
        (Node("Conv", "n", ["x", "k"], ["y"], {"strides": [0, 1]}), "strides [0, 1] and"),
        (Node("Conv", "n", ["x", "k"], ["y"], {"group": "one"}), "'group' is not of type int"),
        (Node("Conv", "n", ["x", "k"], ["y"], {"auto_pad": "MOST"}), "auto_pad is 'MOST'"),
        (Node("Conv", "n", ["x", "k"], ["y"], {"kernel_shape": [3, 2]}), "kernel_shape"),
        (Node("Conv", "n", ["x", "k"], ["y"], {"group": 3}), "group 3"),
        (Node("Conv", "n", ["x", "k"], ["y"], {"pads": [0, 0, -9, 0]}), "pads"),
        (Node("Conv", "n", ["x", "k"], ["y"], {"dilations": [1, 1 << 62]}), "dilations [1, "),
        (Node("MaxPool", "n", ["x"], ["y"], {"kernel_shape": [1 << 40, 1]}), "kernel [109"),
        (Node("Conv", "n", ["x", "k"], ["y"], {"pads": [1 << 40] * 4}), "pads"),
        (Node("MaxPool", "n", ["x"], ["y"]), "'kernel_shape' is missing"),
        (Node("MaxPool", "n", [], ["y"], {"kernel_shape": [1, 1]}), "an input is missing"),
        (Node("Relu", "n", ["x", "x"], ["y"]), "has 2 inputs"),
        (Node("Add", "n", ["x", "row"], ["y"]), "do not broadcast"),
        (Node("Max", "n", [], ["y"]), "has no inputs"),
        (Node("Softmax", "n", ["x"], ["y"], {"axis": 4}), "axis 4 does not exist"),
        (Node("Transpose", "n", ["x"], ["y"], {"perm": [0, 1, 1, 3]}), "is no order"),
        (Node("Unsqueeze", "n", ["x", "nine"], ["y"]), "axis 9 does not exist"),
        (Node("Squeeze", "n", ["x", "nine"], ["y"]), "axis 9 does not exist"),
        (Node("Pad", "n", ["x", "pads"], ["y"], {"mode": "odd"}), "mode is 'odd'"),
        (Node("Pad", "n", ["x", "nine"], ["y"]), "do not fit"),
        (Node("Cast", "n", ["x"], ["y"], {"to": 11}), "to type 11 is not supported"),
        (Node("Concat", "n", ["x", "x"], ["y"], {"axis": 4}), "axis 4 does not exist"),
        (Node("Concat", "n", ["x", "k"], ["y"], {"axis": 1}), "differ in other axes than 1"),
        (Node("Concat", "n", ["x", "", "x"], ["y"], {"axis": 1}), "an input is missing"),
        (Node("Concat", "n", [], ["y"], {"axis": 1}), "has no inputs"),
        (Node("BatchNormalization", "n", ["x", *["row"] * 4], ["y"]), "its scale has shape [1, 7]"),
        (Node("BatchNormalization", "n", ["x", *["less"] * 4], ["y"]), "is not positive"),
        (Node("Dropout", "n", ["x", "", "yes"], ["y"]), "training_mode is set"),
    ],
)
def test_refusals_say_why(node, reason):
    constants = {
        "k": normal(4, 4, 2, 2),
        "row": normal(1, 7),
        "pixels": normal(6, 5),
        "zero": np.zeros(1, np.float32),
        "zeros": np.zeros(1, np.int64),
        "nine": np.array([9]),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "less": np.full(4, -1, np.float32),
        "yes": np.array(True),
    }
    with pytest.raises(ValueError) as error:
        passes.canonicalize(graph([node], constants))
    assert str(error.value).startswith(f"node 'n' ({node.op}): ")
    assert reason in str(error.value)


def test_a_first_axis_that_is_no_batch_has_to_be_given():
    """As of a spectrum of any length; a window does not fit one of 1."""
    nodes = [
        Node("Unsqueeze", "image", ["x", "axes"], ["image"]),
        Node("Conv", "conv", ["image", "w"], ["y"], {"kernel_shape": [3, 4]}),
    ]
    constants = {"axes": np.array([0, 1]), "w": np.ones((2, 1, 3, 4), np.float32)}
    graph = Graph("g", nodes, constants, [Value("x", (0, 4))], ["y"])
    said = r"the first axis of 'x' is not a batch.*shapes=\{'x': \(256, 4\)\}"
    with pytest.raises(ValueError, match=said):
        passes.canonicalize(graph)
    graph.inputs = [Value("x", (9, 4))]
    (y,) = interpret.run(passes.canonicalize(graph), {"x": np.ones((9, 4))}).values()
    np.testing.assert_array_equal(y, np.full((1, 2, 7, 1), 12))
    graph.inputs = [Value("x", (2, 4))]
    with pytest.raises(ValueError, match="node 'image'") as error:
        passes.canonicalize(graph)
    assert "what to do" not in str(error.value)
