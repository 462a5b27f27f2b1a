"""The ONNX importer: forms of every opset against ONNX Runtime, and files that are wrong."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest

import linnet
from linnet import _core, core, formats, interpret, passes
from linnet.core import build
from linnet.formats.onnx_read import OPSETS

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
helper, numpy_helper, FLOAT = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
node = helper.make_node

RANDOM = np.random.default_rng(2)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def model(nodes, constants=None, shape=("N", 3, 8, 8), *, opset=17, outputs=("y",), ir=8):
    """A model with the input x; constants are arrays or ready TensorProtos."""
    tensors = [
        array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(array, name)
        for name, array in (constants or {}).items()
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        tensors,
    )
    if ir < 4:
        for tensor in tensors:
            graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def read(proto, folder):
    path = folder / "model.onnx"
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    return passes.canonicalize(formats.read(path))


def agree(proto, folder, batches=(1, 3), operators=None):
    """The canonical graph computes what ONNX Runtime computes from the file."""
    graph = read(proto, folder)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    # Its optimizer folds zeros around an image into a MaxPool, where they are no longer zeros.
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for batch in batches:
        x = normal(batch, *graph.inputs[0].shape[1:])
        ours = interpret.run(graph, {"x": x})
        theirs = session.run(None, {"x": x})
        assert list(ours) == [output.name for output in session.get_outputs()]
        for a, b in zip(ours.values(), theirs):
            assert a.shape == b.shape
            # Sums that cancel are as exact as what cancels.
            atol = 1e-5 * max(1.0, float(np.sqrt(np.mean(np.square(b)))))
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol)
    if operators is not None:
        assert [n.op for n in graph.nodes] == operators.split()
    return graph


def refuse(proto, folder, *said):
    with pytest.raises(ValueError, match=r"model\.onnx") as error:
        read(proto, folder)
    for text in said:
        assert text in str(error.value)
    return str(error.value)


# --- operators and opsets -------------------------------------------------------------------------


def classifier(opset):
    """One network in the words of its opset: every operator whose form has changed since 7."""
    axes = {"axes": [2, 3]} if opset < 13 else {}
    dropout = {"ratio": 0.5} if opset < 12 else {}
    nodes = [
        node(
            "Pad",
            ["x"] + ["pads"] * (opset >= 11),
            ["p"],
            **({} if opset >= 11 else {"pads": PADS}),
        ),
        node("Conv", ["p", "w", "b"], ["c"], kernel_shape=[3, 3], group=1),
        node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], epsilon=1e-3),
        node("Relu", ["n"], ["r"]),
        node("MaxPool", ["r"], ["q"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
        node(
            "AveragePool", ["q"], ["a"], kernel_shape=[2, 2], pads=[1, 0, 0, 1], count_include_pad=1
        ),
        node("Dropout", ["a"], ["d"], **dropout),
        node("Identity", ["d"], ["i"]),
        node("GlobalAveragePool", ["i"], ["g"]),
        node("Squeeze", ["g"] + ["axes"] * (opset >= 13), ["e"], **axes),
        node("Gemm", ["e", "matrix", "row"], ["h"], transB=1, alpha=0.5, beta=2.0),
        node("MatMul", ["h", "square"], ["k"]),
        node("Add", ["k", "row"], ["l"]),
        node("Sum", ["l", "h", "l"], ["o"]),
        node("Softmax", ["o"], ["y"], axis=1),
        node("Softmax", ["i"], ["z"], axis=2),
    ]
    constants = {"w": normal(4, 3, 3, 3), "b": normal(4), "s": normal(4), "m": normal(4)}
    constants.update(v=normal(4) ** 2, matrix=normal(5, 4), row=normal(5), square=normal(5, 5))
    if opset >= 11:
        constants["pads"] = ints(*PADS)
    if opset >= 13:
        constants["axes"] = ints(2, 3)
    return model(nodes, constants, opset=opset, outputs=("y", "z"), ir=8 if opset > 8 else 3)


PADS = [0, 0, 1, 2, 0, 0, 0, 1]


def test_opsets_reach_the_newest_of_onnx():
    assert onnx.defs.onnx_opset_version() in OPSETS


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset(opset, tmp_path):
    proto = classifier(opset)
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(proto))
    try:
        agree(proto, tmp_path)
    except runtime.capi.onnxruntime_pybind11_state.Fail as error:  # newer than ONNX Runtime
        assert "opset" in str(error).lower() and opset > 20, error
        graph = read(proto, tmp_path)
        previous = read(
            helper.make_model(proto.graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path
        )
        x = normal(2, 3, 8, 8)
        for name, array in interpret.run(graph, {"x": x}).items():
            np.testing.assert_array_equal(array, interpret.run(previous, {"x": x})[name])


@pytest.mark.parametrize("opset", [7, 10, 11, 13, 17])
@pytest.mark.parametrize(
    ("limits", "operator"),
    [
        ({"min": 0.0}, "Relu"),
        ({"min": 0.0, "max": 6.0}, "Clip"),
        ({"max": 0.5}, "Clip"),
        ({"min": 0.25, "max": 0.5}, "Clip"),
    ],
)
def test_limits_of_every_form(opset, limits, operator, tmp_path):
    if opset < 11:
        agree(model([node("Clip", ["x"], ["y"], **limits)], opset=opset), tmp_path)
        return
    constants = {key: np.array(value, np.float32) for key, value in limits.items()}
    inputs = ["x", *(key if key in limits else "" for key in ("min", "max"))]
    proto = model([node("Clip", inputs, ["y"])], constants, opset=opset)
    agree(proto, tmp_path, operators=operator)


def flattened_by(*names):
    """How exporters write "all but the batch into one vector": Shape, Gather, Concat, Reshape."""
    nodes = {
        "shape": node("Shape", ["x"], ["shape"]),
        "batch": node("Gather", ["shape", "zero"], ["n"], axis=0),
        "vector": node("Unsqueeze", ["n", "axis"], ["n1"]),
        "slice": node("Slice", ["shape", "from", "to"], ["n1"]),
        "cast": node("Cast", ["n1"], ["n1c"], to=onnx.TensorProto.INT64),
        "concat": node("Concat", ["n1", "rest"], ["target"], axis=0),
        "concat cast": node("Concat", ["n1c", "rest"], ["target"], axis=0),
        "reshape": node("Reshape", ["x", "target"], ["y"]),
    }
    return [nodes[name] for name in names]


INDICES = {"zero": np.array(0, np.int64), "axis": ints(0), "from": ints(0), "to": ints(1)}


@pytest.mark.parametrize("rest", [[-1], [192], [3, -1], [3, 64], [2, 8, -1]])
@pytest.mark.parametrize(
    "chain",
    [
        ("shape", "batch", "vector", "concat", "reshape"),
        ("shape", "slice", "concat", "reshape"),
        ("shape", "slice", "cast", "concat cast", "reshape"),
    ],
)
def test_computed_shapes_keep_the_batch(chain, rest, tmp_path):
    constants = {**INDICES, "rest": ints(*rest)}
    operator = "Flatten" if len(rest) == 1 else "Reshape"
    agree(model(flattened_by(*chain), constants), tmp_path, operators=operator)


def shuffle(x, y, groups, c, size):
    """The channels of `groups` by turns, as ShuffleNet has them."""
    constants = {
        f"{y}.split": ints(0, groups, c // groups, size, size),
        f"{y}.join": ints(0, c, size, size),
    }
    nodes = [
        node("Reshape", [x, f"{y}.split"], [f"{y}.groups"]),
        node("Transpose", [f"{y}.groups"], [f"{y}.turned"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", [f"{y}.turned", f"{y}.join"], [y]),
    ]
    return nodes, constants


def test_channel_shuffle_is_one_copy(tmp_path):
    nodes, constants = shuffle("b", "s", 3, 24, 8)
    nodes = [
        node("Conv", ["x", "w1"], ["a"]),
        node("Relu", ["a"], ["b"]),
        *nodes,
        node("Conv", ["s", "w2"], ["d"], group=24, pads=[1, 1, 1, 1]),
        node("Conv", ["d", "w3"], ["e"], group=3),
        node("Add", ["b", "e"], ["y"]),
    ]
    constants["w1"], constants["w3"] = normal(24, 3, 1, 1), normal(24, 8, 1, 1)
    constants["w2"] = normal(24, 1, 3, 3)
    proto = model(nodes, constants)
    graph = agree(proto, tmp_path)
    linnet.convert(tmp_path / "model.onnx", None, tmp_path / "canonical.onnx")
    x = normal(3, 3, 8, 8)
    wanted = interpret.run(graph, {"x": x})["y"]
    for isa in _core.available_isas():
        net = linnet.load(tmp_path / "canonical.onnx", isa=isa)
        np.testing.assert_allclose(net(x), wanted, rtol=1e-4, atol=1e-4)
        assert net.program(3).count(" strided-copy: ") == 1


@pytest.mark.parametrize("perm", [[0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2], [0, 3, 2, 1]])
def test_transposes_move_data(perm, tmp_path):
    nodes = [node("Transpose", ["x"], ["t"], perm=perm), node("Relu", ["t"], ["y"])]
    agree(model(nodes, shape=("N", 3, 5, 7)), tmp_path, operators="Relu Transpose")


def test_computed_sizes_are_multiplied(tmp_path):
    nodes = [
        node("Shape", ["x"], ["shape"]),
        *(node("Gather", ["shape", f"i{i}"], [name], axis=0) for i, name in enumerate("nchw")),
        node("Mul", ["h", "w"], ["hw"]),
        node("Div", ["hw", "two"], ["half"]),
        node("Concat", ["n", "c", "half", "two"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["y"]),
    ]
    constants = {f"i{i}": ints(i) for i in range(4)}
    graph = agree(model(nodes, {**constants, "two": ints(2)}), tmp_path, operators="Reshape")
    assert core.shapes(graph)["y"] == (0, 3, 32, 2)


def test_a_batch_written_as_a_number_is_the_files_own(tmp_path):
    nodes = [node("Reshape", ["x", "target"], ["y"])]
    agree(model(nodes, {"target": ints(1, -1)}, (1, 3, 8, 8)), tmp_path, (1,), "Flatten")
    agree(model(nodes, {"target": ints(4, 3, -1)}, (4, 3, 8, 8)), tmp_path, (4,), "Reshape")
    agree(model(nodes, {"target": ints(-1, 192)}), tmp_path, operators="Flatten")
    for target in (ints(1, -1), ints(-1, 96), ints(3, -1, 64), ints(-1)):
        agree(model(nodes, {"target": target}), tmp_path, (1,))
    for target in (ints(5, -1), ints(0, 5, -1), ints(0, -3)):
        refuse(model(nodes, {"target": target}), tmp_path, "'y' (Reshape)")


@pytest.mark.parametrize(
    ("nodes", "operators"),
    [
        ([node("Flatten", ["x"], ["y"])], "Flatten"),
        ([node("Flatten", ["x"], ["y"], axis=-3)], "Flatten"),
        ([node("Unsqueeze", ["x", "two"], ["y"])], "Reshape"),
        ([node("Transpose", ["v"], ["y"], perm=[0, 2, 3, 1])], "GlobalMaxPool Reshape"),
        ([node("Squeeze", ["v", "last"], ["y"])], "GlobalMaxPool Reshape"),
        ([node("ReduceMean", ["x"], ["y"], axes=[2, 3])], "GlobalAveragePool"),
        (
            [node("ReduceMean", ["x"], ["y"], axes=[-1, -2], keepdims=0)],
            "GlobalAveragePool Flatten",
        ),
        ([node("Softmax", ["x"], ["y"], axis=-3)], "Softmax"),
        ([node("Softmax", ["x"], ["y"])], "Softmax"),
        ([node("Cast", ["x"], ["c"], to=FLOAT), node("Relu", ["c"], ["y"])], "Relu"),
        ([node("Relu", ["x"], ["r"]), node("Identity", ["r"], ["y"])], "Relu"),
        ([node("Identity", ["x"], ["y"])], "Reshape"),
    ],
)
def test_forms_of_the_same(nodes, operators, tmp_path):
    if any("v" in n.input for n in nodes):
        nodes = [node("GlobalMaxPool", ["x"], ["v"]), *nodes]
    constants = {"two": ints(2), "last": ints(-1)}
    agree(model(nodes, constants), tmp_path, operators=operators)


@pytest.mark.parametrize(
    ("op", "constant", "operators"),
    [
        ("Add", normal(3, 1, 1), "Add"),
        ("Add", normal(1, 3, 1, 1), "Add"),
        ("Add", normal(8, 8), "Add"),
        ("Add", normal(1), "Add"),
        ("Sub", normal(3, 8, 1), "Sub"),
        ("Sub", np.float32(0.5), "Add"),
        ("Mul", normal(3, 1, 1), "Mul"),
        ("Mul", np.float32(2), "Mul"),
        ("Div", np.float32(255), "Mul"),
    ],
)
def test_arithmetic_with_constants(op, constant, operators, tmp_path):
    agree(model([node(op, ["x", "k"], ["y"])], {"k": constant}), tmp_path, operators=operators)
    if op in ("Add", "Mul"):
        agree(model([node(op, ["k", "x"], ["y"])], {"k": constant}), tmp_path, operators=operators)


# fmt: off
UNARY = [
    "Abs", "Ceil", "Elu", "Exp", "Floor", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Neg",
    "Reciprocal", "Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Tanh",
]
# fmt: on


def computed(proto, folder):
    """What linnet computes, on every ISA, after conversion, is what ONNX Runtime does."""
    graph = agree(proto, folder)
    linnet.convert(folder / "model.onnx", None, folder / "canonical.onnx")
    x = normal(3, *graph.inputs[0].shape[1:])
    wanted = interpret.run(graph, {"x": x})
    for isa in _core.available_isas():
        net = linnet.Session(
            _core.Session(_core.read_onnx(str(folder / "canonical.onnx")), isa=isa)
        )
        for a, b in zip(net.run(None, {"x": x}), wanted.values()):
            atol = 1e-5 * max(1.0, float(np.sqrt(np.mean(np.square(b)))))
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol)


@pytest.mark.parametrize("op", UNARY)
def test_functions_alone_and_in_the_layer_before(op, tmp_path):
    nodes = [
        node(op, ["x"], ["y"]),
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        node(op, ["c"], ["z"]),
    ]
    proto = model(nodes, {"w": normal(5, 3, 3, 3)}, opset=18, outputs=["y", "z"])
    if op in ("Ceil", "Floor", "Round", "Sign", "Reciprocal"):  # steps, where rounding tells
        proto = model(nodes[:1], opset=18)
    computed(proto, tmp_path)


def test_logarithms_and_roots(tmp_path):
    nodes = [
        node("Exp", ["x"], ["e"]),
        node("Log", ["e"], ["y"]),
        node("Sqrt", ["e"], ["z"]),
        node("Pow", ["e", "half"], ["p"]),
        node("Pow", ["x", "two"], ["q"]),
        node("Pow", ["two", "x"], ["r"]),
        node("Pow", ["x", "three"], ["s"]),
    ]
    numbers = {"half": np.float32(0.5), "two": np.float32(2), "three": np.float32(3)}
    computed(model(nodes, numbers, outputs=list("yzpqrs")), tmp_path)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"])
@pytest.mark.parametrize("axes", [(), (1,), (2,), (3,), (1, 2), (2, 3), (1, 2, 3)])
def test_two_inputs_broadcast(op, axes, tmp_path):
    """Two activations and constants of every shape, either first."""
    constant = np.exp(normal(*[1 if i in axes else n for i, n in enumerate((1, 3, 8, 8))]))
    nodes = [node("Exp", ["x"], ["e"])]
    small = "e"
    for axis in axes:
        nodes.append(node("MaxPool", [small], [f"m{axis}"], kernel_shape=[1, 1]))
        small = f"m{axis}"
    if axes == (2, 3):
        nodes = [node("Exp", ["x"], ["e"]), node("GlobalMaxPool", ["e"], ["m3"])]
    nodes += [
        node(op, ["e", "k"], ["y"]),
        node(op, ["k", "e"], ["z"]),
        node(op, ["e", small], ["p"]),
        node(op, [small, "e"], ["q"]),
    ]
    computed(model(nodes, {"k": constant}, outputs=list("yzpq")), tmp_path)


def test_many_inputs(tmp_path):
    nodes = [
        node("GlobalAveragePool", ["x"], ["g"]),
        *(node(op, ["g", "x", "k"], [op]) for op in ("Sum", "Mean", "Max", "Min")),
    ]
    proto = model(nodes, {"k": normal(8, 8)}, outputs=["Sum", "Mean", "Max", "Min"])
    computed(proto, tmp_path)


def test_slopes(tmp_path):
    for slope in (normal(3, 1, 1), normal(1), normal(3, 8, 8)):
        computed(model([node("PRelu", ["x", "k"], ["y"])], {"k": slope}), tmp_path)


def test_squeeze_and_excitation_and_swish(tmp_path):
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Sigmoid", ["c"], ["s"]),
        node("Mul", ["c", "s"], ["a"]),
        node("GlobalAveragePool", ["a"], ["g"]),
        node("Conv", ["g", "v"], ["h"]),
        node("HardSigmoid", ["h"], ["i"]),
        node("Mul", ["a", "i"], ["y"]),
    ]
    constants = {"w": normal(20, 3, 3, 3), "v": normal(20, 20, 1, 1)}
    computed(model(nodes, constants), tmp_path)


def test_arithmetic_joins_the_convolution_before_it(tmp_path):
    nodes = [
        node("Mul", ["x", "eighth"], ["scaled"]),
        node("Conv", ["scaled", "w"], ["c"]),
        node("Mul", ["c", "k"], ["m"]),
        node("Add", ["m", "k"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("Flatten", ["r"], ["f"]),
        node("MatMul", ["f", "matrix"], ["g"]),
        node("Add", ["g", "row"], ["h"]),
        node("Sub", ["h", "row"], ["i"]),
        node("Div", ["i", "eighth"], ["y"]),
    ]
    constants = {"eighth": np.float32(0.125), "w": normal(4, 3, 3, 3), "k": normal(4, 1, 1)}
    constants.update(matrix=normal(144, 5), row=normal(5))
    agree(model(nodes, constants), tmp_path, operators="Mul Conv Relu Flatten Gemm")


def test_activations_broadcast_either_way(tmp_path):
    nodes = [node("GlobalAveragePool", ["x"], ["g"]), node("Add", ["g", "x"], ["y"])]
    agree(model(nodes), tmp_path, operators="GlobalAveragePool Add")


def test_channels_are_concatenated(tmp_path):
    """Any number of parts, counted from either end; one alone is no node. An inception block."""
    window = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]}
    nodes = [
        node("MaxPool", ["x"], ["p"], **window),
        node("Conv", ["p", "w"], ["c"], **window),
        node("Concat", ["c", "x", "p", "x"], ["j"], axis=1),
        node("Concat", ["j"], ["alone"], axis=1),
        node("Relu", ["alone"], ["y"]),
        node("GlobalAveragePool", ["j"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Concat", ["f", "f"], ["z"], axis=-1),
        node("Concat", ["j", "c"], ["v"], axis=-3),
    ]
    graph = agree(
        model(nodes, {"w": normal(5, 3, 3, 3)}, outputs="yzv"),
        tmp_path,
        operators="MaxPool Conv Concat Relu GlobalAveragePool Flatten Concat Concat",
    )
    assert core.shapes(graph)["v"] == (0, 19, 8, 8)
    assert all(n.attrs == {"axis": 1} for n in graph.nodes if n.op == "Concat")
    nodes = [node("AveragePool", ["x"], ["p"], kernel_shape=[2, 2])]
    nodes.append(node("Concat", ["x", "p"], ["y"], axis=1, name="join"))
    refuse(model(nodes), tmp_path, "node 'join' (Concat)", "Nx3x8x8 and Nx3x7x7 differ")


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (4, 3), (5, 5)])
def test_auto_pad(mode, kernel, stride, tmp_path):
    window = {"auto_pad": mode, "strides": [stride] * 2, "kernel_shape": [kernel, kernel + 1]}
    nodes = [
        node("MaxPool", ["x"], ["a"], **window),
        node("AveragePool", ["x"], ["b"], **window),
        node("Conv", ["x", "w"], ["c"], **window),
    ]
    constants = {"w": normal(2, 3, kernel, kernel + 1)}
    agree(model(nodes, constants, ("N", 3, 10, 9), outputs="abc"), tmp_path)


@pytest.mark.parametrize(("stride", "size"), [(1, (10, 9)), (2, (5, 5)), (4, (3, 3))])
def test_auto_pad_with_dilation_keeps_the_size(stride, size, tmp_path):
    # As the specification says; ONNX Runtime leaves the dilation out.
    window = {"kernel_shape": [3, 2], "dilations": [2, 3], "strides": [stride] * 2}
    nodes = [node("MaxPool", ["x"], ["y"], auto_pad="SAME_UPPER", **window)]
    graph = read(model(nodes, shape=("N", 3, 10, 9)), tmp_path)
    assert core.shapes(graph)["y"] == (0, 3, *size)


@pytest.mark.parametrize(
    ("before", "reader", "operators"),
    [
        ([], node("Conv", ["p", "w"], ["y"], pads=[1, 0, 0, 2]), "Conv"),
        ([], node("AveragePool", ["p"], ["y"], kernel_shape=[3, 3]), "AveragePool"),
        (
            [],
            node("AveragePool", ["p"], ["y"], kernel_shape=[3, 3], pads=[1] * 4),
            "Conv AveragePool",
        ),
        ([], node("AveragePool", ["p"], ["y"], kernel_shape=[2, 2]), "AveragePool"),
        ([], node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3], strides=[2, 2]), "Conv MaxPool"),
        (
            ["Relu"],
            node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3], strides=[2, 2]),
            "Relu MaxPool",
        ),
        (["Relu"], node("MaxPool", ["p"], ["y"], kernel_shape=[1, 1]), "Relu Conv MaxPool"),
        ([], node("Relu", ["p"], ["y"]), "Conv Relu"),
    ],
)
def test_padding_joins_its_reader_where_it_may(before, reader, operators, tmp_path):
    nodes = [node(op, ["x"], ["r"]) for op in before]
    source = "r" if before else "x"
    nodes += [node("Pad", [source, "pads"], ["p"]), reader]
    constants = {"pads": ints(0, 0, 1, 1, 0, 0, 1, 0), "w": normal(4, 3, 3, 3)}
    agree(model(nodes, constants), tmp_path, operators=operators)


def test_padding_computed_as_pytorch_does(tmp_path):
    """torch.nn.functional.pad lists pads from the last axis on; its exporter turns them around."""
    nodes = [
        node("ConstantOfShape", ["four"], ["zeros"], value=numpy_helper.from_array(ints(0))),
        node("Concat", ["given", "zeros"], ["all"], axis=0),
        node("Reshape", ["all", "pairs"], ["table"]),
        node("Slice", ["table", "last", "first", "axis", "step"], ["reversed"]),
        node("Transpose", ["reversed"], ["turned"], perm=[1, 0]),
        node("Reshape", ["turned", "flat"], ["vector"]),
        node("Cast", ["vector"], ["pads"], to=onnx.TensorProto.INT64),
        node("Pad", ["x", "pads"], ["p"]),
        node("Conv", ["p", "w"], ["y"]),
    ]
    constants = {"given": ints(1, 2, 3, 4), "four": ints(4), "pairs": ints(-1, 2)}
    constants.update(last=ints(-1), first=ints(-(1 << 63)), axis=ints(0), step=ints(-1))
    constants.update(flat=ints(-1), w=normal(4, 3, 3, 3))
    graph = agree(model(nodes, constants), tmp_path, operators="Conv")
    assert graph.nodes[0].attrs["pads"] == [3, 1, 4, 2]


def test_shared_weights_are_changed_for_none(tmp_path):
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"]),
        node("BatchNormalization", ["c", "b", "b", "b", "v"], ["n"]),
        node("Conv", ["n", "w", "b"], ["y"]),
    ]
    constants = {"w": normal(3, 3, 1, 1), "b": normal(3), "v": normal(3) ** 2 + 1}
    agree(model(nodes, constants), tmp_path, operators="Conv Conv Conv")


def test_outputs_keep_their_names(tmp_path):
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("BatchNormalization", ["c", "s", "s", "s", "v"], ["n"]),
        node("Dropout", ["n"], ["d"]),
        node("Identity", ["d"], ["i"]),
        node("Relu", ["i"], ["r"]),
        node("Identity", ["x"], ["same"]),
    ]
    constants = {"w": normal(3, 3, 1, 1), "s": normal(3), "v": normal(3) ** 2 + 1}
    outputs = ("c", "d", "i", "r", "same")
    graph = agree(model(nodes, constants, outputs=outputs), tmp_path)
    assert graph.outputs == list(outputs)


def test_layers_without_names_get_some(tmp_path):
    nodes = [node("Relu", ["x"], ["a"], name="one"), node("Relu", ["a"], ["y"], name="one")]
    assert [n.name for n in read(model(nodes), tmp_path).nodes] == ["one", "y"]
    nodes = [node("Relu", ["x"], ["y"])]
    assert read(model(nodes), tmp_path).nodes[0].name == "y"


# --- tensors --------------------------------------------------------------------------------------


def typed(name, array, field, values=None):
    """A TensorProto with its values in a field of its type instead of raw_data."""
    tensor = onnx.TensorProto(name=name, dims=array.shape)
    tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    getattr(tensor, field).extend(array.ravel().tolist() if values is None else values)
    return tensor


def unpacked(tensor, name):
    """The float_data of `tensor` with a tag before every value, as protobuf 2 writes it."""
    values = tensor.float_data
    copy = onnx.TensorProto(name=name, dims=tensor.dims, data_type=tensor.data_type)
    chunks = (b"\x25" + np.float32(value).tobytes() for value in values)
    return copy.SerializeToString() + b"".join(chunks)


def gemm_of(tensor):
    return model([node("Gemm", ["x", "w"], ["y"], transB=1)], {"w": tensor}, ("N", 6))


def test_weights_in_every_form(tmp_path):
    w = normal(4, 6)
    half = w.astype(np.float16)
    rounded = half.astype(np.float32)
    upper = (w.view(np.uint32) & 0xFFFF0000).view(np.float32)  # exact in bfloat16
    bfloat = onnx.TensorProto(name="w", dims=[4, 6], data_type=onnx.TensorProto.BFLOAT16)
    bfloat.raw_data = (upper.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    small = np.arange(-12, 12, dtype=np.float32).reshape(4, 6)
    forms = {
        "raw": (w, w),
        "float_data": (typed("w", w, "float_data"), w),
        "double": (typed("w", w.astype(np.float64), "double_data"), w),
        "raw half": (half, rounded),
        "half": (typed("w", half, "int32_data", half.view(np.uint16).ravel().tolist()), rounded),
        "bfloat16": (bfloat, upper),
        "int8": (typed("w", small.astype(np.int8), "int32_data"), small),
        "uint64": (typed("w", np.abs(small).astype(np.uint64), "uint64_data"), np.abs(small)),
    }
    for form, (tensor, expected) in forms.items():
        graph = read(gemm_of(tensor), tmp_path)
        (array,) = graph.initializers.values()
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, expected, err_msg=form)


def test_weights_that_are_not_packed(tmp_path):
    w = normal(4, 6)
    proto = gemm_of(w)
    message = unpacked(typed("w", w, "float_data"), "w")
    del proto.graph.initializer[:]
    # Appending a field to a message's bytes adds to the message: GraphProto is field 7 of
    # ModelProto, an initializer field 5 of GraphProto.
    inner = b"\x2a" + varint(len(message)) + message
    data = proto.SerializeToString() + b"\x3a" + varint(len(inner)) + inner
    (array,) = read(data, tmp_path).initializers.values()
    np.testing.assert_array_equal(array, w)


def varint(value):
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes(data) + bytes([value])


def test_half_precision_weights_behind_casts(tmp_path):
    w = normal(4, 6)
    nodes = [node("Cast", ["h"], ["w"], to=FLOAT), node("Gemm", ["x", "w"], ["y"], transB=1)]
    graph = agree(model(nodes, {"h": w.astype(np.float16)}, ("N", 6)), tmp_path, operators="Gemm")
    np.testing.assert_array_equal(graph.initializers["w"], w.astype(np.float16))


@pytest.mark.parametrize(
    ("scale", "zero", "axis"),
    [
        (np.float32(0.25), None, {}),
        (np.float32(0.25), np.int8(-3), {}),
        (np.array([0.5, 0.25, 1, 2], np.float32), None, {"axis": 0}),
        (np.array([0.5, 0.25, 1, 2], np.float32), np.array([1, 0, -5, 7], np.int8), {"axis": -2}),
        (np.arange(6, dtype=np.float32), None, {}),
    ],
)
def test_integer_weights_behind_dequantize(scale, zero, axis, tmp_path):
    q = np.arange(-12, 12, dtype=np.int8).reshape(4, 6)
    constants = {"q": q, "s": np.asarray(scale)}
    if zero is not None:
        constants["z"] = np.asarray(zero)
    nodes = [
        node("DequantizeLinear", list(constants), ["w"], **axis),
        node("Gemm", ["x", "w"], ["y"], transB=1),
    ]
    agree(model(nodes, constants, ("N", 6)), tmp_path, operators="Gemm")
    refuse(model(nodes, {**constants, "s": np.ones(5, np.float32)}, ("N", 6)), tmp_path, "'w'")


def test_constants_as_nodes(tmp_path):
    w = numpy_helper.from_array(normal(4, 6), "w")
    nodes = [
        node("Constant", [], ["w"], value=w),
        node("Constant", [], ["target"], value_ints=[0, 2, 2]),
        node("Constant", [], ["axis"], value_ints=[1]),
        node("Constant", [], ["k"], value_float=0.5),
        node("Gemm", ["x", "w"], ["g"], transB=1),
        node("Reshape", ["g", "target"], ["r"]),
        node("Unsqueeze", ["r", "axis"], ["u"]),
        node("Add", ["u", "k"], ["y"]),
    ]
    agree(model(nodes, shape=("N", 6)), tmp_path, operators="Gemm Reshape Reshape Add")


def external(**entries):
    tensor = onnx.TensorProto(name="w", dims=[4, 6], data_type=FLOAT)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def test_external_weights(tmp_path):
    w = normal(4, 6)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "weights.bin").write_bytes(b"abc" + w.tobytes() + b"d")
    tensor = external(location="deep/weights.bin", offset=3, length=96)
    graph = read(gemm_of(tensor), tmp_path)
    (array,) = graph.initializers.values()
    np.testing.assert_array_equal(array, w)
    assert array.flags.aligned
    build(graph)
    tensor = external(location="deep/weights.bin", offset=4)  # no length: as much as it needs
    read(gemm_of(tensor), tmp_path)


def test_external_weights_may_be_shared_but_not_without_end(tmp_path):
    (tmp_path / "weights.bin").write_bytes(normal(4, 6).tobytes())
    for count, wrong in ((4, False), (5, True)):
        proto = model(
            [node("Gemm", ["x", f"w{i}"], [f"y{i}"], transB=1) for i in range(count)],
            shape=("N", 6),
            outputs=[f"y{i}" for i in range(count)],
        )
        for i in range(count):
            tensor = external(location="weights.bin")
            tensor.name = f"w{i}"
            proto.graph.initializer.append(tensor)
        if wrong:
            refuse(proto, tmp_path, "'w4' (initializer): the tensors in 'weights.bin'")
        else:
            read(proto, tmp_path)


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "../secret.bin"},
        {"location": "/etc/passwd"},
        {"location": "link.bin"},
        {"location": "folder"},
        {"location": "absent.bin"},
        {"location": "nul\0.bin"},
        {"location": ""},
        {},
        {"location": "short.bin", "offset": 5},
        {"location": "short.bin", "offset": -4},
        {"location": "short.bin", "length": 95},
        {"location": "short.bin", "offset": "many"},
        {"location": "short.bin", "offset": 10**30},
    ],
)
def test_external_weights_elsewhere_are_refused(entries, tmp_path):
    home = tmp_path / "home"
    (home / "folder").mkdir(parents=True)
    (tmp_path / "secret.bin").write_bytes(bytes(96))
    (home / "short.bin").write_bytes(bytes(100))
    (home / "link.bin").symlink_to(tmp_path / "secret.bin")
    refuse(gemm_of(external(**entries)), home, "'w' (initializer)")


# --- wrong files ----------------------------------------------------------------------------------


def test_everything_unsupported_is_reported_at_once(tmp_path):
    nodes = [
        node("Det", ["x"], ["a"], name="norm"),
        node("Conv", ["a", "w"], ["b"], name="conv"),  # follows from norm: not reported
        node("Sinh", ["b"], ["c"], name="sinh"),
        node("Softmax", ["x"], ["d"], axis=0, name="soft"),
        node("FusedConv", ["x", "w"], ["e"], domain="com.microsoft", name="fused"),
        node("MaxPool", ["x"], ["f", "indices"], kernel_shape=[2, 2], name="pool"),
        node("Add", ["x", "indices"], ["g"], name="add"),
        node("AveragePool", ["x"], ["h"], kernel_shape=[9, 9], name="large"),
        node("Relu", ["x"], ["i"], alpha=0.5, name="leaky"),
        node("Gemm", ["x", "w"], ["j"], name="gemm"),
        node("Det", ["x"], ["unused"], name="unused"),
    ]
    said = refuse(
        model(nodes, {"w": normal(4, 3, 3, 3)}, outputs=list("cdegfhij")),
        tmp_path,
        "model.onnx: 8 problems",
        "node 'norm' (Det): the operator is not supported",
        "node 'sinh' (Sinh): the operator is not supported",
        "node 'soft' (Softmax): over the batch",
        "node 'fused' (FusedConv): operators of the domain 'com.microsoft'",
        "node 'pool' (MaxPoolWithPlaces): its places count all images",
        "node 'large' (AveragePool): window 9x9 does not fit the input Nx3x8x8",
        "node 'leaky' (Relu): attribute 'alpha' is not supported",
        "node 'gemm' (Gemm): ",
    )
    assert "'conv'" not in said
    assert "'unused'" not in said


def test_inputs_that_are_not_images_of_floats(tmp_path):
    nodes = [node("Relu", ["x"], ["y"])]
    refuse(model(nodes, shape=("N", 1 << 31)), tmp_path, "input 'x' is too large: Nx2147483648")
    refuse(model(nodes, shape=("N", 3, (1 << 63) - 1)), tmp_path, "'x' is too large")
    many = model([node("Flatten", ["x"], ["y"])], shape=("N", *[(1 << 31) - 1] * 4))
    refuse(many, tmp_path, "'y' (Flatten)", "too large")
    proto = model(nodes)
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    proto.graph.node[0].op_type = "Sigmoid"
    refuse(proto, tmp_path, "only float32 is supported")
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.STRING
    refuse(proto, tmp_path, "'x' (input): its element type is 8")


def test_names_that_do_not_fit(tmp_path):
    relu = node("Relu", ["x"], ["y"])
    refuse(model([node("Conv", ["x", "lost"], ["y"])]), tmp_path, "'lost' is not defined anywhere")
    refuse(model([relu, relu]), tmp_path, "'y' is defined again")
    refuse(model([node("Relu", ["x"], ["x"])], outputs=["x"]), tmp_path, "'x' is defined again")
    refuse(model([relu], outputs=["y", "z"]), tmp_path, "output 'z' is not defined anywhere")
    refuse(model([relu], outputs=["x"]), tmp_path, "'x' is an input")
    cycle = [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]
    refuse(model(cycle), tmp_path, "cycle")
    twice = model([node("Gemm", ["x", "w"], ["y"])], {"w": normal(4, 4)}, ("N", 4))
    twice.graph.initializer.append(twice.graph.initializer[0])
    refuse(twice, tmp_path, "'w'")


def test_files_of_another_kind(tmp_path):
    for data in (b"", b"hello", b"\x89PNG\r\n", bytes(1000), b"\xff" * 1000):
        refuse(data, tmp_path, "not an ONNX model")
    proto = model([node("Relu", ["x"], ["y"])])
    for opset in (6, 0, -1, OPSETS[-1] + 1, 2**40):
        proto.opset_import[0].version = opset
        refuse(proto, tmp_path, f"operator set {opset}")
    del proto.opset_import[:]
    refuse(proto, tmp_path, "operator set")
    (tmp_path / "net.caffemodel").write_bytes(b"")
    with pytest.raises(ValueError, match="holds its own weights"):
        formats.read(tmp_path / "model.onnx", tmp_path / "net.caffemodel")
    (tmp_path / "model.xyz").write_bytes(b"xyz")
    with pytest.raises(ValueError, match=r"model\.xyz: unknown model format"):
        formats.read(tmp_path / "model.xyz")


@pytest.mark.parametrize(
    "tensor",
    [
        onnx.TensorProto(name="w", dims=[1 << 40, 6], data_type=FLOAT, raw_data=bytes(96)),
        onnx.TensorProto(name="w", dims=[1 << 62, 1 << 62], data_type=FLOAT, raw_data=bytes(96)),
        onnx.TensorProto(name="w", dims=[-4, -6], data_type=FLOAT, raw_data=bytes(96)),
        onnx.TensorProto(name="w", dims=[4, 6], data_type=FLOAT, raw_data=bytes(95)),
        onnx.TensorProto(name="w", dims=[4, 6], data_type=FLOAT),
        onnx.TensorProto(name="w", dims=[4, 6], data_type=FLOAT, float_data=[1.0] * 25),
        onnx.TensorProto(name="w", dims=[4, 6], data_type=7, int64_data=[1] * 23),
        onnx.TensorProto(name="w", dims=[0, 1 << 62], data_type=FLOAT),
        onnx.TensorProto(name="w", dims=[1] * 200 + [24], data_type=FLOAT, raw_data=bytes(96)),
        onnx.TensorProto(name="w", dims=[4, 6], data_type=8, string_data=[b"a"] * 24),
        onnx.TensorProto(name="w", dims=[4, 6], data_type=99, raw_data=bytes(96)),
        onnx.TensorProto(name="w", dims=[4, 6], raw_data=bytes(96)),
    ],
)
def test_absurd_tensors(tensor, tmp_path):
    refuse(gemm_of(tensor), tmp_path, "'w'")


BIG = 1 << 40
BOMBS = {
    "doubling": [node("Concat", [f"k{i}", f"k{i}"], [f"k{i + 1}"], axis=0) for i in range(60)]
    + [node("Add", ["x", "k60"], ["y"])],
    "gathering": [
        *(node("Gather", [f"k{i}", "indices"], [f"k{i + 1}"], axis=i) for i in range(8)),
        node("Add", ["x", "k8"], ["y"]),
    ],
    "broadcasting": [
        node("Reshape", ["k0", "column"], ["c"]),
        node("Add", ["c", "k0"], ["square"]),
        node("Add", ["x", "square"], ["y"]),
    ],
    "copying": [
        *(node("Gemm", ["x", "k0"], [f"y{i}"], alpha=float(i)) for i in range(2, 400)),
        node("Sum", [f"y{i}" for i in range(2, 400)], ["y"]),
    ],
    "filling": [node("ConstantOfShape", ["pads"], ["c"]), node("Add", ["x", "c"], ["y"])],
    "turning": [
        *(node("Transpose", ["k0"], [f"t{i}"]) for i in range(400)),
        *(node("Gemm", ["x", f"t{i}"], [f"y{i}"], transB=1) for i in range(400)),
        node("Sum", [f"y{i}" for i in range(400)], ["y"]),
    ],
    "padding": [node("Pad", ["x", "pads"], ["p"]), node("Relu", ["p"], ["y"])],
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_small_files_do_not_take_much_memory(bomb, tmp_path):
    square = bomb in ("copying", "turning")
    constants = {
        "k0": normal(256, 1024) if square else normal(50_000),
        "indices": np.zeros(100, np.int64),
        "column": ints(-1, 1),
        "pads": ints(0, 0, BIG, BIG, 0, 0, BIG, BIG),
    }
    if bomb == "gathering":
        constants["k0"] = normal(*[2] * 8)
    proto = model(BOMBS[bomb], constants, ("N", 256) if square else ("N", 1, 8, 8))
    data = proto.SerializeToString()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"model\.onnx"):
            read(data, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * len(data) + (48 << 20)


def test_damaged_files_are_value_errors(tmp_path):
    """Truncations and changed bytes: a graph or a ValueError, nothing else."""
    data = classifier(17).SerializeToString()
    generator = random.Random(7)
    wrong = [data[: generator.randrange(len(data))] for _ in range(150)]
    for _ in range(450):
        changed = bytearray(data)
        for _ in range(generator.choice((1, 1, 2, 8))):
            changed[generator.randrange(len(changed))] = generator.randrange(256)
        wrong.append(bytes(changed))
    refused = 0
    for case in wrong:
        try:
            build(read(case, tmp_path))
        except ValueError as error:
            assert "model.onnx" in str(error)
            refused += 1
    assert refused > len(wrong) // 3


def lists_of_numbers(proto):
    """Every list of integers in a model: attributes, sizes and contents of tensors."""
    for n in proto.graph.node:
        yield from (attribute.ints for attribute in n.attribute if attribute.ints)
    yield from (tensor.dims for tensor in proto.graph.initializer)
    yield from (tensor.int64_data for tensor in proto.graph.initializer)


def test_absurd_numbers_are_value_errors(tmp_path):
    """Every integer of two models in turn replaced by each of these: a graph or a ValueError."""
    absurd = [0, -1, 7, -(1 << 31), (1 << 31) - 1, 1 << 40, -(1 << 63), (1 << 63) - 1]
    cases = refused = 0
    for opset in (7, 17):
        proto = classifier(opset)
        for tensor in proto.graph.initializer:
            if tensor.data_type == onnx.TensorProto.INT64:
                array = numpy_helper.to_array(tensor)
                tensor.ClearField("raw_data")
                tensor.int64_data.extend(array.ravel().tolist())
        read(proto, tmp_path)
        for numbers in lists_of_numbers(proto):
            for index, original in enumerate(list(numbers)):
                for value in absurd:
                    numbers[index] = value
                    cases += 1
                    try:
                        read(proto, tmp_path)
                    except ValueError as error:
                        assert "model.onnx" in str(error)
                        refused += 1
                numbers[index] = original
        for attribute in (a for n in proto.graph.node for a in n.attribute if a.type == a.INT):
            original = attribute.i
            for value in absurd:
                attribute.i = value
                cases += 1
                try:
                    read(proto, tmp_path)
                except ValueError as error:
                    assert "model.onnx" in str(error)
                    refused += 1
            attribute.i = original
    assert refused > cases / 2 > 200
