"""The reader of TensorFlow against stored results of its own, and against graphs that are wrong."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packed import unpack
from reading import close, refusal, run
from tf_models import BOOL, FLOAT, STRING, Builder

import linnet
from linnet import core, formats, interpret, passes
from linnet.formats import _schema

DATA = Path(__file__).parent / "data" / "tensorflow"
CASES = unpack(DATA / "graphs.npz")


@pytest.mark.parametrize("name", CASES)
def test_graphs(name: str) -> None:
    case = CASES[name]
    graph = formats.read(case["graph"])
    results = run(graph, {"x": case["x/x"]})
    assert {f"y/{key}" for key in results} == {key for key in case if key[:2] == "y/"}
    for key, value in results.items():
        close(value, case[f"y/{key}"])


@pytest.mark.parametrize("version", [1, 2])
def test_saved_models(version: int) -> None:
    results, folder = np.load(DATA / "saved.npz"), DATA / f"saved{version}"
    for given in (folder, folder / "saved_model.pb"):
        net = linnet.load(given)
        assert [(v.name, v.shape) for v in net.inputs] == [("image", (None, 6, 8, 3))]
        names = [value.name for value in net.outputs]
        assert names == (["y"] if version == 1 else ["map", "scores"])
        for name, got in zip(names, net.run(None, {"image": results["x"]})):
            close(got, results[f"{name}{version}"])


def test_outputs_within_functions() -> None:
    """By the full names of their operators, which values have, or of a signature's outputs."""
    x = {"image": np.load(DATA / "saved.npz")["x"]}
    inner = "StatefulPartitionedCall/StatefulPartitionedCall/StatefulPartitionedCall/Relu:0"
    net = linnet.load(DATA / "saved2", outputs=[inner, "scores"])
    assert [v.name for v in net.outputs] == [inner, "scores"]
    whole = linnet.load(DATA / "saved2")
    np.testing.assert_array_equal(net.run("scores", x)[0], whole.run("scores", x)[0])
    assert net.run(inner, x)[0].shape == (2, 6, 8, 4)
    with pytest.raises(ValueError, match=r"is not defined anywhere; did you mean .*/Relu'"):
        linnet.load(DATA / "saved2", outputs=inner.replace("Relu", "Rleu"))


def test_what_nobody_wants_is_not_read() -> None:
    """Not even what would be no graph."""
    builder = Builder().input(-1, 4).add("Relu", "y", "x").add("Strange", "z", "y", "nowhere")
    refusal(builder.data(), "'nowhere' is not defined anywhere")
    graph = formats.read(builder.data(), outputs=["y:0"])
    assert (graph.outputs, graph.left_out) == (["y:0"], ["Strange"])


@pytest.mark.parametrize(
    ("stages", "text"),
    [(["other"], "has no signature 'other', but 'serving_default'"), (["a", "b"], "only one")],
)
def test_signatures_that_are_not_there(stages: list[str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        linnet.load(DATA / "saved2", stages=stages)
    with pytest.raises(ValueError, match="a frozen graph has no signatures, so not 'other'"):
        linnet.load(Builder().input(-1, 4).add("Relu", "y", "x").data(), stages="other")


def test_several_signatures(tmp_path: Path) -> None:
    """As there are more than one, one has to be named, or the outputs."""
    saved = _schema.tensorflow("SavedModel")()
    meta = saved.meta_graphs.add()
    meta.graph_def.ParseFromString(
        Builder().input(-1, 4).add("Relu", "y", "x").add("Tanh", "z", "y").data()
    )
    for name in ("y", "z"):
        signature = meta.signature_def.add(key=f"of_{name}").value
        signature.inputs.add(key="data").value.name = "x:0"
        signature.outputs.add(key="result").value.name = f"{name}:0"
    path = tmp_path / "saved_model.pb"
    path.write_bytes(saved.SerializeToString())
    with pytest.raises(ValueError, match="no signature 'serving_default', but 'of_y', 'of_z'"):
        linnet.load(path)
    net = linnet.load(tmp_path, stages="of_z")
    assert [v.name for v in (*net.inputs, *net.outputs)] == ["data", "result"]
    net = linnet.load(tmp_path, outputs="y")
    assert [v.name for v in (*net.inputs, *net.outputs)] == ["x", "y"]


def test_graphs_beside_a_checkpoint(tmp_path: Path) -> None:
    meta = _schema.tensorflow("MetaGraphDef")()
    builder = Builder().input(-1, 3).add("VariableV2", "v").add("Add", "y", "x", "v")
    builder.add("Const", "names").add("RestoreV2", "read", "names", "names").add(
        "Assign", "assign", "v", "read"
    )
    builder.add("NoOp", "restore", "^assign").add("ScalarSummary", "summary", "names", "y")
    tensor = builder.graph.node[3].attr.add(key="value").value.tensor
    tensor.dtype = STRING
    tensor.string_val.append(b"v")
    meta.graph_def.CopyFrom(builder.graph)
    meta.saver_def.restore_op_name = "restore"
    path = tmp_path / "model.ckpt.meta"
    path.write_bytes(meta.SerializeToString())
    with pytest.raises(ValueError, match=r"there is no .*model.ckpt.index$"):
        linnet.load(path)
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(ValueError, match="only a checkpoint of version 1, which is not supported"):
        linnet.load(path)
    path.write_bytes(b"\x0a\x03abc")
    with pytest.raises(ValueError, match="not a MetaGraphDef of TensorFlow"):
        linnet.load(path)


def test_values_have_the_names_of_nodes() -> None:
    builder = (
        Builder().input(-1, 4, 3).add("Relu", "block/relu", "x").add("Tanh", "t", "block/relu")
    )
    net = linnet.load(builder.data())
    assert [v.name for v in net.values] == ["x", "block/relu", "t"]


def test_recognition(tmp_path: Path) -> None:
    """By the suffix, or by the first node."""
    data = Builder().input(-1, 4).add("Relu", "y", "x").data()
    for name in ("graph.pb", "graph.bin"):
        (tmp_path / name).write_bytes(data)
        assert linnet.load(tmp_path / name).outputs[0].name == "y"
    (tmp_path / "other.pb").write_bytes(b"\x0a\x03abc")
    refusal(tmp_path / "other.pb", "not a graph of TensorFlow")
    refusal(Builder().const("c", [1.0]).data(), "no node depends on a Placeholder")


def test_constants_are_repeated() -> None:
    """The last number of a field of numbers stands for all after it."""
    builder = Builder().input(-1, 4)
    for name, values in (("one", [0.5]), ("some", [1.0, 2.0]), ("none", [])):
        builder.add("Const", name)
        tensor = builder.graph.node[-1].attr.add(key="value").value.tensor
        tensor.dtype = FLOAT
        tensor.tensor_shape.dim.add(size=4)
        tensor.float_val.append(np.array(values, "<f4").tobytes())
    builder.add("AddN", "y", "x", "one", "some", "none")
    (y,) = run(formats.read(builder.data()), {"x": np.zeros((1, 4), np.float32)}).values()
    np.testing.assert_array_equal(y, [[1.5, 2.5, 2.5, 2.5]])
    tensor.tensor_shape.dim.add(size=1 << 40)
    refusal(builder.data(), "[4, 1099511627776]")
    tensor.tensor_shape.dim.add(size=1 << 40)
    refusal(builder.data(), "[4, 1099511627776, 1099511627776] is far larger than")
    builder.graph.node[2].attr[0].value.tensor.tensor_shape.dim.add(size=1 << 40)
    refusal(builder.data(), "far larger than what the file holds of it")


def test_channels_first() -> None:
    """TensorFlow itself has no such convolutions on a CPU; they are the same on turned images."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 6, 5, 2)).astype(np.float32)
    weights, bias = rng.normal(size=(3, 3, 2, 4)), rng.normal(size=4)
    results = []
    for order in ("NHWC", "NCHW"):
        last = order == "NHWC"
        sizes = {"data_format": order.encode(), "padding": b"SAME"}
        two = [1, 2, 1, 1] if last else [1, 1, 2, 1]
        builder = Builder().input(*((-1, 6, 5, 2) if last else (-1, 2, 6, 5)))
        builder.const("w", weights).const("b", bias)
        builder.add("Conv2D", "conv", "x", "w", **sizes, strides=two)
        builder.add("BiasAdd", "bias", "conv", "b", data_format=order.encode())
        builder.add("AvgPool", "y", "bias", **sizes, strides=two, ksize=two)
        given = x if last else x.transpose(0, 3, 1, 2)
        results += run(formats.read(builder.data()), {"x": given}).values()
    close(results[1], results[0].transpose(0, 3, 1, 2))


def test_inputs_without_a_shape() -> None:
    """Its axes and channels are those that the first convolution needs."""
    builder = Builder().input().const("w", np.ones((3, 3, 2, 1))).const("axis", 1)
    builder.add("Mul", "scaled", "x", "two").const("two", 2.0)
    builder.add("Conv2D", "y", "scaled", "w", strides=[1] * 4, padding=b"SAME")
    net = linnet.load(builder.data())
    assert net.inputs[0].shape == (None, None, None, 2)
    assert net(np.ones((1, 3, 4, 2), np.float32))[0, 1, 1, 0] == 36
    builder = Builder().input().const("w", np.ones((1, 3, 2, 1))).const("axis", 1)
    builder.add("ExpandDims", "row", "x", "axis")
    builder.add("Conv2D", "y", "row", "w", strides=[1] * 4, padding=b"VALID")
    assert formats.read(builder.data()).inputs[0].shape == (0, 0, 2)
    refusal(Builder().input().add("Relu", "y", "x").data(), "'x' (Placeholder): has no shape")


def test_windows_over_the_first_axis() -> None:
    """Of an input without a batch, its size has to be told."""
    builder = Builder().input().const("w", np.ones((3, 1, 4, 2))).const("first", 0)
    builder.const("third", 2).add("ExpandDims", "a", "x", "first").add(
        "ExpandDims", "b", "a", "third"
    )
    builder.add("Conv2D", "y", "b", "w", strides=[1] * 4, padding=b"VALID")
    net = linnet.load(builder.data(), shapes={"x": (7, 4)})
    np.testing.assert_array_equal(net(np.ones((7, 4), np.float32)), np.full((1, 5, 1, 2), 12))


def test_pictures_go_in_as_bytes() -> None:
    builder = Builder().input(-1, 2, 2, 3, dtype=4).const("mean", 127.5).const("by", 1 / 127.5)
    builder.add("Cast", "float", "x").add("Sub", "centred", "float", "mean")
    builder.graph.node[-2].attr.add(key="DstT").value.type = FLOAT
    net = linnet.load(builder.add("Mul", "y", "centred", "by").data())
    x = np.arange(0, 240, 20, dtype=np.uint8).reshape(1, 2, 2, 3)
    close(net(x), x.astype(np.float32) / 127.5 - 1)


def test_sizes_that_are_computed_from_open_ones() -> None:
    """A size that is told settles them."""
    builder = Builder().input(-1, -1, -1, 2).const("from", [1]).const("to", [3]).const("by", [1])
    builder.const("two", [2, 2]).add("Shape", "shape", "x").add("Mul", "twice", "part", "two")
    builder.add("StridedSlice", "part", "shape", "from", "to", "by")
    builder.add("ResizeNearestNeighbor", "y", "x", "twice")
    net = linnet.load(builder.data(), shapes={"x": (1, 3, 4, 2)})
    x = np.arange(24, dtype=np.float32).reshape(1, 3, 4, 2)
    np.testing.assert_array_equal(net(x), x.repeat(2, 1).repeat(2, 2))
    refusal(builder.data(), "depends on the size of the input, which the model leaves open")


def test_places() -> None:
    builder = Builder().input(-1, 4, 3).const("axis", -1)
    graph = formats.read(builder.add("ArgMax", "y", "x", "axis").data())
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    places = interpret.run(graph, {"x": x}, fetch=["y"])["y"]
    np.testing.assert_array_equal(places, x.argmax(-1))
    assert places.dtype == np.int64


def test_switch_and_merge() -> None:
    """The branch that is taken where the condition is known, with constants of its own."""
    for training in (False, True):
        builder = Builder().input(-1, 3).const("flag", training)
        builder.add("Switch", "switch", "flag", "flag")
        builder.add("Identity", "on", "switch:1").add("Identity", "off", "switch")
        builder.add("Switch", "data", "x", "flag")
        builder.const("more", 2.0, "on").add("Add", "sum", "data:1", "more")
        made = "sum"
        if not training:  # what is never computed may be anything
            builder.add("RandomThing", "noise", "data:1").add("Add", "sum2", "sum", "noise")
            made = "sum2"
        builder.add("Merge", "y", "data", made)
        graph = formats.read(builder.data())
        y = run(graph, {"x": np.ones((1, 3), np.float32)})["y"]
        np.testing.assert_array_equal(y, np.full((1, 3), 3 if training else 1))
    builder = Builder().input(-1, 3).input(1, name="flag", dtype=BOOL)
    builder.add("Switch", "s", "x", "flag").add("Merge", "y", "s", "s:1")
    refusal(builder.data(), "'y' (Merge): the operator is not supported")


def test_all_problems_at_once() -> None:
    builder = Builder().input(-1, 4, 4, 2).const("w", np.ones((3, 3, 2, 1)))
    builder.add("Conv2D", "c", "x", "w", strides=[1, 0, 1, 1], padding=b"SAME")
    builder.add("Strange", "boxes", "c").add("Relu", "r", "boxes")
    builder.add("MirrorPad", "m", "x", "w", mode=b"SYMMETRIC")
    builder.add("Relu", "odd", "x", slope=0.5)
    builder.add("FusedBatchNormV3", "bn", "x", "w", "w", "w", "w", is_training=True)
    builder.add("Enter", "loop", "x").add("NextIteration", "next", "merge")
    builder.add("Merge", "merge", "loop", "next").add("Exit", "exit", "merge")
    refusal(
        builder.data(),
        "'boxes' (Strange): the operator is not supported",
        "'c' (Conv2D): kernel 3, stride 0",
        "'m' (MirrorPad): its mode is 'SYMMETRIC', expected REFLECT",
        "'odd' (Relu): has an attribute that is not known: 'slope'",
        "'bn' (FusedBatchNormV3): is_training is set",
        "'exit' (Exit): the operator is not supported",
    )


def test_boxes_without_room_for_a_fixed_number() -> None:
    builder = Builder().input(9, 4).input(9, name="s").const("most", 3).const("limit", 0.5)
    limits = ("most", "limit", "limit")
    for version, more in (("V3", {}), ("V4", {"pad_to_max_output_size": False})):
        builder.add(f"NonMaxSuppression{version}", version, "x", "s", *limits, **more)
    padded = {"pad_to_max_output_size": True}
    builder.add("NonMaxSuppressionV5", "V5", "x", "s", *limits, "limit", **padded)
    builder.add("GatherV2", "g", "x", "s", "most", batch_dims=2)
    refusal(
        builder.data(),
        "'V3' (NonMaxSuppressionV3): how many boxes it finds depends on them",
        "'V4' (NonMaxSuppressionV4): how many boxes it finds depends on them",
        "'V5' (NonMaxSuppressionV5): soft_nms_sigma is not 0",
        "'g' (GatherV2): its axis is [3] of 2 axes",
    )


def test_between_space_to_batch_and_back() -> None:
    """Only what treats each pixel by itself."""
    builder = Builder().input(-1, 4, 4, 2).const("block", [2, 2]).const("none", [[0, 0], [0, 0]])
    builder.add("SpaceToBatchND", "s", "x", "block", "none").add(
        "BatchToSpaceND", "b", "x", "block", "none"
    )
    builder.add("Softmax", "y", "s")
    refusal(
        builder.data(),
        "'y' (Softmax): is not supported between",
        "'b' (BatchToSpaceND): is not after a SpaceToBatchND",
    )


def function(builder: Builder, name: str, result: str, *nodes: tuple[str, str, str]) -> None:
    """A function of the argument `a`; `nodes` are (operator, name, input), of which calls of a
    function are "call NAME".
    """
    made = builder.graph.library.function.add()
    made.signature.name = name
    made.signature.input_arg.add(name="a")
    made.signature.output_arg.add(name="r")
    made.ret.add(key="r", value=result)
    for op, node, x in nodes:
        called = op.removeprefix("call ")
        kind = "PartitionedCall" if op != called else op
        inner = _schema.tensorflow("NodeDef")(name=node, op=kind, input=[x])
        if op != called:
            inner.attr.add(key="f").value.func.name = called
        made.node_def.append(inner.SerializeToString())


def called(name: str) -> Builder:
    builder = Builder().input(-1, 3).add("StatefulPartitionedCall", "y", "x")
    builder.graph.node[-1].attr.add(key="f").value.func.name = name
    return builder


def test_functions_are_inlined() -> None:
    builder = called("outer")
    function(
        builder, "outer", "b:output:0", ("call inner", "i", "a"), ("call inner", "b", "i:output:0")
    )
    function(builder, "inner", "n:y:0", ("Neg", "n", "a"))
    graph = formats.read(builder.data())
    assert {"y/i/n", "y/b/n"} <= graph.names()
    x = np.array([[1, -2, 3]], np.float32)
    np.testing.assert_array_equal(next(iter(run(graph, {"x": x}).values())), x)
    refusal(called("missing").data(), "calls a function that is not there")


def test_functions_are_bounded() -> None:
    builder = called("f0")
    function(builder, "f0", "c:output:0", ("call f0", "c", "a"))
    refusal(builder.data(), "calls itself")
    builder = called("f40")
    for depth in range(40, 0, -1):
        inner = f"call f{depth - 1}"
        function(builder, f"f{depth}", "d:output:0", (inner, "c", "a"), (inner, "d", "c:output:0"))
    function(builder, "f0", "n:y:0", ("Neg", "n", "a"))
    refusal(builder.data(), "more than")


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda data: data[:-9], "not the index of a checkpoint"),
        (lambda data: data[:20] + b"\xff" * 40 + data[60:], "variables.index"),
        (lambda data: b"\xff" * (len(data) - 48) + data[-48:], "variables.index"),
    ],
)
def test_damaged_checkpoints(damage: Any, text: str, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    shutil.copytree(DATA / "saved2", folder)
    index = folder / "variables" / "variables.index"
    index.write_bytes(damage(index.read_bytes()))
    refusal(folder, text)


def test_missing_variables(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    shutil.copytree(DATA / "saved2", folder)
    data = folder / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    refusal(folder, "(100 bytes) has not its 432 bytes at")
    shutil.rmtree(folder / "variables")
    refusal(folder, "its variables are missing")
    builder = Builder().input(-1, 3).add("VariableV2", "v").add("Add", "y", "x", "v")
    refusal(builder.data(), "'v' (VariableV2): is a variable without a value: freeze the graph")


def test_random_bytes_are_refused() -> None:
    """Each byte of a file in turn, and bits of it, changed."""
    rng = random.Random(0)
    whole = CASES["space_to_batch"]["graph"]
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            core.shapes(passes.canonicalize(formats.read(bytes(data))))
        except (ValueError, MemoryError):
            continue


def test_bodies_are_bounded() -> None:
    """A large one that is called often is in memory as often."""
    builder = called("outer")
    calls = [("call inner", f"c{index}", "a") for index in range(200)]
    function(builder, "outer", "sum:sum:0", *calls)
    every = [f"c{index}:output:0" for index in range(200)]
    added = _schema.tensorflow("NodeDef")(name="sum", op="AddN", input=every)
    builder.graph.library.function[0].node_def.append(added.SerializeToString())
    nodes = [("Neg", f"n{index}", "a") for index in range(3000)]
    function(builder, "inner", "n0:y:0", *nodes)
    refusal(builder.data(), "its functions come to more than 500000 nodes")
